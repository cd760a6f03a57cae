"""Models of Caffe nets: the deploy form, in plain layers with the weights that they compute with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.definition.split import without_splits
from demitasse.caffe.layers.lstm import Lstm
from demitasse.caffe.layers.recurrent import Recurrent
from demitasse.caffe.models.caffemodel import LayerBlobs, read_model
from demitasse.caffe.models.masks import applied_masks_line
from demitasse.caffe.net import Net
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.weights import fitting
from demitasse.errors import UsageError, WeightsError
from demitasse.formats.base import PACKED, Contents
from demitasse.formats.blobs import DEFINITION, to_layers
from demitasse.graph.caffe.deploy import batch_axes, deploy, ends
from demitasse.graph.caffe.image_shapes import image_shapes
from demitasse.graph.caffe.net import read, require_net
from demitasse.graph.caffe.plain import plain
from demitasse.graph.graph import Shape
from demitasse.graph.model import Model
from demitasse.packed.file import File


def of_net(net: nn.Module, outputs: Collection[str] = ()) -> Model:
    """Returns the model of a net, which is not changed.

    Args:
        net: a :class:`~demitasse.caffe.net.Net`, with or without sources, in any phase, compressed or not.
        outputs: names of blobs; by default those that only losses, accuracies or no layers take.

    Raises:
        UsageError: it is no Caffe net.
        UnknownNameError: ``outputs`` has a name that the net does not have.
        ExportError: no layer is left without labels, losses and accuracies.
    """
    net = require_net(net)
    labelled_layers = list(zip(net.labels, net.spec.layer, strict=True))
    shapes = {top: net.shapes[top] for label, spec in labelled_layers if label in net.sources for top in spec.top}
    definition = deploy(without_splits(_renamed(labelled_layers)), net.phase, shapes, outputs)
    definition.name = net.spec.name
    return _model(definition, net, outputs)


def of_files(
    net: str | Path | None,
    weights: str | Path,
    phase: int = schema.TEST,
    level: int | None = None,
    stages: Collection[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    outputs: Collection[str] = (),
    say: Say = silent,
) -> Model:
    """Reads the model of a prototxt and its weights. All layers compute as in phase TEST.

    Args:
        net: the prototxt; None if ``weights`` is a .demi file that contains it.
        weights: a caffemodel, protobuf or HDF5, or a .demi file of the net.
        phase: the phase for include and exclude rules.
        level: the level for these rules, which replaces that of the net's own ``state``; None keeps it.
        stages: stages for these rules, which are added to those of the net's own ``state``.
        shapes: input -> shape, instead of the net's; the name of an only input may be empty.
        outputs: see :func:`of_net`.
        say: is called with a message where masks of compressing layers are applied, as ``dns_to_normal`` does.

    Raises:
        PrototxtError, NetError: the net cannot be read or built.
        WeightsError: the file has no weights for a layer, or weights of other shapes.
        UsageError: the .demi file contains no definition.
    """
    spec, origin = _definition(net, weights)
    layers = _renamed(labelled_layers(spec, origin, phase, level, stages).items())
    return _of_layers(spec, origin, layers, stored_layers(weights), weights, phase, shapes, outputs, say)


def of_contents(text: str, contents: Contents, origin: str) -> Model:
    """Returns the model of a prototxt and the contents of a file of its weights.

    Args:
        text: the prototxt.
        contents: what a .demi file with this definition contains.
        origin: the name of the file, for messages.

    Raises:
        DemitasseError: as :func:`of_files`.
    """
    spec = prototxt.parse(text, schema.NetParameter(), origin)
    return _of_layers(spec, origin, _renamed(labelled_layers(spec, origin).items()), _layer_blobs(contents), origin)


def _of_layers(
    spec: schema.NetParameter,
    origin: str,
    layers: list[schema.LayerParameter],
    stored: Mapping[str, LayerBlobs],
    weights: str | Path,
    phase: int = schema.TEST,
    shapes: Mapping[str, Shape] | None = None,
    outputs: Collection[str] = (),
    say: Say = silent,
) -> Model:
    blobs = {name: found.blobs for name, found in stored.items()}
    told = {**image_shapes(layers, blobs), **_named(shapes or {}, layers)}
    definition = deploy(layers, phase, told, outputs)
    definition.name = spec.name
    built = Net(definition, origin=origin)
    load_stored(built, stored, weights, say)
    return _model(definition, built, outputs)


def _renamed(layers: Iterable[tuple[str, schema.LayerParameter]]) -> list[schema.LayerParameter]:
    """Returns copies of layers with their labels for names, which stay the same when other layers are left out."""
    found = []
    for label, layer in layers:
        copy = schema.LayerParameter.FromString(layer.SerializeToString())
        copy.name = label
        found.append(copy)
    return found


def _definition(net: str | Path | None, weights: str | Path) -> tuple[schema.NetParameter, str]:
    if net is not None:
        return prototxt.read_net(net), str(net)
    return definition_in(weights)


def definition_in(weights: str | Path) -> tuple[schema.NetParameter, str]:
    """Returns the definition of the net in a .demi file, and its name for messages.

    Raises:
        UsageError: it is no .demi file, or contains no definition.
        PrototxtError: the definition is not a net.
    """
    if Path(weights).suffix != PACKED:
        raise UsageError(f"{weights}: expected a prototxt and its weights, or a {PACKED} file that contains both")
    with File(weights) as packed:
        found = packed.header.metadata.get(DEFINITION)
    if found is None:
        raise UsageError(f"{weights}: it contains no definition of the net; give the prototxt as well")
    origin = f"definition of {weights}"
    return prototxt.parse(found, schema.NetParameter(), origin), origin


def _named(shapes: Mapping[str, Shape], layers: list[schema.LayerParameter]) -> dict[str, Shape]:
    if "" not in shapes:
        return dict(shapes)
    tops = [top for layer in layers if layer.type in SOURCES for top in layer.top]
    if len(shapes) > 1 or not tops:
        raise UsageError("a shape without a name needs a net with one input; write name=N,...")
    return {tops[0]: shapes[""]}


def stored_layers(weights: str | Path | bytes) -> dict[str, LayerBlobs]:
    """Returns label -> layer of a file of weights: a caffemodel or its bytes, or a .demi file.

    Raises:
        FileFormatError: the file cannot be read.
    """
    if isinstance(weights, bytes) or Path(weights).suffix != PACKED:
        return {layer.name: layer for layer in read_model(weights)}
    with File(weights) as packed:
        return _layer_blobs(Contents(list(packed.tensors()), packed.header.metadata))


def _layer_blobs(contents: Contents) -> dict[str, LayerBlobs]:
    return {layer.name: LayerBlobs(layer.name, layer.kind, layer.arrays("a net")) for layer in to_layers(contents)}


def load_stored(net: Net, stored: Mapping[str, LayerBlobs], weights: str | Path, say: Say = silent) -> None:
    """Loads the blobs of all layers; masks of compressing layers are applied to plain ones.

    Args:
        net: the net.
        stored: label -> layer, of :func:`stored_layers`.
        weights: the name of the file, for messages.
        say: is called with a message where masks are applied.

    Raises:
        WeightsError: a layer with blobs of its own is not in the file.
    """
    known = {label: layer for label, layer in stored.items() if layer.blobs}
    for blob in net.learnable:
        if blob.layer not in known:
            raise WeightsError(f"{weights}: it has no weights for layer {blob.layer!r} of the net")
    unmasked: list[str] = []
    for label, target in net.named_layers().items():
        if target.blob_names and label in known:
            try:
                blobs = fitting(*known[label], target, unmasked)
            except WeightsError as error:
                raise error.within(str(weights)) from error
            net.load_blobs(label, blobs, str(weights))
    if unmasked:
        say(applied_masks_line(unmasked, weights))


def _model(definition: schema.NetParameter, source: Net, outputs: Collection[str]) -> Model:
    net = plain(definition, source)
    inputs = dict(net.inputs)
    axes = {name: axis for name, axis in batch_axes(definition).items() if len(inputs[name]) > axis}
    order = [top for spec in definition.layer for top in spec.top]
    chosen = sorted(set(outputs or ends(definition)), key=order.index)
    return Model(read(net, chosen, stateless=True), inputs, axes, Reference(net, chosen), bool(axes))


class Reference:
    """The net that a model was read from, which computes its outputs.

    Args:
        net: the net, of plain layers alone.
        outputs: names of the blobs to return.
    """

    def __init__(self, net: Net, outputs: list[str]) -> None:
        self.net = net
        self._outputs = outputs

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs by name for inputs by name."""
        for layer in self.net.named_layers().values():
            if isinstance(layer, Lstm) or (isinstance(layer, Recurrent) and not layer.exposes):
                # as the graph does, it begins with a state of zeros
                for part in layer.parts:
                    setattr(layer, part, torch.zeros_like(getattr(layer, part)))
        found: dict[str, Tensor] = self.net(inputs, keep=self._outputs)
        return found
