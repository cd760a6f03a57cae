"""What is wrong with a prototxt is told all at once, by file, line and layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError, PrototxtError, UnknownNameError


def told(folder: Path, text: str, name: str = "net.prototxt") -> list[str]:
    """Returns the lines of the error, without the folder."""
    path = folder / name
    path.write_text(text)
    read = prototxt.read_solver if name == "solver.prototxt" else prototxt.read_net
    with pytest.raises(PrototxtError) as caught:
        read(path)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_all_faults_are_told_at_once_with_layer_type_and_line(tmp_path: Path) -> None:
    text = """
layer { mish_param { order: 1 } name: "perm" type: "Mish" }
layer { name: "conv" type: "Convolution"
  convolution_param { num_ouput: 10 pad: -1 group: "2" } }
layer { name: "norm" type: "LRN" group_norm_param { across_spatial: false scale_filler { type: "constant" } } }
layer { name: "next" type: "LRN"
  group_norm_param { } }
"""
    assert told(tmp_path, text) == [
        "net.prototxt:2: layer 'perm' (Mish): LayerParameter has no field 'mish_param'",
        "net.prototxt:2: layer 'perm' (Mish): unknown layer type 'Mish'",
        "net.prototxt:4: layer 'conv' (Convolution): ConvolutionParameter has no field 'num_ouput'; "
        "did you mean 'num_output'?",
        "net.prototxt:4: layer 'conv' (Convolution): pad takes a whole number from 0 to 4294967295, found '-1'",
        "net.prototxt:4: layer 'conv' (Convolution): group takes a whole number from 0 to 4294967295, "
        "found '\"2\"'; write it without quotes: group: 2",
        "net.prototxt:5: layer 'norm' (LRN): LayerParameter has no field 'group_norm_param' (also in line 7)",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('pooling_param { pool: "AVE" }', "pool takes a constant; write it without quotes: pool: AVE"),
        ("pooling_param { pool: AVG }", "PoolingParameter.PoolMethod has no value 'AVG'; did you mean 'AVE'?"),
        ("pooling_param { pool: 7 }", "PoolingParameter.PoolMethod has no value 7"),
        (
            "blobs_lr: 1",
            "LayerParameter has no field 'blobs_lr': write param { lr_mult: ... }, one param for each blob",
        ),
        (
            "weight_decay: 1",
            "LayerParameter has no field 'weight_decay': write param { decay_mult: ... }, one param for each blob",
        ),
        ("convolution_param { kernelsize: 3 }", "ConvolutionParameter has no field 'kernelsize': write kernel_size"),
        ("pooling_param: 3", "pooling_param takes settings in braces, found '3'; write pooling_param { ... }"),
        ("bottom: data", "bottom takes a text in quotes, found 'data'; write bottom: \"data\""),
        ("top { }", "top takes a text in quotes, not a block in braces"),
        ("lrn_param { alpha: 'x' }", "alpha takes a number, found \"'x'\""),
        ("inner_product_param { bias_term: 2 }", "bias_term takes true or false, found '2'"),
        ("inner_product_param { axis: 1 axis: 2 }", "axis is given twice in one InnerProductParameter"),
        ("concat_param { axis: 1.5 }", "axis takes a whole number from -2147483648 to 2147483647, found '1.5'"),
    ],
)
def test_a_fault_explains_itself(tmp_path: Path, settings: str, message: str) -> None:
    text = f'# first\nlayer {{ name: "l" type: "LRN" {settings} }}'
    assert told(tmp_path, text) == [f"net.prototxt:2: layer 'l' (LRN): {message}"]


def test_the_forms_of_layers_and_layer_are_told_apart(tmp_path: Path) -> None:
    first, second = told(tmp_path, 'layers { name: "c" type: "Convolution" param { lr_mult: 1 } }')
    assert first.endswith(
        "did you mean 'CONVOLUTION'? 'layers' takes such a constant without quotes; "
        'for a current type write layer { type: "Convolution" }'
    )
    assert second.endswith("'layers' is the form of 2014; write layer { ... } with its type in quotes")


def test_all_faults_of_a_solver_are_told(tmp_path: Path) -> None:
    assert told(tmp_path, 'base_lrr: 0.1\nsolver_mode: "GPU"\nmax_iter: 1.5\n', "solver.prototxt") == [
        "solver.prototxt:1: SolverParameter has no field 'base_lrr'; did you mean 'base_lr'?",
        "solver.prototxt:2: solver_mode takes a constant; write it without quotes: solver_mode: GPU",
        "solver.prototxt:3: max_iter takes a whole number from -2147483648 to 2147483647, found '1.5'",
    ]


def test_many_faults_are_counted(tmp_path: Path) -> None:
    text = "\n".join(f"field{number}x: 1" for number in range(50))
    lines = told(tmp_path, text)
    assert len(lines) == 31
    assert lines[-1] == "net.prototxt: and 20 more errors"


def test_all_unknown_types_of_a_net_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "a" type: "Mish" top: "x" }\n\nlayer { name: "b" type: "Relu" bottom: "x" top: "y" }'
    )
    with pytest.raises(UnknownNameError) as caught:
        Net.from_file(path)
    assert str(caught.value).replace(str(path), "net").splitlines() == [
        "layer 'a' (net:1): unknown layer type 'Mish'",
        "layer 'b' (net:3): unknown layer type 'Relu'; did you mean 'ReLU'?",
    ]


def test_an_input_without_a_shape_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('input: "data"\nlayer { name: "r" type: "ReLU" bottom: "data" top: "r" }')
    with pytest.raises(
        NetError, match=r"prototxt:1: input 'data' has no shape; give input_shape \{ dim: \.\.\. \}, or four input_dim"
    ):
        Net.from_file(path)


def test_names_that_are_known_are_listed_once(tmp_path: Path) -> None:
    first, second = told(tmp_path, "layer {\n  input_param { shapes: 1\n  dims: 2 }\n}")
    assert first == "net.prototxt:2: InputParameter has no field 'shapes'; did you mean 'shape'?"
    assert second == "net.prototxt:3: InputParameter has no field 'dims'; known: shape"
    first, second = told(tmp_path, "layer {\n  pooling_param { xyz: 1\n  abc: 2 }\n}")
    assert "; known: pool, " in first
    assert second == "net.prototxt:3: PoolingParameter has no field 'abc'"


def test_a_string_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    (line,) = told(tmp_path, 'name: "a"\nlayer { name: "' + "x" * (50 << 20) + '" }')
    assert line == "net.prototxt:2: found a string of more than 1048576 characters"


@pytest.mark.parametrize(
    ("old", "today"), [("POOLING", "Pooling"), ("SOFTMAX_LOSS", "SoftmaxWithLoss"), ("INNER_PRODUCT", "InnerProduct")]
)
def test_a_constant_of_2014_as_type_gives_the_type_of_today(tmp_path: Path, old: str, today: str) -> None:
    lines = told(tmp_path, f'layer {{ name: "a" type: {old} }}')
    assert f'write type: "{today}"' in lines[0]
    with pytest.raises(UnknownNameError, match=f"unknown layer type '{old}'; did you mean '{today}'"):
        Net(prototxt.parse(f'layer {{ name: "a" type: "{old}" }}', schema.NetParameter(), "net"))


def test_a_net_for_a_solver_and_a_solver_for_a_net_are_told_in_one_sentence(tmp_path: Path) -> None:
    assert told(tmp_path, '# mine\nnet: "a"\nbase_lr: 1 type: "SGD"') == [
        "net.prototxt:2: 'net' is a field of a solver: this is a solver, not a net; give the prototxt of the net itself"
    ]
    assert told(tmp_path, 'name: "a"\nlayer { }', "solver.prototxt") == [
        "solver.prototxt:1: 'name' is a field of a net: this is a net, not a solver; give the prototxt of the solver"
    ]


DETECTOR = """name: "detector"
inptu: "data"
input_shape { dmi: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolutoin" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_siz: 3 weight_filler { tpye: "xavier" variance_norm: FAN_INN } } }
layer { name: "p" type: "Permut" bottom: "c" top: "p" permute_param { ordr: 1 } }
layer { name: "q" type: "Unheard" bottom: "c" top: "q" unheard_param { a { b: 1 } } pooling_param { pool: MAXX } }
layer { name: "d" type: "DetectionOutput" bottom: "c" top: "d"
  detection_output_param { nms_param { nms_treshold: 0.4 } code_type: CENTER_SISE class_agnostic_score: 0.01 } }
"""
DETECTOR_FAULTS = [
    (2, "", "NetParameter has no field 'inptu'; did you mean 'input'?"),
    (3, "", "BlobShape has no field 'dmi'; did you mean 'dim'?"),
    (4, "layer 'c' (Convolutoin): ", "unknown layer type 'Convolutoin'; did you mean 'Convolution'?"),
    (5, "layer 'c' (Convolutoin): ", "ConvolutionParameter has no field 'kernel_siz'; did you mean 'kernel_size'?"),
    (5, "layer 'c' (Convolutoin): ", "FillerParameter has no field 'tpye'; did you mean 'type'?"),
    (5, "layer 'c' (Convolutoin): ", "FillerParameter.VarianceNorm has no value 'FAN_INN'; did you mean 'FAN_IN'?"),
    (6, "layer 'p' (Permut): ", "unknown layer type 'Permut'; did you mean 'Permute'?"),
    (6, "layer 'p' (Permut): ", "PermuteParameter has no field 'ordr'; did you mean 'order'?"),
    (7, "layer 'q' (Unheard): ", "unknown layer type 'Unheard'"),
    (7, "layer 'q' (Unheard): ", "LayerParameter has no field 'unheard_param'"),
    (7, "layer 'q' (Unheard): ", "PoolingParameter.PoolMethod has no value 'MAXX'; did you mean 'MAX'?"),
    (9, "layer 'd' (DetectionOutput): ", "NonMaximumSuppressionParameter has no field 'nms_treshold'; did you mean "),
    (9, "layer 'd' (DetectionOutput): ", "PriorBoxParameter.CodeType has no value 'CENTER_SISE'; did you mean "),
    (
        9,
        "layer 'd' (DetectionOutput): ",
        "DetectionOutputParameter has no field 'class_agnostic_score'; known: num_classes,",
    ),
]


def test_all_faults_of_a_detector(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(DETECTOR)
    with pytest.raises(PrototxtError) as caught:
        Net.from_file(path)
    found = str(caught.value).splitlines()
    assert len(found) == len(DETECTOR_FAULTS)
    for line, (number, layer, what) in zip(found, DETECTOR_FAULTS, strict=True):
        assert line.startswith(f"{path}:{number}: {layer}{what}")
