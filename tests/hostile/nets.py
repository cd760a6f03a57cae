"""Small nets and solvers of many kinds of layers, to be damaged."""

SMALL = """name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 1 group: 1
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
"""
RULES = """
layer { name: "d" type: "DummyData" top: "a" top: "l" include { phase: TRAIN min_level: 0 }
  dummy_data_param { shape { dim: 2 dim: 4 } shape { dim: 2 }
    data_filler { type: "uniform" min: 0 max: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "d" type: "DummyData" top: "a" top: "l" exclude { phase: TRAIN } exclude { stage: "x" }
  dummy_data_param { num: 2 channels: 4 height: 1 width: 1 num: 2 channels: 1 height: 1 width: 1 } }
layer { name: "drop" type: "Dropout" bottom: "a" top: "a" dropout_param { dropout_ratio: 0.5 } }
layer { name: "s" type: "Slice" bottom: "a" top: "b" top: "c" slice_param { axis: 1 slice_point: 1 } }
layer { name: "cat" type: "Concat" bottom: "b" bottom: "c" top: "e" concat_param { axis: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "e" bottom: "l" top: "loss" loss_weight: 0.5
  propagate_down: true propagate_down: false
  softmax_param { axis: 1 } loss_param { ignore_label: 3 normalization: VALID } }
"""
AXES = """input: "x" input_shape { dim: 2 dim: 4 dim: 3 dim: 3 } force_backward: true
state { phase: TEST level: 1 stage: "q" }
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" param { lr_mult: 0 }
  batch_norm_param { eps: 0.001 moving_average_fraction: 0.9 } }
layer { name: "sc" type: "Scale" bottom: "bn" top: "sc"
  scale_param { bias_term: true axis: 1 num_axes: 1 filler { value: 2 } } }
layer { name: "lrn" type: "LRN" bottom: "sc" top: "lrn"
  lrn_param { local_size: 3 alpha: 1 beta: 0.75 norm_region: WITHIN_CHANNEL k: 1 } }
layer { name: "rs" type: "Reshape" bottom: "lrn" top: "rs"
  reshape_param { shape { dim: 0 dim: -1 } axis: 0 num_axes: -1 } }
layer { name: "red" type: "Reduction" bottom: "rs" top: "red" reduction_param { operation: MEAN axis: 1 coeff: 2 } }
layer { name: "am" type: "ArgMax" bottom: "rs" top: "am" argmax_param { top_k: 2 axis: 1 out_max_val: true } }
"""
COMPRESSED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "q" type: "INQInnerProduct" bottom: "data" top: "q"
  inner_product_param { num_output: 4 axis: 1 transpose: false
    weight_filler { type: "msra" variance_norm: AVERAGE } }
  inq_inner_product_param { portion: 0 portion: 0.5 num_quantum_values: 7
    weight_mask_filler { type: "constant" value: 1 } } }
layer { name: "s" type: "DNSInnerProduct" bottom: "q" top: "s"
  inner_product_param { num_output: 3 weight_filler { type: "positive_unitball" } }
  dns_inner_product_param { c_rate: 1 gamma: 0.1 power: 1 iter_stop: 10 alpha_low: 0.9 } }
layer { name: "e" type: "Eltwise" bottom: "s" bottom: "s" top: "e"
  eltwise_param { operation: SUM coeff: 1 coeff: -1 } }
layer { name: "p" type: "Power" bottom: "e" top: "e" power_param { power: 2 scale: 0.5 shift: 1 } }
layer { name: "f" type: "Flatten" bottom: "e" top: "f" flatten_param { axis: 0 end_axis: -1 } }
"""
DETECTOR = """input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "dw" type: "ConvolutionDepthwise" bottom: "data" top: "dw"
  convolution_param { num_output: 3 kernel_size: 3 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "r6" type: "ReLU6" bottom: "dw" top: "dw" relu6_param { negative_slope: 0.1 } }
layer { name: "hs" type: "HardSigmoid" bottom: "dw" top: "dw" }
layer { name: "norm" type: "Normalize" bottom: "dw" top: "norm"
  norm_param { across_spatial: false channel_shared: false eps: 0.1 scale_filler { value: 2 } } }
