"""A callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demitasse.errors import SnapshotError
from demitasse.extras import needs
from demitasse.formats import load, save
from demitasse.integrations.riding import Attach, Riding

with needs("transformers"):
    from transformers import TrainerCallback

FILE = "demitasse.safetensors"


class DemitasseCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Compresses while the Trainer trains.

    The methods are attached when the training begins, and end with it. Their state stands in every checkpoint, as
    ``demitasse.safetensors``, and ``resume_from_checkpoint`` goes on from it. Share of zeros and of frozen entries are
    in the logs. With ``load_best_model_at_end`` the masks, too, are those of the best checkpoint.

    Args:
        attach: given model and optimizer, attaches one method or several and returns them.
        portions_from: see :class:`demitasse.integrations.riding.Riding`.

    Attributes:
        riding: the methods, and at the end their reports.
    """

    def __init__(self, attach: Attach, portions_from: float = 0.0) -> None:
        self.riding = Riding(attach, portions_from)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved = None
        if state.global_step:
            saved = load(self._find(args, state) / FILE)
        self.riding.start(kwargs["model"], kwargs["optimizer"], saved)

    def _find(self, args: Any, state: Any) -> Path:
        """Returns the folder of the checkpoint that the Trainer goes on from."""
        given = args.resume_from_checkpoint
        folders = [Path(given)] if isinstance(given, str) else []
        folders.append(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        for folder in folders:
            if (folder / FILE).exists():
                return folder
        raise SnapshotError(
            f"{folders[0] / FILE}: there is no such file, but the training goes on from step {state.global_step}; "
            "the checkpoint was written without this callback, or was cut short, or lies elsewhere"
        )

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.riding.advance(state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved = self.riding.state_dict()
        if state.is_world_process_zero and self.riding.methods:
            save(saved, Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        metrics = self.riding.metrics()
        if logs is not None:
            logs.update(metrics)
        if state.log_history:
            state.log_history[-1].update(metrics)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        best = state.best_model_checkpoint if args.load_best_model_at_end else None
        if best is not None and (Path(best) / FILE).exists():
            # the module holds that checkpoint's weights by now
            self.riding.load_state_dict(load(Path(best) / FILE))
        self.riding.finish()
