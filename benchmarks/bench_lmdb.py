"""How fast is a Data layer on one core, beside a bare loop over the database?

    python benchmarks/bench_lmdb.py [FOLDER OF MNIST]

Without a folder, 20,000 records of random pixels in MNIST's shape. Processor time counts, so that other
programs on the machine do not.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from demitasse.caffe import schema
from demitasse.caffe.sources.database import Data
from demitasse.caffe.sources.lmdb_store import LmdbReader, Record, write_lmdb
from demitasse.caffe.text import prototxt
from demitasse.datasets import mnist

RUNS = 5
BATCH = 64
NET = 'layer {{ name: "d" type: "Data" top: "data" top: "label" transform_param {{ {} }} data_param {{ {} }} }}'


def records(folder: Path | None) -> Iterator[Record]:
    """Yields MNIST's 60,000 training digits, or 20,000 random ones."""
    if folder is None:
        images = np.random.default_rng(0).integers(0, 256, (20_000, 28, 28), np.uint8)
    else:
        images = mnist(folder).train_images[:, 0]
    for index, image in enumerate(images):
        datum = schema.Datum(channels=1, height=28, width=28, data=image.tobytes(), label=index % 10)
        yield f"{index:08d}".encode(), datum.SerializeToString()


def rate(run: Callable[[], object], count: int) -> float:
    """Returns records a second of processor time, the median of the runs."""
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return count / statistics.median(seconds)


def source_rate(database: Path, transform: str, count: int) -> float:
    """Returns the rate of a Data layer with these settings of ``transform_param``."""
    param = f'source: "{database}" batch_size: {BATCH} backend: LMDB'
    spec = prototxt.parse(NET.format(transform, param), schema.NetParameter(), "net").layer[0]
    source = Data(spec, schema.TRAIN)
    return rate(lambda: [source.next_batch() for _ in range(count // BATCH)], count // BATCH * BATCH)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of MNIST's four files")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        database = Path(place) / "db"
        count = write_lmdb(database, records(folder))
        reader = LmdbReader(str(database))
        bare = rate(lambda: sum(len(value) for _, value in islice(reader.records(), count)), count)
        table = Table("reading", "records/s", "of the bare loop")
        table.add_row("bare loop over the LMDB", f"{bare:,.0f}", "1.00")
        for title, transform in (
            ("Data, batches of 64, scale", "scale: 0.00390625"),
            ("the same with random crop and mirror", "scale: 0.00390625 crop_size: 24 mirror: true"),
        ):
            found = source_rate(database, transform, count)
            table.add_row(title, f"{found:,.0f}", f"{found / bare:.2f}")
        Console().print(f"{count:,} records of 28x28, one core, median of {RUNS}")
        Console().print(table)


if __name__ == "__main__":
    main()
