"""Which parameters of a module a method compresses: by default the weights of linear and convolution layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from demitasse.errors import MethodError
from demitasse.registry import suggest

Pattern = str | type[nn.Module]
Number = int | float

# segments that wrappers put into names: DDP and averaged models, torch.compile, activation checkpointing
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module")
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True)
class Chosen:
    """One parameter to compress.

    Attributes:
        name: as in the state_dict of the bare module, without the prefixes of wrappers; of a tied parameter the first.
        parameter: itself.
        owner: the module that holds it.
        leaf: its name there.
        channel_axis: the axis of the output channels.
    """

    name: str
    parameter: nn.Parameter
    owner: nn.Module
    leaf: str
    channel_axis: int


@dataclass(frozen=True)
class Dense:
    """A parameter that stays as it is, and why.

    Attributes:
        name: as in the state_dict of the bare module.
        entries: how many numbers it holds.
        reason: in words.
    """

    name: str
    entries: int
    reason: str


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
            inner = model._modules.get(attribute)
            if inner is not None and {base.__name__ for base in type(model).__mro__} & set(names):
                model, wrapped = inner, True
    return model


def plain_name(name: str) -> str:
    """Returns a parameter's name without the segments that wrappers put in."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def named_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns plain name -> parameter, every name of a tied parameter."""
    found = unwrap(model).named_parameters(remove_duplicate=False)
    return {plain_name(name): parameter for name, parameter in found}


def select(model: nn.Module, parameters: Sequence[Pattern] | None = None, exclude: Sequence[Pattern] = ()) -> Selection:
    """Chooses the parameters to compress.

    A pattern is a glob or a type of module. A glob stands for weights of linear and convolution layers by the name
    of the parameter or of its module: ``fc1``, ``conv*``, ``*.attention.*``. Other parameters are chosen only where
    the pattern names the parameter itself behind a dot: ``fc1.bias``, ``*.bias``, ``bn1.*``. A type stands for the
    ``weight`` of its modules. Parameters that take no gradient always stay dense.

    Args:
        model: any module, wrapped or not.
        parameters: patterns of what to compress; None for the weights of all linear and convolution layers (also
            Hugging Face's ``Conv1D``, and the projections of ``MultiheadAttention``).
        exclude: patterns of what stays dense all the same.

    Raises:
        MethodError: a pattern matches nothing, nothing is chosen, or a parameter has no shape yet.
    """
    candidates = list(_candidates(model))
    wanted = None if parameters is None else _matching("parameters", _listed(parameters), candidates)
    unwanted = _matching("exclude", _listed(exclude), candidates)
    chosen, dense = [], []
    for candidate in candidates:
        reason = candidate.stays_dense(wanted, unwanted)
        if reason:
            dense.append(Dense(candidate.name, candidate.parameter.numel(), reason))
        else:
            chosen.append(candidate.chosen())
    if not chosen:
        raise MethodError("no parameter is chosen; expected linear or convolution layers that take gradients")
    return Selection(tuple(chosen), tuple(dense))


def assign(chosen: Sequence[Chosen], values: Number | Mapping[Pattern, Number]) -> dict[str, float]:
    """Returns name -> value; of the patterns of a mapping the first that matches a parameter counts."""
    if isinstance(values, Mapping):
        found = {}
        for item in chosen:
            names = [item.name]
            for pattern, value in values.items():
                if _Candidate(names, item.parameter, item.owner, item.leaf).matches(pattern):
                    found[item.name] = float(value)
                    break
        return found
    return {item.name: float(values) for item in chosen}


def _listed(patterns: Sequence[Pattern] | Pattern) -> list[Pattern]:
    """A single pattern is a list of one: a string must not be read letter by letter."""
    return [patterns] if isinstance(patterns, str | type) else list(patterns)


