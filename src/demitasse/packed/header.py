"""The header of a file: what it holds and where; see docs/format.md.

It is coded by the model of bytes, which a list of common words primes, so that the names of a small net cost a few
bytes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.codecs import CODECS
from demitasse.packed.codecs.numbers import code_bytes
from demitasse.packed.integers import Cursor, put
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import DTYPES, DType, Tensor

T = TypeVar("T")

MAGIC = b"demi"
VERSION = 1

# what nets often say; a change of it is a change of the version
PRIMER = (
    b"\x00caffe\x00layers\x00Convolution InnerProduct BatchNorm Scale\x00"
    b"model.embed_tokens.weight\0model.layers.0.self_attn.q_proj.weight\0model.layers.0.mlp.down_proj.weight\0"
    b"model.layers.0.input_layernorm.weight\0transformer.h.0.attn.c_attn.weight\0lm_head.weight\0"
    b"features.0.weight\0features.0.bias\0classifier.6.weight\0classifier.6.bias\0"
    b"conv1.weight\0bn1.weight\0bn1.bias\0bn1.running_mean\0bn1.running_var\0bn1.num_batches_tracked\0"
    b"layer1.0.conv1.weight\0layer1.0.bn1.weight\0layer1.0.bn1.bias\0layer1.0.bn1.running_mean\0"
    b"layer1.0.bn1.running_var\0layer1.0.bn1.num_batches_tracked\0layer1.0.conv2.weight\0layer2.0.downsample.0.weight\0"
    b"layer2.0.downsample.1.weight\0layer3.1.conv1.weight\0layer4.1.bn2.bias\0fc.weight\0fc.bias\0"
    b"fc1.weight\0fc1.bias\0fc2.weight\0fc2.bias\0fc3.weight\0fc3.bias\0"
    b"conv1.0\0conv1.1\0conv2.0\0conv2.1\0ip1.0\0ip1.1\0ip2.0\0ip2.1\0"
)
_MOST_BYTES = 1 << 28
_MOST_TENSORS = 1 << 20
_MOST_DIMENSIONS = 32
_LARGEST = 1 << 48
_NO_BITS = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Entry:
    """A tensor of the file.

    Attributes:
        name: of the tensor.
        dtype: of its values.
        shape: of the tensor.
        codec: place in :data:`demitasse.packed.codecs.CODECS`.
        settings: of the codec.
        begins: whether a payload begins with it; else it goes on in that of the tensor before.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    codec: int
    settings: bytes
    begins: bool

    @property
    def nbytes(self) -> int:
        """The size of the values in memory."""
        return math.prod(self.shape) * self.dtype.size


@dataclass(frozen=True)
class Payload:
    """A stream of the file.

    Attributes:
        length: in bytes.
        checksum: CRC-32 of its bytes, followed by the values that come of it (little-endian, tensor by tensor).
    """

    length: int
    checksum: int


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes:
        entries: its tensors, in order.
        payloads: its streams, in order.
        metadata: text by key.
    """

    entries: Sequence[Entry]
    payloads: Sequence[Payload]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Returns the bytes of the header, from the magic on."""
        plain = self._plain()
        values = np.frombuffer(PRIMER + plain, np.uint8).copy()
        stream = Stream()
        code_bytes(stream, values, len(PRIMER))
        coded = stream.close()
        front = MAGIC + put(VERSION, len(plain), len(coded))
        return front + zlib.crc32(front + coded + plain).to_bytes(4, "little") + coded

    def _plain(self) -> bytes:
        """Returns all of it, kind by kind: like stands beside like."""
        out = put(len(self.metadata), len(self.entries))
        for key, value in self.metadata.items():
            text = value.encode()
            out += key.encode() + b"\0" + put(len(text)) + text
        out += b"".join(entry.name.encode() + b"\0" for entry in self.entries)
        out += bytes(DTYPES.index(entry.dtype) for entry in self.entries)
        out += bytes(2 * entry.codec + entry.begins for entry in self.entries)
        out += bytes(len(entry.shape) for entry in self.entries)
        out += b"".join(put(*entry.shape) for entry in self.entries)
        out += b"".join(entry.settings for entry in self.entries)
        out += b"".join(put(payload.length) for payload in self.payloads)
        return out + b"".join(payload.checksum.to_bytes(4, "little") for payload in self.payloads)


