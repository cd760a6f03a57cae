"""The way in: from a net or a module to what computes the same, fast."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, overload

from demitasse.errors import UsageError, parameter

if TYPE_CHECKING:
    from torch import nn

    from demitasse.graph.signature import ConstantInput, TensorInput
    from demitasse.runtime.module import OptimizedModule
    from demitasse.runtime.plan import Plan


@overload
def optimize(model: str | Path, *, keep: Collection[str] = ()) -> Plan | OptimizedModule: ...


@overload
def optimize(model: nn.Module, example: None = None, *, keep: Collection[str] = ()) -> Plan: ...


@overload
def optimize(model: nn.Module, example: object) -> OptimizedModule: ...


def optimize(
    model: nn.Module | str | Path, example: object = None, *, keep: Collection[str] = ()
) -> Plan | OptimizedModule:
    """Returns what computes the same as a model on the CPU, fast: from the weights that are not zero, where that pays.

    Batch normalization and scaling go into the weights before them, sums and activations into the convolution
    before them; dropout is dropped; memory is used again. A net whose layers are sparse enough is computed from packed
    weights, with kernels of our own; operations without one are PyTorch's. Results differ by about 1e-6 of their size.
    What is returned is for the values that the weights have now: once they change, make another. It shares some weights
    with the model, and what it computes after they changed is neither the old nor the new result.

    Args:
        model: a module in evaluation; a :class:`~demitasse.caffe.net.Net` in phase TEST; or the path of a .demi file
            that contains its net: a module that was saved with an example, or a Caffe net with its definition. It is
            not changed.
        example: of a module: an input, a tuple of the arguments of ``forward``, or a dict of its named arguments. The
            first axis of each tensor is that of the batch, which may then have any size. A Caffe net needs none.
        keep: of a Caffe net: names of blobs to return beside outputs and parts of the loss. Of a file: names of the
            blobs to return; by default those that only losses, accuracies or no layers take.

    Returns:
        Of a module, or a file with one, a module with the same arguments and results. Of a Caffe net, a plan, which
        takes and returns tensors by the names of their blobs.

    Raises:
        UsageError: the model trains; the example is missing or does not fit; torch.export cannot read the module; the
            file contains no net.
        FileFormatError, WeightsError: the file is damaged, or its tensors do not fit its net.
        NetError: ``keep`` names no blob.
    """
    from torch import nn

    from demitasse.graph.caffe import is_net, of_whole_net
    from demitasse.graph.pytorch import read_module
    from demitasse.graph.pytorch.module import arguments_of
    from demitasse.runtime.module import OptimizedModule
    from demitasse.runtime.plan import plan_of

    if not isinstance(model, nn.Module | str | Path):
        raise UsageError(f"optimize takes a module, a Caffe net or a .demi file; found a {type(model).__name__}")
    if isinstance(keep, str):
        raise UsageError(f"keep is a text; expected names of blobs: keep=[{keep!r}]")
    if example is not None and (isinstance(model, str | Path) or is_net(model)):
        raise UsageError("a file or a Caffe net needs no example; name blobs of the net to return by keep=[...]")
    if isinstance(model, str | Path):
        return _of_file(model, keep)
    if is_net(model):
        return plan_of(of_whole_net(model, keep))
    if example is None:
        raise UsageError(f"optimize needs an example of the input of {type(model).__name__}: optimize(model, example)")
    if keep:
        raise UsageError("keep names blobs of a Caffe net")
    return OptimizedModule(read_module(model, *arguments_of(example)))


def plan_in(made: Plan | OptimizedModule) -> Plan:
    """Returns the plan of what :func:`optimize` made of a file, which takes and returns tensors by name."""
    from demitasse.runtime.module import OptimizedModule

    return made.plan if isinstance(made, OptimizedModule) else made


def inputs_of(made: Plan | OptimizedModule) -> tuple[TensorInput | ConstantInput, ...]:
    """Returns what a module takes that :func:`optimize` made; none of a plan, whose inputs are tensors of float32."""
    from demitasse.runtime.module import OptimizedModule

    return made.inputs if isinstance(made, OptimizedModule) else ()


def _of_file(path: str | Path, keep: Collection[str]) -> Plan | OptimizedModule:
    """Returns what computes the net of a file: from its graph, or from its definition where blobs are named."""
    from demitasse.graph.caffe import of_files
    from demitasse.graph.pytorch import Exported
    from demitasse.runtime.module import OptimizedModule
    from demitasse.runtime.plan import plan_of
    from demitasse.runtime.stored import stored_net

    found = stored_net(path)
    if isinstance(found, Exported):
        if keep:
            raise UsageError(f"{path}: contains a PyTorch module; {parameter('keep')} names blobs of a Caffe net")
        return OptimizedModule(found)
    return plan_of(of_files(None, path, outputs=keep).graph if found is None or keep else found)
