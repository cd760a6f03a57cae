"""Caffemodels, protobuf or HDF5."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled
from demitasse.caffe.formats.blobs import DEFINITION, Layer, of_layers, to_layers
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import LayerBlobs, read_model, write_net_message
from demitasse.caffe.models.hdf5_file import write_hdf5
from demitasse.caffe.models.masks import Array, advice, beside_weights, has_masks, plain_type, report, without_masks
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.layer_rule import COMPRESSING
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import FileFormatError, WeightsError
from demitasse.packed.formats import FORMATS, Contents, Settings
from demitasse.registry import suggest

Definition = tuple[schema.NetParameter, dict[str, schema.LayerParameter]]

_HDF5 = ".h5"


class CaffeModel:
    """Layers with names, types and blobs; of HDF5 names and blobs alone.

    Where the net is known, from the settings or the metadata, all its layers are written, with their settings; else
    those that have blobs.
    """

    suffixes: tuple[str, ...] = (".caffemodel", ".caffemodel.h5")
    keeps_metadata = False

    def read(self, path: Path, settings: Settings) -> Contents:
        """See :class:`demitasse.packed.formats.Format`."""
        kinds = _kinds(settings.net) if settings.net is not None else {}
        layers, unmasked = [], []
        for layer in read_model(path):
            if " " in layer.type:
                raise FileFormatError(f"{path}: layer {layer.name!r}: {layer.type!r} is no type of a layer")
            kind = layer.type or kinds.get(layer.name, "")
            if not layer.type and kind and kind not in COMPRESSING and has_masks("", layer.blobs):
                beside = beside_weights(layer.name, "")
                raise WeightsError(
                    f"{path}: {beside}, but in {settings.net} it is a plain {kind}: {advice('')}, or give the prototxt "
                    "that the model was trained with"
                )
            if has_masks(kind, layer.blobs):
                layer = layer._replace(blobs=_unmasked(layer, kind, path), type=plain_type(layer.type))
                unmasked.append(layer.name)
            layers.append(layer)
        if unmasked:
            settings.say(report(unmasked, path))
        return of_layers(layers)

    def write(self, contents: Contents, path: Path, settings: Settings) -> None:
        """See :class:`demitasse.packed.formats.Format`."""
        layers = to_layers(contents)
        for layer in layers:
            layer.expect("a caffemodel", "float32", "float64")
        if path.suffix == _HDF5:
            _write_hdf5(layers, path)
        else:
            write_net_message(_message(layers, _definition(contents, path, settings)), path)


FORMATS.register("caffemodel")(CaffeModel())


def _kinds(net: Path) -> dict[str, str]:
    """Returns the types of a net's layers, by name and by label: HDF5 does not tell them."""
    spec = upgrade_net(prototxt.read_net(net), str(net))
    by_name = {layer.name: layer.type for layer in spec.layer}
    return by_name | {label: layer.type for label, layer in labelled(spec, str(net)).items()}


def _unmasked(layer: LayerBlobs, kind: str, path: Path) -> list[Array]:
    try:
        return without_masks(layer.name, kind, layer.blobs)
    except WeightsError as error:
        raise error.within(str(path)) from None


def _write_hdf5(layers: list[Layer], path: Path) -> None:
    for layer in layers:
        if "/" in layer.name:
            raise WeightsError(f"layer {layer.name!r}: HDF5 takes '/' for a folder; expected a caffemodel without .h5")
    arrays = {layer.name: {i: tensor.array() for i, tensor in layer.tensors.items()} for layer in layers}
    write_hdf5(arrays, path)


def _definition(contents: Contents, path: Path, settings: Settings) -> Definition | None:
    """Returns the net without layers, and label -> layer of those in phase TEST; None if it is not known."""
    if settings.net is not None:
        origin, net = str(settings.net), prototxt.read_net(settings.net)
    elif DEFINITION in contents.metadata:
        origin = f"definition of {path}"
        net = prototxt.parse(contents.metadata[DEFINITION], schema.NetParameter(), origin)
    else:
        return None
    return schema.NetParameter(name=net.name), labelled(net, origin)


def _message(layers: list[Layer], definition: Definition | None) -> schema.NetParameter:
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
