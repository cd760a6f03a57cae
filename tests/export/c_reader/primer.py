"""Writes primer.c of the reader: the primer of the format, in less than half of its bytes.

    python -m tests.export.c_reader.primer > src/demitasse/export/c_reader/primer.c

A byte below 128 stands for itself, and 255 for the byte after it. Two bytes, ``1LLLLDDD DDDDDDDD``, stand for the L + 3
bytes that begin D bytes before. The shortest such text is found from its end.

Reference: Storer, Szymanski 1982, Data compression via textual substitution (Journal of the ACM 29/4).
"""

from __future__ import annotations

from demitasse.packed.header import PRIMER

_LEAST, _MOST = 3, 18
_TEXT = """/* The primer, which the model of bytes learns from; tests/export/c_reader/primer.py writes this file.
 *
 * A byte below 128 stands for itself, and 255 for the byte after it. Two bytes, 1LLLLDDD DDDDDDDD, stand for the L + 3
 * bytes that begin D bytes before.
 */
#include "parts.h"

static const uint8_t shortened[{count}] = {{
{rows}
}};

void demi_make_primer(uint8_t *primer)
{{
    const uint8_t *next = shortened;
    uint8_t *end = primer + DEMI_PRIMER;
    while (primer != end) {{
        unsigned count = 1;
        const uint8_t *from = next++;
        if (*from == 255) {{
            from = next++;
        }} else if (*from > 127) {{
            count = (*from >> 3 & 15) + 3;
            from = primer - ((*from & 7) << 8 | *next++);
        }}
        while (count-- != 0) {{
            *primer++ = *from++;
        }}
    }}
}}
"""


def shortened(data: bytes) -> bytes:
    """Returns the shortest form of bytes."""
    best: list[bytes] = [b""] * (len(data) + 1)  # of the bytes from each place on
    for at in range(len(data) - 1, -1, -1):
        plain = data[at : at + 1] if data[at] < 128 else bytes([255, data[at]])
        found = [plain + best[at + 1]]
        for begin in range(max(0, at - 2047), at):
            length = 0
            while length < _MOST and at + length < len(data) and data[begin + length] == data[at + length]:
                length += 1
            if length >= _LEAST:
                token = 0x8000 | (length - _LEAST) << 11 | (at - begin)
                if token >> 8 != 255:
                    found.append(token.to_bytes(2, "big") + best[at + length])
        best[at] = min(found, key=len)
    return best[0]


def source() -> str:
    """Returns the text of primer.c."""
    short = shortened(PRIMER)
    rows = [", ".join(map(str, short[at : at + 22])) for at in range(0, len(short), 22)]
    return _TEXT.format(count=len(short), rows=",\n".join(f"    {row}" for row in rows))


if __name__ == "__main__":
    print(source(), end="")
