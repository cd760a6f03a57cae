"""Which layers the converters and the compact formats take."""

from __future__ import annotations

from enum import StrEnum

_KINDS = ("Convolution", "InnerProduct")
_NAMES = ("conv", "ip", "fc")

SURGERY = frozenset(prefix + kind for prefix in ("DNS", "C") for kind in _KINDS)
COMPRESSING = SURGERY | {f"INQ{kind}" for kind in _KINDS}
WEIGHTED = COMPRESSING | {*_KINDS, "Deconvolution"}


class LayerRule(StrEnum):
    """How layers are chosen.

    TYPE takes convolutions and inner products, plain or compressing. ORIGINAL takes those whose name contains
    "conv", "ip" or "fc", whatever they are; in some tools also "fire".
    """

    TYPE = "type"
    ORIGINAL = "original"

    def takes(self, name: str, kind: str, fire: bool = False) -> bool:
        """Returns whether a layer of this name and type is taken; ``fire``: names with "fire" are, too."""
        if self is LayerRule.TYPE:
            return kind in WEIGHTED
        return any(part in name for part in _NAMES) or (fire and "fire" in name)
