"""C for microcontrollers: what compilers make of it computes the twin's integers, and the net's floats."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import demitasse
from demitasse.caffe.net import Net
from demitasse.errors import ExportError, UsageError, WriteError
from demitasse.export import c, of_net
from tests.export.c_source.compiling import as_cpp, compiled, compiler, run, to_powers
from tests.export.nets import LENET, build
from tests.export.test_source import hostile


class Branches(nn.Module):
    """Sums, differences, concatenations of parts that others take, too, pooling over edges, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding=1)
        self.two = nn.Conv2d(2, 4, 1)
        self.three = nn.Conv2d(8, 4, 3, stride=2, padding=2, dilation=2)
        self.last = nn.Linear(4 * 4 * 3, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = F.relu(self.one(x)), self.two(x)
        both = torch.cat([one, two], 1)
        summed = F.hardtanh(one - two, -0.4, 0.7)
        y = self.three(both) + F.avg_pool2d(summed, 2, ceil_mode=True)
        y = F.max_pool2d(F.leaky_relu(y, 0.2), 3, 1, 1)
        return self.last(F.avg_pool2d(y, 3, 1, 1).flatten(1)), one


def mobile() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.LeakyReLU(0.1),
        nn.Conv2d(8, 8, 2, groups=4), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4), nn.Softmax(1),
    )  # fmt: skip


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(2 * 7 * 6, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 5)
    )


def dense() -> nn.Sequential:
    """Weights that are no powers of two, and more than a palette holds."""
    return nn.Sequential(nn.Conv2d(2, 12, 3), nn.PReLU(12), nn.Flatten(), nn.Linear(240, 7))


MODELS = {"branches": Branches, "mobile": mobile, "perceptron": perceptron, "pruned": perceptron}


@pytest.fixture(params=list(MODELS))
def model(request):
    torch.manual_seed(1)
    return to_powers(MODELS[request.param](), 0.95 if request.param == "pruned" else 0.3)


def inputs(count: int = 60) -> Tensor:
    return torch.randn(count, 2, 7, 6, generator=torch.Generator().manual_seed(5))


def flat(found: Tensor | tuple[Tensor, ...]) -> np.ndarray:
    parts = (found,) if isinstance(found, Tensor) else found
    return torch.cat([part.detach().flatten(1) for part in parts], 1).double().numpy()


@pytest.mark.parametrize(("bits", "by"), [(8, "gcc"), (16, "clang"), (None, "gcc")])
def test_compilers_and_the_twin_agree_to_the_bit(model, bits, by, tmp_path):
    x = inputs()
    report = c(model, x[:1], tmp_path / "net.c", calibration=x.numpy(), bits=bits, main=True)
    assert [path.name for path in report.files] == ["net.c", "net.h", "net_main.c"]
    expected = report.twin({"input" if "input" in report.twin.net.net.inputs else "x": x.numpy()})
    found = run(compiled(tmp_path / "net.c", by), x.numpy())
    assert np.array_equal(found, np.concatenate(list(expected.values()), 1))
    reference = flat(model(x))
    floats = run(tmp_path / "net", x.numpy(), "floats")
    assert np.sqrt(np.mean((floats - reference) ** 2)) < {8: 0.1, 16: 0.003, None: 0.03}[bits] * reference.std()


def test_the_smallest_weights_give_the_same_integers(model, tmp_path):
    """Also where a convolution reads its weights again for each band of rows."""
    from demitasse.export.c_source import streams

    x, texts = inputs(), {}
    for smallest in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(streams._CODE_BYTES, "adaptive", -(10**6))
            report = c(model, x[:1], tmp_path / "net.c", calibration=x.numpy(), smallest=smallest, main=True)
        texts[smallest] = (tmp_path / "net.c").read_text()
        expected = report.twin({next(iter(report.twin.net.net.inputs)): x.numpy()})
        for by in ("gcc", "clang"):
            found = run(compiled(tmp_path / "net.c", by), x.numpy())
            assert np.array_equal(found, np.concatenate(list(expected.values()), 1))
        as_cpp(tmp_path / "net.c", tmp_path)
    assert "net_adaptive_code" in texts[True]
    assert "adaptive" not in texts[False]