def parse(data: bytes, name: str, limit: int) -> tuple[Header, int]:
    """Reads the header of a file.

    Args:
        data: the whole file, or as much of it as holds the header.
        name: of the file, for messages.
        limit: most bytes of memory that the tensors may take.

    Returns:
        The header and its length.

    Raises:
        FileFormatError: it is cut short, corrupt, of another version, or asks for more than the limit.
    """
    cursor = Cursor(data, name)
    if cursor.take(len(MAGIC), "magic") != MAGIC:
        raise FileFormatError(f"{name}: byte 0: found {data[:4]!r}, expected {MAGIC!r}: not a .demi file")
    version = cursor.number(1 << 32, "version")
    if version != VERSION:
        raise FileFormatError(f"{name}: version {version}; this program reads version {VERSION}")
    size = cursor.number(min(_MOST_BYTES, limit), "size of the header")
    length = cursor.number(_MOST_BYTES, "size of the coded header")
    front = data[: cursor.offset]
    checksum = int.from_bytes(cursor.take(4, "checksum of the header"), "little")
    coded = cursor.take(length, "header")
    # a byte of it costs 8 decisions of at least 2^-16 each
    if size > (length + 4) << 13:
        raise FileFormatError(f"{name}: a header of {size} bytes cannot come of {length}")
    values = np.frombuffer(PRIMER + bytes(size), np.uint8).copy()
    code_bytes(Stream(coded), values, len(PRIMER))
    plain = values[len(PRIMER) :].tobytes()
    if zlib.crc32(front + coded + plain) != checksum:
        raise FileFormatError(f"{name}: the checksum of the header is wrong: the file is corrupt")
    inner = Cursor(plain, f"{name}: header")
    header = _read(inner)
    inner.finish()
    _check(header, name, limit)
    return header, cursor.offset


def _read(cursor: Cursor) -> Header:
    texts = cursor.number(_MOST_TENSORS, "pieces of metadata")
    count = cursor.number(_MOST_TENSORS, "tensors")
    metadata = {}
    for _ in range(texts):
        key = cursor.text("key of metadata")
        metadata[key] = cursor.decoded(cursor.number(_MOST_BYTES, "length"), key)
    names = [cursor.text("name of a tensor") for _ in range(count)]
    dtypes = [_chosen(DTYPES, byte, "type", cursor) for byte in cursor.take(count, "types")]
    codecs = cursor.take(count, "codecs")
    ranks = cursor.take(count, "dimensions")
    shapes = [_shape(rank, cursor) for rank in ranks]
    entries = []
    for name, dtype, byte, shape in zip(names, dtypes, codecs, shapes, strict=True):
        start = cursor.offset
        _chosen(CODECS, byte >> 1, "codec", cursor).memory(Tensor(name, dtype, shape, _NO_BITS), cursor)
        entries.append(Entry(name, dtype, shape, byte >> 1, cursor.since(start), bool(byte & 1)))
    begun = sum(entry.begins for entry in entries)
    lengths = [cursor.number(_LARGEST, "length of a payload") for _ in range(begun)]
    checksums = [int.from_bytes(cursor.take(4, "checksum of a payload"), "little") for _ in range(begun)]
    return Header(entries, [Payload(*both) for both in zip(lengths, checksums, strict=True)], metadata)


def _shape(rank: int, cursor: Cursor) -> tuple[int, ...]:
    if rank > _MOST_DIMENSIONS:
        raise FileFormatError(f"{cursor.place}: {rank} dimensions; expected at most {_MOST_DIMENSIONS}")
    shape = tuple(cursor.number(_LARGEST, "size of a dimension") for _ in range(rank))
    # also where another dimension is 0: no product may overflow
    if math.prod(size or 1 for size in shape) > _LARGEST:
        raise FileFormatError(f"{cursor.place}: a tensor of shape {shape} is too large")
    return shape


def _chosen(known: Sequence[T], number: int, what: str, cursor: Cursor) -> T:
    if number >= len(known):
        raise FileFormatError(f"{cursor.place}: {what} {number} is not known")
    return known[number]


def _check(header: Header, name: str, limit: int) -> None:
    names = [entry.name for entry in header.entries]
    if len(set(names)) < len(names):
        raise FileFormatError(f"{name}: two tensors have the same name")
    if header.entries and not header.entries[0].begins:
        raise FileFormatError(f"{name}: the first tensor begins no payload")
    total = sum(entry.nbytes for entry in header.entries)
    work = max((memory_of(entry) for entry in header.entries), default=0)
    if total + work > limit:
        raise FileFormatError(
            f"{name}: its tensors take {total:,} bytes and decoding {work:,} more; the limit is {limit:,}"
        )


def memory_of(entry: Entry) -> int:
    """Returns the bytes that decoding a tensor needs besides its values."""
    return CODECS[entry.codec].memory(blank(entry), Cursor(entry.settings, entry.name))


def blank(entry: Entry) -> Tensor:
    """Returns the tensor of an entry, without values."""
    return Tensor(entry.name, entry.dtype, entry.shape, _NO_BITS)
