"""Net: a net with access to each blob and each layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path as FilePath

import numpy as np
import torch

from demitasse.caffe import log
from demitasse.caffe import net as caffe_net
from demitasse.caffe.sources.memory import MemoryData
from demitasse.caffe.training import solver_nets
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.pycaffe import batches
from demitasse.pycaffe.batches import Arrays
from demitasse.pycaffe.errors import ArgumentError, check_file
from demitasse.pycaffe.mode import current_device, next_seed
from demitasse.pycaffe.structure import Structure

Path = str | FilePath


class Net(Structure):
    """A net whose blobs can be read and written between the layers.

    Args:
        network_file: its prototxt.
        phase: ``TRAIN`` or ``TEST``.
        level: level for include and exclude rules; None uses the level of the net's ``state``.
        stages: stages for include and exclude rules, in addition to those of the net's ``state``.
        weights: a caffemodel to load.

    The older form ``Net(network_file, weights, phase)`` is also accepted.

    Raises:
        MissingFileError: a file cannot be opened.
        NetError: the net cannot be built, and other errors of :class:`demitasse.caffe.net.Net`.
    """

    def __init__(
        self,
        network_file: Path,
        phase: int | Path,
        level: int | None = None,
        stages: Collection[str] | None = None,
        weights: Path | None = None,
    ) -> None:
        if isinstance(phase, str | FilePath):
            weights, phase = phase, 0 if level is None else level
            level = None
            log.warning(
                "_caffe.cpp:138", "Net(network_file, weights, phase) is old; use Net(file, phase, weights=file)"
            )
        check_file(network_file)
        if weights is not None:
            check_file(weights)
        self.adopt(caffe_net.Net.from_file(str(network_file), phase, level, list(stages or ())))
        for source in self.module.sources.values():
            seed = next_seed()
            if seed is not None:
                source.seed(seed)
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def of_module(cls, module: caffe_net.Net) -> Net:
        """Returns a net for an existing module, such as a solver's; both have the same parameters."""
        net = cls.__new__(cls)
        net.adopt(module)
        return net

    def adopt(self, module: caffe_net.Net) -> None:
        """Makes this the net of a module; called once, when the net is created."""
        super().__init__(module)
        self._device = torch.device("cpu")
        self._callbacks: dict[str, list[Callable[[int], object]]] = {}
        makers = {name: index for index, layer in enumerate(module.spec.layer) for name in layer.top}
        self._losses = [(makers[name], self.blobs[name], weight) for name, weight in module.losses.items()]
        self._show_automatic_tops()

    def forward(
        self, blobs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the layers from ``start`` to ``end``, both included.

        Args:
            blobs: names of blobs to return in addition to the outputs (with ``end``, to that layer's tops).
            start: the name of the first layer to run; by default the first of the net.
            end: the name of the last layer to run; by default the last of the net.
            kwargs: values of the inputs, either all of them or none.

        Returns:
            name -> array, which shares the blob's memory.

        Raises:
            ArgumentError: an input is missing, unknown, or of another batch size.
            LayerNameError: there is no such layer.
        """
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        names = {*(self.outputs if end is None else self.top_names[end]), *(blobs or ())}
        self._feed(kwargs, self.inputs, "data", "inputs")
        self.run_forward(first, last)
        return {name: self.blobs[name].data for name in names}

    def backward(
        self, diffs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the gradients of the layers from ``start`` back to ``end``, both included.

        The ``diff`` of blobs is overwritten; the ``diff`` of parameters is accumulated.

        Args:
            diffs: names of blobs to return in addition to the inputs (with ``end``, to that layer's bottoms).
            start: the name of the layer to begin at; by default the last of the net.
            end: the name of the layer to end at; by default the first of the net.
            kwargs: gradients of the outputs, either all of them or none; the diff of a loss is initially its weight.

        Returns:
            name -> array, which shares the diff's memory.

        Raises:
            ArgumentError: an output is missing, unknown, or of another batch size.
            LayerNameError: there is no such layer.
        """
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        names = {*(self.inputs if end is None else self.bottom_names[end]), *(diffs or ())}
        self._feed(kwargs, self.outputs, "diff", "outputs")
        self.run_backward(first, last)
        return {name: self.blobs[name].diff for name in names}

    def _feed(self, given: Mapping[str, np.ndarray], expected: list[str], what: str, where: str) -> None:
        if given and set(given) != set(expected):
            raise ArgumentError(f"the arguments {sorted(given)} do not match the net's {where} {sorted(expected)}")
        for name, values in given.items():
            array = getattr(self.blobs[name], what)
            if np.shape(values)[:1] != array.shape[:1]:
                raise ArgumentError(
                    f"{what} of {name!r} has shape {list(np.shape(values))}, which is not batch sized; "
                    f"the net has shape {list(array.shape)}"
                )
            array[...] = values

    def run_forward(self, start: int, end: int) -> float:
        """Runs the layers from ``start`` to ``end`` by number, and returns the sum of their parts of the loss."""
        device = self._move()
        loss = 0.0
        for index in range(start, end + 1):
            self._call("before_forward", index)
            self._steps[index].forward(device)
            self._call("after_forward", index)
        for layer, blob, weight in self._losses:
            if start <= layer <= end:
                loss += weight * float(blob.values.tensor(device).sum())
        return loss

    def run_backward(self, start: int, end: int) -> None:
        """Runs the layers backward by number, from ``start`` down to ``end``."""
        device = self._move()
        for index in range(start, end - 1, -1):
            self._call("before_backward", index)
            if self._steps[index].needed:
                self._steps[index].backward(device)
            self._call("after_backward", index)

    # the names in Caffe's own interface
    _forward, _backward = run_forward, run_backward

    def _move(self) -> torch.device:
        device = current_device()
        if device != self._device:
            for tensor in (*self.module.parameters(), *self.module.buffers()):
                tensor.data = tensor.data.to(device)
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.to(device)
            self._device = device
        return device

    def _call(self, when: str, index: int) -> None:
        for callback in self._callbacks.get(when, ()):
            callback(index)

    def before_forward(self, callback: Callable[[int], object]) -> None:
        """Registers a function that is called with the number of each layer before its forward."""
        self._callbacks.setdefault("before_forward", []).append(callback)

    def after_forward(self, callback: Callable[[int], object]) -> None:
        """Registers a function that is called with the number of each layer after its forward."""
        self._callbacks.setdefault("after_forward", []).append(callback)

    def before_backward(self, callback: Callable[[int], object]) -> None:
        """Registers a function that is called with the number of each layer before its backward."""
        self._callbacks.setdefault("before_backward", []).append(callback)

    def after_backward(self, callback: Callable[[int], object]) -> None:
        """Registers a function that is called with the number of each layer after its backward."""
        self._callbacks.setdefault("after_backward", []).append(callback)

    forward_all = batches.forward_all
    forward_backward_all = batches.forward_backward_all
    _batch = batches.batches

    def reshape(self) -> None:
        """Updates the shapes of all blobs from the shapes of the inputs; :meth:`forward` does this itself."""
        for step in self._steps:
            step.reshape()

    def clear_param_diffs(self) -> None:
        """Sets the gradients of all parameters to 0."""
        for blob in self._param_blobs():
            blob.gradient.put(torch.zeros(()))

    def sync(self) -> None:
        """Copies back what was written to arrays that are copies: masks, and parameters on a GPU."""
        for blob in self._param_blobs():
            blob.sync()

    def copy_from(self, trained_file: Path) -> None:
        """Loads a caffemodel, protobuf or HDF5, into the layers with the same names.

        If no layer of the file is in the net, a warning is logged.

        Raises:
            FileFormatError: the file cannot be read.
            WeightsError: a layer with the same name has other blobs.
        """
        self.sync()
        load_weights(self.module, str(trained_file))

    load_hdf5 = copy_from

    def save(self, filename: Path) -> None:
        """Writes a caffemodel."""
        self.sync()
        save_weights(self.module, str(filename))

    def save_hdf5(self, filename: Path, write_diff: bool = False) -> None:
        """Writes a caffemodel in HDF5.

        Raises:
            ArgumentError: ``write_diff`` is True, which is not supported.
        """
        if write_diff:
            raise ArgumentError("save_hdf5: write_diff is True, which is not supported; expected False")
        self.sync()
        save_weights(self.module, str(filename), hdf5=True)

    def share_with(self, other: Net) -> None:
        """Shares the parameters of another net's layers with the layers of the same names.

        Raises:
            NetError: the parameters of two such layers differ; the message has both shapes.
        """
        solver_nets.share_values(self.module, other.module)

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Sets the arrays that the first layer, a MemoryData, reads batch by batch.

        Args:
            data: (n, channels, height, width) float32 in C order, n a multiple of the batch size; not copied.
            labels: (n,) or (n, 1, 1, 1) float32 in C order; not copied.

        Raises:
            ArgumentError: the first layer has another type, or an array has another type or number of rows.
            DataError: the shapes do not match the layer.
        """
        source = self.module.sources.get(self.module.labels[0])
        if not isinstance(source, MemoryData):
            raise ArgumentError("set_input_arrays may only be called if the first layer is a MemoryData layer")
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        for what, array in (("data", data), ("labels", labels)):
            if array.dtype != np.float32 or not array.flags.c_contiguous or array.ndim != 4:
                raise ArgumentError(
                    f"{what} has type {array.dtype} and shape {array.shape}; expected C-contiguous float32 "
                    "with four axes"
                )
        batch = source.shapes[0][0]
        if len(data) % batch or len(labels) != len(data):
            raise ArgumentError(
                f"found {len(data)} data and {len(labels)} labels; expected the same number, a multiple of {batch}"
            )
        source.set_arrays(data, labels)
