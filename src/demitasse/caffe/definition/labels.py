"""Labels: unique names for layers, also for layers that share a name or have none.

Caffe identifies layers by their position, and only uses names in caffemodels. Here a net, its snapshots, packed files
and exports identify a layer by its label, which is its name if no other layer has the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def distinct_labels(names: Sequence[str], have_blobs: Iterable[bool]) -> list[str]:
    """Returns a label for each layer: its name; ``name#2``, ``name#3`` ... if repeated; ``#1``, ``#2`` ... if empty.

    Layers with blobs are numbered first, because the nets of two phases, and their files of weights, differ in the
    other layers.

    Args:
        names: the names of the layers of a net or a file, in order.
        have_blobs: for each layer, whether it has blobs.
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
