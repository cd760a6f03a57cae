"""Every format of files: what it holds comes back exactly, what it does not hold is refused, and so are broken files.

A new format needs a line in HOLDS: the types of values that its files hold.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import demitasse
from demitasse.errors import DemitasseError, FileFormatError, UsageError, WeightsError
from demitasse.formats import FORMATS, Contents, Settings, pack, unpack
from demitasse.formats.onnx import _TYPES, GRAPH
from demitasse.packed.compact import CODECS
from demitasse.packed.tensor import DTYPES, DType, Tensor

ALL = {dtype.name for dtype in DTYPES}
HOLDS = {
    "demi": ALL,
    "pt": ALL,
    "safetensors": ALL - {"complex128", "complex32"},
    "onnx": {dtype.name for dtype in _TYPES.values()},
    "caffemodel": {"float32", "float64"},
    "hdf5": {"float32", "float64"},
    "net": {"float32"},
    **{codec: {"float32"} for codec in CODECS},
}
NET = """
layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "in" top: "ip" inner_product_param { num_output: 3 } }
"""
# nothing but the net tells the layers of these
NAMELESS = {"net", *CODECS}

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")
each_format = pytest.mark.parametrize("name", list(FORMATS))
each_type = pytest.mark.parametrize("dtype", DTYPES, ids=[dtype.name for dtype in DTYPES])


def tensor(name: str, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """Returns values of any bits; of float32 powers of two, which every format holds."""
    rng = np.random.default_rng(7)
    size = int(np.prod(dtype.stored(shape)))
    if dtype.name == "float32":
        bits = (2.0 ** -rng.integers(1, 5, size) * rng.choice([-1, 1], size)).astype(np.float32).view(dtype.bits)
    else:
        most = 2 if dtype.name == "bool" else 1 << 8 * dtype.size
        bits = rng.integers(0, most, size, dtype.bits, endpoint=False)
    return Tensor(name, dtype, dtype.stored(shape), bits)


def contents(dtype: DType, **extra: Any) -> Contents:
    return Contents([tensor("ip.0", dtype, (3, 4)), tensor("ip.1", dtype, (3,))], **extra)


FLOATS = contents(DTYPES[0])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "net.prototxt").write_text(NET)
    return Settings(net=tmp_path / "net.prototxt", signed_zeros=True)


def settings_of(name: str, settings: Settings) -> Settings:
    return settings if name in NAMELESS else settings._replace(net=None)


def framed(name: str, given: Contents) -> Contents:
    """Returns contents with what the format needs beside the tensors."""
    if name != "onnx":
        return given
    onnx = pytest.importorskip("onnx")
    numbers = {dtype.name: number for number, dtype in _TYPES.items()}
    protos = [
        onnx.TensorProto(name=each.name, data_type=numbers.get(each.dtype.name, 1), dims=each.dtype.shown(each.shape))
        for each in given.tensors
    ]
    model = onnx.ModelProto(ir_version=10)
    model.opset_import.add(version=21)
    model.graph.initializer.extend(protos)
    return given._replace(metadata={GRAPH: model.SerializeToString().decode("latin-1")})


def written(name: str, given: Contents, settings: Settings) -> bytes:
    file = BytesIO()
    FORMATS[name].write(framed(name, given), file, settings_of(name, settings))
    return file.getvalue()


def plain(found: Contents) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Returns every name, aliases too, with type, shape and values."""
    by_name = {each.name: (each.dtype.name, each.shape, each.bits.tobytes()) for each in found.tensors}
    return by_name | {alias: by_name[other] for alias, other in found.aliases.items()}


def here(name: str, dtype: DType) -> bool:
    """Returns whether what is installed has the type."""
    return name not in ("pt", "safetensors") or hasattr(torch, dtype.name)


