"""How a Caffe net says that its images are prepared: by its data layer, or by the shape of its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from demitasse.caffe import schema
from demitasse.errors import DemitasseError, UsageError, parameter
from demitasse.packed.tensor import Tensor
from demitasse.preparation import Parts, Preparation

Sides = tuple[int, int]
Layers = Mapping[str, schema.LayerParameter]

# layers that apply transform_param to whole images
_TRANSFORMING = ("Data", "ImageData", "MemoryData")
# number of channels -> what they are in Caffe
_CHANNELS = {1: "grey", 3: "bgr"}


def preparation_for(
    net: str | Path | None, tensors: Sequence[Tensor], given: Parts, say: Callable[[str], None]
) -> Preparation | None:
    """Returns how the images of a net are prepared.

    Args:
        net: the prototxt, or None.
        tensors: the blobs of the net, which show how many channels it takes.
        given: fields of :class:`Preparation`, which replace what the net says. If only a size is given, and it is not
            that of the net's input, the image is cropped to the input.
        say: is called with a message if a mean file is averaged, and if what the net says is not enough.

    Returns:
        None where neither the net nor ``given`` says how.

    Raises:
        UsageError: ``given`` does not fit the net, or is not enough.
    """
    if net is None:
        return _checked(Parts(), given) if given else None
    try:
        found = _told(net, tensors, given, say)
        return _checked(found, given) if given or "scale" in found else None
    except DemitasseError as error:
        if given:
            raise error.within(str(net)) from error
        say(f"{net}: how its images are prepared is not stored: {error}")
        return None


def _checked(told: Parts, given: Parts) -> Preparation:
    """Returns the preparation of what the net tells and what is given.

    Raises:
        UsageError: something is missing, not valid, or not what the net takes.
    """
    input_ = told.get("crop") or told.get("size")
    parts: Parts = {**told, **given}
    if "size" in given and "crop" not in given:
        parts["crop"] = None if given["size"] == input_ else input_
    for name in ("channels", "size"):
        if name not in parts:
            raise UsageError(f"nothing says the {name} of the images; give {parameter(name)}")
    preparation = Preparation(**parts)
    if input_ and preparation.shape[1:] != input_:
        raise UsageError(f"images become {list(preparation.shape[1:])} pixels; the net takes {list(input_)}")
    if "channels" in told and Preparation(told["channels"], (1, 1)).shape[0] != preparation.shape[0]:
        raise UsageError(f"channels is {preparation.channels!r}; the net takes {told['channels']}")
    return preparation


def _told(net: str | Path, tensors: Sequence[Tensor], given: Parts, say: Callable[[str], None]) -> Parts:
    """Returns the fields that the prototxt of a net tells; of an Input layer, those of its shape alone."""
    from demitasse.caffe.definition.selected import labelled_layers
    from demitasse.caffe.images.mean import read_mean
    from demitasse.caffe.text.prototxt import read_net

    layers = labelled_layers(read_net(net), str(net))
    source = next((layer for layer in layers.values() if layer.type in (*_TRANSFORMING, "Input") and layer.top), None)
    if source is None:
        return {}
    found: Parts = {**_sizes(source), **_channels(source, layers, tensors)}
    if source.type == "Input":
        return found
    param = source.transform_param
    if param.mean_file and "mean" not in given:
        found["mean"] = tuple(read_mean(param.mean_file).mean((1, 2)).tolist())
        say(f"{param.mean_file}: of each channel, the mean over all pixels is stored")
    elif param.mean_value:
        found["mean"] = tuple(param.mean_value)
    return {**found, "scale": param.scale}


def _sizes(source: schema.LayerParameter) -> Parts:
    """Returns the size of the images of a source, and their crop, as far as it tells them."""
    sides = _sides(source)
    crop = source.transform_param.crop_size
    if not crop:
        return {"size": sides} if sides else {}
    return {"size": sides, "crop": (crop, crop)} if sides else {"size": (crop, crop)}


def _sides(source: schema.LayerParameter) -> Sides | None:
    if source.type == "Input":
        dims = list(source.input_param.shape[0].dim) if source.input_param.shape else []
        return (dims[2], dims[3]) if len(dims) == 4 else None
    memory, files = source.memory_data_param, source.image_data_param
    sides = (memory.height, memory.width) if source.type == "MemoryData" else (files.new_height, files.new_width)
    return sides if all(sides) else None


def _channels(source: schema.LayerParameter, layers: Layers, tensors: Sequence[Tensor]) -> Parts:
    """Returns the channels of the images of a source, if something tells them."""
    count = _CHANNEL_COUNTS[source.type](source) if source.type in _CHANNEL_COUNTS else 0
    if source.type == "Data":
        shapes = {tensor.name: tensor.shape for tensor in tensors}
        for label, layer in layers.items():
            shape = shapes.get(f"{label}.0", shapes.get(f"{label}.weight", ()))
            if source.top[0] in layer.bottom and layer.type.endswith("Convolution") and len(shape) == 4:
                count = shape[1] * layer.convolution_param.group
    return {"channels": _CHANNELS[count]} if count in _CHANNELS else {}


_CHANNEL_COUNTS: Mapping[str, Callable[[schema.LayerParameter], int]] = {
    "Input": lambda source: source.input_param.shape[0].dim[1] if _sides(source) else 0,
    "MemoryData": lambda source: source.memory_data_param.channels,
    "ImageData": lambda source: 3 if source.image_data_param.is_color else 1,
}