def test_floats_are_those_of_torch(model, tmp_path):
    x = inputs()
    report = c(model, x[:1], tmp_path / "net.c", arithmetic="float", main=True)
    assert report.twin is None
    found, expected = run(compiled(tmp_path / "net.c", "clang"), x.numpy(), "floats"), flat(model(x))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_any_weights_in_floats(tmp_path):
    torch.manual_seed(2)
    model, x = dense().eval(), inputs()
    with torch.no_grad():
        model[1].weight.uniform_(-0.5, 0.5)
    c(model, x[:1], tmp_path / "net.c", arithmetic="float", main=True)
    found, expected = run(compiled(tmp_path / "net.c"), x.numpy(), "floats"), flat(model(x))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("different", [1, 2, 255, 256, 257])
def test_palettes_of_every_size(different, tmp_path):
    model = nn.Sequential(nn.Linear(different, 3, bias=False)).eval()
    with torch.no_grad():
        model[0].weight.copy_((torch.arange(different) + 1.0) / 300)
    x = torch.rand(4, different, generator=torch.Generator().manual_seed(0))
    c(model, x, tmp_path / "net.c", arithmetic="float", main=True)
    found, expected = run(compiled(tmp_path / "net.c"), x.numpy(), "floats"), flat(model(x))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


GEOMETRIES = [
    # convolution: kernel, stride, pad, dilation, groups; pooling: method, kernel, stride, pad
    ((1, 1), (1, 1), (0, 0), 1, 1, None),
    ((3, 2), (2, 1), (2, 1), 1, 2, None),
    ((2, 3), (1, 3), (0, 2), 2, 1, None),
    ((5, 5), (1, 1), (2, 2), 1, 4, ("MAX", 3, 2, 1)),
    ((3, 3), (1, 2), (1, 0), 1, 1, ("AVE", 2, 2, 0)),
    ((3, 3), (1, 1), (1, 1), 1, 1, ("AVE", 3, 2, 1)),
    ((3, 3), (2, 2), (1, 1), 1, 1, ("MAX", 2, 1, 0)),
    ((4, 1), (3, 3), (3, 0), 1, 1, ("MAX", 3, 3, 1)),
    ((3, 3), (1, 1), (0, 0), 1, 4, ("AVE", 3, 3, 2)),
]


@pytest.mark.parametrize("case", range(len(GEOMETRIES)))
def test_every_geometry(case, tmp_path):
    """Caffe's nets, whose pooling rounds up and counts padding; slopes by channel."""
    kernel, stride, pad, dilation, groups, pooling = GEOMETRIES[case]
    pool = ""
    if pooling:
        method, size, step, around = pooling
        pool = f"""layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool"
          pooling_param {{ pool: {method} kernel_size: {size} stride: {step} pad: {around} }} }}"""
    text = f"""
    input: "data" input_shape {{ dim: 2 dim: 4 dim: 11 dim: 9 }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{ num_output: 8
      kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
      pad_h: {pad[0]} pad_w: {pad[1]} dilation: {dilation} group: {groups}
      weight_filler {{ type: "xavier" }} bias_filler {{ type: "gaussian" std: 0.3 }} }} }}
    layer {{ name: "prelu" type: "PReLU" bottom: "conv" top: "conv"
      prelu_param {{ filler {{ type: "uniform" min: -0.3 max: 0.6 }} }} }}
    {pool}
    """
    torch.manual_seed(case)
    net = build(text)
    _to_powers(net)
    x = torch.randn(20, 4, 11, 9, generator=torch.Generator().manual_seed(case))
    report = c(net, None, tmp_path / "net.c", calibration=x.numpy(), bits=16, main=True)
    found = run(compiled(tmp_path / "net.c"), x.numpy())
    assert np.array_equal(found, next(iter(report.twin({"data": x.numpy()}).values())))
    with torch.no_grad():
        expected = flat(next(iter(net.eval()({"data": x}).values())))
    assert np.abs(run(tmp_path / "net", x.numpy(), "floats") - expected).max() < 0.003 * np.abs(expected).max()
    c(net, None, tmp_path / "floats.c", arithmetic="float", main=True)
    found = run(compiled(tmp_path / "floats.c"), x.numpy(), "floats")
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def _to_powers(net: Net) -> None:
    for layer in net.named_layers().values():
        if hasattr(layer, "weight") and layer.weight.ndim > 1:
            with torch.no_grad():
                weight = layer.weight
                weight.copy_(weight.sign() * 2.0 ** weight.abs().clamp(min=1e-6).log2().round().clamp(-6, 0))


def test_valgrind_finds_nothing(model, tmp_path):
    valgrind = compiler("valgrind")
    c(model, inputs()[:1], tmp_path / "net.c", calibration=inputs().numpy(), main=True)
    program = compiled(tmp_path / "net.c", flags=["-O1", "-g"])
    command = [valgrind, "-q", "--error-exitcode=9", program]
    subprocess.run(command, input=inputs(2).numpy().tobytes(), check=True, capture_output=True)


