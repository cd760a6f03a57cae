"""Chooses the parameters that a method compresses: by default the weights of linear and convolution layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import nn

from demitasse.errors import MethodError
from demitasse.methods import settings, shards
from demitasse.methods.homes import Home, homes, plain_name
from demitasse.registry import suggest

Pattern = str | type[nn.Module]
P = TypeVar("P", str, type[nn.Module])
Number = int | float
NO_GRADIENT = "requires no gradient"
NOT_CHOSEN, EXCLUDED = "not chosen", "excluded"
_REASONS = 3  # how many reasons a message lists


@dataclass(frozen=True)
class Chosen:
    """One parameter to compress.

    Attributes:
        name: as in the state_dict of the bare module, without the prefixes of wrappers; the first if it is tied.
        parameter: the parameter.
        homes: where the module holds it; more than one if it is tied.
        channel_axis: the axis of the output channels.
    """

    name: str
    parameter: nn.Parameter
    homes: tuple[Home, ...]
    channel_axis: int

    @property
    def tied(self) -> tuple[str, ...]:
        """The other names of a tied parameter."""
        return tuple(home.name for home in self.homes[1:])


@dataclass(frozen=True)
class Dense:
    """A parameter that stays as it is, and why.

    Attributes:
        name: as in the state_dict of the bare module.
        entries: number of entries.
        reason: why it stays dense, in words.
        tied: its other names if it is tied.
    """

    name: str
    entries: int
    reason: str
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """All parameters of a module, each counted once."""

    chosen: tuple[Chosen, ...]
    dense: tuple[Dense, ...]


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the module inside DataParallel, DistributedDataParallel, AveragedModel and torch.compile."""
    wrapped = True
    while wrapped:
        wrapped = False
        for attribute, names in (
            ("module", ("DataParallel", "DistributedDataParallel", "AveragedModel")),
            ("_orig_mod", ("OptimizedModule",)),
        ):
            inner = getattr(model, attribute, None)
            if isinstance(inner, nn.Module) and {base.__name__ for base in type(model).__mro__} & set(names):
                model, wrapped = inner, True
    return model


