"""Labels: what tells layers of equal names apart, and those without a name.

Caffe takes layers by their place, and only a caffemodel goes by names. Here a net, its snapshots, packed files and
exports call a layer by its label, which is its name wherever that is the only one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def distinct_labels(names: Sequence[str], have_blobs: Iterable[bool]) -> list[str]:
    """Returns a label for each layer: its name; ``name#2``, ``name#3`` ... where others have it; ``#1`` without one.

    Layers with blobs are counted first: the nets of two phases, and the files of their weights, differ in the others.

    Args:
        names: of the layers of a net or a file, in order.
        have_blobs: whether each of them has blobs.
    """
    flags = list(have_blobs)
    order = sorted(range(len(names)), key=lambda index: not flags[index])
    taken: dict[str, int] = {}
    for index in order:
        label, number = names[index], 1
        while not label or label in taken:
            number += bool(label)
            label = f"{names[index]}#{number}"
        taken[label] = index
    found = {index: label for label, index in taken.items()}
    return [found[index] for index in range(len(names))]
