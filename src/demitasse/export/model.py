"""A net ready for export: its deploy form, every layer plain, with the values that it effectively computes with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.definition.split import without_splits
from demitasse.caffe.models.caffemodel import LayerBlobs, read_model
from demitasse.caffe.models.masks import applied_masks_line
from demitasse.caffe.net import Net
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.weights import fitting
from demitasse.errors import UsageError, WeightsError, parameter
from demitasse.export.deploy import Shape, batch_axes, deploy, ends
from demitasse.export.image_shapes import image_shapes
from demitasse.export.plain import plain
from demitasse.formats.base import PACKED, Contents
from demitasse.formats.blobs import DEFINITION, to_layers
from demitasse.packed.file import File


@dataclass(frozen=True)
class Model:
    """What is exported.

    Attributes:
        name: of the net.
        net: in phase TEST, of plain layers alone.
        inputs: name -> shape, the batch as the net has it.
        outputs: names of blobs, in the order of the net.
        batch_axes: input -> axis of its batch, where it has one.
        dynamic: whether the batch may have any size; else it is that of ``inputs``.
    """

    name: str
    net: Net
    inputs: dict[str, Shape]
    outputs: list[str]
    batch_axes: dict[str, int]
    dynamic: bool = True

    def batch(self) -> int:
        """Returns the size of the batch.

        Raises:
            UsageError: inputs have batches of different sizes.
        """
        sizes = {name: self.inputs[name][axis] for name, axis in self.batch_axes.items()}
        if len(set(sizes.values())) > 1:
            raise UsageError(
                f"the inputs have batches of different sizes, {sizes}; keep them by {parameter('batch', 'fixed')}"
            )
        return next(iter(sizes.values()))

    def sized(self, batch: int) -> dict[str, Shape]:
        """Returns the shapes of the inputs for a batch of this size."""
        shapes = {}
        for name, shape in self.inputs.items():
            axis = self.batch_axes.get(name)
            shapes[name] = shape if axis is None else (*shape[:axis], batch, *shape[axis + 1 :])
        return shapes

    def fixed(self, batch: int | None = None) -> Model:
        """Returns the same with batches of one size; None keeps the net's.

        Raises:
            UsageError: a size is given, but inputs have batches of different sizes.
        """
        if batch is not None and self.batch_axes:
            self.batch()
        return replace(self, inputs=self.inputs if batch is None else self.sized(batch), dynamic=False)


def of_net(net: Net, outputs: Collection[str] = ()) -> Model:
    """Returns the model of a net in memory; the net stays as it is.

    Args:
        net: with or without sources, in any phase, compressed or not.
        outputs: names of blobs; by default what no layer takes but losses, accuracies and the like.

    Raises:
        UnknownNameError: the net has no such blob.
        ExportError: nothing is left without losses.
    """
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
    layers = _renamed(labelled_layers(spec, origin, phase, level, stages).items())
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
        say(applied_masks_line(unmasked, weights))


def _model(definition: schema.NetParameter, source: Net, outputs: Collection[str]) -> Model:
    net = plain(definition, source)
    inputs = dict(net.inputs)
    axes = {name: axis for name, axis in batch_axes(definition).items() if len(inputs[name]) > axis}
    chosen = outputs or ends(definition)
    order = [top for spec in net.spec.layer for top in spec.top]
    return Model(definition.name, net, inputs, sorted(set(chosen), key=order.index), axes, bool(axes))
