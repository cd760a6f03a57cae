"""The parameters to compress, with the views of the layers that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from demitasse.errors import MethodError
from demitasse.methods import selection
from demitasse.methods.homes import homes
from demitasse.methods.method import check_finite
from demitasse.methods.one_shot import attention, recurrent
from demitasse.methods.one_shot.absorbers import Absorber
from demitasse.methods.one_shot.layer import DAMPING, Compressed, Freedom
from demitasse.methods.one_shot.views import EmbeddingView, View, view_of
from demitasse.methods.records import record_of
from demitasse.methods.selection import Chosen, Dense
from demitasse.shrinking.report import OTHER_KIND

_KINDS = attention, recurrent  # importing them registers their views


@dataclass
class ShrinkTarget:
    """A parameter to compress.

    Attributes:
        item: the parameter, its names and homes.
        views: one for each home.
        dense: the dense values.
        absorber: what follows and takes up a factor and a shift of the layer's outputs, if anything does.
        importance: (groups, rows), see :mod:`demitasse.shrinking.importance`.
        zeros: bool, (groups, rows, columns): which weights stay zero; None for none.
    """

    item: Chosen
    views: list[View]
    dense: Tensor
    absorber: Absorber | None = None
    importance: Tensor = field(default_factory=lambda: torch.ones(1, 1))
    zeros: Tensor | None = None

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self.item.name

    def check(self) -> None:
        """Raises MethodError if the parameter is not finite, is an inference tensor, or is in the hands of a method."""
        check_finite(self.item)
        if self.item.parameter.is_inference():
            raise MethodError(f"{self.name} was made in inference mode; expected a model that was made outside of it")
        known = record_of(self.item.parameter)
        if known is not None:
            names = " and ".join(type(method).__name__ for method in known.methods)
            raise MethodError(f"{names} of {self.name} would undo what shrink does; finish that first")

    @property
    def matrix(self) -> Tensor:
        """The dense weight as (groups, rows, columns)."""
        return self.views[0].matrix(self.dense)

    def curvature(self, powers: Tensor | None) -> Tensor:
        """Returns what a unit of squared error of each weight costs the model, (groups, rows, columns).

        Args:
            powers: mean squares of the inputs, (groups, columns); None if nothing is known of them.
        """
        found = self.importance.unsqueeze(2).expand(self.matrix.shape)
        if powers is None:
            return found
        squares = powers.unsqueeze(1)
        # as compression damps: inputs that are always zero would make weights look free
        return found * (squares + DAMPING * squares.mean(2, keepdim=True))

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias that takes up a shift of the outputs, if there is one."""
        return self.views[0].bias if len(self.views) == 1 else None

    @property
    def freedom(self) -> Freedom:
        """What follows the layer."""
        shift = self.bias is not None or (self.absorber is not None and self.absorber.has_shift)
        return Freedom(shift, self.absorber is not None)

    @property
    def dependents(self) -> list[Tensor]:
        """What :meth:`write` changes."""
        found: list[Tensor] = [self.item.parameter]
        if self.absorber is not None:
            found += self.absorber.tensors
        if self.bias is not None and not (self.absorber and self.absorber.has_shift):
            found.append(self.bias)
        return found

    @torch.no_grad()
    def shorten(self) -> None:
        """Gives what makes up for changes the precision of bfloat16, which takes half the bytes in a file."""
        for tensor in self.dependents[1:]:
            if tensor.element_size() > 2:
                tensor.copy_(tensor.bfloat16())

    @torch.no_grad()
    def write(self, found: Compressed) -> None:
        """Writes a compressed weight to the parameter, and what makes up for it to the absorber or the bias."""
        self.item.parameter.copy_(self.views[0].weight(found.weight, self.dense.shape))
        shift, factor = found.shift.flatten(), found.factor.flatten()
        if self.bias is not None:
            shift = shift + (1 - factor) * self.bias  # the factor multiplies the bias, too
        if self.absorber is not None and self.absorber.has_shift:
            self.absorber.absorb(factor, shift)
            return
        if self.absorber is not None:
            self.absorber.absorb(factor, torch.zeros_like(shift))
        if self.bias is not None:
            self.bias.add_((shift / factor).to(self.bias))


def targets_of(
    model: nn.Module, parameters: Sequence[selection.Pattern] | None, exclude: Sequence[selection.Pattern]
) -> tuple[list[ShrinkTarget], list[Dense]]:
    """Returns what to compress, and what stays dense.

    Args:
        model: the bare model.
        parameters: patterns; None for every weight of a known kind of layer that is not tied to an embedding.
        exclude: patterns of what to leave dense.

    Raises:
        MethodError: a pattern matches nothing, or nothing is chosen.
    """
    known = _known(model) if parameters is None else []
    found = selection.select(model, known or parameters, exclude, exact=True, trained=False)
    targets, dense = [], list(found.dense)
    if known:
        dense = [replace(one, reason=OTHER_KIND) if one.reason == selection.NOT_CHOSEN else one for one in dense]
    for item in found.chosen:
        views = [view for view in map(view_of, item.homes) if view is not None]
        # a table that is also the weight of a linear layer counts as that layer's
        views = [view for view in views if not isinstance(view, EmbeddingView)] or views
        if views and item.parameter.numel():
            targets.append(ShrinkTarget(item, views, item.parameter.detach().clone()))
        else:
            reason = "not a weight of a known kind of layer" if item.parameter.numel() else "has no entries"
            dense.append(Dense(item.name, item.parameter.numel(), reason, item.tied))
    return targets, dense


def _known(model: nn.Module) -> list[str]:
    """Returns the names of the parameters of known kinds of layers, without those of embeddings."""
    found: dict[int, str] = {}
    tables = set()
    for parameter, home in homes(model):
        view = view_of(home)
        if isinstance(view, EmbeddingView):
            tables.add(id(parameter))
        elif view is not None:
            found.setdefault(id(parameter), home.name)
    return [name for key, name in found.items() if key not in tables]
