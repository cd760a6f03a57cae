"""The PyTorch source: how it reads, that it stands alone, and that no name of a net becomes code."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st

from demitasse import examples
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import ExportError
from demitasse.export import export, of_net
from demitasse.export.names import class_name, identifiers
from demitasse.export.source.base import number
from demitasse.export.source.lines import WIDTH, wrapped
from demitasse.export.source.text import written
from demitasse.graph.caffe.deploy import deploy
from tests.export.nets import BOTTLENECK, INCEPTION, LENET, NETS, build

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = Path(examples.__file__).parent
# like others, too large, or with layers that have no source
LEFT_OUT = {
    "fcn32s",
    "vgg16",
    "ssd_small",
    "ssd300",
    "mobilenet_ssd",
    "mobilenet_yolov3",
    "faster_rcnn",
    "rfcn_resnet50",
}
DEPLOY = sorted({path.parent.name for path in EXAMPLES.glob("*/deploy.prototxt")} - LEFT_OUT)


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(name: str) -> Net:
    """A net of the examples; its weights are 0, which takes no time."""
    spec = upgrade_net(prototxt.read_net(EXAMPLES / name / "deploy.prototxt"))
    bare = deploy(spec.layer)
    bare.name = spec.name
    return Net(bare)


def test_the_source_of_lenet_is_that_of_the_docs():
    text, _ = written(of_net(example("lenet5")))
    assert f"```python\n{text}```" in (DOCS / "export.md").read_text(encoding="utf-8")


def test_a_normalization_and_its_scale_are_one_module():
    text, state = written(of_net(build(BOTTLENECK)))
    assert "self.bn = nn.BatchNorm2d(4)" in text
    assert "self.bn2 = nn.BatchNorm2d(4, affine=False)" in text
    assert "conv = F.relu(self.bn(conv))" in text
    assert "sum = data + bn2" in text
    assert {"bn.weight", "bn.bias", "bn.running_mean", "bn2.running_var"} <= set(state)


def test_it_loads_alone_and_gives_the_same(tmp_path, monkeypatch):
    net = build(INCEPTION)
    export(net, tmp_path / "net.py")
    script = (
        "import sys; sys.modules['demitasse'] = None; import net, torch; print(net.load()(torch.ones(1, 3, 12, 12)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = torch.tensor([float(value) for value in re.findall(r"\d\.\d+", done.stdout)])
    torch.testing.assert_close(found, net({"data": torch.ones(1, 3, 12, 12)})["prob"][0], rtol=0, atol=1e-4)


def test_dropout_is_there_for_training(tmp_path):
    export(build(INCEPTION), tmp_path / "net.py")
    net = loaded(tmp_path / "net.py").load()
    data = torch.ones(4, 3, 12, 12)
    assert torch.equal(net(data), net(data))
    assert not torch.equal(net.train()(data), net(data))


def test_layers_that_share_their_weights_are_one_module():
    text = """
    input: "a" input_shape { dim: 2 dim: 3 } input: "b" input_shape { dim: 2 dim: 3 }
    layer { name: "fa" type: "InnerProduct" bottom: "a" top: "fa" param { name: "w" } param { name: "b" }
      inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
    layer { name: "fb" type: "InnerProduct" bottom: "b" top: "fb" param { name: "w" } param { name: "b" }
      inner_product_param { num_output: 2 } }
    """
    source, state = written(of_net(build(text)))
    assert "fb = self.fa(b)" in source
    assert list(state) == ["fa.weight", "fa.bias"]


@pytest.mark.parametrize("name", [*NETS, *DEPLOY])
def test_it_is_formatted(name):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")
    text, _ = written(of_net(build(NETS[name]) if name in NETS else example(name)))
    check = ["format", "--check", "--isolated", f"--line-length={WIDTH}", "-"]
    subprocess.run([ruff, *check], input=text, text=True, check=True, capture_output=True)


HOSTILE = '\n"""\nos.x("")#\u202e\'\\'


def hostile(text: str) -> Net:
    """A net of which every name is hostile."""
    spec = prototxt.parse(text, schema.NetParameter(), "net")
    spec.name = HOSTILE
    renamed: dict[str, str] = {}
    for layer in spec.layer:
        layer.name = f"{HOSTILE}{layer.name}{HOSTILE}"
        for names in (layer.bottom, layer.top):
            for index, name in enumerate(names):
                names[index] = renamed.setdefault(name, f"{len(renamed)};{HOSTILE}")
    for index, name in enumerate(spec.input):
        spec.input[index] = renamed[name]
    return Net(spec)


@pytest.mark.parametrize("name", NETS)
def test_no_name_becomes_code(name):
    ours, _ = written(of_net(build(NETS[name])))
    theirs, _ = written(of_net(hostile(NETS[name])))
    theirs.encode("ascii")
    shapes = [
        re.sub(r"id='[^']*'|attr='[^']*'|name='[^']*'|arg='[^']*'|value='[^']*'", "", ast.dump(ast.parse(each)))
        for each in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    words = {node.id for node in ast.walk(ast.parse(theirs)) if isinstance(node, ast.Name)}
    assert not {word for word in words if word == "os" or "__" in word} - {"__file__"}
    assert max(map(len, theirs.splitlines())) <= 4 * WIDTH


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=20, unique=True))
@also(["F", ":F", "F_2"])
def test_identifiers(names):
    found = identifiers(names, "layer")
    assert len(set(found.values())) == len(names)
    for each in (*found.values(), *map(class_name, names)):
        assert re.fullmatch("[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*_?", each)
        assert not keyword.iskeyword(each)
        assert not hasattr(torch.nn.Module(), each)


@pytest.mark.parametrize(("value", "text"), [
    (0.1, "0.1"), (1.0, "1"), (1e-5, "1e-05"), (-2.5, "-2.5"), (1e20, "1e+20"), (float("inf"), 'float("inf")'),
    (torch.tensor(0.3).item(), "0.3"),
])  # fmt: skip
def test_numbers_are_those_of_the_prototxt(value, text):
    assert number(value) == text


def test_lines_are_broken():
    names = [f"inception_{index}_output" for index in range(8)]
    call = wrapped(f"together = torch.cat(({', '.join(names)}), dim=1)", 8)
    total = wrapped(f"total = {' + '.join(names)}", 8)
    returned = wrapped(f"return {', '.join(names)}", 8)
    for lines in (call, total, returned):
        assert len(lines) > 2
        assert max(map(len, lines)) <= WIDTH
        ast.parse("def f():\n" + "\n".join(lines))


def test_a_layer_without_a_translation_is_named(tmp_path):
    text = LENET.replace('type: "Pooling"', 'type: "Im2col"').replace(
        "pooling_param { pool: MAX", "convolution_param {"
    )
    with pytest.raises(ExportError, match="layer 'pool1' of type Im2col has no translation"):
        export(build(text), tmp_path / "net.py")
    assert list(tmp_path.iterdir()) == []