layer { name: "loc" type: "Convolution" bottom: "norm" top: "loc" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "perm" type: "Permute" bottom: "loc" top: "perm" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "flat" type: "Flatten" bottom: "perm" top: "flat" }
layer { name: "conf" type: "Convolution" bottom: "norm" top: "conf" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf" top: "conf_flat" }
layer { name: "prior" type: "PriorBox" bottom: "norm" bottom: "data" top: "prior"
  prior_box_param { min_size: 5 clip: true flip: false variance: 0.1 step: 4 offset: 0.5 img_size: 16 } }
layer { name: "found" type: "DetectionOutput" bottom: "flat" bottom: "conf_flat" bottom: "prior" top: "found"
  detection_output_param { num_classes: 2 share_location: true background_label_id: 0 keep_top_k: 5
    code_type: CENTER_SIZE confidence_threshold: 0.1 variance_encoded_in_target: false
    nms_param { nms_threshold: 0.4 top_k: 9 eta: 0.9 } } }
"""
SEGMENTER = """input: "data" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "bn" type: "BN" bottom: "pool" top: "bn"
  bn_param { slope_filler { value: 1 } bias_filler { value: 0 } momentum: 0.9 eps: 0.01 frozen: true } }
layer { name: "up" type: "Upsample" bottom: "bn" bottom: "mask" top: "up" upsample_param { scale: 2 } }
layer { name: "drop" type: "SpatialDropout" bottom: "up" top: "up" spatial_dropout_param { dropout_ratio: 0.1 } }
layer { name: "interp" type: "Interp" bottom: "up" top: "interp"
  interp_param { zoom_factor: 2 pad_beg: -1 pad_end: 0 } }
layer { name: "shuffle" type: "ShuffleChannel" bottom: "interp" top: "shuffle" shuffle_channel_param { group: 2 } }
layer { name: "reorg" type: "Reorg" bottom: "data" top: "reorg" reorg_param { stride: 2 reverse: false } }
layer { name: "tr" type: "Transpose" bottom: "reorg" top: "tr"
  transpose_param { dim: 3 dim: 0 dim: 2 dim: 1 } }
layer { name: "rev" type: "Reverse" bottom: "tr" top: "rev" reverse_param { axis: 1 } }
layer { name: "mat" type: "MatWrite" bottom: "rev" mat_write_param { prefix: "m" source: "s" strip: 4 period: 9 } }
layer { name: "lstm" type: "Lstm" bottom: "rev" top: "lstm" lstm_param { num_output: 3 clipping_threshold: 1 } }
"""
REGIONS = """input: "x" input_shape { dim: 1 dim: 8 dim: 4 dim: 4 } input: "info" input_shape { dim: 1 dim: 3 }
layer { name: "s" type: "Convolution" bottom: "x" top: "s" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "o" type: "Convolution" bottom: "x" top: "o" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "rois" type: "Proposal" bottom: "s" bottom: "o" bottom: "info" top: "rois"
  proposal_param { feat_stride: 4 base_size: 8 min_size: 2 ratio: 1 scale: 1 pre_nms_topn: 9 post_nms_topn: 4
    nms_thresh: 0.7 } }
layer { name: "python" type: "Python" bottom: "s" bottom: "o" bottom: "info" top: "more"
  python_param { module: "rpn.proposal_layer" layer: "ProposalLayer"
    param_str: "'feat_stride': 4, 'scales': [1], 'ratios': (1.5,), 'base_size': 8" } }
layer { name: "ps" type: "PSROIPooling" bottom: "x" bottom: "rois" top: "ps"
  psroi_pooling_param { spatial_scale: 0.25 output_dim: 2 group_size: 2 } }
layer { name: "roi" type: "ROIPooling" bottom: "x" bottom: "rois" top: "roi"
  roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 } }
layer { name: "y" type: "YoloDetectionOutput" bottom: "x" top: "y"
  yolo_detection_output_param { num_classes: 3 num_box: 1 biases: [1, 2] nms_threshold: 0.4 coords: 4 } }
layer { name: "y3" type: "Yolov3DetectionOutput" bottom: "x" top: "y3"
  yolov3_detection_output_param { num_classes: 3 num_box: 1 biases: [1, 2] mask: 0 mask_group_num: 1
    anchors_scale: 4 confidence_threshold: 0.1 } }
