"""The file that is shipped; the model that comes out of it is what is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from demitasse.errors import UsageError, WeightsError
from demitasse.files import atomic_write
from demitasse.packed import tensor as packed
from demitasse.packed.compact import CODECS, decode, encode
from demitasse.packed.file import File, pack
from demitasse.registry import suggest
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, Work

SAFETENSORS, DEMI = "safetensors", "demi"


@STAGES.register("pack")
@dataclass(frozen=True, kw_only=True)
class Pack(Stage):
    """Writes the model to a file, empties the model, and fills it from the file.

    Attributes:
        format: ``safetensors``; ``demi``, which takes the fewest bytes; or a compact format: ``4/4`` and ``4/8`` hold powers of two, ``sparse`` any values.
    """

    kind = "pack"

    format: str = SAFETENSORS

    def check(self, place: str, before: Sequence[Stage]) -> None:
        """See :class:`Stage`."""
        super().check(place, before)
        known = [SAFETENSORS, DEMI, *CODECS]
        if self.format not in known:
            raise UsageError(f"{place}: format is {self.format!r}; {suggest(self.format, known)}")

    def run(self, work: Work) -> Outcome:
        """See :class:`Stage`.

        Raises:
            WeightsError: the format cannot hold the model; says which tensor, and why.
        """
        if self.format == SAFETENSORS:
            path = work.folder / "model.safetensors"
            with atomic_write(path) as temporary:
                save_model(work.model, str(temporary))
        elif self.format == DEMI:
            path = work.folder / "model.demi"
            tensors = [_packed(name, tensor) for name, tensor in work.model.state_dict().items()]
            with atomic_write(path) as temporary:
                temporary.write_bytes(pack(tensors))
        else:
            path = work.folder / f"model.{self.format.replace('/', '')}.bin"
            layers = {name: [_array(tensor) for tensor in tensors] for name, tensors in _layers(work.model).items()}
            with atomic_write(path) as temporary:
                temporary.write_bytes(encode(self.format, layers))
        _empty(work.model)
        self._fill(work.model, path)
        return Outcome(file=path)

    @torch.no_grad()
    def _fill(self, model: nn.Module, path: Path) -> None:
        if self.format == SAFETENSORS:
            load_model(model, path)
            return
        if self.format == DEMI:
            state = {found.name: _unpacked(found) for found in File(path.read_bytes(), str(path)).tensors()}
            model.load_state_dict(state)
            return
        layers = _layers(model)
        shapes = {name: [tuple(tensor.shape) for tensor in tensors] for name, tensors in layers.items()}
        for name, arrays in decode(self.format, path.read_bytes(), shapes).items():
            for tensor, array in zip(layers[name], arrays, strict=True):
                tensor.copy_(torch.from_numpy(array))


def _array(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy()


def _packed(name: str, tensor: Tensor) -> packed.Tensor:
    """Returns the tensor as a .demi file holds it; by its bytes, since numpy does not know all of torch's types."""
    dtype = packed.BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return packed.Tensor(name, dtype, tuple(tensor.shape), data.view(dtype.bits))


def _unpacked(found: packed.Tensor) -> Tensor:
    data = torch.from_numpy(found.bits.view("u1"))
    return data.view(getattr(torch, found.dtype.name)).reshape(found.shape)


@torch.no_grad()
def _empty(model: nn.Module) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.zero_()


def _layers(model: nn.Module) -> dict[str, list[Tensor]]:
    """Returns layer -> weight and, where it has one, bias.

    Raises:
        WeightsError: the model has tensors of other layers, too.
    """
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            layers[name] = [module.weight] + ([] if module.bias is None else [module.bias])
    held = {id(tensor) for tensors in layers.values() for tensor in tensors}
    others = [name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) not in held]
    if others:
        raise WeightsError(
            f"{others[0]} and {len(others) - 1} more tensors belong to no linear or convolution layer, which alone "
            "compact formats hold; expected format = 'safetensors'"
        )
    return layers
