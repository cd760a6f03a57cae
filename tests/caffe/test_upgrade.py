"""Each rule by which old forms are brought up to date, on its own."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.hidden_units import reorder_units
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.upgrade_proto import upgrade_net_binary, upgrade_net_text
from demitasse.caffe.upgrade import upgrade_net, upgrade_solver, v0, v1
from demitasse.caffe.weights import load_weights
from demitasse.errors import NetError, PrototxtError
from demitasse.packed.tensor import of_array


def net(text: str) -> schema.Message:
    return prototxt.parse(text, schema.NetParameter(), "net")


def upgraded(text: str) -> schema.Message:
    return upgrade_net(net(text))


def layers(old: str, kind: str = "layers") -> list[schema.Message]:
    """Returns the upgraded layers of ``layers { <old> }`` or of V0's ``layers { layer { <old> } }``."""
    return list(upgraded(f"layers {{ {old} }}" if kind == "layers" else f"layers {{ layer {{ {old} }} }}").layer)


def is_same(message: schema.Message, text: str) -> bool:
    return bool(message == prototxt.parse(text, type(message)(), "expected"))


# --- V1


TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "NONE": "", "POOLING": "Pooling",
    "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid", "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split",
    "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
    # of forks
    "BN": "BN", "CROP": "Crop", "DENSE_IMAGE_DATA": "DenseImageData", "IMAGE_SEG_DATA": "ImageSegData",
    "MAT_WRITE": "MatWrite", "MULTI_STAGE_MEANFIELD": "MultiStageMeanfield", "UNPOOLING": "Unpooling",
    "INTERP": "Interp", "PRELU": "PReLU", "ROI_POOLING": "ROIPooling", "SEG_ACCURACY": "SegAccuracy",
    "SMOOTH_L1_LOSS": "SmoothL1Loss", "UPSAMPLE": "Upsample",
    "CONVOLUTION3D": "Convolution3D", "DECONVOLUTION3D": "Deconvolution3D", "POOLING3D": "Pooling3D",
}  # fmt: skip


def test_every_type_of_v1() -> None:
    known = schema.NetParameter().layers.add().LayerType.keys()
    assert sorted(known) == sorted(TYPES)
    assert {name: v1.layer_type(name) for name in known} == TYPES
    later = {"Convolution3D": "Convolution", "Deconvolution3D": "Deconvolution"}
    found = [layer.type for name in known for layer in layers(f"type: {name}")]
    assert found == [later.get(TYPES[name], TYPES[name]) for name in known]


def test_rates_names_and_share_modes_become_params() -> None:
    (layer,) = layers('name: "ip" param: "w" blobs_lr: 1 blobs_lr: 2 weight_decay: 0.5 blob_share_mode: PERMISSIVE')
    assert is_same(
        layer,
        'name: "ip" param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 0.5 } param { lr_mult: 2 }',
    )


def test_what_v1_calls_the_same_stays() -> None:
    same = (
        'name: "c" bottom: "a" bottom: "b" top: "t" loss_weight: 2 include { phase: TEST stage: "x" } '
        "exclude { min_level: 1 } blobs { num: 1 channels: 2 height: 3 width: 4 } "
        "convolution_param { num_output: 3 kernel_size: 5 } loss_param { normalize: false } "
        "transform_param { scale: 2 }"
    )
    (layer,) = layers(same)
    assert is_same(layer, same)


def test_every_setting_of_v1_has_its_place() -> None:
    old, new = schema.NetParameter().layers.add(), schema.LayerParameter.DESCRIPTOR.fields_by_name
    moved = {"type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer", "strict_dim"}
    for field in old.DESCRIPTOR.fields:
        assert field.name in moved or field.message_type is new[field.name].message_type


TRANSFORMS = 'scale: 0.5 mean_file: "m" crop_size: 9 mirror: true'


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("DATA", "data_param"), ("IMAGE_DATA", "image_data_param"), ("WINDOW_DATA", "window_data_param")],
)
def test_transforms_move_out_of_the_settings_of_data(kind: str, settings: str) -> None:
    (layer,) = layers(f'type: {kind} {settings} {{ source: "s" {TRANSFORMS} }} transform_param {{ scale: 9 }}')
    assert is_same(layer, f'type: "{TYPES[kind]}" {settings} {{ source: "s" }} transform_param {{ {TRANSFORMS} }}')


