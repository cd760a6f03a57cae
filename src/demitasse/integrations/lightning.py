"""A callback for Lightning, by either of its names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from demitasse.errors import UsageError
from demitasse.integrations.riding import Attach, Riding

if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    try:
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            from pytorch_lightning import Callback
        else:
            from lightning.pytorch import Callback
    except ImportError as error:
        raise UsageError(f"lightning cannot be imported ({error}); pip install 'demitasse[lightning]'") from None


class DemitasseCallback(Callback):
    """Compresses while Lightning trains.

    The methods are attached when the training begins, and end with it. Their state stands in every checkpoint, and
    ``fit(ckpt_path=...)`` goes on from it. Share of zeros and of frozen entries are logged after every epoch.

    Args:
        attach: given the LightningModule and its optimizer (a list where it has several), attaches one method or
            several and returns them.
        portions_from: see :class:`demitasse.integrations.riding.Riding`.

    Attributes:
        riding: the methods, and at the end their reports.
    """

    def __init__(self, attach: Attach, portions_from: float = 0.0) -> None:
        super().__init__()
        self.riding = Riding(attach, portions_from)
        self._saved: dict[str, Any] | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        optimizers = trainer.optimizers
        # Lightning gives callbacks their state before there are optimizers
        saved, self._saved = self._saved, None
        self.riding.start(pl_module, optimizers[0] if len(optimizers) == 1 else optimizers, saved)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.riding.advance(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        for name, value in self.riding.metrics().items():
            pl_module.log(name, value)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.riding.finish()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.riding.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = dict(state_dict)
