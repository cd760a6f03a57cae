"""Every field of every layer's message changes what the layer makes, or is listed as having no meaning here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import array_blob
from demitasse.errors import NetError
from tests.golden.single import single_net

# fields of data layers, and of those of the compression fork, have tests of their own
ELSEWHERE = {
    *("transform_param", "data_param", "dummy_data_param", "hdf5_data_param", "hdf5_output_param"),
    *("image_data_param", "memory_data_param", "window_data_param", "input_param", "python_param"),
    *("dns_convolution_param", "dns_inner_product_param", "inq_convolution_param", "inq_inner_product_param"),
    *("cconvolution_param", "cinner_product_param"),
}

# which implementation to take; how to trace an inner net that does not exist; a gradient that is always stable
WITHOUT_MEANING = {
    *("convolution_param.engine", "convolution_param.force_nd_im2col", "lrn_param.engine", "pooling_param.engine"),
    *("relu_param.engine", "sigmoid_param.engine", "softmax_param.engine", "spp_param.engine", "tanh_param.engine"),
    *("recurrent_param.debug_info", "eltwise_param.stable_prod_grad"),
}

IN_TESTING = {"dropout_param.sample_weights_test"}  # what changes nothing in training

IMAGE = ((2, 4, 5, 6),)
SQUARE = ((2, 4, 6, 6),)
ROWS = ((3, 4),)
PAIR = ((3, 4), (3, 4))
LABELLED = ((3, 4), (3,))
SPATIAL = ((3, 4, 2), (3, 2))
SEQUENCE = ((3, 2, 4), (3, 2))
GAUSSIAN = 'type: "gaussian"'
BY_INFOGAIN = 'source: "square"'
FILTER = f"num_output: 4 kernel_size: 3 weight_filler {{ {GAUSSIAN} }}"
PRODUCT = f"num_output: 4 weight_filler {{ {GAUSSIAN} }}"
LOOKUP = f"num_output: 4 input_dim: 6 weight_filler {{ {GAUSSIAN} }}"
RECUR = f"num_output: 4 weight_filler {{ {GAUSSIAN} }}"

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
]  # fmt: skip


def fields() -> set[str]:
    messages = [field for field in schema.LayerParameter.DESCRIPTOR.fields if field.name.endswith("_param")]
    return {
        f"{message.name}.{field.name}"
        for message in messages
        if message.name not in ELSEWHERE
        for field in message.message_type.fields
        if not field.GetOptions().deprecated and f"{message.name}.{field.name}" not in IN_TESTING
    }


def outcome(kind: str, shapes: tuple[tuple[int, ...], ...], settings: str) -> list[object]:
    """Returns what a layer makes of the same bottoms the second time, and its blobs then; or how it refuses."""
    torch.manual_seed(0)
    tops = 2 if kind == "Slice" else 1
    try:
        net = single_net(kind, settings, *shapes, tops=tops, phase=schema.TRAIN)
    except NetError as error:
        return [str(error)]
    generator = torch.Generator().manual_seed(3)
    bottoms = [torch.randn(shape, generator=generator) for shape in shapes]
    for index, shape in enumerate(shapes):
        if (index and shape != shapes[0]) or kind == "Embed":
            bottoms[index] = torch.arange(bottoms[index].numel()).reshape(shape).remainder(3).clamp(max=2).float()
    net.layer("l")(*bottoms)
    result = net.layer("l")(*bottoms)
    result = (result,) if isinstance(result, torch.Tensor) else result
    return [tensor.detach().clone() for tensor in (*result, *net.layer("l").blobs())]


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
    }[message]
    kind, shapes, base = settings
    value = {"engine": "CUDNN", "stable_prod_grad": "false"}.get(name, "true")
    plain = outcome(kind, shapes, f"{message} {{ {base} }}")
    assert all(isinstance(made, torch.Tensor) for made in plain)
    assert same(plain, outcome(kind, shapes, f"{message} {{ {base} {name}: {value} }}"))
