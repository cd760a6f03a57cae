"""Is SqueezeNet, read from Deep Compression's 676 kB, as good on photographs as its authors say?

    python benchmarks/squeezenet_imagenet.py NET_FILE FOLDER

NET_FILE is Deep Compression's ``.net`` file of SqueezeNet v1.0; FOLDER holds ``images.zip`` (JPEG, 256 x 256) and
``labels.txt`` (``<file name> <label>`` a line). Without them there is nothing to measure.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import demitasse.examples
from demitasse.caffe.net import Net
from demitasse.caffe.tools.compact_file import deep_compression_to_caffe
from demitasse.caffe.weights import load_weights

DEPLOY = Path(demitasse.examples.__file__).parent / "squeezenet/deploy.prototxt"
MEANS = np.array([104, 117, 123], np.float32)  # blue, green, red
SIZE, CROP = 256, 227
BATCH = 25


class Accuracy(NamedTuple):
    """Shares of photographs whose label is the first guess, and among the first five."""

    top1: float
    top5: float
    photographs: int


def photographs(folder: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields batches: the centres (n, 3, 227, 227) float32 in BGR less the means, and the labels (n,)."""
    lines = [line.rsplit(maxsplit=1) for line in (folder / "labels.txt").read_text().splitlines()]
    start = (SIZE - CROP) // 2
    with zipfile.ZipFile(folder / "images.zip") as images:
        for at in range(0, len(lines), BATCH):
            batch = []
            for name, _ in lines[at : at + BATCH]:
                with images.open(name) as file:
                    pixels = np.asarray(Image.open(file).convert("RGB"), np.float32)
                centre = pixels[start : start + CROP, start : start + CROP, ::-1] - MEANS
                batch.append(torch.from_numpy(centre.transpose(2, 0, 1).copy()))
            yield torch.stack(batch), torch.tensor([int(label) for _, label in lines[at : at + BATCH]])


def accuracy(net_file: Path, folder: Path) -> Accuracy:
    """Decodes the file and runs the net over the photographs."""
    net = Net.from_file(DEPLOY)
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "squeezenet.caffemodel"
        deep_compression_to_caffe(DEPLOY, net_file, model)
        load_weights(net, model)
    first = five = count = 0
    with torch.inference_mode():
        for images, labels in photographs(folder):
            guesses = net({"data": images})["prob"].flatten(1).topk(5).indices
            right = guesses == labels[:, None]
            first, five, count = first + int(right[:, 0].sum()), five + int(right.sum()), count + len(labels)
    return Accuracy(first / count, five / count, count)


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net_file", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("squeezenet_imagenet: skipped, it needs a .net file and a folder of photographs")
        return
    start = time.perf_counter()
    found = accuracy(arguments.net_file, arguments.folder)
    table = Table("photographs", "top-1", "top-5", "bytes", "seconds", title="SqueezeNet v1.0, Deep Compression")
    table.add_row(
        str(found.photographs),
        f"{found.top1:.1%}",
        f"{found.top5:.1%}",
        f"{arguments.net_file.stat().st_size:,}",
        f"{time.perf_counter() - start:.1f}",
    )
    Console().print(table)


if __name__ == "__main__":
    main()
