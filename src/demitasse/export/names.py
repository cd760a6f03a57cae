"""Makes identifiers of the names in a Caffe net, which may be any text and come from a stranger's file."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container, Iterable

from torch import nn

_LONGEST = 60
# names that generated source uses itself
_OWN = {"F", "Path", "load", "load_file", "nn", "self", "torch"}
_TAKEN = {*dir(nn.Module()), *keyword.kwlist, *keyword.softkwlist, *_OWN}


def identifiers(names: Iterable[str], prefix: str, taken: Container[str] = _TAKEN) -> dict[str, str]:
    """Returns a different identifier for each name, made of ASCII letters, digits and single underscores.

    Args:
        names: names of layers or blobs.
        prefix: is put before names that do not begin with a letter.
        taken: words that no identifier may be; by default those of Python and of generated source.
    """
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        if name not in found:
            found[name] = _free(identifier(name, prefix, taken), used)
            used.add(found[name])
    return found


def identifier(name: str, prefix: str, taken: Container[str] = _TAKEN) -> str:
    """Returns the identifier for one name; see :func:`identifiers`."""
    words = re.sub(r"[^0-9A-Za-z]+", "_", name[: 4 * _LONGEST]).strip("_")[:_LONGEST].strip("_")
    made = words if words[:1].isalpha() else f"{prefix}_{words}".strip("_")
    return f"{made}_" if made in taken else made


def _free(wanted: str, used: set[str]) -> str:
    number, made = 1, wanted
    while made in used:
        number += 1
        made = f"{wanted.rstrip('_')}_{number}"
    return made


def class_name(name: str) -> str:
    """Returns the class name for a net: ``bvlc lenet-5`` becomes ``BvlcLenet5``."""
    words = re.findall(r"[0-9A-Za-z]+", name[: 4 * _LONGEST])
    made = "".join(word[:1].upper() + word[1:] for word in words)[:_LONGEST]
    if not made[:1].isalpha():
        made = f"Net{made}"
    return f"{made}Net" if made in _TAKEN or made in ("None", "True", "False") else made
