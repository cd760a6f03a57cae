"""A reader of ``.demi`` files in C99, for programs that are not in Python; ``FOLDER`` is where its files lie.

It is written from the page of the format alone. Memory is an arena of the caller; there is no ``malloc`` and no
library.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
