"""A .demi file: tensors to bytes, and back one by one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from demitasse.errors import FileFormatError, UsageError
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.header import Entry, Header, Payload, blank, parse
from demitasse.packed.reader import Reader
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
    size = 0
    for tensor in tensors:
        group.append(tensor)
        size += tensor.size
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _positive_zeros(tensor: Tensor) -> Tensor:
    if not tensor.dtype.floating:
        return tensor
    return tensor._replace(bits=np.where(tensor.bits == tensor.dtype.sign, 0, tensor.bits).astype(tensor.dtype.bits))


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


class _Place(NamedTuple):
    """A payload, the byte where it starts, and its tensors."""

    start: int
    payload: Payload
    entries: list[Entry]


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
        try:
            self.header, end = parse(data, limit)
        except FileFormatError as error:
            raise error.within(name) from None
        self._payloads: list[_Place] = []
        for payload in self.header.payloads:
            self._payloads.append(_Place(end, payload, []))
            end += payload.length
        if len(data) != end:
            raise FileFormatError(f"{name}: {len(data)} bytes; expected {end}: cut short, or more was added")
        self._found: dict[str, tuple[int, int]] = {}
        number = -1
        for entry in self.header.entries:
            number += entry.begins
            entries = self._payloads[number].entries
            self._found[entry.name] = number, len(entries)
            entries.append(entry)

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in order."""
        return list(self._found)

    def tensor(self, name: str) -> Tensor:
        """Decodes one tensor, with those that share its payload.

        Raises:
            KeyError: there is none of this name.
            FileFormatError: its payload is corrupt.
        """
        number, place = self._found[name]
        return self._decode(self._payloads[number])[place]

    def tensors(self) -> Iterator[Tensor]:
        """Decodes one tensor after the other.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for place in self._payloads:
            yield from self._decode(place)

    def _decode(self, place: _Place) -> list[Tensor]:
        data = self._data[place.start : place.start + place.payload.length]
        stream, context, found = Stream(data), Context(), []
        checksum = zlib.crc32(data)
        for entry in place.entries:
            empty = blank(entry)
            try:
                bits, context = CODECS[entry.codec].decode(empty, Reader(entry.settings), stream, context)
            except FileFormatError as error:
                raise error.within(f"{self.name}: {entry.name}") from None
            found.append(empty._replace(bits=bits))
            checksum = zlib.crc32(_little(bits), checksum)
        if checksum != place.payload.checksum:
            names = ", ".join(tensor.name for tensor in found[:3]) + (", ..." if len(found) > 3 else "")
            raise FileFormatError(
                f"{self.name}: byte {place.start}: the checksum of {names} is wrong: the file is corrupt"
            )
        return found
