"""The nets that come with Caffe, narrow and on made-up data: each is built and takes two iterations of its solver.

AlexNet, CaffeNet and GoogLeNet in their full form are among the examples, see test_example_nets.py.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from demitasse import pycaffe
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver
from demitasse.export import TARGETS, of_net
from demitasse.export.check import compare

TRAIN, TEST = "include { phase: TRAIN }", "include { phase: TEST }"


def layer(name: str, kind: str, bottoms: str, tops: str = "", settings: str = "") -> str:
    """Returns a layer; bottoms and tops are names with spaces between."""
    ends = [*(f'bottom: "{each}"' for each in bottoms.split()), *(f'top: "{each}"' for each in tops.split())]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(ends)} {settings} }}\n'


def made_up(tops: str, *shapes: tuple[int, ...], settings: str = "") -> str:
    """Returns a data layer of noise and labels 0 and 1."""
    sizes = " ".join(f"shape {{ {' '.join(f'dim: {size}' for size in shape)} }}" for shape in shapes)
    fillers = ['data_filler { type: "uniform" }', *['data_filler { type: "constant" value: 1 }'] * (len(shapes) - 1)]
    return layer("data", "DummyData", "", tops, f"{settings} dummy_data_param {{ {sizes} {' '.join(fillers)} }}")


def fed(name: str, *shape: int) -> str:
    return layer(name, "Input", "", name, f"input_param {{ shape {{ {' '.join(f'dim: {s}' for s in shape)} }} }}")


RATES = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
GAUSS = 'weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 1 }'
XAVIER = 'weight_filler { type: "xavier" } bias_filler { type: "constant" }'


def conv(name: str, bottom: str, outputs: int, kernel: int, more: str = "", fill: str = XAVIER, top: str = "") -> str:
    settings = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} {fill} }}"
    return layer(name, "Convolution", bottom, top or name, f"{RATES} {settings}")


def dense(name: str, bottom: str, outputs: int, fill: str = XAVIER, rates: str = RATES, top: str = "") -> str:
    settings = f"inner_product_param {{ num_output: {outputs} {fill} }}"
    return layer(name, "InnerProduct", bottom, top or name, f"{rates} {settings}")


def pool(name: str, bottom: str, kernel: int, stride: int, how: str = "MAX") -> str:
    settings = f"pooling_param {{ pool: {how} kernel_size: {kernel} stride: {stride} }}"
    return layer(name, "Pooling", bottom, name, settings)


def relu(name: str, blob: str) -> str:
    return layer(name, "ReLU", blob, blob)


def scored(scores: str) -> str:
    return layer("accuracy", "Accuracy", f"{scores} label", "accuracy", TEST) + layer(
        "loss", "SoftmaxWithLoss", f"{scores} label", "loss"
    )


# examples/mnist

LENET = (
    conv("conv1", "data", 4, 5) + pool("pool1", "conv1", 2, 2) + conv("conv2", "pool1", 5, 5)
    + pool("pool2", "conv2", 2, 2) + dense("ip1", "pool2", 8) + relu("relu1", "ip1") + dense("ip2", "ip1", 10)
)  # fmt: skip
DIGITS = made_up("data label", (2, 1, 28, 28), (2,), settings="transform_param { scale: 0.00390625 }")


def autoencoder() -> str:
    """Three data layers and two losses of one name each, chosen by stages."""
    rules = (TRAIN, 'include { phase: TEST stage: "test-on-train" }', 'include { phase: TEST stage: "test-on-test" }')
    net = "".join(made_up("data", (2, 1, 28, 28), settings=rule) for rule in rules)
    net += layer("flatdata", "Flatten", "data", "flatdata")
    sparse = 'weight_filler { type: "gaussian" std: 1 sparse: 3 } bias_filler { type: "constant" value: 0 }'
    below = "data"
    for part, widths in (("encode", (12, 8, 6)), ("decode", (6, 8, 12))):
        for number, width in enumerate(widths, start=1):
            name = f"{part}{number if part == 'encode' else 5 - number}"
            net += dense(name, below, width, sparse) + layer(f"{name}neuron", "Sigmoid", name, f"{name}neuron")
            below = f"{name}neuron"
    net += dense("decode1", below, 784, sparse)
    net += layer("loss", "SigmoidCrossEntropyLoss", "decode1 flatdata", "cross_entropy_loss", "loss_weight: 1")
    net += layer("decode1neuron", "Sigmoid", "decode1", "decode1neuron")
    return net + layer("loss", "EuclideanLoss", "decode1neuron flatdata", "l2_error", "loss_weight: 0")


# examples/cifar10

COLOURS = made_up("data label", (2, 3, 32, 32), (2,))


def cifar(middle: str, hidden: bool = False) -> str:
    """Three stages of convolution, pooling and what is in the ``middle``: relu, norm, sigmoid or batch."""
    net, below = COLOURS, "data"
    for number in (1, 2, 3):
        plain = "bias_term: false" if middle == "batch" else ""
        net += conv(f"conv{number}", below, 4, 5, f"pad: 2 {plain}").replace(RATES, RATES if not plain else "")
        net += pool(f"pool{number}", f"conv{number}", 3, 2, "MAX" if number == 1 else "AVE")
        below = f"pool{number}"
        if middle == "batch":
            rates = "param { lr_mult: 0 } " * 3
            net += layer(f"bn{number}", "BatchNorm", below, f"bn{number}", rates)
            below = f"bn{number}"
        if middle in ("sigmoid", "batch"):
            net += layer(f"Sigmoid{number}", "Sigmoid", below, f"Sigmoid{number}")
            below = f"Sigmoid{number}"
        else:
            net += relu(f"relu{number}", below)
        if middle in ("norm", "sigmoid") and number < 3:
            region = "lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 norm_region: WITHIN_CHANNEL }"
            net += layer(f"norm{number}", "LRN", below, f"norm{number}", region)
            below = f"norm{number}"
    net += dense("ip0", below, 8) if hidden else ""
    return net + dense("ip1", "ip0" if hidden else below, 10) + scored("ip1")


# examples/siamese


def branch(suffix: str, data: str) -> str:
    def named(name: str, text: str) -> str:
        return text.replace(RATES, f'param {{ name: "{name}_w" lr_mult: 1 }} param {{ name: "{name}_b" lr_mult: 2 }}')

    s = suffix
    return (
        named("conv1", conv(f"conv1{s}", data, 4, 5)) + pool(f"pool1{s}", f"conv1{s}", 2, 2)
        + named("conv2", conv(f"conv2{s}", f"pool1{s}", 4, 5)) + pool(f"pool2{s}", f"conv2{s}", 2, 2)
        + named("ip1", dense(f"ip1{s}", f"pool2{s}", 6)) + relu(f"relu1{s}", f"ip1{s}")
        + named("ip2", dense(f"ip2{s}", f"ip1{s}", 5)) + named("feat", dense(f"feat{s}", f"ip2{s}", 2))
    )  # fmt: skip


SIAMESE = (
    layer("pair_data", "DummyData", "", "pair_data sim", "dummy_data_param { shape { dim: 2 dim: 2 dim: 28 dim: 28 } "
          'shape { dim: 2 } data_filler { type: "uniform" } data_filler { type: "constant" value: 1 } }')
    + layer("slice_pair", "Slice", "pair_data", "data data_p", "slice_param { slice_dim: 1 slice_point: 1 }")
    + branch("", "data") + branch("_p", "data_p")
    + layer("loss", "ContrastiveLoss", "feat feat_p sim", "loss", "contrastive_loss_param { margin: 1 }")
)  # fmt: skip

# models and what is made of CaffeNet

NORM = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
DROPOUT = "dropout_param { dropout_ratio: 0.5 }"


def trunk(pool_first: bool = True) -> str:
    """CaffeNet's convolutions; AlexNet's normalize before they pool."""
    net, below = "", "data"
    for number, (kernel, more) in enumerate(((11, "stride: 4"), (5, "pad: 2 group: 2")), start=1):
        net += conv(f"conv{number}", below, 8, kernel, more, GAUSS) + relu(f"relu{number}", f"conv{number}")
        names = [f"pool{number}", f"norm{number}"]
        below = f"conv{number}"
        for name in names if pool_first else names[::-1]:
            net += pool(name, below, 3, 2) if name[0] == "p" else layer(name, "LRN", below, name, NORM)
            below = name
    for number, group in ((3, 1), (4, 2), (5, 2)):
        name = f"conv{number}"
        net += conv(name, below, 8, 3, f"pad: 1 group: {group}", GAUSS) + relu(f"relu{number}", name)
        below = name
    return net + pool("pool5", "conv5", 3, 2)


def head(last: str = "fc8", outputs: int = 10) -> str:
    net, below = "", "pool5"
    for number in (6, 7):
        net += dense(f"fc{number}", below, 16, GAUSS) + relu(f"relu{number}", f"fc{number}")
        net += layer(f"drop{number}", "Dropout", f"fc{number}", f"fc{number}", DROPOUT)
        below = f"fc{number}"
    return net + dense(last, below, outputs, GAUSS)


IMAGES = made_up("data label", (2, 3, 67, 67), (2,))
FLICKR = head("fc8_flickr", 20).replace(
    'name: "fc8_flickr" type: "InnerProduct" bottom: "fc7" top: "fc8_flickr" ' + RATES,
    'name: "fc8_flickr" type: "InnerProduct" bottom: "fc7" top: "fc8_flickr" '
    "param { lr_mult: 10 decay_mult: 1 } param { lr_mult: 20 decay_mult: 0 }",
)


def full_conv() -> str:
    net = trunk()
    net += conv("fc6-conv", "pool5", 16, 1) + relu("relu6", "fc6-conv")
    net += layer("drop6", "Dropout", "fc6-conv", "fc6-conv", DROPOUT)
    net += conv("fc7-conv", "fc6-conv", 16, 1) + relu("relu7", "fc7-conv") + conv("fc8-conv", "fc7-conv", 10, 1)
    return net + layer("prob", "Softmax", "fc8-conv", "prob")


def inception(name: str, bottom: str) -> str:
    """One of GoogLeNet's modules, with its auxiliary classifier."""
    arms = conv(f"{name}/1x1", bottom, 4, 1) + relu(f"{name}/relu_1x1", f"{name}/1x1")
    for kernel in (3, 5):
        arms += conv(f"{name}/{kernel}x{kernel}_reduce", bottom, 2, 1)
        arms += conv(f"{name}/{kernel}x{kernel}", f"{name}/{kernel}x{kernel}_reduce", 4, kernel, f"pad: {kernel // 2}")
    arms += layer(
        f"{name}/pool", "Pooling", bottom, f"{name}/pool", "pooling_param { kernel_size: 3 stride: 1 pad: 1 }"
    )
    arms += conv(f"{name}/pool_proj", f"{name}/pool", 4, 1)
    tops = " ".join(f"{name}/{arm}" for arm in ("1x1", "3x3", "5x5", "pool_proj"))
    return arms + layer(f"{name}/output", "Concat", tops, f"{name}/output")


