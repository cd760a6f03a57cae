"""Writes the page: one HTML file with all it needs, which is opened without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from demitasse import __version__
from demitasse.errors import UsageError, parameter
from demitasse.extras import needs
from demitasse.files import is_same_file, write_text
from demitasse.report import style
from demitasse.report.page.cells import figures, run_table, stage_table, tensor_table
from demitasse.report.page.charts import charts_of
from demitasse.report.page.comparison import comparison_charts
from demitasse.report.page.pictures import Picture, draw
from demitasse.report.page.reading import read_runs
from demitasse.report.page.run import Run
from demitasse.report.page.sentences import broken, shown

with needs("jinja2"):
    from jinja2 import Environment, PackageLoader, StrictUndefined

LARGEST_PAGE = 1_500_000  # bytes
_SUFFIXES = (".html", ".htm")
_MARKUP = 10_000  # bytes of a run around its pictures
# the most tensors in a chart -> the bytes that must be left for a run's pictures of weights, or else there are fewer
_DETAILS = {24: 60_000, 12: 60_000, 6: 0, 0: 0}


def write_page(paths: Sequence[str | Path], out: str | Path = "report.html") -> int:
    """Writes a page that shows runs, and compares them if there are several.

    Args:
        paths: folders of ``demitasse compress`` and ``demitasse demo``, .demi files, and logs of training.
        out: the page to write.

    Returns:
        The size of the page in bytes.

    Raises:
        FileFormatError: a path is missing, damaged, or nothing of the kind; nothing is written.
        UsageError: there are no paths, one is given twice, the page would replace one or is not called .html, or it
            would become too large.
        MissingPackageError: the packages for pages are not installed.
        WriteError: the page cannot be written.
    """
    _check_target(Path(out), paths)
    html = page_of(read_runs(paths))
    write_text(out, html)
    return len(html.encode())


def _check_target(out: Path, paths: Sequence[str | Path]) -> None:
    """Checks that a page does not replace what it is made of, such as a log, or the second one of ``-o *.log``."""
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; expected a page to write, a file {' or '.join(_SUFFIXES)}")
    if out.suffix.lower() not in _SUFFIXES and (out.is_file() or not out.exists()):
        raise UsageError(f"{out}: expected a page to write, a file {' or '.join(_SUFFIXES)}")
    if any(is_same_file(out, path) for path in paths):
        raise UsageError(f"{out}: is to be read and to be written; expected another {parameter('out')}")


def page_of(runs: Sequence[Run]) -> str:
    """Returns the page of runs as HTML, of at most :data:`LARGEST_PAGE` bytes.

    The more runs there are, the fewer tensors it shows of each.

    Raises:
        UsageError: there are too many runs.
    """
    for most, room in _DETAILS.items():
        sections = [_section(number, run, most) for number, run in enumerate(runs, 1)]
        plain = _render(runs, sections, [{} for _ in runs])
        free = LARGEST_PAGE - len(plain.encode()) - (_MARKUP * len(runs) if most else 0)
        if free >= room * len(runs):
            break
    else:
        raise UsageError(
            f"the page would have more than {LARGEST_PAGE:,} bytes (runs: {len(runs)}); expected fewer runs at a time"
        )
    pictures = [draw(run.weights, free // len(runs)) if most else {} for run in runs]
    return _render(runs, sections, pictures)


def _section(number: int, run: Run, most: int) -> Mapping[str, object]:
    return {
        "id": f"run-{number}",
        "run": run,
        "figures": figures(run),
        "charts": charts_of(run, most),
        "stages": stage_table(run.stages) if run.stages else None,
        "broken": broken(run.weights),
        "left_out": bool(run.weights) and not most,
        "tensors": tensor_table(run) if run.weights and most else None,
    }


def _render(
    runs: Sequence[Run], sections: Sequence[Mapping[str, object]], pictures: Sequence[Mapping[str, Picture]]
) -> str:
    environment = Environment(
        loader=PackageLoader("demitasse.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "plain": lambda value: json.dumps(value, separators=(",", ":"))}
    script = (files("demitasse.report.page") / "templates" / "script.js").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        sections=sections,
        pictures=pictures,
        comparison=run_table(runs) if len(runs) > 1 else None,
        comparison_charts=comparison_charts(runs),
        title=runs[0].title if len(runs) == 1 else f"{len(runs)} runs compared",
        version=__version__,
        script=script,
        checksum=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        light=_variables(style.COLOURS, style.LIGHT_GROUNDS, (style.INK, style.QUIET, style.FAINT)),
        dark=_variables(style.DARK_COLOURS, style.DARK_GROUNDS, (style.DARK_INK, style.DARK_QUIET, style.DARK_FAINT)),
    )


def _variables(colours: Sequence[str], grounds: Sequence[str], inks: Sequence[str]) -> dict[str, str]:
    """Returns the variables of a style sheet: name -> colour."""
    names = [f"series-{number}" for number in range(1, len(colours) + 1)]
    names += ["ground", "page", "wash", "ink", "quiet", "faint"]
    return dict(zip(names, (*colours, *grounds, *inks), strict=True))
