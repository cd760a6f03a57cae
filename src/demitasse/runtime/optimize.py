"""The way in: from a net or a module to what computes the same, fast."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, overload

from demitasse.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from demitasse.runtime.module import OptimizedModule
    from demitasse.runtime.plan import Plan


@overload
def optimize(model: str | Path, *, keep: Collection[str] = ()) -> Plan: ...


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
            that contains the definition of its net. It is not changed.
        example: of a module: an input, a tuple of the arguments of ``forward``, or a dict of its named arguments. The
            first axis of each tensor is that of the batch, which may then have any size. A Caffe net needs none.
        keep: of a Caffe net: names of blobs to return beside outputs and parts of the loss. Of a file: names of the
            blobs to return; by default those that only losses, accuracies or no layers take.

    Returns:
        Of a module, a module with the same arguments and results. Of a Caffe net or a file, a plan, which takes and
        returns tensors by the names of their blobs.

    Raises:
        UsageError: the model trains; the example is missing or does not fit; torch.export cannot read the module; the
            file contains no definition.
        FileFormatError, WeightsError: the file is damaged, or its tensors do not fit its definition.
        NetError: ``keep`` names no blob.
    """
    from torch import nn

    from demitasse.graph.caffe import is_net, of_files, of_whole_net
    from demitasse.graph.pytorch import read_module
    from demitasse.runtime.module import OptimizedModule
    from demitasse.runtime.plan import plan_of
    from demitasse.runtime.stored import stored_graph

    if not isinstance(model, nn.Module | str | Path):
        raise UsageError(f"optimize takes a module, a Caffe net or a .demi file; found a {type(model).__name__}")
    if isinstance(keep, str):
        raise UsageError(f"keep is a text; expected names of blobs: keep=[{keep!r}]")
    if example is not None and (isinstance(model, str | Path) or is_net(model)):
        raise UsageError("a Caffe net needs no example; name blobs to return by keep=[...]")
    if isinstance(model, str | Path):
        return plan_of((None if keep else stored_graph(model)) or of_files(None, model, outputs=keep).graph)
    if is_net(model):
        return plan_of(of_whole_net(model, keep))
    if example is None:
        raise UsageError(f"optimize needs an example of the input of {type(model).__name__}: optimize(model, example)")
    if keep:
        raise UsageError("keep names blobs of a Caffe net")
    args = () if isinstance(example, Mapping) else example if isinstance(example, tuple) else (example,)
    kwargs = dict(example) if isinstance(example, Mapping) else {}
    return OptimizedModule(read_module(model, args, kwargs))