GOOGLENET = (
    made_up("data label", (2, 3, 16, 16), (2,)) + inception("inception_3a", "data")
    + pool("loss1/ave_pool", "inception_3a/output", 5, 3, "AVE") + dense("loss1/classifier", "loss1/ave_pool", 10)
    + layer("loss1/loss", "SoftmaxWithLoss", "loss1/classifier label", "loss1/loss1", "loss_weight: 0.3")
    + inception("inception_3b", "inception_3a/output") + pool("pool5", "inception_3b/output", 16, 1, "AVE")
    + layer("pool5/drop", "Dropout", "pool5", "pool5", "dropout_param { dropout_ratio: 0.4 }")
    + dense("loss3/classifier", "pool5", 10)
    + layer("loss3/loss3", "SoftmaxWithLoss", "loss3/classifier label", "loss3/loss3", "loss_weight: 1")
    + layer("loss3/top-5", "Accuracy", "loss3/classifier label", "loss3/top-5", f"{TEST} accuracy_param {{ top_k: 5 }}")
)  # fmt: skip

INV = 'base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75'
STEP = 'base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "step" gamma: 0.1 stepsize: 1'
STAGES = 'test_state { stage: "test-on-train" } test_state { stage: "test-on-test" } test_iter: 1'
FIXED = 'lr_policy: "fixed" base_lr: 0.001 momentum: 0.9'

