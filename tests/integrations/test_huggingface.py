"""The callback for Hugging Face's Trainer, against the real package: a GPT-2 of two layers, made from its settings."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError, SnapshotError, UsageError
from demitasse.methods.method import Method

pytest.importorskip("transformers", reason="the extra huggingface is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]

STEPS = 24


def model() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=16, vocab_size=32, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config)  # type: ignore[no-any-return]


def texts() -> list[dict[str, Any]]:
    tokens = torch.randint(0, 32, (64, 16), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in tokens]


def surgery(model: nn.Module, optimizer: Any) -> Method:
    return demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=10, gamma=0.1, exclude=["lm_head"])


def both(model: nn.Module, optimizer: Any) -> list[Method]:
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4, exclude=["lm_head"])
    return [surgery(model, optimizer), quantize]


def trainer(folder: Path, attach: Any, *, steps: int = STEPS, **settings: Any) -> tuple[Any, Any]:
    from transformers import Trainer, TrainingArguments

    from demitasse.integrations.huggingface import DemitasseCallback

    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        logging_steps=4,
        save_steps=8,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_num_workers=0,
        lr_scheduler_type="constant",
        seed=3,
        **settings,
    )
    callback = DemitasseCallback(attach, portions_from=0.5)
    data = {"train_dataset": texts(), "eval_dataset": texts()[:8]}
    return Trainer(model=model(), args=arguments, callbacks=[callback], **data), callback


def test_trains_logs_and_finishes(tmp_path: Path) -> None:
    one, callback = trainer(tmp_path, both)
    one.train()
    pruned, quantized = callback.compression.reports
    assert pruned.sparsity == pytest.approx(0.8, abs=0.02)
    assert quantized.frozen_share == 1
    assert {row.name for row in pruned.rows} >= {
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.1.mlp.c_fc.weight",
    }
    logged = [entry for entry in one.state.log_history if "sparsity" in entry]
    assert logged[-1]["sparsity"] == pytest.approx(0.8, abs=0.02)
    assert [entry["frozen"] for entry in logged] == sorted(entry["frozen"] for entry in logged)
    assert not callback.compression.methods


@pytest.mark.parametrize("start", [8, 16])
def test_resume_is_the_unbroken_run(tmp_path: Path, start: int) -> None:
    whole, _ = trainer(tmp_path, both)
    whole.train()
    checkpoint = tmp_path / f"checkpoint-{start}"
    assert (checkpoint / "demitasse.safetensors").exists()
    resumed, _ = trainer(tmp_path, both)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for (name, mine), its in zip(resumed.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, its), name


def test_a_checkpoint_without_our_state(tmp_path: Path) -> None:
    one, _ = trainer(tmp_path, surgery, steps=8)
    one.train()
    (tmp_path / "checkpoint-8/demitasse.safetensors").unlink()
    other, _ = trainer(tmp_path, surgery, steps=16)
    with pytest.raises(SnapshotError, match="the checkpoint was written without this callback"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


def test_a_training_that_broke_off_can_begin_again(tmp_path: Path) -> None:
    from transformers import TrainerCallback

    class Break(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                raise KeyboardInterrupt

    one, callback = trainer(tmp_path, surgery, steps=12)
    one.add_callback(Break)
    with pytest.raises(KeyboardInterrupt):
        one.train()
    one.remove_callback(Break)
    one.train()
    assert callback.compression.reports[0].iteration == 12


def test_the_best_checkpoint_brings_its_masks(tmp_path: Path) -> None:
    settings = {"eval_strategy": "steps", "eval_steps": 8, "load_best_model_at_end": True, "save_strategy": "steps"}
    one, callback = trainer(tmp_path, both, metric_for_best_model="turn", **settings)
    # the first evaluation is to be the best one
    one.compute_metrics = lambda _: {"turn": -one.state.global_step}
    one.args.greater_is_better = True
    one.train()
    assert one.state.best_model_checkpoint == str(tmp_path / "checkpoint-8")
    pruned, quantized = callback.compression.reports
    assert (pruned.iteration, quantized.frozen_share) == (8, 0)
    saved = demitasse.load(tmp_path / "checkpoint-8/model.safetensors")
    assert isinstance(saved, dict)
    assert all(torch.equal(one.model.get_parameter(row.name), saved[row.name]) for row in pruned.rows)


def test_gradient_accumulation_and_clipping(tmp_path: Path) -> None:
    one, callback = trainer(tmp_path, surgery, steps=12, gradient_accumulation_steps=2, max_grad_norm=0.5)
    one.train()
    assert callback.compression.reports[0].iteration == 12
    assert callback.compression.reports[0].sparsity == pytest.approx(0.8, abs=0.02)


def test_attach_has_to_return_methods(tmp_path: Path) -> None:
    one, _ = trainer(tmp_path, lambda model, optimizer: None)
    with pytest.raises(UsageError, match="attach returned no method"):
        one.train()


def test_accelerate_wraps_the_optimizer(tmp_path: Path) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    net = nn.Linear(16, 4)
    wrapped, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
    method = demitasse.Surgery(wrapped, optimizer, sparsity=0.5, ramp=2)
    for _ in range(4):
        optimizer.zero_grad()
        accelerator.backward(wrapped(torch.randn(8, 16)).square().mean())
        optimizer.step()
        assert not net.weight[~method.masks()["weight"]].any()
    assert method.finish().sparsity == 0.5


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.split(".")[0] in ("transformers", "lightning", "pytorch_lightning"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments, **keywords)

    for module in ("huggingface", "lightning"):
        with monkeypatch.context() as patched:
            patched.delitem(sys.modules, f"demitasse.integrations.{module}", raising=False)
            patched.setattr(builtins, "__import__", refuse)
            with pytest.raises(UsageError, match=rf"pip install 'demitasse\[{module}\]'"):
                real(f"demitasse.integrations.{module}")


def test_portions_from_is_a_share() -> None:
    from demitasse.integrations.huggingface import DemitasseCallback

    with pytest.raises(UsageError, match=r"portions_from is 1\.5; expected a share"):
        DemitasseCallback(surgery, portions_from=1.5)


def test_an_optimizer_that_the_trainer_does_not_use(tmp_path: Path) -> None:
    other = nn.Linear(2, 2)
    one, _ = trainer(tmp_path, lambda m, o: demitasse.Surgery(m, torch.optim.SGD(other.parameters()), sparsity=0.5))
    with pytest.raises(MethodError, match="trains no parameter of this GPT2LMHeadModel"):
        one.train()
