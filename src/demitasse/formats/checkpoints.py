"""The state_dict in a checkpoint: alone, under a key, or with the prefix of a wrapper."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from demitasse.errors import FileFormatError, UsageError

# the key of a checkpoint that has several
_FIRST = "state_dict"
# what DataParallel and torch.compile put before every name
_PREFIXES = ("module.", "_orig_mod.")
_log = logging.getLogger(__name__)


def state_dict_of(content: Any, place: str, key: str | None = None) -> dict[str, Tensor]:
    """Returns the state_dict of a checkpoint; what else there is, and what is left out of names, is logged.

    Args:
        content: what the file holds.
        place: the file, for messages.
        key: that the state_dict stands under; None for the one that there is.

    Raises:
        FileFormatError: there is none, or it holds more than tensors by name.
        UsageError: there is none under the key.
    """
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{place}: holds a {type(content).__name__}; expected tensors by name")
    nested = [name for name, value in content.items() if _is_state(value)]
    if key is not None:
        if key not in nested:
            raise UsageError(f"{place}: no state_dict under {key!r}; found {', '.join(map(repr, nested)) or 'none'}")
        return _without_prefix(content[key], place)
    if nested:
        chosen = _FIRST if _FIRST in nested else nested[0]
        if len(nested) > 1 and chosen != _FIRST:
            raise UsageError(f"{place}: holds state_dicts under {', '.join(map(repr, nested))}; choose one by its key")
        _log.warning("%s: the state_dict is under the key %r%s", place, chosen, _others(content, chosen))
        content = content[chosen]
    _check(content, place)
    return _without_prefix(content, place)


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(each, Tensor) for name, each in value.items())
    )


def _others(content: Mapping[Any, Any], chosen: str) -> str:
    others = ", ".join(repr(name) for name in content if name != chosen)
    return f"; left out: {others}" if others else ""


def _check(content: Mapping[Any, Any], place: str) -> None:
    for name, value in content.items():
        if not isinstance(name, str):
            raise FileFormatError(f"{place}: key {name!r} is a {type(name).__name__}; expected tensors by name")
        if not isinstance(value, Tensor):
            raise FileFormatError(
                f"{place}: holds more than tensors by name: {name!r} is a {type(value).__name__}; expected a state_dict"
            )


def _without_prefix(state: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    found = dict(state)
    for prefix in (*_PREFIXES, *_PREFIXES):
        if found and all(name.startswith(prefix) for name in found):
            _log.warning("%s: names without the prefix %r", place, prefix)
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found
