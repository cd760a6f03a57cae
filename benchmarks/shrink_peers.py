"""Other ways from a dense model to a small file, which ``demitasse.shrink`` is compared with: NNCodec and torchao."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path

import peers
import torch
from torch import nn

import demitasse
from demitasse.shrinking.targets import targets_of

GROUP = 32  # weights of a row with a scale of their own, for torchao


def nncodec(model: nn.Module, python: Path, qp: int) -> int:
    """Codes a model by NNCodec at its own quantization, gives it the decoded values, and returns the bytes.

    Args:
        model: changed in place.
        python: of an environment with ``nncodec==2.1.3``.
        qp: its quantization parameter for weights; other parameters have the one of its defaults.
    """
    state = model.state_dict()
    values = {name: tensor.numpy() for name, tensor in state.items() if tensor.is_floating_point()}
    coded, found = peers.nncodec_at(values, python, qp)
    with torch.no_grad():
        for name, array in found.items():
            state[name].copy_(torch.from_numpy(array).view_as(state[name]))
    return coded.size


def torchao_int4(model: nn.Module, packages: Path) -> int:
    """Rounds weights as torchao's int4 weight-only quantization does, and returns the bytes.

    torchao does so for linear layers alone; here all weights get its arithmetic whose rows have a multiple of 32
    columns: 16 values between the least and the largest of each 32 weights. A weight is half a byte; scale and zero
    point of each group are two bytes each, and what is not quantized keeps its four.

    Args:
        model: changed in place.
        packages: folder with ``torchao``, put there by ``pip install --no-deps --target``.
    """
    sys.path.append(str(packages))
    primitives = importlib.import_module("torchao.quantization.quant_primitives")
    size = sum(tensor.nbytes for tensor in model.state_dict().values() if tensor.is_floating_point())
    for target in targets_of(model, None, ())[0]:
        matrix = target.matrix.float().flatten(0, 1)
        if matrix.shape[1] % GROUP:
            continue
        block = (1, GROUP)
        scale, zero = primitives.choose_qparams_affine(
            matrix, primitives.MappingType.ASYMMETRIC, block, torch.uint8, 0, 15, scale_dtype=torch.bfloat16
        )
        codes = primitives.quantize_affine(matrix, block, scale, zero, torch.uint8, 0, 15)
        found = primitives.dequantize_affine(codes, block, scale, zero, torch.uint8, 0, 15)
        with torch.no_grad():
            target.item.parameter.copy_(target.views[0].weight(found.view_as(target.matrix), target.dense.shape))
        size -= 4 * matrix.numel() - matrix.numel() // 2 - 4 * scale.numel()
    return size


def demi(model: nn.Module) -> int:
    """Returns the bytes of the model's ``.demi`` file."""
    return demitasse.save(model, io.BytesIO(), format="demi")
