"""Writes primer.c of the reader: the primer of the format, as the model of bytes codes it.

    python -m tests.export.c_reader.primer > src/demitasse/export/c_reader/primer.c

A header is decoded by a model that has learnt the primer. Here, the model has learnt nothing yet.
"""

from __future__ import annotations

import numpy as np

from demitasse.packed.codecs.numbers import code_bytes
from demitasse.packed.header import PRIMER
from demitasse.packed.stream import Stream

# bytes that are coded: with zeros after the primer, the model has twice as many slots, and the code is shorter
DECODED = 2048
_TEXT = """/* The primer, which the model of bytes learns from, as an untrained model of bytes codes it.
 *
 * tests/export/c_reader/primer.py writes this file.
 */
#include "parts.h"

const uint8_t demi_primer[DEMI_CODED] = {{
{rows}
}};
"""


def coded() -> bytes:
    """Returns the coded form of the primer."""
    stream = Stream()
    code_bytes(stream, np.frombuffer(PRIMER.ljust(DECODED, b"\0"), np.uint8).copy(), 0)
    return stream.close()


def source() -> str:
    """Returns the text of primer.c."""
    data = coded()
    rows = [", ".join(map(str, data[at : at + 22])) for at in range(0, len(data), 22)]
    return _TEXT.format(rows=",\n".join(f"    {row}" for row in rows))


if __name__ == "__main__":
    print(source(), end="")