def test_once_a_layer_needs_it_all_layers_of_images_get_both_messages() -> None:
    plain = "layers { type: DATA } layers { type: RELU }"
    assert [layer.HasField("transform_param") for layer in upgraded(plain).layer] == [False, False]
    needed = plain + "layers { type: IMAGE_DATA image_data_param { mirror: false } }"
    found = upgraded(needed).layer
    assert [layer.HasField("transform_param") for layer in found] == [True, False, True]
    assert found[0].HasField("data_param")
    assert found[2].transform_param.HasField("mirror")


def test_transforms_stay_in_nets_of_today() -> None:
    text = f'layer {{ type: "Data" data_param {{ {TRANSFORMS} }} }}'
    assert is_same(upgraded(text), text)


def test_forms_are_not_mixed() -> None:
    with pytest.raises(NetError, match="net: the net has 1 'layers', the form from before 2015, and 2 'layer'"):
        upgraded("layers { } layer { } layer { }")


# --- V0


@pytest.mark.parametrize("kind", [name for name in v0.TYPES if name != "data"])
def test_every_type_of_v0(kind: str) -> None:
    (layer,) = layers(f'name: "x" type: "{kind}"', "layer")
    assert is_same(layer, f'name: "x" type: "{TYPES[v0.TYPES[kind]]}"')


FILLERS = 'weight_filler { type: "xavier" } bias_filler { value: 2 }'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'type: "conv" num_output: 3 biasterm: false pad: 1 kernelsize: 5 stride: 2 group: 3 {FILLERS}',
         f'type: "Convolution" convolution_param {{ num_output: 3 bias_term: false pad: 1 kernel_size: 5 stride: 2 '
         f"group: 3 {FILLERS} }}"),
        (f'type: "innerproduct" num_output: 3 biasterm: true {FILLERS}',
         f'type: "InnerProduct" inner_product_param {{ num_output: 3 bias_term: true {FILLERS} }}'),
        ('type: "pool" pool: STOCHASTIC kernelsize: 3 stride: 2 pad: 1',
         'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 pad: 1 }'),
        ('type: "dropout" dropout_ratio: 0.3', 'type: "Dropout" dropout_param { dropout_ratio: 0.3 }'),
        ('type: "lrn" local_size: 3 alpha: 0.5 beta: 0.25 k: 2',
         'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }'),
        ('type: "data" source: "s" batchsize: 3 rand_skip: 2 scale: 0.5 meanfile: "m" cropsize: 9 mirror: true',
         f'type: "Data" data_param {{ source: "s" batch_size: 3 rand_skip: 2 }} transform_param {{ {TRANSFORMS} }}'),
        ('type: "hdf5_data" source: "s" batchsize: 3',
         'type: "HDF5Data" hdf5_data_param { source: "s" batch_size: 3 }'),
        ('type: "images" source: "s" batchsize: 3 rand_skip: 2 shuffle_images: true new_height: 4 new_width: 5',
         'type: "ImageData" image_data_param { source: "s" batch_size: 3 rand_skip: 2 shuffle: true new_height: 4 '
         "new_width: 5 }"),
        ('type: "window_data" source: "s" batchsize: 3 det_fg_threshold: 0.1 det_bg_threshold: 0.2 det_fg_fraction: '
         '0.3 det_context_pad: 4 det_crop_mode: "square"',
         'type: "WindowData" window_data_param { source: "s" batch_size: 3 fg_threshold: 0.1 bg_threshold: 0.2 '
         'fg_fraction: 0.3 context_pad: 4 crop_mode: "square" }'),
        ('type: "infogain_loss" source: "s"', 'type: "InfogainLoss" infogain_loss_param { source: "s" }'),
        ('type: "concat" concat_dim: 0', 'type: "Concat" concat_param { concat_dim: 0 }'),
        ('type: "hdf5_output" hdf5_output_param { file_name: "f" }',
         'type: "HDF5Output" hdf5_output_param { file_name: "f" }'),
        ('type: "relu" blobs_lr: 1 blobs_lr: 2 weight_decay: 0 blobs { num: 3 }',
         'type: "ReLU" param { lr_mult: 1 decay_mult: 0 } param { lr_mult: 2 } blobs { num: 3 }'),
    ],
)  # fmt: skip
def test_settings_of_v0(old: str, new: str, caplog: pytest.LogCaptureFixture) -> None:
    (layer,) = layers(old, "layer")
    assert is_same(layer, new)
    assert not caplog.records


