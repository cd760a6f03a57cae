"""train, test, time, device_query: the actions of Caffe's own command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from demitasse.cli.commands import RUN, CaffeAction
from demitasse.cli.python_layers import PythonLayers, python_layers_run
from demitasse.errors import UsageError

if TYPE_CHECKING:
    import torch

    from demitasse.caffe.net import Net
    from demitasse.caffe.training.solver import Solver

Gpu = Annotated[str, typer.Option(help="Number of the GPU; by default the CPU is used.")]
Gpus = Annotated[str, typer.Option(help="Numbers of the GPUs, separated by commas, or 'all'.")]
Weights = Annotated[str, typer.Option(help="Caffemodels to start from, separated by commas.")]
Model = Annotated[str, typer.Option(help="The net's prototxt.")]
Iterations = Annotated[int, typer.Option(help="Number of batches.", min=1)]
Level = Annotated[
    int | None,
    typer.Option(help="Level of the net, for include and exclude rules.", min=-(2**31), max=2**31 - 1),
]
Stage = Annotated[str, typer.Option(help="Stages of the net, separated by commas.")]
Workers = Annotated[int, typer.Option(help="Number of threads that prefetch images.", min=0)]

AllowOutput = Annotated[
    bool, typer.Option("--allow-output", help="Allow the net's HDF5Output and MatWrite layers to write files.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    actions: dict[str, Callable[..., None]] = {
        "train": train,
        "test": score,
        "time": benchmark,
        "device_query": device_query,
    }
    for name, function in actions.items():
        app.command(name, cls=CaffeAction, rich_help_panel=RUN, no_args_is_help=True)(function)


def train(
    context: typer.Context,
    solver: Annotated[str, typer.Option(help="The solver's prototxt.")] = "",
    snapshot: Annotated[str, typer.Option(help="The solverstate to resume from.")] = "",
    weights: Weights = "",
    gpu: Gpus = "",
    cpu: Annotated[int, typer.Option(help="Number of processes on the CPU.", min=0, max=1024)] = 0,
    level: Level = None,
    stage: Stage = "",
    sigint_effect: Annotated[
        str, typer.Option("--sigint_effect", help="What SIGINT does: stop, snapshot or none.")
    ] = "stop",
    sighup_effect: Annotated[
        str, typer.Option("--sighup_effect", help="What SIGHUP does: stop, snapshot or none.")
    ] = "snapshot",
    workers: Workers = 1,
    python_layers: PythonLayers = False,
) -> None:
    """Train or fine-tune a net, with one process for each device."""
    _require("train", "-solver=solver.prototxt", solver)
    if snapshot and weights:
        raise UsageError("train: give -snapshot to resume or -weights to fine-tune, not both")
    from demitasse.caffe import device, log
    from demitasse.caffe.list_file import is_text
    from demitasse.caffe.text import prototxt
    from demitasse.caffe.training import ranks
    from demitasse.caffe.training.signals import Signals
    from demitasse.caffe.training.solver import Solver
    from demitasse.cli import processes
    from demitasse.files import text_path

    param = prototxt.read_solver(solver)
    if level is not None:
        param.train_state.level = level
    param.train_state.stage.extend(_stages(stage))
    if weights:
        if not is_text(weights):
            raise UsageError(f"train: -weights={weights!r}: the name is not UTF-8; rename the file")
        del param.weights[:]
        param.weights.append(text_path(weights))
    signals = Signals(sigint_effect, sighup_effect)
    process, count = device.process_rank(), device.count(gpu, cpu)
    if process.size == 1 and count > 1:
        processes.run_ranks(context.obj, count)
        return
    speaks = process.rank == 0
    with log.to_stderr() if speaks else log.silenced(), python_layers_run(python_layers), signals:
        processes.unblock_signals()
        own = _log_device(device.of_rank(process, gpu, cpu, param), 211)
        with ranks.joined(process, own) as together:
            run = Solver(param, solver, own, signals, together, workers)
            if snapshot:
                run.restore(snapshot)
            log.info("caffe.cpp:248", "Starting Optimization")
            with _progress_bar(run) if speaks else nullcontext():
                run.solve()
            log.info("caffe.cpp:259", "Optimization Done.")
    if process.size > 1:
        processes.exit_rank()


def score(
    model: Model = "",
    weights: Weights = "",
    iterations: Iterations = 50,
    gpu: Gpu = "",
    level: Level = None,
    stage: Stage = "",
    workers: Workers = 1,
    python_layers: PythonLayers = False,
    allow_output: AllowOutput = False,
) -> None:
    """Score a net: print the outputs of each batch, then their means."""
    _require("test", "-model=net.prototxt -weights=net.caffemodel", model, weights)
    import torch

    from demitasse.caffe import log, net_log, schema
    from demitasse.caffe.training import scoring
    from demitasse.caffe.weights import load_weights
    from demitasse.runtime import optimize

    with log.to_stderr(), python_layers_run(python_layers):
        device = _device(gpu, 275)
        net = _net(model, schema.TEST, level, stage, device, allow_output)
        for source in net.sources.values():
            source.workers = workers
        for path in filter(None, weights.split(",")):
            load_weights(net, path)
        run = optimize(net) if device.type == "cpu" else net
        log.info("caffe.cpp:281", f"Running for {iterations} iterations.")
        scores = scoring.net_scores(net)
        loss = 0.0
        for batch in range(iterations):
            with torch.no_grad():
                blobs = run(scoring.next_batch(net, device))
            loss += net.loss(blobs).item()
            scores.add(net, blobs)
            for name in net.outputs if isinstance(scores, scoring.MeanScores) else ():
                for value in blobs[name].flatten().tolist():
                    log.info("caffe.cpp:304", f"Batch {batch}, {name} = {log.number(value)}")
        log.info("caffe.cpp:309", f"Loss: {log.number(loss / iterations)}")
        for name, means in scores.means(iterations).items():
            for mean in means:
                log.info("caffe.cpp:321", f"{name} = {log.number(mean)}{net_log.loss_term(net, name, mean)}")


def benchmark(
    model: Model = "",
    iterations: Iterations = 50,
    gpu: Gpu = "",
    phase: Annotated[str, typer.Option(help="TRAIN or TEST.")] = "TRAIN",
    level: Level = None,
    stage: Stage = "",
    python_layers: PythonLayers = False,
    allow_output: AllowOutput = False,
) -> None:
    """Measure the time of each layer's forward and backward pass."""
    _require("time", "-model=net.prototxt", model)
    from demitasse.caffe import log, schema
    from demitasse.caffe.timing import LayerTimes

    phases = {"TRAIN": schema.TRAIN, "TEST": schema.TEST}
    if phase not in phases:
        raise UsageError(f"time: -phase={phase}: expected TRAIN or TEST")
    with log.to_stderr(), python_layers_run(python_layers):
        device = _device(gpu, 343)
        net = _net(model, phases[phase], level, stage, device, allow_output)
        log.info("caffe.cpp:351", "Performing Forward")
        log.info("caffe.cpp:356", f"Initial loss: {log.number(LayerTimes(net, device).run())}")
        log.info("caffe.cpp:357", "Performing Backward")
        log.info("caffe.cpp:365", "*** Benchmark begins ***")
        log.info("caffe.cpp:366", f"Testing for {iterations} iterations.")
        times = LayerTimes(net, device)
        begin = time.perf_counter()
        for iteration in range(iterations):
            start = time.perf_counter()
            times.run()
            spent = log.number(_milliseconds(time.perf_counter() - start))
            log.info("caffe.cpp:394", f"Iteration: {iteration + 1} forward-backward time: {spent} ms.")
        total = time.perf_counter() - begin
        _print_times(times.forward, times.backward, total, iterations)


