"""A layer of a net in use, with the interface of cv2.dnn.Layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demitasse.caffe.layers import Layer
from demitasse.errors import WeightsError

Array = NDArray[Any]


class NetLayer:
    """A layer; ``Net.getLayer`` returns it.

    Args:
        layer: the layer that has the blobs.
        name: of the layer in the net.
        changed: is called after blobs were set.

    Attributes:
        name: of the layer.
        type: of the layer, as in its prototxt.
    """

    def __init__(self, layer: Layer, name: str, changed: Callable[[], None]) -> None:
        self._layer, self._changed = layer, changed
        self.name: str = name
        self.type: str = layer.spec.type

    @property
    def blobs(self) -> list[Array]:
        """Copies of the blobs, float32. Set it to change them: arrays of the same sizes, of any shape.

        As in cv2, blobs that are not given, such as a bias, become 0.

        Raises:
            WeightsError: there are too many arrays, or one has another size.
        """
        return [blob.detach().numpy().copy() for blob in self._layer.blobs()]

    @blobs.setter
    def blobs(self, given: Sequence[Array]) -> None:
        names, blobs = list(self._layer.blob_names), list(self._layer.blobs())
        sizes = [np.size(values) for values in given]
        wanted = [blob.numel() for blob in blobs]
        if len(sizes) > len(wanted) or sizes != wanted[: len(sizes)]:
            raise WeightsError(f"layer {self.name!r}: found blobs of {sizes} entries; expected {wanted}")
        for index, (name, blob) in enumerate(zip(names, blobs, strict=True)):
            values = np.asarray(given[index], np.float32) if index < len(given) else np.zeros(blob.shape, np.float32)
            self._layer.write_blob(name, torch.from_numpy(values.reshape(blob.shape).copy()))
        self._changed()
