"""What do nets lose when they are compressed without training? ``demitasse.shrink`` beside the usual methods.

    python benchmarks/bench_shrink.py resnet MODEL.th CIFAR10.zip
    python benchmarks/bench_shrink.py squeezenet NET_FILE FOLDER [--bytes 360000 340000]
    python benchmarks/bench_shrink.py sentences FOLDER TEXT --calibration TEXT [TEXT]
    python benchmarks/bench_shrink.py gpt WEIGHTS TEXT

The first compresses a ResNet of CIFAR-10 (He et al. 2016) with 1,024 training images and tests it on all test images.
The second compresses SqueezeNet v1.0, read from Deep Compression's file, with 200 photographs and tests it on the
others (see squeezenet_imagenet.py for the files). Language models are described in shrink_text.py. No labels are used
to compress.

Of ``demitasse.shrink``, the grid that it chooses is measured beside powers of two. The baselines see the same images:
rounding to the nearest power of two (one range for each layer, as INQ has it), magnitude, Wanda's criterion (Sun et al.
2023, arXiv 2306.11695: |w| times the norm of its input), plain GPTQ (Frantar et al. 2022) and plain SparseGPT (Frantar
and Alistarh 2023), both with the inputs of the compressed part.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import squeezenet_imagenet
import torch
from rich.console import Console
from rich.table import Table
from shrink_baselines import OURS, Row, baseline, compress_by, size
from shrink_text import measure_gpt, measure_sentences
from torch import Tensor, nn

import demitasse
from demitasse.caffe.net import Net
from demitasse.caffe.tools.compact_file import deep_compression_to_caffe
from demitasse.caffe.weights import load_weights
from demitasse.zoo.data.cifar10 import read_images
from demitasse.zoo.models import resnet_cifar

EXAMPLES = 1024
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

ROWS = (
    Row(5, 0.0, ("rounding", "GPTQ")),
    Row(4, 0.0, ("rounding", "GPTQ")),
    Row(3, 0.0, ("rounding", "GPTQ")),
    Row(None, 0.5, ("magnitude", "Wanda", "SparseGPT")),
    Row(4, 0.5, ("magnitude", "Wanda", "SparseGPT")),
)


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Returns the share of right first guesses in percent."""
    guesses = torch.cat([model(part).argmax(1) for part in images.split(500)])
    return 100 * float((guesses == labels).float().mean())


def measure_resnet(model_file: Path, images_file: Path, seed: int, calibration: int) -> Table:
    """Compresses a ResNet of CIFAR-10 in all ways."""
    data = read_images(images_file)
    drawn = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(seed))[:calibration]
    images, tests = (normalized(one) for one in (data.train_images[drawn.numpy()], data.test_images))
    labels = torch.from_numpy(data.test_labels)
    state = torch.load(model_file, weights_only=True, map_location="cpu")["state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    blocks = sum(name.startswith("layer1.") and name.endswith(".conv1.weight") for name in state)
    depth = 6 * blocks + 2

    def fresh() -> nn.Module:
        model = resnet_cifar.CifarResNet(blocks)
        model.load_state_dict(state)
        return model.eval()

    dense = accuracy(fresh(), tests, labels)
    table = Table(
        title=f"ResNet-{depth}, dense {dense:.2f} %, {calibration:,} images; {torch.get_num_threads()} threads"
    )
    for column in ("bits", "zeros", "method", "accuracy", "loss", "bytes", "seconds"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in ROWS:
        for name in (*row.baselines, OURS, *((f"{OURS}, pow2",) if row.bits else ())):
            model, begin = fresh(), time.monotonic()
            if name.startswith(OURS):
                grid = "pow2" if name.endswith("pow2") else None
                demitasse.shrink(model, images, bits=row.bits, sparsity=row.sparsity or None, grid=grid)
            else:
                compress_by(model, images.split(64), baseline(name, row.bits, row.sparsity))
            seconds = time.monotonic() - begin
            found = accuracy(model, tests, labels)
            table.add_row(
                str(row.bits or ""), f"{row.sparsity:.0%}", name, f"{found:.2f}", f"{dense - found:.2f}",
                f"{size(model):,}", f"{seconds:.0f}",
            )  # fmt: skip
            print(*(str(list(column.cells)[-1]) for column in table.columns), flush=True)
    return table


def normalized(images: object) -> Tensor:
    values = torch.as_tensor(images).float() / 255
    return (values - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


def measure_squeezenet(net_file: Path, folder: Path, sizes: Sequence[int], grids: Sequence[str], seed: int) -> Table:
    """Compresses SqueezeNet to several sizes."""
    net = Net.from_file(squeezenet_imagenet.DEPLOY)
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "squeezenet.caffemodel"
        deep_compression_to_caffe(squeezenet_imagenet.DEPLOY, net_file, weights)
        load_weights(net, weights)
    images, labels = (torch.cat(parts) for parts in zip(*squeezenet_imagenet.photographs(folder), strict=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    calibration, tests = order[:200], order[200:]

    @torch.inference_mode()
    def guesses() -> Tensor:
        return torch.cat([net({"data": images[part]})["prob"].flatten(1).topk(5).indices for part in tests.split(50)])

    def rates(found: Tensor) -> tuple[float, float]:
        right = found == labels[tests].unsqueeze(1)
        return 100 * float(right[:, 0].float().mean()), 100 * float(right.any(1).float().mean())

    dense = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    before = guesses()
    table = Table(title=f"SqueezeNet v1.0; {torch.get_num_threads()} threads")
    for column in ("grid", "bytes", "top-1", "top-5", "same first guess", "seconds"):
        table.add_column(column, justify="right")
    table.add_row("unchanged", f"{size(net):,}", *(f"{rate:.1f}" for rate in rates(before)), "", "")
    for grid in grids:
        for most in sizes:
            net.load_state_dict(dense)
            begin = time.monotonic()
            report = demitasse.shrink(
                net, images[calibration].split(25), max_bytes=most, grid=grid, forward=lambda net, x: net({"data": x})
            )
            found, seconds = guesses(), time.monotonic() - begin
            same = 100 * float((found[:, 0] == before[:, 0]).float().mean())
            table.add_row(
                grid, f"{report.bytes:,}", *(f"{rate:.1f}" for rate in rates(found)), f"{same:.1f}", f"{seconds:.0f}"
            )
            print(*(str(list(column.cells)[-1]) for column in table.columns), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("net", choices=("resnet", "squeezenet", "sentences", "gpt"), nargs="?")
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--bytes", type=int, nargs="+", default=[360_000, 340_000, 300_000, 250_000, 200_000])
    parser.add_argument("--grids", nargs="+", default=["uniform", "pow2"])
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--calibration", type=Path, nargs="+", help="texts with the sentences that calibrate")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data is None:
        print("bench_shrink.py: no model and data given, nothing to measure")
        return
    if arguments.net == "resnet":
        table = measure_resnet(arguments.model, arguments.data, arguments.seed, arguments.examples)
    elif arguments.net == "sentences":
        texts = arguments.calibration or [arguments.data]
        table = measure_sentences(arguments.model, arguments.data, texts, arguments.examples, arguments.seed)
    elif arguments.net == "gpt":
        table = measure_gpt(arguments.model, arguments.data, arguments.examples, arguments.seed)
    else:
        table = measure_squeezenet(arguments.model, arguments.data, arguments.bytes, arguments.grids, arguments.seed)
    Console().print(table)


if __name__ == "__main__":
    main()
