"""Programs of torch.export for batches of any size, where the module allows them."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from demitasse.errors import UsageError
from demitasse.graph.pytorch.arguments import Named, Positional, shown_size, user_inputs


def export_program(model: nn.Module, args: Positional, kwargs: Named) -> ExportedProgram:
    """Returns a program for any size of batches, or for that of the example where the module works with no other."""
    try:
        signature = inspect.signature(model.forward)
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise UsageError(f"{type(model).__name__} cannot be run on the example: {error}") from error
    collecting = [each.name for each in signature.parameters.values() if each.kind is each.VAR_KEYWORD]
    if collecting and bound.get(collecting[0]):
        with _with_named(model, signature, list(bound[collecting[0]])):
            return export_program(model, args, kwargs)
    for leaf in pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, Tensor) and leaf.ndim and not len(leaf):
            raise UsageError(f"the example has an input of shape {list(leaf.shape)}; expected a batch of 1 or more")
    shapes = pytree.tree_map(lambda leaf: {0: torch.export.Dim.AUTO} if _has_batch(leaf) else None, dict(bound))
    # torch.export writes the program so far when it refuses, and logs; the error that is raised says why
    with torch.no_grad(), redirect_stderr(StringIO()), _silent():
        try:
            wide = pytree.tree_map(_wider, (args, kwargs))  # torch.export makes a size of 1 a constant
            program = torch.export.export(model, *wide, dynamic_shapes=shapes)
            if _has_any_batch(program) or not _has_other_sizes(wide, (args, kwargs)):
                return _functional(program)
            return _functional(torch.export.export(model, args, kwargs))  # such as for len(x), which is a number
        except Exception:  # torch.export and the module raise exceptions of any type
            try:
                return _functional(torch.export.export(model, args, kwargs))
            except Exception as error:
                _run(model, args, kwargs)
                raise UsageError(
                    f"torch.export cannot read {type(model).__name__}: {_first_line(error)}; code that depends on the "
                    "values of tensors, such as an if or a loop over them, has to be changed"
                ) from error


@contextmanager
def _with_named(model: nn.Module, signature: inspect.Signature, names: Sequence[str]) -> Iterator[None]:
    """Names the arguments that a module collects in ``**kwargs``: torch.export would fix the sizes of such tensors."""
    forward, own = model.forward, vars(model).get("forward")

    def named(*args: object, **kwargs: object) -> object:
        return forward(*args, **kwargs)

    kept = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    named.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    model.forward = named
    try:
        yield
    finally:
        if own is None:
            del model.forward
        else:
            model.forward = own


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps all loggers still, and warnings of what pruning and spectral norm do to a module."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logging.disable(before)


def _run(model: nn.Module, args: Positional, kwargs: Named) -> None:
    """Runs a module that torch.export refuses: for an example that does not fit, PyTorch's own message is clearer.

    Raises:
        UsageError: it cannot be run.
    """
    copies = pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))
    try:
        model(*copies[0], **copies[1])
    except Exception as error:  # the module's own code may raise anything
        raise UsageError(f"{type(model).__name__} cannot be run on the example: {_first_line(error)}") from error


def _functional(program: ExportedProgram) -> ExportedProgram:
    """Returns the same program without operations that change tensors in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        functional: ExportedProgram = program.run_decompositions({})
        return functional


def _has_any_batch(program: ExportedProgram) -> bool:
    """Tells whether the first size of every input may be any."""
    values = [value for _, value in user_inputs(program)]
    return all(shown_size(each.shape[0]) == "n" for each in values if isinstance(each, Tensor) and each.ndim)


def _has_other_sizes(wide: object, given: object) -> bool:
    pairs = zip(pytree.tree_leaves(wide), pytree.tree_leaves(given), strict=True)
    return any(isinstance(left, Tensor) and left.shape != right.shape for left, right in pairs)


def _has_batch(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def _wider(leaf: object) -> object:
    return torch.cat([leaf, leaf]) if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == 1 else leaf


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
