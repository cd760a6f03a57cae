"""Models of Caffe nets: the deploy form, every layer plain, with the values that it effectively computes with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled
from demitasse.caffe.definition.split import without_splits
from demitasse.caffe.layers.recurrent import Recurrent
from demitasse.caffe.models.caffemodel import LayerBlobs, read_model
from demitasse.caffe.models.masks import report
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
    """Returns the model of a net in memory; the net stays as it is.

    Args:
        net: a :class:`~demitasse.caffe.net.Net`, with or without sources, in any phase, compressed or not.
        outputs: names of blobs; by default what no layer takes but losses, accuracies and the like.

    Raises:
        UsageError: it is no Caffe net.
        UnknownNameError: the net has no such blob.
        ExportError: nothing is left without losses.
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
    """Reads the model of a prototxt and its weights; layers compute as in phase TEST.

    Args:
        net: the prototxt; None for a .demi file that keeps it.
        weights: a caffemodel, protobuf or HDF5, or a .demi file of the net.
        phase: for include and exclude rules, and so are ``level`` and ``stages``; the two that are given are added to
            the net's own ``state``, or replace it, as in :class:`~demitasse.caffe.net.Net`.
        level: see ``phase``.
        stages: see ``phase``.
        shapes: of inputs, by name, instead of the net's; for an only input the name may be empty.
        outputs: see :func:`of_net`.
        say: is told where masks of compressing layers were applied, as ``dns_to_normal`` does.

    Raises:
        PrototxtError, NetError: the net cannot be read or built.
        WeightsError: a layer has no weights in the file, or others.
        UsageError: the .demi file keeps no definition.
    """
    spec, origin = _definition(net, weights)
    layers = _renamed(labelled(spec, origin, phase, level, stages).items())
    stored = _stored(weights)
    blobs = {name: found.blobs for name, found in stored.items()}
    told = {**image_shapes(layers, blobs), **_named(shapes or {}, layers)}
    definition = deploy(layers, phase, told, outputs)
    definition.name = spec.name
    built = Net(definition, origin=origin)
    _load(built, stored, weights, say)
    return _model(definition, built, outputs)


def _renamed(layers: Iterable[tuple[str, schema.LayerParameter]]) -> list[schema.LayerParameter]:
    """Returns copies of layers with their labels for names: some may go, and the others keep theirs."""
    found = []
    for label, layer in layers:
        copy = schema.LayerParameter.FromString(layer.SerializeToString())
        copy.name = label
        found.append(copy)
    return found


def _definition(net: str | Path | None, weights: str | Path) -> tuple[schema.NetParameter, str]:
    if net is not None:
        return prototxt.read_net(net), str(net)
    if Path(weights).suffix != PACKED:
        raise UsageError(f"{weights}: expected a prototxt and its weights, or a {PACKED} file that keeps both")
    with File(weights) as packed:
        found = packed.header.metadata.get(DEFINITION)
    if found is None:
        raise UsageError(f"{weights}: no definition of the net is in it; give the prototxt before it")
    origin = f"definition of {weights}"
    return prototxt.parse(found, schema.NetParameter(), origin), origin


def _named(shapes: Mapping[str, Shape], layers: list[schema.LayerParameter]) -> dict[str, Shape]:
    if "" not in shapes:
        return dict(shapes)
    tops = [top for layer in layers if layer.type in SOURCES for top in layer.top]
    if len(shapes) > 1 or not tops:
        raise UsageError("one shape without a name is for nets of one input; write name=N,...")
    return {tops[0]: shapes[""]}


def _stored(weights: str | Path) -> dict[str, LayerBlobs]:
    """Returns label -> layer of a file."""
    if Path(weights).suffix != PACKED:
        return {layer.name: layer for layer in read_model(weights)}
    with File(weights) as packed:
        contents = Contents(list(packed.tensors()), packed.header.metadata)
    return {layer.name: LayerBlobs(layer.name, layer.kind, layer.arrays("a net")) for layer in to_layers(contents)}


def _load(net: Net, stored: Mapping[str, LayerBlobs], weights: str | Path, say: Say) -> None:
    """Loads all layers.

    Raises:
        WeightsError: one that has blobs of its own is not in the file.
    """
    known = {label: layer for label, layer in stored.items() if layer.blobs}
    for blob in net.learnable:
        if blob.layer not in known:
            raise WeightsError(f"{weights}: has no weights for layer {blob.layer!r} of the net")
    unmasked: list[str] = []
    for label, target in net.named_layers().items():
        if target.blob_names and label in known:
            try:
                blobs = fitting(*known[label], target, unmasked)
            except WeightsError as error:
                raise error.within(str(weights)) from error
            net.load_blobs(label, blobs, str(weights))
    if unmasked:
        say(report(unmasked, weights))


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
        for layer in self.net.named_layers().values():
            if isinstance(layer, Recurrent) and not layer.exposes:
                # as the graph does, it begins with a state of zeros
                for part in layer.parts:
                    setattr(layer, part, torch.zeros_like(getattr(layer, part)))
        found: dict[str, Tensor] = self.net(inputs, keep=self._outputs)
        return found
