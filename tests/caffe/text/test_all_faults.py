"""All faults of a net are told at once, with lines and nearest names: fields, types and constants, nested as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from demitasse.caffe.net import Net
from demitasse.errors import PrototxtError

TEXT = """name: "detector"
inptu: "data"
input_shape { dmi: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolutoin" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_siz: 3 weight_filler { tpye: "xavier" variance_norm: FAN_INN } } }
layer { name: "p" type: "Permut" bottom: "c" top: "p" permute_param { ordr: 1 } }
layer { name: "q" type: "Unheard" bottom: "c" top: "q" unheard_param { a { b: 1 } } pooling_param { pool: MAXX } }
layer { name: "d" type: "DetectionOutput" bottom: "c" top: "d"
  detection_output_param { nms_param { nms_treshold: 0.4 } code_type: CENTER_SISE objectness_score: 0.01 } }
"""
WANTED = [
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
        "DetectionOutputParameter has no field 'objectness_score'; known: num_classes,",
    ),
]


def test_all_faults_of_a_detector(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(TEXT)
    with pytest.raises(PrototxtError) as caught:
        Net.from_file(path)
    found = str(caught.value).splitlines()
    assert len(found) == len(WANTED)
    for line, (number, layer, what) in zip(found, WANTED, strict=True):
        assert line.startswith(f"{path}:{number}: {layer}{what}")
