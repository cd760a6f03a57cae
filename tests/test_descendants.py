"""The detectors, segmenters and classifiers of Caffe's descendants among the examples: they run, and become ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from demitasse import examples
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.export import TARGETS, of_net

FOLDER = Path(examples.__file__).parent
ONNX = TARGETS[".onnx"]
# net -> the least image that goes through it
SMALL = {
    "ssd300": (300, 300),
    "mobilenet_ssd": (128, 160),
    "mobilenet_yolov3": (64, 96),
    "segnet": (64, 96),
    "enet": (64, 96),
    "pspnet50": (89, 89),
    "shufflenet": (64, 64),
    "se_resnet50": (64, 64),
    "faster_rcnn": (96, 128),
    "rfcn_resnet50": (96, 128),
}
QUICK = ("mobilenet_ssd", "enet")
NARROW = ("fc6", "fc7")  # 500 MB of weights
FINDERS = ("DetectionOutput", "Yolov3DetectionOutput", "Proposal")


def allow_small_images(spec: schema.NetParameter) -> None:
    """Changes the settings that are made for the size of the paper: SegNet's sizes, and PSPNet's pyramid."""
    for layer in spec.layer:
        if layer.type == "Upsample":
            layer.upsample_param.CopyFrom(schema.UpsampleParameter(scale=2))
        pooling, interp = layer.pooling_param, layer.interp_param
        if spec.name == "PSPNet-50" and layer.type == "Pooling" and pooling.pool == pooling.AVE:
            pooling.kernel_size = pooling.stride = pooling.kernel_size // 5
        if layer.type == "Interp" and interp.height:
            interp.height = interp.width = 12


def definition(name: str, size: tuple[int, int]) -> schema.NetParameter:
    """Returns the net for images of another size."""
    spec = prototxt.read_net(FOLDER / name / "deploy.prototxt")
    spec.layer[0].input_param.shape[0].dim[2:] = size
    allow_small_images(spec)
    for layer in spec.layer:
        if layer.name in NARROW and layer.type == "InnerProduct":
            layer.inner_product_param.num_output = 32
    return spec


def built(spec: schema.NetParameter) -> Net:
    """Returns a net with random weights, whose statistics keep the size of values from layer to layer."""
    torch.manual_seed(0)
    net = Net(spec, schema.TEST)
    has_shortcuts = any(layer.type in ("Axpy", "Eltwise") for layer in spec.layer)
    variances = (1, 3) if has_shortcuts else (0.8, 1.2)
    for layer in net.named_layers().values():
        kind = layer.spec.type
        if kind == "BN" and not hasattr(layer, "variance"):
            for blob in layer.blobs():
                torch.nn.init.uniform_(blob, 0.2, 0.6)
        elif kind in ("BatchNorm", "BN"):
            layer.variance.uniform_(*variances)
        if kind == "BatchNorm":
            layer.factor.fill_(1)
        if kind == "Convolution" and ("conf" in layer.spec.name or layer.spec.name.endswith("/out")):
            for blob in layer.blobs():
                torch.nn.init.normal_(blob, std=0.1)  # scores that differ
    return net


def inputs_of(net: Net) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch = {"data": torch.randn(net.shapes["data"], generator=generator)}
    if "im_info" in net.shapes:
        batch["im_info"] = torch.tensor([[*net.shapes["data"][2:], 1.0]])
    return batch


def check(net: Net) -> None:
    """Compares the outputs of a net, and what goes into its search for boxes, with the ONNX file made of it."""
    inputs = inputs_of(net)
    searched = [spec.bottom for spec in net.spec.layer if spec.type in FINDERS]
    before = [bottom for bottoms in searched for bottom in bottoms if bottom not in inputs]
    has_masks = any(spec.type == "Upsample" and len(spec.bottom) == 2 for spec in net.spec.layer)
    model = of_net(net, list(dict.fromkeys([*before, *net.outputs]))).fixed()
    expected = model.reference(inputs)
    for name, found in zip(model.outputs, ONNX.run(ONNX.make(model).files, inputs), strict=True):
        assert expected[name].isfinite().all()
        assert expected[name].std() > 0
        assert found.shape == expected[name].shape
        tolerance = 1e-4 * max(float(expected[name].abs().max()), 1.0)
        distance = (found - expected[name]).abs()
        if name == "detection_out":  # boxes with almost the same score may come in another order
            distance = torch.cdist(found[0, 0], expected[name][0, 0], p=torch.inf)
            distance = torch.cat([distance.min(0).values, distance.min(1).values])
        # a mask of pooling may choose the other of two almost equal values
        assert (distance > tolerance).double().mean() <= (1e-3 if has_masks else 0)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_image_goes_through(name: str) -> None:
    net = built(definition(name, SMALL[name]))
    with torch.no_grad():
        outputs = net(inputs_of(net))
    assert all(top.isfinite().all() and top.numel() for top in outputs.values())


@pytest.mark.parametrize("name", QUICK)
def test_onnx_of_small_images(name: str) -> None:
    check(built(definition(name, SMALL[name])))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_onnx_of_the_size_of_the_paper(name: str) -> None:
    check(built(prototxt.read_net(FOLDER / name / "deploy.prototxt")))
