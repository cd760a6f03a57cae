"""C for microcontrollers: a .c and a .h of a net, with integers and shifts, or with floats.

A graph is lowered to a few operations (``lowering``), whose dead channels are dropped (``live``); tensors get formats
(``formats``) and operations their form in integers (``integers``), which a twin in NumPy computes, too (``twin``);
``text`` writes the C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from demitasse.arrays import Array
from demitasse.errors import ExportError, UsageError, parameter
from demitasse.export.c_source import lowering_calls
from demitasse.export.c_source.evaluation import FloatArithmetic, evaluate
from demitasse.export.c_source.formats import bounded, calibrated, chosen
from demitasse.export.c_source.live import without_dead_channels
from demitasse.export.c_source.lowering import lowered
from demitasse.export.c_source.net import CNet
from demitasse.export.c_source.source_net import SourceNet, source_net
from demitasse.export.c_source.text.source import WrittenNet, written
from demitasse.export.c_source.twin import CTwin, softmax
from demitasse.export.check import OutputComparison
from demitasse.files import atomic_write
from demitasse.graph import Model
from demitasse.graph.weights import Doubles

_FILES = (lowering_calls,)

ARITHMETICS = ("int", "float")
# headers of C, whose names a file beside them would hide
_HEADERS = {
    "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math", "setjmp",
    "signal", "stdarg", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string", "tgmath", "time", "wchar", "wctype",
}  # fmt: skip
# the greatest difference of the operations from the net, relative to its greatest output
_TOLERANCE = 1e-4
_SAMPLES = 8


@dataclass
class CReport:
    """What was written.

    Attributes:
        files: paths of the .c, the .h and, if asked for, the program.
        written: the net in C, layer by layer.
        twin: computes the same integers in Python; None for floats.
        rows: how far each output of the C is from that of the net, on calibration inputs or random ones.
    """

    files: list[Path]
    written: WrittenNet
    twin: CTwin | None
    rows: list[OutputComparison]


def c(
    model: nn.Module | Model | str | Path,
    example: object,
    path: str | Path,
    *,
    arithmetic: str = "int",
    calibration: Array | Mapping[str, Array] | None = None,
    range: tuple[float, float] | None = None,
    bits: int | None = None,
    smallest: bool = False,
    main: bool = False,
) -> CReport:
    """Writes a net as C99 for microcontrollers: ``net.c`` and ``net.h``, without memory from the heap or a library.

    Batch normalization is folded into weights, pooling and activations are computed with the layer before them, and
    channels that nothing needs are dropped. A softmax at the end is left to the function that makes floats.

    Args:
        model: a PyTorch module in evaluation; a Caffe net, or a model of :func:`~demitasse.export.of_files`; or the
            path of a whole-model ``.demi`` file.
        example: an input of a PyTorch module, or a tuple of its arguments; None for others.
        path: the file to write, ``.c``; the names in C begin with its stem.
        arithmetic: ``int``: weights are signed powers of two, times one factor a row at most; there are shifts and
            sums of int32, and no multiplication. ``float``: any weights, in float32.
        calibration: inputs, (n, ...) float32 as the net takes them, or one such array for each input by name; ranges of
            values are what occurs for them.
        range: instead of ``calibration``, the least and the greatest value of inputs; other ranges are bounds that
            follow from the weights.
        bits: of all values: 8 or 16; None for 8 where that changes the outputs by at most 2 %, else 16.
        smallest: whether weights are to take as little flash as possible, with the code that reads them: by the
            arithmetic coding of ``.demi`` files, which takes more cycles, and a multiplication for each decision.
        main: whether to write a program, too, ``net_main.c``, which runs the net on inputs from standard input.

    Returns:
        What was written, with the twin.

    Raises:
        UsageError: a setting is unknown, or there are neither calibration inputs nor a range.
        ExportError: a layer has no form in C, or its weights are no powers of two; names the layer.
        FileFormatError, WeightsError: the file is damaged.
    """
    path = Path(path)
    _expect_settings(path, arithmetic, calibration, range, bits, smallest)
    source = source_net(model, example)
    net = lowered(source.graph)
    inputs = _inputs(net, calibration)
    samples = {name: values[:_SAMPLES] for name, values in inputs.items()} if inputs else _random(net, range)
    expected = _reference(source, samples)
    _expect_same(net, samples, expected)
    net = without_dead_channels(net)
    twin = None
    if arithmetic == "int":
        ranges = calibrated(net, inputs) if inputs else bounded(net, *(range or (0.0, 0.0)))
        twin = CTwin(chosen(net, ranges, bits, inputs))
    made = written(twin.net if twin else net, path.stem, source.origin, smallest)
    rows = _rows(expected, twin.floats(samples) if twin else _floats(net, samples))
    files = [path, path.with_suffix(".h")] + ([path.with_name(f"{path.stem}_main.c")] if main else [])
    with ExitStack() as drafts:  # which replace old files once all of them are complete
        for file, suffix in zip(files, made.files, strict=False):
            drafts.enter_context(atomic_write(file)).write(made.files[suffix].encode())
    return CReport(files, made, twin, rows)


def _expect_settings(
    path: Path,
    arithmetic: str,
    calibration: object,
    range: tuple[float, float] | None,
    bits: int | None,
    smallest: bool,
) -> None:
    if path.suffix != ".c":
        raise UsageError(f"{path}: expected a file name that ends in .c")
    if not re.fullmatch(r"[0-9A-Za-z_.+-]+", path.stem):
        raise UsageError(f"{path}: C includes its header by name; expected letters, digits, and - + . _ in it")
    if path.stem.lower() in _HEADERS:
        raise UsageError(f"{path}: its header would have the name of one of C's own; give the file another name")
    if arithmetic not in ARITHMETICS:
        raise UsageError(f"{parameter('arithmetic', arithmetic)}: expected 'int' or 'float'")
    if smallest and arithmetic != "int":
        raise UsageError(f"{parameter('smallest')} is for the arithmetic 'int', whose weights are powers of two")
    if bits not in (None, 8, 16):
        raise UsageError(f"{parameter('bits', bits)}: expected 8 or 16")
    if calibration is not None and range is not None:
        raise UsageError(f"found {parameter('calibration')} and {parameter('range')}; give one of them")
    if range is not None and not _is_range(range):
        raise UsageError(f"{parameter('range', range)}: expected two numbers of float32, the lower one first")
    if arithmetic == "int" and calibration is None and range is None:
        raise UsageError(
            f"the ranges of values are not known: give inputs ({parameter('calibration')}), or the least and the "
            f"greatest value of inputs ({parameter('range')})"
        )


def _is_range(given: object) -> bool:
    """Tells whether something is two numbers of float32, the lower one first."""
    try:
        ends = np.array(given, np.float64)
    except (TypeError, ValueError):
        return False
    return ends.shape == (2,) and _are_finite(ends) and bool(ends[0] < ends[1])


def _inputs(net: CNet, calibration: Array | Mapping[str, Array] | None) -> dict[str, Doubles] | None:
    """Returns calibration inputs by name, checked."""
    if calibration is None:
        return None
    if isinstance(calibration, np.ndarray):
        if len(net.inputs) != 1:
            raise UsageError(f"the net has the inputs {', '.join(net.inputs)}; give an array for each of them by name")
        calibration = {next(iter(net.inputs)): calibration}
    if not isinstance(calibration, Mapping) or not all(isinstance(each, np.ndarray) for each in calibration.values()):
        raise UsageError(f"{parameter('calibration')}: expected an array of NumPy, or one for each input by name")
    if set(calibration) != set(net.inputs):
        raise UsageError(f"found inputs {', '.join(calibration)}; expected {', '.join(net.inputs)}")
    for name, number in net.inputs.items():
        values, tensor = calibration[name], net.tensors[number]
        shape = (tensor.channels, *tensor.plane)
        fits = len(values.shape) > 0 and len(values) and _long(values.shape[1:]) in (_long(shape), (tensor.size,))
        if not fits or values.dtype.kind not in "fiu":
            raise UsageError(
                f"calibration inputs {name!r}: found shape {list(values.shape)} of {values.dtype}; "
                f"expected (n, {', '.join(map(str, shape if tensor.area > 1 else shape[:1]))}), or (n, {tensor.size})"
            )
        if not _are_finite(values):
            raise UsageError(f"calibration inputs {name!r} are not finite numbers of float32")
    if len({len(values) for values in calibration.values()}) > 1:
        raise UsageError("calibration inputs have batches of different sizes")
    return {name: np.asarray(calibration[name], np.float64) for name in net.inputs}


def _are_finite(values: Array) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32)).all())


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a shape without axes of one place."""
    return tuple(size for size in shape if size != 1)


