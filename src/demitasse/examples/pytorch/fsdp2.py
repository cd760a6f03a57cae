"""Surgery, then quantization, with parameters sharded by FSDP2.

    torchrun --nproc-per-node 2 fsdp2.py [--folder FOLDER] [--epochs 4]

If it was stopped, run it again, with any number of processes: it resumes from its last checkpoint.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import demitasse
from demitasse import datasets

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", type=Path, default=Path("fsdp2"))
parser.add_argument("--epochs", type=int, default=4, help="of surgery, and after each portion of quantization")
arguments = parser.parse_args()

has_gpu = torch.cuda.is_available()
distributed.init_process_group("nccl" if has_gpu else "gloo")
rank, world = distributed.get_rank(), distributed.get_world_size()
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if has_gpu else torch.device("cpu")
mesh = init_device_mesh(device.type, (world,))

digits = datasets.digits()
images = torch.from_numpy(digits.train_images).float().flatten(1).to(device) / 255
labels = torch.from_numpy(digits.train_labels).to(device)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)).to(device)
for layer in model:
    if isinstance(layer, nn.Linear):
        fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
# create optimizer and methods after fully_shard
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
surgery = demitasse.Surgery(model, optimizer, sparsity=0.9, ramp=30)
quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
epoch = 0  # number of epochs done in the current stage


def everything() -> dict[str, Any]:
    weights, momenta = get_state_dict(model, optimizer)
    methods = {"surgery": surgery.state_dict(), "quantize": quantize.state_dict()}
    return {"model": weights, "optimizer": momenta, **methods, "epoch": torch.tensor(epoch)}


def train_until(last: int) -> None:
    """Trains the remaining epochs of a stage."""
    global epoch
    while epoch < last:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order[: len(images) // world * world][rank::world].split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        epoch += 1
        checkpoint.save(everything(), checkpoint_id=arguments.folder / f"checkpoint-{quantize.stage}-{epoch}")


# the metadata is written last: a folder without it is incomplete
complete = sorted(arguments.folder.glob("checkpoint-*/.metadata"), key=lambda path: path.stat().st_mtime)
if complete:
    state = everything()
    checkpoint.load(state, checkpoint_id=complete[-1].parent)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    surgery.load_state_dict(state["surgery"])
    quantize.load_state_dict(state["quantize"])
    epoch = int(state["epoch"])
if not quantize.stage:
    train_until(arguments.epochs)
    epoch = 0
for portion in quantize:
    train_until(arguments.epochs)
    epoch = 0
    if rank == 0:
        print(f"{portion:.0%} of the weights frozen", flush=True)
report = quantize.report()  # every process must call it
weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
if rank == 0:
    print(report)
    demitasse.save(weights, arguments.folder / "model.safetensors")
distributed.barrier()  # the others wait until rank 0 has saved
distributed.destroy_process_group()
