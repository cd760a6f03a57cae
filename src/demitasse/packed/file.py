"""A .demi file: tensors to bytes, and back one by one; see docs/format.md."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from demitasse.errors import FileFormatError, UsageError
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.header import Entry, Header, Payload, blank, parse
from demitasse.packed.integers import Cursor
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, Tensor

# tensors share a payload until it holds so many values: a checksum costs as much as two weights of a pruned net
GROUP = 1 << 19
LIMIT = 1 << 32


def pack(tensors: Sequence[Tensor], metadata: Mapping[str, str] | None = None, signed_zeros: bool = False) -> bytes:
    """Returns the bytes of a file.

    Args:
        tensors: in the order in which a net uses them: what is known of one helps with the next.
        metadata: text by key.
        signed_zeros: whether -0.0 stays what it is; else it becomes 0.0.

    Raises:
        UsageError: two tensors have the same name, or a name or key holds a zero character.
    """
    texts = dict(metadata or {})
    names = [tensor.name for tensor in tensors]
    for name in (*names, *texts):
        if "\0" in name:
            raise UsageError(f"{name!r} holds a zero character")
    if len(set(names)) < len(names):
        raise UsageError(f"two tensors are called {max(names, key=names.count)!r}")
    entries: list[Entry] = []
    payloads: list[Payload] = []
    out: list[bytes] = []
    for group in _groups(tensors):
        found, data, values = _pack_group(group if signed_zeros else [_positive_zeros(tensor) for tensor in group])
        entries += found
        out.append(data)
        payloads.append(Payload(len(data), zlib.crc32(values, zlib.crc32(data))))
    return b"".join([Header(entries, payloads, texts).pack(), *out])


def _groups(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for tensor in tensors:
        group.append(tensor)
        if sum(one.size for one in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group


def _positive_zeros(tensor: Tensor) -> Tensor:
    if not tensor.dtype.floating:
        return tensor
    negative = tensor.dtype.bits.type(1 << (8 * tensor.dtype.size - 1))
    return tensor._replace(bits=np.where(tensor.bits == negative, 0, tensor.bits).astype(tensor.dtype.bits))


def _pack_group(tensors: Sequence[Tensor]) -> tuple[list[Entry], bytes, bytes]:
    """Returns the entries, the payload, and the values that it stands for."""
    stream, context, entries = Stream(), Context(), []
    for number, tensor in enumerate(tensors):
        codec, settings = _best(tensor, context)
        entries.append(Entry(tensor.name, tensor.dtype, tensor.shape, codec, settings, not number))
        context = CODECS[codec].encode(tensor, settings, stream, context)
    return entries, stream.close(), b"".join(_little(tensor.bits) for tensor in tensors)


def _best(tensor: Tensor, context: Context) -> tuple[int, bytes]:
    """Returns codec and settings of the fewest bytes, the settings' own among them."""
    sizes = {}
    for number, codec in enumerate(CODECS):
        for settings in codec.settings(tensor, context):
            trial = Stream()
            codec.encode(tensor, settings, trial, context)
            sizes[number, settings] = len(trial.close()) + len(settings)
    return min(sizes, key=lambda choice: (sizes[choice], choice))


def _little(bits: Bits) -> bytes:
    return bits.astype(bits.dtype.newbyteorder("<"), copy=False).tobytes()


class File:
    """A file to read from: nothing is decoded before it is asked for.

    Args:
        data: the bytes of the file.
        name: of the file, for messages.
        limit: most bytes of memory that its tensors may take, all together.

    Raises:
        FileFormatError: the header is broken or asks for more than the limit, or the file has another length.
    """

    def __init__(self, data: bytes, name: str = "data", limit: int = LIMIT) -> None:
        self._data, self.name = data, name
        self.header, self._start = parse(data, name, limit)
        expected = self._start + sum(payload.length for payload in self.header.payloads)
        if len(data) != expected:
            raise FileFormatError(f"{name}: {len(data)} bytes; expected {expected}: cut short, or more was added")

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Tensor -> number of its payload, and its place in it."""
        places, payload, place = {}, -1, 0
        for entry in self.header.entries:
            payload, place = (payload + 1, 0) if entry.begins else (payload, place + 1)
            places[entry.name] = payload, place
        return places

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in order."""
        return [entry.name for entry in self.header.entries]

    def tensor(self, name: str) -> Tensor:
        """Decodes one tensor, with those that share its payload.

        Raises:
            KeyError: there is none of this name.
            FileFormatError: its payload is corrupt.
        """
        payload, place = self._places[name]
        return self._payload(payload)[place]

    def tensors(self) -> Iterator[Tensor]:
        """Decodes one tensor after the other.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for number in range(len(self.header.payloads)):
            yield from self._payload(number)

    def _payload(self, number: int) -> list[Tensor]:
        payload = self.header.payloads[number]
        start = self._start + sum(before.length for before in self.header.payloads[:number])
        data = self._data[start : start + payload.length]
        stream, context, found = Stream(data), Context(), []
        for entry in self.header.entries:
            if self._places[entry.name][0] == number:
                empty, settings = blank(entry), Cursor(entry.settings, f"{self.name}: {entry.name}")
                bits, context = CODECS[entry.codec].decode(empty, settings, stream, context)
                found.append(empty._replace(bits=bits))
        checksum = zlib.crc32(data)
        for tensor in found:
            checksum = zlib.crc32(_little(tensor.bits), checksum)
        if checksum != payload.checksum:
            names = ", ".join(tensor.name for tensor in found[:3]) + (", ..." if len(found) > 3 else "")
            raise FileFormatError(f"{self.name}: byte {start}: the checksum of {names} is wrong: the file is corrupt")
        return found