def _random(net: CNet, range: tuple[float, float] | None) -> dict[str, Doubles]:
    """Returns inputs, always the same: evenly distributed in the range, or normally without one."""
    drawn = np.random.default_rng(0)
    found = {}
    for name, number in net.inputs.items():
        shape = (_SAMPLES, net.tensors[number].size)
        values = drawn.normal(size=shape) if range is None else drawn.uniform(*range, size=shape)
        found[name] = values.astype(np.float32).astype(np.float64)
    return found


@torch.no_grad()
def _reference(source: SourceNet, samples: Mapping[str, Doubles]) -> dict[str, Doubles]:
    """Returns what the net computes, (n, values) by name."""
    shapes = {name: source.graph.values[number].shape[1:] for name, number in source.graph.inputs.items()}
    given = {name: torch.from_numpy(each.reshape(-1, *shapes[name])).float() for name, each in samples.items()}
    found = source.reference(given)
    return {name: found[name].double().numpy().reshape(len(found[name]), -1) for name in source.graph.outputs}


def _expect_same(net: CNet, samples: Mapping[str, Doubles], expected: Mapping[str, Doubles]) -> None:
    """Checks that the operations compute what the net does."""
    for name, values in expected.items():
        if not np.isfinite(values).all():
            raise UsageError(f"the net's output {name!r} is not finite for these inputs")
    for row in _rows(expected, _floats(net, samples)):
        if not row.relative <= _TOLERANCE:
            raise ExportError(
                f"output {row.name!r} of the operations in C differs by {row.difference:.3g} from the net's, whose "
                f"greatest magnitude is {row.largest:.3g}"
            )


def _floats(net: CNet, samples: Mapping[str, Doubles]) -> dict[str, Doubles]:
    made = evaluate(net, FloatArithmetic(), samples)
    flat = {name: values.reshape(len(values), -1) for name, values in made.items()}
    return {name: softmax(values) if name in net.softmax else values for name, values in flat.items()}


def _rows(expected: Mapping[str, Doubles], found: Mapping[str, Doubles]) -> list[OutputComparison]:
    return [
        OutputComparison(name, values.shape, float(np.abs(values).max()), float(np.abs(values - found[name]).max()))
        for name, values in expected.items()
    ]
