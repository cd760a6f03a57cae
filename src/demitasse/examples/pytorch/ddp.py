"""Surgery, then quantization, under DistributedDataParallel.

    torchrun --nproc-per-node 2 ddp.py [--folder FOLDER] [--epochs 4]

If it was stopped, run it again: it resumes from its last checkpoint.
"""

import argparse
import os
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import demitasse
from demitasse import datasets

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", type=Path, default=Path("ddp"))
parser.add_argument("--epochs", type=int, default=4, help="of surgery, and after each portion of quantization")
arguments = parser.parse_args()

has_gpu = torch.cuda.is_available()
distributed.init_process_group("nccl" if has_gpu else "gloo")
rank, world = distributed.get_rank(), distributed.get_world_size()
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if has_gpu else torch.device("cpu")

digits = datasets.digits()
images = torch.from_numpy(digits.train_images).float().flatten(1).to(device) / 255
labels = torch.from_numpy(digits.train_labels).to(device)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)).to(device)
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
surgery = demitasse.Surgery(model, optimizer, sparsity=0.9, ramp=30)
quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
parts = {"model": model, "optimizer": optimizer, "surgery": surgery, "quantize": quantize}
checkpoint = arguments.folder / "checkpoint.pt"
epoch = 0  # number of epochs done in the current stage


def save() -> None:
    if rank == 0:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
    distributed.barrier()


def train_until(last: int) -> None:
    """Trains the remaining epochs of a stage."""
    global epoch
    while epoch < last:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order[: len(images) // world * world][rank::world].split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(wrapped(images[batch]), labels[batch]).backward()
            optimizer.step()
        epoch += 1
        save()


if checkpoint.exists():
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    epoch = state.pop("epoch")
    for name, part in parts.items():
        part.load_state_dict(state[name])
if not quantize.stage:
    train_until(arguments.epochs)
    epoch = 0
for portion in quantize:
    train_until(arguments.epochs)
    epoch = 0
    if rank == 0:
        print(f"{portion:.0%} of the weights frozen", flush=True)
if rank == 0:
    print(quantize.report())
    demitasse.save(model, arguments.folder / "model.safetensors")
distributed.barrier()  # the others wait until rank 0 has saved
distributed.destroy_process_group()