def _print_times(forward: dict[str, float], backward: dict[str, float], total: float, iterations: int) -> None:
    from demitasse.caffe import log

    def mean(seconds: float) -> str:
        return log.number(_milliseconds(seconds / iterations))

    log.info("caffe.cpp:397", "Average time per layer: ")
    for name in forward:
        log.info("caffe.cpp:400", f"{name:>10}\tforward: {mean(forward[name])} ms.")
        log.info("caffe.cpp:403", f"{name:>10}\tbackward: {mean(backward[name])} ms.")
    log.info("caffe.cpp:408", f"Average Forward pass: {mean(sum(forward.values()))} ms.")
    log.info("caffe.cpp:410", f"Average Backward pass: {mean(sum(backward.values()))} ms.")
    log.info("caffe.cpp:412", f"Average Forward-Backward: {mean(total)} ms.")
    log.info("caffe.cpp:414", f"Total Time: {log.number(_milliseconds(total))} ms.")
    log.info("caffe.cpp:415", "*** Benchmark ends ***")


def device_query(gpu: Gpu = "") -> None:
    """Show the properties of the GPUs."""
    _require("device_query", "-gpu=0 or -gpu=all", gpu)
    import torch

    from demitasse.caffe import device, log

    with log.to_stderr():
        log.info("caffe.cpp:138", f"Querying GPUs {gpu}")
        for number in device.numbers(gpu):
            found = torch.cuda.get_device_properties(number)
            lines = {
                "Device id": number,
                "Major revision number": found.major,
                "Minor revision number": found.minor,
                "Name": found.name,
                "Total global memory": found.total_memory,
                "Number of multiprocessors": found.multi_processor_count,
            }
            for title, value in lines.items():
                log.info("common.cpp:178", f"{title + ':':<31}{value}")


