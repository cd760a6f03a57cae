"""Converts the blobs of a Caffe net to tensors named ``layer.index``, and back.

The metadata holds what these names do not contain: under ``caffe`` the types of the layers that have blobs, in order;
under ``definition`` the prototxt of the net, if it was requested.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from demitasse.caffe.models.blobs import Array as Array
from demitasse.caffe.models.caffemodel import LayerBlobs
from demitasse.errors import FileFormatError, WeightsError
from demitasse.formats.base import Contents
from demitasse.packed.tensor import Tensor, of_array

TYPES, DEFINITION = "caffe", "definition"
_INDEX = re.compile("0|[1-9][0-9]{0,5}")
# index of the blob for a name from PyTorch
_ROLES = {"weight": 0, "bias": 1}


@dataclass
class LayerTensors:
    """The tensors of one layer.

    Attributes:
        name: the name of the layer.
        kind: the type of the layer; empty if unknown.
        tensors: index of the blob -> tensor.
    """

    name: str
    kind: str = ""
    tensors: dict[int, Tensor] = field(default_factory=dict)

    def require_dtypes(self, what: str, *dtypes: str) -> None:
        """Checks the types of the blobs.

        Args:
            what: the file to write, for error messages.
            dtypes: names of the types that the file can hold.

        Raises:
            WeightsError: a blob has another type.
        """
        for tensor in self.tensors.values():
            if tensor.dtype.name not in dtypes:
                raise WeightsError(f"{tensor.name} has type {tensor.dtype.name}; {what} holds {' and '.join(dtypes)}")

    def arrays(self, what: str) -> list[Array]:
        """Returns the blobs in order.

        Args:
            what: the file to write, for error messages.

        Raises:
            WeightsError: a blob is missing.
        """
        for index in range(len(self.tensors)):
            if index not in self.tensors:
                raise WeightsError(
                    f"{self.name}.{index} is missing; {what} needs it before {self.name}.{max(self.tensors)} "
                    "(a shared blob may be stored only with the other layer)"
                )
        return [self.tensors[index].array() for index in range(len(self.tensors))]


def of_layers(layers: Iterable[LayerBlobs]) -> Contents:
    """Returns the blobs of layers as tensors, without the empty arrays that represent shared blobs."""
    tensors, kinds = [], []
    for layer in layers:
        own = [of_array(f"{layer.name}.{i}", blob) for i, blob in enumerate(layer.blobs) if blob.shape != (0,)]
        if own:
            tensors += own
            kinds.append(layer.type)
    return Contents(tensors, {TYPES: " ".join(kinds)} if kinds and all(kinds) else {})


def to_layers(contents: Contents) -> list[LayerTensors]:
    """Returns the tensors grouped by layer; PyTorch's names ``weight`` and ``bias`` are blobs 0 and 1.

    Raises:
        WeightsError: a name does not have this form, or two names refer to the same blob.
        FileFormatError: the metadata has types for a different number of layers.
    """
    layers: dict[str, LayerTensors] = {}
    for tensor in contents.tensors:
        name, dot, last = tensor.name.rpartition(".")
        index = int(last) if _INDEX.fullmatch(last) else _ROLES.get(last)
        if not dot or index is None:
            raise WeightsError(f"{tensor.name!r} is not a blob of a Caffe net; expected 'layer.0', 'layer.1' ...")
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
