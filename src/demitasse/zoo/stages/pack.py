"""Writes the file for shipping, and loads the model from it, so that the test measures the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import UsageError, WeightsError
from demitasse.files import write_bytes
from demitasse.formats import load, save
from demitasse.packed.compact import CODECS, decode, encode
from demitasse.registry import suggest
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, Work

# format of named tensors -> file name
_FORMS = {"demi": "model.demi", "safetensors": "model.safetensors"}


@STAGES.register("pack")
@dataclass(frozen=True, kw_only=True)
class Pack(Stage):
    """Writes the model to a file, and loads it again from the file.

    The formats ``demi`` and ``safetensors`` also keep how images become inputs of the model, and the names of the
    classes, as the data says.

    Attributes:
        format: ``demi``, ``safetensors``, or a compact format: ``4/4``, ``4/8`` and ``squeezenet`` for powers of two,
            ``sparse`` for any values.
        graph: whether a ``demi`` file also keeps what the model computes, so that ``demitasse run`` needs nothing else.
    """

    kind = "pack"

    format: str = "demi"
    graph: bool = False

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        known = [*_FORMS, *CODECS]
        if self.format not in known:
            raise UsageError(f"{place}: format is {self.format!r}; {suggest(self.format, known)}")
        if self.graph and self.format != "demi":
            raise UsageError(f"{place}: graph is true, but format is {self.format!r}; only demi files keep a graph")

    @override
    def rehearse(self, work: Work) -> None:
        if self.format not in _FORMS:
            _layers(work.model)
        elif self.graph:
            with TemporaryDirectory() as folder:
                self._save(work, Path(folder) / _FORMS[self.format])

    @override
    def run(self, work: Work) -> Outcome:
        """Runs the stage.

        Raises:
            WeightsError: the format cannot hold the model; names the tensor and the reason.
        """
        if self.format in _FORMS:
            path = work.folder / _FORMS[self.format]
            self._save(work, path)
        else:
            path = work.folder / f"model.{self.format.replace('/', '')}.bin"
            layers = {name: [_array(tensor) for tensor in tensors] for name, tensors in _layers(work.model).items()}
            write_bytes(path, encode(self.format, layers))
        _empty(work.model)
        self._fill(work.model, path)
        return Outcome(file=path)

    def _save(self, work: Work, path: Path) -> None:
        model, training = work.model, work.model.training
        example = None
        if self.graph:
            images = next(iter(work.data.test_batches()))[0]
            example = images[:1].to(next(model.parameters()).device)
            model.eval()
        save(model, path, preparation=work.data.preparation, classes=work.data.classes or None, example=example)
        model.train(training)

    @torch.no_grad()
    def _fill(self, model: nn.Module, path: Path) -> None:
        if self.format in _FORMS:
            load(path, into=model)
            return
        layers = _layers(model)
        shapes = {name: [tuple(tensor.shape) for tensor in tensors] for name, tensors in layers.items()}
        for name, arrays in decode(self.format, path.read_bytes(), shapes).items():
            for tensor, array in zip(layers[name], arrays, strict=True):
                tensor.copy_(torch.from_numpy(array))


def _array(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy()


@torch.no_grad()
def _empty(model: nn.Module) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.zero_()


def _layers(model: nn.Module) -> dict[str, list[Tensor]]:
    """Returns layer -> weight and, if it has one, bias.

    Raises:
        WeightsError: the model also has tensors of other layers.
    """
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            layers[name] = [module.weight] + ([] if module.bias is None else [module.bias])
    held = {id(tensor) for tensors in layers.values() for tensor in tensors}
    others = [name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) not in held]
    if others:
        raise WeightsError(
            f"{others[0]} and {len(others) - 1} more tensors do not belong to a linear or convolution layer, and "
            "compact formats hold only those; expected format = 'demi'"
        )
    return layers