"""
POSES = """input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } input: "label" input_shape { dim: 1 dim: 28 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 18 kernel_size: 3 pad: 1
  relu: true negative_slope: 0.1 } }
layer { name: "d" type: "DeformableConvolution" bottom: "x" bottom: "c" top: "d"
  deformable_convolution_param { num_output: 4 kernel_size: 3 pad: 1 deformable_group: 1 group: 1 } }
layer { name: "n" type: "LRN" bottom: "d" top: "n" lrn_param { fuse_type: FUSED_POOL_MAX local_size: 3
  pooling_param { kernel_size: 2 stride: 2 } } }
layer { name: "u" type: "Unpooling" bottom: "n" top: "u"
  unpooling_param { unpool: TILE kernel_size: 2 stride: 2 unpool_h: 8 unpool_w: 9 } }
layer { name: "r" type: "ImResize" bottom: "d" top: "r" imresize_param { factor: 2 start_scale: 1 scale_gap: 0.3 } }
layer { name: "p" type: "Nms" bottom: "r" top: "p" nms_param { threshold: 0.1 max_peaks: 5 num_parts: 2 } }
layer { name: "f" type: "MultiStageMeanfield" bottom: "d" bottom: "d" bottom: "x" top: "f"
  multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 3 theta_beta: 3 theta_gamma: 3
    spatial_filter_weight: 1 bilateral_filter_weights_str: "1 2 3 4" } }
layer { name: "k" type: "Slice" bottom: "d" top: "k" top: "l" slice_param { slice_point: 1 } }
layer { name: "i" type: "InnerProduct" bottom: "k" top: "i" inner_product_param { num_output: 52 } }
layer { name: "e" type: "EvalDetection" bottom: "i" bottom: "label" top: "e"
  eval_detection_param { side: 2 num_class: 3 num_object: 2 threshold: 0.5 nms: 0.4 } }
layer { name: "g" type: "Python" bottom: "k" bottom: "d" top: "g" python_param { layer: "ClusterDetections"
  module: "caffe.layers.detectnet.clustering" param_str: "8,8,1,0.1,1,0.2,2,1" } }
"""
TRAINER = """input: "loc" input_shape { dim: 2 dim: 24 } input: "conf" input_shape { dim: 2 dim: 18 }
input: "priors" input_shape { dim: 1 dim: 2 dim: 24 } input: "label" input_shape { dim: 1 dim: 1 dim: 2 dim: 8 }
layer { name: "loss" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "label" top: "loss"
  propagate_down: [true, true, false, false] loss_param { normalization: VALID }
  multibox_loss_param { num_classes: 3 share_location: true loc_weight: 1 match_type: PER_PREDICTION
    overlap_threshold: 0.5 neg_pos_ratio: 3 neg_overlap: 0.5 code_type: CENTER_SIZE mining_type: HARD_EXAMPLE
    sample_size: 4 nms_param { nms_threshold: 0.4 top_k: 9 } } }
layer { name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "out"
  detection_output_param { num_classes: 3 keep_top_k: 4 } }
input: "objects" input_shape { dim: 2 dim: 12 }
layer { name: "refined" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "objects"
  bottom: "loc" top: "refined" detection_output_param { num_classes: 3 keep_top_k: 4 objectness_score: 0.1 } }
layer { name: "judge" type: "DetectionEvaluate" bottom: "out" bottom: "label" top: "judge"
  detection_evaluate_param { num_classes: 3 overlap_threshold: 0.5 evaluate_difficult_gt: false } }
input: "rois" input_shape { dim: 4 dim: 5 } input: "each" input_shape { dim: 4 dim: 1 dim: 1 dim: 1 }
input: "deltas" input_shape { dim: 4 dim: 8 dim: 1 dim: 1 }
layer { name: "hard" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "each" bottom: "each" bottom: "deltas" top: "few"
  top: "weights" box_annotator_ohem_param { roi_per_img: 2 ignore_label: -1 } }
layer { name: "smooth" type: "SmoothL1LossOHEM" bottom: "deltas" bottom: "weights" top: "smooth" top: "by_region"
  loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 4 } }
