"""A .demi file to read from: tensors one by one, or all in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.header import FRONT, Entry, Header, Payload, blank, length_of, parse
from demitasse.packed.reader import Reader
from demitasse.packed.source import Source
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Part, Tensor, checksum_of

# bytes
LIMIT = 1 << 34


class _Place(NamedTuple):
    """A payload: the byte where it starts, the tensors in it, and which part of them; all of them unless one is cut."""

    start: int
    payload: Payload
    entries: list[Entry]
    part: Part


class Cost(NamedTuple):
    """Bytes that a tensor takes: positions of what is not zero, and values, or both where a symbol tells both."""

    name: str
    positions: float
    values: float


class File:
    """A file to read from: nothing is decoded before it is asked for.

    Args:
        source: the path of the file, or its bytes.
        limit: most bytes of memory that its tensors may take, all together.
        threads: that decode; None for as many as there are cores.

    Attributes:
        name: of the file, for messages.
        header: what the file says about itself.

    Raises:
        FileFormatError: there is no such file, the header is broken or asks for more than the limit, or the file has
            another length.
    """

    def __init__(self, source: str | Path | bytes, limit: int = LIMIT, threads: int | None = None) -> None:
        self._source = Source(source)
        self.name = self._source.name
        self._places: list[_Place] = []
        self._found: dict[str, tuple[int, int]] = {}
        try:
            self.header, end = self._open(limit)
        except FileFormatError as error:
            self.close()
            raise error.within(self.name) from None
        if self._source.size != end:
            self.close()
            raise FileFormatError(
                f"{self.name}: {self._source.size} bytes; expected {end}: cut short, or more was added"
            )
        free = (limit - self.header.nbytes) // max(self.header.work, 1)
        self._threads = max(1, min(threads or _cores(), free))

    def _open(self, limit: int) -> tuple[Header, int]:
        length = length_of(self._source.read(0, FRONT), limit)
        header, end = parse(self._source.read(0, length), limit)
        payloads = iter(header.payloads)
        for entry in header.entries:
            for part in entry.parts if entry.begins else ():
                place = _Place(end, next(payloads), [], part)
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
        return header, end

    def __enter__(self) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._source.close()

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in order, each followed by its other names."""
        return [each for name in self._found for each in (name, *self._aliases.get(name, ()))]

    def tensor(self, name: str) -> Tensor:
        """Decodes one tensor, with those that share its payload.

        Raises:
            KeyError: there is none of this name.
            FileFormatError: its payload is corrupt.
        """
        number, place = self._found[self.header.aliases.get(name, name)]
        entry = self._places[number].entries[place]
        last = number + sum(1 for _ in entry.parts)
        return list(self._tensors(self._places[number:last]))[place]._replace(name=name)

    def tensors(self) -> Iterator[Tensor]:
        """Decodes one tensor after the other; a few payloads are decoded ahead.

        One with several names comes once with each, with the same memory.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for tensor in self._tensors(self._places):
            yield tensor
            for alias in self._aliases.get(tensor.name, ()):
                yield tensor._replace(name=alias)

    def _tensors(self, places: Sequence[_Place]) -> Iterator[Tensor]:
        whole: Tensor | None = None
        for place, found in zip(places, self._decoded(places), strict=True):
            entry = place.entries[0]
            if not entry.cut:
                yield from found
                continue
            if whole is None:
                whole = blank(entry)
                whole = whole._replace(bits=np.empty(whole.size, entry.dtype.bits))
            end = place.part.start + found[0].size
            whole.bits[place.part.start : end] = found[0].bits
            if end == whole.size:
                yield whole
                whole = None

    def _decoded(self, places: Sequence[_Place]) -> Iterator[list[Tensor]]:
        """Yields what the payloads hold, in order; the memory is that of a few."""
        threads = min(self._threads, len(places))
        if threads < 2:
            yield from map(self._decode, places)
            return
        ahead: deque[Future[list[Tensor]]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for place in places:
                    ahead.append(pool.submit(self._decode, place))
                    if len(ahead) > threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def costs(self) -> list[Cost]:
        """Decodes all tensors; returns what each takes of the payloads.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        found: dict[str, Cost] = {}
        for place in self._places:
            costs: list[Cost] = []
            self._decode(place, costs)
            for cost in costs:
                old = found.get(cost.name, Cost(cost.name, 0.0, 0.0))
                found[cost.name] = Cost(cost.name, old.positions + cost.positions, old.values + cost.values)
        return list(found.values())

    def _decode(self, place: _Place, costs: list[Cost] | None = None) -> list[Tensor]:
        data = self._source.read(place.start, place.payload.length)
        stream, context, found = Stream(data), Context(), []
        for entry in place.entries:
            before = stream.spent.copy()
            empty = blank(entry)._replace(shape=place.part.shape) if entry.cut else blank(entry)
            try:
                bits, context = CODECS[entry.codec].decode(empty, Reader(entry.settings), stream, context)
                if entry.dtype.name == "bool" and bits.max(initial=0) > 1:
                    raise FileFormatError(f"a bool is {bits.max()}")
            except FileFormatError as error:
                raise error.within(f"{self.name}: {entry.name}") from None
            found.append(empty._replace(bits=bits))
            if costs is not None:
                costs.append(Cost(entry.name, *(stream.spent - before).tolist()))
        if checksum_of(data, found) != place.payload.checksum:
            names = ", ".join(tensor.name for tensor in found[:3]) + (", ..." if len(found) > 3 else "")
            raise FileFormatError(
                f"{self.name}: byte {place.start}: the checksum of {names} is wrong: the file is corrupt"
            )
        return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