TRAINED: dict[str, tuple[str, str]] = {
    "lenet": (DIGITS + LENET + scored("ip2"), INV),
    "lenet_multistep": (DIGITS + LENET + scored("ip2"), INV.replace('"inv"', '"multistep" stepvalue: 1')),
    "lenet_adadelta": (DIGITS + LENET + scored("ip2"),
                       'base_lr: 1 lr_policy: "fixed" momentum: 0.95 delta: 1e-6 type: "AdaDelta"'),
    "lenet_adam": (DIGITS + LENET + scored("ip2"), FIXED + ' momentum2: 0.999 type: "Adam"'),
    "lenet_rmsprop": (DIGITS + LENET + scored("ip2"), INV.replace("0.9 ", "0 ") + ' type: "RMSProp" rms_decay: 0.98'),
    "mnist_autoencoder": (autoencoder(), STEP + " " + STAGES),
    "mnist_autoencoder_adadelta": (autoencoder(),
                                   f'base_lr: 1 lr_policy: "fixed" momentum: 0.95 type: "AdaDelta" {STAGES}'),
    "mnist_autoencoder_adagrad": (autoencoder(), f'base_lr: 0.01 lr_policy: "fixed" type: "AdaGrad" {STAGES}'),
    "mnist_autoencoder_nesterov": (autoencoder(), STEP.replace("0.9 ", "0.95 ") + f' type: "Nesterov" {STAGES}'),
    "cifar10_quick": (cifar("relu", hidden=True), FIXED + " weight_decay: 0.004 snapshot_format: HDF5"),
    "cifar10_full": (cifar("norm"), FIXED + " weight_decay: 0.004"),
    "cifar10_full_sigmoid": (cifar("sigmoid"), STEP),
    "cifar10_full_sigmoid_bn": (cifar("batch"), STEP),
    "mnist_siamese": (SIAMESE, INV.replace("0.0005", "0")),
    "caffenet": (IMAGES + trunk() + head() + scored("fc8"), STEP),
    "alexnet": (IMAGES + trunk(pool_first=False) + head() + scored("fc8"), STEP),
    "googlenet": (GOOGLENET,
                  'base_lr: 0.01 lr_policy: "poly" power: 0.5 max_iter: 9 momentum: 0.9 weight_decay: 0.0002'),
    "finetune_flickr_style": (IMAGES + trunk() + FLICKR + scored("fc8_flickr"), STEP),
}  # fmt: skip

