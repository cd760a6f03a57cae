"""Files that are broken, by chance or on purpose: a typed error, or the tensors that the header declares."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demitasse.errors import FileFormatError
from demitasse.packed import file, header
from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES, Tensor, of_array
from demitasse.packed.writer import pack
from tests.packed.test_file import equal, pruned, small

# a reader may use this much beside what the header declares, and the header may declare this much
LIMIT = 1 << 24
# bytes of tensors that a test takes the time to decode
MOST = 1 << 19


def scaled(shape: tuple[int, ...], axis: int) -> Tensor:
    """Returns whole numbers times scales along an axis."""
    rng = np.random.default_rng(4)
    scales = np.exp2(rng.integers(-9, -5, shape[axis])) * (1 + rng.integers(0, 16, shape[axis]) / 16)
    numbers = rng.integers(-7, 8, shape) * np.expand_dims(scales, tuple(k for k in range(len(shape)) if k != axis))
    return of_array(f"scaled {axis}", numbers.astype(np.float32))


def planes() -> list[Tensor]:
    """Returns tensors that are large enough for planes."""
    rare = pruned((128, 128), 0.02).view(np.int32)
    return [
        of_array("symbols", pruned((128, 128), 0.05, 5)),
        of_array("numbers", np.where(rare == 0, 7, rare % 1000)),
        of_array("some", rare.view(np.float32)),
        scaled((64, 128), 0),
    ]


@cache
def files() -> tuple[bytes, ...]:
    """Returns small files, which hold all codecs."""
    return (
        pack(small(), {"kind": "a net"}, aliases={"tied": "fc1.weight"}),
        pack(small()[:4]),
        pack(planes(), smallest=False),
        pack([scaled((12, 4, 3), 0), scaled((9, 20), 1)]),
    )


def read(data: bytes) -> list[Tensor]:
    """Reads a file with a limit; what comes out is what the header says."""
    opened = File(data, LIMIT, threads=1)
    if opened.header.nbytes > MOST:
        return []
    found = list(opened.tensors())
    declared = {entry.name: entry for entry in opened.header.entries}
    for tensor in found:
        entry = declared[opened.header.aliases.get(tensor.name, tensor.name)]
        assert (tensor.dtype, tensor.shape) == (entry.dtype, entry.shape)
        assert len(tensor.bits) == tensor.size
    return found


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Returns the data with a few bytes changed, left out, doubled or moved."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randrange(len(broken)) for _ in range(2))
        kind = rng.randrange(10)
        if kind < 7:
            broken[at] ^= rng.randint(1, 255)
        elif kind == 7:
            del broken[at : min(to, at + 8)]
        elif kind == 8:
            broken[to:to] = broken[at : at + 8]
        else:
            broken[at] = rng.choice([0, 127, 128, 255])
        if not broken:
            break
    return bytes(broken)


@pytest.mark.parametrize("number", range(4))
def test_every_truncation_is_refused(number: int) -> None:
    data = files()[number]
    for length in range(len(data)):
        with pytest.raises(FileFormatError, match=r"^data: "):
            File(data[:length])


def refused(data: bytes, seed: int, count: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        broken = mutated(data, rng)
        if broken != data:
            with pytest.raises(FileFormatError):
                read(broken)


@pytest.mark.parametrize("number", range(4))
def test_no_mutation_goes_unseen(number: int) -> None:
    refused(files()[number], number, 300)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_none_of_100_000_mutations_goes_unseen(number: int) -> None:
    refused(files()[number], 10 + number, 33_334)


class Anything:
    """Equals every checksum."""

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = None  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every checksum pass, as those do that an attacker makes."""
    files()
    monkeypatch.setattr(file, "checksum_of", lambda *_: Anything())
    monkeypatch.setattr(header, "checksum_of", lambda *_: Anything())


def survived(data: bytes, seed: int, count: int) -> None:
    rng = random.Random(seed)
    read_some = 0
    for _ in range(count):
        try:
            read(mutated(data, rng))
            read_some += 1
        except FileFormatError:
            pass
    assert read_some


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("number", range(4))
def test_wrong_bytes_with_right_checksums_do_no_harm(number: int) -> None:
    survived(files()[number], 20 + number, 300)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("number", range(4))
def test_many_wrong_bytes_with_right_checksums_do_no_harm(number: int) -> None:
    survived(files()[number], 30 + number, 10_000)


def test_a_header_that_declares_more_than_the_limit(tmp_path: Path) -> None:
    data = pack([of_array(str(number), np.zeros((1000, 1000), np.float64)) for number in range(5)])
    assert len(data) < 300
    with pytest.raises(FileFormatError, match=r"header: tensors need 40,000,000 bytes .* the limit is 16,777,216"):
        File(data, LIMIT)


@st.composite
def tensors(draw: st.DrawFn) -> list[Tensor]:
    found = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(DTYPES))
        shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4))) + ((2,) if kind.complex else ())
        size = int(np.prod(shape))
        values = st.integers(0, 1 if kind.name == "bool" else 2 ** (8 * kind.size) - 1)
        chosen = draw(st.lists(values, min_size=1, max_size=5))
        picks = st.lists(st.sampled_from(chosen) | st.just(0), min_size=size, max_size=size)
        found.append(Tensor(f"t{number}", kind, shape, np.array(draw(picks), kind.bits)))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(tensors(), st.dictionaries(st.text("abcé"), st.text("ab\0ü"), max_size=2))
def test_whatever_goes_in_comes_out(given_tensors: list[Tensor], metadata: dict[str, str]) -> None:
    opened = File(pack(given_tensors, metadata, signed_zeros=True))
    assert all(equal(*both) for both in zip(given_tensors, opened.tensors(), strict=True))
    assert opened.header.metadata == metadata


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, b"demi\1" + noise):
        with pytest.raises(FileFormatError):
            read(data)


def test_a_bool_is_0_or_1() -> None:
    data = pack([Tensor("mask", next(kind for kind in DTYPES if kind.name == "bool"), (3,), np.array([0, 1, 2], "u1"))])
    with pytest.raises(FileFormatError, match="mask: found 2 as a bool"):
        read(data)