@each_type
@each_format
def test_values_come_back_or_are_refused(name: str, dtype: DType, settings: Settings) -> None:
    assert name in HOLDS, f"give {name} a line in HOLDS: the types of values that its files hold"
    if not here(name, dtype):
        pytest.skip(f"this PyTorch has no {dtype.name}")
    given = contents(dtype)
    if dtype.name not in HOLDS[name]:
        with pytest.raises((WeightsError, UsageError), match=r"ip\.0"):
            written(name, given, settings)
        return
    data = written(name, given, settings)
    path = settings.net.parent / "file"  # type: ignore[union-attr]
    path.write_bytes(data)
    assert plain(FORMATS[name].read(path, settings_of(name, settings))) == plain(given)
    assert written(name, given, settings) == data  # the same bytes each time


@each_format
def test_a_file_may_be_in_memory(name: str, settings: Settings) -> None:
    data = written(name, FLOATS, settings)
    assert plain(FORMATS[name].read(data, settings_of(name, settings))) == plain(FLOATS)


@each_format
def test_a_file_that_is_cut_short_is_never_taken_for_the_whole(name: str, settings: Settings) -> None:
    data = written(name, FLOATS, settings)
    for length in sorted({*range(0, len(data), max(1, len(data) // 100)), len(data) - 1}):
        try:
            found = FORMATS[name].read(data[:length], settings_of(name, settings))
        except DemitasseError:
            continue
        assert plain(found) != plain(FLOATS), f"{length} of {len(data)} bytes"


@each_format
def test_a_damaged_file_ends_in_a_typed_error_or_in_values(name: str, settings: Settings) -> None:
    data, rng = written(name, FLOATS, settings), np.random.default_rng(1)
    for _ in range(100):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        with suppress(DemitasseError):
            FORMATS[name].read(bytes(broken), settings_of(name, settings))


@each_format
def test_a_file_that_is_missing_is_named(name: str, settings: Settings) -> None:
    with pytest.raises(FileFormatError, match=r"^missing\.file: (there is no such file|cannot be read)"):
        FORMATS[name].read(Path("missing.file"), settings_of(name, settings))


@each_format
def test_metadata_comes_back_where_there_is_a_place_for_it(name: str, settings: Settings) -> None:
    if not FORMATS[name].keeps_metadata:
        pytest.skip("has none")
    texts = {"who": "me", "": "ü\n", "long": "x" * 10_000}
    found = FORMATS[name].read(written(name, FLOATS._replace(metadata=texts), settings), settings_of(name, settings))
    assert dict(found.metadata) == texts


@each_format
def test_tensors_of_several_names_come_back_under_each(name: str, settings: Settings) -> None:
    if name in NAMELESS or name == "onnx":
        pytest.skip("each tensor has one place in the net")
    first = FLOATS.tensors[0]
    given = Contents([first, first._replace(name="twin.0")])
    found = FORMATS[name].read(written(name, given, settings), settings_of(name, settings))
    assert plain(found) == plain(given)
    again = Contents([first], {}, {"twin.0": "ip.0"})
    assert plain(FORMATS["demi"].read(written("demi", again, settings), settings)) == plain(given)


@each_format
def test_through_a_packed_file(name: str, settings: Settings, tmp_path: Path) -> None:
    if name == "demi":
        pytest.skip("is the packed file")
    data = written(name, FLOATS, settings)
    (tmp_path / "given").write_bytes(data)
    net = settings_of(name, settings).net
    pack(tmp_path / "given", tmp_path / "packed.demi", name, net=net, signed_zeros=True)
    unpack(tmp_path / "packed.demi", tmp_path / "back", name)
    assert plain(FORMATS[name].read(tmp_path / "back", settings_of(name, settings))) == plain(FLOATS)


def test_what_is_refused_leaves_no_file(tmp_path: Path) -> None:
    demitasse.save({"ip.0": torch.zeros(2, dtype=torch.int64)}, tmp_path / "a.demi")
    before = sorted(tmp_path.iterdir())
    for name in ("caffemodel", "hdf5", "net", "onnx", *CODECS):
        with pytest.raises((WeightsError, UsageError)):
            unpack(tmp_path / "a.demi", tmp_path / "out", name)
    assert sorted(tmp_path.iterdir()) == before


def test_suffixes_are_told_apart() -> None:
    every = [suffix for name in FORMATS for suffix in FORMATS[name].suffixes]
    assert len(every) == len(set(every))
    assert all(FORMATS[name].name == name for name in FORMATS)
