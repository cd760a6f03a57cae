"""The plan of a file's net, which takes and returns arrays: PyTorch is loaded only if it computes something."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.graph.graph import Graph
from demitasse.graph.passes import planned
from demitasse.graph.signature import ConstantInput, TensorInput
from demitasse.graph.weights import torch_type
from demitasse.runtime.cost import is_suited
from demitasse.runtime.native.arrays import ArrayPlan
from demitasse.runtime.native.lowering import Memo, NotNative
from demitasse.runtime.stored import StoredModel, stored_model
from demitasse.threads import thread_count

if TYPE_CHECKING:
    from torch import Tensor

    from demitasse.runtime.plan import Plan


class FilePlan:
    """Computes the net of a .demi file, as the plan that ``optimize`` returns does.

    Args:
        path: of the file.
        keep: names of the blobs to return; by default those that only losses, accuracies or no layers take.
        threads: that compute it; 0 for PyTorch's own choice.

    Attributes:
        graph: what is computed.
        metadata: text of the file by key.
        inputs: name -> the tensors that it takes, in order.
        is_module: whether the file contains a PyTorch module; otherwise it is a Caffe net.

    Raises:
        UsageError: the file contains no definition.
        FileFormatError, WeightsError: the file is damaged, or its tensors do not fit its definition.
        NetError: ``keep`` names no blob.
    """

    graph: Graph
    metadata: Mapping[str, str]

    def __init__(self, path: str | Path, keep: Collection[str] = (), threads: int = 0) -> None:
        self._threads = threads
        self._memo: Memo = {}
        self._natives: dict[int, ArrayPlan | None] = {}
        self._plan: Plan | None = None
        self._stored: StoredModel | None = None if keep else stored_model(path)
        self._path = path
        if self._stored:
            self.graph, self.metadata, described = (
                planned(self._stored.graph),
                self._stored.metadata,
                self._stored.inputs,
            )
        else:
            from demitasse.packed.file import File
            from demitasse.runtime.optimize import inputs_of, optimize, plan_in

            made = optimize(path, keep=keep)
            self._plan, described = plan_in(made), inputs_of(made)
            self.graph = self._plan.graph
            with File(path) as file:
                self.metadata = file.header.metadata
        self.is_module = bool(described)
        self.inputs = _tensors(self.graph, described)
        constants = {each.name: each.value for each in described if isinstance(each, ConstantInput)}
        self._constants = cast("dict[str, Tensor]", constants)  # a plan passes on what is none
        used = {number for step in self.graph.steps for number in step.inputs} | {*self.graph.outputs.values()}
        taken = {name: number for name, number in self.graph.inputs.items() if name in self.inputs or number in used}
        self._whole = self.graph
        self.graph = replace(self.graph, inputs=taken)  # constants that nothing takes are in the way of kernels

    def __call__(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Returns name -> array of the outputs; what is None is left out, and bfloat16, which numpy lacks, is float32.

        Args:
            batch: name -> array of the inputs, of their types and of any batch size that the layers allow; float32 for
                bfloat16.

        Raises:
            UsageError: an input is not given.
            FileFormatError: an output is neither a tensor nor a number.
        """
        native = self._native(batch)
        return {**native.arrays(batch)} if native else self._computed_by_torch(batch)

    def plan(self) -> Plan:
        """Returns what computes the net with PyTorch's tensors."""
        from demitasse.runtime.plan import Plan

        self._plan = self._plan or Plan(self._whole)
        return self._plan

    def _native(self, batch: Mapping[str, Array]) -> ArrayPlan | None:
        size = self._size(batch)
        if self._stored is None or not size:
            return None
        if size not in self._natives:
            self._natives = {size: self._made(size)}  # the last one is often smaller; others are not expected
        return self._natives[size]

    def _size(self, batch: Mapping[str, Array]) -> int:
        """Returns the size of a batch that native plans take; 0 if they do not take it."""
        sizes = set()
        for name, number in self.graph.inputs.items():
            array, shape = batch.get(name), self.graph.values[number].shape
            if array is None or array.dtype != np.float32 or not array.ndim or array.shape[1:] != shape[1:]:
                return 0
            sizes.add(len(array))
        return sizes.pop() if len(sizes) == 1 else 0

    def _made(self, size: int) -> ArrayPlan | None:
        assert self._stored is not None
        if not is_suited(self.graph):
            return None
        try:
            made = ArrayPlan(self.graph, size, self._threads or thread_count(), memo=self._memo)
        except NotNative:
            return None
        self._stored.remember()
        return made

    def _computed_by_torch(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        from demitasse.threads import threads

        with threads(self._threads):
            found = self.plan()({**self._constants, **self.tensors(batch)})
        return {name: self._array(name, value) for name, value in found.items() if value is not None}

    def tensors(self, batch: Mapping[str, Array]) -> dict[str, Tensor]:
        """Returns inputs as PyTorch's tensors, of the types that the net takes."""
        import torch

        given = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
        types = {name: torch_type(each.dtype) for name, each in self.inputs.items()}
        return {name: each.to(types.get(name, each.dtype)) for name, each in given.items()}

    def random(self, batch: int) -> dict[str, Tensor]:
        """Returns inputs for measuring, always the same: normal numbers, whole numbers of 0, and the constants."""
        import torch

        generator = torch.Generator().manual_seed(0)
        shapes = {name: self.graph.values[self.graph.inputs[name]].shape for name in self.inputs}
        sizes = {name: (batch, *shape[1:]) if shape else () for name, shape in shapes.items()}
        found = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
        types = {name: torch_type(each.dtype) for name, each in self.inputs.items()}
        scale = {name: float(dtype.is_floating_point or dtype.is_complex) for name, dtype in types.items()}
        tensors = {name: (each * scale[name]).to(types[name]) for name, each in found.items()}
        return {**self._constants, **tensors}

    def _array(self, name: str, value: object) -> Array:
        import torch

        if isinstance(value, torch.Tensor):
            found: Array = (value.float() if value.dtype is torch.bfloat16 else value).numpy(force=True)
            return found
        if not isinstance(value, bool | int | float | complex):
            kind = type(value).__name__
            raise FileFormatError(f"{self._path}: output {name} is a {kind}; expected a tensor, a number or None")
        return np.asarray(value)


def _tensors(graph: Graph, described: Sequence[TensorInput | ConstantInput]) -> dict[str, TensorInput]:
    """Returns the tensors that a graph takes by name."""
    found = {each.name: each for each in described if isinstance(each, TensorInput)}
    if described:
        return found
    return {name: TensorInput(name, "float32", graph.values[number].shape) for name, number in graph.inputs.items()}
