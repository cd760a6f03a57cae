"""A net with the interface of cv2.dnn.Net."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.detection_output import DetectionOutput
from demitasse.caffe.net import Net as CaffeNet
from demitasse.dnn.layer import NetLayer
from demitasse.errors import DataError, NetError, UnknownNameError, UsageError
from demitasse.graph import Graph
from demitasse.graph.caffe import of_whole_net
from demitasse.registry import suggest
from demitasse.runtime.plan import Plan, plan_of

Array = NDArray[Any]
Shape = tuple[int, ...]
Shapes = tuple[tuple[str, Shape], ...]

_KEPT = 4  # plans that are kept, for shapes of inputs and names of outputs


class Net:
    """A Caffe net in use; :func:`readNetFromCaffe` makes it. Names and arguments are those of ``cv2.dnn.Net``.

    Args:
        net: the net, in phase TEST, with its weights.
        origin: the file it came from, for messages.
    """

    def __init__(self, net: CaffeNet, origin: str) -> None:
        self._net, self._origin = net, origin
        self._layers = net.named_layers()
        self._inputs: dict[str, Tensor] = {}
        self._plans: dict[tuple[Shapes, tuple[str, ...]], Plan] = {}
        self._nets: dict[Shapes, CaffeNet] = {_shapes(net.inputs): net}
        self._names = [step.name for step in of_whole_net(net).steps]
        self._aliases: dict[str, str] = {}
        self._time = 0

    def setInput(
        self, blob: Array, name: str = "", scalefactor: float = 1.0, mean: Sequence[float] | float = ()
    ) -> None:
        """Sets the input of the next :meth:`forward`: (blob - mean) * scalefactor, of any shape the layers can take.

        Args:
            blob: the values, usually (n, channels, height, width).
            name: the input; may be empty if the net has only one.
            scalefactor: a factor.
            mean: for each channel, what is subtracted first.

        Raises:
            UsageError: there are several inputs and no name.
            UnknownNameError: there is no such input.
            DataError: these are no numbers.
        """
        inputs = list(self._net.inputs)
        if not name and len(inputs) != 1:
            raise UsageError(f"the net has the inputs {', '.join(inputs) or '(none)'}; name one: setInput(blob, name)")
        name = self._aliases.get(name, name) or inputs[0]
        if name not in self._net.inputs:
            raise UnknownNameError(f"the net has no input {name!r}; {suggest(name, inputs)}")
        values = np.asarray(blob)
        if not values.ndim or values.dtype.kind not in "buif":
            raise DataError(
                f"input {name!r}: found {type(blob).__name__} of {values.dtype}; expected an array of numbers"
            )
        values = values.astype(np.float32, copy=False)
        if scalefactor != 1.0 or np.any(mean):
            given = np.zeros(values.shape[1], np.float32)
            given[: np.size(mean)] = np.atleast_1d(np.asarray(mean, np.float32))[: len(given)]
            values = (values - given.reshape(-1, *[1] * (values.ndim - 2))) * np.float32(scalefactor)
        self._inputs[name] = torch.from_numpy(np.ascontiguousarray(values))

    @overload
    def forward(self, outputName: str | None = None) -> Array: ...

    @overload
    def forward(self, outputName: list[str] | tuple[str, ...]) -> tuple[Array, ...]: ...

    @overload
    def forward(self, *, outBlobNames: Sequence[str]) -> tuple[Array, ...]: ...

    def forward(
        self, outputName: str | Sequence[str] | None = None, outBlobNames: Sequence[str] | None = None
    ) -> Array | tuple[Array, ...]:
        """Computes the net and returns the output of a layer, or of several.

        Args:
            outputName: the name of a layer, or of a blob, or a list of names; None or "" for the last layer.
            outBlobNames: cv2's other name of a list of names.

        Returns:
            An array, or for a list of names a tuple of arrays. As in cv2, what DetectionOutput finds goes by item and
            score, and is followed by rows of zeros, up to ``keep_top_k`` rows for each item.

        Raises:
            UsageError: an input is not set, or these are no names.
            UnknownNameError: there is no such layer.
            NetError: the layers cannot take inputs of these shapes.
        """
        given = outputName if outBlobNames is None else outBlobNames
        try:
            wanted = (given,) if isinstance(given, str) else tuple(map(str, given or ()))
        except TypeError:
            raise UsageError(f"outputName is {given!r}; expected a name or a list of names") from None
        if not any(wanted):
            wanted = (self._names[-1],)
        if missing := [name for name in self._net.inputs if name not in self._inputs]:
            raise UsageError(f"input {missing[0]!r} is not set; call setInput(blob, {missing[0]!r})")
        shapes = _shapes({name: tuple(self._inputs[name].shape) for name in self._net.inputs})
        plan = self._plan(shapes, wanted)
        start = time.perf_counter_ns()
        found = plan(self._inputs)
        self._time = time.perf_counter_ns() - start
        arrays = tuple(self._padded(name, found[name]).numpy() for name in wanted)
        return arrays[0] if given is None or isinstance(given, str) else arrays

    def _plan(self, shapes: Shapes, wanted: tuple[str, ...]) -> Plan:
        key = shapes, wanted
        if key not in self._plans:
            while len(self._plans) >= _KEPT:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = plan_of(self._graph(self._built(shapes), wanted))
        return self._plans[key]

    def _built(self, shapes: Shapes) -> CaffeNet:
        """Returns the net for inputs of these shapes, with the same weights."""
        if shapes not in self._nets:
            while len(self._nets) >= _KEPT:
                self._nets.pop(next(reversed(self._nets)))  # the first is the one that was read
            built = CaffeNet(_reshaped(self._net, dict(shapes)), schema.TEST, origin=self._origin)
            for label, layer in self._layers.items():
                _copy_blobs(layer, built.layer(label), label)
            self._nets[shapes] = built
        return self._nets[shapes]

    def _graph(self, net: CaffeNet, wanted: tuple[str, ...]) -> Graph:
        """Returns the graph of what is wanted by name: first outputs of layers, or blobs; of Silence, its input."""
        graph = of_whole_net(net)
        places = {value.name: number for number, value in enumerate(graph.values)}
        for step in graph.steps:
            if numbers := (*step.outputs, *step.inputs):
                places[step.name] = numbers[0]
        for name in wanted:
            if name not in places:
                raise UnknownNameError(f"the net has no layer {name!r}; {suggest(name, places)}")
        graph.outputs = {name: places[name] for name in wanted}
        return graph

    def _padded(self, name: str, found: Tensor) -> Tensor:
        layer = self._layers.get(name)
        if not isinstance(layer, DetectionOutput) or layer.keep_top_k is None:
            return found
        items = next(iter(self._inputs.values())).shape[0]
        rows = found.new_zeros(1, 1, max(items * layer.keep_top_k, found.shape[2]), found.shape[3])
        if found[0, 0, 0, 1] >= 0:  # else there is a row of -1 for each item
            by_score = found[0, 0][found[0, 0, :, 2].argsort(descending=True, stable=True)]
            rows[0, 0, : len(by_score)] = by_score[by_score[:, 0].argsort(stable=True)]
        return rows

    def getLayerNames(self) -> tuple[str, ...]:
        """Returns the names of all layers in order, without inputs."""
        return tuple(self._names)

    def getLayerId(self, layer: str) -> int:
        """Returns the number of a layer, from 1; -1 if no layer has this name."""
        return self._names.index(layer) + 1 if layer in self._names else -1

    def getLayer(self, layerId: int | str) -> NetLayer:
        """Returns a layer by its number, from 1, or its name; its blobs can be changed.

        Raises:
            UnknownNameError: there is no such layer.
        """
        name = layerId if isinstance(layerId, str) else str(layerId)
        if not isinstance(layerId, str) and 0 < int(layerId) <= len(self._names):
            name = self._names[int(layerId) - 1]
        layer = self._layers.get(name)
        if layer is None:
            raise UnknownNameError(f"the net has no layer {layerId!r}; {suggest(name, self._names)}")
        return NetLayer(layer, name, self._forget)

    def _forget(self) -> None:
        """Drops what was made of blobs that have changed."""
        self._plans.clear()
        self._nets = {_shapes(self._net.inputs): self._net}

    def getParam(self, layer: int | str, numParam: int = 0) -> Array:
        """Returns a blob of a layer.

        Raises:
            UnknownNameError: there is no such layer or blob.
        """
        blobs = self.getLayer(layer).blobs
        if not 0 <= numParam < len(blobs):
            raise UnknownNameError(f"layer {layer!r} has {len(blobs)} blobs; found the number {numParam}, from 0")
        return blobs[numParam]

    def setParam(self, layer: int | str, numParam: int, blob: Array) -> None:
        """Changes a blob of a layer; it keeps its shape.

        Raises:
            UnknownNameError: there is no such layer or blob.
            WeightsError: the blob has another size.
        """
        self.getParam(layer, numParam)
        found = self.getLayer(layer)
        found.blobs = [*found.blobs[:numParam], blob, *found.blobs[numParam + 1 :]]

    def getLayerTypes(self) -> tuple[str, ...]:
        """Returns the types of the layers, each once, in the order of their names."""
        return tuple(sorted({self.getLayer(name).type for name in self._names}))

    def getLayersCount(self, layerType: str) -> int:
        """Returns how many layers are of a type."""
        return sum(self.getLayer(name).type == layerType for name in self._names)

    def getUnconnectedOutLayers(self) -> NDArray[np.int32]:
        """Returns the numbers of the layers that no other layer takes an output of."""
        return np.array([self.getLayerId(name) for name in self.getUnconnectedOutLayersNames()], np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """Returns the names of the layers that no other layer takes an output of."""
        graph = of_whole_net(self._net)
        used = {number for step in graph.steps for number in step.inputs}
        return tuple(step.name for step in graph.steps if used.isdisjoint(step.outputs))

    def setInputsNames(self, inputBlobNames: Sequence[str]) -> None:
        """Gives the inputs names, in their order, by which :meth:`setInput` knows them, too."""
        self._aliases = dict(zip(inputBlobNames, self._net.inputs, strict=False))

    def setInputShape(self, inputName: str, shape: Sequence[int]) -> None:
        """Is accepted and has no effect: the input that is set has a shape."""

    def enableFusion(self, fusion: bool) -> None:
        """Is accepted and has no effect; what is computed together depends on the net alone."""

    def enableWinograd(self, useWinograd: bool) -> None:
        """Is accepted and has no effect."""

    def setPreferableBackend(self, backendId: int) -> None:
        """Is accepted and has no effect: nets run on the CPU."""

    def setPreferableTarget(self, targetId: int) -> None:
        """Is accepted and has no effect: nets run on the CPU."""

    def getPerfProfile(self) -> tuple[int, Array]:
        """Returns the time of the last :meth:`forward` and that of each layer, in nanoseconds, ``cv2``'s usual ticks.

        The layers are measured one by one in another pass, without merging them; (layers, 1) float64.
        """
        times = np.zeros((len(self._names), 1))
        if self._time:
            net = self._built(_shapes({name: tuple(self._inputs[name].shape) for name in self._net.inputs}))
            graph = of_whole_net(net)
            values = {number: self._inputs[name] for name, number in graph.inputs.items()}
            for step in graph.steps:
                start = time.perf_counter_ns()
                with torch.no_grad():
                    made = step.call(*[values[number] for number in step.inputs])
                times[self._names.index(step.name)] = time.perf_counter_ns() - start
                values.update(zip(step.outputs, (made,) if isinstance(made, Tensor) else made, strict=True))
        return self._time, times

    def empty(self) -> bool:
        """Returns whether the net has no layers."""
        return not self._names


def _copy_blobs(source: Layer, target: Layer, label: str) -> None:
    for name, value, blob in zip(source.blob_names, source.blobs(), target.blobs(), strict=True):
        if value.shape != blob.shape:
            raise NetError(
                f"layer {label!r}: the inputs need a {name} of shape {list(blob.shape)}; found {list(value.shape)}"
            )
        target.write_blob(name, value.detach())


def _shapes(inputs: dict[str, Shape]) -> Shapes:
    return tuple((name, tuple(shape)) for name, shape in inputs.items())


def _reshaped(net: CaffeNet, shapes: dict[str, Shape]) -> schema.NetParameter:
    """Returns the definition with other shapes of its inputs."""
    made = schema.NetParameter.FromString(net.spec.SerializeToString())
    for layer in made.layer:
        for rules in ("include", "exclude"):  # which have chosen the layers already
            layer.ClearField(rules)
        if layer.type == "Input":
            del layer.input_param.shape[:]
            for top in layer.top:
                layer.input_param.shape.add(dim=shapes[top])
    return made
