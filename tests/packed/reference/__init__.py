"""A reader of .demi files in plain Python, written from docs/demi_format.md alone: the page, executable.

It says the same as the page, a section a file, and takes whatever time and memory that takes.
"""

from __future__ import annotations

from tests.packed.reference.file import Found, decode

__all__ = ["Found", "decode"]
