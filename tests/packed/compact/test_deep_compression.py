"""Deep Compression's files: a small one made by hand, the real one, broken ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.net import Net
from demitasse.errors import FileFormatError, WeightsError
from demitasse.examples import names
from demitasse.packed.compact import Shape, deep_compression

SHAPES: dict[str, list[Shape]] = {"conv": [(2, 1, 3, 3), (2,)], "ip": [(1, 40)]}


def small_file() -> bytes:
    """Returns a convolution with values 0.5 at 0 and -2.0 at 17, an inner product with 3.0 at 20."""
    conv_book, ip_book = np.zeros(256, "<f4"), np.zeros(16, "<f4")
    conv_book[[7, 255]], ip_book[2] = [0.5, -2.0], 3.0
    counts = np.array([3, 2], "<u4").tobytes()
    # gaps less one: 0, then 15 for a filler, then 0; low half first, odd numbers padded
    conv = conv_book.tobytes() + np.array([1, -1], "<f4").tobytes() + bytes([7, 0, 255]) + bytes([0xF0, 0x00])
    ip = ip_book.tobytes() + bytes([0x20]) + bytes([0x4F])
    return counts + conv + ip


def test_small_file() -> None:
    layers = deep_compression.decode(small_file(), SHAPES)
    weight, bias = layers["conv"]
    assert weight.shape == (2, 1, 3, 3)
    assert {i: v for i, v in enumerate(weight.reshape(-1)) if v} == {0: 0.5, 17: -2.0}
    assert bias.tolist() == [1, -1]
    assert {i: v for i, v in enumerate(layers["ip"][0].reshape(-1)) if v} == {20: 3.0}


def test_every_cut_and_every_more_is_noticed() -> None:
    data = small_file()
    for end in range(len(data)):
        with pytest.raises(FileFormatError, match=r"^byte \d+: "):
            deep_compression.decode(data[:end], SHAPES)
    with pytest.raises(FileFormatError, match=rf"byte {len(data)}: expected the end of the file, found 1 more"):
        deep_compression.decode(data + b"\0", SHAPES)


def test_counts_and_positions_beyond_the_blob() -> None:
    data = bytearray(small_file())
    data[0:4] = (19).to_bytes(4, "little")
    with pytest.raises(FileFormatError, match=r"byte 0: layer 'conv': expected 0 to 18 entries, found 19"):
        deep_compression.decode(bytes(data), SHAPES)
    data = bytearray(small_file())
    data[8 + 1024 + 8 + 3 + 1] = 0x01
    with pytest.raises(FileFormatError, match="layer 'conv': expected positions below 18, found 18"):
        deep_compression.decode(bytes(data), SHAPES)


def test_squeezenet(shared: Path) -> None:
    deploy = Path(__file__).parents[3] / "src/demitasse/examples/squeezenet/deploy.prototxt"
    assert "squeezenet" in names()
    net = Net.from_file(deploy)
    shapes = {n: [tuple(b.shape) for b in layer.blobs()] for n, layer in net.named_layers().items() if layer.blob_names}
    assert len(shapes) == 26
    layers = deep_compression.decode((shared / "models/squeezenet_v1.0_deep_compression.net").read_bytes(), shapes)
    values = np.concatenate([array.reshape(-1) for arrays in layers.values() for array in arrays])
    assert values.size == 1_248_424
    assert np.count_nonzero(values) == 419_897
    assert re.match(r"fire9/expand3x3|conv10", list(layers)[-1])
    assert np.isfinite(values).all()


def test_what_is_encoded_is_decoded() -> None:
    rng = np.random.default_rng(0)
    layers = {
        "conv": [rng.choice(np.arange(-100, 156, dtype=np.float32), (7, 3, 5, 5)), rng.normal(size=7).astype("f4")],
        "sparse": [np.where(rng.random((30, 50)) < 0.02, 0.5, 0).astype(np.float32)],
        "dead": [np.zeros((4, 4), np.float32), np.zeros(4, np.float32)],
        "ip": [rng.choice(np.linspace(-1, 1, 16, dtype=np.float32)[1:], (11, 13)), np.ones(11, np.float32)],
    }
    data = deep_compression.encode(layers)
    shapes = {name: [array.shape for array in arrays] for name, arrays in layers.items()}
    found = deep_compression.decode(data, shapes)
    for name, arrays in layers.items():
        assert all(np.array_equal(*both) for both in zip(found[name], arrays, strict=True)), name
    assert deep_compression.encode(found) == data


def test_bytes_of_a_small_file() -> None:
    conv, ip = np.zeros(18, np.float32), np.zeros(40, np.float32)
    conv[[0, 17]], ip[20] = [0.5, -2.0], 3.0
    layers = {"conv": [conv.reshape(2, 1, 3, 3), np.float32([1, -1])], "ip": [ip.reshape(1, 40)]}
    data = deep_compression.encode(layers)
    # codes by value: -2.0 is 1, 0.5 is 2; the rest as in the small file
    assert data[:8] == small_file()[:8]
    assert np.frombuffer(data, "<f4", 3, 8).tolist() == [0, -2, 0.5]
    assert data[8 + 1024 + 8 :][:5] == bytes([2, 0, 1, 0xF0, 0x00])
    assert data[-2:] == bytes([0x10, 0x4F])


@pytest.mark.parametrize(("shape", "most"), [((1, 1, 20, 20), 255), ((20, 20), 15)])
def test_too_many_values_and_what_is_no_number(shape: Shape, most: int) -> None:
    weight = np.zeros(400, np.float32)
    weight[: most + 1] = np.arange(1, most + 2)
    with pytest.raises(WeightsError, match=rf"^layer 'x' weight: found {most + 1} distinct .* holds at most {most}$"):
        deep_compression.encode({"x": [weight.reshape(shape)]})
    weight[most] = 1
    deep_compression.encode({"x": [weight.reshape(shape)]})
    weight[3] = np.inf
    with pytest.raises(WeightsError, match="layer 'x' weight: expected finite numbers, found inf"):
        deep_compression.encode({"x": [weight.reshape(shape)]})
