"""A callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import override

from demitasse.errors import SnapshotError
from demitasse.extras import needs
from demitasse.formats import load, save
from demitasse.integrations.compression import Attach, Compression

with needs("transformers"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

FILE = "demitasse.safetensors"


class DemitasseCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Compresses a model while the Trainer trains it.

    The callback attaches the methods when the training begins, and finishes them when it ends. It writes their state
    to every checkpoint, as ``demitasse.safetensors``, from which ``resume_from_checkpoint`` continues. It logs the
    shares of zeros and of frozen entries. With ``load_best_model_at_end`` it also restores the masks of the best
    checkpoint.

    Args:
        attach: a function of model and optimizer that attaches one or several methods and returns them.
        portions_from: see :class:`demitasse.integrations.compression.Compression`.

    Attributes:
        compression: the methods, and at the end their reports.
    """

    def __init__(self, attach: Attach, portions_from: float = 0.0) -> None:
        self.compression = Compression(attach, portions_from)

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        saved = None
        if state.global_step:
            saved = load(self._find(args, state) / FILE)
        self.compression.start(kwargs["model"], kwargs["optimizer"], saved)

    def _find(self, args: TrainingArguments, state: TrainerState) -> Path:
        """Returns the folder of the checkpoint that the Trainer resumes from."""
        given = args.resume_from_checkpoint
        folders = [Path(given)] if isinstance(given, str) else []
        folders.append(Path(args.output_dir or ".") / f"checkpoint-{state.global_step}")
        for folder in folders:
            if (folder / FILE).exists():
                return folder
        raise SnapshotError(
            f"{folders[0] / FILE}: there is no such file, but the training resumes from step {state.global_step}; "
            "the checkpoint was written without this callback, is incomplete, or is in another folder"
        )

    @override
    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.compression.advance(state.global_step, state.max_steps)

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        saved = self.compression.state_dict()
        if state.is_world_process_zero and self.compression.methods:
            save(saved, Path(args.output_dir or ".") / f"checkpoint-{state.global_step}" / FILE)

    @override
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        metrics = self.compression.metrics()
        if logs is not None:
            logs.update(metrics)
        if state.log_history:
            state.log_history[-1].update(metrics)

    @override
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        best = state.best_model_checkpoint if args.load_best_model_at_end else None
        if best is not None and (Path(best) / FILE).exists():
            # the Trainer has already loaded the weights of that checkpoint
            self.compression.load_state_dict(load(Path(best) / FILE))
        self.compression.finish()
