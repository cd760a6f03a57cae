"""The converters where no recorded run of the original can serve: Guo's models, other layers, wrong input."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model, read_net_message, write_net_message
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.caffe.tools import compact_file
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.inq_to_normal import inq_to_normal
from demitasse.caffe.tools.model2inq_raw import model2inq_raw
from demitasse.caffe.tools.parse_model import parse_model
from demitasse.errors import FileFormatError, NetError, WeightsError

Array = np.ndarray[Any, np.dtype[Any]]

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 5 dim: 5 } } }\n'
CONV = """layer {{ name: "first" type: "{}Convolution" bottom: "data" top: "first"
  convolution_param {{ num_output: 3 kernel_size: 3 bias_term: {} }} inq_convolution_param {{ {portions} }} }}
"""
NORM = 'layer { name: "norm" type: "BatchNorm" bottom: "first" top: "norm" }\n'
DENSE = """layer {{ name: "last" type: "{}InnerProduct" bottom: "{}" top: "last"
  inner_product_param {{ num_output: 2 }} inq_inner_product_param {{ {portions} }} }}
"""
PORTIONS = "portion: 0 portion: 0.5"

WEIGHT = np.array([0.5, -0.25, 0, 1, 0.125, 0] * 9, np.float32).reshape(3, 2, 3, 3)
BIAS = np.array([1, 0], np.float32)
DENSE_WEIGHT = np.tile(np.array([0.5, 0, -1], np.float32), 18).reshape(2, 27)
NORM_BLOBS = [np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32), np.array([7], np.float32)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net_text(kind: str, norm: bool = True, bias: str = "false") -> str:
    conv = CONV.format(kind, bias, portions=PORTIONS)
    return INPUT + conv + NORM * norm + DENSE.format(kind, "norm" if norm else "first", portions=PORTIONS)


def write(name: str, text: str, blobs: dict[str, list[Array]]) -> tuple[str, str]:
    """Writes ``name.prototxt`` and ``name.caffemodel``; returns both names."""
    Path(f"{name}.prototxt").write_text(text)
    message = parse(text, NetParameter(), name)
    for layer in message.layer:
        layer.blobs.extend(array_blob(array) for array in blobs.get(layer.name, []))
    write_net_message(message, f"{name}.caffemodel")
    return f"{name}.prototxt", f"{name}.caffemodel"


def pruned(masks: bool = True, kind: str = "DNS") -> tuple[str, str]:
    """Writes a pruned net: no bias in the first layer, a BatchNorm behind it."""
    mask, rows = (WEIGHT > 0.2).astype(np.float32), np.ones_like(DENSE_WEIGHT)
    last = [DENSE_WEIGHT, BIAS, rows, np.array([1, 0], np.float32)]
    first = [WEIGHT, mask]
    blobs = {"first": first if masks else first[:1], "norm": NORM_BLOBS, "last": last if masks else last[:2]}
    return write("pruned", net_text(kind), blobs)


def target(kind: str = "", norm: bool = True, bias: str = "false") -> str:
    Path("target.prototxt").write_text(net_text(kind, norm, bias))
    return "target.prototxt"


def blobs(path: str) -> dict[str, list[Array]]:
    return {layer.name: layer.blobs for layer in read_model(path) if layer.blobs}


def test_layers_are_chosen_by_type_and_the_rest_is_copied() -> None:
    # neither "first" nor "last" has conv, ip or fc in its name
    counted = dns_to_normal(*pruned(), target(), "out")
    found = blobs("out")
    np.testing.assert_array_equal(found["first"][0], np.where(WEIGHT > 0.2, WEIGHT, 0))
    np.testing.assert_array_equal(found["last"][0], DENSE_WEIGHT)
    assert [a.tolist() for a in found["norm"]] == [a.tolist() for a in NORM_BLOBS]
    assert [(layer.kept, layer.total) for layer in counted] == [([18], [54]), ([54, 1], [54, 2])]


def test_report_of_layers_without_bias() -> None:
    said: list[str] = []
    dns_to_normal(*pruned(), target(), "out", say=said.append)
    assert said[1:3] == ["first layer w: 18/54 (33.333333 %) kept", "        total: 18/54 (33.333333 %) kept"]
    assert "Final Statistics: 73/ 110 (66.363636 %) kept" in said
    assert "Compression Rate: 1.506849" in said


def test_nothing_kept_has_a_rate() -> None:
    zeros = {"first": [0 * WEIGHT, 0 * WEIGHT], "last": [0 * DENSE_WEIGHT, 0 * BIAS, 0 * DENSE_WEIGHT, 0 * BIAS]}
    said: list[str] = []
    dns_to_normal(*write("a", net_text("DNS", norm=False), zeros), target(norm=False), "out", say=said.append)
    assert "Compression Rate: inf" in said


def test_the_original_rule_goes_by_names(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert dns_to_normal(*pruned(), target(), "out", rule=LayerRule.ORIGINAL) == []
    assert "layers that keep their initial values: first, norm, last" in caplog.text
    assert blobs("out")["norm"][2].tolist() == [0]


@pytest.mark.parametrize("kind", ["DNS", "C"])
def test_models_without_masks_are_counted_by_their_zeros(kind: str) -> None:
    counted = dns_to_normal(*pruned(masks=False, kind=kind), target(), "out")
    assert [layer.kept for layer in counted] == [[36], [36, 1]]
    np.testing.assert_array_equal(blobs("out")["first"][0], WEIGHT)


def test_guos_lenet(shared: Path) -> None:
    lenet = "".join(
        f'layer {{ name: "{name}" type: "{{0}}{kind}" bottom: "{bottom}" top: "{name}" {settings} }}\n'
        for name, kind, bottom, settings in (
            ("conv1", "Convolution", "data", "convolution_param { num_output: 20 kernel_size: 5 stride: 2 }"),
            ("conv2", "Convolution", "conv1", "convolution_param { num_output: 50 kernel_size: 5 stride: 2 }"),
            ("ip1", "InnerProduct", "conv2", "inner_product_param { num_output: 500 }"),
            ("ip2", "InnerProduct", "ip1", "inner_product_param { num_output: 10 }"),
        )
    ).replace(" }}", "}}")
    shape = "dim: 1 dim: 1 dim: 28 dim: 28"
    head = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}\n'
    Path("guo.prototxt").write_text(head + lenet.replace("{0}", "C"))
    Path("plain.prototxt").write_text(head + lenet.replace("{0}", ""))
    model = shared / "models/caffe_lenet5_sparse.caffemodel"
    counted = dns_to_normal("guo.prototxt", model, "plain.prototxt", "out")
    assert sum(sum(layer.kept) for layer in counted) == 3993
    assert sum(sum(layer.total) for layer in counted) == 431_080
    source = blobs(str(model))
    for name, arrays in blobs("out").items():
        for ours, theirs in zip(arrays, source[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_raw_model_for_quantization_takes_the_masks_of_surgery() -> None:
    model2inq_raw(*pruned(), target("INQ"), "out")
    found = blobs("out")
    mask = (WEIGHT > 0.2).astype(np.float32)
    np.testing.assert_array_equal(found["first"], [WEIGHT * mask, mask])
    assert [a.tolist() for a in found["last"][1::2]] == [[1, 0], [1, 0]]
    assert found["norm"][2].tolist() == [7]


def test_raw_model_of_guos_freezes_its_zeros() -> None:
    model2inq_raw(*pruned(masks=False, kind="C"), target("INQ"), "out")
    np.testing.assert_array_equal(blobs("out")["first"][1], WEIGHT != 0)


@pytest.mark.parametrize("zeros_are_pruned", [False, True])
def test_raw_model_of_a_plain_one(zeros_are_pruned: bool) -> None:
    plain = write("plain", net_text("", norm=False), {"first": [WEIGHT], "last": [DENSE_WEIGHT, BIAS]})
    model2inq_raw(*plain, target("INQ", norm=False), "out", zeros_are_pruned)
    expected = (WEIGHT != 0) if zeros_are_pruned else np.ones_like(WEIGHT)
    np.testing.assert_array_equal(blobs("out")["first"], [WEIGHT, expected])


def test_layers_that_stay_plain_get_no_masks() -> None:
    text = INPUT + CONV.format("", "false", portions="") + DENSE.format("INQ", "first", portions=PORTIONS)
    Path("mixed.prototxt").write_text(text)
    plain = write("plain", net_text("", norm=False), {"first": [WEIGHT], "last": [DENSE_WEIGHT, BIAS]})
    model2inq_raw(*plain, "mixed.prototxt", "out")
    assert {name: len(arrays) for name, arrays in blobs("out").items()} == {"first": 1, "last": 4}


def test_inq_to_normal_keeps_free_weights() -> None:
    masks = [np.zeros_like(DENSE_WEIGHT), np.ones_like(BIAS)]
    quantized = {"first": [WEIGHT, np.ones_like(WEIGHT)], "last": [DENSE_WEIGHT, BIAS, *masks]}
    said: list[str] = []
    inq_to_normal(*write("inq", net_text("INQ", norm=False), quantized), target(norm=False), "out", say=said.append)
    np.testing.assert_array_equal(blobs("out")["first"][0], WEIGHT)
    assert said[0] == "converting layer [first] ...".ljust(45) + "[done]"


def test_model_without_a_layer() -> None:
    net, model = write("short", net_text("DNS", norm=False), {"first": [WEIGHT]})
    with pytest.raises(WeightsError, match=r"short.caffemodel: there are no blobs for layer 'last' of short.prototxt"):
        dns_to_normal(net, model, target(norm=False), "out")
    assert not Path("out").exists()


def test_model_with_another_number_of_blobs() -> None:
    net, model = write("odd", net_text("", norm=False, bias="true"), {"first": [WEIGHT], "last": [DENSE_WEIGHT, BIAS]})
    message = (
        r"odd.caffemodel: layer 'first' of type Convolution: found blobs of shapes \[\[3, 2, 3, 3\]\]; expected 2 blobs"
    )
    with pytest.raises(WeightsError, match=message):
        compact_file.encode("4/4", net, model, "out")


def test_masks_of_another_shape() -> None:
    net, model = write("odd", INPUT + CONV.format("DNS", "false", portions=""), {"first": [WEIGHT, BIAS]})
    with pytest.raises(WeightsError, match=r"expected 1 or 2 blobs, with masks of the same shapes as their values"):
        dns_to_normal(net, model, target(norm=False), "out")


def test_target_with_other_shapes_or_names() -> None:
    Path("other.prototxt").write_text(net_text("").replace("num_output: 3", "num_output: 4"))
    message = r"blob 0 \(weight\) of layer 'first' has shape \[3, 2, 3, 3\], but the net's has \[4, 2, 3, 3\]"
    with pytest.raises(WeightsError, match=message):
        dns_to_normal(*pruned(), "other.prototxt", "out")
    Path("other.prototxt").write_text(net_text("").replace('"last"', '"list"'))
    with pytest.raises(NetError, match="no layer 'last'; did you mean 'list'"):
        dns_to_normal(*pruned(), "other.prototxt", "out")


def test_failure_leaves_the_older_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").write_text("older")
    net, model = write("off", net_text("", norm=False), {"first": [WEIGHT / 3], "last": [DENSE_WEIGHT, BIAS]})
    compact_file.encode("sparse", net, model, "other")
    with pytest.raises(WeightsError, match="layer 'first' weight: 36 of 36 values are not quantized"):
        compact_file.encode("4/4", net, model, "out")
    assert Path("out").read_text() == "older"


@pytest.mark.parametrize("codec", ["4/4", "4/8", "sparse", "squeezenet"])
def test_round_trip_of_a_net_without_bias(codec: str, caplog: pytest.LogCaptureFixture) -> None:
    net, model = write("a", net_text(""), {"first": [WEIGHT], "norm": NORM_BLOBS, "last": [DENSE_WEIGHT, BIAS]})
    with caplog.at_level(logging.WARNING):
        assert compact_file.encode(codec, net, model, "packed") == Path("packed").stat().st_size
        compact_file.decode(codec, net, "packed", "out")
    assert "layers that are not stored in the file: norm" in caplog.text
    assert "layers that keep their initial values: norm" in caplog.text
    found = blobs("out")
    np.testing.assert_array_equal(found["first"][0], WEIGHT)
    np.testing.assert_array_equal(found["last"][0], DENSE_WEIGHT)
    np.testing.assert_array_equal(found["last"][1], BIAS)


def test_surgery_is_applied_before_packing() -> None:
    net, model = pruned()
    compact_file.encode("4/4", net, model, "packed")
    compact_file.decode("4/4", target(), "packed", "out")
    np.testing.assert_array_equal(blobs("out")["first"][0], np.where(WEIGHT > 0.2, WEIGHT, 0))


def test_compact_file_of_another_net() -> None:
    net, model = write("a", net_text("", norm=False), {"first": [WEIGHT], "last": [DENSE_WEIGHT, BIAS]})
    compact_file.encode("4/4", net, model, "packed")
    with pytest.raises(
        FileFormatError, match=r"^packed: byte 104: layer 'first' bias: expected 0 to 3 entries, found 36"
    ):
        compact_file.decode("4/4", target(norm=False, bias="true"), "packed", "out")
    with pytest.raises(FileFormatError, match=r"missing: cannot be read: No such file"):
        compact_file.decode("4/4", net, "missing", "out")
    assert not Path("out").exists()


def test_deep_compression_of_another_net() -> None:
    Path("cut.net").write_bytes(bytes(100))
    with pytest.raises(
        FileFormatError, match=r"^cut.net: byte 8: layer 'first': codebook: expected 1024 bytes, found 92"
    ):
        compact_file.deep_compression_to_caffe(target(norm=False), "cut.net", "out")


def test_text_of_a_model() -> None:
    net, model = pruned()
    parse_model(model, "text")
    text = Path("text").read_text()
    assert text.count("data: ") == sum(a.size for arrays in blobs(model).values() for a in arrays)
    assert parse(text.split("blobs")[0] + "}", NetParameter(), "text").layer[0].name == "data"
    with pytest.raises(FileFormatError, match=r"pruned\.prototxt"):
        parse_model(net, "text")
    assert Path("text").read_text() == text
    assert read_net_message(model).layer[1].type == "DNSConvolution"


@pytest.mark.parametrize("codec", ["4/4", "4/8", "sparse"])
@pytest.mark.parametrize("kind", ["DNS", "INQ"])
def test_a_plain_prototxt_of_a_model_with_masks_is_told(codec: str, kind: str) -> None:
    arrays = {"first": [WEIGHT, np.ones_like(WEIGHT)], "last": [DENSE_WEIGHT, np.ones_like(DENSE_WEIGHT)]}
    _, model = write("masked", net_text(kind, norm=False), arrays)
    Path("plain.prototxt").write_text(net_text("", norm=False))
    message = f"masked.caffemodel: layer 'first' \\({kind}Convolution\\) has masks .* in plain.prototxt it is"
    with pytest.raises(WeightsError, match=message):
        compact_file.encode(codec, "plain.prototxt", model, "out")


def test_masks_of_another_kind_of_layer_are_refused() -> None:
    """Cut weights would come back: a mask of surgery says what is cut, one of quantization what is free."""
    _, model = pruned()
    Path("inq.prototxt").write_text(net_text("INQ"))
    with pytest.raises(WeightsError, match=r"layer 'first' has type DNSConvolution, but in inq.prototxt .*'dns_to_"):
        inq_to_normal("inq.prototxt", model, target(), "out.caffemodel")
    assert not Path("out.caffemodel").exists()


SHARING = """layer { name: "NAME" type: "KINDInnerProduct" bottom: "data" top: "NAME" param { name: "w" }
  inner_product_param { num_output: 3 bias_term: false } }
"""


@pytest.mark.parametrize("differ", [False, True])
def test_layers_that_share_a_blob_need_the_same_mask(differ: bool) -> None:
    text = INPUT + SHARING.replace("NAME", "a") + SHARING.replace("NAME", "b")
    weight, first = np.ones((3, 50), np.float32), np.eye(3, 50, dtype=np.float32)
    second = np.ones_like(first) if differ else first
    net, model = write("two", text.replace("KIND", "DNS"), {"a": [weight, first], "b": [weight, second]})
    Path("plain.prototxt").write_text(text.replace("KIND", ""))
    if differ:
        with pytest.raises(WeightsError, match=r"layer 'a' shares a blob with another layer of plain\.prototxt"):
            dns_to_normal(net, model, "plain.prototxt", "out.caffemodel")
        assert not Path("out.caffemodel").exists()
    else:
        dns_to_normal(net, model, "plain.prototxt", "out.caffemodel")
        assert np.array_equal(blobs("out.caffemodel")["a"][0], first)