def _milliseconds(seconds: float) -> float:
    return seconds * 1000


def _require(command: str, usage: str, *given: str) -> None:
    if not all(given):
        raise UsageError(f"usage: demitasse {command} {usage}")


def _stages(stage: str) -> list[str]:
    return [name for name in stage.split(",") if name]


def _device(gpu: str, line: int) -> torch.device:
    """Returns the device of ``-gpu``, or the CPU, and logs it."""
    from demitasse.caffe import device

    return _log_device(device.choose(gpu), line)


def _log_device(device: torch.device, line: int) -> torch.device:
    """Logs the device that a command runs on, and returns it."""
    from demitasse.caffe import log

    log.info(f"caffe.cpp:{line}", "Use CPU." if device.type == "cpu" else f"Use GPU with device ID {device.index}")
    return device


def _net(model: str, phase: int, level: int | None, stage: str, device: torch.device, allow_output: bool) -> Net:
    from demitasse.caffe import net_log
    from demitasse.caffe.layers.output import disable_file_output
    from demitasse.caffe.net import Net
    from demitasse.caffe.training import solver_nets

    net = solver_nets.move_to_device(Net.from_file(model, phase, level, _stages(stage)), device)
    if not allow_output:
        disable_file_output(net.named_layers().values(), "; give --allow-output to allow it")
    net_log.describe(net)
    return net


@contextmanager
def _progress_bar(solver: Solver) -> Iterator[None]:
    from demitasse.report.progress import TrainingBar

    # the log contains the lines already
    with TrainingBar(solver.net.spec.name or "Training", solver.param.max_iter, lines=False) as bar:

        def show(solver: Solver) -> None:
            if bar.is_due():
                bar.show(solver.iter, solver.loss, solver.rate, *_shares(solver.net))

        solver.callbacks.append(show)
        yield


def _shares(net: Net) -> tuple[float, float]:
    """Returns the share of weights that surgery has cut, and the share that quantization has frozen."""
    from demitasse.caffe.layers.incremental import Incremental
    from demitasse.caffe.layers.surgery import SurgeryLayer

    layers = net.named_layers().values()
    kept = [layer.compression() for layer in layers if isinstance(layer, SurgeryLayer)]
    frozen = [layer.compression() for layer in layers if isinstance(layer, Incremental)]
    return (
        1 - sum(count.marked for count in kept) / sum(count.total for count in kept) if kept else 0.0,
        sum(count.marked for count in frozen) / sum(count.total for count in frozen) if frozen else 0.0,
    )
