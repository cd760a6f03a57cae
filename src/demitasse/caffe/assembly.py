"""Builds the layers and sources of a net one after the other, and connects their bottoms and tops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from demitasse.caffe import layers, schema, sources
from demitasse.caffe.definition.filter import Placed
from demitasse.caffe.layer_blobs import write_blobs
from demitasse.caffe.layers.builtin import builtin_layer
from demitasse.caffe.models.blobs import blob_array
from demitasse.caffe.python_layer import is_available
from demitasse.caffe.sizes import check_size
from demitasse.errors import DemitasseError, NetError, is_out_of_memory
from demitasse.registry import suggest

Shape = tuple[int, ...]
Part = layers.Layer | sources.Source


class LayerCall(NamedTuple):
    """One layer's part in a forward pass.

    Attributes:
        layer: the layer.
        bottoms: names of the blobs that it reads.
        tops: names of the blobs that it makes.
        propagate: for each bottom, whether a gradient may go to it.
    """

    layer: layers.Layer
    bottoms: list[str]
    tops: list[str]
    propagate: list[bool]


class Assembly:
    """The parts of a net, built in the order of its layers.

    Args:
        spec: an empty NetParameter, to which the layers are added.
        force_backward: whether gradients go to all bottoms that can have one.

    Attributes:
        spec: the NetParameter with the layers added so far.
        parts: the layers and sources, in order.
        calls: the forward pass: the layers without the sources, in order.
        shapes: name -> shape of every blob.
        inputs: name -> shape of the blobs that the caller feeds.
        losses: name -> weight of the blobs that are part of the loss.
    """

    def __init__(self, spec: schema.NetParameter, force_backward: bool) -> None:
        self.spec = spec
        self.parts: list[Part] = []
        self.calls: list[LayerCall] = []
        self.shapes: dict[str, Shape] = {}
        self.inputs: dict[str, Shape] = {}
        self.losses: dict[str, float] = {}
        self._force_backward = force_backward
        self._unused: dict[str, None] = {}

    @property
    def outputs(self) -> list[str]:
        """The names of the blobs that no layer uses, sorted."""
        return sorted(self._unused)

    def add(self, spec: schema.LayerParameter) -> None:
        """Builds a layer or source, and appends it.

        Raises:
            UnknownNameError: the layer type is unknown.
            NetError: a bottom does not exist, a top exists already, or shapes or settings are invalid.
        """
        bottom_shapes = self._use_bottoms(spec)
        in_place = {top for top, bottom in zip(spec.top, spec.bottom, strict=False) if top == bottom}
        for name in spec.top:
            if (name in self.shapes and name not in in_place) or list(spec.top).count(name) > 1:
                raise NetError(f"top {name!r} is made by another layer already")
        if not spec.type:
            raise NetError("the layer has no type")
        is_loss = automatic = False
        if spec.type in sources.SOURCES:
            source = sources.SOURCES[spec.type](spec, spec.phase)
            self.parts.append(source)
            shapes = self._add_source(source, spec)
        else:
            layer = _layer_class(spec)(spec)
            self.parts.append(layer)
            is_loss, automatic = layer.is_loss, layer.is_loss and not spec.top
            if automatic:
                spec.top.append(self._automatic_top(spec))
            shapes = self._add_layer(layer, spec, bottom_shapes)
        self.spec.layer.append(spec)
        self._make_tops(spec, shapes, is_loss)
        if not automatic:  # a loss without a top is part of the loss, but not an output
            self._unused.update(dict.fromkeys(spec.top))

    def _automatic_top(self, spec: schema.LayerParameter) -> str:
        """Returns a unique name for the top of a loss that names none."""
        name = f"{spec.name} (automatic)"
        while name in self.shapes:
            name += "'"
        return name

    def _use_bottoms(self, spec: schema.LayerParameter) -> list[Shape]:
        for name in spec.bottom:
            if name not in self._unused:
                raise NetError(f"bottom {name!r} does not exist; {suggest(name, self.shapes)}")
        for name in spec.bottom:
            self._unused.pop(name, None)
        return [self.shapes[name] for name in spec.bottom]

    def _make_tops(self, spec: schema.LayerParameter, shapes: list[Shape], is_loss: bool) -> None:
        if len(shapes) != len(spec.top):
            raise NetError(f"{spec.type} makes {len(shapes)} tops, but {len(spec.top)} are named")
        if len(spec.loss_weight) not in (0, len(spec.top)):
            raise NetError(f"loss_weight has {len(spec.loss_weight)} values for {len(spec.top)} tops")
        weights = list(spec.loss_weight) or [float(is_loss and index == 0) for index in range(len(spec.top))]
        for name, shape, weight in zip(spec.top, shapes, weights, strict=True):
            check_size(shape, f"top {name!r}")
            self.shapes[name] = shape
            if weight:
                self.losses[name] = weight

    def _add_source(self, source: sources.Source, spec: schema.LayerParameter) -> list[Shape]:
        if source.fed:
            self.inputs.update(zip(spec.top, source.shapes, strict=False))
        return list(source.shapes)

    def _add_layer(self, layer: layers.Layer, spec: schema.LayerParameter, bottom_shapes: list[Shape]) -> list[Shape]:
        _check_counts(layer)
        for top, bottom in zip(spec.top, spec.bottom, strict=False):
            if top == bottom and not layer.in_place:
                raise NetError(f"{spec.type} does not compute in place: give its top {top!r} a name of its own")
        layer.setup(*bottom_shapes)
        self.calls.append(LayerCall(layer, list(spec.bottom), list(spec.top), self._propagate(layer)))
        if spec.blobs:
            write_blobs(layer, spec.name, list(map(blob_array, spec.blobs)), "the net's own blobs")
            del spec.blobs[:]
        return layer.top_shapes(*bottom_shapes) if spec.top else []

    def _propagate(self, layer: layers.Layer) -> list[bool]:
        """Returns for each bottom of a layer whether a gradient may go to it."""
        given, count = list(layer.spec.propagate_down), len(layer.spec.bottom)
        if len(given) not in (0, count):
            raise NetError(f"propagate_down has {len(given)} values for {count} bottoms")
        if self._force_backward:
            return [index not in layer.without_gradient for index in range(count)]
        return given or [True] * count


@contextmanager
def errors_name_layer(placed: Placed) -> Iterator[None]:
    """Adds the name and the place of a layer to errors."""
    what = f"layer {placed.layer.name!r} ({placed.place})"
    try:
        yield
    except DemitasseError as error:
        # the exception of a user's layer stays the direct cause
        raise error.within(what) from error.__cause__ or error
    except (RuntimeError, MemoryError) as error:
        # other exceptions are faults of the layer's code, not of the net
        if not is_out_of_memory(error):
            raise
        raise NetError(f"{what}: {placed.layer.type} needs more memory than there is: {error}") from error


def _layer_class(spec: schema.LayerParameter) -> type[layers.Layer]:
    """Returns the class of a layer; some layers in Python are built in, where their own code may not run."""
    builtin = builtin_layer(spec)
    return layers.LAYERS[spec.type] if builtin is None or is_available(spec) else builtin


def _check_counts(layer: layers.Layer) -> None:
    """Checks the numbers of bottoms and tops of a layer."""
    spec = layer.spec
    for what, names, (least, most) in (
        ("bottoms", spec.bottom, layer.bottom_count),
        ("tops", spec.top, layer.top_count),
    ):
        if len(names) < least or (most is not None and len(names) > most):
            wanted = str(least) if least == most else f"{least} to {'any number' if most is None else most}"
            raise NetError(f"{spec.type} takes {wanted} {what}, found {len(names)}: {list(names)}")
