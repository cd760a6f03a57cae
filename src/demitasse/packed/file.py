"""Reads a .demi file: single tensors, or all of them in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Integral
from pathlib import Path
from threading import Event
from typing import NamedTuple

import numpy as np

from demitasse.errors import FileFormatError, UsageError
from demitasse.files import Closing
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.header import FRONT, Header, Payload, TensorEntry, blank, length_of, parse
from demitasse.packed.reader import ByteReader
from demitasse.packed.source import ByteSource
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Part, Tensor, checksum_of, part_of

# default limit of the memory for tensors, in bytes
LIMIT = 1 << 34


class _PayloadPlace(NamedTuple):
    """A payload: the byte where it starts, its tensors, and the part of a tensor that it holds if the tensor is cut."""

    start: int
    payload: Payload
    entries: list[TensorEntry]
    part: Part


class Decoded(NamedTuple):
    """A tensor and its size in the file.

    Attributes:
        tensor: the tensor.
        positions: bytes that say which values are nonzero.
        values: bytes that give the values; where symbols code both, all bytes.
    """

    tensor: Tensor
    positions: float
    values: float


class File(Closing):
    """An open .demi file, which decodes tensors only when they are asked for.

    Args:
        source: the path of the file, or its bytes.
        limit: the largest memory for all tensors together, in bytes.
        threads: number of threads that decode; None for one for each core.

    Attributes:
        name: name of the file, for messages.
        header: the file's header.

    Raises:
        UsageError: ``limit`` or ``threads`` is invalid.
        FileFormatError: there is no such file, the header is broken or exceeds the limit, or the file does not have
            the length that its header gives.
    """

    def __init__(self, source: str | Path | bytes, limit: int = LIMIT, threads: int | None = None) -> None:
        _check_number("limit", limit, 0)
        if threads is not None:
            _check_number("threads", threads, 1)
        self._kept: tuple[int, list[Decoded]] | None = None
        self._given = source, limit, threads
        self._source = ByteSource(source)
        self.name = self._source.name
        try:
            self.header = self._open(limit)
        except FileFormatError as error:
            self.close()
            raise error.within(self.name) from error
        free = (limit - self.header.nbytes) // max(self.header.work, 1)
        self._threads = max(1, min(threads or _cores(), free))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles the arguments, so that another process opens the file itself."""
        return type(self), self._given

    def _open(self, limit: int) -> Header:
        length = length_of(self._source.read(0, FRONT), limit)
        header, end = parse(self._source.read(0, length), limit)
        payloads = iter(header.payloads)
        self._places: list[_PayloadPlace] = []
        self._found: dict[str, tuple[int, int]] = {}
        for entry in header.entries:
            for part in entry.parts if entry.begins else ():
                place = _PayloadPlace(end, next(payloads), [], part)
                end += place.payload.length
                if part.start == 0:
                    self._found[entry.name] = len(self._places), 0
                self._places.append(place)
                place.entries.append(entry)
            if not entry.begins:
                self._found[entry.name] = len(self._places) - 1, len(self._places[-1].entries)
                self._places[-1].entries.append(entry)
        self._aliases: dict[str, list[str]] = {}
        for alias, name in header.aliases.items():
            self._aliases.setdefault(name, []).append(alias)
        if self._source.size != end:
            raise FileFormatError(
                f"found {self._source.size} bytes, expected {end}: the file is cut short or has bytes at the end"
            )
        return header

    def close(self) -> None:
        """Closes the file."""
        self._kept = None
        self._source.close()

    @property
    def names(self) -> list[str]:
        """The names of the tensors in order, each followed by its aliases."""
        return [each for name in self._found for each in (name, *self._aliases.get(name, ()))]

    def tensor(self, name: str) -> Tensor:
        """Decodes one tensor, and keeps the others of its payload until another payload is read.

        Raises:
            KeyError: there is no tensor of this name.
            FileFormatError: the payload is corrupt.
        """
        number, place = self._found[self.header.aliases.get(name, name)]
        entries = self._places[number].entries
        if len(entries) == 1:
            last = number + sum(1 for _ in entries[0].parts)
            return next(self._measured(self._places[number:last])).tensor._replace(name=name)
        kept = self._kept  # a local variable, since other threads may replace it
        if kept is None or kept[0] != number:
            self._kept = kept = number, self._decode(self._places[number])
        tensor = kept[1][place].tensor
        return tensor._replace(name=name, bits=tensor.bits.copy())

    def tensors(self) -> Iterator[Tensor]:
        """Yields all tensors in order, and decodes a few payloads ahead.

        Yields a tensor with several names once for each of them, with the same memory.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for tensor, *_ in self.measured():
            yield tensor
            for alias in self._aliases.get(tensor.name, ()):
                yield tensor._replace(name=alias)

    def pieces(self) -> Iterator[tuple[TensorEntry, Tensor]]:
        """Yields all tensors in order, each once, those that are cut part by part, and decodes a few payloads ahead.

        Yields the entry of a tensor, and the tensor or its next part, which has the shape of the part.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for place, found in zip(self._places, self._decoded(self._places), strict=True):
            for entry in place.entries:
                yield entry, found.pop(0).tensor

    def measured(self) -> Iterator[Decoded]:
        """Yields all tensors in order, each once, with their sizes in the file.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        return self._measured(self._places)

    def _measured(self, places: Sequence[_PayloadPlace]) -> Iterator[Decoded]:
        whole: Decoded | None = None
        for place, found in zip(places, self._decoded(places), strict=True):
            entry = place.entries[0]
            if not entry.cut:
                yield from found
                continue
            if whole is None:
                empty = blank(entry)
                whole = Decoded(empty._replace(bits=np.empty(empty.size, entry.dtype.bits)), 0.0, 0.0)
            ((part, positions, values),) = found
            end = place.part.start + part.size
            whole.tensor.bits[place.part.start : end] = part.bits
            whole = Decoded(whole.tensor, whole.positions + positions, whole.values + values)
            if end == whole.tensor.size:
                yield whole
                whole = None

    def _decoded(self, places: Sequence[_PayloadPlace]) -> Iterator[list[Decoded]]:
        """Yields the tensors of each payload in order; only a few payloads are in memory at a time."""
        threads = min(self._threads, len(places))
        if threads < 2:
            yield from map(self._decode, places)
            return
        ahead: deque[Future[list[Decoded]]] = deque()
        stop = Event()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for place in places:
                    ahead.append(pool.submit(self._decode, place, stop))
                    if len(ahead) > threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                stop.set()
                for waiting in ahead:
                    waiting.cancel()

    def _decode(self, place: _PayloadPlace, stop: Event | None = None) -> list[Decoded]:
        data = self._source.read(place.start, place.payload.length)
        stream, context = Stream(data, stop), Context()
        found: list[Decoded] = []
        for entry in place.entries:
            before = stream.spent.copy()
            empty = part_of(blank(entry), place.part) if entry.cut else blank(entry)
            try:
                bits, context = CODECS[entry.codec].decode(empty, ByteReader(entry.settings), stream, context)
                if entry.dtype.name == "bool" and bits.max(initial=0) > 1:
                    raise FileFormatError(f"found {bits.max()} as a bool, expected 0 or 1")
            except FileFormatError as error:
                raise error.within(f"{self.name}: {entry.name}") from error
            found.append(Decoded(empty._replace(bits=bits), *(stream.spent - before).tolist()))
        if checksum_of(data, (tensor for tensor, *_ in found)) != place.payload.checksum:
            names = ", ".join(tensor.name for tensor, *_ in found[:3]) + (", ..." if len(found) > 3 else "")
            raise FileFormatError(
                f"{self.name}: byte {place.start}: the checksum of {names} is wrong: the file is corrupt"
            )
        return found


def _check_number(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} is {value!r}; expected a whole number, {least} or more")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
