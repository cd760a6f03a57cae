"""How much of what the JPEG decoder alone can do does ImageData feed, with resize, crop and mirror?

    python benchmarks/bench_image_data.py [--workers 2] [--rounds 7]

Pillow alone reads and decodes the same files with as many workers, in threads and in processes; the faster of the
two counts. The ways take turns, so that other programs on the machine slow all of them; ratios are medians over
the rounds. Real photographs where DEMITASSE_SHARED has ``data/imagenet_sample``, and generated ones.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from demitasse.caffe import schema
from demitasse.caffe.sources.image_data import ImageData
from demitasse.caffe.text import prototxt

BATCH = 50
PHOTOS = 500
NET = """layer {{ name: "d" type: "ImageData" top: "data" top: "label"
  transform_param {{ crop_size: {crop} mirror: true mean_value: 104 mean_value: 117 mean_value: 123 }}
  image_data_param {{ source: "{source}" root_folder: "{root}/" batch_size: {batch} {resize} }} }}"""


def sample(folder: Path) -> list[Path]:
    """Unpacks the photographs of DEMITASSE_SHARED into the folder; none where there are none."""
    archive = Path(os.environ.get("DEMITASSE_SHARED", "../shared")) / "data/imagenet_sample/images.zip"
    if not archive.is_file():
        return []
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return sorted(folder.rglob("*.jpg")) * 4


def generated(folder: Path, width: int = 500, height: int = 375) -> list[Path]:
    """Writes smooth noise, which as a JPEG of quality 90 takes as many bytes as photographs do."""
    random = np.random.default_rng(0)
    paths = []
    for index in range(PHOTOS // 5):
        coarse = Image.fromarray(random.integers(0, 256, (height // 12, width // 12, 3), np.uint8))
        fine = random.normal(0, 6, (height, width, 3))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + fine
        paths.append(folder / f"{index}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths * 20


def decode(paths: list[Path]) -> None:
    """What Pillow does alone."""
    for path in paths:
        with Image.open(path) as image:
            image.load()


def array(paths: list[Path]) -> None:
    """The same, as arrays of numpy."""
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))


def pooled(pool: Executor, work: Callable[[list[Path]], None], paths: list[Path]) -> Callable[[], object]:
    """Returns what lets a pool do the work on all files."""
    parts = [paths[start : start + BATCH // 2] for start in range(0, len(paths), BATCH // 2)]
    return lambda: list(pool.map(work, parts))


def fed(folder: Path, paths: list[Path], workers: int, crop: int, resize: str) -> Callable[[], object]:
    """Returns what reads all files by an ImageData layer."""
    (folder / "list.txt").write_text("".join(f"{path.relative_to(folder)} 1\n" for path in paths))
    settings = {"crop": crop, "source": folder / "list.txt", "root": folder, "batch": BATCH, "resize": resize}
    spec = prototxt.parse(NET.format(**settings), schema.NetParameter(), "net").layer[0]
    source = ImageData(spec, schema.TRAIN)
    source.workers = workers

    def run() -> None:
        for _ in range(len(paths) // BATCH):
            source.next_batch()
        # batches made ahead count where they are made, not in the next round or against another way
        wait(source._ahead)

    return run


def rates(ways: dict[str, Callable[[], object]], count: int, rounds: int) -> dict[str, list[float]]:
    """Returns images a second of every way in every round, the ways taking turns; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if turn:
                found[name].append(count / (time.perf_counter() - start))
    return found


def tables(folder: Path, workers: int, rounds: int) -> Iterator[Table]:
    """Yields a table a set of files."""
    sets = {}
    for name, make in (("sample", sample), ("500x375", generated)):
        (folder / name).mkdir()
        sets[name] = make(folder / name)
    with ThreadPoolExecutor(workers) as threads, ProcessPoolExecutor(workers) as processes:
        for name, paths in sets.items():
            if not paths:
                continue
            ways = {
                "Pillow, threads": pooled(threads, decode, paths),
                "Pillow, processes": pooled(processes, decode, paths),
                "Pillow, to arrays, threads": pooled(threads, array, paths),
                "Pillow, to arrays, processes": pooled(processes, array, paths),
            }
            for title, resize, crop in (
                ("ImageData 256x256, crop 227, mirror", "new_height: 256 new_width: 256", 227),
                ("ImageData 240x240, crop 224, mirror", "new_height: 240 new_width: 240", 224),
                ("ImageData 128x128, crop 112, mirror", "new_height: 128 new_width: 128", 112),
            ):
                ways[title] = fed(folder / name, paths, workers, crop, resize)
            yield table(name, rates(ways, len(paths), rounds))


def table(name: str, found: dict[str, list[float]]) -> Table:
    """Returns the table of one set: medians, and medians of the ratios to Pillow alone and to its arrays."""
    result = Table("way", "images/s", "of Pillow", "of Pillow's arrays", title=name)
    bars = [
        [max(pair) for pair in zip(found[f"{kind}, threads"], found[f"{kind}, processes"], strict=True)]
        for kind in ("Pillow", "Pillow, to arrays")
    ]
    for way, values in found.items():
        ratios = [statistics.median(v / b for v, b in zip(values, bar, strict=True)) for bar in bars]
        result.add_row(way, f"{statistics.median(values):,.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    return result


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for found in tables(Path(folder), given.workers, given.rounds):
            Console().print(found)


if __name__ == "__main__":
    main()
