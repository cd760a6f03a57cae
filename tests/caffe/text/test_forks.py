"""Fields that widespread forks of Caffe have in layers that Caffe has too."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model, read_net_message, write_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError
from demitasse.runtime import optimize
from tests.golden.single import single_net

SCORES = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
LABELS = torch.tensor([0.0, 2.0, 2.0, 1.0])


def loss(settings: str) -> float:
    net = single_net("SoftmaxWithLoss", f"loss_param {{ {settings} }}", (4, 3), (4,))
    return float(net({"b0": SCORES, "b1": LABELS})["t0"])


def logarithms() -> list[float]:
    rows = SCORES.double().exp().numpy()
    return [-float(np.log(row[int(label)] / row.sum())) for row, label in zip(rows, LABELS, strict=True)]


def test_a_fixed_normalizer_divides_the_sum() -> None:
    settings = "normalization: PRE_FIXED pre_fixed_normalizer: 8"
    assert loss(settings) == pytest.approx(sum(logarithms()) / 8)
    net = single_net("SigmoidCrossEntropyLoss", f"loss_param {{ {settings} }}", (4, 3), (4, 3))
    assert float(net({"b0": torch.zeros(4, 3), "b1": torch.ones(4, 3)})["t0"]) == pytest.approx(12 * np.log(2) / 8)
    with pytest.raises(NetError, match="pre_fixed_normalizer is 0; expected a number above 0"):
        loss("normalization: PRE_FIXED pre_fixed_normalizer: 0")


def test_labels_weigh_as_the_net_says() -> None:
    first, second, third, fourth = logarithms()
    weighted = loss("weight_by_label_freqs: true class_weighting: 1 class_weighting: 5 class_weighting: 0.5")
    assert weighted == pytest.approx((first + 0.5 * second + 0.5 * third + 5 * fourth) / 4)
    assert loss("class_weighting: [1, 5, 0.5]") == pytest.approx(sum(logarithms()) / 4)
    with pytest.raises(NetError, match="class_weighting has 2 values for 3 classes"):
        loss("weight_by_label_freqs: true class_weighting: [1, 5]")


def test_labels_without_weights_weigh_by_how_rare_they_are_in_the_batch() -> None:
    first, second, third, fourth = logarithms()
    assert loss("weight_by_label_freqs: true") == pytest.approx((first + second / 2 + third / 2 + fourth) / 4)


@pytest.mark.parametrize(("mode", "size"), [("ceil_mode: false", 2), ("ceil_mode: true", 3), ("", 3)])
def test_pooling_rounds_down_without_ceil_mode(mode: str, size: int) -> None:
    net = single_net("Pooling", f"pooling_param {{ kernel_size: 2 stride: 2 {mode} }}", (1, 1, 5, 5))
    assert net.shapes["t0"] == (1, 1, size, size)


def test_two_ways_of_rounding_must_agree() -> None:
    with pytest.raises(NetError, match="round_mode and ceil_mode contradict each other"):
        single_net("Pooling", "pooling_param { kernel_size: 2 round_mode: FLOOR ceil_mode: true }", (1, 1, 5, 5))


@pytest.mark.parametrize("fast", [False, True])
def test_dropout_that_does_not_scale_in_training_scales_in_testing(fast: bool) -> None:
    settings = "dropout_param { dropout_ratio: 0.75 scale_train: false }"
    ones = torch.ones(2, 1000)
    torch.manual_seed(0)
    assert single_net("Dropout", settings, (2, 1000))({"b0": ones})["t0"].unique().tolist() == [0, 1]
    net = single_net("Dropout", settings, (2, 1000), phase=schema.TEST)
    top = (optimize(net) if fast else net)({"b0": ones})["t0"]
    assert top.unique().tolist() == [0.25]


@pytest.mark.parametrize("fast", [False, True])
def test_dropout_may_draw_in_testing(fast: bool) -> None:
    net = single_net("Dropout", "dropout_param { sample_weights_test: true }", (2, 1000), phase=schema.TEST)
    torch.manual_seed(0)
    with torch.no_grad():
        assert (optimize(net) if fast else net)({"b0": torch.ones(2, 1000)})["t0"].unique().tolist() == [0, 2]


def scaling(phase: int, settings: str = "scale_bias: true") -> Net:
    net = single_net(
        "BatchNorm", f"batch_norm_param {{ {settings} }} param {{ lr_mult: 1 }}", (8, 3, 2, 2), phase=phase
    )
    layer = net.layer("l")
    arrays = [[1, 2, 3], [4, 5, 6], [1], [2, 3, 4], [7, 8, 9]]
    for name, values in zip(layer.blob_names, arrays, strict=True):
        layer.write_blob(name, torch.tensor(values, dtype=torch.float32))
    return net


def test_batch_norm_with_scale_bias_has_two_more_blobs_that_are_learnt() -> None:
    net = single_net("BatchNorm", "batch_norm_param { scale_filler { value: 3 } }", (8, 3, 2, 2))
    assert [blob.tolist() for blob in net.layer("l").blobs()[3:]] == [[3, 3, 3], [0, 0, 0]]
    assert [isinstance(blob, torch.nn.Parameter) for blob in net.layer("l").blobs()] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("fast", [False, True])
def test_batch_norm_with_scale_bias_scales_and_shifts(fast: bool) -> None:
    net = scaling(schema.TEST)
    bottom = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 3, 2, 2)).astype(np.float32))
    with torch.no_grad():
        top = (optimize(net) if fast else net)({"b0": bottom})["t0"]
    mean, variance, scale, bias = (
        np.array(values, np.float64).reshape(1, 3, 1, 1) for values in ([1, 2, 3], [4, 5, 6], [2, 3, 4], [7, 8, 9])
    )
    expected = (bottom.double().numpy() - mean) / np.sqrt(variance + 1e-5) * scale + bias
    np.testing.assert_allclose(top, expected, rtol=1e-5)
    trained = scaling(schema.TRAIN)({"b0": bottom})["t0"].detach()
    np.testing.assert_allclose(trained.mean((0, 2, 3)), [7, 8, 9], rtol=1e-5)


def test_hole_is_the_dilation(tmp_path: Path) -> None:
    for settings, shape in (("hole: 3", (1, 1, 3, 3)), ("hole_h: 2", (1, 1, 5, 7))):
        net = single_net(
            "Convolution", f"convolution_param {{ num_output: 1 kernel_size: 3 {settings} }}", (1, 1, 9, 9)
        )
        assert net.shapes["t0"] == shape
    with pytest.raises(NetError, match="both dilation and hole"):
        single_net(
            "Convolution", "convolution_param { num_output: 1 kernel_size: 3 hole: 2 dilation: 1 }", (1, 1, 9, 9)
        )


def test_the_fillers_that_intel_gives_a_batch_norm_before_a_scale_make_no_blobs() -> None:
    intel, plain = (
        single_net("BatchNorm", f"batch_norm_param {{ {settings} }}", (8, 3, 2, 2), phase=schema.TEST)
        for settings in ("filler { value: 0 } bias_filler { value: 1 }", "")
    )
    assert len(intel.layer("l").blobs()) == 3
    bottom = torch.arange(96.0).reshape(8, 3, 2, 2)
    assert torch.equal(intel({"b0": bottom})["t0"], plain({"b0": bottom})["t0"])


UNUSED = """engine: "MKLDNN"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" forward_type: FLOAT16
  inner_product_param { num_output: 2 } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip"
  relu_param { engine: MKL2017 }
  quantization_param { bw_params: 8 scale_in: 24.5 scale_params: 1.5 scale_params: 2 } }
