"""A position in a database that sources read again and again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.sources.base import State
from demitasse.caffe.sources.order import Order
from demitasse.caffe.sources.store import BACKENDS, Record
from demitasse.errors import DataError, NetError
from demitasse.files import system_path


class DatabaseCursor(Order):
    """Reads the records of a ``data_param`` in the order of their keys, from the first again after the last.

    Raises:
        DataError: there is no such database, or it is corrupt.
        NetError: the records are to be shuffled.
    """

    def __init__(self, param: schema.DataParameter) -> None:
        if param.shuffle:
            raise NetError(
                "data_param has shuffle, which only Intel's fork takes; shuffle the records when the database is made, "
                "as convert_imageset does if it is asked to"
            )
        self._rand_skip = param.rand_skip
        self._records: Iterator[Record] = iter(())
        backend = type(param).DB.Name(param.backend).lower()
        self._database = BACKENDS[backend].open(system_path(param.source))
        self._position = 0

    @override
    def __len__(self) -> int:
        return len(self._database)

    def next_records(self, count: int) -> list[Record]:
        """Returns the next records.

        Raises:
            DataError: there are none.
        """
        records: list[Record] = []
        while len(records) < count:
            found = list(islice(self._records, count - len(records)))
            records += found
            self._position += len(found)
            if not self._position:
                raise DataError(f"{self._database.path}: the database has no readable records")
            if len(records) < count:
                self._open_at(0)
        return records

    def describe(self, record: Record) -> str:
        """Returns the place of a record, for messages."""
        return f"{self._database.path}: record {record[0].decode(errors='backslashreplace')!r}"

    @override
    def rewind(self, random: np.random.Generator) -> None:
        """Returns to the first record, or to one of the first ``rand_skip``."""
        skip = int(random.integers(self._rand_skip)) if self._rand_skip else 0
        self._open_at(skip % len(self._database) if skip else 0)

    @override
    def position(self, random: np.random.Generator) -> State:
        return {"random": random.bit_generator.state, "position": self._position}

    @override
    def seek(self, position: State, random: np.random.Generator) -> None:
        record = position["position"]
        if record and not 0 <= record <= len(self._database):
            raise DataError(
                f"{self._database.path}: the state is at record {record}, but the database has {len(self._database)}"
            )
        self._open_at(record)
        random.bit_generator.state = position["random"]

    @override
    def close(self) -> None:
        self._records = iter(())
        self._database.close()

    def _open_at(self, position: int) -> None:
        self._position = position
        self._records = self._database.records(position)
