"""Finds the hidden units of a Caffe net in its definition, reorders them, and removes dead ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from demitasse.caffe import schema
from demitasse.caffe.layer_rule import COMPRESSING
from demitasse.caffe.upgrade import upgrade_layers, upgrade_net
from demitasse.errors import WeightsError
from demitasse.packed.order import BUDGET, reorder
from demitasse.packed.tensor import Tensor
from demitasse.packed.unit_flow import Flow, fix, links, not_silent
from demitasse.packed.units import Hidden, Link

Tensors = Mapping[str, Tensor]


class ReorderedNet(NamedTuple):
    """A net and the blobs that belong to it.

    Attributes:
        net: the definition, upgraded to today's form, with the new ``num_output`` of each layer.
        tensors: the blobs, in the order in which they were given.
    """

    net: schema.NetParameter
    tensors: list[Tensor]


def reorder_units(
    net: schema.NetParameter,
    tensors: Sequence[Tensor],
    search: bool = True,
    remove_dead: bool = False,
    budget: int = BUDGET,
) -> ReorderedNet:
    """Returns a net that computes the same, with blobs that take fewer bytes in a .demi file.

    Args:
        net: the definition; it is not changed.
        tensors: the blobs, named ``layer.index``.
        search: see :func:`demitasse.packed.order.reorder`.
        remove_dead: see there; layers that lose units get a smaller ``num_output``.
        budget: see there.

    Raises:
        WeightsError: see :func:`find_links`.
    """
    moving = find_links(net, {tensor.name: tensor for tensor in tensors})
    found = reorder(tensors, moving, search, remove_dead, budget)
    counts = {link.units[0].rpartition(".")[0]: len(order) for link, order in zip(moving, found.orders, strict=True)}
    changed = upgrade_layers(schema.NetParameter.FromString(net.SerializeToString()))
    for layer in changed.layer:
        if layer.name in counts:
            _settings(layer).num_output = counts[layer.name]
    return ReorderedNet(changed, found.tensors)


def find_links(net: schema.NetParameter, tensors: Tensors) -> list[Link]:
    """Follows the units of each convolution and inner product to the next one, through the layers of all phases.

    Layers that act on each channel separately may come in between: activations, Pooling, Dropout, LRN within
    channels, BatchNorm, Scale, Bias, Flatten. Units keep their order where any other layer takes them (Eltwise, Concat,
    LRN across channels, a loss), where no layer takes them (outputs of the net), and where weights are grouped,
    transposed, shared, or have four axes in an inner product, as in files from before 2014.

    Args:
        net: the definition.
        tensors: the blobs by name, ``layer.index``.

    Returns:
        The hidden units that may move, from the first layer to the last.

    Raises:
        WeightsError: a convolution or inner product has no blobs, or its blobs have another number of outputs.
    """
    upgraded = upgrade_net(schema.NetParameter.FromString(net.SerializeToString()))
    flows: dict[str, Flow | None] = {}
    unused: set[str] = set()
    made: list[Hidden] = []
    owners = Counter(param.name for layer in upgraded.layer for param in layer.param if param.name)
    for layer in upgraded.layer:
        given = [flows.get(name) for name in layer.bottom]
        unused -= {*layer.bottom}
        shared = any(owners[param.name] > 1 for param in layer.param) or not _is_alone(layer, tensors)
        plain = len(given) == len(layer.top) == 1 and not shared and not any(layer.loss_weight)
        follow = _FOLLOW.get(layer.type) if plain else None
        top = follow(layer, given[0], tensors) if follow else None
        if top and top.hidden not in made:
            made.append(top.hidden)
        if not follow:
            fix(*given)
        for name in layer.top:
            if name in flows and name not in layer.bottom:  # it is the top of two layers, each in its own phase
                fix(flows[name], top)
            flows[name] = top
        unused |= {*layer.top}
    fix(*(flows[name] for name in unused))
    return links(made)


def _is_alone(layer: schema.LayerParameter, tensors: Tensors) -> bool:
    """Tells whether no other layer has the same name; see :mod:`demitasse.caffe.definition.labels`."""
    return bool(layer.name) and f"{layer.name}#2.0" not in tensors


def _settings(layer: schema.LayerParameter) -> schema.InnerProductParameter | schema.ConvolutionParameter:
    return layer.inner_product_param if "InnerProduct" in layer.type else layer.convolution_param


def _weighted(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    """Ends the units of the bottom and begins those of the layer."""
    settings, dense = _settings(layer), "InnerProduct" in layer.type
    weight, *others = names = _blobs(layer, tensors)
    shape = tensors[weight].shape
    odd = layer.inner_product_param.transpose or len(shape) != 2 if dense else layer.convolution_param.group != 1
    odd = odd or any(tensors[name].shape[:1] != shape[:1] for name in others)
    if odd or settings.axis != 1:
        fix(bottom)
        return None
    if shape[0] != settings.num_output:
        raise WeightsError(f"{weight} has shape {list(shape)}; expected {settings.num_output} rows, its num_output")
    biases = others[: int(settings.bias_term)]
    masks = others[len(biases) :]
    if bottom:
        bottom.end([weight, *masks[:1]])
    return Flow(Hidden(settings.num_output, names), (weight, *biases))


def _blobs(layer: schema.LayerParameter, tensors: Tensors) -> list[str]:
    """Returns the names of weight, bias, and their masks.

    Raises:
        WeightsError: the layer has no blobs, or another number of them.
    """
    found = [name for name in (f"{layer.name}.{index}" for index in range(5)) if name in tensors]
    plain = 1 + int(_settings(layer).bias_term)
    allowed = [plain, 2 * plain] if layer.type in COMPRESSING else [plain]
    if len(found) not in allowed:
        raise WeightsError(
            f"layer {layer.name!r} of type {layer.type} has blobs {found}; expected {' or '.join(map(str, allowed))}"
        )
    return found


def _same(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    return bottom


def _no_zeros(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    return not_silent(bottom)


def _flatten(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    if (layer.flatten_param.axis, layer.flatten_param.end_axis) == (1, -1):
        return bottom
    return fix(bottom)


def _lrn(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    if layer.lrn_param.norm_region == layer.lrn_param.WITHIN_CHANNEL:
        return bottom
    return fix(bottom)


def _by_channel(
    layer: schema.LayerParameter,
    bottom: Flow | None,
    tensors: Tensors,
    blobs: Iterable[int],
    silent: Sequence[int] | None = None,
) -> Flow | None:
    """Adds the blobs of a layer that have a value for each unit.

    Args:
        layer: the layer.
        bottom: what its bottom carries.
        tensors: all blobs.
        blobs: indices of the layer's blobs that have a value for each unit.
        silent: indices of those that silence a unit if they are zero; None if the blobs before still decide that.
    """
    if not bottom:
        return None
    names = [f"{layer.name}.{index}" for index in blobs]
    if any(name not in tensors or tensors[name].shape != (bottom.hidden.count,) for name in names):
        return fix(bottom)
    return bottom.take_along(names, None if silent is None else [f"{layer.name}.{index}" for index in silent])


def _prelu(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    return bottom if layer.prelu_param.channel_shared else _by_channel(layer, bottom, tensors, [0])


def _batch_norm(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    scaled = f"{layer.name}.4" in tensors  # NVIDIA's dialect, with scale and shift of its own
    return _by_channel(layer, bottom, tensors, [0, 1, 3, 4] if scaled else [0, 1], (3, 4) if scaled else ())


def _scale(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    if layer.scale_param.axis != 1:
        return fix(bottom)
    count = 1 + int(layer.scale_param.bias_term)
    return _by_channel(layer, bottom, tensors, range(count), range(count))


def _bias(layer: schema.LayerParameter, bottom: Flow | None, tensors: Tensors) -> Flow | None:
    return _by_channel(layer, bottom, tensors, [0], ()) if layer.bias_param.axis == 1 else fix(bottom)


_FOLLOW: dict[str, Callable[[schema.LayerParameter, Flow | None, Tensors], Flow | None]] = {
    **dict.fromkeys(("Convolution", "InnerProduct", *COMPRESSING), _weighted),
    **dict.fromkeys(("ReLU", "TanH", "Dropout", "Pooling"), _same),
    **dict.fromkeys(("Sigmoid", "Power"), _no_zeros),
    "Flatten": _flatten,
    "LRN": _lrn,
    "PReLU": _prelu,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Bias": _bias,
}
