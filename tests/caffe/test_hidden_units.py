"""Hidden units of Caffe nets: which may move, and that the net stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.hidden_units import find_links, reorder_units
from demitasse.caffe.net import Net
from demitasse.caffe.text.prototxt import parse
from demitasse.errors import WeightsError
from demitasse.packed.tensor import Tensor, of_array
from demitasse.packed.writer import pack
from tests.published import lenet5

LENET = """name: "LeNet"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 1 dim: 28 dim: 28 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 20 kernel_size: 5 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param { num_output: 50 kernel_size: 5 } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST stage: "test" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" include { phase: TRAIN } }
"""  # noqa: E501
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 9 dim: 9 } } }'
CONV = (
    'layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 6 kernel_size: 3 } }'
)
LAST = 'layer { name: "z" type: "InnerProduct" bottom: "b" top: "z" inner_product_param { num_output: 4 } }'


def message(text: str) -> Any:
    return parse(text, schema.NetParameter(), "net")


def blobs(net: Net, powers: bool = True) -> list[Tensor]:
    """Returns pruned blobs for a net: powers of two, so that sums of whole numbers are exact; variances above 0."""
    rng, found = np.random.default_rng(0), []
    for name, layer in net.named_layers().items():
        for index, blob in enumerate(layer.blobs()):
            kept = rng.random(blob.shape) < rng.random((*blob.shape[:1], *(1 for _ in blob.shape[1:]))) ** 2
            array = np.exp2(rng.integers(-2, 1, blob.shape)) * rng.choice([-1, 1], blob.shape) * kept
            if layer.spec.type == "BatchNorm":
                array = 1 + rng.random(blob.shape)
            found.append(of_array(f"{name}.{index}", array.astype(np.float32)))
    return found


def outputs(definition: Any, tensors: list[Tensor]) -> list[torch.Tensor]:
    """Returns what a net gives for whole numbers, in float64."""
    net = Net(definition)
    arrays: dict[str, list[np.ndarray]] = {}
    for tensor in tensors:
        arrays.setdefault(tensor.name.rpartition(".")[0], []).append(tensor.array())
    for name, found in arrays.items():
        net.load_blobs(name, found)
    images = {
        name: torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(0))
        for name, shape in net.inputs.items()
    }
    with torch.no_grad():
        return list(net.double()({name: image.double() for name, image in images.items()}).values())


def linked(middle: str) -> list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """Returns the links of conv ``a``, what stands between, and inner product ``z``."""
    definition = message(INPUT + CONV + middle + LAST)
    return [tuple(link) for link in find_links(definition, {tensor.name: tensor for tensor in blobs(Net(definition))})]


def test_lenet5_of_the_paper(shared: Path) -> None:
    tensors, definition = lenet5(shared), message(LENET)
    found = reorder_units(definition, tensors, remove_dead=True)
    assert [tensor.shape for tensor in found.tensors[::2]] == [(8, 1, 5, 5), (19, 8, 5, 5), (57, 304), (10, 57)]
    assert [layer.convolution_param.num_output for layer in found.net.layer if layer.type == "Convolution"] == [8, 19]
    assert definition == message(LENET)
    assert all(
        torch.equal(*both) for both in zip(outputs(found.net, found.tensors), outputs(definition, tensors), strict=True)
    )
    assert len(pack(found.tensors, {"caffe": "Convolution Convolution InnerProduct InnerProduct"})) <= 2_500


def test_lenet5_without_removal_keeps_its_shapes(shared: Path) -> None:
    tensors, definition = lenet5(shared), message(LENET)
    found = reorder_units(definition, tensors)
    assert found.net == definition
    assert [tensor.shape for tensor in found.tensors] == [tensor.shape for tensor in tensors]
    assert all(
        torch.equal(*both) for both in zip(outputs(found.net, found.tensors), outputs(definition, tensors), strict=True)
    )
    assert len(pack(found.tensors)) < 0.98 * len(pack(tensors))


# what may stand between, and then: what moves with the units, and what silences one
BETWEEN = {
    "ReLU": ("", ("a.0", "a.1"), ()),
    "TanH": ("", ("a.0", "a.1"), ()),
    "Dropout": ("", ("a.0", "a.1"), ()),
    "Pooling": ("pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", ("a.0", "a.1"), ()),
    "Flatten": ("", ("a.0", "a.1"), ()),
    "LRN": ("lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 }", ("a.0", "a.1"), ()),
    "Sigmoid": ("", (), ()),
    "Power": ("power_param { shift: 1 }", (), ()),
    "PReLU": ("", ("a.0", "a.1"), ("b.0",)),
    "BatchNorm": ("", (), ("b.0", "b.1")),
    "Scale": ("scale_param { bias_term: true }", ("b.0", "b.1"), ("b.0", "b.1")),
    "Bias": ("", (), ("b.0",)),
}


@pytest.mark.parametrize("kind", BETWEEN)
def test_what_may_stand_between(kind: str) -> None:
    settings, silent, moved = BETWEEN[kind]
    middle = f'layer {{ name: "b" type: "{kind}" bottom: "a" top: "b" {settings} }}'
    assert linked(middle) == [(("a.0", "a.1", *moved), ("z.0",), silent)]
    definition = message(INPUT + CONV + middle + LAST)
    tensors = blobs(Net(definition))
    found = reorder_units(definition, tensors, remove_dead=True, budget=100_000)
    assert not np.array_equal(found.tensors[0].array(), tensors[0].array())
    for one, other in zip(outputs(found.net, found.tensors), outputs(definition, tensors), strict=True):
        # sums in another order, of values that are no whole numbers
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def between(kind: str, settings: str = "", name: str = "b", bottoms: str = 'bottom: "a"') -> str:
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{name}" {settings} }} '


STAYS = {
    "LRN across channels": between("LRN"),
    "softmax": between("Softmax"),
    "sum": between("Eltwise", bottoms='bottom: "a" bottom: "a"'),
    "concatenation": between("Concat", bottoms='bottom: "a" bottom: "a"'),
    "used beside": between("ReLU") + between("ArgMax", name="c"),
    "output beside": between("ReLU") + between("TanH", name="c"),
    "part of the loss": between("ReLU", "loss_weight: 0.1"),
    "a factor for each value": between("Scale", "scale_param { num_axes: -1 }"),
    "flat rows": between("Flatten", "flatten_param { axis: 2 }"),
    "transposed": between("InnerProduct", "inner_product_param { num_output: 4 transpose: true }"),
    "grouped": between("Convolution", "convolution_param { num_output: 4 kernel_size: 3 group: 2 }"),
}


@pytest.mark.parametrize("case", STAYS)
def test_units_that_keep_their_order(case: str) -> None:
    assert [link for link in linked(STAYS[case]) if "a.0" in link[0]] == []


def test_shared_weights_keep_their_order() -> None:
    settings = "convolution_param { num_output: 6 kernel_size: 3 } "
    named = [between("Convolution", settings + 'param { name: "w" }', name) for name in ("b", "c")]
    a, b = ("a.0", "a.1"), ("b.0", "b.1")
    assert linked(named[0]) == [(a, ("b.0",), a), (b, ("z.0",), b)]
    assert linked("".join(named)) == []


def test_two_users() -> None:
    settings = "convolution_param { num_output: 6 kernel_size: 3 }"
    joined = "".join(between("Convolution", settings, name) for name in ("b", "c"))
    joined += between("Eltwise", name="d", bottoms='bottom: "b" bottom: "c"')
    definition = message(INPUT + CONV + joined + LAST.replace('bottom: "b"', 'bottom: "d"'))
    tensors = blobs(Net(definition))
    assert [tuple(link) for link in find_links(definition, {tensor.name: tensor for tensor in tensors})] == [
        (("a.0", "a.1"), ("b.0", "c.0"), ("a.0", "a.1"))
    ]
    found = reorder_units(definition, tensors, remove_dead=True, budget=100_000)
    assert torch.equal(outputs(found.net, found.tensors)[0], outputs(definition, tensors)[0])


def test_masks_move_along() -> None:
    text = INPUT + CONV + LAST.replace('bottom: "b"', 'bottom: "a"')
    definition = message(text.replace("Convolution", "DNSConvolution").replace("InnerProduct", "DNSInnerProduct"))
    tensors = blobs(Net(definition))
    # masks of 0 and 1
    masks = {"a.2", "a.3", "z.2", "z.3"}
    tensors = [
        of_array(each.name, (each.array() != 0).astype(np.float32)) if each.name in masks else each for each in tensors
    ]
    found = reorder_units(definition, tensors, budget=100_000)
    (link,) = find_links(definition, {tensor.name: tensor for tensor in tensors})
    assert link[:2] == (("a.0", "a.1", "a.2", "a.3"), ("z.0", "z.2"))
    assert not np.array_equal(found.tensors[0].array(), tensors[0].array())
    assert torch.equal(outputs(found.net, found.tensors)[0], outputs(definition, tensors)[0])


def test_blobs_that_do_not_fit() -> None:
    definition = message(INPUT + CONV + LAST.replace('bottom: "b"', 'bottom: "a"'))
    tensors = blobs(Net(definition))
    with pytest.raises(WeightsError, match=r"layer 'z' of type InnerProduct has blobs \['z\.0'\]; expected 2"):
        reorder_units(definition, tensors[:-1])
    definition.layer[1].convolution_param.num_output = 7
    with pytest.raises(WeightsError, match=r"a\.0 has shape \[6, 3, 3, 3\]; expected 7 rows, its num_output"):
        reorder_units(definition, tensors)
