"""Reads the file of an LMDB: a tree of pages, in which every number is checked before it is used.

LMDB itself trusts the file, and crashes on a damaged page. Here a damaged page raises DataError. Each reader sees the
file as it was when it was opened; a file that replaces it under the same name is another file.

Reference: LMDB 0.9, mdb.c (``MDB_page``, ``MDB_meta``, ``MDB_node``), on machines of 64 bits, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from demitasse.errors import DataError

Record = tuple[bytes, bytes]

_HEADER = struct.Struct("<QHHHH")  # page number, padding, flags, lower, upper
_META = struct.Struct("<II16xIHH40xIHHQQQQQQQ")
_NODE = struct.Struct("<HHHH")  # low and high half of a size, flags, length of the key
_META_SIZE = _HEADER.size + _META.size
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _PLAIN = 1, 0  # flags of a node: its value has pages of its own, or not
_NO_PAGE = 2**64 - 1
_MOST_DEPTH = 32  # LMDB's limit
_PAGES = {1 << power for power in range(8, 17)}  # possible page sizes


class _Meta(NamedTuple):
    """The content of a meta page."""

    page_size: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class Pages:
    """The records of ``data.mdb``.

    Args:
        path: the file.

    Attributes:
        count: the number of records.

    Raises:
        DataError: the file is not an LMDB, is cut short, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable LMDB: {error}") from error
        self._meta = self._newest_meta()
        self.count = self._meta.entries
        needed = (self._meta.last_page + 1) * self._meta.page_size
        if len(self._map) < needed:
            raise DataError(f"{path}: cut short: found {len(self._map)} bytes; expected {needed}")

    def close(self) -> None:
        """Closes the file."""
        self._map.close()

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yields (key, value) in the order of the keys, from record ``start``.

        Raises:
            DataError: a page is damaged.
        """
        seen = 0
        for page in self._leaves():
            nodes = self._nodes(page, _LEAF)
            for node in nodes[max(start - seen, 0) :]:
                yield self._record(page, node)
            seen += len(nodes)
            if seen > self.count:
                break
        if seen != self.count:
            raise DataError(f"{self._path}: damaged: found {seen} records; expected {self.count}, as the header says")

    def _newest_meta(self) -> _Meta:
        first = self._read_meta(0)
        if first is None:
            raise DataError(f"{self._path}: not a readable LMDB: it has no header")
        second = self._read_meta(first.page_size)
        return first if second is None or second.transaction <= first.transaction else second

    def _read_meta(self, at: int) -> _Meta | None:
        if len(self._map) < at + _META_SIZE:
            return None
        magic, version, page_size, _, _, _, flags, depth, _, _, _, entries, root, last_page, transaction = (
            _META.unpack_from(self._map, at + _HEADER.size)
        )
        if magic != _MAGIC or page_size not in _PAGES:
            return None
        if version != _VERSION or flags:
            raise DataError(f"{self._path}: found an LMDB of version {version} with flags {flags}; expected 1 and 0")
        return _Meta(page_size, depth, entries, root, last_page, transaction)

    def _leaves(self) -> Iterator[int]:
        """Yields the numbers of the leaf pages in the order of their keys."""
        if self._meta.root == _NO_PAGE:
            return
        if self._meta.depth > _MOST_DEPTH:
            raise self._damaged(
                self._meta.root, f"the tree has depth {self._meta.depth}; expected at most {_MOST_DEPTH}"
            )
        stack = [(self._meta.root, 1)]
        while stack:
            page, depth = stack.pop()
            if depth == self._meta.depth:
                yield page
                continue
            children = [self._child(page, node) for node in self._nodes(page, _BRANCH)]
            stack += [(child, depth + 1) for child in reversed(children)]

    def _nodes(self, page: int, kind: int) -> list[int]:
        """Returns the offsets in the file of the nodes of a page."""
        size = self._meta.page_size
        begin = self._place(page, size)
        number, _, flags, lower, _ = _HEADER.unpack_from(self._map, begin)
        if number != page or flags & 0xF != kind:
            raise self._damaged(page, f"it has number {number} and flags {flags}")
        count = (lower - _HEADER.size) // 2
        if not 0 < count <= (size - _HEADER.size) // 2:
            raise self._damaged(page, f"it has {count} entries")
        offsets = struct.unpack_from(f"<{count}H", self._map, begin + _HEADER.size)
        if max(offsets) > size - _NODE.size:
            raise self._damaged(page, f"an entry begins at byte {max(offsets)}, beyond the page of {size} bytes")
        return [begin + offset for offset in offsets]

    def _child(self, page: int, node: int) -> int:
        low, high, top, _ = _NODE.unpack_from(self._map, node)
        return int(low | high << 16 | top << 32)

    def _record(self, page: int, node: int) -> Record:
        low, high, flags, length = _NODE.unpack_from(self._map, node)
        size = low | high << 16
        key_end = node + _NODE.size + length
        if flags not in (_BIG, _PLAIN):
            raise self._damaged(page, f"an entry has flags {flags}; expected a plain record")
        page_end = self._place(page, self._meta.page_size) + self._meta.page_size
        if key_end + (8 if flags == _BIG else size) > page_end:
            raise self._damaged(page, "an entry ends beyond the page")
        key = self._map[key_end - length : key_end]
        if flags == _PLAIN:
            return key, self._map[key_end : key_end + size]
        return key, self._big(int.from_bytes(self._map[key_end : key_end + 8], "little"), size)

    def _big(self, page: int, size: int) -> bytes:
        """Returns a value that is stored in its own pages."""
        begin = self._place(page, _HEADER.size + size)
        number, _, flags, _, _ = _HEADER.unpack_from(self._map, begin)
        if number != page or not flags & _OVERFLOW:
            raise self._damaged(page, f"it has number {number} and flags {flags}")
        return self._map[begin + _HEADER.size : begin + _HEADER.size + size]

    def _place(self, page: int, size: int) -> int:
        """Returns the offset of a page, after checking that ``size`` bytes from there are in the file."""
        begin = page * self._meta.page_size
        if page > self._meta.last_page or begin + size > len(self._map):
            raise self._damaged(page, "it is beyond the end of the file")
        return begin

    def _damaged(self, page: int, what: str) -> DataError:
        return DataError(f"{self._path}: damaged: page {page}: {what}")
