"""The learnable blobs of a net: their owners, sharing, and learning rate multipliers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from demitasse.caffe import schema
from demitasse.caffe.layers import Layer
from demitasse.errors import NetError


@dataclass(frozen=True)
class LearnableBlob:
    """A blob of a layer, with the settings for the solver.

    Attributes:
        layer: the label of the layer that owns it.
        index: its index in the layer's blobs.
        name: its attribute in the layer, such as ``weight``.
        tensor: the values.
        lr_mult: multiplier of the learning rate.
        decay_mult: multiplier of the weight decay.
    """

    layer: str
    index: int
    name: str
    tensor: Tensor
    lr_mult: float
    decay_mult: float


class LearnableBlobs:
    """Collects the blobs of layers in net order; blobs of the same ``param { name }`` become one tensor.

    Attributes:
        blobs: the blobs in net order, without those shared from another layer.
        named: ``param { name }`` -> layer and attribute of its owner.
    """

    def __init__(self) -> None:
        self.blobs: list[LearnableBlob] = []
        self.named: dict[str, tuple[Layer, str]] = {}
        self._shared: dict[str, tuple[int, schema.ParamSpec]] = {}

    def add(self, label: str, layer: Layer) -> None:
        """Adds the blobs of the layer with this label.

        Raises:
            NetError: there are more ``param`` entries than blobs, or a shared blob has another shape or another rate.
        """
        spec = layer.spec
        if len(spec.param) > len(layer.blob_names):
            raise NetError(f"found {len(spec.param)} param entries, but {spec.type} has {len(layer.blob_names)} blobs")
        for index, name in enumerate(layer.blob_names):
            param = schema.ParamSpec()
            if index < len(spec.param):
                param.CopyFrom(spec.param[index])
            if param.name in self._shared:
                self._share(layer, name, param)
                continue
            if param.name:
                self._shared[param.name] = len(self.blobs), param
                self.named[param.name] = layer, name
            tensor = getattr(layer, name)
            self.blobs.append(LearnableBlob(label, index, name, tensor, param.lr_mult, param.decay_mult))

    def _share(self, layer: Layer, name: str, param: schema.ParamSpec) -> None:
        place, merged = self._shared[param.name]
        owner, shape = self.blobs[place], getattr(layer, name).shape
        permissive = param.share_mode == schema.ParamSpec.PERMISSIVE and owner.tensor.numel() == shape.numel()
        if owner.tensor.shape != shape and not permissive:
            raise NetError(
                f"parameter {param.name!r} has shape {list(shape)}, but shape {list(owner.tensor.shape)} "
                f"in layer {owner.layer!r}, which owns it"
            )
        for rate in ("lr_mult", "decay_mult"):
            if merged.HasField(rate) and param.HasField(rate) and getattr(merged, rate) != getattr(param, rate):
                raise NetError(
                    f"parameter {param.name!r} has {rate} {getattr(param, rate):g}, but {getattr(merged, rate):g} "
                    f"in layer {owner.layer!r} or another that shares it"
                )
        merged.MergeFrom(param)
        layer.share_blob(name, owner.tensor)
        self.blobs[place] = replace(owner, lr_mult=merged.lr_mult, decay_mult=merged.decay_mult)

    def freeze(self) -> list[LearnableBlob]:
        """Turns off gradients for blobs with ``lr_mult`` 0, and returns all blobs."""
        for blob in self.blobs:
            if isinstance(blob.tensor, nn.Parameter) and blob.lr_mult == 0:
                blob.tensor.requires_grad_(False)
        return self.blobs
