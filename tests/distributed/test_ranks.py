"""Caffe nets on two ranks: what they learn is what one process learns from batches of twice the size."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.layers.masked import Masked
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.ranks import Joined, Ranks
from demitasse.caffe.training.signals import Signals
from demitasse.caffe.training.solver import Solver
from demitasse.errors import DivergedError
from tests.distributed.processes import all_equal, digest, start
from tests.training import SETTINGS, net_text, write_data

STEPS = 12
TYPES = {
    "SGD": "base_lr: 0.05 momentum: 0.9 weight_decay: 0.001",
    "Nesterov": "base_lr: 0.05 momentum: 0.9 weight_decay: 0.001",
    "LarsSGD": "base_lr: 0.5 momentum: 0.9 weight_decay: 0.001 local_gw_ratio: 0.01",
    "Adam": "base_lr: 0.005 momentum: 0.9 momentum2: 0.999",
    "AdaGrad": "base_lr: 0.02",
    "RMSProp": "base_lr: 0.002 rms_decay: 0.9",
    "AdaDelta": "base_lr: 0.5 momentum: 0.95 delta: 1e-4",
}
FEATURES = "base_lr: 0.05 momentum: 0.9 clip_gradients: 0.5 iter_size: 2 average_loss: 3"

# a branch that leads to no loss
SIDE = """layer { name: "side" type: "InnerProduct" bottom: "pool1" top: "side"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


def prepare(folder: Path) -> None:
    """Writes the data, and nets named for method, batch size and what is special about them."""
    write_data(folder)
    for method in SETTINGS:
        for batch in (8, 16):
            text = net_text(folder, method, batch)
            dry = re.sub(r'layer { name: "drop1".*\n', "", text)
            (folder / f"dry{method}{batch}").write_text(dry)
            (folder / f"dropout{method}{batch}").write_text(text)
            (folder / f"side{method}{batch}").write_text(dry + SIDE)
            still = re.sub(
                "(?:convolution|inner_product)_param {", r"param { lr_mult: 0 } param { lr_mult: 0 } \g<0>", dry
            )
            (folder / f"still{method}{batch}").write_text(still)


def solver(
    folder: Path,
    net: str,
    settings: str,
    ranks: Ranks | None = None,
    signals: Signals | None = None,
    seed: int = 3,
) -> Solver:
    text = f"""net: "{folder / net}" lr_policy: "fixed" random_seed: {seed} solver_mode: CPU
        snapshot_prefix: "{folder / "snap"}" max_iter: {STEPS} {settings}"""
    return Solver(prototxt.parse(text, schema.SolverParameter(), net), ranks=ranks, signals=signals)


def train(trained: Solver, steps: int = STEPS) -> list[float]:
    """Returns the loss of each iteration."""
    losses: list[float] = []
    trained.callbacks.append(lambda after: losses.append(float(after.losses[-1])))
    trained.step(steps)
    return losses


def state(trained: Solver) -> list[Tensor]:
    masks = [
        layer.mask(name)
        for layer in trained.net.layers.values()
        if isinstance(layer, Masked)
        for name in layer.masked_names
    ]
    return [*trained.net.parameters(), *masks, *trained.optimizer.history]


def compare(folder: Path, net: str, settings: str) -> None:
    """Trains on two ranks, and alone on batches of twice the size."""
    both = solver(folder, f"{net}8", settings, Joined())
    losses = train(both)
    assert all_equal(digest(state(both)))
    if both.ranks.rank == 0:
        alone = solver(folder, f"{net}16", settings)
        assert losses == pytest.approx(train(alone), rel=1e-5), (net, settings)
        for mine, theirs in zip(state(both), state(alone), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def check_losses(rank: int, folder: Path) -> None:
    for method in SETTINGS:
        for kind, settings in TYPES.items():
            compare(folder, f"dry{method}", f'type: "{kind}" {settings}')
        compare(folder, f"dry{method}", FEATURES)
    compare(folder, "side", FEATURES)
    compare(folder, "still", TYPES["SGD"])


def check_snapshots(rank: int, folder: Path) -> None:
    unbroken = solver(folder, "dropoutDNS8", TYPES["SGD"], Joined())
    train(unbroken, 5)
    drawn = torch.get_rng_state()
    assert not all_equal(digest([drawn])), "dropout must differ between ranks"
    path = unbroken.snapshot()
    torch.distributed.barrier()
    assert path.is_file()
    train(unbroken)
    torch.manual_seed(99)
    resumed = solver(folder, "dropoutDNS8", TYPES["SGD"], Joined())
    resumed.restore(path)
    assert torch.equal(torch.get_rng_state(), drawn)
    train(resumed)
    assert digest(state(resumed)) == digest(state(unbroken))
    if rank == 0:
        alone = solver(folder, "dropoutDNS16", TYPES["SGD"])
        alone.restore(path)
        straight = solver(folder, "dropoutDNS16", TYPES["SGD"])
        train(straight, 5)
        assert torch.equal(alone.net.next_batch()["data"], straight.net.next_batch()["data"])
        straight.snapshot()
    torch.distributed.barrier()
    grown = solver(folder, "dropoutDNS8", TYPES["SGD"], Joined())
    grown.restore(path)
    assert not all_equal(digest([torch.get_rng_state()]))
    train(grown)
    assert all_equal(digest(state(grown)))


def check_masks(rank: int, folder: Path) -> None:
    parted = solver(folder, "dryDNS8", TYPES["SGD"], Joined())
    train(parted, 3)
    if rank:
        parted.net.layer("ip1").weight_mask[0, 0] ^= True
    for fails in (parted.snapshot, parted.test_all):
        with pytest.raises(DivergedError, match="iteration 3: ranks 0 and 1 have different masks in layer 'ip1'"):
            fails()
    assert not (folder / "snap_iter_3.caffemodel").exists()


def check_signals(rank: int, folder: Path) -> None:
    with Signals() as signals:
        asked = solver(folder, "dry8", f"{TYPES['SGD']} snapshot_after_train: false", Joined(), signals)

        def signal_rank_1(after: Solver) -> None:
            number = {4: signal.SIGHUP, 7: signal.SIGINT}.get(after.iter)
            if rank == 1 and number:
                os.kill(os.getpid(), number)

        asked.callbacks.append(signal_rank_1)
        asked.solve()
    assert asked.iter == 7
    assert asked.last_snapshot == folder / "snap_iter_4.solverstate"


def check_seeds_and_divergence(rank: int, folder: Path) -> None:
    fresh = solver(folder, "dry8", TYPES["SGD"], Joined(), seed=-1)
    assert all_equal(str(fresh.seed))
    if rank:
        with torch.no_grad():
            fresh.net.layer("ip1").bias[0] = torch.nan
    with pytest.raises(DivergedError, match="iteration 0: the loss is nan"):
        train(fresh)


def check_tests(rank: int, folder: Path) -> None:
    tested = solver(folder, "dry8", f"{TYPES['SGD']} test_iter: 2 test_interval: 4", Joined())
    assert len(tested.test_nets) == (rank == 0)
    tested.solve()
    assert tested.iter == STEPS


CHECKS = (check_losses, check_snapshots, check_masks, check_signals, check_seeds_and_divergence, check_tests)


def run(rank: int, folder: Path) -> None:
    for check in CHECKS:
        check(rank, folder)
        torch.distributed.barrier()


def test_two_ranks(tmp_path: Path) -> None:
    prepare(tmp_path)
    start(run, tmp_path, tmp_path)