def test_a_range_instead_of_inputs(tmp_path):
    model = to_powers(perceptron())
    x = inputs().clamp(-3, 3)
    c(model, x[:1], tmp_path / "net.c", range=(-3, 3), main=True)
    floats, expected = run(compiled(tmp_path / "net.c"), x.numpy(), "floats"), flat(model(x))
    assert np.abs(floats - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize(("size", "bias"), [(1e9, 1.0), (1e-9, 1.0), (1e30, 1e30), (1e-38, 0.0), (1.0, 1e6)])
def test_ranges_far_from_one(size, bias, tmp_path):
    model = to_powers(perceptron(), 0.9)
    with torch.no_grad():
        model[1].bias.fill_(bias)
    x = inputs() * size
    report = c(model, x[:1], tmp_path / "net.c", calibration=x.numpy(), main=True)
    blob = next(iter(report.twin.net.net.inputs))
    assert np.array_equal(run(compiled(tmp_path / "net.c"), x.numpy()), report.twin({blob: x.numpy()})["output"])
    floats, expected = run(tmp_path / "net", x.numpy(), "floats"), flat(model(x))
    assert np.abs(floats - expected).max() < 0.1 * np.abs(expected).max()


def test_a_sum_that_begins_with_a_minus(tmp_path):
    text = """input: "a" input_shape { dim: 2 dim: 3 } input: "b" input_shape { dim: 2 dim: 3 }
    layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" eltwise_param { coeff: -1 coeff: 1 } }"""
    for arithmetic, settings in (("int", {"range": (-1, 1)}), ("float", {})):
        c(build(text), None, tmp_path / "net.c", arithmetic=arithmetic, main=True, **settings)
        program = compiled(tmp_path / "net.c")
        found = run(program, np.array([0.5, -0.25, 0, 0.25, 0.5, -1], np.float32), "floats")
        assert np.abs(found - [-0.25, 0.75, -1]).max() < 1e-3


def test_bounds_hold_for_slopes_and_differences(tmp_path):
    from demitasse.export.c_source.evaluation import FloatArithmetic, evaluate
    from demitasse.export.c_source.formats import bounded
    from demitasse.export.c_source.lowering import lowered
    from demitasse.export.c_source.source_net import source_net

    for made in (Branches, mobile):
        net = lowered(source_net(to_powers(made()), inputs(2)).graph)
        ranges = bounded(net, -2.0, 3.0)
        x = torch.rand(200, 2, 7, 6, generator=torch.Generator().manual_seed(1)).double().numpy() * 5 - 2

        def inside(number: int, values: np.ndarray, ranges: dict[int, tuple[float, float]] = ranges) -> None:
            low, high = ranges[number]
            assert low - 1e-9 <= values.min() <= values.max() <= high + 1e-9

        evaluate(net, FloatArithmetic(), {next(iter(net.inputs)): x}, inside)


def test_as_cpp(model, tmp_path):
    for arithmetic in ("int", "float"):
        c(model, inputs()[:1], tmp_path / "net.c", calibration=inputs().numpy(), arithmetic=arithmetic)
        as_cpp(tmp_path / "net.c", tmp_path)


def test_there_is_no_float_and_no_multiplication_in_the_source(model, tmp_path):
    c(model, inputs()[:1], tmp_path / "net.c", calibration=inputs().numpy())
    text = re.sub(r"/\*.*?\*/", "", (tmp_path / "net.c").read_text(), flags=re.S)
    assert not re.search(r"\bfloat\b|\bdouble\b", text)
    assert " * " not in text  # pointers have no space behind the star


def test_a_whole_model_file(tmp_path):
    model, x = to_powers(perceptron(), 0.8), inputs()
    demitasse.save(model, tmp_path / "model.demi", example=x[:1])
    report = c(tmp_path / "model.demi", None, tmp_path / "net.c", calibration=x.numpy(), main=True)
    found = run(compiled(tmp_path / "net.c"), x.numpy())
    assert np.array_equal(found, report.twin({"input": x.numpy()})["output"])
    assert "model.demi" in (tmp_path / "net.c").read_text()


def test_the_same_net_gives_the_same_text(tmp_path):
    model, x = to_powers(mobile()), inputs()
    texts = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        report = c(model, x[:1], tmp_path / folder / "net.c", calibration=x.numpy(), main=True)
        texts.append([path.read_bytes() for path in report.files])
    assert texts[0] == texts[1]


def test_null_pointers_are_refused(tmp_path):
    c(to_powers(perceptron()), inputs()[:1], tmp_path / "net.c", range=(-1, 1))
    (tmp_path / "net_main.c").write_text(
        '#include "net.h"\nint main(void)\n{\n    static net_input_t input;\n    static net_output_t output;\n'
        "    return !(net_run(0, &output) == -1 && net_run(&input, 0) == -1 && net_run(&input, &output) == 0);\n}\n"
    )
    run(compiled(tmp_path / "net.c"), np.zeros(0, np.float32))


@pytest.mark.parametrize("arithmetic", ["int", "float"])
def test_no_name_becomes_code(arithmetic, tmp_path):
    """The code of a net with hostile names is that of the net with others, but for identifiers and comments."""
    texts = []
    for name, net in (("ours", build(LENET)), ("theirs", hostile(LENET))):
        torch.manual_seed(0)
        _fill(net)
        (tmp_path / name).mkdir()
        span = (-1, 1) if arithmetic == "int" else None
        report = c(net, None, tmp_path / name / "net.c", arithmetic=arithmetic, range=span, main=True)
        run(compiled(tmp_path / name / "net.c"), np.zeros(784, np.float32))
        as_cpp(tmp_path / name / "net.c", tmp_path)
        texts.append([path.read_bytes().decode("ascii") for path in report.files])
    for ours, theirs in zip(*texts, strict=True):
        assert len(_bare(ours)) > 100
        assert re.sub(r"\w+", "", _bare(ours)) == re.sub(r"\w+", "", _bare(theirs))


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.S))


