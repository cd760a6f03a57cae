"""The plan of a file's net, which takes and returns arrays: PyTorch is loaded only if it computes something."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demitasse.arrays import Array
from demitasse.graph.graph import Graph
from demitasse.graph.passes import planned
from demitasse.packed.sparse import Floats
from demitasse.runtime.cost import is_suited
from demitasse.runtime.native.arrays import ArrayPlan
from demitasse.runtime.native.lowering import Memo, NotNative
from demitasse.runtime.stored import StoredModel, stored_model
from demitasse.threads import thread_count

if TYPE_CHECKING:
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
        types: name -> type of the inputs that are not float32.

    Raises:
        UsageError: the file contains no definition.
        FileFormatError, WeightsError: the file is damaged, or its tensors do not fit its definition.
        NetError: ``keep`` names no blob.
    """

    graph: Graph
    metadata: Mapping[str, str]
    types: Mapping[str, str]

    def __init__(self, path: str | Path, keep: Collection[str] = (), threads: int = 0) -> None:
        self._threads = threads
        self._memo: Memo = {}
        self._natives: dict[int, ArrayPlan | None] = {}
        self._plan: Plan | None = None
        self._stored: StoredModel | None = None if keep else stored_model(path)
        self.types = self._stored.types if self._stored else {}
        if self._stored:
            self.graph, self.metadata = planned(self._stored.graph), self._stored.metadata
        else:
            from demitasse.packed.file import File
            from demitasse.runtime.optimize import optimize, plan_in

            self._plan = plan_in(optimize(path, keep=keep))
            self.graph = self._plan.graph
            with File(path) as file:
                self.metadata = file.header.metadata

    def __call__(self, batch: Mapping[str, Array]) -> dict[str, Floats]:
        """Returns name -> array of the outputs.

        Args:
            batch: name -> array of the inputs, of their types and of any batch size that the layers allow.

        Raises:
            UsageError: an input is not given.
        """
        native = self._native(batch)
        return native.arrays(batch) if native else self._computed_by_torch(batch)

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

    def _computed_by_torch(self, batch: Mapping[str, Array]) -> dict[str, Floats]:
        import torch

        from demitasse.runtime.plan import Plan
        from demitasse.threads import threads

        self._plan = self._plan or Plan(self.graph)
        with threads(self._threads):
            found = self._plan({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()})
        return {name: tensor.numpy() for name, tensor in found.items()}
