"""Every field of every layer's message changes what the layer makes, or is listed as having no meaning here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import array_blob
from demitasse.errors import NetError
from tests.contract.examples import CELLS as CELLS_OF_YOLO
from tests.contract.examples import DETECTED, SPOTS, TRAINED, TRUTHS
from tests.contract.examples import PRIORS as PRIORS_OF_SSD
from tests.golden.single import single_net

# fields of data layers, and of those of the compression fork, have tests of their own
ELSEWHERE = {
    *(
        "transform_param",
        "data_param",
        "annotated_data_param",
        "dummy_data_param",
        "hdf5_data_param",
        "hdf5_output_param",
    ),
    *("image_data_param", "memory_data_param", "window_data_param", "input_param", "python_param"),
    *("dns_convolution_param", "dns_inner_product_param", "inq_convolution_param", "inq_inner_product_param"),
    *("cconvolution_param", "cinner_product_param", "dense_image_data_param", "mat_write_param"),
}

# which implementation to take; how to trace an inner net that does not exist; a gradient that is always stable
WITHOUT_MEANING = {
    *("convolution_param.engine", "convolution_param.force_nd_im2col", "lrn_param.engine", "pooling_param.engine"),
    *("relu_param.engine", "sigmoid_param.engine", "softmax_param.engine", "spp_param.engine", "tanh_param.engine"),
    *("recurrent_param.debug_info", "eltwise_param.stable_prod_grad"),
    # the size of the bottom decides; gradients are limited by the solver
    *("relu6_param.engine", "yolo_detection_output_param.side", "lstm_param.clipping_threshold"),
    "lstm_param.batch_size",
}

# what changes nothing in training, or in two batches that are equal
IN_TESTING = {"dropout_param.sample_weights_test", "bn_param.moving_average", "seg_accuracy_param.reset"}

IMAGE = ((2, 4, 5, 6),)
SQUARE = ((2, 4, 6, 6),)
ROWS = ((3, 4),)
PAIR = ((3, 4), (3, 4))
LABELLED = ((3, 4), (3,))
SPATIAL = ((3, 4, 2), (3, 2))
SEQUENCE = ((3, 2, 4), (3, 2))
PRIORS = ((1, 1, 2, 3), (1, 1, 8, 9))
FOUND = ((1, 24), (1, 18), (1, 2, 24))
REFINED = (*FOUND, (1, 12), (1, 24))
FREE = "encode_variance_in_target: true"
OWN = f"{FREE} use_prior_for_matching: false"
HARDEST = "mining_type: HARD_EXAMPLE"
CLOSE = "overlap_threshold: 0.9"
SIZES = "name_size_file: 'sizes'"
JUDGED = ((1, 1, 7, 7), (1, 1, 6, 8))
HARD = ((6, 5), (6, 1, 1, 1), (6, 1, 1, 1), (6, 4, 1, 1))
CELLS = ((1, 16, 2, 2),)
YOLO_2 = "num_classes: 3 num_box: 2 biases: [1, 2, 2, 1]"
YOLO_3 = "num_classes: 3 num_box: 2 biases: [8, 9, 7, 6] mask: [0, 1] mask_group_num: 1 anchors_scale: 8"
MASKED = ((2, 4, 2, 2), (2, 4, 2, 2))
PIXELS = ((2, 3, 2, 2), (2, 1, 2, 2))
ANCHORS = ((1, 6, 2, 2), (1, 12, 2, 2), (1, 3))
REGIONS = ((3, 8, 6, 6), (3, 5))
GAUSSIAN = 'type: "gaussian"'
BY_INFOGAIN = 'source: "square"'
FILTER = f"num_output: 4 kernel_size: 3 weight_filler {{ {GAUSSIAN} }}"
PRODUCT = f"num_output: 4 weight_filler {{ {GAUSSIAN} }}"
LOOKUP = f"num_output: 4 input_dim: 6 weight_filler {{ {GAUSSIAN} }}"
RECUR = f"num_output: 4 weight_filler {{ {GAUSSIAN} }}"
FUSED, ADDED = "fuse_type: FUSED_CONV_RELU", "fuse_type: FUSED_CONV_ELTWISE_RELU"
POOLED = "fuse_type: FUSED_POOL_MAX"
SUMMED = ((2, 4, 5, 6), (2, 4, 3, 4))
MOVED = ((2, 4, 5, 6), (2, 18, 3, 4))
VIDEO, CUBE = ((2, 4, 5, 6, 7),), "kernel_depth: 2 kernel_size: 2"
FILM = f"{PRODUCT} {CUBE}"
SPREAD = "unpool: TILE kernel_size: 2 unpool_size: 20"
MAPS = ((2, 4, 12, 12),)
FIELDS = ((1, 3, 4, 4),) * 3
FIELD = """num_iterations: 2 theta_alpha: 2 theta_beta: 2 theta_gamma: 2 spatial_filter_weight: 1
    bilateral_filter_weight: 1"""
GRIDS = ((1, 52), (1, 28))
GRID = "side: 2 num_class: 3"

# field, layer type, shapes of the bottoms, settings without it, settings with it
CHANGES = [
    ("loss_param.ignore_label", "SoftmaxWithLoss", LABELLED, "", "ignore_label: 1"),
    ("loss_param.normalization", "SoftmaxWithLoss", LABELLED, "", "normalization: NONE"),
    ("loss_param.normalize", "SoftmaxWithLoss", SPATIAL, "", "normalize: false"),
    ("loss_param.pre_fixed_normalizer", "SoftmaxWithLoss", LABELLED, "normalization: PRE_FIXED",
     "normalization: PRE_FIXED pre_fixed_normalizer: 4"),
    ("loss_param.weight_by_label_freqs", "SoftmaxWithLoss", SPATIAL, "", "weight_by_label_freqs: true"),
    ("loss_param.class_weighting", "SoftmaxWithLoss", LABELLED, "weight_by_label_freqs: true",
     "weight_by_label_freqs: true class_weighting: [1, 2, 3, 4]"),
    ("accuracy_param.top_k", "Accuracy", LABELLED, "", "top_k: 4"),
    ("accuracy_param.axis", "Accuracy", ((3, 5, 4), (3, 5)), "axis: -1", "axis: 1"),
    ("accuracy_param.ignore_label", "Accuracy", LABELLED, "top_k: 2", "top_k: 2 ignore_label: 1"),
    ("argmax_param.out_max_val", "ArgMax", ROWS, "", "out_max_val: true"),
    ("argmax_param.top_k", "ArgMax", ROWS, "", "top_k: 2"),
    ("argmax_param.axis", "ArgMax", ROWS, "", "axis: 0"),
    ("concat_param.axis", "Concat", PAIR, "", "axis: 0"),
    ("concat_param.concat_dim", "Concat", PAIR, "", "concat_dim: 0"),
    ("contrastive_loss_param.margin", "ContrastiveLoss", (*PAIR, (3,)), "", "margin: 9"),
    ("contrastive_loss_param.legacy_version", "ContrastiveLoss", (*PAIR, (3,)), "margin: 9",
     "margin: 9 legacy_version: true"),
    ("convolution_param.num_output", "Convolution", IMAGE, FILTER, FILTER.replace("4", "6")),
    ("convolution_param.bias_term", "Convolution", IMAGE, FILTER, f"{FILTER} bias_term: false"),
    ("convolution_param.pad", "Convolution", IMAGE, FILTER, f"{FILTER} pad: 1"),
    ("convolution_param.kernel_size", "Convolution", IMAGE, FILTER, FILTER.replace("3", "2")),
    ("convolution_param.stride", "Convolution", IMAGE, FILTER, f"{FILTER} stride: 2"),
    ("convolution_param.dilation", "Convolution", IMAGE, FILTER, f"{FILTER} dilation: 2"),
    ("convolution_param.hole", "Convolution", IMAGE, FILTER, f"{FILTER} hole: 2"),
    ("convolution_param.hole_h", "Convolution", IMAGE, FILTER, f"{FILTER} hole_h: 2"),
    ("convolution_param.hole_w", "Convolution", IMAGE, FILTER, f"{FILTER} hole_w: 2"),
    ("convolution_param.pad_h", "Convolution", IMAGE, FILTER, f"{FILTER} pad_h: 1"),
    ("convolution_param.pad_w", "Convolution", IMAGE, FILTER, f"{FILTER} pad_w: 1"),
    ("convolution_param.kernel_h", "Im2col", IMAGE, "kernel_size: 3", "kernel_h: 2 kernel_w: 3"),
    ("convolution_param.kernel_w", "Im2col", IMAGE, "kernel_size: 3", "kernel_h: 3 kernel_w: 2"),
    ("convolution_param.stride_h", "Deconvolution", IMAGE, FILTER, f"{FILTER} stride_h: 2 stride_w: 1"),
    ("convolution_param.stride_w", "Deconvolution", IMAGE, FILTER, f"{FILTER} stride_h: 1 stride_w: 2"),
    ("convolution_param.group", "Deconvolution", IMAGE, FILTER, f"{FILTER} group: 2"),
    ("convolution_param.weight_filler", "Convolution", IMAGE, "num_output: 4 kernel_size: 3", FILTER),
    ("convolution_param.bias_filler", "Convolution", IMAGE, FILTER, f"{FILTER} bias_filler {{ value: 1 }}"),
    ("convolution_param.axis", "Convolution", IMAGE, FILTER, f"{FILTER} axis: 2"),
    ("crop_param.axis", "Crop", (IMAGE[0], (2, 3, 5, 6)), "", "axis: 1"),
    ("crop_param.offset", "Crop", (IMAGE[0], (2, 4, 3, 3)), "", "offset: 2"),
    ("dropout_param.dropout_ratio", "Dropout", ROWS, "", "dropout_ratio: 0.1"),
    ("dropout_param.scale_train", "Dropout", ROWS, "", "scale_train: false"),
    ("eltwise_param.operation", "Eltwise", PAIR, "", "operation: MAX"),
    ("eltwise_param.coeff", "Eltwise", PAIR, "", "coeff: 1 coeff: 2"),
    ("exp_param.base", "Exp", ROWS, "", "base: 2"),
    ("exp_param.scale", "Exp", ROWS, "", "scale: 2"),
    ("exp_param.shift", "Exp", ROWS, "", "shift: 2"),
    ("hinge_loss_param.norm", "HingeLoss", LABELLED, "", "norm: L2"),
    ("infogain_loss_param.source", "InfogainLoss", LABELLED, BY_INFOGAIN, 'source: "other"'),
    ("infogain_loss_param.axis", "InfogainLoss", ((3, 4, 4), (3, 4)), BY_INFOGAIN, f"{BY_INFOGAIN} axis: 2"),
    ("inner_product_param.num_output", "InnerProduct", ROWS, PRODUCT, PRODUCT.replace("4", "6")),
    ("inner_product_param.bias_term", "InnerProduct", ROWS, PRODUCT, f"{PRODUCT} bias_term: false"),
    ("inner_product_param.weight_filler", "InnerProduct", ROWS, "num_output: 4", PRODUCT),
    ("inner_product_param.bias_filler", "InnerProduct", ROWS, PRODUCT, f"{PRODUCT} bias_filler {{ value: 1 }}"),
    ("inner_product_param.axis", "InnerProduct", IMAGE, PRODUCT, f"{PRODUCT} axis: 2"),
    ("inner_product_param.transpose", "InnerProduct", ROWS, PRODUCT, f"{PRODUCT} transpose: true"),
    ("lrn_param.local_size", "LRN", IMAGE, "", "local_size: 3"),
    ("lrn_param.alpha", "LRN", IMAGE, "", "alpha: 0.5"),
    ("lrn_param.beta", "LRN", IMAGE, "", "beta: 0.5"),
    ("lrn_param.norm_region", "LRN", IMAGE, "", "norm_region: WITHIN_CHANNEL"),
    ("lrn_param.k", "LRN", IMAGE, "", "k: 2"),
    ("mvn_param.normalize_variance", "MVN", IMAGE, "", "normalize_variance: false"),
    ("mvn_param.across_channels", "MVN", IMAGE, "", "across_channels: true"),
    ("mvn_param.eps", "MVN", IMAGE, "", "eps: 1"),
    ("pooling_param.pool", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 pool: AVE"),
    ("pooling_param.pad", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 pad: 1"),
    ("pooling_param.pad_h", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 pad_h: 1"),
    ("pooling_param.pad_w", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 pad_w: 1"),
    ("pooling_param.kernel_size", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 3"),
    ("pooling_param.kernel_h", "Pooling", IMAGE, "kernel_size: 2", "kernel_h: 3 kernel_w: 2"),
    ("pooling_param.kernel_w", "Pooling", IMAGE, "kernel_size: 2", "kernel_h: 2 kernel_w: 3"),
    ("pooling_param.stride", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 stride: 2"),
    ("pooling_param.stride_h", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 stride_h: 2 stride_w: 1"),
    ("pooling_param.stride_w", "Pooling", IMAGE, "kernel_size: 2", "kernel_size: 2 stride_h: 1 stride_w: 2"),
    ("pooling_param.global_pooling", "Pooling", SQUARE, "kernel_size: 2", "global_pooling: true"),
    ("pooling_param.round_mode", "Pooling", IMAGE, "kernel_size: 2 stride: 2", "kernel_size: 2 stride: 2 "
     "round_mode: FLOOR"),
    ("pooling_param.ceil_mode", "Pooling", IMAGE, "kernel_size: 2 stride: 2", "kernel_size: 2 stride: 2 "
     "ceil_mode: false"),
    ("power_param.power", "Power", ROWS, "", "power: 2"),
    ("power_param.scale", "Power", ROWS, "", "scale: 2"),
    ("power_param.shift", "Power", ROWS, "", "shift: 2"),
    ("relu_param.negative_slope", "ReLU", ROWS, "", "negative_slope: 0.5"),
    ("softmax_param.axis", "Softmax", ROWS, "", "axis: 0"),
    ("slice_param.axis", "Slice", ROWS, "", "axis: 0"),
    ("slice_param.slice_point", "Slice", ROWS, "", "slice_point: 1"),
    ("slice_param.slice_dim", "Slice", ROWS, "", "slice_dim: 0"),
    ("threshold_param.threshold", "Threshold", ROWS, "", "threshold: 0.5"),
    ("prelu_param.filler", "PReLU", ROWS, "", "filler { value: 0.5 }"),
    ("prelu_param.channel_shared", "PReLU", ROWS, f"filler {{ {GAUSSIAN} }}",
     f"filler {{ {GAUSSIAN} }} channel_shared: true"),
    ("spp_param.pyramid_height", "SPP", IMAGE, "pyramid_height: 1", "pyramid_height: 2"),
    ("spp_param.pool", "SPP", IMAGE, "pyramid_height: 2", "pyramid_height: 2 pool: AVE"),
    ("reshape_param.shape", "Reshape", ROWS, "shape { dim: 12 }", "shape { dim: 4 dim: 3 }"),
    ("reshape_param.axis", "Reshape", ROWS, "shape { dim: 12 }", "shape { dim: 4 } axis: 1"),
    ("reshape_param.num_axes", "Reshape", ROWS, "shape { dim: 12 }", "shape { dim: 3 } num_axes: 1"),
    ("log_param.base", "Log", ROWS, "shift: 9", "shift: 9 base: 2"),
    ("log_param.scale", "Log", ROWS, "shift: 9", "shift: 9 scale: 2"),
    ("log_param.shift", "Log", ROWS, "shift: 9", "shift: 8"),
    ("flatten_param.axis", "Flatten", IMAGE, "", "axis: 2"),
    ("flatten_param.end_axis", "Flatten", IMAGE, "", "end_axis: 2"),
    ("reduction_param.operation", "Reduction", ROWS, "", "operation: MEAN"),
    ("reduction_param.axis", "Reduction", ROWS, "", "axis: 1"),
    ("reduction_param.coeff", "Reduction", ROWS, "", "coeff: 2"),
    ("embed_param.num_output", "Embed", ROWS, LOOKUP, LOOKUP.replace("4", "5")),
    ("embed_param.input_dim", "Embed", ROWS, LOOKUP, LOOKUP.replace("6", "7")),
    ("embed_param.bias_term", "Embed", ROWS, LOOKUP, f"{LOOKUP} bias_term: false"),
    ("embed_param.weight_filler", "Embed", ROWS, "num_output: 4 input_dim: 6", LOOKUP),
    ("embed_param.bias_filler", "Embed", ROWS, LOOKUP, f"{LOOKUP} bias_filler {{ value: 1 }}"),
    ("tile_param.axis", "Tile", ROWS, "tiles: 2", "tiles: 2 axis: 0"),
    ("tile_param.tiles", "Tile", ROWS, "tiles: 2", "tiles: 3"),
    ("batch_norm_param.use_global_stats", "BatchNorm", ROWS, "", "use_global_stats: true"),
    ("batch_norm_param.moving_average_fraction", "BatchNorm", ROWS, "", "moving_average_fraction: 0.5"),
    ("batch_norm_param.eps", "BatchNorm", ROWS, "", "eps: 1"),
    ("batch_norm_param.scale_bias", "BatchNorm", ROWS, "", "scale_bias: true"),
    ("batch_norm_param.scale_filler", "BatchNorm", ROWS, "", "scale_filler { value: 2 }"),
    ("batch_norm_param.bias_filler", "BatchNorm", ROWS, "", "bias_filler { value: 2 }"),
    ("elu_param.alpha", "ELU", ROWS, "", "alpha: 2"),
    ("bias_param.axis", "Bias", IMAGE, "", "axis: 2"),
    ("bias_param.num_axes", "Bias", IMAGE, "", "num_axes: 2"),
    ("bias_param.filler", "Bias", IMAGE, "", "filler { value: 1 }"),
    ("scale_param.axis", "Scale", IMAGE, "", "axis: 2"),
    ("scale_param.num_axes", "Scale", IMAGE, "", "num_axes: 2"),
    ("scale_param.filler", "Scale", IMAGE, "", "filler { value: 2 }"),
    ("scale_param.bias_term", "Scale", IMAGE, "", "bias_term: true"),
    ("scale_param.bias_filler", "Scale", IMAGE, "bias_term: true", "bias_term: true bias_filler { value: 2 }"),
    ("parameter_param.shape", "Parameter", (), "shape { dim: 2 }", "shape { dim: 3 }"),
    ("recurrent_param.num_output", "LSTM", SEQUENCE, RECUR, RECUR.replace("4", "5")),
    ("recurrent_param.weight_filler", "LSTM", SEQUENCE, "num_output: 4 bias_filler { value: 1 }",
     f"{RECUR} bias_filler {{ value: 1 }}"),
    ("recurrent_param.bias_filler", "RNN", SEQUENCE, RECUR, f"{RECUR} bias_filler {{ value: 1 }}"),
    ("recurrent_param.expose_hidden", "RNN", SEQUENCE, RECUR, f"{RECUR} expose_hidden: true"),
    ("swish_param.beta", "Swish", ROWS, "", "beta: 2"),
    ("clip_param.min", "Clip", ROWS, "min: -1 max: 1", "min: 0 max: 1"),
    ("clip_param.max", "Clip", ROWS, "min: -1 max: 1", "min: -1 max: 0"),
    ("permute_param.order", "Permute", IMAGE, "", "order: 0 order: 2"),
    ("norm_param.across_spatial", "Normalize", IMAGE, "", "across_spatial: false"),
    ("norm_param.scale_filler", "Normalize", IMAGE, "", "scale_filler { value: 2 }"),
    ("norm_param.channel_shared", "Normalize", IMAGE, "", "channel_shared: false"),
    ("norm_param.eps", "Normalize", IMAGE, "", "eps: 1"),
    ("prior_box_param.min_size", "PriorBox", PRIORS, "min_size: 3", "min_size: 4"),
    ("prior_box_param.max_size", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 max_size: 5"),
    ("prior_box_param.aspect_ratio", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 aspect_ratio: 2"),
    ("prior_box_param.flip", "PriorBox", PRIORS, "min_size: 3 aspect_ratio: 2",
     "min_size: 3 aspect_ratio: 2 flip: false"),
    ("prior_box_param.clip", "PriorBox", PRIORS, "min_size: 9", "min_size: 9 clip: true"),
    ("prior_box_param.variance", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 variance: 0.2"),
    ("prior_box_param.img_size", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 img_size: 20"),
    ("prior_box_param.img_h", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 img_h: 20 img_w: 9"),
    ("prior_box_param.img_w", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 img_h: 8 img_w: 20"),
    ("prior_box_param.step", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 step: 2"),
    ("prior_box_param.step_h", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 step_h: 2 step_w: 3"),
    ("prior_box_param.step_w", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 step_h: 4 step_w: 2"),
    ("prior_box_param.offset", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 offset: 0.2"),
    ("prior_box_param.offset_h", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 offset_h: 0.2 offset_w: 0.5"),
    ("prior_box_param.offset_w", "PriorBox", PRIORS, "min_size: 3", "min_size: 3 offset_h: 0.5 offset_w: 0.2"),
    ("prior_box_param.width", "PriorBox", PRIORS, "width: 2 height: 2", "width: 3 height: 2"),
    ("prior_box_param.height", "PriorBox", PRIORS, "width: 2 height: 2", "width: 2 height: 3"),
    ("detection_output_param.num_classes", "DetectionOutput", FOUND, "num_classes: 3", "num_classes: 2"),
    ("detection_output_param.share_location", "DetectionOutput", FOUND, "num_classes: 3",
     "num_classes: 3 share_location: false"),
    ("detection_output_param.background_label_id", "DetectionOutput", FOUND, "num_classes: 3",
     "num_classes: 3 background_label_id: 1"),
    ("detection_output_param.nms_param", "DetectionOutput", FOUND, "num_classes: 3",
     "num_classes: 3 nms_param { top_k: 1 }"),
    ("detection_output_param.code_type", "DetectionOutput", FOUND, "num_classes: 3",
     "num_classes: 3 code_type: CENTER_SIZE"),
    ("detection_output_param.keep_top_k", "DetectionOutput", FOUND, "num_classes: 3", "num_classes: 3 keep_top_k: 1"),
    ("detection_output_param.variance_encoded_in_target", "DetectionOutput", FOUND, "num_classes: 3",
     "num_classes: 3 variance_encoded_in_target: true"),
    ("detection_output_param.confidence_threshold", "DetectionOutput", FOUND, "num_classes: 3",
     "num_classes: 3 confidence_threshold: 1.5"),
    ("detection_output_param.normalized_bbox", "DetectionOutput", FOUND, "num_classes: 3 code_type: CENTER_SIZE",
     "num_classes: 3 code_type: CENTER_SIZE normalized_bbox: false"),
    ("detection_output_param.clip", "DetectionOutput", FOUND, "num_classes: 3", "num_classes: 3 clip: true"),
    ("detection_output_param.objectness_score", "DetectionOutput", REFINED, "num_classes: 3",
     "num_classes: 3 objectness_score: 2"),
    ("relu6_param.negative_slope", "ReLU6", IMAGE, "", "negative_slope: 0.5"),
    ("yolo_detection_output_param.num_classes", "YoloDetectionOutput", CELLS, YOLO_2, YOLO_2.replace("3", "2")),
    ("yolo_detection_output_param.num_box", "YoloDetectionOutput", CELLS, YOLO_2, YOLO_2.replace("box: 2", "box: 1")),
    ("yolo_detection_output_param.coords", "YoloDetectionOutput", CELLS, YOLO_2, f"{YOLO_2} coords: 5"),
    ("yolo_detection_output_param.confidence_threshold", "YoloDetectionOutput", CELLS, YOLO_2,
     f"{YOLO_2} confidence_threshold: 0.4"),
    ("yolo_detection_output_param.nms_threshold", "YoloDetectionOutput", CELLS, YOLO_2, f"{YOLO_2} nms_threshold: 0"),
    ("yolo_detection_output_param.biases", "YoloDetectionOutput", CELLS, YOLO_2, YOLO_2.replace("[1", "[3")),
    ("yolov3_detection_output_param.num_classes", "Yolov3DetectionOutput", CELLS, YOLO_3, YOLO_3.replace("3", "2")),
    ("yolov3_detection_output_param.num_box", "Yolov3DetectionOutput", CELLS, YOLO_3,
     YOLO_3.replace("box: 2", "box: 1")),
    ("yolov3_detection_output_param.confidence_threshold", "Yolov3DetectionOutput", CELLS, YOLO_3,
     f"{YOLO_3} confidence_threshold: 0.5"),
    ("yolov3_detection_output_param.nms_threshold", "Yolov3DetectionOutput", CELLS, YOLO_3,
     f"{YOLO_3} nms_threshold: 0"),
    ("yolov3_detection_output_param.biases", "Yolov3DetectionOutput", CELLS, YOLO_3, YOLO_3.replace("[8", "[3")),
    ("yolov3_detection_output_param.anchors_scale", "Yolov3DetectionOutput", CELLS, YOLO_3,
     YOLO_3.replace("scale: 8", "scale: 4")),
    ("yolov3_detection_output_param.mask_group_num", "Yolov3DetectionOutput", CELLS, YOLO_3,
     YOLO_3.replace("num: 1", "num: 2")),
    ("yolov3_detection_output_param.mask", "Yolov3DetectionOutput", CELLS, YOLO_3, YOLO_3.replace("[0", "[1")),
    ("bn_param.scale_filler", "BN", IMAGE, "scale_filler { value: 1 }", "scale_filler { value: 2 }"),
    ("bn_param.shift_filler", "BN", IMAGE, "scale_filler { value: 1 }",
     "scale_filler { value: 1 } shift_filler { value: 2 }"),
    ("bn_param.bn_mode", "BN", IMAGE, "scale_filler { value: 1 }", "scale_filler { value: 1 } bn_mode: INFERENCE"),
    ("bn_param.slope_filler", "BN", IMAGE, "slope_filler { value: 1 }", "slope_filler { value: 2 }"),
    ("bn_param.bias_filler", "BN", IMAGE, "slope_filler { value: 1 }",
     "slope_filler { value: 1 } bias_filler { value: 2 }"),
    ("bn_param.momentum", "BN", IMAGE, "slope_filler { value: 1 }", "slope_filler { value: 1 } momentum: 0.5"),
    ("bn_param.eps", "BN", IMAGE, "slope_filler { value: 1 }", "slope_filler { value: 1 } eps: 1"),
    ("bn_param.frozen", "BN", IMAGE, "slope_filler { value: 1 }", "slope_filler { value: 1 } frozen: true"),
    ("bn_param.var_eps", "BN", IMAGE, "decay: 0.05 scale_filler { value: 1 }",
     "decay: 0.05 scale_filler { value: 1 } var_eps: 1"),
    ("bn_param.decay", "BN", IMAGE, "decay: 0.05 scale_filler { value: 1 }", "decay: 0.5 scale_filler { value: 1 }"),
    ("bn_param.axis", "BN", IMAGE, "decay: 0.05 scale_filler { value: 1 }",
     "decay: 0.05 scale_filler { value: 1 } axis: 2"),
    ("convolution_param.relu", "Convolution", IMAGE, FILTER, f"{FILTER} relu: true"),
    ("convolution_param.negative_slope", "Convolution", IMAGE, f"{FILTER} relu: true",
     f"{FILTER} relu: true negative_slope: 2"),
    ("convolution_param.fuse_type", "Convolution", IMAGE, FILTER, f"{FILTER} {FUSED}"),
    ("convolution_param.relu_param", "Convolution", IMAGE, f"{FILTER} {FUSED}",
     f"{FILTER} {FUSED} relu_param {{ negative_slope: 2 }}"),
    ("convolution_param.eltwise_param", "Convolution", SUMMED, f"{FILTER} {ADDED}",
     f"{FILTER} {ADDED} eltwise_param {{ coeff: [1, 2] }}"),
    ("batch_norm_param.relu", "BatchNorm", IMAGE, "", "relu: true"),
    ("batch_norm_param.stats_batch_size", "BatchNorm", IMAGE, "", "stats_batch_size: 1"),
    ("lrn_param.fuse_type", "LRN", IMAGE, "", f"{POOLED} pooling_param {{ kernel_size: 2 }}"),
    ("lrn_param.pooling_param", "LRN", IMAGE, f"{POOLED} pooling_param {{ kernel_size: 2 }}",
     f"{POOLED} pooling_param {{ kernel_size: 3 }}"),
    ("deformable_convolution_param.num_output", "DeformableConvolution", MOVED, FILTER, FILTER.replace("4", "6")),
    ("deformable_convolution_param.bias_term", "DeformableConvolution", MOVED, FILTER, f"{FILTER} bias_term: false"),
    ("deformable_convolution_param.pad", "DeformableConvolution", MOVED, FILTER, f"{FILTER} pad: 1"),
    ("deformable_convolution_param.kernel_size", "DeformableConvolution", MOVED, FILTER, FILTER.replace("3", "2")),
    ("deformable_convolution_param.stride", "DeformableConvolution", MOVED, FILTER, f"{FILTER} stride: 2"),
    ("deformable_convolution_param.dilation", "DeformableConvolution", MOVED, FILTER, f"{FILTER} dilation: 2"),
    ("deformable_convolution_param.pad_h", "DeformableConvolution", MOVED, FILTER, f"{FILTER} pad_h: 1"),
    ("deformable_convolution_param.pad_w", "DeformableConvolution", MOVED, FILTER, f"{FILTER} pad_w: 1"),
    ("deformable_convolution_param.kernel_h", "DeformableConvolution", MOVED, FILTER,
     f"{PRODUCT} kernel_h: 2 kernel_w: 3"),
    ("deformable_convolution_param.kernel_w", "DeformableConvolution", MOVED, FILTER,
     f"{PRODUCT} kernel_h: 3 kernel_w: 2"),
    ("deformable_convolution_param.stride_h", "DeformableConvolution", MOVED, FILTER,
     f"{FILTER} stride_h: 2 stride_w: 1"),
    ("deformable_convolution_param.stride_w", "DeformableConvolution", MOVED, FILTER,
     f"{FILTER} stride_h: 1 stride_w: 2"),
    ("deformable_convolution_param.group", "DeformableConvolution", MOVED, FILTER, f"{FILTER} group: 2"),
    ("deformable_convolution_param.deformable_group", "DeformableConvolution", MOVED, FILTER,
     f"{FILTER} deformable_group: 2"),
    ("deformable_convolution_param.weight_filler", "DeformableConvolution", MOVED, FILTER,
     FILTER.replace("gaussian", "xavier")),
    ("deformable_convolution_param.bias_filler", "DeformableConvolution", MOVED, FILTER,
     f"{FILTER} bias_filler {{ value: 1 }}"),
    ("deformable_convolution_param.axis", "DeformableConvolution", MOVED, FILTER, f"{FILTER} axis: 0"),
    *((f"{message}.{name}", "Convolution3D", VIDEO, FILM, given)
      for message, name, given in (
        ("convolution3d_param", "num_output", FILM.replace("output: 4", "output: 6")),
        ("convolution3d_param", "bias_term", f"{FILM} bias_term: false"),
        ("convolution3d_param", "pad", f"{FILM} pad: 1"),
        ("convolution3d_param", "kernel_size", FILM.replace("size: 2", "size: 3")),
        ("convolution3d_param", "group", f"{FILM} group: 2"),
        ("convolution3d_param", "kernel_depth", FILM.replace("depth: 2", "depth: 3")),
        ("convolution3d_param", "stride", f"{FILM} stride: 2"),
        ("convolution3d_param", "temporal_stride", f"{FILM} temporal_stride: 2"),
        ("convolution3d_param", "weight_filler", FILM.replace("gaussian", "xavier")),
        ("convolution3d_param", "bias_filler", f"{FILM} bias_filler {{ value: 1 }}"),
        ("convolution3d_param", "temporal_pad", f"{FILM} temporal_pad: 1"),
        ("convolution_param", "kernel_depth", FILM.replace("depth: 2", "depth: 3")),
        ("convolution_param", "temporal_stride", f"{FILM} temporal_stride: 2"),
        ("convolution_param", "temporal_pad", f"{FILM} temporal_pad: 1"),
    )),
    ("pooling_param.kernel_depth", "Pooling3D", VIDEO, CUBE, "kernel_depth: 3 kernel_size: 2"),
    ("pooling_param.temporal_stride", "Pooling3D", VIDEO, CUBE, f"{CUBE} temporal_stride: 2"),
    ("pooling3d_param.pool", "Pooling3D", VIDEO, CUBE, f"{CUBE} pool: AVE"),
    ("pooling3d_param.kernel_size", "Pooling3D", VIDEO, CUBE, "kernel_depth: 2 kernel_size: 3"),
    ("pooling3d_param.kernel_depth", "Pooling3D", VIDEO, CUBE, "kernel_depth: 3 kernel_size: 2"),
    ("pooling3d_param.stride", "Pooling3D", VIDEO, CUBE, f"{CUBE} stride: 2"),
    ("pooling3d_param.temporal_stride", "Pooling3D", VIDEO, CUBE, f"{CUBE} temporal_stride: 2"),
    ("pooling3d_param.pad", "Pooling3D", VIDEO, f"{CUBE} pool: AVE", f"{CUBE} pool: AVE pad: 1"),
    ("unpooling_param.unpool", "Unpooling", IMAGE, "kernel_size: 2 unpool_size: 20",
     "unpool: TILE kernel_size: 2 unpool_size: 20"),
    ("unpooling_param.pad", "Unpooling", IMAGE, SPREAD, f"{SPREAD} pad: 1"),
    ("unpooling_param.pad_h", "Unpooling", IMAGE, SPREAD, f"{SPREAD} pad_h: 1"),
    ("unpooling_param.pad_w", "Unpooling", IMAGE, SPREAD, f"{SPREAD} pad_w: 1"),
    ("unpooling_param.kernel_size", "Unpooling", IMAGE, SPREAD, "unpool: TILE kernel_size: 3 unpool_size: 20"),
    ("unpooling_param.kernel_h", "Unpooling", IMAGE, SPREAD, "unpool: TILE kernel_h: 3 kernel_w: 2 unpool_size: 20"),
    ("unpooling_param.kernel_w", "Unpooling", IMAGE, SPREAD, "unpool: TILE kernel_h: 2 kernel_w: 3 unpool_size: 20"),
    ("unpooling_param.stride", "Unpooling", IMAGE, SPREAD, f"{SPREAD} stride: 2"),
    ("unpooling_param.stride_h", "Unpooling", IMAGE, SPREAD, f"{SPREAD} stride_h: 2 stride_w: 1"),
    ("unpooling_param.stride_w", "Unpooling", IMAGE, SPREAD, f"{SPREAD} stride_h: 1 stride_w: 2"),
    ("unpooling_param.unpool_size", "Unpooling", IMAGE, SPREAD, "unpool: TILE kernel_size: 2 unpool_size: 9"),
    ("unpooling_param.unpool_h", "Unpooling", IMAGE, SPREAD, "unpool: TILE kernel_size: 2 unpool_h: 9 unpool_w: 20"),
    ("unpooling_param.unpool_w", "Unpooling", IMAGE, SPREAD, "unpool: TILE kernel_size: 2 unpool_h: 20 unpool_w: 9"),
    ("imresize_param.target_spatial_width", "ImResize", IMAGE, "", "target_spatial_width: 9"),
    ("imresize_param.target_spatial_height", "ImResize", IMAGE, "", "target_spatial_height: 9"),
    ("imresize_param.factor", "ImResize", IMAGE, "", "factor: 2"),
    ("imresize_param.start_scale", "ImResize", IMAGE, "", "start_scale: 0.5"),
    ("imresize_param.scale_gap", "ImResize", IMAGE, "", "scale_gap: 0.9"),
    ("nms_param.threshold", "Nms", MAPS, "num_parts: 2", "num_parts: 2 threshold: 1.5"),
    ("nms_param.max_peaks", "Nms", MAPS, "num_parts: 2", "num_parts: 2 max_peaks: 3"),
    ("nms_param.num_parts", "Nms", MAPS, "num_parts: 2", "num_parts: 3"),
    ("multi_stage_meanfield_param.theta_alpha", "MultiStageMeanfield", FIELDS, FIELD,
     FIELD.replace("alpha: 2", "alpha: 3")),
    ("multi_stage_meanfield_param.theta_beta", "MultiStageMeanfield", FIELDS, FIELD,
     FIELD.replace("beta: 2", "beta: 3")),
    ("multi_stage_meanfield_param.theta_gamma", "MultiStageMeanfield", FIELDS, FIELD,
     FIELD.replace("gamma: 2", "gamma: 3")),
    ("multi_stage_meanfield_param.num_iterations", "MultiStageMeanfield", FIELDS, FIELD,
     FIELD.replace("iterations: 2", "iterations: 3")),
    ("multi_stage_meanfield_param.spatial_filter_weight", "MultiStageMeanfield", FIELDS, FIELD,
     FIELD.replace("spatial_filter_weight: 1", "spatial_filter_weight: 2")),
    ("multi_stage_meanfield_param.bilateral_filter_weight", "MultiStageMeanfield", FIELDS, FIELD,
     FIELD.replace("bilateral_filter_weight: 1", "bilateral_filter_weight: 2")),
    ("multi_stage_meanfield_param.spatial_filter_weights_str", "MultiStageMeanfield", FIELDS, FIELD,
     f"{FIELD} spatial_filter_weights_str: '1 2 3'"),
    ("multi_stage_meanfield_param.bilateral_filter_weights_str", "MultiStageMeanfield", FIELDS, FIELD,
     f"{FIELD} bilateral_filter_weights_str: '1 2 3'"),
    ("eval_detection_param.side", "EvalDetection", GRIDS, GRID, "side: 3 num_class: 3"),
    ("eval_detection_param.num_class", "EvalDetection", GRIDS, GRID, "side: 2 num_class: 4"),
    ("eval_detection_param.num_object", "EvalDetection", GRIDS, GRID, "side: 2 num_class: 3 num_object: 3"),
    ("eval_detection_param.threshold", "EvalDetection", GRIDS, GRID, f"{GRID} threshold: 0.01"),
    ("eval_detection_param.sqrt", "EvalDetection", GRIDS, f"{GRID} nms: 0.1", f"{GRID} sqrt: false nms: 0.1"),
    ("eval_detection_param.constriant", "EvalDetection", GRIDS, f"{GRID} threshold: 0.1",
     f"{GRID} constriant: false threshold: 0.1"),
    ("eval_detection_param.score_type", "EvalDetection", GRIDS, GRID, f"{GRID} score_type: OBJ"),
    ("eval_detection_param.nms", "EvalDetection", GRIDS, GRID, f"{GRID} nms: 0.0"),
    ("eval_detection_param.biases", "EvalDetection", GRIDS, GRID, f"{GRID} biases: [1, 1, 1, 1]"),
    ("continuation_indicator_param.time_step", "ContinuationIndicator", (), "time_step: 2 batch_size: 2",
     "time_step: 3 batch_size: 2"),
    ("continuation_indicator_param.batch_size", "ContinuationIndicator", (), "time_step: 2 batch_size: 2",
     "time_step: 2 batch_size: 3"),
    ("upsample_param.scale", "Upsample", MASKED, "", "scale: 4"),
    ("upsample_param.scale_h", "Upsample", MASKED, "scale_h: 2 scale_w: 2", "scale_h: 3 scale_w: 2"),
    ("upsample_param.scale_w", "Upsample", MASKED, "scale_h: 2 scale_w: 2", "scale_h: 2 scale_w: 3"),
    ("upsample_param.pad_out_h", "Upsample", MASKED, "", "pad_out_h: true"),
    ("upsample_param.pad_out_w", "Upsample", MASKED, "", "pad_out_w: true"),
    ("upsample_param.upsample_h", "Upsample", MASKED, "upsample_h: 5 upsample_w: 4", "upsample_h: 4 upsample_w: 4"),
    ("upsample_param.upsample_w", "Upsample", MASKED, "upsample_h: 4 upsample_w: 5", "upsample_h: 4 upsample_w: 4"),
    ("transpose_param.dim", "Transpose", ROWS, "dim: 0 dim: 1", "dim: 1 dim: 0"),
    ("reverse_param.axis", "Reverse", ROWS, "", "axis: 1"),
    ("reorg_param.stride", "Reorg", SQUARE, "stride: 1", "stride: 2"),
    ("reorg_param.reverse", "Reorg", SQUARE, "stride: 2", "stride: 2 reverse: true"),
    ("interp_param.height", "Interp", IMAGE, "height: 3 width: 3", "height: 4 width: 3"),
    ("interp_param.width", "Interp", IMAGE, "height: 3 width: 3", "height: 3 width: 4"),
    ("interp_param.zoom_factor", "Interp", IMAGE, "height: 3 width: 3", "height: 3 width: 3 zoom_factor: 2"),
    ("interp_param.shrink_factor", "Interp", IMAGE, "zoom_factor: 2", "zoom_factor: 2 shrink_factor: 2"),
    ("interp_param.pad_beg", "Interp", IMAGE, "height: 3 width: 3", "height: 3 width: 3 pad_beg: -1"),
    ("interp_param.pad_end", "Interp", IMAGE, "height: 3 width: 3", "height: 3 width: 3 pad_end: -1"),
    ("interp_param.interp_type", "Interp", IMAGE, "height: 3 width: 3", "height: 3 width: 3 interp_type: 'nearest'"),
    ("seg_accuracy_param.ignore_label", "SegAccuracy", PIXELS, "", "ignore_label: 0"),
    ("shuffle_channel_param.group", "ShuffleChannel", IMAGE, "", "group: 2"),
    ("proposal_param.feat_stride", "Proposal", ANCHORS, "scale: 1 min_size: 4", "scale: 1 min_size: 4 feat_stride: 8"),
    ("proposal_param.base_size", "Proposal", ANCHORS, "scale: 1 min_size: 4", "scale: 1 min_size: 4 base_size: 8"),
    ("proposal_param.min_size", "Proposal", ANCHORS, "scale: 1 min_size: 4", "scale: 1 min_size: 20"),
    ("proposal_param.ratio", "Proposal", ANCHORS, "scale: 1 min_size: 4", "scale: 1 min_size: 4 ratio: [1, 2, 4]"),
    ("proposal_param.scale", "Proposal", ANCHORS, "scale: 1 min_size: 4", "scale: 2 min_size: 4"),
    ("proposal_param.pre_nms_topn", "Proposal", ANCHORS, "scale: 1 min_size: 4",
     "scale: 1 min_size: 4 pre_nms_topn: 2"),
    ("proposal_param.post_nms_topn", "Proposal", ANCHORS, "scale: 1 min_size: 4",
     "scale: 1 min_size: 4 post_nms_topn: 1"),
    ("proposal_param.nms_thresh", "Proposal", ANCHORS, "scale: 1 min_size: 4", "scale: 1 min_size: 4 nms_thresh: 0.0"),
    ("psroi_pooling_param.spatial_scale", "PSROIPooling", REGIONS, "output_dim: 2 group_size: 2",
     "output_dim: 2 group_size: 2 spatial_scale: 3"),
    ("psroi_pooling_param.output_dim", "PSROIPooling", REGIONS, "output_dim: 2 group_size: 2",
     "output_dim: 8 group_size: 1"),
    ("psroi_pooling_param.group_size", "PSROIPooling", REGIONS, "output_dim: 2 group_size: 2",
     "output_dim: 8 group_size: 1"),
    ("roi_pooling_param.pooled_h", "ROIPooling", REGIONS, "pooled_h: 2 pooled_w: 2", "pooled_h: 1 pooled_w: 2"),
    ("roi_pooling_param.pooled_w", "ROIPooling", REGIONS, "pooled_h: 2 pooled_w: 2", "pooled_h: 2 pooled_w: 1"),
    ("roi_pooling_param.spatial_scale", "ROIPooling", REGIONS, "pooled_h: 2 pooled_w: 2",
     "pooled_h: 2 pooled_w: 2 spatial_scale: 3"),
    ("spatial_dropout_param.dropout_ratio", "SpatialDropout", PAIR[:1], "", "dropout_ratio: 0"),
    *((f"multibox_loss_param.{name}", "MultiBoxLoss", TRAINED, f"num_classes: 3 {without}", f"num_classes: 3 {given}")
      for name, without, given in (
        ("loc_loss_type", "", "loc_loss_type: L2"),
        ("conf_loss_type", "", "conf_loss_type: LOGISTIC"),
        ("loc_weight", "", "loc_weight: 3"),
        ("share_location", "mining_type: NONE", "mining_type: NONE share_location: false"),
        ("match_type", "overlap_threshold: 0.2", "overlap_threshold: 0.2 match_type: BIPARTITE"),
        ("overlap_threshold", "", "overlap_threshold: 0.9"),
        ("use_prior_for_matching", FREE, f"{FREE} use_prior_for_matching: false"),
        ("use_difficult_gt", "", "use_difficult_gt: false"),
        ("do_neg_mining", "", "do_neg_mining: false"),
        ("neg_pos_ratio", "", "neg_pos_ratio: 0"),
        ("neg_overlap", "", "neg_overlap: 0.01"),
        ("code_type", "", "code_type: CENTER_SIZE"),
        ("encode_variance_in_target", "", "encode_variance_in_target: true"),
        ("map_object_to_agnostic", "", "map_object_to_agnostic: true"),
        ("ignore_cross_boundary_bbox", OWN, f"{OWN} ignore_cross_boundary_bbox: true"),
        ("bp_inside", OWN, f"{OWN} bp_inside: true"),
        ("mining_type", "", "mining_type: NONE"),
        ("nms_param", HARDEST, f"{HARDEST} nms_param {{ nms_threshold: 0.1 }}"),
        ("sample_size", HARDEST, f"{HARDEST} sample_size: 1"),
        ("use_prior_for_nms", f"{HARDEST} nms_param {{ nms_threshold: 0.1 }}",
         f"{HARDEST} nms_param {{ nms_threshold: 0.1 }} use_prior_for_nms: true"),
    )),
    ("multibox_loss_param.num_classes", "MultiBoxLoss", TRAINED, "num_classes: 3", "num_classes: 4"),
    ("multibox_loss_param.background_label_id", "MultiBoxLoss", (TRAINED[0], (3, 24), *TRAINED[2:]), "num_classes: 4",
     "num_classes: 4 background_label_id: 3"),
    *((f"detection_evaluate_param.{name}", "DetectionEvaluate", JUDGED, f"num_classes: 4 {without}",
       f"num_classes: 4 {given}")
      for name, without, given in (
        ("background_label_id", "", "background_label_id: 3"),
        ("overlap_threshold", "", "overlap_threshold: 0.99"),
        ("evaluate_difficult_gt", "", "evaluate_difficult_gt: false"),
        ("name_size_file", CLOSE, f"{CLOSE} {SIZES}"),
        ("resize_param", f"{CLOSE} {SIZES}",
         f"{CLOSE} {SIZES} resize_param {{ height: 9 width: 3 resize_mode: FIT_LARGE_SIZE_AND_PAD }}"),
    )),
    ("detection_evaluate_param.num_classes", "DetectionEvaluate", JUDGED, "num_classes: 3", "num_classes: 4"),
    ("box_annotator_ohem_param.roi_per_img", "BoxAnnotatorOHEM", HARD, "roi_per_img: 1", "roi_per_img: 2"),
    ("box_annotator_ohem_param.ignore_label", "BoxAnnotatorOHEM", HARD, "roi_per_img: 1",
     "roi_per_img: 1 ignore_label: 9"),
    ("smooth_l1_loss_param.sigma", "SmoothL1Loss", PAIR, "", "sigma: 3"),
    ("lstm_param.num_output", "Lstm", SEQUENCE, RECUR, RECUR.replace("4", "5")),
    ("lstm_param.weight_filler", "Lstm", SEQUENCE,
     "num_output: 4 bias_filler { value: 1 }",
     f"{RECUR} bias_filler {{ value: 1 }}"),
    ("lstm_param.bias_filler", "Lstm", SEQUENCE, RECUR, f"{RECUR} bias_filler {{ value: 1 }}"),
]  # fmt: skip


def fields() -> set[str]:
    messages = [field for field in schema.LayerParameter.DESCRIPTOR.fields if field.name.endswith("_param")]
    return {
        f"{message.name}.{field.name}"
        for message in messages
        if message.name not in ELSEWHERE and not message.GetOptions().deprecated
        for field in message.message_type.fields
        if not field.GetOptions().deprecated and f"{message.name}.{field.name}" not in IN_TESTING
    }


def outcome(kind: str, shapes: tuple[tuple[int, ...], ...], settings: str) -> list[object]:
    """Returns what a layer makes of the same bottoms the second time, and its blobs then; or how it refuses."""
    torch.manual_seed(0)
    tops = 2 if kind in ("Slice", "BoxAnnotatorOHEM") else 1
    try:
        net = single_net(kind, settings, *shapes, tops=tops, phase=schema.TRAIN)
    except NetError as error:
        return [str(error)]
    generator = torch.Generator().manual_seed(3)
    bottoms = [torch.randn(shape, generator=generator) for shape in shapes]
    for index, shape in enumerate(shapes):
        if (index and shape != shapes[0]) or kind in ("Embed", "Upsample"):
            bottoms[index] = torch.arange(bottoms[index].numel()).reshape(shape).remainder(3).clamp(max=2).float()
    if kind == "MultiBoxLoss":
        bottoms[2:] = [torch.tensor(PRIORS_OF_SSD), torch.tensor(TRUTHS)]
    if kind == "DetectionEvaluate":
        bottoms = [torch.tensor(DETECTED), torch.tensor(TRUTHS)]
    if kind == "EvalDetection" and shapes == GRIDS:
        bottoms[1] = torch.tensor(CELLS_OF_YOLO[:1])
    if kind == "BoxAnnotatorOHEM":
        bottoms[0] = torch.tensor(SPOTS)
    if kind == "Proposal":
        bottoms[1:] = [torch.zeros(shapes[1]), torch.tensor([[64.0, 80.0, 1.0]])]
    batch = {f"b{index}": bottom for index, bottom in enumerate(bottoms)}
    net(batch)
    result = net(batch)
    return [tensor.detach().clone() for tensor in (*result.values(), *net.layer("l").blobs())]


def same(left: list[object], right: list[object]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
        for a, b in zip(left, right, strict=True)
    )


def test_every_field_is_listed():
    assert {name for name, *_ in CHANGES} | WITHOUT_MEANING == fields()


@pytest.mark.parametrize(("field", "kind", "shapes", "without", "given"), CHANGES, ids=[row[0] for row in CHANGES])
def test_every_field_has_an_effect(field, kind, shapes, without, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, matrix in (("square", np.eye(4)), ("other", np.ones((4, 4)))):
        (tmp_path / name).write_bytes(array_blob(matrix.astype(np.float32)).SerializeToString())
    (tmp_path / "sizes").write_text("a 6 40\nb 8 30\nc 5 5\n")
    message, name = field.split(".")
    assert name in given
    before = outcome(kind, shapes, f"{message} {{ {without} }}" if without else "")
    assert all(isinstance(made, torch.Tensor) for made in before), before
    assert same(before, outcome(kind, shapes, f"{message} {{ {without} }}" if without else ""))
    assert not same(before, outcome(kind, shapes, f"{message} {{ {given} }}"))


@pytest.mark.parametrize("field", sorted(WITHOUT_MEANING))
def test_fields_without_meaning_are_accepted(field):
    message, name = field.split(".")
    settings = {
        "convolution_param": ("Convolution", IMAGE, FILTER),
        "lrn_param": ("LRN", IMAGE, ""),
        "pooling_param": ("Pooling", IMAGE, "kernel_size: 2"),
        "relu_param": ("ReLU", IMAGE, ""),
        "sigmoid_param": ("Sigmoid", IMAGE, ""),
        "softmax_param": ("Softmax", IMAGE, ""),
        "spp_param": ("SPP", IMAGE, "pyramid_height: 2"),
        "tanh_param": ("TanH", IMAGE, ""),
        "recurrent_param": ("LSTM", SEQUENCE, RECUR),
        "eltwise_param": ("Eltwise", PAIR, "operation: PROD"),
        "relu6_param": ("ReLU6", IMAGE, ""),
        "yolo_detection_output_param": ("YoloDetectionOutput", CELLS, YOLO_2),
        "lstm_param": ("Lstm", SEQUENCE, RECUR),
    }[message]
    kind, shapes, base = settings
    value = {"stable_prod_grad": "false", **dict.fromkeys(("side", "clipping_threshold", "batch_size"), "3")}
    value = {"engine": "CUDNN", **value}.get(name, "true")
    plain = outcome(kind, shapes, f"{message} {{ {base} }}")
    assert all(isinstance(made, torch.Tensor) for made in plain)
    assert same(plain, outcome(kind, shapes, f"{message} {{ {base} {name}: {value} }}"))
