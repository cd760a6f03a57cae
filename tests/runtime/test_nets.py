"""Whole nets from packed weights: scores within 1e-4 of the largest one, and the same answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import demitasse
from benchmarks.squeezenet_imagenet import photographs
from demitasse import examples
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.compact_file import deep_compression_to_caffe
from demitasse.caffe.weights import load_weights
from demitasse.idx import read_idx
from demitasse.runtime.native.plan import NativePlan
from demitasse.runtime.plan import Plan
from demitasse.zoo.models import MODELS
from tests.runtime.playground import agree, sparse

EXAMPLES = Path(examples.__file__).parent
# the size of images: the least that goes through the net, and that of its definition
SIZES = {
    "lenet300": (28, 28),
    "lenet5": (28, 28),
    "alexnet": (67, 227),
    "squeezenet": (67, 227),
    "googlenet": (224, 224),
    "mobilenet_v1": (64, 224),
    "mobilenet_v2": (64, 224),
    "resnet50": (195, 224),
}


def example_net(name: str, size: int, density: float = 0.1) -> Net:
    """Returns a net of the examples up to its scores, with random weights, of which a share is kept."""
    spec = prototxt.read_net(EXAMPLES / name / "deploy.prototxt")
    assert spec.layer[-1].type == "Softmax"
    del spec.layer[-1]
    spec.layer[0].input_param.shape[0].dim[0] = 1
    spec.layer[0].input_param.shape[0].dim[2:] = [size, size]
    net = Net(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in net.named_layers().values():
            for name_of_blob, blob in zip(layer.blob_names, layer.blobs(), strict=True):
                kind = layer.spec.type, name_of_blob
                if kind in (("Convolution", "weight"), ("InnerProduct", "weight")):
                    spread = math.sqrt(2 / max(1, density * blob[0].numel()))
                    kept = torch.rand(blob.shape, generator=generator) < density
                    blob.normal_(0, spread, generator=generator).mul_(kept)
                elif kind in (("BatchNorm", "variance"), ("BatchNorm", "factor"), ("Scale", "weight")):
                    blob.uniform_(0.8, 1.2, generator=generator)
                else:
                    blob.normal_(0, 0.1, generator=generator)
    return net


def agrees(net: Net, batch: int, threads: int) -> None:
    plan = demitasse.optimize(net)
    x = torch.randn(batch, *net.inputs["data"][1:], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (expected,) = net({"data": x}).values()
    assert plan.native(batch, threads) is not None, "the net is sparse enough"
    for outputs in (NativePlan(plan.graph, batch, threads)({"data": x}), plan({"data": x})):
        (found,) = outputs.values()
        assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("name", SIZES)
def test_examples(name: str) -> None:
    net = example_net(name, SIZES[name][0])
    agrees(net, 1, 1)
    agrees(net, 3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (least, full) in SIZES.items() if full > least])
def test_examples_in_their_own_size(name: str) -> None:
    agrees(example_net(name, SIZES[name][1]), 2, 2)


@pytest.mark.slow
def test_resnet50_of_the_zoo() -> None:
    model = sparse(MODELS["resnet50"](), 0.1)
    fast = demitasse.optimize(model, torch.randn(1, 3, 224, 224))
    assert {layer.kernel for layer in fast.report().layers if layer.total} == {"sparse"}
    agree(model, fast, torch.randn(2, 3, 224, 224))


def same_answers(plan: Plan, net: Net, x: Tensor) -> None:
    """Checks that the likeliest class is that of the net, unless two are about as likely."""
    with torch.no_grad():
        expected, found = net({"data": x})["prob"].flatten(1), plan({"data": x})["prob"].flatten(1)
    best, answer = expected.max(1).values, expected.gather(1, found.argmax(1)[:, None])[:, 0]
    assert bool((answer >= best * (1 - 1e-5)).all())


@pytest.mark.parametrize("weights", [pytest.param("original", marks=pytest.mark.slow), "sparse"])
def test_published_lenet5_on_ten_thousand_digits(shared: Path, weights: str) -> None:
    net = Net.from_file(EXAMPLES / "lenet5/deploy.prototxt")
    load_weights(net, shared / f"models/caffe_lenet5_{weights}.caffemodel")
    digits = torch.tensor(read_idx(shared / "data/mnist/t10k-images-idx3-ubyte.gz", axes=3))
    labels = torch.tensor(read_idx(shared / "data/mnist/t10k-labels-idx1-ubyte.gz", axes=1))
    plan = demitasse.optimize(net)
    right = 0
    for part, wanted in zip(digits.split(1000), labels.split(1000), strict=True):
        x = part[:, None] / 256
        same_answers(plan, net, x)
        native = NativePlan(plan.graph, len(x), 1)({"data": x})["prob"]
        right += int((native.argmax(1) == wanted).sum())
    assert right == 9909


@pytest.mark.slow
def test_published_squeezenet_on_photographs(shared: Path, tmp_path: Path) -> None:
    definition, model = EXAMPLES / "squeezenet/deploy.prototxt", tmp_path / "squeezenet.caffemodel"
    deep_compression_to_caffe(definition, shared / "models/squeezenet_v1.0_deep_compression.net", model)
    net = Net.from_file(definition)
    load_weights(net, model)
    plan = demitasse.optimize(net)
    count = 0
    for images, _ in photographs(shared / "data/imagenet_sample"):
        same_answers(plan, net, images)
        count += len(images)
    assert count == 500


class Tokens(NamedTuple):
    """A model of transformers with random weights.

    Attributes:
        model: in evaluation.
        names: of the matrices that are pruned or quantized.
    """

    model: nn.Module
    names: list[str]


def tokens_model(name: str, width: int = 64) -> Tokens:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if name == "gpt2":
        config = transformers.GPT2Config(
            n_embd=width, n_layer=2, n_head=4, vocab_size=100, n_positions=32, use_cache=False, pad_token_id=0
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.BertConfig(
            hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=2 * width, vocab_size=100
        )
        model = transformers.BertForSequenceClassification(config)
    matrices = [each for each, module in model.named_modules() if type(module).__name__ in ("Linear", "Conv1D")]
    return Tokens(model.eval(), [f"{each}.weight" for each in matrices])


def prune(found: Tokens) -> None:
    with torch.no_grad():
        for name in found.names:
            weight = found.model.get_parameter(name)
            weight.mul_(torch.rand_like(weight) < 0.1).mul_(3)


def quantize(found: Tokens) -> None:
    optimizer = torch.optim.SGD(found.model.parameters(), lr=0.1)
    quantization = demitasse.IncrementalQuantization(
        found.model, optimizer, bits=4, parameters=found.names, portions=[1.0]
    )
    assert list(quantization) == [1.0]
    found.model.eval()


@pytest.mark.parametrize("change", [prune, quantize])
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_models_of_transformers(name: str, change: Callable[[Tokens], None]) -> None:
    found = tokens_model(name)
    change(found)
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, 9:] = 0
    example = {"input_ids": torch.randint(0, 100, (2, 12)), "attention_mask": mask}
    fast = demitasse.optimize(found.model, example)
    agree(found.model, fast, **example)
    agree(found.model, fast, **{each: value[:1] for each, value in example.items()})
    agree(found.model, fast, **{each: torch.cat([value] * 3) for each, value in example.items()})


def test_a_few_tokens_of_quantized_models_are_computed_from_codes() -> None:
    bert, gpt = tokens_model("bert", 256), MODELS["gpt"](vocabulary=512, layers=2, width=256).eval()
    own = Tokens(gpt, [f"{name}.weight" for name, module in gpt.named_modules() if isinstance(module, nn.Linear)])
    row = torch.randint(0, 60, (1, 3))
    for found, example in ((bert, {"input_ids": row, "attention_mask": torch.ones_like(row)}), (own, {"tokens": row})):
        quantize(found)
        fast = demitasse.optimize(found.model, example)
        agree(found.model, fast, **example)
        products = [layer for layer in fast.report().layers if layer.kind == "InnerProduct"]
        assert len(products) == len(found.names)
        assert not {"dense", "PyTorch"} & {layer.kernel for layer in products if layer.total >= 1 << 16}
