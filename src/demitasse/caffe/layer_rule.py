"""The rules by which converters and compact formats choose layers."""

from __future__ import annotations

from enum import StrEnum

_KINDS = ("Convolution", "InnerProduct")
_NAMES = ("conv", "ip", "fc")

SURGERY = frozenset(prefix + kind for prefix in ("DNS", "C") for kind in _KINDS)
COMPRESSING = SURGERY | {f"INQ{kind}" for kind in _KINDS}
WEIGHTED = COMPRESSING | {*_KINDS, "Deconvolution"}


class LayerRule(StrEnum):
    """A rule by which layers are chosen.

    TYPE takes convolutions and inner products, plain or compressing. ORIGINAL takes layers whose name contains
    "conv", "ip" or "fc", whatever their type; some tools also take "fire".
    """

    TYPE = "type"
    ORIGINAL = "original"

    def takes(self, name: str, kind: str, fire: bool = False) -> bool:
        """Tells whether a layer of this name and type is taken; with ``fire``, names that contain "fire" are, too."""
        if self is LayerRule.TYPE:
            return kind in WEIGHTED
        return any(part in name for part in _NAMES) or (fire and "fire" in name)
