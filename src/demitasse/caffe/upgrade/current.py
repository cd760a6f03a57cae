"""Converts old features of nets in the current form: inputs as fields, ``hole``, and learnt statistics."""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.caffe import schema
from demitasse.errors import NetError

_AXES = 4  # axes of each shape in input_dim; five in C3D's nets
_HOLES = ("hole", "hole_h", "hole_w")
_STATISTICS = 3  # blobs of BatchNorm: mean, variance, and the factor of both


def input_layer(net: schema.NetParameter, origin: str) -> None:
    """Converts ``input``, ``input_shape`` and ``input_dim`` to a first layer of type Input, in place.

    Inputs without any shape are dropped, as in Caffe.

    Raises:
        NetError: the numbers of inputs and shapes differ.
    """
    if not net.input:
        return
    names, shapes = list(net.input), _shapes(net, origin)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)
    if not shapes:
        used = {bottom for layer in net.layer for bottom in layer.bottom}
        if missing := [name for name in names if name in used]:
            raise NetError(
                f"{origin}: input {missing[0]!r} has no shape; give input_shape {{ dim: ... }}, or four input_dim"
            )
        return
    if len(shapes) != len(names):
        raise NetError(f"{origin}: found {len(shapes)} shapes for {len(names)} inputs; expected one for each")
    layer = net.layer.add(name="input", type="Input", top=names)
    for shape in shapes:
        layer.input_param.shape.add(dim=shape)
    net.layer.insert(0, net.layer.pop())


def _shapes(net: schema.NetParameter, origin: str) -> list[list[int]]:
    dims = list(net.input_dim)
    if net.input_shape and dims:
        raise NetError(f"{origin}: the net has both input_shape and input_dim; give one of them")
    axes = _AXES + (len(dims) == (_AXES + 1) * len(net.input))
    if len(dims) % axes:
        raise NetError(f"{origin}: found {len(dims)} values of input_dim; expected four for each input")
    return [list(shape.dim) for shape in net.input_shape] or [
        dims[start : start + axes] for start in range(0, len(dims), axes)
    ]


def name_dilation(net: schema.NetParameter, places: Sequence[str]) -> None:
    """Converts DeepLab's ``hole`` of convolutions to ``dilation``, in place.

    Args:
        net: the net.
        places: the place of each layer, for errors.

    Raises:
        NetError: a layer has both ``hole`` and ``dilation``.
    """
    for layer, place in zip(net.layer, places, strict=True):
        settings = layer.convolution_param
        if not any(map(settings.HasField, _HOLES)):
            continue
        if settings.dilation:
            raise NetError(f"{place}: layer {layer.name!r} has both dilation and hole; give one of them")
        by_axis = settings.HasField("hole_h") or settings.HasField("hole_w")
        one = settings.hole if settings.HasField("hole") else 1
        height, width = (getattr(settings, name) if settings.HasField(name) else one for name in _HOLES[1:])
        settings.dilation.extend([height, width] if by_axis else [one])
        for name in _HOLES:
            settings.ClearField(name)


def fix_statistics(net: schema.NetParameter) -> None:
    """Sets the rates of BatchNorm layers with three ``param``, which old versions required, to 0, in place."""
    for layer in net.layer:
        if layer.type == "BatchNorm" and len(layer.param) == _STATISTICS:
            for param in layer.param:
                param.lr_mult = param.decay_mult = 0