def named_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns plain name -> parameter, with all names of tied parameters."""
    found = unwrap(model).named_parameters(remove_duplicate=False)
    return {plain_name(name): parameter for name, parameter in found}


def select(
    model: nn.Module,
    parameters: Sequence[Pattern] | None = None,
    exclude: Sequence[Pattern] = (),
    exact: bool = False,
    trained: bool = True,
) -> Selection:
    """Chooses the parameters to compress.

    A pattern is a glob or a type of module.

    - A glob that matches the name of a module chooses the weights of the linear and convolution layers in it:
      ``fc1``, ``conv*``, ``encoder``, ``*.attention.*``. If there are none, it chooses the module's other weights,
      such as those of ``rnn``.
    - A glob that matches the name of a parameter chooses that parameter: ``fc1.bias``, ``*.bias``, ``*weight*``,
      ``bn1.*``.
    - A type chooses the weights of its modules, and those of the linear and convolution layers inside them.

    A tied parameter is matched by any of its names and by the type of any module that holds it. Parameters that
    require no gradient always stay dense.

    Args:
        model: any module, wrapped or not.
        parameters: patterns of what to compress; None for the weights of all linear and convolution layers (also
            Hugging Face's ``Conv1D``, and the projections of ``MultiheadAttention``) that are not tied to an embedding.
        exclude: patterns of what to leave dense.
        exact: whether the layers must compute with the values of the parameter, and not with a multiple of them, as
            with weight_norm.
        trained: whether the parameters are to be trained, so that those that require no gradient stay dense.

    Returns:
        The chosen parameters and the dense ones.

    Raises:
        MethodError: ``model`` is not a module, a pattern is invalid or matches nothing, nothing is chosen, or a
            parameter has no shape or no values yet, or shares its memory with another one.
    """
    settings.module("model", model)
    candidates = _candidates(model)
    wanted = None if parameters is None else _matching("parameters", parameters, candidates, _matched)
    unwanted = _matching("exclude", exclude, candidates, _excluded)
    chosen, dense = [], []
    for candidate in candidates:
        reason = candidate.reason_to_stay_dense(wanted, unwanted, exact, trained)
        if reason:
            dense.append(Dense(candidate.name, candidate.entries, reason, candidate.tied))
        else:
            chosen.append(candidate.chosen())
    if not chosen:
        raise MethodError(f"no parameter is chosen; expected {_expected(candidates, dense)}")
    _check_memory(chosen, candidates)
    return Selection(tuple(chosen), tuple(dense))


def check_patterns(model: nn.Module, argument: str, patterns: Collection[Pattern]) -> None:
    """Checks that every pattern matches a parameter of a module, chosen or not.

    Raises:
        MethodError: a pattern matches nothing.
    """
    _matching(argument, tuple(patterns), _candidates(model), _matched)


def assign(chosen: Sequence[Chosen], values: Number | Mapping[Pattern, Number]) -> dict[str, float]:
    """Returns name -> value, for the chosen parameters that a pattern matches.

    A parameter gets the value of the first pattern that matches it, or else of the first one that names a module around
    it: ``*`` gives recurrent layers and embeddings a value, too, where they are chosen.
    """
    if not isinstance(values, Mapping):
        return {item.name: float(values) for item in chosen}
    candidates = [_Candidate(item.parameter, list(item.homes)) for item in chosen]
    found: dict[int, float] = {}
    for rule in (_matched, _excluded):
        for pattern, value in values.items():
            for key in rule(pattern, candidates):
                found.setdefault(key, float(value))
    return {item.name: found[id(item.parameter)] for item in chosen if id(item.parameter) in found}


def _listed(argument: str, patterns: Sequence[Pattern] | Pattern | None) -> list[Pattern]:
    """Returns the patterns as a list; a single pattern counts as a list of one."""
    if patterns is None:
        return []
    if isinstance(patterns, str | type):
        return [patterns]
    listed: list[Pattern] = settings.listed(argument, patterns, "names and types of modules")
    for pattern in listed:
        if not isinstance(pattern, str) and not (isinstance(pattern, type) and issubclass(pattern, nn.Module)):
            raise MethodError(f"{argument}: {_shown(pattern)} is not a pattern; expected a name or a type of module")
    if argument == "parameters" and not listed:
        raise MethodError("parameters is empty; expected names or types of modules, or None for all weights")
    return listed


class _Candidate:
    """A parameter with all its homes."""

    def __init__(self, parameter: nn.Parameter, found: list[Home]) -> None:
        self.parameter, self.homes = parameter, found

    @property
    def name(self) -> str:
        return self.homes[0].name

    @property
    def tied(self) -> tuple[str, ...]:
        return tuple(home.name for home in self.homes[1:])

    @property
    def entries(self) -> int:
        return 0 if nn.parameter.is_lazy(self.parameter) else self.parameter.numel()

    def reason_to_stay_dense(
        self, wanted: set[int] | None, unwanted: set[int], exact: bool, trained: bool = True
    ) -> str:
        """Returns why it stays dense; empty if it is chosen."""
        if id(self.parameter) in unwanted:
            return EXCLUDED
        if wanted is not None and id(self.parameter) not in wanted:
            return NOT_CHOSEN
        if wanted is None and not any(home.is_weight for home in self.homes):
            return "not a weight of a linear or convolution layer"
        if wanted is None and any(home.is_embedding for home in self.homes):
            return "tied to an embedding"
        if hindrance := next((home.hindrance for home in self.homes if home.hindrance), ""):
            return hindrance
        if exact and (scaling := next((home.scaling for home in self.homes if home.scaling), "")):
            return f"is scaled by {scaling}, so that its layer computes with other values; remove {scaling} first"
        if trained and not self.parameter.requires_grad:
            return NO_GRADIENT
        return "" if self.parameter.is_floating_point() else f"holds {self.parameter.dtype}"

    def chosen(self) -> Chosen:
        if nn.parameter.is_lazy(self.parameter):
            raise MethodError(f"{self.name} has no shape yet; run a batch through the model first")
        if self.parameter.is_meta:
            raise MethodError(f"{self.name} has no values yet (device meta); attach after the weights are loaded")
        axes = [home.channel_axis for home in self.homes if home.is_weight]
        axis = min([*(axes or [0]), max(self.parameter.ndim - 1, 0)])
        return Chosen(self.name, self.parameter, tuple(self.homes), axis)


Rule = Callable[[Pattern, Sequence[_Candidate]], set[int]]


def _candidates(model: nn.Module) -> list[_Candidate]:
    """Returns every parameter once, with all its homes."""
    found: dict[int, _Candidate] = {}
    for parameter, home in homes(unwrap(model)):
        found.setdefault(id(parameter), _Candidate(parameter, [])).homes.append(home)
    return list(found.values())


def _matching(
    argument: str, patterns: Sequence[Pattern] | None, candidates: Sequence[_Candidate], rule: Rule
) -> set[int]:
    """Returns the ids of the parameters that the patterns match; raises if a pattern matches none."""
    matched: set[int] = set()
    for pattern in _listed(argument, patterns):
        found = rule(pattern, candidates)
        if not found:
            raise MethodError(f"{argument}: {_shown(pattern)} matches no parameter; {_near(pattern, candidates)}")
        matched |= found
    return matched


def _matched(pattern: Pattern, candidates: Sequence[_Candidate]) -> set[int]:
    """Returns the matches of the first rule that has any: weights of linear and convolution layers come first."""
    if isinstance(pattern, str):
        matches = (_found(rule, pattern, candidates) for rule in (_by_name, _any_weight, _matrix))
    else:
        matches = (_found(rule, pattern, candidates) for rule in (_by_type, _inside_of_type))
    return next(filter(None, matches), set())


def _excluded(pattern: Pattern, candidates: Sequence[_Candidate]) -> set[int]:
    """Returns the parameters that a pattern names, and everything inside a module that it names."""
    if isinstance(pattern, str):
        return _found(_anything, pattern, candidates)
    return _found(_anything_of_type, pattern, candidates)


def _found(rule: Callable[[Home, P, _Candidate], bool], pattern: P, candidates: Sequence[_Candidate]) -> set[int]:
    return {id(one.parameter) for one in candidates if any(rule(home, pattern, one) for home in one.homes)}


def _anything(home: Home, pattern: str, candidate: _Candidate) -> bool:
    return _names_module(home, pattern) or _by_name(home, pattern, candidate)


def _anything_of_type(home: Home, kind: type[nn.Module], candidate: _Candidate) -> bool:
    return any(isinstance(module, kind) for module in home.within)


def _by_name(home: Home, pattern: str, candidate: _Candidate) -> bool:
    """Whether the pattern matches the parameter's name, or a module around the weight of a linear or conv layer."""
    if home.is_weight and _names_module(home, pattern):
        return True
    return any(_names_parameter(name, pattern, home.is_weight) for name in home.names)


def _names_module(home: Home, pattern: str) -> bool:
    parts = home.path.split(".") if home.path else []
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def _names_parameter(name: str, pattern: str, is_weight: bool) -> bool:
    """Whether the pattern matches only with the parameter's own name; ``*`` and ``conv*`` match the modules already."""
    module, _, leaf = name.rpartition(".")
    if is_weight:
        return fnmatchcase(name, pattern)
    upper, dot, last = pattern.rpartition(".")
    if dot:
        return module != "" and fnmatchcase(module, upper) and fnmatchcase(leaf, last)
    return fnmatchcase(name, pattern) and not fnmatchcase(module, pattern)


def _any_weight(home: Home, pattern: str, candidate: _Candidate) -> bool:
    return home.is_any_weight and fnmatchcase(home.path, pattern)


def _matrix(home: Home, pattern: str, candidate: _Candidate) -> bool:
    return _names_module(home, pattern) and candidate.parameter.ndim > 1


def _by_type(home: Home, kind: type[nn.Module], candidate: _Candidate) -> bool:
    inside = home.is_weight and any(isinstance(module, kind) for module in home.within)
    return inside or (home.is_any_weight and isinstance(home.module, kind))


def _inside_of_type(home: Home, kind: type[nn.Module], candidate: _Candidate) -> bool:
    return candidate.parameter.ndim > 1 and any(isinstance(module, kind) for module in home.within)


def _shown(pattern: object) -> str:
    return f"type {pattern.__name__}" if isinstance(pattern, type) else settings.shown(pattern)


def _near(pattern: Pattern, candidates: Sequence[_Candidate]) -> str:
    every = [home for candidate in candidates for home in candidate.homes]
    if isinstance(pattern, str):
        names = [home.name for home in every] + [home.path for home in every if home.is_weight]
        return suggest(pattern, [name for name in dict.fromkeys(names) if name])
    return f"known: {', '.join(sorted({type(home.module).__name__ for home in every}))}"


def _expected(candidates: Sequence[_Candidate], dense: Sequence[Dense]) -> str:
    """Returns what is expected, and why the first weights stay dense."""
    weights = {one.name for one in candidates if any(home.is_weight or home.hindrance for home in one.homes)}
    reasons = [f"{item.name}: {item.reason}" for item in dense if item.name in weights]
    shown = "; ".join(reasons[:_REASONS]) + (f"; and {len(reasons) - _REASONS} more" if reasons[_REASONS:] else "")
    return "linear or convolution layers that require gradients" + (f" ({shown})" if reasons else "")


def _check_memory(chosen: Sequence[Chosen], candidates: Sequence[_Candidate]) -> None:
    """Raises if another parameter uses the memory of a chosen one: it would train what is cut."""
    owners: dict[tuple[object, int], str] = {}
    for candidate in candidates:
        if nn.parameter.is_lazy(candidate.parameter) or candidate.parameter.is_meta:
            continue
        values = shards.local(candidate.parameter)
        if values.numel() and values.layout is torch.strided:
            key = values.device, values.data_ptr()
            if key in owners and {owners[key], candidate.name} & {item.name for item in chosen}:
                raise MethodError(
                    f"{candidate.name} and {owners[key]} are two parameters that share their memory; expected one "
                    "parameter with two names, tied by assignment"
                )
            owners[key] = candidate.name
