"""Maps pixel coordinates between the blobs of a NetSpec, and makes crops that align two blobs.

Between two blobs, the coordinates of each axis are related by ``x' = a x + b``. A map is (axis, a, b): the last axis
before the coordinates (None for any), then scale and offset, each a number or an array with one number per axis. It
is used in nets with skip connections, as in Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic
Segmentation", section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demitasse.errors import UsageError
from demitasse.pycaffe.net_spec import Function, Top, layers

Numbers = Any  # a number, or an array with one number for each axis
Map = tuple[int | None, Numbers, Numbers]

IDENTITY: Map = (None, 1, 0)
# fmt: off
PASS_THROUGH_LAYERS = frozenset((
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN", "PReLU",
    "Power", "ReLU", "Scale", "Sigmoid", "Split", "Swish", "TanH", "Threshold",
))
# fmt: on
_STRIDED = {"Convolution", "Pooling", "Im2col", "DNSConvolution", "INQConvolution", "CConvolution"}
_ONE_AXIS_SETTINGS = {"pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w"}


class UndefinedMapException(UsageError):
    """A layer has no map of coordinates, or an unknown one."""


class AxisMismatchException(UsageError):
    """Two maps to be composed refer to different axes."""


class CropError(UsageError, AssertionError):
    """A crop is impossible; an ``AssertionError`` in pycaffe."""


class UnconnectedError(UsageError, RuntimeError):
    """Two tops are not connected by layers with maps of coordinates; a ``RuntimeError`` in pycaffe."""


def conv_params(fn: Function) -> tuple[int, Numbers, Numbers, Numbers]:
    """Returns axis, stride, size of the dilated kernel and pad of a convolution or pooling, the last three as arrays.

    Raises:
        CropError: the settings are given for single axes.
        UndefinedMapException: the layer has no kernel_size.
    """
    params = _settings(fn, "pooling_param" if fn.type_name == "Pooling" else "convolution_param")
    one_axis = sorted(_ONE_AXIS_SETTINGS & set(params))
    if one_axis:
        raise CropError(f"{fn.type_name}: found {', '.join(one_axis)}, which crops do not support; give lists instead")
    if "kernel_size" not in params:
        raise UndefinedMapException(f"{fn.type_name}: there is no kernel_size, so its coordinates have no map")
    kernel, dilation, stride, pad = (
        np.array(params.get(name, default), ndmin=1)
        for name, default in (("kernel_size", 1), ("dilation", 1), ("stride", 1), ("pad", 0))
    )
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, Numbers]:
    """Returns axis and offset of a Crop layer."""
    params = _settings(fn, "crop_param")
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def _settings(fn: Function, message: str) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = fn.params.get(message, fn.params)
    return settings


def coord_map(fn: Function) -> Map:
    """Returns the map from the coordinates of a layer's bottom to those of its top.

    Raises:
        UndefinedMapException: the layer, such as InnerProduct, mixes all positions.
    """
    if fn.type_name in _STRIDED:
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    raise UndefinedMapException(f"layer type {fn.type_name!r} has no map of coordinates")


def compose(base_map: Map, next_map: Map) -> Map:
    """Returns the map that applies ``next_map``, then ``base_map``.

    Raises:
        AxisMismatchException: the maps refer to different axes.
    """
    (axis, scale, offset), (next_axis, next_scale, next_offset) = base_map, next_map
    if axis is not None and next_axis is not None and axis != next_axis:
        raise AxisMismatchException(f"a map of the axes after {axis} cannot follow a map of the axes after {next_axis}")
    return next_axis if axis is None else axis, scale * next_scale, scale * next_offset + offset


def inverse(coord_map: Map) -> Map:
    """Returns the inverse map."""
    axis, scale, offset = coord_map
    return axis, 1 / scale, -offset / scale


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """Returns the map from the coordinates of ``top_from`` to those of ``top_to``, through a common source blob.

    Raises:
        UnconnectedError: there is no common source blob that is connected by layers with maps.
    """
    ours, theirs = _maps_to(top_from), _maps_to(top_to)
    for top, there in theirs.items():
        if top in ours:
            return compose(there, inverse(ours[top]))
    raise UnconnectedError(
        f"the tops of {top_from.fn.type_name} and {top_to.fn.type_name} are not connected by layers with coordinates"
    )


def _maps_to(top: Top) -> dict[Top, Map]:
    """Returns blob -> map to ``top``, for each blob that ``top`` is computed from, nearest first."""
    maps = {top: IDENTITY}
    for current in (waiting := [top]):
        try:
            step = coord_map(current.fn)
        except UndefinedMapException:
            continue
        for bottom in _bottoms(current.fn):
            if bottom not in maps:
                maps[bottom] = compose(maps[current], step)
                waiting.append(bottom)
    return maps


def _bottoms(fn: Function) -> Sequence[Top]:
    # the second bottom of a crop only provides its size
    return fn.inputs[:1] if fn.type_name == "Crop" else fn.inputs


def crop(top_from: Top, top_to: Top) -> Top:
    """Returns the top of a Crop layer that crops ``top_from`` to align with ``top_to``.

    Raises:
        CropError: the two differ in scale, or the offset is negative or not a whole number.
        UnconnectedError: the two are not connected by layers with maps of coordinates.
    """
    axis, scale, offset = coord_map_from_to(top_from, top_to)
    scale, offset = np.atleast_1d(scale), np.atleast_1d(offset)
    if (scale != 1).any():
        raise CropError(f"scale mismatch on crop (a = {scale})")
    if (offset > 0).any():
        raise CropError(f"cannot crop negative offset (b = {offset})")
    if (offset.round() != offset).any():
        raise CropError(f"cannot crop noninteger offset (b = {offset})")
    offsets = [int(-value) for value in offset]
    cropped: Top = layers.Crop(
        top_from, top_to, crop_param={"axis": (1 if axis is None else axis) + 1, "offset": offsets}
    )
    return cropped