@dataclass
class _Candidate:
    """A parameter with all its names."""

    names: list[str]
    parameter: nn.Parameter
    owner: nn.Module
    leaf: str

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def is_weight(self) -> bool:
        """Whether it is the weight of a linear or convolution layer."""
        if isinstance(self.owner, nn.MultiheadAttention):
            return self.leaf in _ATTENTION
        return self.leaf == "weight" and (
            isinstance(self.owner, nn.Linear | nn.modules.conv._ConvNd) or _is_conv1d(self.owner)
        )

    def matches(self, pattern: Pattern) -> bool:
        if not isinstance(pattern, str):
            return isinstance(self.owner, pattern) and (self.is_weight or self.leaf == "weight")
        return any(self._name_matches(name, pattern) for name in self.names)

    def _name_matches(self, name: str, pattern: str) -> bool:
        module, _, leaf = name.rpartition(".")
        if self.is_weight:
            return fnmatchcase(name, pattern) or (module != "" and fnmatchcase(module, pattern))
        upper, dot, last = pattern.rpartition(".")
        if not dot:
            return module == "" and name == pattern
        return module != "" and fnmatchcase(module, upper) and fnmatchcase(leaf, last)

    def stays_dense(self, wanted: set[int] | None, unwanted: set[int]) -> str:
        """Returns why it stays dense; empty where it is to be compressed."""
        key = id(self.parameter)
        if key in unwanted:
            return "excluded"
        if wanted is None and not self.is_weight:
            return "no weight of a linear or convolution layer"
        if wanted is not None and key not in wanted:
            return "not chosen"
        if not self.parameter.requires_grad:
            return "takes no gradient"
        if not self.parameter.is_floating_point():
            return f"holds {self.parameter.dtype}"
        return ""

    def chosen(self) -> Chosen:
        if nn.parameter.is_lazy(self.parameter):
            raise MethodError(f"{self.name} has no shape yet; run a batch through the model first")
        transposed = isinstance(self.owner, nn.modules.conv._ConvTransposeNd) or _is_conv1d(self.owner)
        axis = 1 if transposed and self.parameter.ndim > 1 and self.leaf == "weight" else 0
        return Chosen(self.name, self.parameter, self.owner, self.leaf, axis)


def _is_conv1d(module: nn.Module) -> bool:
    """Whether it is Hugging Face's linear layer with a transposed weight (in, out); their package is not imported."""
    return any(
        base.__name__ == "Conv1D" and base.__module__.startswith("transformers") for base in type(module).__mro__
    )


def _candidates(model: nn.Module) -> Iterator[_Candidate]:
    """Yields every parameter once, with all its names."""
    found: dict[int, _Candidate] = {}
    for path, module in unwrap(model).named_modules(remove_duplicate=False):
        for leaf, parameter in module._parameters.items():
            if parameter is None:
                continue
            name = plain_name(f"{path}.{leaf}" if path else leaf)
            known = found.get(id(parameter))
            if known is None:
                found[id(parameter)] = _Candidate([name], parameter, module, leaf)
                continue
            known.names.append(name)
            tied = _Candidate(known.names, parameter, module, leaf)
            if tied.is_weight and not known.is_weight:
                # the weight of an embedding tied to that of a linear layer is both
                found[id(parameter)] = tied
    yield from found.values()


def _matching(argument: str, patterns: Sequence[Pattern], candidates: Sequence[_Candidate]) -> set[int]:
    """Returns the ids of the parameters that the patterns match."""
    matched: set[int] = set()
    for pattern in patterns:
        found = {id(candidate.parameter) for candidate in candidates if candidate.matches(pattern)}
        if not found:
            raise MethodError(f"{argument}: {_shown(pattern)} matches no parameter; {_near(pattern, candidates)}")
        matched |= found
    return matched


def _shown(pattern: Pattern) -> str:
    return repr(pattern) if isinstance(pattern, str) else f"type {pattern.__name__}"


def _near(pattern: Pattern, candidates: Sequence[_Candidate]) -> str:
    weights = [candidate for candidate in candidates if candidate.is_weight]
    if isinstance(pattern, str):
        names = [c.name for c in candidates] + [c.name.rpartition(".")[0] for c in weights]
        return suggest(pattern, [name for name in names if name])
    return f"known: {', '.join(sorted({type(c.owner).__name__ for c in candidates}))}"
