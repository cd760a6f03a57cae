"""Field numbers of Caffe's forks: read by layer type, and written as the forks do."""

from __future__ import annotations

import pytest

from demitasse.caffe import schema
from demitasse.caffe.schema import dialects

each = pytest.mark.parametrize


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def net(kind: str, *fields: bytes, bottoms: int = 1) -> bytes:
    layer = field(1, b"l") + field(2, kind.encode()) + field(3, b"x") * bottoms + b"".join(fields)
    return field(1, b"net") + field(100, layer) + field(100, field(1, b"next"))


def read(data: bytes) -> schema.LayerParameter:
    message = schema.NetParameter.FromString(dialects.to_private_numbers(data))
    assert [layer.name for layer in message.layer] == ["l", "next"]
    return message.layer[0]


CASES = [
    ("Permute", "permute_param", field(1, 2), "order: 2", (202, 148), 202),  # SSD, OpenCV
    ("Normalize", "norm_param", field(1, 0), "across_spatial: false", (206, 149), 206),
    ("PriorBox", "prior_box_param", field(4, 0), "flip: false", (203, 150), 203),
    ("AnnotatedData", "annotated_data_param", field(2, b"map"), 'label_map_file: "map"', (200,), 200),
    ("MultiBoxLoss", "multibox_loss_param", field(4, 21), "num_classes: 21", (201,), 201),
    ("DetectionEvaluate", "detection_evaluate_param", field(1, 21), "num_classes: 21", (205,), 205),
    ("BoxAnnotatorOHEM", "box_annotator_ohem_param", field(1, 128), "roi_per_img: 128", (150, 152), 150),  # R-FCN
    ("DetectionOutput", "detection_output_param", field(1, 21), "num_classes: 21", (204, 147), 204),
    ("Proposal", "proposal_param", field(1, 8), "feat_stride: 8", (201, 202), 201),  # OpenCV, others
    ("PSROIPooling", "psroi_pooling_param", field(2, 3), "output_dim: 3", (10002, 149, 207), 10002),
    ("ROIPooling", "roi_pooling_param", field(1, 7), "pooled_h: 7", (8266711, 150, 147), 8266711),  # Fast R-CNN, PSPNet
    ("SmoothL1Loss", "smooth_l1_loss_param", b"\x0d\x00\x00\x40\x40", "sigma: 3", (8266712, 148), 8266712),
    ("Pooling3D", "pooling3d_param", field(5, 2), "kernel_depth: 2", (1175, 149), 1175),  # C3D
    ("Convolution3D", "convolution3d_param", field(8, 2), "temporal_stride: 2", (1174, 148), 1174),
    ("Interp", "interp_param", field(3, 8), "zoom_factor: 8", (163, 147, 143), 163),  # PSPNet, DeepLab
    ("SegAccuracy", "seg_accuracy_param", field(1, 255), "ignore_label: 255", (164, 146), 164),
    ("ShuffleChannel", "shuffle_channel_param", field(1, 3), "group: 3", (164, 159), 164),
    ("MatWrite", "mat_write_param", field(1, b"p"), 'prefix: "p"', (145, 147), 145),
    ("Lstm", "lstm_param", field(1, 128), "num_output: 128", (140,), 140),  # CTPN
    ("DenseImageData", "dense_image_data_param", field(4, 8), "batch_size: 8", (138,), 138),  # SegNet
    ("SpatialDropout", "spatial_dropout_param", b"\x0d\x00\x00\x00\x3e", "dropout_ratio: 0.125", (155,), 155),
    ("Transpose", "transpose_param", field(1, 1), "dim: 1", (142,), 142),
    ("Reverse", "reverse_param", field(1, 1), "axis: 1", (143, 157), 143),
    ("Reorg", "reorg_param", field(1, 2), "stride: 2", (149, 159), 149),  # MobileNet-YOLO
    ("Upsample", "upsample_param", field(1, 2), "scale: 2", (150, 149, 137), 150),
    ("ReLU6", "relu6_param", b"\x0d\x00\x00\x00\x3f", "negative_slope: 0.5", (211,), 211),
    ("YoloDetectionOutput", "yolo_detection_output_param", field(2, 3), "num_classes: 3", (601,), 601),
    ("Yolov3DetectionOutput", "yolov3_detection_output_param", field(1, 3), "num_classes: 3", (602,), 602),
]


