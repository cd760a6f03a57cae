"""The model of bytes: text, and numbers of ``width`` bytes each, the byte that matters most first."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.packed.kernels.arithmetic import code
from demitasse.packed.kernels.compiled import compiled
from demitasse.packed.kernels.mixing import SEEN, learn, mix

# first weights of the mixer, for orders 0 to 4, the same byte of the number before, and that with the byte before
_WEIGHTS = np.array([[13107, 16384, 19661, 19661, 19661, 6554, 13107]] * 5)
_SLOTS = 7
_ORDERS = 5
_HASH = 0x9E3779B1


@compiled
def text(values, begin, width, bits, state, data):
    """Codes bytes, from ``begin`` on; those before are known to both sides and only prime the model.

    Args:
        values: all bytes; filled when decoding.
        begin: of those that are coded.
        width: bytes of a number; 1 for text.
        bits: 2^bits slots for every context.
        state: of the arithmetic coder, with its data.
    """
    memory = np.zeros(_SLOTS << bits, np.uint32)
    slots, inputs, weights = np.zeros(_SLOTS, np.int64), np.zeros(_SLOTS, np.int64), _WEIGHTS.copy()
    for i in range(len(values)):
        place = i % width
        one = np.int64(values[i - 1]) if i else 0
        two = np.int64(values[i - 2]) if i > 1 else 0
        three = np.int64(values[i - 3]) if i > 2 else 0
        four = np.int64(values[i - 4]) if i > 3 else 0
        same = np.int64(values[i - width]) if i >= width else 0
        context = (
            place,
            place + 8 * (one + 1),
            place + 8 * (one + 256 * two + 1),
            place + 8 * (one + 256 * two + 65536 * three + 1),
            place + 8 * (one + 256 * two + 65536 * three + (four << 24) + 1),
            place + 8 * (same + 1),
            place + 8 * (same + 256 * one + 1),
        )
        node = np.int64(1)
        for level in range(8):
            # the longest order that was seen before chooses the weights
            longest = 0
            for j in range(_SLOTS):
                mixed = ((context[j] << 8 | node) * _HASH) & 0xFFFFFFFF
                slot = (j << bits) + ((mixed ^ mixed >> 15) & ((1 << bits) - 1))
                slots[j] = slot
                if j < _ORDERS and memory[slot] & SEEN:
                    longest = j
            p = mix(slots, memory, inputs, weights[longest], 0)
            bit = np.int64(values[i]) >> (7 - level) & 1
            if i >= begin:
                bit = code(state, data, p, bit)
            learn(slots, memory, inputs, weights[longest], p, bit, 4_194, 0, 250)
            node = 2 * node + bit
        values[i] = node & 255
