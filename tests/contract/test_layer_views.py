"""Every layer view: its matrix times its columns is the layer's output, and becomes the weight again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import demitasse
import demitasse.shrinking  # registers all views
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.methods.homes import homes
from demitasse.methods.one_shot.sampling import Sample
from demitasse.methods.one_shot.views import VIEWS, EmbeddingView, View, view_of


class Conv1D(nn.Module):
    """Hugging Face's layer, as they write it."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


Conv1D.__module__ = "transformers.pytorch_utils"


class PaddedConv2d(nn.Conv2d):
    """Pads in its forward, as ports of TensorFlow's nets do."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (0, 1, 1, 2)), self.weight, self.bias, self.stride, padding=(0, 1))


class Case(NamedTuple):
    """A layer, the name of its parameter, and the call."""

    view: str
    make: Callable[[], nn.Module]
    parameter: str
    inputs: tuple[int, ...]

    def kernel(self, module: nn.Module) -> tuple[int, ...]:
        """The sizes of the kernel."""
        return tuple(module.get_parameter(self.parameter).shape[2:])


def images(*sizes: int) -> tuple[int, ...]:
    return (3, 4, *sizes)


def caffe(text: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        shape = "shape { dim: 3 dim: 4 dim: 7 dim: 6 }"
        data = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}'
        net = f'{data} layer {{ name: "one" bottom: "data" top: "one" {text} }}'
        torch.manual_seed(0)
        found = Net(prototxt.parse(net, schema.NetParameter(), "test"))
        layer = next(module for module in found.modules() if getattr(module, "weight", None) is not None)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.normal_()
        return layer

    return make


WINDOW = "convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 group: 2 }"
CASES = [
    Case("linear", lambda: nn.Linear(4, 5), "weight", (3, 2, 4)),
    Case("transposed linear", lambda: Conv1D(5, 4), "weight", (3, 2, 4)),
    Case("convolution", lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), "weight", images(9)),
    Case("convolution", lambda: nn.Conv2d(4, 6, (3, 2), groups=2, dilation=(1, 2), bias=False), "weight", images(7, 6)),
    Case("convolution", lambda: nn.Conv2d(4, 8, 3, groups=4, padding="same", dilation=2), "weight", images(7, 6)),
    Case(
        "convolution", lambda: nn.Conv2d(4, 4, 3, groups=4, padding=2, padding_mode="circular"), "weight", images(7, 6)
    ),
    Case("convolution", lambda: nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect"), "weight", images(7, 6)),
    Case("convolution", lambda: nn.Conv3d(4, 6, 2, stride=(1, 2, 1), padding=(0, 1, 1)), "weight", images(4, 5, 3)),
    Case("convolution", lambda: nn.Conv2d(4, 6, 1), "weight", (4, 7, 6)),
    Case("convolution", lambda: PaddedConv2d(4, 6, 3, stride=2), "weight", images(7, 6)),
    Case("transposed convolution", lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), "weight", images(5)),
    Case(
        "transposed convolution",
        lambda: nn.ConvTranspose2d(4, 6, (3, 4), stride=(2, 3), padding=(1, 2), output_padding=(1, 2), groups=2),
        "weight",
        images(5, 4),
    ),
    Case("transposed convolution", lambda: nn.ConvTranspose2d(4, 4, 3, dilation=2, groups=4), "weight", images(5, 4)),
    Case("transposed convolution", lambda: nn.ConvTranspose3d(4, 2, 2, stride=2, padding=1), "weight", images(3, 4, 3)),
    Case(
        "Convolution",
        caffe('type: "Convolution" ' + WINDOW),
        "weight",
        images(7, 6),
    ),
    Case(
        "Deconvolution",
        caffe('type: "Deconvolution" ' + WINDOW),
        "weight",
        images(7, 6),
    ),
    Case(
        "InnerProduct",
        caffe('type: "InnerProduct" inner_product_param { num_output: 5 }'),
        "weight",
        images(7, 6),
    ),
    Case(
        "InnerProduct",
        caffe('type: "InnerProduct" inner_product_param { num_output: 5 transpose: true }'),
        "weight",
        images(7, 6),
    ),
]


def view(module: nn.Module, name: str) -> View:
    found = next(view_of(home) for _, home in homes(module) if home.name == name)
    assert found is not None
    return found


def product(found: View, module: nn.Module, name: str, *arguments: object) -> Tensor:
    """The products of all columns, (rows, n)."""
    matrix = found.matrix(module.get_parameter(name).detach())
    columns = torch.cat(list(found.columns(arguments, {})), 2)
    return (matrix @ columns).flatten(0, 1)


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case.view}" for number, case in enumerate(CASES)])
def test_the_matrix_times_the_columns_is_the_output(case: Case) -> None:
    torch.manual_seed(0)
    module = case.make()
    found = view(module, case.parameter)
    assert type(found) is VIEWS[case.view]
    inputs = torch.randn(case.inputs)
    with torch.no_grad():
        outputs = module(inputs)
        made = product(found, module, case.parameter, inputs)
        if found.bias is not None:
            made += found.bias[:, None]
    linear = isinstance(module, nn.Linear | Conv1D) or outputs.ndim == 2
    axis = -1 if linear else outputs.ndim - len(case.kernel(module)) - 1
    assert torch.allclose(outputs.movedim(axis, 0).flatten(1), made, atol=1e-4)
    weight = module.get_parameter(case.parameter).detach()
    assert torch.equal(found.weight(found.matrix(weight), weight.shape), weight)


@pytest.mark.parametrize("case", [case for case in CASES if "onvolution" in case.view], ids=lambda case: case.view)
def test_a_sample_of_windows_takes_every_place_in_turn(case: Case) -> None:
    torch.manual_seed(0)
    module = case.make()
    found, inputs = view(module, case.parameter), torch.randn(case.inputs)
    windows = torch.cat(list(found.columns((inputs,), {})), 2)
    everything = {tuple(column) for column in windows.flatten(0, 1).T.tolist()}
    examples = 1 if inputs.ndim == len(case.kernel(module)) + 1 else len(inputs)
    count = windows.shape[2] // examples
    seen = set()
    for turn in range(count):
        sample = torch.cat(list(found.columns((inputs,), {}, Sample(max(1, count // 8), turn))), 2)
        assert sample.shape[2] < windows.shape[2]
        columns = {tuple(column) for column in sample.flatten(0, 1).T.tolist()}
        assert columns <= everything
        seen |= columns
    assert seen == everything


def weights_of(module: nn.Module) -> Iterator[tuple[str, View]]:
    for _, home in homes(module):
        found = view_of(home)
        if found is not None:
            yield home.name, found


@pytest.mark.parametrize("own", [False, True])
def test_the_projections_of_attention(own: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, 2, batch_first=True, **({"kdim": 5, "vdim": 4} if own else {}))
    query, key, value = torch.randn(3, 7, 6), torch.randn(3, 8, 5 if own else 6), torch.randn(3, 8, 4 if own else 6)
    found = dict(weights_of(attention))
    for name, one in found.items():
        weight = attention.get_parameter(name).detach()
        assert torch.equal(one.weight(one.matrix(weight), weight.shape), weight)
    with torch.no_grad():
        output = attention(query, key, value)[0]
        made = product(found["out_proj.weight"], attention, "out_proj.weight", query, key, value)
        assert torch.allclose(made + attention.out_proj.bias[:, None], output.flatten(0, 1).T, atol=1e-5)
        if own:
            assert {"q_proj_weight", "k_proj_weight", "v_proj_weight"} <= found.keys()
            keys = product(found["k_proj_weight"], attention, "k_proj_weight", query, key, value)
            assert torch.allclose(keys, (key @ attention.k_proj_weight.T).flatten(0, 1).T, atol=1e-5)
        else:
            three = product(found["in_proj_weight"], attention, "in_proj_weight", query, key, value)
            rows = attention.in_proj_weight.chunk(3)[1]
            assert torch.allclose(three[6:12], (key @ rows.T).flatten(0, 1).T, atol=1e-5)
    assert attention.out_proj.weight.any()


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("packed", [False, True])
def test_the_columns_of_recurrent_layers_are_inputs_and_states(kind: type[nn.RNNBase], packed: bool) -> None:
    torch.manual_seed(0)
    module = kind(4, 5, num_layers=2, bidirectional=True)
    inputs = torch.randn(6, 3, 4)
    found = dict(weights_of(module))
    assert len(found) == 8
    given = nn.utils.rnn.pack_padded_sequence(inputs, torch.tensor([6, 4, 3])) if packed else inputs
    first = kind(4, 5, bidirectional=True)
    with torch.no_grad():
        for name, parameter in first.named_parameters():
            parameter.copy_(module.get_parameter(name))
        states = first(given)[0]
    states = nn.utils.rnn.pad_packed_sequence(states)[0] if packed else states
    columns = {name: next(one.columns((given,), {}))[0] for name, one in found.items()}
    count = 13 if packed else 18
    assert {name: tuple(one.shape) for name, one in columns.items()} == {
        name: ({"ih_l0": 4, "ih_l1": 10}.get(name.removeprefix("weight_").removesuffix("_reverse"), 5), count)
        for name in found
    }
    if not packed:
        assert torch.allclose(columns["weight_ih_l1"], states.flatten(0, 1).T, atol=1e-6)
        forward = torch.cat([torch.zeros(1, 3, 5), states[:-1, :, :5]])
        backward = torch.cat([states[1:, :, 5:], torch.zeros(1, 3, 5)])
        assert torch.allclose(columns["weight_hh_l0"], forward.flatten(0, 1).T, atol=1e-6)
        assert torch.allclose(columns["weight_hh_l0_reverse"], backward.flatten(0, 1).T, atol=1e-6)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("packed", [False, True])
def test_the_columns_of_the_projections_of_an_lstm(packed: bool) -> None:
    torch.manual_seed(0)
    module = nn.LSTM(4, 5, num_layers=2, bidirectional=True, proj_size=3)
    inputs = torch.randn(6, 3, 4)
    given = nn.utils.rnn.pack_padded_sequence(inputs, torch.tensor([6, 4, 3])) if packed else inputs
    found = dict(weights_of(module))
    assert len(found) == 12
    with torch.no_grad():
        states = module(given)[0]
        states, lengths = nn.utils.rnn.pad_packed_sequence(states) if packed else (states, torch.tensor([6, 6, 6]))
        outputs = states[torch.arange(6)[:, None] < lengths]  # of the last layer: what it projects, projected
        for name, part in (("weight_hr_l1", outputs[:, :3]), ("weight_hr_l1_reverse", outputs[:, 3:])):
            assert torch.allclose(product(found[name], module, name, given), part.T, atol=1e-5)
    demitasse.shrink(module, [inputs], bits=5)
    assert len(module.weight_hr_l0.unique()) <= 17


def test_the_columns_of_cells() -> None:
    cell = nn.LSTMCell(4, 5)
    found = dict(weights_of(cell))
    inputs, state = torch.randn(3, 4), (torch.randn(3, 5), torch.randn(3, 5))
    assert torch.equal(next(found["weight_ih"].columns((inputs, state), {}))[0], inputs.T)
    assert torch.equal(next(found["weight_hh"].columns((inputs, state), {}))[0], state[0].T)
    assert list(found["weight_hh"].columns((inputs,), {})) == []


def test_an_embedding_has_no_inputs() -> None:
    found = view(nn.Embedding(5, 3), "weight")
    assert isinstance(found, EmbeddingView)
    assert list(found.columns((torch.tensor([1]),), {})) == []


def test_every_view_is_tested() -> None:
    others = {
        "attention projection",
        "attention projections",
        "attention output",
        "recurrent",
        "recurrent cell",
        "embedding",
    }
    assert {case.view for case in CASES} | others == set(VIEWS)
