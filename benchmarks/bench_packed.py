"""How small are .demi files, and how fast, beside NNCodec, zstd -19 and xz -9e?

    .venv/bin/python benchmarks/bench_packed.py [--runs FOLDER ...] [--models FOLDER] [--nncodec PYTHON] [--values N]

``--runs`` are output folders of `demitasse compress`, of which every net is packed; ``--models`` a folder with the
published caffe_lenet5_sparse.caffemodel and squeezenet_v1.0_deep_compression.net; ``--nncodec`` the Python of an
environment with nncodec 2.1.3. Ours is the whole file, with names, shapes and values. NNCodec gets small integers in
place of the values, which are counted beside them, unless they are powers of two; zstd and xz get a byte for each
of few values, which are not counted, else planes of bytes, and no names. Times are the median of several runs.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from peers import Coded, nncodec, xz, zstd
from rich.console import Console
from rich.progress import track
from rich.table import Table

import demitasse
from demitasse.formats.tensors import to_packed
from demitasse.packed.file import File
from demitasse.packed.tensor import Tensor, of_array
from demitasse.packed.writer import pack

Named = tuple[str, list[Tensor]]


def made(values: int) -> Iterator[Named]:
    """Yields tensors of random values: nothing but their distribution can be used."""
    random = np.random.default_rng(1)
    shape = (values // 1024, 1024)
    powers = np.exp2(random.integers(-7, 0, shape)) * random.choice([-1, 1], shape)
    densities = random.gamma(1, 1, (shape[0], 1)) * random.gamma(1, 1, (1, shape[1]))
    normal = torch.from_numpy(random.normal(0, 0.05, shape).astype(np.float32))
    yield "15 values, dense", [of_array("w", random.integers(-7, 8, shape).astype(np.int8))]
    yield "14 powers, 90 % zero", [of_array("w", np.where(random.random(shape) < 0.1, powers, 0).astype(np.float32))]
    yield (
        "... uneven rows, columns",
        [of_array("w", np.where(random.random(shape) < np.minimum(0.1 * densities, 1), powers, 0).astype(np.float32))],
    )
    yield "normal, float32", [to_packed("w", normal)]
    yield "normal, bfloat16", [to_packed("w", normal.to(torch.bfloat16))]


def published(folder: Path) -> Iterator[Named]:
    """Yields the published LeNet-5, its weights rounded to 7 powers of two, and the SqueezeNet of Deep Compression."""
    import demitasse.examples
    from demitasse.caffe.models.caffemodel import read_model
    from demitasse.caffe.net import Net
    from demitasse.methods import pow2
    from demitasse.packed.compact import deep_compression

    tensors = []
    for layer in read_model(folder / "caffe_lenet5_sparse.caffemodel"):
        for number, blob in enumerate(layer.blobs):
            weight = torch.from_numpy(np.array(blob))
            rounded = pow2.project(weight, pow2.grid(float(weight.abs().max()), 7))
            tensors.append(to_packed(f"{layer.name}.{number}", rounded))
    yield "LeNet-5, published", tensors
    net = Net.from_file(Path(demitasse.examples.__file__).parent / "squeezenet/deploy.prototxt")
    named = net.named_layers().items()
    shapes = {name: [tuple(blob.shape) for blob in layer.blobs()] for name, layer in named if layer.blob_names}
    layers = deep_compression.decode((folder / "squeezenet_v1.0_deep_compression.net").read_bytes(), shapes)
    yield (
        "SqueezeNet, Deep Compression",
        [of_array(f"{name}.{number}", array) for name, arrays in layers.items() for number, array in enumerate(arrays)],
    )


def runs(folder: Path) -> Iterator[Named]:
    """Yields the nets that recipes have made."""
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = [file for file in run.glob("*/model.*") if file.suffix in (".demi", ".pt", ".safetensors")]
        if found:
            state = demitasse.load(max(found, key=lambda file: int(file.parent.name.split("-")[0])))
            assert isinstance(state, dict)
            yield run.name, [to_packed(name, tensor) for name, tensor in state.items()]


def entropy(tensors: Sequence[Tensor]) -> float:
    """Returns the bytes that independent values would take, tensor by tensor, if their shares were known."""
    total = 0.0
    for tensor in tensors:
        counts = np.unique(tensor.bits, return_counts=True)[1]
        total -= float((counts * np.log2(counts / max(tensor.size, 1))).sum()) / 8
    return total


def sizes(nets: Sequence[Named], python: Path | None) -> Table:
    """Returns the table of sizes."""
    table = Table("net", "values", "ours", "NNCodec", "zstd -19", "xz -9e", "independent", "smallest", title="bytes")
    for name, tensors in track(nets, "sizes", transient=True):
        others = [nncodec(tensors, python), zstd(tensors), xz(tensors)]
        ours = len(pack(tensors))
        others_sizes = [other.size if other else None for other in others]
        best = min(size for size in others_sizes if size)
        table.add_row(
            name,
            f"{sum(tensor.size for tensor in tensors):,}",
            f"{ours:,}",
            *(f"{size:,}" if size else "" for size in others_sizes),
            f"{entropy(tensors):,.0f}",
            f"ours, {best / ours:.3f}x" if ours <= best else f"not ours, {ours / best:.3f}x",
        )
    return table


def timed(call: Callable[[], object], rounds: int) -> float:
    """Returns the median seconds of a call."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def ours(tensors: Sequence[Tensor], rounds: int) -> Coded:
    """Returns size and speed of our own."""
    coded = pack(tensors, smallest=False)
    assert all(np.array_equal(a.bits, b.bits) for a, b in zip(File(coded, threads=1).tensors(), tensors, strict=True))
    return Coded(
        len(coded),
        timed(lambda: pack(tensors, smallest=False), max(1, rounds // 2)),
        timed(lambda: list(File(coded, threads=1).tensors()), rounds),
    )


def speeds(nets: Sequence[Named], python: Path | None, rounds: int) -> Table:
    """Returns the table of speeds."""
    table = Table(
        "tensor", "coder", "encoding", "decoding", "bits a value", title="million values a second, one thread"
    )
    for name, tensors in track(nets, "speeds", transient=True):
        count = sum(tensor.size for tensor in tensors)
        coders = {
            "ours": ours(tensors, rounds),
            "NNCodec": nncodec(tensors, python),
            "zstd -19": zstd(tensors),
        }
        for coder, coded in coders.items():
            if coded:
                speed = (f"{count / seconds / 1e6:.2f}" for seconds in (coded.encoding, coded.decoding))
                table.add_row(name, coder, *speed, f"{8 * coded.size / count:.3f}")
    return table


def scaling(nets: Sequence[Named], rounds: int) -> Table:
    """Returns the speed of decoding by number of threads."""
    threads = [count for count in (1, 2, 4, 8, 16) if count <= (os.cpu_count() or 1)]
    table = Table("tensor", *(f"{count} threads" for count in threads), title="decoding, million values a second")
    for name, tensors in nets:
        coded, count = pack(tensors, smallest=False), sum(tensor.size for tensor in tensors)
        seconds = [timed(lambda: list(File(coded, threads=each).tensors()), rounds) for each in threads]  # noqa: B023
        table.add_row(name, *(f"{count / each / 1e6:.0f}" for each in seconds))
    return table


def fresh(code: str, rounds: int) -> float:
    """Returns the median seconds of code in a new process."""
    return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds)


def opening(tensors: Sequence[Tensor], rounds: int) -> Table:
    """Returns how long it takes to load a small net in a new process, and the memory that loading a large one takes."""
    table = Table("what", "seconds", "ratio", title="in a new process")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.demi"
        path.write_bytes(pack(tensors))
        code = f"import demitasse; demitasse.load({str(path)!r})"
        fresh(code, 1)
        bare, whole = fresh("import torch", rounds), fresh(code, rounds)
    table.add_row("import torch", f"{bare:.2f}", "1.00")
    table.add_row("demitasse.load", f"{whole:.2f}", f"{whole / bare:.2f}")
    return table


# the most memory that was ever taken is set back behind the imports
_MEMORY = """
import sys
import demitasse

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

demitasse.load(sys.argv[1])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
found = demitasse.load(sys.argv[2])
print((status("VmHWM") - before) / sum(tensor.nbytes for tensor in found.values()))
"""


def memory(nets: Sequence[Named]) -> Table:
    """Returns the memory that loading takes, beside that of the tensors."""
    table = Table("tensor", "peak memory / tensors", title="memory")
    for name, tensors in nets:
        with tempfile.TemporaryDirectory() as folder:
            small, large = Path(folder) / "small.demi", Path(folder) / "large.demi"
            small.write_bytes(pack([_some(tensor) for tensor in tensors], smallest=False))
            large.write_bytes(pack(tensors, smallest=False))
            done = subprocess.run(
                [sys.executable, "-c", _MEMORY, str(small), str(large)], check=True, capture_output=True, text=True
            )
            table.add_row(name, f"{float(done.stdout):.2f}")
    return table


def _some(tensor: Tensor) -> Tensor:
    rows = math.ceil(tensor.shape[0] / 50)
    piece = tensor._replace(shape=(rows, *tensor.shape[1:]))
    return piece._replace(bits=tensor.bits[: piece.size])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--models", type=Path)
    parser.add_argument("--nncodec", type=Path)
    parser.add_argument("--values", type=int, default=1 << 21, help="of the random tensors")
    parser.add_argument("--large", type=int, default=1 << 25, help="values of those that tell memory, and threads")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    random = list(made(arguments.values))
    small = list(published(arguments.models)) if arguments.models else []
    nets = [*small, *(net for folder in arguments.runs for net in runs(folder)), *random]
    console = Console(width=130)
    console.print(sizes(nets, arguments.nncodec))
    console.print(speeds(random, arguments.nncodec, arguments.rounds))
    console.print(opening((small or random)[0][1], arguments.rounds))
    large = [net for net in made(arguments.large) if "uneven" not in net[0]]
    console.print(scaling(large, arguments.rounds))
    console.print(memory(large))


if __name__ == "__main__":
    main()