"""


def test_what_has_no_meaning_is_told_once_with_file_line_and_field(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(UNUSED)
    with caplog.at_level(logging.WARNING, "demitasse.caffe"):
        Net.from_file(path, schema.TRAIN)
        Net.from_file(path, schema.TEST)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: ignored these fields of other versions of Caffe: "
        "engine (line 1), forward_type (line 3), engine: MKL2017 (line 6), quantization_param (line 7)"
    ]


def test_a_solver_of_other_caffes_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "a"\nsnapshot_log: true\ndevice_id: [2,\n 3]\ndevice_id: 4  # device_id: 5\nmax_iter: 9')
    with caplog.at_level(logging.WARNING, "demitasse.caffe"):
        solver = prototxt.read_solver(path)
    assert (solver.device_id, solver.max_iter, solver.snapshot_log) == (2, 9, True)
    devices, fields = (record.getMessage() for record in caplog.records)
    assert devices == (
        f"{path}:3: found 3 values of device_id; only the first, 2, is used; give gpu='2,3,4' to train on all"
    )
    assert fields.endswith("Caffe: snapshot_log (line 2)")


def varint_field(number: int, value: int) -> bytes:
    key = number << 3
    return bytes([key & 0x7F | 0x80, key >> 7, value])


def text_field(number: int, value: bytes) -> bytes:
    key = number << 3 | 2
    return bytes([key & 0x7F | 0x80, key >> 7, len(value)]) + value


def test_a_caffemodel_of_another_fork_is_read_and_written_back(tmp_path: Path) -> None:
    layer = schema.LayerParameter(name="ip", type="InnerProduct")
    layer.blobs.append(array_blob(np.ones((2, 3), np.float32)))
    # Intel's engine, a message of a fork for detection, NVIDIA's precision, a setting that Caffe does not have
    foreign = text_field(149, b"MKLDNN") + text_field(150, b"\x08\x01") + varint_field(145, 2) + varint_field(206, 1)
    content = layer.SerializeToString() + foreign
    (tmp_path / "in.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(content)]) + content)
    message = read_net_message(tmp_path / "in.caffemodel")
    assert not message.layer[0].HasField("inq_convolution_param")
    write_net_message(message, tmp_path / "out.caffemodel")
    written = (tmp_path / "out.caffemodel").read_bytes()
    assert all(
        part in written for part in (text_field(149, b"MKLDNN"), text_field(150, b"\x08\x01"), varint_field(145, 2))
    )


@pytest.mark.parametrize(("kind", "dtype"), [(0, np.float64), (1, np.float32), (2, np.float16)])
def test_raw_numbers_of_nvidias_fork_are_read(kind: int, dtype: type, tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3) / 4
    net = schema.NetParameter()
    blob = net.layer.add(name="ip", type="InnerProduct").blobs.add(
        raw_data_type=kind, raw_data=values.astype(dtype).tobytes()
    )
    blob.shape.dim.extend((2, 3))
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    (read,) = read_model(tmp_path / "net.caffemodel")[0].blobs
    np.testing.assert_array_equal(read, values)
    assert read.dtype == (np.float64 if kind == 0 else np.float32)
