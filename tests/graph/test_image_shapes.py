"""The shapes of images are found in a net and its weights, without the data."""

from __future__ import annotations

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.text import prototxt
from demitasse.graph.caffe.image_shapes import image_shapes

CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }"""


@pytest.mark.parametrize(
    ("kind", "settings", "plane"),
    [
        ("Data", "transform_param { crop_size: 5 } data_param { batch_size: 2 }", (5, 5)),
        ("Data", "transform_param { crop_h: 5 crop_w: 6 } data_param { batch_size: 2 }", (5, 6)),
        ("WindowData", "transform_param { crop_size: 5 } window_data_param { batch_size: 2 }", (5, 5)),
        ("ImageData", "image_data_param { batch_size: 2 new_height: 7 new_width: 8 }", (7, 8)),
        ("ImageSegData", "transform_param { crop_h: 5 crop_w: 6 } image_data_param { batch_size: 2 }", (5, 6)),
        ("DenseImageData", "dense_image_data_param { batch_size: 2 new_height: 7 new_width: 8 }", (7, 8)),
        (
            "AnnotatedData",
            "transform_param { resize_param { height: 5 width: 6 } } data_param { batch_size: 2 }",
            (5, 6),
        ),
        (
            "Data",
            "transform_param { resize_param { height: 5 width: 6 } crop_size: 4 } data_param { batch_size: 2 }",
            (4, 4),
        ),
        (
            "AnnotatedData",  # keeps the aspect of each image
            "transform_param { resize_param { resize_mode: FIT_SMALL_SIZE height: 5 width: 6 } } "
            "data_param { batch_size: 1 }",
            None,
        ),
        ("DenseImageData", "dense_image_data_param { batch_size: 2 }", None),  # as large as the images are
    ],
)
def test_what_a_data_layer_says(kind: str, settings: str, plane: tuple[int, int] | None) -> None:
    text = f'layer {{ name: "data" type: "{kind}" top: "data" top: "label" {settings} }} {CONV}'
    layers = prototxt.parse(text, schema.NetParameter(), "net").layer
    found = image_shapes(layers, {"conv": [np.zeros((4, 3, 3, 3), np.float32)]})
    assert found == ({"data": (2, 3, *plane)} if plane else {})