@pytest.mark.parametrize("setting", ["num_output: 3", "pool: MAX", "new_num: 4", "hdf5_output_param { }", "k: 2"])
def test_a_setting_that_a_type_of_v0_does_not_have_is_left_out(setting: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "demitasse.caffe"):
        (layer,) = layers(f'name: "r" type: "relu" {setting}', "layer")
    assert is_same(layer, 'name: "r" type: "ReLU"')
    assert f"net: layer 'r': its type 'relu' has no {setting.split()[0].strip(':')}" in caplog.text


PADDED = """input: "data" input_dim: 1 input_dim: 2 input_dim: 6 input_dim: 6
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "padded" }
layers { layer { name: "conv" type: "conv" num_output: 3 kernelsize: 5 pad: 7 } bottom: "padded" top: "conv" }
layers { layer { name: "pool" type: "pool" kernelsize: 3 } bottom: "padded" top: "pool" }
"""


def test_padding_is_folded_into_what_takes_it() -> None:
    inputs, conv, pool = upgraded(PADDED).layer
    assert inputs.type == "Input"
    assert (list(conv.bottom), list(conv.convolution_param.pad)) == (["data"], [2])
    assert (list(pool.bottom), pool.pooling_param.pad) == (["data"], 2)
    assert Net(net(PADDED)).shapes == {
        "data": (1, 2, 6, 6), "conv": (1, 3, 6, 6), "pool": (1, 2, 8, 8),
        "data_input_0_split_0": (1, 2, 6, 6), "data_input_0_split_1": (1, 2, 6, 6),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PADDED.replace('"pool" kernelsize: 3', '"relu"'),
         r"net: layer 'pool' of type 'relu' follows the padding layer 'pad'; expected conv or pool"),
        (PADDED.replace('bottom: "padded" top: "pool"', 'bottom: "padded" bottom: "data" top: "pool"'),
         "with one blob"),
        (PADDED.replace('bottom: "data"', ""), "layer 'conv' of type 'conv' follows the padding layer 'pad'"),
        (PADDED.replace('"conv" num', '"conw" num'),
         r"net: layer 'conv' has the unknown type 'conw'; did you mean 'conv'\?"),
        (PADDED + 'layers { name: "new" type: RELU }', "net: layer 'new' has the form of 2014"),
        (PADDED.replace("input_dim: 1", ""), "net: found 3 values of input_dim; expected four for each input"),
        (PADDED.replace("padded", "other").replace('bottom: "other"', 'bottom: "data"')
         .replace('type: "pool" kernelsize: 3', 'type: "images" new_height: -1'),
         "layer 'pool' has new_height -1: Value out of range"),
    ],
)  # fmt: skip
def test_what_v0_cannot_be(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        upgraded(text)


def test_errors_of_old_nets_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(PADDED.replace('"pool" kernelsize', '"pol" kernelsize'))
    for read in (Net.from_file, lambda path: upgrade_net_text(path, tmp_path / "out")):
        with pytest.raises(NetError, match=r"old\.prototxt:4: layer 'pool' has the unknown type 'pol'; did you mean"):
            read(path)
    path.write_text(PADDED.replace("num_output: 3", ""))  # the padding is gone, the line is not
    with pytest.raises(NetError, match=r"layer 'conv' \(.*old\.prototxt:3\): num_output"):
        Net.from_file(path)
    path.write_text('input: "x" input_dim: 1 input_dim: 2\ninput_dim: 1 input_dim: 1\nlayers { bottom: "y" }')
    with pytest.raises(NetError, match=r"old\.prototxt:3\): bottom 'y' does not exist"):
        Net.from_file(path)


# --- inputs, statistics, solvers


def test_net_inputs_become_a_layer() -> None:
    found = upgraded('input: "x" input: "y" input_shape { dim: 1 } input_shape { } layer { name: "a" }')
    assert is_same(
        found,
        'layer { name: "input" type: "Input" top: "x" top: "y" input_param { shape { dim: 1 } shape { } } } '
        'layer { name: "a" }',
    )


def test_inputs_without_shapes_are_dropped() -> None:
    assert is_same(upgraded('input: "x" layer { name: "a" }'), 'layer { name: "a" }')
    assert is_same(upgraded("input_dim: 3"), "input_dim: 3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('input: "x" input_shape { } input_shape { }', "net: found 2 shapes for 1 inputs; expected one for each"),
        ('input: "x" input_shape { } input_dim: 1', "net: the net has both input_shape and input_dim"),
    ],
)
def test_inputs_and_shapes_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        upgraded(text)


