"""NetParameter -> Net, a torch.nn.Module."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import layers, schema, sources
from demitasse.caffe.definition import labels
from demitasse.caffe.definition.filter import Placed, filter_net, net_state
from demitasse.caffe.definition.layer_types import check_types
from demitasse.caffe.definition.split import insert_splits
from demitasse.caffe.models.blobs import blob_array
from demitasse.caffe.parameters import LearnableBlob as LearnableBlob
from demitasse.caffe.parameters import LearnableBlobs
from demitasse.caffe.sizes import check_size
from demitasse.caffe.text import prototxt
from demitasse.caffe.text.fields import Places
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import DemitasseError, NetError, WeightsError, is_out_of_memory
from demitasse.registry import suggest


class Net(nn.Module):
    """A Caffe net in one phase.

    Args:
        spec: the NetParameter; it is not changed.
        phase: ``schema.TRAIN`` or ``schema.TEST``; None takes that of the net's own ``state``.
        level: for include and exclude rules; None takes that of the net's own ``state``.
        stages: likewise; they are added to those of the net's own ``state``.
        origin: the file it came from, for messages.
        places: the lines of its layers and inputs in that file.

    Attributes:
        spec: the filtered NetParameter, splits inserted.
        labels: a name for each layer of ``spec``, each another one; see :mod:`demitasse.caffe.definition.labels`.
        sources: label -> data layer.
        inputs: name -> shape of the blobs that the caller feeds.
        outputs: names of the blobs that no layer takes, sorted.
        shapes: name -> shape of every blob.
        losses: name -> weight of the blobs that make up the loss.
        learnable: the blobs of all layers in net order, shared ones once.
        shared_params: ``param { name }`` -> layer and attribute of the blob that goes by it.

    Raises:
        UnknownNameError: a layer type is not known.
        NetError: a bottom does not exist, or shapes do not fit.
    """

    def __init__(
        self,
        spec: schema.NetParameter,
        phase: int | None = schema.TEST,
        level: int | None = None,
        stages: Collection[str] = (),
        origin: str = "net",
        places: Places | None = None,
    ) -> None:
        super().__init__()
        upgraded = schema.NetParameter.FromString(spec.SerializeToString())
        if places is None:
            places = Places([origin] * (len(upgraded.layer) + len(upgraded.layers)), origin)
        upgrade_net(upgraded, origin, places)
        # there may be an Input layer made of the net's inputs
        at = [places.inputs] * (len(upgraded.layer) - len(places.layers)) + places.layers
        state = net_state(upgraded, phase, level, stages)
        kept = insert_splits(filter_net(upgraded, at, state))
        check_types(kept)
        self.phase: int = state.phase
        self.spec = schema.NetParameter(name=upgraded.name)
        self.force_backward = upgraded.force_backward
        self.layers = nn.ModuleDict()
        self.sources: dict[str, sources.Source] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.losses: dict[str, float] = {}
        self.memory_format = torch.contiguous_format
        self._steps: list[tuple[layers.Layer, list[str], list[str], list[bool]]] = []
        self._keys: dict[str, str] = {}
        available: dict[str, None] = {}
        built = []
        for placed in kept:
            with _at(placed):
                built.append(self._add(placed.layer, available))
        self.outputs = sorted(available)
        names = [spec.name for spec in self.spec.layer]
        have_blobs = [isinstance(part, layers.Layer) and bool(part.blob_names) for part in built]
        self.labels = labels.distinct_labels(names, have_blobs)
        parameters = LearnableBlobs()
        for label, part, placed in zip(self.labels, built, kept, strict=True):
            with _at(placed):
                self._enter(label, part, parameters)
        self.shared_params = parameters.named
        self.learnable = parameters.blobs if self.force_backward else parameters.freeze()
        self.train(self.phase == schema.TRAIN)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        phase: int | None = schema.TEST,
        level: int | None = None,
        stages: Collection[str] = (),
    ) -> Net:
        """Builds the net of a prototxt; see the class for arguments and errors."""
        spec = prototxt.read_net(path)
        return cls(spec, phase, level, stages, str(path), prototxt.places(path))

    def _add(self, spec: schema.LayerParameter, available: dict[str, None]) -> layers.Layer | sources.Source:
        part: layers.Layer | sources.Source
        bottom_shapes = self._take_bottoms(spec, available)
        in_place = {top for top, bottom in zip(spec.top, spec.bottom, strict=False) if top == bottom}
        for name in spec.top:
            if (name in self.shapes and name not in in_place) or list(spec.top).count(name) > 1:
                raise NetError(f"top {name!r} is made by another layer already")
        is_loss = automatic = False
        if spec.type in sources.SOURCES:
            part = sources.SOURCES[spec.type](spec, spec.phase)
            shapes = self._add_source(part, spec)
        elif not spec.type:
            raise NetError("it has no type")
        else:
            part = layer = layers.LAYERS[spec.type](spec)
            is_loss, automatic = layer.is_loss, layer.is_loss and not spec.top
            if automatic:
                spec.top.append(self._automatic_top(spec))
            shapes = self._add_layer(layer, spec, bottom_shapes)
        self.spec.layer.append(spec)
        self._make_tops(spec, shapes, is_loss)
        if not automatic:  # a loss without a top counts, but is no output
            available.update(dict.fromkeys(spec.top))
        return part

    def _automatic_top(self, spec: schema.LayerParameter) -> str:
        """Returns a name for the top of a loss that names none; that of another layer with its name differs."""
        name = f"{spec.name} (automatic)"
        while name in self.shapes:
            name += "'"
        return name

    def _take_bottoms(self, spec: schema.LayerParameter, available: dict[str, None]) -> list[tuple[int, ...]]:
        for name in spec.bottom:
            if name not in available:
                raise NetError(f"bottom {name!r} does not exist; {suggest(name, self.shapes)}")
        for name in spec.bottom:
            available.pop(name, None)
        return [self.shapes[name] for name in spec.bottom]

    def _make_tops(self, spec: schema.LayerParameter, shapes: list[tuple[int, ...]], is_loss: bool) -> None:
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

    def _add_source(self, source: sources.Source, spec: schema.LayerParameter) -> list[tuple[int, ...]]:
        if source.fed:
            self.inputs.update(zip(spec.top, source.shapes, strict=False))
        return list(source.shapes)

    def _add_layer(
        self, layer: layers.Layer, spec: schema.LayerParameter, bottom_shapes: list[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        _check_counts(layer)
        for top, bottom in zip(spec.top, spec.bottom, strict=False):
            if top == bottom and not layer.in_place:
                raise NetError(f"{spec.type} does not compute in place: give its top {top!r} a name of its own")
        layer.setup(*bottom_shapes)
        self._steps.append((layer, list(spec.bottom), list(spec.top), self._propagate(layer)))
        if spec.blobs:
            write_blobs(layer, spec.name, list(map(blob_array, spec.blobs)), "the net's own blobs")
            del spec.blobs[:]
        return layer.top_shapes(*bottom_shapes) if spec.top else []

    def _enter(self, label: str, part: layers.Layer | sources.Source, parameters: LearnableBlobs) -> None:
        """Takes a layer in under its label."""
        if isinstance(part, sources.Source):
            self.sources[label] = part
            return
        # ModuleDict refuses dots and names of its own methods; Caffe's names are free
        key = f"{len(self.layers)}:{part.spec.name.replace('.', '_')}"
        self.layers[key] = part
        self._keys[label] = key
        parameters.add(label, part)

    def _propagate(self, layer: layers.Layer) -> list[bool]:
        """Returns for every bottom of a layer whether a gradient may go to it."""
        given, count = list(layer.spec.propagate_down), len(layer.spec.bottom)
        if len(given) not in (0, count):
            raise NetError(f"propagate_down has {len(given)} values for {count} bottoms")
        if self.force_backward:
            return [index not in layer.without_gradient for index in range(count)]
        return given or [True] * count

    @override
    def train(self, mode: bool = True) -> Self:
        """Puts the layers into training or testing, except those whose ``phase`` is set to another than the net's."""
        super().train(mode)
        for layer, *_ in self._steps:
            if layer.spec.phase != self.phase:
                layer.train(layer.spec.phase == schema.TRAIN)
        return self

    def layer(self, name: str) -> layers.Layer:
        """Returns a layer by its label."""
        if name not in self._keys:
            raise NetError(f"no layer {name!r}; {suggest(name, self._keys)}")
        found = self.layers[self._keys[name]]
        assert isinstance(found, layers.Layer)
        return found

    def named_layers(self) -> dict[str, layers.Layer]:
        """Returns label -> layer in net order (sources left out)."""
        return {name: self.layer(name) for name in self._keys}

    def channels_last(self) -> Net:
        """Keeps images and convolution weights with channels innermost, the faster form on CPUs."""
        self.memory_format = torch.channels_last
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.ndim == 4:
                # unlike contiguous, this also settles the strides of a single channel, which convolutions go by
                tensor.data = tensor.data.to(memory_format=torch.channels_last)
        return self

    def next_batch(self) -> dict[str, Tensor]:
        """Reads the next batch of every source: name of top -> tensor."""
        batch: dict[str, Tensor] = {}
        for label, spec in zip(self.labels, self.spec.layer, strict=True):
            source = self.sources.get(label)
            if source is not None and not source.fed:
                batch.update(zip(spec.top, source.next_own_batch(), strict=True))
        return batch

    @override
    def forward(self, batch: Mapping[str, Tensor], keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Runs the layers in order.

        Args:
            batch: the blobs that sources and the caller feed, by name, as :meth:`next_batch` returns them.
            keep: names of further blobs to return; an in-place blob has its final value.

        Returns:
            name -> tensor of the outputs, of the parts of the loss, and of ``keep``.

        Raises:
            NetError: labels or indices depend on what is learnt, and no gradient can go to them.
            DataError: a label or an index is out of range.
        """
        blobs = {name: self._arrange(tensor) for name, tensor in batch.items()}
        for layer, bottoms, tops, propagate in self._steps:
            inputs = [
                blobs[name] if down else blobs[name].detach() for name, down in zip(bottoms, propagate, strict=True)
            ]
            for index in layer.without_gradient:
                if inputs[index].requires_grad and torch.is_grad_enabled():
                    raise NetError(
                        f"layer {layer.spec.name!r}: {layer.spec.type} has no gradient for its bottom "
                        f"{bottoms[index]!r}, which depends on what is learnt; set propagate_down: false for it"
                    )
            result = layer(*inputs)
            if isinstance(result, Tensor):
                blobs[tops[0]] = result
            else:
                blobs.update(zip(tops, result, strict=True))
        wanted = {*self.outputs, *self.losses, *keep}
        return {name: tensor for name, tensor in blobs.items() if name in wanted}

    def _arrange(self, tensor: Tensor) -> Tensor:
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.memory_format)
        if self.force_backward and tensor.is_floating_point() and tensor.is_leaf:
            tensor.requires_grad_()
        return tensor

    def loss(self, blobs: Mapping[str, Tensor]) -> Tensor:
        """Returns the weighted sum of the parts of the loss, a scalar."""
        total = torch.zeros(())
        for index, (name, weight) in enumerate(self.losses.items()):
            part = blobs[name].sum() * weight if weight != 1 or blobs[name].ndim else blobs[name]
            total = part if index == 0 else total + part
        return total

    def load_blobs(self, name: str, arrays: list[np.ndarray], origin: str = "weights") -> None:
        """Copies arrays into the blobs of the layer with label ``name``.

        A layer with masks also takes weight and bias alone; its masks then keep their filled values.

        Raises:
            WeightsError: number or shapes of the blobs differ; says which blob and both shapes.
        """
        write_blobs(self.layer(name), name, arrays, origin)


def write_blobs(layer: layers.Layer, name: str, arrays: list[np.ndarray], origin: str) -> None:
    """Copies arrays into the blobs of a layer; see :meth:`Net.load_blobs`."""
    blobs = layer.blobs()
    plain = [i for i, blob in enumerate(layer.blob_names) if not blob.endswith("_mask")]
    if len(arrays) not in (len(blobs), len(plain)):
        raise WeightsError(f"{origin}: layer {name!r} has {len(arrays)} blobs, but the net's has {len(blobs)}")
    for index, array in enumerate(arrays):
        if not array.size:  # a shared blob, loaded under its owner
            continue
        blob = blobs[index]
        if _squeezed(array.shape) != _squeezed(tuple(blob.shape)):
            raise WeightsError(
                f"{origin}: blob {index} ({layer.blob_names[index]}) of layer {name!r} has shape "
                f"{list(array.shape)}, but the net's has {list(blob.shape)}"
            )
        writable = np.require(array, requirements=("C", "W"))
        layer.write_blob(layer.blob_names[index], torch.from_numpy(writable))


@contextmanager
def _at(placed: Placed) -> Iterator[None]:
    """Says in errors which layer it was."""
    what = f"layer {placed.layer.name!r} ({placed.place})"
    try:
        yield
    except DemitasseError as error:
        # what a user's layer raised stays the direct cause
        raise error.within(what) from error.__cause__ or error
    except (RuntimeError, MemoryError) as error:
        # all other errors are of the layer's code, not of the net
        if not is_out_of_memory(error):
            raise
        raise NetError(f"{what}: {placed.layer.type} needs more memory than there is: {error}") from error


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drops leading ones: files from before BlobShape always have four axes."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _check_counts(layer: layers.Layer) -> None:
    """Checks how many bottoms and tops a layer has."""
    spec = layer.spec
    for what, names, (least, most) in (
        ("bottoms", spec.bottom, layer.bottom_count),
        ("tops", spec.top, layer.top_count),
    ):
        if len(names) < least or (most is not None and len(names) > most):
            wanted = str(least) if least == most else f"{least} to {'any number' if most is None else most}"
            raise NetError(f"{spec.type} takes {wanted} {what}, found {len(names)}: {list(names)}")
