"""Caffemodels, protobuf or HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.layer_rule import COMPRESSING
from demitasse.caffe.models.blobs import Array, array_blob
from demitasse.caffe.models.caffemodel import LayerBlobs, net_message_bytes, read_model
from demitasse.caffe.models.masks import (
    applied_masks_line,
    has_masks,
    has_masks_text,
    plain_model_advice,
    plain_type,
    without_masks,
)
from demitasse.caffe.text import prototxt
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import FileFormatError, WeightsError
from demitasse.formats.base import FORMATS, Contents, Format, Settings
from demitasse.formats.blobs import DEFINITION, LayerTensors, of_layers, to_layers
from demitasse.formats.sources import place_of
from demitasse.registry import suggest

Definition = tuple[schema.NetParameter, dict[str, schema.LayerParameter]]


class CaffeModel(Format):
    """Layers with names, types and blobs; HDF5 has no types. The content of a file determines which of the two it is.

    If the net is known from the settings or the metadata, all its layers are written with their settings; otherwise
    only the layers that have blobs.
    """

    name = "caffemodel"
    suffixes: tuple[str, ...] = (".caffemodel",)

    @override
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        place = place_of(source)
        kinds = _kinds(settings.net) if settings.net is not None else {}
        layers, unmasked = [], []
        for layer in read_model(source):
            if " " in layer.type:
                raise FileFormatError(f"{place}: layer {layer.name!r}: found type {layer.type!r}; expected one word")
            kind = layer.type or kinds.get(layer.name, "")
            if not layer.type and kind and kind not in COMPRESSING and has_masks("", layer.blobs):
                masked, advice = has_masks_text(layer.name, ""), plain_model_advice("")
                raise WeightsError(
                    f"{place}: {masked}, but in {settings.net} it is a plain {kind}: {advice}, or give the "
                    "prototxt that the model was trained with"
                )
            if has_masks(kind, layer.blobs):
                layer = layer._replace(blobs=_unmasked(layer, kind, place), type=plain_type(layer.type))
                unmasked.append(layer.name)
            layers.append(layer)
        if unmasked:
            settings.say(applied_masks_line(unmasked, place))
        return of_layers(layers)

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        message = _message(_layers(contents), _definition(contents, settings))
        file.write(net_message_bytes(message))


class CaffeModelHDF5(CaffeModel):
    """Caffemodels in HDF5."""

    name = "hdf5"
    suffixes = (".caffemodel.h5", ".h5")

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        from demitasse.caffe.models.hdf5_file import hdf5_bytes

        layers = _layers(contents)
        for layer in layers:
            if "/" in layer.name:
                raise WeightsError(
                    f"layer {layer.name!r}: '/' in a name would be a group in HDF5; write a file without .h5 instead"
                )
        arrays = {layer.name: {i: tensor.array() for i, tensor in layer.tensors.items()} for layer in layers}
        file.write(hdf5_bytes(arrays))


FORMATS.register(CaffeModel.name)(CaffeModel())
FORMATS.register(CaffeModelHDF5.name)(CaffeModelHDF5())


def _layers(contents: Contents) -> list[LayerTensors]:
    layers = to_layers(contents)
    for layer in layers:
        layer.require_dtypes("a caffemodel", "float32", "float64")
    return layers


def _kinds(net: Path) -> dict[str, str]:
    """Returns the types of a net's layers, by name and by label, since HDF5 does not store them."""
    spec = upgrade_net(prototxt.read_net(net), str(net))
    by_name = {layer.name: layer.type for layer in spec.layer}
    return by_name | {label: layer.type for label, layer in labelled_layers(spec, str(net)).items()}


def _unmasked(layer: LayerBlobs, kind: str, place: str) -> list[Array]:
    try:
        return without_masks(layer.name, kind, layer.blobs)
    except WeightsError as error:
        raise error.within(place) from error


def _definition(contents: Contents, settings: Settings) -> Definition | None:
    """Returns the net without layers, and label -> layer in phase TEST; None if the net is unknown."""
    if settings.net is not None:
        origin, net = str(settings.net), prototxt.read_net(settings.net)
    elif DEFINITION in contents.metadata:
        origin = f"metadata {DEFINITION!r}"
        net = prototxt.parse(contents.metadata[DEFINITION], schema.NetParameter(), origin)
    else:
        return None
    return schema.NetParameter(name=net.name), labelled_layers(net, origin)


def _message(layers: list[LayerTensors], definition: Definition | None) -> schema.NetParameter:
    if definition is None:
        definition = (
            schema.NetParameter(),
            {layer.name: schema.LayerParameter(name=layer.name, type=layer.kind) for layer in layers},
        )
    message, specs = definition
    for layer in layers:
        if layer.name not in specs:
            first = next(iter(layer.tensors.values())).name
            raise WeightsError(f"{first}: the net has no layer {layer.name!r}; {suggest(layer.name, specs)}")
        del specs[layer.name].blobs[:]
        specs[layer.name].blobs.extend(map(array_blob, layer.arrays("a caffemodel")))
    message.layer.extend(specs.values())
    return message