def test_statistics_are_not_learnt() -> None:
    rates = 'param { name: "m" lr_mult: 1 } param { decay_mult: 1 } param { }'
    fixed = 'param { name: "m" lr_mult: 0 decay_mult: 0 }' + 2 * "param { lr_mult: 0 decay_mult: 0 }"
    assert is_same(upgraded(f'layer {{ type: "BatchNorm" {rates} }}'), f'layer {{ type: "BatchNorm" {fixed} }}')
    few = 'layer { type: "BatchNorm" param { lr_mult: 1 } } layer { type: "Scale" param { } param { } param { } }'
    assert is_same(upgraded(few), few)


BATCH_NORM = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 } } }
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" %s }"""


def test_a_net_never_learns_statistics() -> None:
    for rates in ("", "param { lr_mult: 0 }", 3 * "param { lr_mult: 1 }"):
        built = Net(net(BATCH_NORM % rates))
        assert [blob.lr_mult for blob in built.learnable] == [0, 0, 0]
        assert [param.lr_mult for param in built.spec.layer[1].param] == [0, 0, 0]
    with pytest.raises(
        NetError, match=r"layer 'bn' .*: param 1 has lr_mult 1; expected 0: statistics of BatchNorm are not learnt"
    ):
        Net(net(BATCH_NORM % "param { lr_mult: 0 } param { }"))


def test_solver_types() -> None:
    names = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "LarsSGD"]
    for number, name in enumerate(names):
        assert is_same(upgrade_solver(schema.SolverParameter(solver_type=number)), f'type: "{name}"')
    with pytest.raises(PrototxtError, match=r"both type 'Adam' and the older solver_type \(AdaGrad\)"):
        upgrade_solver(schema.SolverParameter(solver_type=2, type="Adam"))


def test_trust_coef_is_local_gw_ratio(tmp_path: Path) -> None:
    (tmp_path / "solver.prototxt").write_text('net: "a"\ntrust_coef: 0.25\nsolver_type: LARSSGD\n')
    solver = upgrade_solver(prototxt.read_solver(tmp_path / "solver.prototxt"))
    assert is_same(solver, 'net: "a" local_gw_ratio: 0.25 type: "LarsSGD"')


# --- whole nets


OLD = """name: "old" input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layers { name: "norm" type: LRN bottom: "pool" top: "norm" lrn_param { local_size: 3 alpha: 0.1 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "norm" top: "ip" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""
OLDER = """name: "older" input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 stride: 2 } bottom: "pad" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "norm" type: "lrn" local_size: 3 alpha: 0.1 } bottom: "pool" top: "norm" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 } bottom: "norm" top: "ip" }
layers { layer { name: "prob" type: "softmax" } bottom: "ip" top: "prob" }
"""


def write(text: str, folder: Path) -> dict[str, list[np.ndarray]]:
    """Writes net.prototxt and net.caffemodel in the old form, blobs with four axes; returns the blobs."""
    rng = np.random.default_rng(0)
    message, found = net(text), {}
    for name, layer in Net(message).named_layers().items():
        found[name] = [rng.standard_normal(tuple(blob.shape)).astype(np.float32) / 4 for blob in layer.blobs()]
    for outer in message.layers:
        old = outer.layer if outer.HasField("layer") else outer
        for array in found.get(old.name, []):
            blob = old.blobs.add(data=array_blob(array).data)
            blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(message.SerializeToString())
    return {name: blobs for name, blobs in found.items() if blobs}


@pytest.mark.parametrize("text", [OLD, OLDER], ids=["v1", "v0"])
def test_old_nets_compute_what_opencvs_importer_makes_of_them(text: str, tmp_path: Path) -> None:
    import cv2

    blobs = write(text, tmp_path)
    ours = Net.from_file(tmp_path / "net.prototxt")
    assert load_weights(ours, tmp_path / "net.caffemodel") == list(blobs)
    upgrade_net_text(tmp_path / "net.prototxt", tmp_path / "new.prototxt")
    upgrade_net_binary(tmp_path / "net.caffemodel", tmp_path / "new.caffemodel")
    data = np.random.default_rng(1).standard_normal((2, 3, 9, 9)).astype(np.float32)
    expected = ours({"data": torch.from_numpy(data)})["prob"].detach().numpy()
    # it brings the old texts up to date itself; blobs of V0 it does not take
    for prototxt_name, model in (("net", "new"), ("new", "new"), *([("net", "net")] if text is OLD else [])):
        theirs = cv2.dnn.readNetFromCaffe(
            str(tmp_path / f"{prototxt_name}.prototxt"), str(tmp_path / f"{model}.caffemodel")
        )
        theirs.setInput(data)
        np.testing.assert_allclose(theirs.forward(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("text", [OLD, OLDER], ids=["v1", "v0"])
def test_blobs_of_old_models(text: str, tmp_path: Path) -> None:
    blobs = write(text, tmp_path)
    layers_read = {layer.name: layer for layer in read_model(tmp_path / "net.caffemodel")}
    assert {name: layers_read[name].type for name in blobs} == {"conv": "Convolution", "ip": "InnerProduct"}
    for name, arrays in blobs.items():
        assert [blob.tobytes() for blob in layers_read[name].blobs] == [array.tobytes() for array in arrays]


def test_units_of_an_old_net_are_removed_from_a_net_of_today() -> None:
    text = """input: "x" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1
