"""Runs for the tests of pages: made quickly, in the form that the commands leave them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

import demitasse

# a name may contain anything but a zero character
HOSTILE = (
    "<script>alert(1)</script>.weight",
    "\"quoted\" & 'single' </style>--><b>.weight",
    "\N{ARABIC LETTER SEEN}\N{ARABIC LETTER LAM}\N{RIGHT-TO-LEFT OVERRIDE}evil.weight",
    "line\nbreak\ttab.weight",
    "very." + "long_" * 300 + "weight",
    "{{ 7 * 7 }}{% raw %}.weight",
)


def hostile_file(folder: Path) -> Path:
    """Writes a packed file whose tensors have names that try to leave their place on a page."""
    torch.manual_seed(0)
    state = {name: torch.randn(7 + i, 5 + i) * (torch.rand(7 + i, 5 + i) < 0.5) for i, name in enumerate(HOSTILE)}
    demitasse.save(state, folder / "hostile.demi")
    return folder / "hostile.demi"


def compress_folder(folder: Path, name: str, error: float = 0.01, **changes: Any) -> Path:
    """Writes a folder as compress leaves it, with a net of 300 weights and a packed file."""
    torch.manual_seed(0)
    weight = torch.randn(10, 30)
    weight = torch.where(weight.abs() < 1, 0.0, weight.sign() * 2.0 ** weight.abs().clamp(0.25).log2().round())
    target = folder / name
    (target / "3-pack").mkdir(parents=True)
    size = demitasse.save({"fc.weight": weight, "fc.bias": torch.randn(10)}, target / "3-pack/model.demi")
    kept = int(weight.count_nonzero()) + 10
    epochs = [
        {"epoch": i, "loss": math.exp(-i), "rate": 0.1, "seconds": 1.0, "test_loss": 0.1, "test_error": 0.1 / i}
        for i in (1, 2, 3)
    ]
    stages = [
        _stage("train", {"epochs": 3}, (310, 310), 1240, error / 2, epochs),
        _stage("surgery", {"epochs": 3, "sparsity": 0.6}, (kept, 310), 1240, error, epochs),
        _stage("pack", {}, (kept, 310), size, error, []),
    ]
    stages[-1]["file"] = "3-pack/model.demi"
    report = {
        "title": f"A net called {name}",
        "recipe": name,
        "seed": 7,
        "quick": False,
        "demitasse": "0.1.0",
        "torch": "2.13.0",
        "python": "3.11.7",
        "threads": 1,
        "model": "lenet5",
        "data": {"name": "mnist", "path": "data of mine"},
        "dense": {"error": error / 2, "loss": 0.1},
        "stages": stages,
        **changes,
    }
    (target / "report.json").write_text(json.dumps(report))
    return target


def _stage(
    kind: str, settings: dict[str, Any], kept: tuple[int, int], size: int, error: float, history: list[dict[str, float]]
) -> dict[str, Any]:
    return {
        "settings": {"kind": kind, **settings},
        "name": kind,
        "kind": kind,
        "tests": {"loss": 0.1, "error": error},
        "kept": {"fc": list(kept)},
        "bytes": size,
        "file": f"{kind}/model.pt",
        "seconds": 1.0,
        "history": history,
        "report": None,
    }