DEPLOYED = {
    "lenet": fed("data", 2, 1, 28, 28) + LENET + layer("prob", "Softmax", "ip2", "prob"),
    "cifar10_quick": fed("data", 1, 3, 32, 32) + cifar("relu", True).removeprefix(COLOURS).replace(scored("ip1"), ""),
    "cifar10_full": fed("data", 1, 3, 32, 32) + cifar("norm").removeprefix(COLOURS).replace(scored("ip1"), ""),
    "siamese": fed("data", 2, 1, 28, 28) + branch("", "data"),
    "caffenet": fed("data", 1, 3, 67, 67) + trunk() + head() + layer("prob", "Softmax", "fc8", "prob"),
    "caffenet_full_conv": fed("data", 1, 3, 99, 99) + full_conv(),
    "rcnn_ilsvrc13": fed("data", 1, 3, 67, 67) + trunk() + head("fc-rcnn", 20),
    "net_surgery_conv": fed("data", 1, 1, 20, 20)
    + conv("conv", "data", 3, 5, fill='weight_filler { type: "gaussian" std: 0.01 } bias_filler { value: 0 }'),
}


def solver(net: str, settings: str, folder: Path) -> Solver:
    text = f"""{settings} test_iter: 1 test_interval: 1 display: 1 random_seed: 1 solver_mode: CPU
      snapshot_prefix: "{folder / "snap"}" net: "{folder / "net.prototxt"}" """
    (folder / "net.prototxt").write_text(net)
    return Solver(prototxt.parse(text, schema.SolverParameter(), "solver"))


def takes_two_iterations(net: str, settings: str, folder: Path) -> Solver:
    found = solver(net, settings, folder)
    before = [blob.tensor.clone() for blob in found.net.learnable]
    found.step(2)
    found.test_all()
    changed = 0
    for blob, old in zip(found.net.learnable, before, strict=True):
        assert torch.isfinite(blob.tensor).all(), blob.layer
        changed += not torch.equal(blob.tensor, old)
    assert changed > len(before) / 2
    return found


@pytest.mark.parametrize("name", TRAINED)
def test_a_net_takes_two_iterations(name: str, tmp_path: Path) -> None:
    found = takes_two_iterations(*TRAINED[name], tmp_path)
    assert len(found.test_nets) == (2 if "autoencoder" in name else 1)
    Solver.restore(found, found.snapshot())


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_deployed_net_computes(name: str) -> None:
    net = Net(prototxt.parse(DEPLOYED[name], schema.NetParameter(), "net"))
    for _ in range(2):
        found = net({"data": torch.rand(net.inputs["data"])})
        assert list(found) == net.outputs
        assert all(torch.isfinite(top).all() for top in found.values())


@pytest.mark.parametrize("hidden", [False, True])
def test_hdf5_classification(tmp_path: Path, hidden: bool) -> None:
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["data"], file["label"] = random.normal(size=(20, 4)).astype("f4"), np.arange(20, dtype="f4") % 2
    (tmp_path / "train.txt").write_text(f"{tmp_path / 'train.h5'}\n")
    source = f'hdf5_data_param {{ source: "{tmp_path / "train.txt"}" batch_size: 10 }}'
    net = layer("data", "HDF5Data", "", "data label", source)
    net += dense("fc1", "data", 5) + relu("relu1", "fc1") if hidden else ""
    takes_two_iterations(net + dense("fc2", "fc1" if hidden else "data", 2) + scored("fc2"), STEP, tmp_path)