def _fill(net: Net) -> None:
    for blob in net.learnable:
        with torch.no_grad():
            blob.tensor.copy_(2.0 ** torch.randint(-4, 0, blob.tensor.shape))


WORDS = [
    "int",
    "for",
    "class",
    "linux",
    "i",
    "input",
    "output",
    "Net",
    "stdin",
    "PI",
    "*/",
    "/*",
    "??/",
    "é",
    "\\",
    '"',
    "",
    "\n#error",
    "%n",
    "uint8_t",
    "int32_t",
    "size_t",
    "net_rounded",
    "net_input_t",
    "net_run",
    "NET_ARENA_BYTES",
    "EOF",
    "INT8_MAX",
    "PORTB",
    "A0",
    "printf",
    "main",
    "x_in",
    "x_out",
]


def test_reserved_words_and_others_are_fields(tmp_path):
    """A net whose inputs, layers and outputs have such names, some of which become the same."""
    from demitasse.caffe import schema
    from demitasse.caffe.text import prototxt

    text = "".join(
        f"""input: "x{number}" input_shape {{ dim: 1 dim: 3 }}
        layer {{ name: "l" type: "InnerProduct" bottom: "x{number}" top: "y{number}"
          inner_product_param {{ num_output: 2 weight_filler {{ type: "constant" value: 0.5 }} }} }}
        layer {{ name: "l" type: "ReLU" bottom: "y{number}" top: "z{number}" }}"""
        for number in range(len(WORDS))
    )
    spec = prototxt.parse(text, schema.NetParameter(), "net")
    spec.name = "*/ int main"
    for number, word in enumerate(WORDS):
        product, relu = spec.layer[2 * number : 2 * number + 2]
        product.name = relu.name = word
        spec.input[number] = product.bottom[0] = word or "x"
        relu.top[0] = f"{word}2"
    c(Net(spec), None, tmp_path / "net.c", range=(-1, 1), main=True)
    header = (tmp_path / "net.h").read_text()
    (tmp_path / "net.h").write_text(
        f"#define PORTB (*(volatile uint8_t *)5)\n#define A0 14\n{header}"
    )  # as Arduino does
    found = run(compiled(tmp_path / "net.c"), np.ones(3 * len(WORDS), np.float32), "floats")
    assert np.allclose(found, 1.5, atol=1e-3)
    assert found.shape == (1, 2 * len(WORDS))
    as_cpp(tmp_path / "net.c", tmp_path)


@pytest.mark.parametrize("stem", ['a"b', "a\\b", "a\nb", "é"])
def test_names_of_files_that_cannot_be_included(stem, tmp_path):
    with pytest.raises(UsageError, match="letters, digits"):
        c(build(LENET), None, tmp_path / f"{stem}.c", arithmetic="float")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stem", ["stdint", "stdio", "String"])
def test_names_of_files_that_hide_a_header_of_c(stem, tmp_path):
    with pytest.raises(UsageError, match="one of C's own"):
        c(build(LENET), None, tmp_path / f"{stem}.c", arithmetic="float")


