"""PyTorch source: a class as a person would write it, with its weights in a safetensors file beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.export.source.text import written
from demitasse.export.targets import TARGETS, Files, Made, Target
from demitasse.graph import Model


def make(model: Model) -> Made:
    """Returns source and weights of a model.

    Raises:
        ExportError: a layer has no translation; says which.
    """
    from safetensors.torch import save

    text, state = written(model)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    return Made({".py": text.encode(), ".safetensors": save(plain)}, f"{text.count(chr(10))} lines")


def run(files: Files, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Runs a source that :func:`make` has made."""
    from safetensors.torch import load

    space: dict[str, object] = {"__name__": "exported", "__file__": "exported.py"}
    # it contains nothing of the net but identifiers and numbers, see ``base.py``
    exec(compile(files[".py"], "exported.py", "exec"), space)
    *_, kind = (each for each in space.values() if isinstance(each, type) and each.__module__ == "exported")
    net = kind()
    net.load_state_dict(load(files[".safetensors"]))
    with torch.no_grad():
        found = net.eval()(*inputs.values())
    return [found] if isinstance(found, Tensor) else list(found)


TARGETS.register(".py")(Target(make, run, tolerance=1e-5))
