"""A Caffe net as a torch.nn.Module, built from a NetParameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import layers, schema, sources
from demitasse.caffe.assembly import Assembly, errors_name_layer
from demitasse.caffe.definition import labels
from demitasse.caffe.definition.filter import filter_net, net_state
from demitasse.caffe.definition.layer_types import check_types
from demitasse.caffe.definition.split import insert_splits
from demitasse.caffe.layer_blobs import write_blobs
from demitasse.caffe.models.blobs import Array
from demitasse.caffe.parameters import LearnableBlob as LearnableBlob
from demitasse.caffe.parameters import LearnableBlobs
from demitasse.caffe.text import prototxt
from demitasse.caffe.text.fields import Places
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import NetError
from demitasse.registry import suggest


class Net(nn.Module):
    """A Caffe net in one phase.

    Args:
        spec: the NetParameter; it is not changed.
        phase: ``schema.TRAIN`` or ``schema.TEST``; None uses the phase of the net's ``state``.
        level: level for include and exclude rules; None uses the level of the net's ``state``.
        stages: stages for include and exclude rules, in addition to those of the net's ``state``.
        origin: the file it came from, for messages.
        places: the places of its layers and inputs in that file, for messages.

    Attributes:
        spec: the filtered NetParameter, with Split layers inserted.
        labels: a unique name for each layer of ``spec``; see :mod:`demitasse.caffe.definition.labels`.
        sources: label -> source, for the data layers.
        inputs: name -> shape of the blobs that the caller feeds.
        outputs: the names of the blobs that no layer uses, sorted.
        shapes: name -> shape of every blob.
        losses: name -> weight of the blobs that are part of the loss.
        learnable: the blobs of all layers in net order; shared blobs appear once.
        shared_params: ``param { name }`` -> layer and attribute of the blob that owns the name.

    Raises:
        UnknownNameError: a layer type is unknown.
        NetError: a bottom does not exist, or shapes do not match.
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
        # upgrading may have added an Input layer for the net's inputs
        at = [places.inputs] * (len(upgraded.layer) - len(places.layers)) + places.layers
        state = net_state(upgraded, phase, level, stages)
        kept = insert_splits(filter_net(upgraded, at, state))
        check_types(kept)
        self.phase: int = state.phase
        self.force_backward = upgraded.force_backward
        assembly = Assembly(schema.NetParameter(name=upgraded.name), self.force_backward)
        for placed in kept:
            with errors_name_layer(placed):
                assembly.add(placed.layer)
        self.spec, self.shapes, self.inputs = assembly.spec, assembly.shapes, assembly.inputs
        self.losses, self.outputs = assembly.losses, assembly.outputs
        self.layers = nn.ModuleDict()
        self.sources: dict[str, sources.Source] = {}
        self.memory_format = torch.contiguous_format
        self._calls = assembly.calls
        self._keys: dict[str, str] = {}
        names = [spec.name for spec in self.spec.layer]
        have_blobs = [isinstance(part, layers.Layer) and bool(part.blob_names) for part in assembly.parts]
        self.labels = labels.distinct_labels(names, have_blobs)
        parameters = LearnableBlobs()
        for label, part, placed in zip(self.labels, assembly.parts, kept, strict=True):
            with errors_name_layer(placed):
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

    def _enter(self, label: str, part: layers.Layer | sources.Source, parameters: LearnableBlobs) -> None:
        """Registers a layer or source under its label."""
        if isinstance(part, sources.Source):
            self.sources[label] = part
            return
        # ModuleDict refuses dots and the names of its methods, which Caffe allows as names
        key = f"{len(self.layers)}:{part.spec.name.replace('.', '_')}"
        self.layers[key] = part
        self._keys[label] = key
        parameters.add(label, part)

    @override
    def train(self, mode: bool = True) -> Self:
        """Sets training or testing mode; layers whose ``phase`` differs from the net's keep the mode of their phase."""
        super().train(mode)
        for layer, *_ in self._calls:
            if layer.spec.phase != self.phase:
                layer.train(layer.spec.phase == schema.TRAIN)
        return self

    def layer(self, name: str) -> layers.Layer:
        """Returns the layer with a label.

        Raises:
            NetError: there is no such layer.
        """
        if name not in self._keys:
            raise NetError(f"there is no layer {name!r}; {suggest(name, self._keys)}")
        found = self.layers[self._keys[name]]
        assert isinstance(found, layers.Layer)
        return found

    def named_layers(self) -> dict[str, layers.Layer]:
        """Returns label -> layer in net order, without the sources."""
        return {name: self.layer(name) for name in self._keys}

    def channels_last(self) -> Net:
        """Stores images and convolution weights with channels innermost, which is faster on CPUs; returns the net."""
        self.memory_format = torch.channels_last
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.ndim == 4:
                # unlike contiguous, this also sets the strides of a single channel, which convolutions depend on
                tensor.data = tensor.data.to(memory_format=torch.channels_last)
        return self

    def next_batch(self) -> dict[str, Tensor]:
        """Returns the next batch of all sources: name of top -> tensor."""
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
            batch: name -> blob, for the blobs of sources and of the caller, as :meth:`next_batch` returns them.
            keep: the names of further blobs to return; an in-place blob has its final value.

        Returns:
            name -> tensor, for the outputs, the parts of the loss, and ``keep``.

        Raises:
            NetError: labels or indices depend on learnt values, but no gradient can go to them.
            DataError: a label or an index is out of range.
        """
        blobs = {name: self._arrange(tensor) for name, tensor in batch.items()}
        for layer, bottoms, tops, propagate in self._calls:
            inputs = [
                blobs[name] if down else blobs[name].detach() for name, down in zip(bottoms, propagate, strict=True)
            ]
            for index in layer.without_gradient:
                if inputs[index].requires_grad and torch.is_grad_enabled():
                    raise NetError(
                        f"layer {layer.spec.name!r}: {layer.spec.type} has no gradient for its bottom "
                        f"{bottoms[index]!r}, which depends on learnt values; set propagate_down: false for it"
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
        """Returns the loss, a scalar: the weighted sum of its parts."""
        total = torch.zeros(())
        for index, (name, weight) in enumerate(self.losses.items()):
            part = blobs[name].sum() * weight if weight != 1 or blobs[name].ndim else blobs[name]
            total = part if index == 0 else total + part
        return total

    def load_blobs(self, name: str, arrays: Sequence[Array], origin: str = "weights") -> None:
        """Copies arrays into the blobs of the layer with label ``name``.

        A layer with masks also accepts only weight and bias; its masks then keep their filled values.

        Raises:
            WeightsError: the number or the shapes of the blobs differ; the message has the blob and both shapes.
        """
        write_blobs(self.layer(name), name, arrays, origin)
