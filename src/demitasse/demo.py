"""Runs the whole workflow: train, prune, quantize, pack, unpack, test, as ``demitasse demo`` does.

Every step calls the function behind a command of docs/lenet5.md, on the prototxts of an example.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from demitasse import __version__, datasets
from demitasse.arrays import Array
from demitasse.caffe import log, schema
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools import compact_file
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.inq_to_normal import inq_to_normal
from demitasse.caffe.tools.model2inq_raw import model2inq_raw
from demitasse.caffe.training import solver_nets
from demitasse.caffe.training.scoring import next_batch
from demitasse.caffe.training.solver import Solver
from demitasse.caffe.weights import load_weights
from demitasse.examples import copy_example
from demitasse.extras import needs
from demitasse.files import make_folder, write_text
from demitasse.formats import pack, unpack
from demitasse.registry import Registry
from demitasse.report import tables
from demitasse.report.log_parser import read_log
from demitasse.report.page.written import write_page_of
from demitasse.report.progress import TrainingBar
from demitasse.report.tables import StageResult
from demitasse.threads import threads

# a quick run: iterations are divided by this, and surgery's c_rate is milder, since so few iterations mend less
QUICK = 10
_QUICK_C_RATE = 0.6
_PACKED = "model.demi"
_SURGERY = ("dns_convolution_param", "dns_inner_product_param")


@dataclass(frozen=True)
class DemoData:
    """A data set for the demo.

    Attributes:
        example: name of the example for it.
        model: the net of the example.
        prefix: prefix of the names of its databases.
        load: loads the images, from a folder if it is given.
        threads: number of threads that torch uses; 0 keeps the current setting. Work as small as the digits is slower
            with several threads, and much slower if other programs are busy.
    """

    example: str
    model: str
    prefix: str
    load: Callable[[Path | None], datasets.Dataset]
    threads: int = 0


CHOICES: Registry[DemoData] = Registry("data")
CHOICES.register("digits")(DemoData("digits", "LeNet", "digits", lambda _: datasets.digits(), threads=1))
CHOICES.register("mnist")(DemoData("lenet5", "lenet5", "mnist", datasets.mnist))


def _at_once(line: str) -> None:
    print(line, flush=True)


def run_demo(
    data: str = "digits",
    out: Path = Path("demo"),
    seed: int = 1,
    quick: bool = False,
    mnist_folder: Path | None = None,
    say: Callable[[str], None] = _at_once,
) -> list[StageResult]:
    """Runs all stages in the folder ``out``, and overwrites files of an earlier run.

    Args:
        data: ``digits`` or ``mnist``.
        out: the folder for databases, prototxts, models, logs, the compact file, pictures and tables.
        seed: seed of the initial weights and of surgery.
        quick: whether to run a tenth of the iterations, with milder surgery.
        mnist_folder: the folder with MNIST's files; None downloads them.
        say: called with a line at the end of each stage.

    Returns:
        The results of the stages.

    Raises:
        UnknownNameError: there is no such data.
        DataError: the data is missing.
        MissingPackageError: a package that the demo needs is not installed.
    """
    for package in ("lmdb", "matplotlib"):  # fails before the training, not after it
        with needs(package, extra="demo"):
            import_module(package)
    choice = CHOICES[data]
    loaded = choice.load(mnist_folder)
    make_folder(out)
    copy_example(choice.example, out)
    with chdir(out), threads(choice.threads):
        write_database(f"{choice.prefix}_train_lmdb", loaded.train_images, loaded.train_labels)
        write_database(f"{choice.prefix}_test_lmdb", loaded.test_images, loaded.test_labels)
        demo = Demo(Path(choice.example), seed, QUICK if quick else 1, say)
        demo.run()
        demo.write_report(f"{data}, seed {seed}{', quick' if quick else ''}", choice.model, data)
    write_page_of(out, say)
    return demo.stages


class Demo:
    """Runs the stages one after the other, in the working directory.

    Args:
        folder: folder of the example.
        seed: see :func:`run_demo`.
        hurry: divisor of the iterations.
        say: see :func:`run_demo`.

    Attributes:
        stages: the results so far.
    """

    def __init__(self, folder: Path, seed: int, hurry: int, say: Callable[[str], None]) -> None:
        self.folder, self.seed, self.hurry, self.say = folder, seed, hurry, say
        self.stages: list[StageResult] = []
        self._logs: dict[str, Path] = {}
        self._plain = folder / "train_val.prototxt"
        self._deploy = folder / "deploy.prototxt"

    def run(self) -> None:
        """Runs all stages, from the reference to the unpacked file."""
        reference, seconds = self._train("reference", "solver.prototxt")
        self._measure("reference", reference, seconds)
        quantized = self._quantize(self._prune(reference))
        self._pack(quantized)

    def _prune(self, reference: Path) -> Path:
        model, seconds = self._train("pruned (DNS)", "dns_solver.prototxt", reference)
        plain = self.folder / "dns.caffemodel"
        net = self.folder / "dns_train_val.prototxt"
        dns_to_normal(net, model, self._deploy, plain)
        self._measure("pruned (DNS)", plain, seconds)
        raw = self.folder / "inq_raw.caffemodel"
        model2inq_raw(net, model, self.folder / "inq_1_train_val.prototxt", raw)
        return raw

    def _quantize(self, model: Path) -> Path:
        plain = model
        for solver in sorted(self.folder.glob("inq_*_solver.prototxt")):
            net = solver.with_name(solver.name.replace("solver", "train_val"))
            name = f"INQ {100 * _portion(net):.0f} %"
            model, seconds = self._train(name, solver.name, model)
            plain = solver.with_name(solver.name.replace("_solver.prototxt", ".caffemodel"))
            inq_to_normal(net, model, self._deploy, plain)
            self._measure(name, plain, seconds)
        return plain

    def _pack(self, model: Path) -> None:
        """Writes compact files and a .demi file; tests the models from the smaller compact file and the .demi file."""
        start = time.perf_counter()
        files = {name: self.folder / f"compact_{name.replace('/', '')}.bin" for name in ("4/4", "4/8")}
        sizes = {name: compact_file.encode(name, self._plain, model, path) for name, path in files.items()}
        best = min(sizes, key=lambda name: sizes[name])
        decoded = self.folder / "decoded.caffemodel"
        compact_file.decode(best, self._deploy, files[best], decoded)
        self.say(", ".join(f"{name}: {size:,} bytes" for name, size in sizes.items()) + f"; {best} is the smaller")
        self._measure(f"packed ({best}), unpacked", decoded, time.perf_counter() - start, files[best])
        start = time.perf_counter()
        packed, unpacked = self.folder / _PACKED, self.folder / "unpacked.caffemodel"
        pack(model, packed)
        unpack(packed, unpacked)
        self._measure("packed (.demi), unpacked", unpacked, time.perf_counter() - start, packed)

    def _train(self, name: str, solver: str, weights: Path | None = None) -> tuple[Path, float]:
        """Trains as ``demitasse train`` does; returns the caffemodel and the seconds of training."""
        path = self.folder / solver
        param = prototxt.read_solver(path)
        param.random_seed = self.seed
        if self.hurry > 1:
            _hurry(param, self.hurry)
        record = path.with_name(solver.replace("solver.prototxt", "train.log"))
        self._logs[name] = record
        start = time.perf_counter()
        handler = log.LogFile(record, "w")
        with log.attached(handler), TrainingBar(name, param.max_iter) as bar:
            run = Solver(param, str(path))
            if weights:
                run.load_weights(str(weights))
            run.callbacks.append(lambda run: bar.show(run.iter, run.loss, run.rate) if bar.is_due() else None)
            run.solve()
        return Path(f"{param.snapshot_prefix}_iter_{run.iter}.caffemodel"), time.perf_counter() - start

    def _measure(self, name: str, model: Path, seconds: float, file: Path | None = None) -> None:
        """Tests a plain model and records the stage; ``file`` is the stage's file if it is not the model."""
        kept, total = (sum(column) for column in zip(*_kept(model).values(), strict=True))
        stage = StageResult(name, self._test(model), kept, total, (file or model).stat().st_size, seconds)
        self.stages.append(stage)
        self.say(f"{name}: test error {100 * stage.error:.2f} %, {kept:,} parameters kept, {seconds:.1f} s")

    def _test(self, model: Path) -> float:
        """Returns the share of the test images that a model classifies wrongly."""
        device = torch.device("cpu")
        net = solver_nets.move_to_device(Net.from_file(self._plain, schema.TEST), device)
        load_weights(net, model)
        batches = prototxt.read_solver(self.folder / "solver.prototxt").test_iter[0]
        with torch.no_grad():
            right = sum(net(next_batch(net, device))["accuracy"].item() for _ in range(batches))
        return float(1 - right / batches)

    def write_report(self, title: str, model: str, data: str) -> None:
        """Writes the table as text, Markdown and JSON, and the pictures."""
        from demitasse.report import plots

        plots.training_curves(
            [(name, read_log(path)) for name, path in self._logs.items()],
            "training.png",
            title="Training, stage after stage",
        )
        plots.kept_by_layer(_kept(self.folder / "dns.caffemodel"), "kept.png")
        plots.exponent_histogram(_weights(self.folder / "decoded.caffemodel"), "exponents.png")
        write_text("table.md", tables.markdown(self.stages))
        write_text("table.txt", tables.text(self.stages, title))
        report = {
            "title": title,
            "model": model,
            "data": {"name": data},
            "seed": self.seed,
            "quick": self.hurry > 1,
            "demitasse": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "logs": {name: path.as_posix() for name, path in self._logs.items()},
            "file": (self.folder / _PACKED).as_posix(),
            "stages": tables.as_plain(self.stages),
        }
        write_text("report.json", json.dumps(report, indent=2) + "\n")


