"""Net: pycaffe's view of a net, blob by blob and layer by layer."""

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
    """A net of blobs that can be read and written between the layers.

    Args:
        network_file: its prototxt.
        phase: ``TRAIN`` or ``TEST``.
        level: for include and exclude rules; None takes that of the net's own ``state``.
        stages: likewise, added to those of the net's own ``state``.
        weights: a caffemodel to load.

    ``Net(network_file, weights, phase)``, the older form, is understood.

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
        self._set_up(caffe_net.Net.from_file(str(network_file), phase, level, list(stages or ())))
        for source in self.module.sources.values():
            seed = next_seed()
            if seed is not None:
                source.seed(seed)
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def of_module(cls, module: caffe_net.Net) -> Net:
        """Returns the view of a net that was built otherwise, such as a solver's; both have the same parameters."""
        net = cls.__new__(cls)
        net._set_up(module)
        return net

    def _set_up(self, module: caffe_net.Net) -> None:
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
            blobs: names of blobs to return besides the outputs (with ``end``: besides that layer's tops).
            start: name of a layer; the first without it.
            end: name of a layer; the last without it.
            kwargs: values of the inputs, all of them or none.

        Returns:
            name -> array, the blob's own memory.

        Raises:
            ArgumentError: an input is missing, too many, or of another batch size.
            LayerNameError: there is no such layer.
        """
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        names = {*(self.outputs if end is None else self.top_names[end]), *(blobs or ())}
        self._feed(kwargs, self.inputs, "data", "inputs")
        self._forward(first, last)
        return {name: self.blobs[name].data for name in names}

    def backward(
        self, diffs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the gradients of the layers from ``start`` back to ``end``, both included.

        A blob's ``diff`` is overwritten; to those of parameters it is added.

        Args:
            diffs: names of blobs to return besides the inputs (with ``end``: besides that layer's bottoms).
            start: name of a layer; the last without it.
            end: name of a layer; the first without it.
            kwargs: gradients of the outputs, all of them or none; losses have their weights from the start.

        Returns:
            name -> array, the diff's own memory.

        Raises:
            ArgumentError: an output is missing, too many, or of another batch size.
            LayerNameError: there is no such layer.
        """
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        names = {*(self.inputs if end is None else self.bottom_names[end]), *(diffs or ())}
        self._feed(kwargs, self.outputs, "diff", "outputs")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in names}

    def _feed(self, given: Mapping[str, np.ndarray], expected: list[str], what: str, where: str) -> None:
        if given and set(given) != set(expected):
            raise ArgumentError(f"the arguments {sorted(given)} do not match the net's {where} {sorted(expected)}")
        for name, values in given.items():
            array = getattr(self.blobs[name], what)
            if np.shape(values)[:1] != array.shape[:1]:
                raise ArgumentError(
                    f"{what} of {name!r} is not batch sized: the net has shape {list(array.shape)}, "
                    f"found {list(np.shape(values))}"
                )
            array[...] = values

    def _forward(self, start: int, end: int) -> float:
        """Runs the layers by number; returns the sum of their parts of the loss."""
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

    def _backward(self, start: int, end: int) -> None:
        """Runs the layers backward by number, from ``start`` down to ``end``."""
        device = self._move()
        for index in range(start, end - 1, -1):
            self._call("before_backward", index)
            if self._steps[index].needed:
                self._steps[index].backward(device)
            self._call("after_backward", index)

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
        """Has a function called with a layer's number before it runs; likewise the three below."""
        self._callbacks.setdefault("before_forward", []).append(callback)

    def after_forward(self, callback: Callable[[int], object]) -> None:
        """See :meth:`before_forward`."""
        self._callbacks.setdefault("after_forward", []).append(callback)

    def before_backward(self, callback: Callable[[int], object]) -> None:
        """See :meth:`before_forward`."""
        self._callbacks.setdefault("before_backward", []).append(callback)

    def after_backward(self, callback: Callable[[int], object]) -> None:
        """See :meth:`before_forward`."""
        self._callbacks.setdefault("after_backward", []).append(callback)

    forward_all = batches.forward_all
    forward_backward_all = batches.forward_backward_all
    _batch = batches.batches

    def reshape(self) -> None:
        """Gives all blobs the shapes that follow from the inputs'; :meth:`forward` does so by itself."""
        for step in self._steps:
            step.reshape()

    def clear_param_diffs(self) -> None:
        """Sets the gradients of all parameters to 0."""
        for blob in self._param_blobs():
            blob.gradient.put(torch.zeros(()))

    def sync(self) -> None:
        """Takes over what was written to arrays that are copies: masks, and parameters on a GPU."""
        for blob in self._param_blobs():
            blob.sync()

    def copy_from(self, trained_file: Path) -> None:
        """Loads a caffemodel, protobuf or HDF5, into the layers of the same names.

        Where no layer of the file is in the net, there is a warning.

        Raises:
            FileFormatError: it cannot be read.
            WeightsError: a layer of the same name has other blobs.
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
            ArgumentError: gradients are wanted, too; they are not written.
        """
        if write_diff:
            raise ArgumentError("save_hdf5: write_diff is not supported; expected False")
        self.sync()
        save_weights(self.module, str(filename), hdf5=True)

    def share_with(self, other: Net) -> None:
        """Lets the layers use the parameters of another net's layers of the same names, live.

        Raises:
            NetError: the parameters of two such layers differ; says both shapes.
        """
        solver_nets.share_values(self.module, other.module)

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Sets what the first layer, a MemoryData, reads; its batches go through the arrays in turn.

        Args:
            data: (n, channels, height, width) float32 in C order, n a multiple of the batch size; not copied.
            labels: (n,) or (n, 1, 1, 1), likewise.

        Raises:
            ArgumentError: the first layer is another one, or an array does not fit.
            DataError: the shapes do not fit.
        """
        source = self.module.sources.get(self.module.labels[0])
        if not isinstance(source, MemoryData):
            raise ArgumentError("set_input_arrays may only be called if the first layer is a MemoryData layer")
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        for what, array in (("data", data), ("labels", labels)):
            if array.dtype != np.float32 or not array.flags.c_contiguous or array.ndim != 4:
                raise ArgumentError(
                    f"{what} must be float32, C contiguous and have four axes; found {array.dtype}, {array.shape}"
                )
        batch = source.shapes[0][0]
        if len(data) % batch or len(labels) != len(data):
            raise ArgumentError(f"{len(data)} data and {len(labels)} labels: expected as many, a multiple of {batch}")
        source.set_arrays(data, labels)
