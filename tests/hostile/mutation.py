"""Random damage to files."""

from __future__ import annotations

import random


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Returns the data with up to four places changed: bytes, runs left out or doubled, numbers, or the end cut."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(broken))
        kind = rng.randrange(8)
        if kind < 3:
            broken[at] ^= 1 << rng.randrange(8)
        elif kind < 5:
            broken[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        elif kind == 5:
            del broken[at : at + rng.randint(1, 8)]
        elif kind == 6:
            broken[at:at] = broken[at : at + rng.randint(1, 8)]
        elif rng.random() < 0.3:
            del broken[at:]
        if not broken:
            return b""
    return bytes(broken)
