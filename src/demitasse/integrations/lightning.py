"""A callback for Lightning, imported as ``lightning.pytorch`` or as ``pytorch_lightning``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torch import Tensor
from typing_extensions import override

from demitasse.errors import SnapshotError
from demitasse.extras import needs
from demitasse.integrations.compression import Attach, Compression

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    with needs("lightning"):
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            from pytorch_lightning import Callback
        else:
            from lightning.pytorch import Callback


class DemitasseCallback(Callback):
    """Compresses a model while Lightning trains it.

    The callback attaches the methods when the training begins, and finishes them when it ends. It writes their state
    to every checkpoint, from which ``fit(ckpt_path=...)`` continues; a checkpoint written after the training also
    works, to train longer. It logs the shares of zeros and of frozen entries after every epoch.

    Args:
        attach: a function of the LightningModule and its optimizer (a list if it has several) that attaches one or
            several methods and returns them.
        portions_from: see :class:`demitasse.integrations.compression.Compression`.

    Attributes:
        compression: the methods, and at the end their reports.
    """

    def __init__(self, attach: Attach, portions_from: float = 0.0) -> None:
        super().__init__()
        self.compression = Compression(attach, portions_from)
        self._saved: dict[str, Tensor] | None = None
        self._last: dict[str, Tensor] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        optimizers = trainer.optimizers
        # Lightning loads the state of callbacks before there are optimizers
        saved, self._saved = self._saved or self._last or None, None
        if trainer.global_step and saved is None:
            raise SnapshotError(
                f"the training resumes from step {trainer.global_step}, but the checkpoint has no state of "
                "DemitasseCallback; to compress a trained module, load only its weights"
            )
        one_or_all = optimizers[0] if len(optimizers) == 1 else optimizers
        self.compression.start(pl_module, one_or_all, saved if trainer.global_step else None)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        self.compression.advance(trainer.global_step, trainer.estimated_stepping_batches)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, value in self.compression.metrics().items():
            pl_module.log(name, value)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning may write the last checkpoint after this
        self._last = {name: tensor.cpu() for name, tensor in self.compression.state_dict().items()}
        self.compression.finish()

    @override
    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.compression.state_dict()) or self._last

    @override
    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self._saved = dict(state_dict)
