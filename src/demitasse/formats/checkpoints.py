"""Finds the state_dict in a checkpoint: the whole content or the value of a key, with or without a wrapper's prefix."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TypeGuard

from torch import Tensor

from demitasse.errors import FileFormatError, UsageError

# the preferred key of a checkpoint that has several
_FIRST = "state_dict"
# prefixes that DataParallel and torch.compile add to every name
_PREFIXES = ("module.", "_orig_mod.")
_log = logging.getLogger(__name__)


def state_dict_of(content: object, place: str, key: str | None = None) -> dict[str, Tensor]:
    """Returns the state_dict of a checkpoint; logs the entries and name prefixes that it leaves out.

    Args:
        content: the content of the file.
        place: the file, for messages.
        key: the key of the state_dict; None for the only one.

    Raises:
        FileFormatError: there is no state_dict, or it contains something other than tensors by name.
        UsageError: there is no state_dict under the key, or there are several and no key is given.
    """
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{place}: found a {type(content).__name__}; expected tensors by name")
    nested = [name for name, value in content.items() if _is_state(value)]
    if key is not None:
        if key not in nested:
            raise UsageError(f"{place}: no state_dict under {key!r}; found {', '.join(map(repr, nested)) or 'none'}")
        return _without_prefix(content[key], place)
    if nested:
        chosen = _FIRST if _FIRST in nested else nested[0]
        if len(nested) > 1 and chosen != _FIRST:
            raise UsageError(f"{place}: found state_dicts under {', '.join(map(repr, nested))}; give the key of one")
        _log.warning("%s: the state_dict is under the key %r%s", place, chosen, _others(content, chosen))
        return _without_prefix(content[chosen], place)
    return _without_prefix(_checked(content, place), place)


def _is_state(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(each, Tensor) for name, each in value.items())
    )


def _others(content: Mapping[object, object], chosen: str) -> str:
    others = ", ".join(repr(name) for name in content if name != chosen)
    return f"; left out: {others}" if others else ""


def _checked(content: Mapping[object, object], place: str) -> dict[str, Tensor]:
    state = {}
    for name, value in content.items():
        if not isinstance(name, str):
            raise FileFormatError(f"{place}: key {name!r} is of type {type(name).__name__}; expected tensors by name")
        if not isinstance(value, Tensor):
            raise FileFormatError(
                f"{place}: {name!r} is of type {type(value).__name__}; expected a state_dict, which has only tensors"
            )
        state[name] = value
    return state


def _without_prefix(state: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    found = dict(state)
    for prefix in (*_PREFIXES, *_PREFIXES):
        if found and all(name.startswith(prefix) for name in found):
            _log.warning("%s: removed the prefix %r from all names", place, prefix)
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found