layers { name: "a" type: INNER_PRODUCT bottom: "x" top: "a" inner_product_param { num_output: 3 bias_term: false } }
layers { name: "b" type: INNER_PRODUCT bottom: "a" top: "b" inner_product_param { num_output: 2 bias_term: false } }"""
    first, second = np.float32([[1, 2], [0, 0], [3, 4]]), np.ones((2, 3), np.float32)
    found = reorder_units(net(text), [of_array("a.0", first), of_array("b.0", second)], remove_dead=True)
    assert [layer.inner_product_param.num_output for layer in found.net.layer] == [2, 2]
    assert not found.net.layers


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("type: ROI_POOLING roi_pooling_param { pooled_w: 6 }", 'type: "ROIPooling" roi_pooling_param { pooled_w: 6 }'),
        ("type: SMOOTH_L1_LOSS smooth_l1_loss_param {}", 'type: "SmoothL1Loss" smooth_l1_loss_param {}'),
        ("type: INTERP interp_param { zoom_factor: 8 }", 'type: "Interp" interp_param { zoom_factor: 8 }'),
        ("type: SEG_ACCURACY seg_accuracy_param {}", 'type: "SegAccuracy" seg_accuracy_param {}'),
        ("type: BN bn_param { bn_mode: INFERENCE }", 'type: "BN" bn_param { bn_mode: INFERENCE }'),
        ("type: UPSAMPLE upsample_param { scale: 2 }", 'type: "Upsample" upsample_param { scale: 2 }'),
        ("type: CROP crop_param { offset: 3 }", 'type: "Crop" crop_param { offset: 3 }'),
        ("type: PRELU prelu_param {}", 'type: "PReLU" prelu_param {}'),
        ("type: DENSE_IMAGE_DATA dense_image_data_param {}", 'type: "DenseImageData" dense_image_data_param {}'),
        ('type: MAT_WRITE mat_write_param { prefix: "p" }', 'type: "MatWrite" mat_write_param { prefix: "p" }'),
        ("type: CONVOLUTION strict_dim: false", 'type: "Convolution"'),
        ("type: IMAGE_SEG_DATA image_data_param {}", 'type: "ImageSegData" image_data_param {}'),
    ],
)
def test_types_that_forks_added_to_v1(old: str, new: str) -> None:
    (layer,) = layers(old)
    assert is_same(layer, new)


def test_a_fast_rcnn_of_v1_builds() -> None:
    text = """input: "data" input_dim: 1 input_dim: 3 input_dim: 32 input_dim: 32
        input: "rois" input_dim: 2 input_dim: 5 input_dim: 1 input_dim: 1
        input: "target" input_dim: 2 input_dim: 8 input_dim: 1 input_dim: 1
        input: "weight" input_dim: 2 input_dim: 8 input_dim: 1 input_dim: 1
        layers { name: "pool" type: ROI_POOLING bottom: "data" bottom: "rois" top: "pool"
          roi_pooling_param { pooled_w: 6 pooled_h: 6 } }
        layers { name: "box" type: INNER_PRODUCT bottom: "pool" top: "box" inner_product_param { num_output: 8 } }
        layers { name: "loss" type: SMOOTH_L1_LOSS bottom: "box" bottom: "target" bottom: "weight" top: "loss" }"""
    built = Net(net(text))
    assert (built.shapes["pool"], built.losses) == ((2, 3, 6, 6), {"loss": 1})