@each(("kind", "name", "content", "text", "numbers", "written"), CASES, ids=[case[0] for case in CASES])
def test_settings_are_read_at_any_number_and_written_at_the_forks(kind, name, content, text, numbers, written):
    for number in numbers:
        layer = read(net(kind, field(number, content)))
        assert str(getattr(layer, name)).strip() == text
        message = dialects.to_private_numbers(net(kind, field(number, content)))
        assert dialects.to_file_numbers(message) == net(kind, field(written, content))


def test_segnets_upsample_has_a_number_of_its_own():
    data = net("Upsample", field(137, field(1, 2)), bottoms=2)
    assert read(data).upsample_param.scale == 2
    assert dialects.to_file_numbers(dialects.to_private_numbers(data)) == data


@each(
    ("number", "content", "names"),
    [
        (45, field(3, 1), ["bn_mode"]),  # SegNet
        (45, field(1, b"") + field(2, b""), ["scale_filler", "shift_filler"]),
        (137, b"\x1d\x33\x33\x73\x3f" + field(5, 1), ["momentum", "frozen"]),  # TSN
        (137, b"\x1d\x33\x33\x73\x3f", ["momentum"]),
        (137, b"\x25\x00\x00\x00\x3f", ["eps"]),
        (144, b"\x1d\x95\xbf\xd6\x33" + field(4, 1), ["var_eps", "moving_average"]),  # CTPN, older PSPNets
        (137, b"\x1d\x95\xbf\xd6\x33", ["var_eps"]),
        (137, b"\x2d\x00\x00\x80\x3e" + field(6, 2), ["decay", "axis"]),
    ],
    ids=str,
)
def test_three_dialects_of_batch_normalization(number, content, names):
    data = net("BN", field(number, content))
    settings = read(data).bn_param
    assert {each.name for each, _ in settings.ListFields()} == set(names)
    written = dialects.to_file_numbers(dialects.to_private_numbers(data))
    assert read(written).bn_param == settings
    assert written == net("BN", field(45 if number == 45 else 137, content))


def test_fillers_alone_are_segnets_unless_there_are_four_blobs():
    content = field(1, field(1, b"constant"))
    assert read(net("BN", field(137, content))).bn_param.HasField("scale_filler")
    assert read(net("BN", field(137, content), *[field(7, b"")] * 4)).bn_param.HasField("slope_filler")


def test_a_name_of_an_engine_is_not_taken_for_settings():
    layer = read(net("Permute", field(149, b"MKLDNN"), field(202, field(1, 3))))
    assert list(layer.permute_param.order) == [3]
    layer = read(net("Permute", field(149, b"CAFFE")))
    assert not layer.HasField("permute_param")
    data = net("Permute", field(149, b"CAFFE"), field(202, field(1, 3)))
    assert dialects.to_file_numbers(dialects.to_private_numbers(data)) == data


def test_other_forks_messages_at_these_numbers_are_kept_and_not_read():
    data = net("Convolution", field(202, b"\xff\xff"), field(601, b"\x08"))
    layer = read(data)
    assert not layer.HasField("permute_param")
    assert dialects.to_file_numbers(dialects.to_private_numbers(data)) == data


def test_pspnets_scale_and_bias():
    assert read(net("Scale", field(160, field(4, 1)))).scale_param.bias_term
    assert read(net("Bias", field(161, field(1, 2)))).bias_param.axis == 2
