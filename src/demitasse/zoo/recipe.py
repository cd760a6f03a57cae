"""Reads recipes (model, data and stages) from TOML into immutable data, without running anything."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from demitasse.errors import DemitasseError, UsageError
from demitasse.methods.proposal import Proposal
from demitasse.registry import Registry, suggest
from demitasse.zoo.building import check_settings
from demitasse.zoo.data import DATASETS
from demitasse.zoo.models import MODELS
from demitasse.zoo.stages import STAGES
from demitasse.zoo.stages.base import Stage, TrainingStage
from demitasse.zoo.tables import check_keys, convert, read_table

_MOST_THREADS = 1024  # far beyond them, starting the threads ends the process
_PLAIN = ("title", "seed", "threads", "device", "checkpoint", "start", "weights", "teacher")
_TABLES = ("model", "data", "training", "stages")


@dataclass(frozen=True)
class RecipePart:
    """The model or the data set of a recipe.

    Attributes:
        name: name of a built-in model or data set.
        path: file or folder of the data; None if the data set finds it itself.
        imported: ``package.module:function`` that returns the model or the data, instead of a name.
        settings: keyword arguments of the builder.
    """

    name: str = ""
    path: Path | None = None
    imported: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What ``demitasse compress`` does.

    Attributes:
        name: name of the file without ``.toml``; also the name of the folder of the results.
        source: the file, for messages.
        model: the model to compress.
        data: the data to train and test with.
        stages: the stages, in order.
        title: a title for people.
        seed: seed of the initial weights, the order of the data, and the methods.
        threads: number of threads that torch uses; 0 keeps the current setting.
        device: ``cpu``, ``cuda`` or ``auto``.
        checkpoint: number of batches between checkpoints; 0 for checkpoints only after every epoch.
        start: another recipe, whose result is the start.
        weights: a file with a state_dict to start from.
        teacher: another recipe, whose result teaches the stages with ``distill``; without it, the start does.
        is_bundled: whether it comes with the package.
    """

    name: str
    source: str
    model: RecipePart
    data: RecipePart
    stages: tuple[Stage, ...]
    title: str = ""
    seed: int = 1
    threads: int = 0
    device: str = "auto"
    checkpoint: int = 500
    start: str = ""
    weights: Path | None = None
    teacher: str = ""
    is_bundled: bool = False

    @property
    def data_name(self) -> str:
        """The name or the import path of the data, for messages."""
        return self.data.name or self.data.imported

    @cached_property
    def stage_names(self) -> tuple[str, ...]:
        """A name for each stage: its own, or else its kind; repeated names get numbers."""
        names: list[str] = []
        for stage in self.stages:
            plain = stage.name or stage.kind
            again = sum(name.partition(" #")[0] == plain for name in names)
            names.append(f"{plain} #{again + 1}" if again else plain)
        return tuple(names)

    def quick(self) -> Recipe:
        """Returns the recipe with a tenth of the epochs and milder targets, for a quick run."""
        return replace(self, stages=tuple(stage.quick() for stage in self.stages))


def bundled() -> dict[str, str]:
    """Returns the recipes that come with the package: name -> text."""
    folder = files("demitasse.zoo") / "recipes"
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in found}


def find_recipe(given: str | Path, beside: Path | None = None) -> Recipe:
    """Returns a recipe.

    Args:
        given: a file, or a name: that of a recipe in the folder ``beside``, or else of a bundled one.
        beside: a folder of recipes.

    Raises:
        UsageError: there is no such recipe, or it is invalid; names file, table and key.
    """
    path = Path(given)
    if beside and (beside / f"{given}.toml").is_file():
        path = beside / f"{given}.toml"
    if path.suffix == ".toml":
        try:
            return parse(path.read_text(encoding="utf-8-sig"), path.stem, str(path), path.parent)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: byte {error.start}: not UTF-8") from error
    texts = bundled()
    if str(given) not in texts:
        raise UsageError(
            f"there is no recipe {str(given)!r}; expected a file *.toml or the name of a bundled recipe; "
            + _nearest(str(given))
        )
    return replace(parse(texts[str(given)], str(given), f"{given}.toml"), is_bundled=True)


def _nearest(name: str) -> str:
    """Asks for one of the three bundled recipes with the most similar names, or says where to find all."""
    known = sorted(bundled(), key=len)
    found = [one for one in known if name and name in one][:3]
    if not found and get_close_matches(name, known):
        found = get_close_matches(name, known, cutoff=0)
    return f"did you mean {' or '.join(map(repr, found))}?" if found else "demitasse recipes lists them"


