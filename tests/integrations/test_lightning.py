"""The callback for Lightning, against the real package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import demitasse
from demitasse.methods.method import Method
from tests.methods.playground import Net

pytest.importorskip("lightning", reason="the extra lightning is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def module() -> Any:
    from lightning.pytorch import LightningModule

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = Net()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            for method in callbacks[-1].riding.methods:
                for record in method.records.values():
                    assert not record.inside
            images, labels = batch
            return nn.functional.cross_entropy(self.net(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)

    return Module()


callbacks: list[Any] = []


def data() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(64, 1, 8, 8, generator=generator), torch.randint(0, 10, (64,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=16)


def both(model: nn.Module, optimizer: Any) -> list[Method]:
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=8, gamma=0.1)
    return [surgery, demitasse.IncrementalQuantization(model, optimizer, bits=4)]


def trainer(folder: Path, epochs: int, **settings: Any) -> Any:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    from demitasse.integrations.lightning import DemitasseCallback

    callbacks.append(DemitasseCallback(both, portions_from=0.5))
    saving = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callbacks[-1], saving],
        default_root_dir=folder,
        **settings,
    )


@pytest.mark.parametrize("settings", [{}, {"precision": "bf16-mixed", "gradient_clip_val": 0.5}], ids=str)
def test_trains_logs_and_finishes(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = module()
    one = trainer(tmp_path, 6, **settings)
    one.fit(model, data())
    pruned, quantized = callbacks[-1].riding.reports
    assert (pruned.iteration, quantized.frozen_share) == (24, 1)
    assert pruned.sparsity == pytest.approx(0.8, abs=0.01)
    assert [row.name for row in pruned.rows] == ["net.conv.weight", "net.fc.weight"]
    assert one.callback_metrics["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert one.callback_metrics["frozen"] == 1


@pytest.mark.parametrize("start", [1, 4])
def test_resume_is_the_unbroken_run(tmp_path: Path, start: int) -> None:
    whole = module()
    trainer(tmp_path, 6).fit(whole, data())
    resumed = module()
    trainer(tmp_path / "again", 6).fit(resumed, data(), ckpt_path=tmp_path / f"epoch={start}.ckpt", weights_only=True)
    for (name, mine), its in zip(resumed.named_parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, its), name


def test_gradient_accumulation(tmp_path: Path) -> None:
    model = module()
    trainer(tmp_path, 6, accumulate_grad_batches=2).fit(model, data())
    assert callbacks[-1].riding.reports[0].iteration == 12
