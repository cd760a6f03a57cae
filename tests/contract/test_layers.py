"""One suite over every registered layer type.

A type has an example; something independent that it is held against; its gradient in float64, unless it is listed as
having none; its result in place, where it may be in place; and its result for a batch of one.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.layers import LAYERS, Layer, base
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.target import _BOTTOMS, bottoms_of
from demitasse.errors import NetError
from tests.contract.examples import EXAMPLES, IMAGE, RECORDED, Example

# no gradient goes through these
RANKINGS = {
    "Accuracy", "ArgMax", "BoxAnnotatorOHEM", "ContinuationIndicator", "DetectionEvaluate", "DetectionOutput",
    "EvalDetection", "FrcnnProposal", "HDF5Output", "MatWrite", "Nms", "PriorBox", "Proposal", "SegAccuracy", "Silence",
    "Threshold", "YoloDetectionOutput", "Yolov3DetectionOutput",
}  # fmt: skip
# how many items these make, nobody can tell beforehand
UNCERTAIN = {
    "DetectionEvaluate",
    "DetectionOutput",
    "Filter",
    "FrcnnProposal",
    "Proposal",
    "YoloDetectionOutput",
    "Yolov3DetectionOutput",
}

DIFFERENTIABLE = [example for example in EXAMPLES if example.differentiable]
FIXED = [example for example in EXAMPLES if not example.random]
JUDGED = [example for example in EXAMPLES if example.oracle]
ONE_TOP = [example for example in FIXED if LAYERS[example.type].in_place]
each = pytest.mark.parametrize


pytestmark = pytest.mark.usefixtures("own_folder")  # HDF5Output and MatWrite write


def run(layer: Layer, bottoms: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    result = layer(*bottoms)
    return (result,) if isinstance(result, torch.Tensor) else result


def types(examples: list[Example]) -> set[str]:
    return {example.type for example in examples}


def test_every_layer_type_has_its_examples():
    assert types(EXAMPLES) == set(LAYERS)
    assert types(JUDGED) | set(RECORDED) == set(LAYERS), "give the new type an oracle, or a line in RECORDED"
    assert types(DIFFERENTIABLE) | RANKINGS == set(LAYERS)
    assert types(DIFFERENTIABLE) & RANKINGS == set()
    assert types([e for e in FIXED if e.oracle or not e.together]) == set(LAYERS), "without a batch of one"
    assert types(ONE_TOP) == {name for name, layer in ((name, LAYERS[name]) for name in LAYERS) if layer.in_place}


def test_recorded_types_have_cases(shared):
    for kind, beginning in RECORDED.items():
        folders = list((shared / "golden/layers").glob(f"{beginning}*"))
        assert folders, kind
        for folder in folders:
            assert kind in {layer.type for layer in prototxt.read_net(folder / "net.prototxt").layer}, folder


def test_the_page_has_a_line_for_every_type():
    page = (Path(__file__).parents[2] / "docs/layers.md").read_text(encoding="utf-8")
    first_column = " ".join(re.findall(r"^\| (.+?) \| ", page, re.MULTILINE))
    assert set(LAYERS) <= set(re.findall(r"`(\w+)`", first_column))


def check_oracle(example: Example) -> None:
    layer = example.net().double().layer("l")
    bottoms = [bottom.double() for bottom in example.bottoms()]
    blobs = [blob.detach().numpy().copy() for blob in layer.blobs()]
    expected = example.oracle(*(bottom.numpy() for bottom in bottoms), *blobs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for top, array in zip(run(layer, bottoms), expected, strict=True):
        assert tuple(top.shape) == np.shape(array)
        np.testing.assert_allclose(top.detach().numpy(), array, rtol=1e-5, atol=1e-7)


@each("example", JUDGED, ids=str)
def test_agrees_with_its_definition(example):
    check_oracle(example)


@each("example", FIXED, ids=str)
def test_a_batch_of_one(example):
    one = example.of_one()
    if example.together:
        if example.oracle:
            check_oracle(one)
        return
    bottoms = example.bottoms()
    first = [bottom[:1] if example.batched(index) else bottom for index, bottom in enumerate(bottoms)]
    layer, single = example.net().layer("l"), one.net().layer("l")
    for found, expected in zip(run(single, first), run(layer, bottoms), strict=True):
        torch.testing.assert_close(found, expected[:1])


@each("example", DIFFERENTIABLE, ids=str)
def test_gradient_in_float64(example):
    net = example.net().double()
    layer = net.layer("l")
    bottoms = [bottom.double() for bottom in example.bottoms()]
    for index, bottom in enumerate(bottoms):
        bottom.requires_grad_(example.takes_gradient(index))
    parameters, buffers = dict(layer.named_parameters()), dict(layer.named_buffers())

    def forward(*tensors):
        given, values = tensors[: len(bottoms)], tensors[len(bottoms) :]
        torch.manual_seed(0)
        state = {**dict(zip(parameters, values, strict=True)), **{k: v.clone() for k, v in buffers.items()}}
        return torch.func.functional_call(layer, state, given)

    assert torch.autograd.gradcheck(forward, (*bottoms, *parameters.values()), eps=example.step)


def in_place_net(example: Example, top: str) -> Net:
    """Builds a net whose layer ``l`` reads blob ``x`` and writes blob ``top``, which ``post`` reads."""
    inputs = "".join(
        f'input: "b{i}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
        for i, shape in enumerate(example.shapes)
    )
    others = " ".join(f'bottom: "b{i}"' for i in range(1, len(example.shapes)))
    text = f"""{inputs} force_backward: true
        layer {{ name: "pre" type: "Power" bottom: "b0" top: "x" power_param {{ scale: 1.5 }} }}
        layer {{ name: "l" type: "{example.type}" bottom: "x" {others} top: "{top}" {example.settings} }}
        layer {{ name: "post" type: "Power" bottom: "{top}" top: "y" power_param {{ power: 2 }} }}"""
    torch.manual_seed(0)
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"), example.phase)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


@each("example", ONE_TOP, ids=str)
def test_in_place_gives_the_same(example):
    results = []
    for top in ("t", "x"):
        net = in_place_net(example, top)
        batch = {f"b{i}": bottom for i, bottom in enumerate(example.bottoms())}
        kept = {name: bottom.clone() for name, bottom in batch.items()}
        found = net(batch)["y"]
        if found.requires_grad:
            found.sum().backward()
        assert all(torch.equal(batch[name], values) for name, values in kept.items())
        results.append([found, *(tensor.grad for tensor in (*batch.values(), *net.parameters()))])
    assert (results[0][1] is None) == (example.type in RANKINGS)
    for plain, in_place in zip(*results, strict=True):
        assert (plain is None) == (in_place is None)
        assert plain is None or torch.equal(plain, in_place)


@each("example", [e for e in EXAMPLES if e.tops and e.shapes and not LAYERS[e.type].in_place], ids=str)
def test_other_layers_refuse_to_be_in_place(example):
    inputs = " ".join(
        f'input: "b{i}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}'
        for i, shape in enumerate(example.shapes)
    )
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(example.shapes)))
    tops = " ".join(f'top: "t{i}"' for i in range(1, example.tops))
    text = f'{inputs} layer {{ name: "l" type: "{example.type}" {bottoms} top: "b0" {tops} {example.settings} }}'
    with pytest.raises(NetError, match=rf"{example.type} does not compute in place: give its top 'b0' a name of"):
        Net(prototxt.parse(text, schema.NetParameter(), "net"), example.phase)


@each("example", [e for e in EXAMPLES if e.type not in UNCERTAIN], ids=str)
def test_shapes_told_beforehand_are_those_of_the_run(example, monkeypatch):
    net = example.net()
    tops = run(net.layer("l"), example.bottoms())
    assert [tuple(top.shape) for top in tops] == [net.shapes[f"t{i}"] for i in range(example.tops)]
    monkeypatch.setattr(base, "_SMALL", -1)  # on the meta device, too
    on_meta = example.net()
    assert on_meta.shapes == net.shapes
    assert not any(tensor.is_meta for tensor in (*on_meta.parameters(), *on_meta.buffers()))


# Dropout draws in the order of memory
@each("example", [e for e in EXAMPLES if e.type != "Dropout"], ids=str)
def test_channels_last_gives_the_same(example):
    bottoms = example.bottoms()
    expected = run(example.net().layer("l"), bottoms)
    found = run(
        example.net().channels_last().layer("l"),
        [b.contiguous(memory_format=torch.channels_last) if b.ndim == 4 else b for b in bottoms],
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@each("example", [example for example in EXAMPLES if example.type in RANKINGS], ids=str)
def test_no_gradient_goes_through_a_ranking(example):
    bottoms = [bottom.requires_grad_() for bottom in example.bottoms()]
    assert not any(top.requires_grad for top in run(example.net().layer("l"), bottoms))


@each("example", EXAMPLES, ids=str)
def test_a_type_tells_whether_its_layers_have_blobs(example):
    """And the blobs tell bottoms that need them: so conversions do without the data of a net."""
    layer = example.net().layer("l")
    if layer.blob_names and example.type != "Python":
        assert LAYERS[example.type].has_blobs
        assert example.type.endswith(tuple(_BOTTOMS)), "give the type a line in _BOTTOMS of caffe/tools/target.py"
        again = LAYERS[example.type](layer.spec)
        again.setup(*bottoms_of(layer.spec, [tuple(blob.shape) for blob in layer.blobs()]))
        assert [blob.shape for blob in again.blobs()] == [blob.shape for blob in layer.blobs()]


@each(
    "kind",
    ["BatchReindex", "Deconvolution", "Embed", "Filter", "Im2col", "LSTM", "Lstm", "MVN", "PSROIPooling", "RNN",
     "DeformableConvolution", "ImResize", "Nms", "Pooling3D", "Reorg", "SPP", "Unpooling", "Upsample"],
)  # fmt: skip
def test_exporting_gives_the_same(kind):
    example = next(example for example in EXAMPLES if example.type == kind)
    batch = {f"b{i}": bottom for i, bottom in enumerate(example.bottoms())}
    with torch.no_grad():
        expected = example.net().eval()(batch)
        found = torch.export.export(example.net().eval(), (batch,)).module()(batch)
    for name, blob in expected.items():
        torch.testing.assert_close(found[name], blob)


@each("kind", sorted(LAYERS))
def test_wrong_numbers_of_bottoms_and_tops_are_told(kind):
    example = next(example for example in EXAMPLES if example.type == kind)
    least, most = example.net().layer("l").bottom_count
    wrong = [least - 1] * (least > 0) + ([most + 1] if most is not None else [])
    for count in wrong:
        shapes = [*example.shapes, *[IMAGE] * count][:count]
        inputs = " ".join(
            f'input: "b{i}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}'
            for i, shape in enumerate(shapes)
        )
        bottoms = " ".join(f'bottom: "b{i}"' for i in range(count))
        tops = " ".join(f'top: "t{i}"' for i in range(example.tops))
        text = f'{inputs} layer {{ name: "l" type: "{kind}" {bottoms} {tops} {example.settings} }}'
        with pytest.raises(NetError, match=re.escape(f"layer 'l' (net): {kind} takes ") + ".* bottoms, found"):
            Net(prototxt.parse(text, schema.NetParameter(), "net"), example.phase)
