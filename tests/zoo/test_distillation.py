"""Distillation: the loss of the paper, a teacher that is the dense model, and a resume to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from demitasse.errors import UsageError
from demitasse.zoo.data import DATASETS
from demitasse.zoo.distillation import Distillation
from demitasse.zoo.models import MODELS
from demitasse.zoo.recipe import parse
from demitasse.zoo.runner import Runner, Watch
from demitasse.zoo.training import Run
from tests.zoo.recipes import SMALL, Killed, kill_after, same_weights

TAUGHT = SMALL.replace("epochs = 2\n", "epochs = 2\nteacher = 0.7\ntemperature = 3\n").replace(
    '[[stages]]\nkind = "train"\n', '[[stages]]\nkind = "train"\nteacher = 0\n'
)


def test_the_loss_is_that_of_the_paper() -> None:
    data = DATASETS["digits"](None, batch=20)
    images, labels = batch = next(data.train_batches(0))
    torch.manual_seed(0)
    teacher, model = (MODELS["lenet300"](inputs=64) for _ in range(2))
    found = Distillation(teacher, data, 0.7, 3.0)(model, batch)
    logits, wanted = model(images), (teacher(images) / 3).softmax(1)
    distance = (wanted * (wanted.log() - (logits / 3).log_softmax(1))).sum(1).mean()
    expected = 0.3 * functional.cross_entropy(logits, labels) + 0.7 * 9 * distance
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_every_character_of_a_text_counts_once(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcd" * 200)
    data = DATASETS["text"](tmp_path / "text.txt", block=8, batch=4)
    teacher, model = (nn.Embedding(4, 4) for _ in range(2))
    batch = next(data.train_batches(0))
    wanted, logits = (one(batch[0]).log_softmax(2) for one in (teacher, model))
    expected = (wanted.exp() * (wanted - logits)).sum(2).mean()
    torch.testing.assert_close(Distillation(teacher, data, 1.0, 1.0)(model, batch), expected)


def seen(folder: Path) -> list[nn.Module | None]:
    """Returns the teachers of the stages that train, in order."""
    found: list[nn.Module | None] = []

    def step(run: Run, total: int) -> None:
        teacher = run.objective.teacher if isinstance(run.objective, Distillation) else None
        if not found or found[-1] is not teacher:
            found.append(teacher)

    Runner(parse(TAUGHT, "small", "small.toml"), folder, watch=Watch(step=step)).run()
    return found


def test_the_teacher_is_the_model_before_the_first_stage_that_compresses(tmp_path: Path) -> None:
    none, *teachers = seen(tmp_path)
    dense = torch.load(tmp_path / "1-train/model.pt", weights_only=True)
    assert none is None
    assert len(teachers) == 2
    for teacher in teachers:
        assert teacher is not None
        assert not teacher.training
        assert all(torch.equal(tensor, dense[name]) for name, tensor in teacher.state_dict().items())


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    recipe = parse(TAUGHT, "small", "small.toml")
    Runner(recipe, tmp_path / "whole").run()
    for batches in (16, 10):
        with pytest.raises(Killed):
            Runner(recipe, tmp_path / "killed", watch=kill_after(batches)).run()
    Runner(recipe, tmp_path / "killed").run()
    for name in ("2-surgery", "3-quantize"):
        assert same_weights(tmp_path / "whole" / name / "model.pt", tmp_path / "killed" / name / "model.pt")


def test_a_teacher_must_have_been_trained(tmp_path: Path) -> None:
    recipe = parse(TAUGHT.replace("teacher = 0\n", "teacher = 0.5\n"), "small", "small.toml")
    with pytest.raises(UsageError, match=r"small\.toml: stage 'train': teacher is 0\.5, but no stage trains before it"):
        Runner(recipe, tmp_path).run()
