"""Reads a log of training, of demitasse or of a Caffe, for the page."""

from __future__ import annotations

import math
import re
from pathlib import Path

from demitasse.errors import shortened
from demitasse.report.log_parser import Series, TrainingLog, lines_of, read_log
from demitasse.report.page.run import Run, StageCurves
from demitasse.report.page.sentences import listed

_SOLVER = re.compile(r"Initializing solver from parameters:[^\n]*\n((?:(?![IWEF]\d{4,8} ).*\n)+)")
_SETTING = re.compile(r"^(\w+): \"?(.*?)\"?$", re.MULTILINE)
_SHOWN = ("random_seed", "net", "type", "base_lr", "lr_policy", "max_iter", "solver_mode")
_MOST_TESTS, _MOST_NAMED = 10, 3


def read_caffe_log(path: Path, name: str) -> Run:
    """Returns the run that a log tells of.

    Args:
        path: the log.
        name: its name on the page.

    Raises:
        FileFormatError: the file cannot be read, or is not a log of a training run.
    """
    log = read_log(path, latest=True)
    solver = _SOLVER.findall("".join(f"{line}\n" for line in lines_of(path)))
    settings = dict(_SETTING.findall(solver[-1])) if solver else {}
    facts = {key.replace("_", " ").replace("random seed", "seed"): settings[key] for key in _SHOWN if key in settings}
    return Run(
        name=name,
        title=f"Training: {path.name}",
        sentence=_sentence(log),
        facts=facts,
        unit="iteration",
        curves=[StageCurves("training", _panels(log))],
        texts={"solver": shortened(solver[-1].strip())} if solver else {},
    )


def _panels(log: TrainingLog) -> dict[str, Series]:
    """Returns the curves: of the first test outputs, and of the training."""
    tests = {f"test {name}": series for name, series in list(log.tests.items())[:_MOST_TESTS]}
    found = {**tests, "training loss": log.loss, "learning rate": log.lr}
    return {name: series for name, series in found.items() if series.values}


def _sentence(log: TrainingLog) -> str:
    every = [series for series in (*log.tests.values(), log.loss, log.lr) if series.values]
    steps = [step for series in every for step in series.iterations]
    seconds = max((second for series in every for second in series.seconds), default=0.0)
    parts = [_change("the training loss", log.loss)] if log.loss.values else []
    named = list(log.tests.items())[: _MOST_NAMED if len(log.tests) > _MOST_NAMED + 1 else None]
    parts += [_last(name, series) for name, series in named]
    parts += [f"there are {len(log.tests) - len(named)} more test outputs"] if len(named) < len(log.tests) else []
    hidden = len(log.tests) - _MOST_TESTS
    cut = f" The curves of {hidden} test outputs are not shown." if hidden > 0 else ""
    first, last = min(steps), max(steps)
    ran = f"Training ran for {last:,} iteration{'' if last == 1 else 's'}"
    if first > 1:  # of a run that was resumed, or without its beginning
        ran = f"Training ran {f'from iteration {first:,} ' if first < last else ''}to iteration {last:,}"
    took = f" in {seconds:,.1f} s" if seconds > 0 else ""
    several = f"The log holds {log.runs} runs; iterations that several of them did are shown as the last one did them. "
    return f"{several if log.runs > 1 else ''}{ran}{took}: {listed(parts)}.{cut}"


def _last(name: str, series: Series) -> str:
    values = [
        value for step, value in zip(series.iterations, series.values, strict=True) if step == series.iterations[-1]
    ]
    if len(values) == 1:
        return f"the last test {name} was {values[0]:.4g}"
    return f"the last {len(values)} values of test {name} were {min(values):.4g} to {max(values):.4g}"


def _change(what: str, series: Series) -> str:
    if all(math.isnan(value) for value in series.values):
        return f"{what} was never a number"
    bad = sum(not math.isfinite(value) for value in series.values)
    broken = f" ({bad:,} of {len(series.values):,} values are not finite)" if bad else ""
    if len(series.values) == 1:
        return f"{what} was {series.values[0]:.4g}"
    return f"{what} went from {series.values[0]:.4g} to {series.values[-1]:.4g}{broken}"
