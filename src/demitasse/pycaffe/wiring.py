"""Plans the backward pass: which layers run backward, and for which of their bottoms."""

from __future__ import annotations

from typing import NamedTuple

from demitasse.caffe.net import Net


class Wiring(NamedTuple):
    """The plan of the backward pass, with one entry for each layer, including data layers.

    Attributes:
        layers: whether the layer runs backward.
        bottoms: for each bottom of the layer, whether to compute its gradient.
    """

    layers: list[bool]
    bottoms: list[list[bool]]


def wiring(net: Net) -> Wiring:
    """Returns Caffe's plan: layers that learn, and those between them and a loss; all with ``force_backward``."""
    found = _towards_data(net)
    _towards_loss(net, found)
    if net.force_backward:
        found.layers[:] = [True] * len(found.layers)
        found.bottoms[:] = [[True] * len(spec.bottom) for spec in net.spec.layer]
    return found


def _towards_data(net: Net) -> Wiring:
    """Selects the layers that learn, or that have a bottom that depends on a layer that learns."""
    depends: dict[str, bool] = {}
    found = Wiring([], [])
    layers = net.named_layers()
    for label, spec in zip(net.labels, net.spec.layer, strict=True):
        given = list(spec.propagate_down) or [depends[name] for name in spec.bottom]
        learns = label in layers and any(p.requires_grad for p in layers[label].parameters())
        found.bottoms.append(given)
        found.layers.append(learns or any(depends[name] for name in spec.bottom))
        depends.update(dict.fromkeys(spec.top, found.layers[-1]))
    return found


def _towards_loss(net: Net, found: Wiring) -> None:
    """Deselects layers that no loss depends on, and layers whose tops need no gradient."""
    under_loss, unwanted = set(net.losses), set()
    for index in reversed(range(len(found.layers))):
        spec = net.spec.layer[index]
        contributes = any(name in under_loss for name in spec.top)
        skipped = bool(spec.top) and all(name in unwanted for name in spec.top)
        if skipped or not contributes:
            found.layers[index] = False
        if skipped:
            found.bottoms[index] = [False] * len(spec.bottom)
        for place, name in enumerate(spec.bottom):
            if contributes:
                under_loss.add(name)
            else:
                found.bottoms[index][place] = False
            if not found.bottoms[index][place]:
                unwanted.add(name)
