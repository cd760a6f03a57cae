"""Nets of any format into .demi files, and out of them: what ``demitasse pack`` and ``unpack`` run."""

from demitasse.packing.files import pack, unpack

__all__ = ["pack", "unpack"]
