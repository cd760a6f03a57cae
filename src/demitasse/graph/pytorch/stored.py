"""PyTorch modules as text: what ``demitasse.save`` writes for an example, and ``demitasse.optimize`` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from demitasse.errors import FileFormatError, UsageError
from demitasse.graph.graph import Graph
from demitasse.graph.guard import Guard
from demitasse.graph.passes import drop_unused
from demitasse.graph.pytorch.arguments import Arguments, Inputs, Named, Positional
from demitasse.graph.pytorch.module import Exported, exported_program
from demitasse.graph.pytorch.reading import read_program
from demitasse.graph.pytorch.writing import module_text
from demitasse.graph.signature import ConstantInput, Signature, TensorInput, filled, leaves
from demitasse.graph.stored import HIDDEN, read_stored
from demitasse.graph.weights import Weight


class StoredModule(NamedTuple):
    """A module as text.

    Attributes:
        text: its graph.
        constants: name -> tensor, of those that the graph has and the state of the module has not.
    """

    text: str
    constants: dict[str, Tensor]


def stored_module(
    model: nn.Module, args: Positional, kwargs: Named, state: Mapping[str, Tensor], rename: Callable[[str], str]
) -> StoredModule:
    """Returns a module as text.

    Args:
        model: the module, in evaluation.
        args: an example of the arguments of ``forward``.
        kwargs: an example of the named arguments.
        state: the tensors of the file by name.
        rename: returns the name in the file for a name in the module.

    Raises:
        UsageError: as :func:`demitasse.graph.pytorch.read_module`; or the module calls a function that a file may not
            call, or takes or returns something else than tensors and numbers in tuples, lists and dicts.
    """
    program = exported_program(model, args, kwargs)
    name = type(model).__name__
    graph, tensors = read_program(program, name)
    names = {id(tensor): _file_name(rename(each), state) for each, tensor in tensors.items()}
    constants = {names[id(tensor)]: tensor for tensor in tensors.values() if names[id(tensor)] not in state}
    try:
        text = module_text(drop_unused(graph), program, names, {**state, **constants})
        used = _Used({**state, **constants})
        read_exported(text, used, name)
    except FileFormatError as error:
        raise UsageError(f"{name} cannot be stored with its graph: {error}") from error
    return StoredModule(text, {each: tensor for each, tensor in constants.items() if each in used.names})


def _file_name(name: str, state: Mapping[str, Tensor]) -> str:
    return name if name in state else f"{HIDDEN}{name}"


class _Used(dict[str, Tensor]):
    """Tensors by name, which remembers those that were taken."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.names.add(name)
        return super().__getitem__(name)


def read_exported(text: str, tensors: Mapping[str, Weight], place: str) -> Exported | Graph:
    """Returns the module of a text, or the graph of a Caffe net.

    Args:
        text: what :func:`stored_module` made, or anything.
        tensors: the tensors of the file by name.
        place: the name of the file, for messages.

    Raises:
        FileFormatError: the text is no graph, does not fit the tensors, or its functions do not fit together.
    """
    graph, signature = read_stored(text, tensors, place)
    if signature is None:
        return graph
    try:
        return _Module(graph, signature).exported()
    except FileFormatError as error:
        raise error.within(place) from error


class _Module:
    """A graph with its signature, as a module is called."""

    def __init__(self, graph: Graph, signature: Signature) -> None:
        self._graph, self._signature = graph, signature
        if isinstance(graph.check, Guard):
            graph.check.bounds.check_example([_empty(each) for each in signature.inputs])
        spec = pytree.tree_flatten((signature.positional, dict(signature.named)))[1]
        inputs = Inputs(signature.inputs, dict(signature.symbols))
        self._arguments = Arguments(inputs, spec, len(signature.positional), list(signature.named))
        self._results = list(leaves(signature.results))

    def exported(self) -> Exported:
        """Returns it as other modules are."""
        names, inputs = tuple(self._signature.named), self._signature.inputs
        return Exported(self._graph, self._arguments.flatten, self._restore, names, inputs=inputs)

    def _restore(self, outputs: object) -> object:
        assert isinstance(outputs, list)
        return filled(self._signature.results, dict(zip(self._results, outputs, strict=True)))


def _empty(given: TensorInput | ConstantInput) -> object:
    """Returns a tensor of the type of an input, or the constant that it is."""
    if isinstance(given, ConstantInput):
        return given.value
    return torch.empty(0, dtype=getattr(torch, given.dtype))