def write_database(path: str, images: datasets.Images, labels: datasets.Labels) -> None:
    """Writes an LMDB of images (n, channels, height, width), unless it already exists."""
    if Path(path).exists():
        return
    channels, height, width = images.shape[1:]
    datums = (
        schema.Datum(channels=channels, height=height, width=width, data=image.tobytes(), label=int(label))
        for image, label in zip(images, labels, strict=True)
    )
    write_lmdb(path, ((f"{i:08d}".encode(), datum.SerializeToString()) for i, datum in enumerate(datums)))


def _hurry(param: schema.SolverParameter, hurry: int) -> None:
    """Shortens a solver's training and its surgery, which also cuts less."""
    param.max_iter = max(param.max_iter // hurry, 1)
    net = prototxt.read_net(param.net)
    for layer in net.layer:
        for field in _SURGERY:
            if layer.HasField(field):
                settings = getattr(layer, field)
                settings.c_rate *= _QUICK_C_RATE
                settings.gamma *= hurry
                settings.iter_stop //= hurry
    param.ClearField("net")
    param.net_param.CopyFrom(net)


def _portion(net: Path) -> float:
    """Returns the share of weights that an INQ net freezes in the end."""
    return max(
        float(portion)
        for layer in prototxt.read_net(net).layer
        for settings in (layer.inq_convolution_param, layer.inq_inner_product_param)
        for portion in settings.portion
    )


def _weights(model: Path) -> dict[str, Array]:
    """Returns layer -> (n,), all its parameters."""
    layers = read_model(model)
    return {layer.name: np.concatenate([blob.ravel() for blob in layer.blobs]) for layer in layers if layer.blobs}


def _kept(model: Path) -> dict[str, tuple[int, int]]:
    """Returns layer -> (number of nonzero parameters, number of all parameters)."""
    return {name: (int(np.count_nonzero(values)), values.size) for name, values in _weights(model).items()}
