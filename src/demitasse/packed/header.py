"""The header of a file: its tensors and payloads.

The model of bytes codes the header. A primer of common words trains the model beforehand, so that the names of a small
net take only a few bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.codecs import CODECS
from demitasse.packed.codecs.numbers import code_bytes
from demitasse.packed.palettes import SCALED
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import DTYPES, DType, Part, Tensor, checksum_of, part_of, parts

T = TypeVar("T")

MAGIC = b"demi"
# the newest version; files without scales of rows have the first
VERSION = 2

# text that many headers contain; changing it changes the version of the format
PRIMER = (
    b'layer {\n  name: "conv1"\n  type: "Convolution"\n  bottom: "data"\n  top: "conv1"\n'
    b"  param {\n    lr_mult: 1\n    decay_mult: 1\n  }\n  convolution_param {\n    num_output: 64\n    pad: 1\n"
    b'    kernel_size: 3\n    stride: 1\n    weight_filler {\n      type: "xavier"\n    }\n    bias_filler {\n'
    b'      type: "constant"\n      value: 0\n    }\n  }\n}\n'
    b'name: "LeNet"\n'
    b'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 28 dim: 28 } } }\n'
    b'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"\n'
    b'  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }\n'
    b'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }\n'
    b'layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"\n'
    b"  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n"
    b'layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1"\n'
    b'  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }\n'
    b'layer { name: "prob" type: "Softmax" bottom: "ip1" top: "prob" }\n'
    b"definition\0compact\0format\0pt\0BatchNorm Scale DNSConvolution DNSInnerProduct INQConvolution INQInnerProduct\0"
    b"CConvolution CConvolution CInnerProduct CInnerProduct\0"
    b"caffe\0Convolution Convolution InnerProduct InnerProduct\0"
    b"model.embed_tokens.weight\0model.layers.0.self_attn.q_proj.weight\0model.layers.0.mlp.down_proj.weight\0"
    b"model.layers.0.input_layernorm.weight\0transformer.h.0.attn.c_attn.weight\0lm_head.weight\0"
    b"features.0.weight\0features.0.bias\0classifier.6.weight\0classifier.6.bias\0"
    b"conv1.weight\0bn1.weight\0bn1.bias\0bn1.running_mean\0bn1.running_var\0bn1.num_batches_tracked\0"
    b"layer1.0.conv1.weight\0layer1.0.bn1.weight\0layer1.0.bn1.bias\0layer1.0.bn1.running_mean\0"
    b"layer1.0.bn1.running_var\0layer1.0.bn1.num_batches_tracked\0layer1.0.conv2.weight\0layer2.0.downsample.0.weight\0"
    b"layer2.0.downsample.1.weight\0layer3.1.conv1.weight\0layer4.1.bn2.bias\0fc.weight\0fc.bias\0"
    b"fc1.weight\0fc1.bias\0fc2.weight\0fc2.bias\0fc3.weight\0fc3.bias\0"
    b"conv1.0\0conv1.1\0conv2.0\0conv2.1\0ip1.0\0ip1.1\0ip2.0\0ip2.1\0"
    # and the numbers behind these names: types, codecs, dimensions, shapes, settings
    b"\0\0\0\0\0\0\0\0\x09\x08\x08\x08\x08\x08\x08\x08\x04\x01\x04\x01\x02\x01\x02\x01"
    b"\x14\x01\x05\x05\x14\x32\x14\x05\x05\x32\xf4\x03\xa0\x06\xf4\x03\x0a\xf4\x03\x0a"
    b"\x04\x7b\x03\x04\x7c\0\x0c\x7c\x03\x04\x7b\x01\x1c\x7b\x03\x10\x04\x04\x7c\x01\x0c\x7c\x03\x04\x7c\0"
)
# the most bytes of a header before its coded part
FRONT = 32
_MOST_BYTES = 1 << 28
# a header may be this many times as large as its coded form (names of nets reach 20), and any may have this many bytes
_RATIO, _FREE = 64, 1 << 16
_MOST_TENSORS = 1 << 20
_MOST_DIMENSIONS = 32
_LARGEST = 1 << 48
_NO_BITS = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of the file.

    Attributes:
        name: name of the tensor.
        dtype: type of its values.
        shape: shape of the tensor.
        codec: index in :data:`demitasse.packed.codecs.CODECS`.
        settings: the codec's settings.
        begins: whether the tensor begins a payload; otherwise it follows the previous tensor in the same payload.
        cut: whether the tensor is cut into parts, one for each payload; see :func:`demitasse.packed.tensor.parts`.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    codec: int
    settings: bytes
    begins: bool = True
    cut: bool = False

    @property
    def parts(self) -> Iterator[Part]:
        """The parts of the tensor; a single one, the whole tensor, if it is not cut."""
        return parts(self.shape) if self.cut else iter([Part(0, self.shape)])

    @property
    def nbytes(self) -> int:
        """The size of the values in memory."""
        return math.prod(self.shape) * self.dtype.size


@dataclass(frozen=True)
class Payload:
    """A payload of the file.

    Attributes:
        length: length in bytes.
        checksum: CRC-32 of its bytes, followed by the decoded values (little-endian, tensor by tensor).
    """

    length: int
    checksum: int


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        entries: the tensors, in order.
        payloads: the payloads, in order.
        metadata: key -> text.
        aliases: other name of a tensor -> its name among the entries.
        work: the most bytes of memory that decoding a payload needs in addition to the values.
    """

    entries: Sequence[TensorEntry]
    payloads: Sequence[Payload]
    metadata: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    work: int = 0

    @property
    def version(self) -> int:
        """The version of the format that has these tensors."""
        return 2 if any(entry.settings and entry.settings[0] & 3 == SCALED for entry in self.entries) else 1

    @property
    def nbytes(self) -> int:
        """The size of all values in memory."""
        return sum(entry.nbytes for entry in self.entries)

    def pack(self) -> bytes:
        """Returns the bytes of the header, from the magic on."""
        plain = self._plain()
        values = np.frombuffer(PRIMER + plain, np.uint8).copy()
        stream = Stream()
        code_bytes(stream, values, len(PRIMER))
        # padding with zeros tells a reader in advance how large the decoded header may be
        coded = stream.close().ljust(-(-(len(plain) - _FREE) // _RATIO), b"\0")
        front = MAGIC + short(self.version, len(plain), len(coded))
        return front + checksum_of(front + coded + plain).to_bytes(4, "little") + coded

    def _plain(self) -> bytes:
        """Returns the uncoded header, field by field for all tensors, so that similar values are neighbours."""
        out = short(len(self.metadata), len(self.aliases), len(self.entries))
        for key, value in self.metadata.items():
            text = value.encode()
            out += key.encode() + b"\0" + short(len(text)) + text
        names = [entry.name for entry in self.entries]
        out += b"".join(name.encode() + b"\0" for name in (*names, *self.aliases))
        out += short(*(names.index(name) for name in self.aliases.values()))
        out += bytes(DTYPES.index(entry.dtype) for entry in self.entries)
        out += bytes(entry.codec << 2 | entry.cut << 1 | entry.begins for entry in self.entries)
        out += bytes(len(entry.shape) for entry in self.entries)
        out += b"".join(short(*entry.shape) for entry in self.entries)
        out += b"".join(entry.settings for entry in self.entries)
        out += b"".join(short(payload.length) for payload in self.payloads)
        return out + b"".join(payload.checksum.to_bytes(4, "little") for payload in self.payloads)


def length_of(data: bytes, limit: int) -> int:
    """Returns the length of the header.

    Args:
        data: the first FRONT bytes of the file, or the whole file if it is shorter.
        limit: the largest memory for the tensors, in bytes.

    Raises:
        FileFormatError: the bytes do not begin a file of this version.
    """
    reader = ByteReader(data)
    front = _front(reader, limit)
    return reader.offset + front.length


class _Front(NamedTuple):
    """The version, the size of the header, the size of its coded form, the bytes up to the checksum, the checksum."""

    version: int
    size: int
    length: int
    data: bytes
    checksum: int


def _front(reader: ByteReader, limit: int) -> _Front:
    if (magic := reader.raw(len(MAGIC), "magic")) != MAGIC:
        raise FileFormatError(
            f"byte 0: found {magic!r}, expected {MAGIC!r}: not a .demi file; 'demitasse pack' writes one"
        )
    version = reader.number(1 << 32, "version")
    if not 1 <= version <= VERSION:
        raise FileFormatError(f"found version {version}, expected 1 to {VERSION}, which this program reads")
    size = reader.number(_MOST_BYTES, "size of the header")
    if size > limit:
        raise FileFormatError(f"the header needs {size:,} bytes; the limit is {limit:,}")
    length = reader.number(_MOST_BYTES, "size of the coded header")
    if size > _FREE + _RATIO * length:
        most = _FREE + _RATIO * length
        raise FileFormatError(f"found a header of {size:,} bytes coded in {length:,}, expected at most {most:,} bytes")
    return _Front(version, size, length, reader.bytes_since(0), reader.checksum("the header"))


def parse(data: bytes, limit: int) -> tuple[Header, int]:
    """Reads the header of a file.

    Args:
        data: the whole file, or at least its header.
        limit: the largest memory for the tensors, in bytes.

    Returns:
        The header and its length.

    Raises:
        FileFormatError: the header is cut short, corrupt, of another version, or exceeds the limit.
    """
    reader = ByteReader(data)
    front = _front(reader, limit)
    coded = reader.raw(front.length, "header")
    values = np.frombuffer(PRIMER + bytes(front.size), np.uint8).copy()
    try:
        code_bytes(Stream(coded), values, len(PRIMER))
    except FileFormatError as error:
        raise error.within("header") from error
    plain = values[len(PRIMER) :].tobytes()
    if checksum_of(front.data + coded + plain) != front.checksum:
        raise FileFormatError("the checksum of the header is wrong: the file is corrupt")
    try:
        found = _read(ByteReader(plain), limit)
    except FileFormatError as error:
        raise error.within("header") from error
    if front.version != found.version:
        raise FileFormatError(f"found version {front.version}, expected {found.version} for palettes of these kinds")
    return found, reader.offset


def _read(reader: ByteReader, limit: int) -> Header:
    texts = reader.number(_MOST_TENSORS, "pieces of metadata")
    others = reader.number(_MOST_TENSORS, "other names")
    count = reader.number(_MOST_TENSORS, "tensors")
    metadata = {}
    for _ in range(texts):
        key = reader.text("key of metadata")
        if key in metadata:
            raise FileFormatError(f"byte {reader.offset}: metadata {key!r} occurs twice")
        metadata[key] = reader.utf8(reader.number(_MOST_BYTES, "length"), key)
    names = [reader.text("name of a tensor") for _ in range(count)]
    aliases = {reader.text("name of a tensor"): "" for _ in range(others)}
    for alias in aliases:
        aliases[alias] = _chosen(names, reader.number(_MOST_TENSORS, "tensor"), "tensor", reader)
    if len({*names, *aliases}) < count + others:
        raise FileFormatError("two tensors have the same name")
    dtypes = [_chosen(DTYPES, byte, "type", reader) for byte in reader.raw(count, "types")]
    codecs = reader.raw(count, "codecs")
    shapes = [_shape(rank, reader) for rank in reader.raw(count, "dimensions")]
    entries = []
    work = 0
    for name, dtype, flags, shape in zip(names, dtypes, codecs, shapes, strict=True):
        start = reader.offset
        codec = _chosen(CODECS, flags >> 2, "codec", reader)
        entry = TensorEntry(name, dtype, shape, flags >> 2, b"", bool(flags & 1), bool(flags & 2))
        if dtype.complex and shape[-1:] != (2,):
            raise FileFormatError(f"byte {start}: {name}: {dtype.name} has shape {shape}, expected a last axis of 2")
        if entry.cut and not codec.alone:
            raise FileFormatError(f"byte {start}: {name} is cut into parts, which its codec does not allow")
        work = max(work, codec.memory(part_of(blank(entry), next(entry.parts)), reader))
        entries.append(replace(entry, settings=reader.bytes_since(start)))
    _check(entries)
    total = sum(entry.nbytes for entry in entries)
    if total + work > limit:
        raise FileFormatError(f"tensors need {total:,} bytes and decoding {work:,} more; the limit is {limit:,}")
    begun = sum(1 for entry in entries if entry.begins for _ in entry.parts)
    lengths = [reader.number(_LARGEST, "length of a payload") for _ in range(begun)]
    checksums = [reader.checksum("a payload") for _ in range(begun)]
    reader.expect_end()
    return Header(entries, [Payload(*both) for both in zip(lengths, checksums, strict=True)], metadata, aliases, work)


def _shape(rank: int, reader: ByteReader) -> tuple[int, ...]:
    if rank > _MOST_DIMENSIONS:
        raise FileFormatError(f"byte {reader.offset}: found {rank} dimensions, expected at most {_MOST_DIMENSIONS}")
    shape = tuple(reader.number(_LARGEST, "size of a dimension") for _ in range(rank))
    # even if another dimension is 0: no product may overflow
    if math.prod(size or 1 for size in shape) > _LARGEST:
        raise FileFormatError(f"byte {reader.offset}: a tensor of shape {shape} is too large")
    return shape


def _chosen(known: Sequence[T], number: int, what: str, reader: ByteReader) -> T:
    if number >= len(known):
        raise FileFormatError(f"byte {reader.offset}: unknown {what} {number}; expected less than {len(known)}")
    return known[number]


def _check(entries: Sequence[TensorEntry]) -> None:
    alone = True
    for entry in entries:
        # the first tensor begins a payload, and a codec with payloads of its own shares none
        alone |= CODECS[entry.codec].alone
        if alone and not entry.begins:
            raise FileFormatError(f"{entry.name} begins no payload, and there is none that it could share")
        alone = CODECS[entry.codec].alone


def blank(entry: TensorEntry) -> Tensor:
    """Returns the tensor of an entry with empty bits."""
    return Tensor(entry.name, entry.dtype, entry.shape, _NO_BITS)
