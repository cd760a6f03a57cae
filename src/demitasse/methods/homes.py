"""Where a module holds a parameter: its names, the modules that own it, and its role in them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

# segments that wrappers add to names: DDP and averaged models, torch.compile, activation checkpointing
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module")
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
# hooks and parametrizations of torch.nn.utils that scale a weight: class -> its function, and the (suffix of the)
# name of the parameter that the layer uses a multiple of
_SCALING_HOOKS = {"WeightNorm": ("weight_norm", "_v"), "SpectralNorm": ("spectral_norm", "_orig")}
_SCALING = {"_WeightNorm": ("weight_norm", "original1"), "_SpectralNorm": ("spectral_norm", "original")}


@dataclass(frozen=True)
class Home:
    """One place where a module holds a parameter; a tied parameter has several.

    Attributes:
        name: as in the state_dict of the bare module, without the prefixes of wrappers.
        owner: the module that holds the parameter.
        leaf: the parameter's name in the owner.
        within: the modules around it, from the outermost to the one whose weight it is.
        path: the name of the last of them.
        role: the name that the last of them uses, ``weight`` even where weight_norm or spectral_norm splits it.
        scaling: the name of that norm, if any; the layer then computes with a multiple of the parameter.
        hindrance: why the parameter cannot be compressed here; empty if it can.
    """

    name: str
    owner: nn.Module
    leaf: str
    within: tuple[nn.Module, ...]
    path: str
    role: str
    scaling: str = ""
    hindrance: str = ""

    @property
    def module(self) -> nn.Module:
        """The module whose weight it is."""
        return self.within[-1]

    @property
    def names(self) -> tuple[str, str]:
        """The name in the state_dict, and the name made of the layer's path and the role."""
        return self.name, f"{self.path}.{self.role}" if self.path else self.role

    @property
    def is_weight(self) -> bool:
        """Whether it is the weight of a linear or convolution layer."""
        if isinstance(self.module, nn.MultiheadAttention):
            return self.role in _ATTENTION
        return self.role == "weight" and (
            isinstance(self.module, nn.Linear | nn.modules.conv._ConvNd) or is_conv1d(self.module)
        )

    @property
    def is_any_weight(self) -> bool:
        """Whether it is a weight of any kind of layer."""
        recurrent = isinstance(self.module, _RECURRENT) and self.role.startswith("weight")
        return self.is_weight or self.role == "weight" or recurrent

    @property
    def is_embedding(self) -> bool:
        """Whether it is the table of an embedding."""
        return self.role == "weight" and isinstance(self.module, _EMBEDDINGS)

    @property
    def channel_axis(self) -> int:
        """The axis of the output channels."""
        transposed = isinstance(self.module, nn.modules.conv._ConvTransposeNd) or is_conv1d(self.module)
        return 1 if transposed and self.role == "weight" else 0


def is_conv1d(module: nn.Module) -> bool:
    """Whether it is Hugging Face's linear layer with a transposed weight (in, out); does not import transformers."""
    return is_of_package(module, "transformers") and any(base.__name__ == "Conv1D" for base in type(module).__mro__)


def is_of_package(module: nn.Module, package: str) -> bool:
    """Whether a class of a module comes from a package; does not import the package."""
    return any(base.__module__.partition(".")[0] == package for base in type(module).__mro__)


def plain_name(name: str) -> str:
    """Returns a parameter's name without the segments that wrappers add."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def homes(model: nn.Module) -> Iterator[tuple[nn.Parameter, Home]]:
    """Yields every parameter of a bare module with each of its homes."""
    yield from _walk(model, "", (model,))


def places(model: nn.Module, wanted: Container[int]) -> dict[tuple[int, str], int]:
    """Returns where a bare module holds the parameters with these ids: (id of a module, name there) -> id.

    Runs before every step, so it visits every module once and builds no names.
    """
    found: dict[tuple[int, str], int] = {}
    seen, left = {id(model)}, [model]
    while left:
        module = left.pop()
        for leaf, parameter in module._parameters.items():
            if id(parameter) in wanted:
                found[id(module), leaf] = id(parameter)
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                left.append(child)
    return found


def _walk(module: nn.Module, path: str, within: tuple[nn.Module, ...]) -> Iterator[tuple[nn.Parameter, Home]]:
    for leaf, parameter in module._parameters.items():
        if parameter is not None:
            yield parameter, _home_of(module, leaf, path, within)
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}" if path else name, (*within, child))


def _home_of(owner: nn.Module, leaf: str, path: str, within: tuple[nn.Module, ...]) -> Home:
    name = plain_name(f"{path}.{leaf}" if path else leaf)
    if isinstance(owner, ParametrizationList):
        # layer.parametrizations.weight.original
        outer, _, role = path.rpartition(".")
        scaling, hindrance = _parametrized(owner, leaf)
        plain = plain_name(outer.removesuffix("parametrizations").removesuffix("."))
        return Home(name, owner, leaf, within[:-2], plain, role if scaling or hindrance else leaf, scaling, hindrance)
    role, scaling, hindrance = _hooked(owner, leaf)
    return Home(name, owner, leaf, within, plain_name(path), role, scaling, hindrance)


def _parametrized(owner: ParametrizationList, leaf: str) -> tuple[str, str]:
    kinds = [type(one).__name__ for one in owner]
    if len(kinds) == 1 and kinds[0] in _SCALING:
        name, of_direction = _SCALING[kinds[0]]
        return name if leaf == of_direction else "", ""
    return "", (
        f"is computed by {' and '.join(kinds)} (torch.nn.utils.parametrize), which does not keep zeros; "
        "call remove_parametrizations first"
    )


def _hooked(owner: nn.Module, leaf: str) -> tuple[str, str, str]:
    """Returns role, scaling and hindrance under the older, hook-based torch.nn.utils."""
    for hook in owner._forward_pre_hooks.values():
        name, suffix = _SCALING_HOOKS.get(type(hook).__name__, ("", ""))
        scaled, masked = getattr(hook, "name", None), getattr(hook, "_tensor_name", None)
        if name and leaf == f"{scaled}{suffix}":
            return str(scaled), name, ""
        if masked and leaf == f"{masked}_orig":
            return str(masked), "", "is masked by torch.nn.utils.prune; call prune.remove first"
    return leaf, "", ""