def test_pascal_finetuning_draws_windows(tmp_path: Path) -> None:
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(tmp_path / "a.png")
    lines = ["# 0", str(tmp_path / "a.png"), "3", "80", "80", "2", "1 0.9 5 5 60 60", "0 0.1 10 10 40 40"]
    (tmp_path / "windows.txt").write_text("\n".join(lines) + "\n")
    source = f"""transform_param {{ mirror: true crop_size: 67 mean_value: 104 }} window_data_param {{
      source: "{tmp_path / "windows.txt"}" batch_size: 4 fg_threshold: 0.5 bg_threshold: 0.5 fg_fraction: 0.25
      context_pad: 4 crop_mode: "warp" }}"""
    net = layer("data", "WindowData", "", "data label", source) + trunk() + head("fc8_pascal", 21)
    takes_two_iterations(net + scored("fc8_pascal"), STEP.replace("0.01", "0.001"), tmp_path)


def test_feature_extraction_reads_an_image_list(tmp_path: Path) -> None:
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.png'} 0\n")
    source = f"""transform_param {{ crop_size: 67 }} image_data_param {{ source: "{tmp_path / "list.txt"}" batch_size: 2
      new_height: 70 new_width: 70 }}"""
    net = layer("data", "ImageData", "", "data label", source) + trunk() + head()
    net += layer("prob", "Softmax", "fc8", "prob") + layer("accuracy", "Accuracy", "prob label", "accuracy")
    built = Net(prototxt.parse(net, schema.NetParameter(), "net"))
    for _ in range(2):
        assert built(built.next_batch(), keep=["fc7"])["fc7"].shape == (2, 16)


def test_linear_regression_with_a_python_loss(tmp_path: Path) -> None:
    module = "python_param { module: 'tests.pycaffe.user_layers' layer: 'SquareLoss' }"
    filler = 'data_filler { type: "gaussian" }'
    net = "".join(
        layer(name, "DummyData", "", name, f"dummy_data_param {{ shape {{ dim: 10 dim: 3 dim: 2 }} {filler} }}")
        for name in "xy"
    )
    net += dense("ipx", "x", 10) + dense("ipy", "y", 10)
    net += layer("loss", "Python", "ipx ipy", "loss", f"{module} loss_weight: 1")
    takes_two_iterations(net, FIXED, tmp_path)


def test_net_surgery_makes_convolutions_of_inner_products(tmp_path: Path) -> None:
    (tmp_path / "dense").write_text(DEPLOYED["caffenet"])
    (tmp_path / "conv").write_text(DEPLOYED["caffenet_full_conv"].replace("dim: 99", "dim: 67"))
    net, full = (pycaffe.Net(str(tmp_path / name), pycaffe.TEST) for name in ("dense", "conv"))
    net.save(str(tmp_path / "weights"))
    full.copy_from(str(tmp_path / "weights"))
    for name in ("fc6", "fc7", "fc8"):
        full.params[f"{name}-conv"][0].data.flat = net.params[name][0].data.flat
        full.params[f"{name}-conv"][1].data[...] = net.params[name][1].data
    image = np.random.default_rng(0).random((1, 3, 67, 67), np.float32)
    expected, found = (each.forward(data=image)["prob"] for each in (net, full))
    np.testing.assert_allclose(found[:, :, 0, 0], expected, rtol=1e-5)


def test_fine_tuning_starts_from_the_layers_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "whole").write_text(DEPLOYED["caffenet"])
    net = pycaffe.Net(str(tmp_path / "whole"), pycaffe.TEST)
    net.save(str(tmp_path / "weights"))
    tuned = solver(*TRAINED["finetune_flickr_style"], tmp_path)
    tuned.load_weights(str(tmp_path / "weights"))
    np.testing.assert_array_equal(tuned.net.layer("conv1").weight.detach(), net.params["conv1"][0].data)
    rates = {blob.layer: blob.lr_mult for blob in tuned.net.learnable if not blob.index}
    assert (rates["fc7"], rates["fc8_flickr"]) == (1, 10)
    tuned.step(2)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".py"])
def test_a_net_with_two_losses_of_one_name_is_exported(suffix: str) -> None:
    net = Net(prototxt.parse(autoencoder(), schema.NetParameter(), "net"), stages=["test-on-test"])
    model, target = of_net(net), TARGETS[suffix]
    files = target.make(model).files
    assert compare(model, lambda inputs: target.run(files, inputs), target.tolerance)
