"""The training loop: it learns, and stopped anywhere it goes on to the same bits."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from demitasse.errors import DivergedError, SnapshotError, UnknownNameError
from demitasse.zoo.data import DATASETS, Batch
from demitasse.zoo.models import MODELS
from demitasse.zoo.optimizers import make_optimizer
from demitasse.zoo.schedules import factor, scheduler
from demitasse.zoo.training import Precision, TrainingRun, evaluate


class Net(nn.Module):
    """All that a resume must bring back: batch statistics, dropout, a layer's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(8 * 36, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.dropout(functional.relu(self.bn(self.conv(images))))
        return self.fc(x.flatten(1))


def make_run(optimizer: str = "sgd", epochs: int = 3, **settings: Any) -> TrainingRun:
    torch.manual_seed(7)
    model = Net()
    data = DATASETS["digits"](None, batch=128, seed=3)
    momentum = {"momentum": 0.9} if optimizer == "sgd" else {}
    chosen = make_optimizer(optimizer, model, 0.02, weight_decay=1e-3, **momentum)
    plan = scheduler(chosen, "cosine", epochs * data.steps, 0.2)
    return TrainingRun(model, data, chosen, plan, **settings)


class Killed(Exception):
    """Stands for a kill."""


def kill_at(epoch: int, step: int) -> Any:
    def callback(run: TrainingRun) -> None:
        if (run.epoch, run.step) == (epoch, step):
            raise Killed

    return callback


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def test_it_learns() -> None:
    run = make_run()
    run.train(3)
    assert run.history[-1]["test_error"] < 0.15
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert [record["epoch"] for record in run.history] == [1, 2, 3]
    assert evaluate(run.model, run.data) == {
        name.removeprefix("test_"): value for name, value in run.history[-1].items() if name.startswith("test_")
    }


@pytest.mark.parametrize("place", [(0, 4), (1, 0), (1, 9), (2, 5)], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, place: tuple[int, int], optimizer: str) -> None:
    whole = make_run(optimizer)
    whole.train(3)

    path = tmp_path / "checkpoint.pt"
    killed = make_run(optimizer, on_step=[kill_at(place[0], place[1] + 1)])
    with pytest.raises(Killed):
        killed.train(3, path, every=2)
    resumed = make_run(optimizer)
    torch.manual_seed(99)
    assert resumed.resume(path) == (place != (0, 0))
    resumed.train(3, path, every=2)

    assert equal(whole.model.state_dict(), resumed.model.state_dict())
    assert equal(whole.optimizer.state_dict(), resumed.optimizer.state_dict())
    assert without_seconds(whole.history) == without_seconds(resumed.history)


def test_checkpoints_do_not_change_a_run(tmp_path: Path) -> None:
    plain = make_run()
    plain.train(1)
    saved = make_run()
    saved.train(1, tmp_path / "checkpoint.pt", every=1)
    assert equal(plain.model.state_dict(), saved.model.state_dict())


def test_a_checkpoint_within_an_accumulation(tmp_path: Path) -> None:
    whole = make_run(accumulate=3)
    whole.train(1)
    path = tmp_path / "checkpoint.pt"
    killed = make_run(accumulate=3, on_step=[kill_at(0, 6)])
    with pytest.raises(Killed):
        killed.train(1, path, every=5)
    resumed = make_run(accumulate=3)
    resumed.resume(path)
    resumed.train(1)
    assert equal(whole.model.state_dict(), resumed.model.state_dict())


def test_accumulation_makes_fewer_updates() -> None:
    run = make_run(accumulate=3)
    run.train(1)
    assert run.data.steps == 11
    assert run.scheduler is not None
    assert run.scheduler.last_epoch == 4


def test_clipping_bounds_the_update() -> None:
    run = make_run(clip=1e-6)
    before = copy.deepcopy(run.model.fc.weight)
    run.train(1, test=False)
    # 11 steps, momentum adds up to 10 times the gradient; weight decay moves a little too
    assert (run.model.fc.weight - before).norm() < 1e-2


def test_bfloat16_and_channels_last_learn_too() -> None:
    run = make_run(precision=Precision(bfloat16=True, channels_last=True))
    run.model.to(memory_format=torch.channels_last)
    run.train(3)
    assert run.history[-1]["test_error"] < 0.2
    assert run.model.fc.weight.dtype == torch.float32


def test_evaluation_leaves_the_mode_and_is_in_eval_mode() -> None:
    run = make_run()
    run.model.train()
    assert evaluate(run.model, run.data) == evaluate(run.model, run.data)
    assert run.model.training


def test_divergence_is_an_error_and_not_saved(tmp_path: Path) -> None:
    run = make_run()
    path = tmp_path / "checkpoint.pt"
    run.train(1, path)
    with torch.no_grad():
        run.model.fc.weight.fill_(math.nan)
    with pytest.raises(DivergedError, match="the loss is nan at step 2 of epoch 2"):
        run.train(2, path, every=2)
    again = make_run()
    again.resume(path)
    assert again.epoch == 1
    assert again.model.fc.weight.isfinite().all()


def test_a_broken_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run = make_run()
    assert not run.resume(path)
    run.save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SnapshotError, match=r"checkpoint\.pt: cannot resume from this file.*delete it"):
        make_run().resume(path)


def test_methods_are_in_the_checkpoint(tmp_path: Path) -> None:
    class Method:
        def __init__(self) -> None:
            self.count = torch.tensor(0)

        def state_dict(self) -> dict[str, torch.Tensor]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
            self.count = state["count"]

    method = Method()
    run = make_run(methods={"counter": method})
    method.count += 5
    run.save(tmp_path / "checkpoint.pt")
    other = Method()
    make_run(methods={"counter": other}).resume(tmp_path / "checkpoint.pt")
    assert other.count == 5


def test_biases_and_normalization_do_not_decay() -> None:
    groups = make_run().optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [1e-3, 0]
    assert [len(group["params"]) for group in groups] == [2, 4]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [0.5, 1, *((1 + math.cos(math.pi * i / 8)) / 2 for i in range(8))]),
        ("step", [0.5, 1, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_schedules(name: str, expected: list[float]) -> None:
    found = [factor(name, 10, 0.2, step) for step in range(10)]
    assert found == pytest.approx(expected)
    assert factor(name, 10, 0.2, 10) == factor(name, 10, 0.2, 0)


def test_unknown_names() -> None:
    run = make_run()
    with pytest.raises(UnknownNameError, match="'cosin'; did you mean 'cosine'"):
        scheduler(run.optimizer, "cosin", 10)
    with pytest.raises(UnknownNameError, match="'sdg'; did you mean 'sgd'"):
        make_optimizer("sdg", run.model, 0.1)


def test_a_small_gpt_learns(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abcdefgh" * 400, encoding="utf-8")
    data = DATASETS["text"](path, block=16, batch=16)
    torch.manual_seed(0)
    model = MODELS["gpt"](vocabulary=8, block_size=16, layers=1, heads=2, width=16)
    run = TrainingRun(model, data, make_optimizer("adamw", model, 0.02))
    run.train(3)
    assert set(run.history[-1]) == {"epoch", "loss", "rate", "seconds", "test_loss"}
    assert run.history[-1]["test_loss"] < 0.5


def test_the_loss_is_that_of_the_data() -> None:
    run = make_run()
    batch: Batch = next(run.data.train_batches(0))
    run.model.eval()
    expected = functional.cross_entropy(run.model(batch[0]), batch[1])
    assert torch.equal(run.data.loss(run.model, batch), expected)
