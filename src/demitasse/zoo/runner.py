"""Runs the stages of a recipe, each from the file of the previous one; skips complete stages."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from demitasse.errors import DataError, FileFormatError, UsageError
from demitasse.files import atomic_write, make_folder
from demitasse.threads import threads
from demitasse.zoo.building import (
    build_data,
    build_model,
    check_settings,
    choose_device,
    import_function,
    load_weights,
)
from demitasse.zoo.data import TrainingData
from demitasse.zoo.models import MODELS
from demitasse.zoo.recipe import Recipe
from demitasse.zoo.records import (
    CHECKPOINT,
    RECORD,
    Result,
    check_others,
    check_same,
    is_empty,
    read_record,
    write_record,
)
from demitasse.zoo.stages import Outcome, Stage, TrainingStage, Work
from demitasse.zoo.stages.base import at
from demitasse.zoo.training import Precision, TrainingRun, evaluate

MODEL = "model.pt"


@dataclass
class Watch:
    """Callbacks while a recipe runs; by default they do nothing.

    Attributes:
        stage: called at the begin of a stage with (its name, whether it is already complete).
        step: called after every batch with (the run, the number of batches of the stage).
        epoch: called after every epoch with its record.
        result: called after every stage with its result.
    """

    stage: Callable[[str, bool], None] = lambda name, done: None
    step: Callable[[TrainingRun, int], None] = lambda run, total: None
    epoch: Callable[[dict[str, float]], None] = lambda record: None
    result: Callable[[Result], None] = lambda result: None


class Runner:
    """Runs one recipe in a folder of its own.

    Args:
        recipe: the recipe.
        folder: the folder for the results, with a folder for each stage; created if it is missing.
        start: a file with the weights to start from; None for initial weights.
        teacher: the runner, complete, of the recipe that teaches this one; None if the start does.
        allow_imports: whether the recipe may import its model and its data, which runs code of these modules.
        watch: callbacks.

    Raises:
        UsageError: the recipe imports its model or its data, but ``allow_imports`` is False, or the import fails.
        DeviceError: the device is not available.
        DataError: the data or the weights are missing.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        start: Path | None = None,
        allow_imports: bool = False,
        watch: Watch | None = None,
        teacher: Runner | None = None,
    ) -> None:
        self.recipe, self.folder, self.start, self.teacher = recipe, folder, start, teacher
        self.watch = watch or Watch()
        self.builder = self._find_builder(allow_imports)
        place, choice = f"{recipe.source}: [data]", recipe.data
        imported = import_function(choice.imported, place, allow_imports) if choice.imported else None
        self.device = choose_device(recipe.device, recipe.source)
        self.data: TrainingData = build_data(imported, choice, recipe.seed, place)
        self.basis = self._basis()

    def _find_builder(self, allow_imports: bool) -> Callable[..., object]:
        choice, place = self.recipe.model, f"{self.recipe.source}: [model]"
        if not choice.imported:
            return MODELS[choice.name]
        builder = import_function(choice.imported, place, allow_imports)
        check_settings(builder, choice.settings, place, own=("self",))
        return builder

    def _basis(self) -> dict[str, object]:
        """Returns the settings that all stages depend on, as plain data."""
        recipe, teacher = self.recipe, self.teacher
        return {
            "seed": recipe.seed,
            "model": {"name": recipe.model.name, "import": recipe.model.imported, **recipe.model.settings},
            "data": {"name": recipe.data_name, **recipe.data.settings},
            "start": checksum(self.start) if self.start else None,
            **({"teacher": checksum(teacher.outcome)} if teacher else {}),
        }

    def run(self) -> list[Result]:
        """Runs the stages that are not complete yet.

        Returns:
            The results of all stages, in order.

        Raises:
            UsageError: a stage was run before with other settings, the folder holds other stages, or the model cannot
                process the data.
            MethodError: the settings of a stage do not fit the model.
            DivergedError: a loss is not finite.
            SnapshotError: a checkpoint is broken.
        """
        results: list[Result] = []
        check_others(self.folder, [self.stage_folder(number) for number in range(len(self.recipe.stages))])
        is_tried = False
        with threads(self.recipe.threads):
            for number in range(len(self.recipe.stages)):
                finished = self._finished(number)
                if finished is None and not is_tried:
                    self._try(number)
                    is_tried = True
                results.append(finished or self._run_stage(number))
        return results

    def stage_folder(self, number: int) -> Path:
        """Returns the folder of a stage, counted from 0."""
        return stage_folder(self.recipe, self.folder, number)

    @property
    def outcome(self) -> Path:
        """The file with the weights of the last stage."""
        return self.stage_folder(len(self.recipe.stages) - 1) / MODEL

    def build(self) -> nn.Module:
        """Returns the model with its initial weights, on the device."""
        torch.manual_seed(self.recipe.seed)
        found = build_model(self.builder, self.recipe.model.settings, f"{self.recipe.source}: [model]")
        return found.to(self.device)

    def trained(self) -> nn.Module:
        """Returns the model as the last stage left it."""
        return self._loaded(self.outcome)

    def _loaded(self, weights: Path | None) -> nn.Module:
        model = self.build()
        if weights:
            try:
                load_weights(model, weights)
            except FileFormatError as error:
                if not (weights.parent / RECORD).exists():
                    raise
                raise FileFormatError(f"{error}; delete {weights.parent} to run this stage again") from error
        return model

    def _before(self, number: int) -> nn.Module:
        """Returns the model as a stage finds it."""
        return self._loaded(self.stage_folder(number - 1) / MODEL if number else self.start)

    def _try(self, first: int) -> None:
        """Tries the model and the settings of all stages from ``first`` on before anything trains.

        Runs one test batch on the CPU, where an index out of range raises instead of ending the process.
        """
        choice, model = self.recipe.model, self._before(first).cpu().eval()
        batch = next(iter(self.data.test_batches()))
        try:
            with torch.no_grad():
                self.data.measure(model, batch)
        except (DataError, RuntimeError, IndexError, ValueError, TypeError) as error:
            raise UsageError(
                f"{self.recipe.source}: model {choice.name or choice.imported!r} cannot process batches of data "
                f"{self.recipe.data_name!r}: {str(error).splitlines()[0]}"
            ) from error
        for number, stage in list(enumerate(self.recipe.stages))[first:]:
            with at(self._place(number)), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the run itself warns
                stage.rehearse(Work(self._before(first).cpu(), self.data, self.stage_folder(number)))

    def _settings(self, number: int) -> dict[str, object]:
        stage = self.recipe.stages[number]
        plain: dict[str, object] = json.loads(json.dumps({"kind": stage.kind, **asdict(stage), "recipe": self.basis}))
        return plain

    def _finished(self, number: int) -> Result | None:
        """Returns the result of a stage if it is complete."""
        folder = self.stage_folder(number)
        record = read_record(folder)
        if record is None or is_empty(folder, record):
            return None
        check_same(record["settings"], self._settings(number), self._place(number))
        if record["result"] is None:
            return None
        self.watch.stage(self.recipe.stage_names[number], True)
        kept = {name: (some, total) for name, (some, total) in record["result"].pop("kept").items()}
        return Result(**record["result"], kept=kept)

    def _place(self, number: int) -> str:
        return f"{self.recipe.source}: stage {self.recipe.stage_names[number]!r}"

    def _run_stage(self, number: int) -> Result:
        name, stage, folder = self.recipe.stage_names[number], self.recipe.stages[number], self.stage_folder(number)
        self.watch.stage(name, False)
        work = self._work(number)
        make_folder(folder)
        write_record(folder, self._settings(number), None)
        start = time.perf_counter()
        with at(self._place(number)):
            outcome = stage.run(work)
        seconds = sum(record["seconds"] for record in outcome.history) or time.perf_counter() - start
        with atomic_write(folder / MODEL) as file:
            torch.save(work.model.state_dict(), file)
        result = self._measure(name, stage, work, outcome, seconds)
        write_record(folder, self._settings(number), asdict(result))
        (folder / CHECKPOINT).unlink(missing_ok=True)
        self.watch.result(result)
        return result

    def _work(self, number: int) -> Work:
        """Returns what a stage works on, read from files only, so that a resume gives the same result."""
        stage = self.recipe.stages[number]
        model = self._before(number)
        if _precision(stage).channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        seed = 1000 * self.recipe.seed + number
        torch.manual_seed(seed)
        offset = sum(_epochs(earlier) for earlier in self.recipe.stages[:number])
        watch = self.watch
        return Work(
            model,
            self.data,
            self.stage_folder(number),
            seed,
            self.recipe.checkpoint,
            offset,
            watch.step,
            watch.epoch,
            self.teacher.trained if self.teacher else partial(self._loaded, self.start),
        )

    def _measure(self, name: str, stage: Stage, work: Work, outcome: Outcome, seconds: float) -> Result:
        file = outcome.file or work.folder / MODEL
        return Result(
            name=name,
            kind=stage.kind,
            # in float32, whatever the precision in training
            tests=evaluate(work.model, self.data, replace(_precision(stage), bfloat16=False)),
            kept=kept_by_layer(work.model),
            bytes=file.stat().st_size,
            file=str(file.relative_to(self.folder)),
            seconds=seconds,
            history=outcome.history,
            report=outcome.report,
        )


def stage_folder(recipe: Recipe, folder: Path, number: int) -> Path:
    """Returns the folder of a recipe's stage, counted from 0, in the recipe's folder."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in recipe.stage_names[number])
    return folder / f"{number + 1}-{plain}"


def checksum(weights: Path) -> str:
    """Returns the checksum by which records name a file of weights.

    Raises:
        DataError: there is no such file.
    """
    if not weights.is_file():
        raise DataError(f"{weights}: there is no such file of weights")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]


def _precision(stage: Stage) -> Precision:
    return stage.precision if isinstance(stage, TrainingStage) else Precision()


def _epochs(stage: Stage) -> int:
    return stage.epochs if isinstance(stage, TrainingStage) else 0


def kept_by_layer(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Returns layer -> (number of nonzero parameters, number of all); a tied parameter counts once."""
    kept: dict[str, tuple[int, int]] = {}
    for name, weights in model.named_parameters():
        layer = name.rpartition(".")[0] or name
        some, total = kept.get(layer, (0, 0))
        kept[layer] = some + int(torch.count_nonzero(weights)), total + weights.numel()
    return kept