"""
V1 = """name: "v1" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" include: { phase: TEST }
  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 param: "w" param: "b" blob_share_mode: STRICT
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip" inner_product_param { num_output: 5 } loss_weight: 1 }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
layers { name: "zoom" type: INTERP bottom: "pool" top: "zoom" interp_param { zoom_factor: 2 } }
layers { name: "bn" type: BN bottom: "zoom" top: "bn" bn_param { bn_mode: INFERENCE } }
"""
V0 = """name: "v0" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 5 stride: 1 group: 1 biasterm: true
  weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1. blobs_lr: 2. weight_decay: 1. } bottom: "pad" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 3 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.5 } bottom: "pool" top: "pool" }
layers { layer { name: "fc" type: "innerproduct" num_output: 12 } bottom: "pool" top: "fc" }
"""
SOURCES = """
layer { name: "boxes" type: "AnnotatedData" top: "image" top: "boxes" data_param { source: "db" batch_size: 2 }
  transform_param { crop_h: 3 crop_w: 4 resize_param { height: 8 width: 9 resize_mode: WARP interp_mode: AREA }
    noise_param { jpeg: 50 erode: true saltpepper: true saltpepper_param { fraction: 0.1 value: 3 } }
    distort_param { brightness_prob: 0.5 brightness_delta: 32 contrast_prob: 0.5 contrast_upper: 1.5 }
    expand_param { prob: 0.5 max_expand_ratio: 4 } emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.1 } }
  annotated_data_param { label_map_file: "m" batch_sampler { max_trials: 50 max_sample: 1
    sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 } sample_constraint { min_jaccard_overlap: 0.1 } } } }
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" backend: LMDB batch_size: 4 }
  transform_param { scale: 0.5 mirror: true crop_size: 3 mean_file: "m.binaryproto" } }
layer { name: "h" type: "HDF5Data" top: "h" hdf5_data_param { source: "list.txt" batch_size: 3 shuffle: true } }
layer { name: "seg" type: "ImageSegData" top: "seg" top: "classes" top: "size"
  transform_param { crop_h: 3 crop_w: 4 rand_resize: 0.5 rand_resize: 2 rand_rotate: -9 rand_rotate: 9
    rand_aspect_ratio: 0.5 rand_aspect_ratio: 2 gaussian_blur: true rotate90n: false }
  image_data_param { source: "list.txt" batch_size: 2 label_type: PIXEL ignore_label: 255 shuffle: true } }
layer { name: "dense" type: "DenseImageData" top: "dense" top: "dl"
  dense_image_data_param { source: "list.txt" batch_size: 2 new_height: 8 new_width: 6 label_divide_factor: 2 } }
layer { name: "m" type: "MemoryData" top: "m" top: "ml"
  memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } }
"""
NETS = [SMALL, RULES, AXES, COMPRESSED, DETECTOR, SEGMENTER, REGIONS, POSES, TRAINER, V1, V0, SOURCES]

# a net that a solver can train
TINY = """layer { name: "d" type: "DummyData" top: "a" top: "l"
  dummy_data_param { shape { dim: 2 dim: 4 } shape { dim: 2 } data_filler { type: "uniform" } data_filler { } } }
layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "l" top: "loss" }
"""
SOLVERS = [
    """net: "net.prototxt" test_iter: 2 test_interval: 5 base_lr: 0.01 lr_policy: "inv" gamma: 0.1 power: 0.75
momentum: 0.9 weight_decay: 0.0005 display: 1 max_iter: 3 snapshot: 0 snapshot_prefix: "s"
snapshot_after_train: false solver_mode: CPU random_seed: 3 rampup_interval: 2 rampup_lr: 0.001 min_lr: 0.0001
average_loss: 4 iter_size: 2 clip_gradients: 5 eval_type: "classification" ap_version: "11point"
""",
    """train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 1 test_interval: 3
test_state { phase: TEST level: 1 stage: "a" } base_lr: 0.01 lr_policy: "multistep" gamma: 0.5 stepvalue: 1
stepvalue: 2 solver_type: ADAM momentum: 0.9 momentum2: 0.999 delta: 0.0001 max_iter: 2
snapshot_after_train: false solver_mode: CPU device_id: 0 regularization_type: "L1" test_initialization: false
""",
    f"""net_param {{ {TINY} }} type: "LarsSGD" local_gw_ratio: 0.01 base_lr: 0.01 lr_policy: "poly" power: 2
max_iter: 2 snapshot_after_train: false solver_mode: CPU debug_info: false
""",
]
