"""The callbacks in two processes: both train the same weights, and what they save goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import demitasse

HUGGING_FACE = """
import sys

import torch
from torch import distributed
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import demitasse
from demitasse.integrations.huggingface import DemitasseCallback

folder, name = sys.argv[1], sys.argv[2]


def attach(model, optimizer):
    pruned = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=6, gamma=0.1, exclude=["lm_head"])
    return [pruned, demitasse.IncrementalQuantization(model, optimizer, bits=4, exclude=["lm_head"])]


torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=16, vocab_size=32))
tokens = torch.randint(0, 32, (64, 16), generator=torch.Generator().manual_seed(1))
arguments = TrainingArguments(
    output_dir=folder, max_steps=16, save_steps=4, per_device_train_batch_size=4, logging_steps=4, report_to=[],
    use_cpu=True, ddp_backend="gloo", disable_tqdm=True, learning_rate=1e-2, lr_scheduler_type="constant",
)
callback = DemitasseCallback(attach, portions_from=0.5)
data = [{"input_ids": row, "labels": row} for row in tokens]
trainer = Trainer(model=model, args=arguments, train_dataset=data, callbacks=[callback])
trainer.train(resume_from_checkpoint=f"{folder}/checkpoint-12" if name == "resumed" else None)
assert distributed.get_world_size() == 2
weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
both = [torch.empty_like(weights) for _ in range(2)]
distributed.all_gather(both, weights)
assert torch.equal(*both)
assert callback.compression.reports[1].frozen_share == 1
if distributed.get_rank() == 0:
    demitasse.save({"weights": weights}, f"{folder}/{name}.safetensors")
"""

LIGHTNING = """
import sys

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import distributed, nn
from torch.utils.data import DataLoader, TensorDataset

import demitasse
from demitasse.integrations.lightning import DemitasseCallback

folder, name = sys.argv[1], sys.argv[2]


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def on_train_end(self):
        weights = torch.cat([parameter.detach().flatten() for parameter in self.parameters()])
        both = [torch.empty_like(weights) for _ in range(2)]
        distributed.all_gather(both, weights)
        assert torch.equal(*both)
        if distributed.get_rank() == 0:
            demitasse.save({"weights": weights}, f"{folder}/{name}.safetensors")


def attach(model, optimizer):
    pruned = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=6, gamma=0.1, seed=distributed.get_rank())
    return [pruned, demitasse.IncrementalQuantization(model, optimizer, bits=4)]


generator = torch.Generator().manual_seed(1)
inputs, labels = torch.randn(64, 8, generator=generator), torch.randint(0, 4, (64,), generator=generator)
callback = DemitasseCallback(attach, portions_from=0.5)
trainer = Trainer(
    max_epochs=4, devices=2, accelerator="cpu", strategy="ddp", default_root_dir=folder,
    callbacks=[callback, ModelCheckpoint(f"{folder}/checkpoints", save_top_k=-1)],
    logger=False, enable_progress_bar=False, enable_model_summary=False,
)
path = f"{folder}/checkpoints/epoch=1-step=8.ckpt" if name == "resumed" else None
trainer.fit(Module(), DataLoader(TensorDataset(inputs, labels), batch_size=8), ckpt_path=path)
"""

# threads of torch sometimes outlive the interpreter, which then aborts
LEAVE = """
import os

distributed.barrier()
sys.stdout.flush()
os._exit(0)
"""


def torchrun(code: str, folder: Path, name: str) -> None:
    script = folder / "train.py"
    script.write_text(code + LEAVE)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*run, str(script), str(folder), name], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


def equal(folder: Path) -> bool:
    first, second = (demitasse.load(folder / f"{name}.safetensors") for name in ("whole", "resumed"))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    return bool((first["weights"] == second["weights"]).all())


def test_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra huggingface is not installed")
    torchrun(HUGGING_FACE, tmp_path, "whole")
    torchrun(HUGGING_FACE, tmp_path, "resumed")
    assert equal(tmp_path)


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="the extra lightning is not installed")
    torchrun(LIGHTNING, tmp_path, "whole")
    torchrun(LIGHTNING, tmp_path, "resumed")
    assert equal(tmp_path)
