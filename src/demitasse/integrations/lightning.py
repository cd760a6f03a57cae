"""A callback for Lightning, by either of its names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from demitasse.errors import SnapshotError
from demitasse.extras import needs
from demitasse.integrations.riding import Attach, Riding

if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    with needs("lightning"):
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            from pytorch_lightning import Callback
        else:
            from lightning.pytorch import Callback


class DemitasseCallback(Callback):
    """Compresses while Lightning trains.

    The methods are attached when the training begins, and end with it. Their state stands in every checkpoint, and
    ``fit(ckpt_path=...)`` goes on from it; also from one that was written after the training, to train longer. Share
    of zeros and of frozen entries are logged after every epoch.

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
        self._last: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        optimizers = trainer.optimizers
        # Lightning gives callbacks their state before there are optimizers
        saved, self._saved = self._saved or self._last or None, None
        if trainer.global_step and saved is None:
            raise SnapshotError(
                f"the training goes on from step {trainer.global_step}, but the checkpoint holds no state of "
                "DemitasseCallback; to compress a trained module, load its weights alone"
            )
        one_or_all = optimizers[0] if len(optimizers) == 1 else optimizers
        self.riding.start(pl_module, one_or_all, saved if trainer.global_step else None)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.riding.advance(trainer.global_step, trainer.estimated_stepping_batches)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        for name, value in self.riding.metrics().items():
            pl_module.log(name, value)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        # the last checkpoint may be written after this
        self._last = {name: tensor.cpu() for name, tensor in self.riding.state_dict().items()}
        self.riding.finish()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.riding.state_dict()) or self._last

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = dict(state_dict)
