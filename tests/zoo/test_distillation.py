"""Distillation: the loss against its definition, and recipes in which a stage learns from a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from demitasse.compress import compress
from demitasse.errors import DataError, UsageError
from demitasse.report.page.reading import read_runs
from demitasse.zoo.data import DATASETS
from demitasse.zoo.distillation import Distillation
from demitasse.zoo.recipe import parse
from demitasse.zoo.runner import Runner
from tests.zoo.recipes import SMALL, Killed, kill_after, same_weights, weights

DENSE = SMALL[: SMALL.index('[[stages]]\nkind = "surgery"')]  # which ends in the stage that trains
LEARNING = 'start = "dense"\n' + DENSE + "distill = 0.5\n"


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dense.toml").write_text(DENSE)
    (tmp_path / "learning.toml").write_text(LEARNING)
    return tmp_path


class Fixed(nn.Module):
    """Returns the same logits for every batch."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_loss_is_that_of_the_paper() -> None:
    data = DATASETS["digits"](None, batch=5)
    batch = next(data.train_batches(0))
    generator = torch.Generator().manual_seed(1)
    student, teacher = (Fixed(3 * torch.randn(5, 10, generator=generator)) for _ in range(2))
    loss = Distillation(data, teacher, share=0.7, temperature=4.0)(student, batch)
    learned, taught = (each.logits.detach().double().numpy() for each in (student, teacher))
    hard = -np.log(softmax(learned)[np.arange(5), batch[1].numpy()]).mean()
    p, q = softmax(taught / 4), softmax(learned / 4)
    divergence = (p * (np.log(p) - np.log(q))).sum(1).mean()
    assert loss.item() == pytest.approx(0.3 * hard + 0.7 * 16 * divergence, rel=1e-5)
    loss.backward()
    assert student.logits.grad is not None
    # T^2 times the gradient (q - p) / (T n) of the softened part
    expected = 0.3 * (softmax(learned) - np.eye(10)[batch[1].numpy()]) / 5 + 0.7 * 4 * (q - p) / 5
    np.testing.assert_allclose(student.logits.grad.numpy(), expected, atol=1e-6)
    assert teacher.logits.grad is None


def test_outputs_with_classes_last() -> None:
    data = DATASETS["text"](Path(__file__), block=8, batch=2)
    batch = next(data.train_batches(0))
    student, teacher = (Fixed(torch.randn(2, 8, 128, generator=torch.Generator().manual_seed(k))) for k in (1, 2))
    learned, taught = (each.logits.detach().double().reshape(16, 128).numpy() for each in (student, teacher))
    p, q = softmax(taught / 2), softmax(learned / 2)
    divergence = (p * (np.log(p) - np.log(q))).sum(1).mean()
    loss = Distillation(data, teacher, share=1.0, temperature=2.0)(student, batch)
    assert loss.item() == pytest.approx(4 * divergence, rel=1e-5)


@pytest.mark.parametrize("shape", [(5, 9), (5,)])
def test_a_teacher_with_other_outputs(shape: tuple[int, ...]) -> None:
    data = DATASETS["digits"](None, batch=5)
    loss = Distillation(data, Fixed(torch.zeros(shape)), share=0.5, temperature=4.0)
    with pytest.raises(DataError, match=r"distill: the model returns \(5, 10\), its teacher .*one shape"):
        loss(Fixed(torch.zeros(5, 10)), next(data.train_batches(0)))


def test_the_start_is_the_teacher(recipes: Path) -> None:
    compress("learning.toml", "out", say=lambda line: None)
    found = weights(recipes / "out/learning/1-train/model.pt")
    (recipes / "plain.toml").write_text(LEARNING.replace("distill = 0.5", ""))
    compress("plain.toml", "out", say=lambda line: None)
    plain = weights(recipes / "out/plain/1-train/model.pt")
    assert not torch.equal(found["fc1.weight"], plain["fc1.weight"])
    # with no share of its own, the model stays at its teacher, whose outputs it has already
    (recipes / "whole.toml").write_text(LEARNING.replace("distill = 0.5", "distill = 1.0"))
    compress("whole.toml", "out", say=lambda line: None)
    whole, dense = (weights(recipes / f"out/{name}/1-train/model.pt") for name in ("whole", "dense"))
    torch.testing.assert_close(whole, dense, rtol=0, atol=1e-5)


def test_a_teacher_of_another_model(recipes: Path) -> None:
    larger, slower = ('name = "digits"', 'name = "digits"\nenlarge = true'), ("lr = 0.1", "lr = 0.01")
    large = DENSE.replace('name = "lenet300"\ninputs = 64', 'name = "lenet5"')
    taught = LEARNING.replace('start = "dense"', 'teacher = "large.toml"').replace("inputs = 64", "")
    for name, text in (("large", large), ("taught", taught)):
        (recipes / f"{name}.toml").write_text(text.replace(*larger).replace(*slower))
    said: list[str] = []
    compress("taught.toml", "out", say=said.append)
    assert [line for line in said if line.endswith(":")] == ["large:", "taught:"]
    said.clear()
    compress("taught.toml", "out", say=said.append)
    assert said.count("train: already complete") == 2
    assert not said[-1].startswith("train: test")


def test_given_weights_replace_the_start(recipes: Path) -> None:
    compress("learning.toml", "out", say=lambda line: None)
    start = Path("out/dense/1-train/model.pt")
    compress("learning.toml", "again", weights=start, say=lambda line: None)
    assert [path.name for path in Path("again").iterdir()] == ["learning"]
    assert same_weights(Path("again/learning/1-train/model.pt"), Path("out/learning/1-train/model.pt"))
    assert f"--weights {start}" in read_runs(["again/learning"])[0].command
    with pytest.raises(DataError, match=r"gone\.pt: there is no such file of weights"):
        compress("learning.toml", "third", weights="gone.pt", say=lambda line: None)


def test_a_killed_run_goes_on_to_the_same_bits(recipes: Path) -> None:
    compress("learning.toml", "out", say=lambda line: None)
    recipe = parse(LEARNING, "learning", "learning.toml")
    start = recipes / "out/dense/1-train/model.pt"
    with pytest.raises(Killed):
        Runner(recipe, recipes / "killed", start, watch=kill_after(3)).run()
    torch.manual_seed(12345)
    Runner(recipe, recipes / "killed", start).run()
    assert same_weights(recipes / "killed/1-train/model.pt", recipes / "out/learning/1-train/model.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DENSE + "distill = 0.5", r"\[\[stages\]\] 1: distill needs a teacher; expected teacher, start or weights"),
        ('teacher = "dense"\n' + DENSE, "teacher is given, but no stage has distill"),
        (LEARNING.replace("0.5", "1.5"), r"distill is 1\.5; expected"),
        (LEARNING + "temperature = 0", "temperature is 0; expected more than 0"),
    ],
)
def test_wrong_settings(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text, "wrong", "wrong.toml")


def test_teachers_that_are_wrong(recipes: Path) -> None:
    (recipes / "a.toml").write_text(LEARNING.replace('start = "dense"', 'teacher = "denes"'))
    with pytest.raises(UsageError, match=r"a\.toml: teacher: there is no recipe 'denes'"):
        compress("a.toml")
    (recipes / "a.toml").write_text(LEARNING.replace('start = "dense"', 'teacher = "b"'))
    (recipes / "b.toml").write_text(LEARNING.replace('start = "dense"', 'start = "a"'))
    with pytest.raises(UsageError, match=r"a\.toml: learns from itself, through b\.toml|b\.toml"):
        compress("a.toml")
