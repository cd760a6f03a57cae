"""What do nets lose when they are compressed without training? ``demitasse.shrink`` beside the usual methods.

    python benchmarks/bench_shrink.py resnet MODEL.th CIFAR10.zip
    python benchmarks/bench_shrink.py squeezenet NET_FILE FOLDER [--bytes 360000 340000]

The first compresses a ResNet of CIFAR-10 (He et al. 2016) with 1,024 training images and tests it on all test images.
The second compresses SqueezeNet v1.0, read from Deep Compression's file, with 200 photographs and tests it on the
others (see squeezenet_imagenet.py for the files). No labels are used to compress.

Of ``demitasse.shrink``, the grid that it chooses is measured beside powers of two. The baselines see the same images:
rounding to the nearest power of two (one range for each layer, as INQ has it), magnitude, Wanda's criterion (Sun et al.
2023, arXiv 2306.11695: |w| times the norm of its input), plain GPTQ (Frantar et al. 2022) and plain SparseGPT (Frantar
and Alistarh 2023), both with the inputs of the compressed part.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import squeezenet_imagenet
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import demitasse
from demitasse.caffe.net import Net
from demitasse.caffe.tools.compact_file import deep_compression_to_caffe
from demitasse.caffe.weights import load_weights
from demitasse.methods import pow2
from demitasse.methods.one_shot import codebooks, masks
from demitasse.methods.one_shot.compensation import damped, inverse_factor, sweep
from demitasse.shrinking.batches import batches_of, run
from demitasse.shrinking.inputs import statistics_of
from demitasse.shrinking.replay import Replay
from demitasse.shrinking.survey import survey
from demitasse.shrinking.targets import targets_of
from demitasse.shrinking.watching import ModelRunner, evaluating
from demitasse.zoo.data.cifar10 import read_images
from demitasse.zoo.models import resnet_cifar

EXAMPLES = 1024
OURS = "demitasse.shrink"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# (weight (groups, rows, columns), Hessian / count) -> the new weight
Baseline = Callable[[Tensor, Tensor], Tensor]


class Row(NamedTuple):
    """A row of the table: bits and sparsity, or None, and the baselines that belong to it."""

    bits: int | None
    sparsity: float
    baselines: Sequence[str]


ROWS = (
    Row(5, 0.0, ("rounding", "GPTQ")),
    Row(4, 0.0, ("rounding", "GPTQ")),
    Row(3, 0.0, ("rounding", "GPTQ")),
    Row(None, 0.5, ("magnitude", "Wanda", "SparseGPT")),
    Row(4, 0.5, ("magnitude", "Wanda", "SparseGPT")),
)


def top_of(weight: Tensor, hessian: Tensor, levels: int) -> int:
    """Returns the largest exponent whose range has the least error, weighted by the diagonal of the Hessian."""
    largest = int(pow2.exponent(weight.abs().max()))
    diagonal = hessian.diagonal(dim1=1, dim2=2).unsqueeze(1)

    def error(top: int) -> float:
        rounded = pow2.project(weight, pow2.Exponents(top - levels + 1, top))
        return float(((rounded - weight).square() * diagonal).sum())

    return min(range(largest - 2, largest + 2), key=error)


def baseline(name: str, bits: int | None, sparsity: float) -> Baseline:
    """Returns a baseline's treatment of one layer."""

    def treat(weight: Tensor, hessian: Tensor) -> Tensor:
        count = round(sparsity * weight.numel())
        factor = inverse_factor(damped(hessian, 0.01))
        levels = pow2.levels_of_bits(bits) if bits else 0
        if name == "rounding":
            largest = float(weight.abs().max())
            return pow2.project(weight, pow2.grid(largest, levels))
        cut = torch.zeros_like(weight, dtype=torch.bool)
        if name == "magnitude":
            cut = masks.smallest(weight.abs(), count)
        elif name == "Wanda":
            norms = hessian.diagonal(dim1=1, dim2=2).sqrt().unsqueeze(1)
            scores = weight.abs() * norms
            rows = [masks.smallest(row, round(sparsity * len(row))) for row in scores.flatten(0, 1)]
            cut = torch.stack(rows).view_as(weight)
        elif name == "SparseGPT":
            cut = masks.choose(weight, factor, count, torch.ones_like(weight[:, :, 0]))
        kept = torch.where(cut, 0.0, weight)
        book = codebooks.powers(top_of(kept, hessian, levels), levels).to(weight) if levels else None
        compensates = name in ("GPTQ", "SparseGPT")

        def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
            found = value if book is None else book[codebooks.nearest(value, book)]
            return torch.where(cut[:, :, column], 0.0, found)

        if compensates:
            return sweep(weight, factor, choose)
        return kept if book is None else torch.where(cut, 0.0, book[codebooks.nearest(kept, book)])

    return treat


def compress_by(model: nn.Module, images: Tensor, treat: Baseline) -> None:
    """Treats layer after layer, with the inputs of the part that is done."""
    batches = batches_of(images, len(images))
    targets, _ = targets_of(model, None, ())
    with evaluating(model):
        runner = ModelRunner(model, run)
        seen = survey(runner, batches[0], {target.views[0].watched: target.name for target in targets})
        replay = Replay(model, seen)
        for target in sorted(targets, key=lambda one: seen.first[one.views[0].watched]):
            found = statistics_of(runner, batches, [target], seen, {}, replay)[target.name]
            matrix = treat(target.matrix.double(), found.hessian / found.count)
            with torch.no_grad():
                target.item.parameter.copy_(target.views[0].weight(matrix, target.dense.shape))


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Returns the share of right first guesses in percent."""
    guesses = torch.cat([model(part).argmax(1) for part in images.split(500)])
    return 100 * float((guesses == labels).float().mean())


def size(model: nn.Module) -> int:
    return demitasse.save(model, BytesIO(), format="demi")


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
                compress_by(model, images, baseline(name, row.bits, row.sparsity))
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
    parser.add_argument("net", choices=("resnet", "squeezenet"), nargs="?")
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--bytes", type=int, nargs="+", default=[360_000, 340_000, 300_000, 250_000, 200_000])
    parser.add_argument("--grids", nargs="+", default=["uniform", "pow2"])
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data is None:
        print("bench_shrink.py: no model and data given, nothing to measure")
        return
    if arguments.net == "resnet":
        table = measure_resnet(arguments.model, arguments.data, arguments.seed, arguments.examples)
    else:
        table = measure_squeezenet(arguments.model, arguments.data, arguments.bytes, arguments.grids, arguments.seed)
    Console().print(table)


if __name__ == "__main__":
    main()
