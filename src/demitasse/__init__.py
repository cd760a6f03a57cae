"""demitasse makes neural networks small."""

from demitasse._version import __version__

__all__ = ["__version__"]
