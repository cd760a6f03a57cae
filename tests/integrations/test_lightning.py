"""The callback for Lightning, against the real package."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import demitasse
from demitasse.errors import SnapshotError, UsageError
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
            for method in callbacks[-1].compression.methods:
                for record in method.records.values():
                    assert not record.in_step
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


def both(model: nn.Module, optimizer: Any, ramp: int = 8) -> list[Method]:
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=ramp, gamma=0.1)
    return [surgery, demitasse.IncrementalQuantization(model, optimizer, bits=4)]


# for trainings whose first portion is frozen before step 8
soon = partial(both, ramp=4)


def trainer(folder: Path, epochs: int, attach: Any = both, **settings: Any) -> Any:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    from demitasse.integrations.lightning import DemitasseCallback

    callbacks.append(DemitasseCallback(attach, portions_from=0.5))
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
    pruned, quantized = callbacks[-1].compression.reports
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
    trainer(tmp_path, 6, soon, accumulate_grad_batches=2).fit(model, data())
    assert callbacks[-1].compression.reports[0].iteration == 12


def test_a_checkpoint_of_the_end_lets_a_longer_training_go_on(tmp_path: Path) -> None:
    model = module()
    one = trainer(tmp_path, 6)
    one.fit(model, data())
    one.save_checkpoint(tmp_path / "end.ckpt")
    resumed = module()
    trainer(tmp_path / "again", 8).fit(resumed, data(), ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    pruned, quantized = callbacks[-1].compression.reports
    assert (pruned.iteration, quantized.frozen_share) == (32, 1)
    assert torch.equal(resumed.net.fc.weight, model.net.fc.weight)


def test_the_same_trainer_goes_on(tmp_path: Path) -> None:
    model = module()
    one = trainer(tmp_path, 2, soon)
    one.fit(model, data())
    one.fit_loop.max_epochs = 3
    one.fit(model, data())
    assert callbacks[-1].compression.reports[0].iteration == 12


def test_a_checkpoint_without_our_state(tmp_path: Path) -> None:
    one = trainer(tmp_path, 1)
    one.callbacks.remove(callbacks[-1])
    one.fit(module(), data())
    with pytest.raises(SnapshotError, match=r"resumes from step 4, but the checkpoint has no state"):
        trainer(tmp_path, 2).fit(module(), data(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True)


def test_a_training_that_broke_off_can_begin_again(tmp_path: Path) -> None:
    model = module()
    one = trainer(tmp_path, 2, soon)
    good, model.training_step = model.training_step, lambda batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        one.fit(model, data())
    model.training_step = good
    one.fit(model, data())
    assert callbacks[-1].compression.reports[0].iteration == 8


def test_portions_need_an_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="portions are shares of the training, but it has no end"):
        trainer(tmp_path, -1).fit(module(), data())


def test_several_optimizers(tmp_path: Path) -> None:
    from lightning.pytorch import LightningModule

    class Two(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.net = Net()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> None:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()

        def configure_optimizers(self) -> list[torch.optim.Optimizer]:
            parts = (self.net.conv, self.net.fc)
            return [torch.optim.SGD(part.parameters(), lr=0.05, momentum=0.9) for part in parts]

    def surgery(model: nn.Module, optimizers: Any) -> Method:
        assert len(optimizers) == 2
        return demitasse.Surgery(model, optimizers, sparsity=0.8, ramp=4)

    trainer(tmp_path, 2, surgery).fit(Two(), data())
    report = callbacks[-1].compression.reports[0]
    assert report.iteration == 8
    assert report.sparsity == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("first", ["", "import lightning.pytorch"], ids=["alone", "after lightning"])
def test_pytorch_lightning(tmp_path: Path, first: str) -> None:
    """The package by its other name, in a process of its own."""
    pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is not installed")
    code = f"""
{first}
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import demitasse
from demitasse.integrations.lightning import DemitasseCallback


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 4)

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(epochs):
    callback = DemitasseCallback(lambda model, optimizer: demitasse.Surgery(model, optimizer, sparsity=0.5, ramp=4))
    settings = dict(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    return callback, pl.Trainer(max_epochs=epochs, callbacks=[callback], default_root_dir={str(tmp_path)!r}, **settings)


data = DataLoader(TensorDataset(torch.randn(32, 8), torch.randint(0, 4, (32,))), batch_size=4)
callback, one = trainer(1)
one.fit(Module(), data)
assert callback.compression.reports[0].sparsity == 0.5
callback, two = trainer(2)
two.fit(Module(), data, ckpt_path=one.checkpoint_callback.best_model_path)
assert callback.compression.reports[0].iteration == 16
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
