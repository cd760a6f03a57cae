"""The graph of a Caffe net as text, for a file that also contains the net's weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.formats.base import Contents
from demitasse.graph.caffe.model import of_contents
from demitasse.graph.graph import Graph, Step
from demitasse.graph.passes import drop_identities, drop_unused
from demitasse.graph.settings import expect
from demitasse.graph.stored import read_graph
from demitasse.graph.stored_steps import default_names
from demitasse.graph.storing import Names, written_graph
from demitasse.graph.weights import array


def stored_graph(definition: str, contents: Contents, origin: str) -> str:
    """Returns the text of the graph that the deploy form of a net computes: without labels, losses and dropout.

    Args:
        definition: the prototxt.
        contents: the tensors of the file.
        origin: the name of the file, for messages.

    Raises:
        DemitasseError: the net cannot be built, or has a layer without a stored form, or one that does not compute with
            the tensors as the file has them; the message names the layer.
    """
    graph = drop_identities(drop_unused(of_contents(definition, contents, origin).graph))
    arrays = {tensor.name: tensor.array() for tensor in contents.tensors}
    text = written_graph(graph, Names(_TensorNames(graph, arrays), arrays))
    _check(graph, read_graph(text, arrays, origin))
    return text


class _TensorNames:
    """Names the tensors of steps: those of their layers, or of the layers that they share them with."""

    def __init__(self, graph: Graph, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays
        self._owners: dict[int, str] = {}
        for step in graph.steps:
            for role, name in default_names(step.kind, step.name, arrays).items():
                if role in step.weights:
                    self._owners.setdefault(step.tensors[role].data_ptr(), name)

    def __call__(self, step: Step) -> Mapping[str, str]:
        found = default_names(step.kind, step.name, self._arrays)
        for role, weight in step.tensors.items():
            if role not in found:
                expect(weight.data_ptr() in self._owners, f"the file has no {role}", "a tensor of the layer")
                found[role] = self._owners[weight.data_ptr()]
            shapes = [list(each.shape) for each in (weight, self._arrays[found[role]])]
            expect(shapes[0] == shapes[1], f"the file has {role} of shape {shapes[1]}", f"{shapes[0]}")
        return found


def _check(graph: Graph, found: Graph) -> None:
    """Checks that a graph, once it is read back, has the weights of the graph that was written."""
    for step, other in zip(graph.steps, found.steps, strict=True):
        for role, weight in step.weights.items():
            same = role in other.weights and np.array_equal(array(weight), array(other.weights[role]), equal_nan=True)
            if not same:
                raise FileFormatError(f"{step.name!r}: computes with another {role} than the file contains")
