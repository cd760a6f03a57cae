"""Converts C3D's layers for videos, whose time has settings of its own, to layers with a setting for each axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from demitasse.caffe import schema
from demitasse.errors import NetError

_CONVOLUTIONS = {"Convolution3D": "Convolution", "Deconvolution3D": "Deconvolution"}
_POOLING = "Pooling3D"
_OF_TIME = ("kernel_depth", "temporal_stride", "temporal_pad")
_Settings = schema.ConvolutionParameter | schema.Convolution3DParameter | schema.PoolingParameter


def spread_time(net: schema.NetParameter, places: Sequence[str]) -> None:
    """Converts the layers of C3D, in place.

    ``Convolution3D`` and ``Deconvolution3D`` become ``Convolution`` and ``Deconvolution`` over time, height and width.
    The ``pooling_param`` that ``Pooling3D`` had in C3D's first version becomes a ``pooling3d_param``.

    Args:
        net: the net.
        places: the place of each layer, for errors.

    Raises:
        NetError: a layer of another type has settings of time, or one of these types has both forms of settings or a
            setting that it does not know.
    """
    for layer, place in zip(net.layer, places, strict=True):
        try:
            if layer.type in _CONVOLUTIONS:
                _convolution(layer)
            elif layer.type == _POOLING:
                _pooling(layer)
            else:
                _check_none(layer)
        except NetError as error:
            raise error.within(f"{place}: layer {layer.name!r}") from error


def _convolution(layer: schema.LayerParameter) -> None:
    both = layer.HasField("convolution3d_param") and layer.HasField("convolution_param")
    given: _Settings = layer.convolution_param
    if layer.HasField("convolution3d_param"):
        given = layer.convolution3d_param
    _check(layer, both, given, schema.Convolution3DParameter)
    found = schema.ConvolutionParameter()
    for field, value in given.ListFields():
        if field.name in ("num_output", "bias_term", "group"):
            setattr(found, field.name, value)
        elif field.name.endswith("_filler"):
            getattr(found, field.name).CopyFrom(value)
    for name, time in zip(("kernel_size", "stride", "pad"), _OF_TIME, strict=True):
        getattr(found, name).extend([getattr(given, time), *2 * [_one(given, name)]])
    layer.type = _CONVOLUTIONS[layer.type]
    layer.ClearField("convolution3d_param")
    layer.convolution_param.CopyFrom(found)


def _pooling(layer: schema.LayerParameter) -> None:
    if not layer.HasField("pooling_param"):
        return
    given = layer.pooling_param
    _check(layer, layer.HasField("pooling3d_param"), given, schema.Pooling3DParameter)
    for field, value in given.ListFields():
        setattr(layer.pooling3d_param, field.name, value)
    layer.ClearField("pooling_param")


def _check(layer: schema.LayerParameter, both: bool, given: _Settings, known: type[schema.Message]) -> None:
    if both:
        raise NetError(f"{layer.type} has two messages of settings; give one of them")
    _refuse(layer, (field.name for field, _ in given.ListFields() if field.name not in known.DESCRIPTOR.fields_by_name))


def _check_none(layer: schema.LayerParameter) -> None:
    for settings in (layer.convolution_param, layer.pooling_param):
        _refuse(layer, (field.name for field, _ in settings.ListFields() if field.name in _OF_TIME))


def _refuse(layer: schema.LayerParameter, names: Iterable[str]) -> None:
    if found := ", ".join(names):
        raise NetError(f"{layer.type} has {found}, which a layer of this type does not have")


def _one(settings: _Settings, name: str) -> int:
    """Returns a setting of height and width: 1 for the stride and 0 for all others if it is not given."""
    value = getattr(settings, name)
    if isinstance(value, int):
        return value
    if len(value) > 1:
        raise NetError(f"found {len(value)} values of {name}; expected one, for height and width")
    return value[0] if value else int(name == "stride")