def parse(text: str, name: str, source: str, folder: Path | None = None) -> Recipe:
    """Returns the recipe of a TOML text.

    Args:
        text: the content of the file.
        name: name of the recipe.
        source: name of the file, for messages.
        folder: the folder that relative paths start from; None for the working directory.

    Raises:
        UsageError: see :func:`find_recipe`.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not TOML: {error}") from error
    check_keys(table, _PLAIN + _TABLES, source)
    for needed in ("model", "data", "stages"):
        if needed not in table:
            raise UsageError(f"{source}: {needed} is missing")
    plain = {key: _top(key, table[key], source) for key in _PLAIN if key in table}
    if plain.get("start") and plain.get("weights"):
        raise UsageError(f"{source}: both start and weights are given; expected one of them")
    base = folder or Path()
    if "weights" in plain:
        plain["weights"] = base / plain["weights"]
    data = _choice("data", table["data"], source)
    stages = _stages(table["stages"], table.get("training", {}), source, base)
    _check_teacher(stages, plain, source)
    return Recipe(
        name=name,
        source=source,
        model=_choice("model", table["model"], source),
        data=replace(data, path=base / data.path) if data.path else data,
        stages=stages,
        **plain,
    )


def _check_teacher(stages: Sequence[Stage], given: Mapping[str, object], source: str) -> None:
    """Checks that stages that learn from a teacher have one, and that a teacher has such a stage."""
    learning = [number for number, stage in enumerate(stages, 1) if isinstance(stage, TrainingStage) and stage.distill]
    if learning and not any(given.get(key) for key in ("teacher", "start", "weights")):
        raise UsageError(
            f"{source}: [[stages]] {learning[0]}: distill needs a teacher; expected teacher, start or weights"
        )
    if given.get("teacher") and not learning:
        raise UsageError(f"{source}: teacher is given, but no stage has distill")


def _top(key: str, value: object, source: str) -> Any:
    kind = int if key in ("seed", "threads", "checkpoint") else str
    found = convert(value, kind, f"{source}: {key}")
    if kind is int and found < 0:
        raise UsageError(f"{source}: {key} is {found}; expected 0 or more")
    if key == "seed":
        check_seed(found, f"{source}: seed")
    if key == "threads" and found > _MOST_THREADS:
        raise UsageError(f"{source}: threads is {found}; expected at most {_MOST_THREADS}")
    if key == "device" and found not in ("auto", "cpu", "cuda"):
        raise UsageError(f"{source}: device is {found!r}; expected 'auto', 'cpu' or 'cuda'")
    return found


def check_seed(seed: int, place: str) -> int:
    """Returns a seed.

    Raises:
        UsageError: it is not a number of 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"{place} is {seed}; expected 0 to {2**32 - 1:,}")
    return seed


def _choice(key: str, table: object, source: str) -> RecipePart:
    """Reads ``[model]`` or ``[data]``; :class:`Runner` checks the settings of imported ones."""
    place = f"{source}: [{key}]"
    settings = dict(_table(table, place))
    special = {"name": "", "import": "", "path": ""}
    for word in ("name", "import") if key == "model" else special:
        if word in settings:
            special[word] = convert(settings.pop(word), str, f"{place}: {word}")
    if bool(special["name"]) == bool(special["import"]):
        raise UsageError(f"{place}: expected name or import")
    if special["import"] and not all(special["import"].partition(":")):
        raise UsageError(f"{place}: import is {special['import']!r}; expected 'package.module:function'")
    if special["name"]:
        settings = _builtin_settings(key, special["name"], settings, place)
    path = Path(special["path"]) if special["path"] else None
    return RecipePart(special["name"], path, special["import"], settings)


def _builtin_settings(key: str, name: str, settings: Mapping[str, object], place: str) -> dict[str, object]:
    registry: Registry[Any] = MODELS if key == "model" else DATASETS
    if name not in registry:
        raise UsageError(f"{place}: name is {name!r}; {suggest(name, list(registry))}")
    return check_settings(registry[name], settings, place, own=("self", "path", "seed"))


def _table(value: object, place: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise UsageError(f"{place} is {value!r}; expected a table")
    return value


def _stages(tables: object, shared: object, source: str, folder: Path) -> tuple[Stage, ...]:
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{source}: stages is {tables!r}; expected tables [[stages]]")
    common = _table(shared, f"{source}: [training]")
    check_keys(common, [one.name for one in fields(TrainingStage) if one.name != "name"], f"{source}: [training]")
    stages: list[Stage] = []
    for number, table in enumerate(tables, 1):
        place = f"{source}: [[stages]] {number}"
        settings = dict(_table(table, place))
        kind = convert(settings.pop("kind", None), str, f"{place}: kind")
        if kind not in STAGES:
            raise UsageError(f"{place}: kind is {kind!r}; {suggest(kind, list(STAGES))}")
        if issubclass(STAGES[kind], TrainingStage):
            settings = {**common, **settings}
        if STAGES[kind].proposed and "proposal" in settings:
            settings = _with_proposal(settings, STAGES[kind].proposed, folder, f"{place} ({kind})")
        stage = read_table(STAGES[kind], settings, f"{place} ({kind})")
        stage.check(f"{place} ({kind})", stages)
        stages.append(stage)
    return tuple(stages)


def _with_proposal(settings: Mapping[str, object], keys: Sequence[str], folder: Path, place: str) -> dict[str, object]:
    """Returns settings with the targets of a proposal under their keys, instead of the name of its file."""
    found = {name: value for name, value in settings.items() if name != "proposal"}
    path = folder / convert(settings["proposal"], str, f"{place}: proposal")
    for key in keys:
        if key in found:
            raise UsageError(f"{place}: both proposal and {key} are given; expected one of them")
    try:
        proposal = Proposal.load(path).as_plain()
    except DemitasseError as error:
        raise error.within(f"{place}: proposal") from error
    targets = {key: proposal[key] for key in keys if proposal[key]}
    if not targets:
        raise UsageError(f"{place}: proposal {path} proposes no {' and no '.join(keys)}")
    return {**found, **targets}
