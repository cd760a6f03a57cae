"""The blobs of a Caffe net as tensors called ``layer.index``, and back.

What a name does not tell stands in the metadata: under ``caffe`` the types of the layers that have blobs, in order;
under ``definition`` the prototxt of the net, where it is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from demitasse.caffe.models.caffemodel import LayerBlobs
from demitasse.errors import FileFormatError, WeightsError
from demitasse.formats.base import Contents
from demitasse.packed.tensor import Tensor, of_array

TYPES, DEFINITION = "caffe", "definition"
_INDEX = re.compile("0|[1-9][0-9]{0,5}")
# what the index is where a net of PyTorch names it
_ROLES = {"weight": 0, "bias": 1}

Array = NDArray[Any]


@dataclass
class LayerTensors:
    """A layer and its tensors.

    Attributes:
        name: of the layer.
        kind: its type; empty if not known.
        tensors: by index of the blob.
    """

    name: str
    kind: str = ""
    tensors: dict[int, Tensor] = field(default_factory=dict)

    def require_dtypes(self, what: str, *dtypes: str) -> None:
        """Checks the types of the blobs.

        Args:
            what: the file that they are for, for errors.
            dtypes: that it holds.

        Raises:
            WeightsError: a blob is of another type.
        """
        for tensor in self.tensors.values():
            if tensor.dtype.name not in dtypes:
                raise WeightsError(f"{tensor.name} is of type {tensor.dtype.name}; {what} holds {' and '.join(dtypes)}")

    def arrays(self, what: str) -> list[Array]:
        """Returns the blobs in order.

        Args:
            what: the file that they are for, for errors.

        Raises:
            WeightsError: a blob is missing.
        """
        for index in range(len(self.tensors)):
            if index not in self.tensors:
                raise WeightsError(
                    f"{self.name}.{index} is missing, which {what} needs before {self.name}.{max(self.tensors)}: "
                    "is it shared with another layer, which alone has it?"
                )
        return [self.tensors[index].array() for index in range(len(self.tensors))]


def of_layers(layers: Iterable[LayerBlobs]) -> Contents:
    """Returns the blobs of layers as tensors; the array without entries that stands for a shared blob is left out."""
    tensors, kinds = [], []
    for layer in layers:
        own = [of_array(f"{layer.name}.{i}", blob) for i, blob in enumerate(layer.blobs) if blob.shape != (0,)]
        if own:
            tensors += own
            kinds.append(layer.type)
    return Contents(tensors, {TYPES: " ".join(kinds)} if kinds and all(kinds) else {})


def to_layers(contents: Contents) -> list[LayerTensors]:
    """Returns the tensors layer by layer; ``weight`` and ``bias`` of PyTorch's names are blobs 0 and 1.

    Raises:
        WeightsError: a name is of another kind, or two name the same blob.
        FileFormatError: the metadata tells types for another number of layers.
    """
    layers: dict[str, LayerTensors] = {}
    for tensor in contents.tensors:
        name, dot, last = tensor.name.rpartition(".")
        index = int(last) if _INDEX.fullmatch(last) else _ROLES.get(last)
        if not dot or index is None:
            raise WeightsError(f"{tensor.name!r} names no blob of a Caffe net; expected 'layer.0', 'layer.1' ...")
        own = layers.setdefault(name, LayerTensors(name)).tensors
        if index in own:
            raise WeightsError(f"{own[index].name!r} and {tensor.name!r} are both blob {index} of layer {name!r}")
        own[index] = tensor
    kinds = contents.metadata.get(TYPES, "").split()
    if kinds and len(kinds) != len(layers):
        raise FileFormatError(f"metadata {TYPES!r} has types of {len(kinds)} layers; expected {len(layers)}")
    for layer, kind in zip(layers.values(), kinds, strict=False):
        layer.kind = kind
    return list(layers.values())