@pytest.mark.parametrize("missing", [1, 4, 2 * 7 * 6 * 4 - 1])
def test_the_program_refuses_an_input_that_is_cut_short(missing, tmp_path):
    x = inputs(2)
    c(to_powers(perceptron()), x, tmp_path / "net.c", calibration=x.numpy(), main=True)
    program = compiled(tmp_path / "net.c")
    done = subprocess.run([program], input=x.numpy().tobytes()[:-missing], capture_output=True, text=False)
    assert done.returncode == 1
    assert done.stderr == b"the last input is cut short\n"
    assert len(done.stdout.splitlines()) == 1


def test_layers_without_a_form_are_named(tmp_path):
    net = build('input: "x" input_shape { dim: 2 dim: 2 } layer { name: "odd" type: "TanH" bottom: "x" top: "y" }')
    with pytest.raises(ExportError, match="layer 'odd' of type TanH has no form in C"):
        c(net, None, tmp_path / "net.c", arithmetic="float")
    with pytest.raises(ExportError, match="layer 'conv1' has weights that are not powers of two"):
        c(build(LENET), None, tmp_path / "net.c", range=(-1, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "ranges of values are not known"),
        ({"range": (1, 1)}, "the lower one first"),
        ({"range": (0, np.inf)}, "the lower one first"),
        ({"range": (0, 1e39)}, "two numbers of float32"),
        ({"range": 1}, "two numbers of float32"),
        ({"range": (0, 1, 2)}, "two numbers of float32"),
        ({"range": ("low", "high")}, "two numbers of float32"),
        ({"calibration": [[0.0] * 784]}, "expected an array of NumPy"),
        ({"calibration": {"data": [0.0] * 784}}, "expected an array of NumPy"),
        ({"bits": 4, "range": (0, 1)}, "expected 8 or 16"),
        ({"arithmetic": "int8"}, "expected 'int' or 'float'"),
        ({"arithmetic": "float", "smallest": True}, "smallest is for the arithmetic 'int'"),
        ({"calibration": np.zeros((3, 5))}, r"found shape \[3, 5\]"),
        ({"calibration": np.zeros((0, 784))}, r"found shape \[0, 784\]"),
        ({"calibration": np.zeros((3, 28, 1, 28))[:, :, :, :14]}, r"expected \(n, 1, 28, 28\), or \(n, 784\)"),
        ({"calibration": np.zeros((3, 784), complex)}, "of complex128"),
        ({"calibration": np.full((3, 784), np.nan)}, "not finite"),
        ({"calibration": np.full((3, 784), 1e39)}, "not finite numbers of float32"),
        ({"calibration": {"other": np.zeros((3, 784))}}, "found inputs other; expected data"),
        ({"calibration": np.zeros((3, 784)), "range": (0, 1)}, "give one of them"),
    ],
)
def test_wrong_settings(settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        c(build(LENET), None, tmp_path / "net.c", **settings)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_not_finite(tmp_path):
    with pytest.raises(UsageError, match="output 'output' is not finite for these inputs"):
        c(to_powers(perceptron()), inputs()[:1], tmp_path / "net.c", range=(-3e38, 3e38))


def test_channels_in_the_wrong_place_are_no_inputs(tmp_path):
    model = to_powers(mobile())
    with pytest.raises(
        UsageError, match=r"found shape \[3, 7, 6, 2\] of float64; expected \(n, 2, 7, 6\), or \(n, 84\)"
    ):
        c(model, inputs()[:1], tmp_path / "net.c", calibration=np.zeros((3, 7, 6, 2)))


def test_files_are_replaced_together_or_not_at_all(tmp_path):
    model, target = to_powers(perceptron()), tmp_path / "net.c"
    c(model, inputs()[:1], target, range=(-1, 1))
    before = target.read_bytes()
    (tmp_path / "net.h").unlink()
    (tmp_path / "net.h").mkdir()
    with pytest.raises(WriteError, match="there is a folder of this name"):
        c(model, inputs()[:1], target, range=(-2, 2))
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.c", "net.h"]


def test_examples_and_suffixes(tmp_path):
    with pytest.raises(UsageError, match="an example of the input of Sequential is needed"):
        c(perceptron().eval(), None, tmp_path / "net.c", range=(0, 1))
    with pytest.raises(UsageError, match="needs no example"):
        c(of_net(build(LENET)), inputs(), tmp_path / "net.c", range=(0, 1))
    with pytest.raises(UsageError, match=r"ends in \.c"):
        c(perceptron().eval(), inputs(), tmp_path / "net.h", range=(0, 1))
