"""The shapes of images, found in a net and its weights without opening the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import Array
from demitasse.graph.graph import Shape


def image_shapes(layers: Sequence[schema.LayerParameter], blobs: Mapping[str, Sequence[Array]]) -> dict[str, Shape]:
    """Returns top -> shape for the data layers whose batch, channels and size are known.

    Args:
        layers: the layers of a net, filtered, with labels for names.
        blobs: label -> blobs of the layer. The weight of the convolution that takes a top has its channels.
    """
    found: dict[str, Shape] = {}
    for layer in layers:
        batch, plane = _batch_and_plane(layer)
        channels = _channels(layer, layers, blobs) if all(plane) else 0
        if batch and channels:
            found[layer.top[0]] = (batch, channels, *plane)
    return found


def _batch_and_plane(layer: schema.LayerParameter) -> tuple[int, tuple[int, int]]:
    height, width = _cropped_or_resized(layer.transform_param)
    if layer.type in ("Data", "AnnotatedData"):
        return layer.data_param.batch_size, (height, width)
    if layer.type == "WindowData":
        return layer.window_data_param.batch_size, (height, width)
    if layer.type in ("ImageData", "ImageSegData", "DenseImageData"):
        param = layer.dense_image_data_param if layer.type == "DenseImageData" else layer.image_data_param
        return param.batch_size, (height or param.new_height, width or param.new_width)
    return 0, (0, 0)


def _cropped_or_resized(transform: schema.TransformationParameter) -> tuple[int, int]:
    """Returns the height and width that all images get; 0 where those of the image count."""
    resize = transform.resize_param
    if not (transform.crop_size or transform.crop_h) and resize.resize_mode != resize.FIT_SMALL_SIZE:
        return resize.height, resize.width
    return transform.crop_h or transform.crop_size, transform.crop_w or transform.crop_size


def _channels(
    source: schema.LayerParameter, layers: Sequence[schema.LayerParameter], blobs: Mapping[str, Sequence[Array]]
) -> int:
    for layer in layers:
        weight = next(iter(blobs.get(layer.name, ())), None)
        if source.top[0] in layer.bottom and layer.type.endswith("Convolution") and weight is not None:
            return int(weight.shape[1]) * layer.convolution_param.group if weight.ndim == 4 else 0
    return 0
