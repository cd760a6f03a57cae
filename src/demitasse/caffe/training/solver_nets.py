"""The nets of a solver: the training net, and the test nets, which share its blobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.caffe import log, net_log, schema
from demitasse.caffe.layers import Layer
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError, PrototxtError


def train_net(param: schema.SolverParameter, origin: str) -> Net:
    """Builds the net that a SolverParameter trains.

    Args:
        param: the solver.
        origin: its file, for messages.

    Raises:
        PrototxtError: the solver has no training net, or several.
        NetError: the net cannot be built.
    """
    fields = ("net", "net_param", "train_net", "train_net_param")
    given = [name for name in fields if param.HasField(name)]
    if len(given) != 1:
        found = ", ".join(given) or "no training net"
        raise PrototxtError(f"{origin}: found {found}; expected exactly one of {', '.join(fields)}")
    return _build("training net", param, given[0], getattr(param, given[0]), schema.TRAIN, param.train_state)


def test_nets(param: schema.SolverParameter, origin: str) -> list[Net]:
    """Builds the test nets in Caffe's order: test_net_param, test_net, then net for the remaining test_iter.

    Raises:
        PrototxtError: the number of test_iter or test_state does not match, a test_iter is not positive, or
            test_interval is missing.
        NetError: a net cannot be built.
    """
    named: list[tuple[str, str | schema.NetParameter]] = [("test_net_param", spec) for spec in param.test_net_param]
    named += [("test_net", path) for path in param.test_net]
    generic = next((name for name in ("net_param", "net") if param.HasField(name)), None)
    count = len(param.test_iter)
    if count < len(named) or (count > len(named) and generic is None):
        raise PrototxtError(f"{origin}: found {count} test_iter for {len(named)} test nets; expected one for each")
    if generic:
        named += [(generic, getattr(param, generic))] * (count - len(named))
    if param.test_state and len(param.test_state) != count:
        raise PrototxtError(
            f"{origin}: found {len(param.test_state)} test_state for {count} test nets; expected one for each"
        )
    if min(param.test_iter, default=1) < 1:
        raise PrototxtError(f"{origin}: test_iter is {min(param.test_iter)}; expected 1 or more")
    if count and param.test_interval <= 0:
        raise PrototxtError(f"{origin}: test_interval is {param.test_interval}; expected 1 or more with test_iter")
    states = list(param.test_state) or [schema.NetState()] * count
    return [
        _build(f"test net (#{index})", param, field, where, schema.TEST, state)
        for index, ((field, where), state) in enumerate(zip(named, states, strict=True))
    ]


def _build(
    what: str,
    param: schema.SolverParameter,
    field: str,
    where: str | schema.NetParameter,
    phase: int,
    state: schema.NetState,
) -> Net:
    path = where if isinstance(where, str) else None
    log.info("solver.cpp:87", f"Creating {what} from {field}" + (f" file: {path}" if path is not None else ""))
    spec = schema.NetParameter()
    spec.CopyFrom(prototxt.read_net(where) if isinstance(where, str) else where)
    # the solver's state overrides the net's own, which overrides the phase
    merged = schema.NetState(phase=phase)
    merged.MergeFrom(spec.state)
    merged.MergeFrom(state)
    spec.state.CopyFrom(merged)
    places = prototxt.places(path) if path is not None else None
    net = Net(spec, phase=None, origin=field if path is None else path, places=places)
    net_log.describe(net)
    return net


def move_to_device(net: Net, device: torch.device) -> Net:
    """Moves a net to a device, in the fastest memory format there; its tensors remain the same objects."""
    if device.type == "cpu":
        return net.channels_last()
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = tensor.data.to(device)
    return net


class _LayerBlob(NamedTuple):
    """A blob of a layer: the layer, and its attribute."""

    layer: Layer
    name: str

    @property
    def tensor(self) -> Tensor:
        return self.layer.owner(self.name)


def share_blobs(test: Net, train: Net) -> list[str]:
    """Shares the blobs of a training net with the layers of a test net.

    Layers with the same name share their blobs. A layer that the training net does not have gets the blobs that it
    shares with another layer by ``param { name }``, and their masks; in Caffe it keeps its initial values.

    Returns:
        The labels of layers with a blob that the training net does not have, which keeps its initial values.

    Raises:
        NetError: the blobs of two such layers differ; the message has both shapes.
    """
    pairs = _matches(test, train, "test net", "training net")
    for mine, theirs in pairs:
        mine.layer.share_blob(mine.name, theirs.tensor)
    found = {(id(mine.layer), mine.name) for mine, _ in pairs}
    layers = test.named_layers().items()
    return [label for label, layer in layers if any((id(layer), name) not in found for name in layer.blob_names)]


def share_values(net: Net, other: Net) -> None:
    """Shares the memory of another net's blobs, matched as in :func:`share_blobs`, but not their gradients.

    Raises:
        NetError: the blobs of two such layers differ; the message has both shapes.
    """
    for mine, theirs in _matches(net, other, "net", "other net"):
        mine.tensor.data = theirs.tensor.data.reshape(mine.tensor.shape)


def _matches(net: Net, other: Net, what: str, other_what: str) -> list[tuple[_LayerBlob, _LayerBlob]]:
    """Returns pairs of matching blobs of two nets."""
    pairs = [
        (_LayerBlob(layer, name), _LayerBlob(theirs, name))
        for layer, theirs in _common(net, other, what, other_what)
        for name in layer.blob_names
    ]
    given = {id(mine.tensor): theirs for mine, theirs in pairs}
    for param, owner in net.shared_params.items():
        if param in other.shared_params:
            mine, theirs = _LayerBlob(*owner), _LayerBlob(*other.shared_params[param])
            if mine.tensor.numel() != theirs.tensor.numel():
                raise NetError(
                    f"parameter {param!r}: the {what}'s has shape {list(mine.tensor.shape)}, "
                    f"the {other_what}'s {list(theirs.tensor.shape)}"
                )
            given.setdefault(id(mine.tensor), theirs)
    known = other.named_layers()
    for label, layer in net.named_layers().items():
        if label not in known:
            pairs += _shared(layer, given)
    return pairs


def _shared(layer: Layer, given: Mapping[int, _LayerBlob]) -> Iterator[tuple[_LayerBlob, _LayerBlob]]:
    """Yields the blobs of a layer that it shares with a matched layer, paired with their match, and their masks."""
    for name in layer.blob_names:
        mine = _LayerBlob(layer, name)
        theirs = given.get(id(mine.tensor))
        if theirs is None:
            continue
        yield mine, theirs
        mask, their_mask = (f"{place.name}_mask" for place in (mine, theirs))
        if mask in layer.blob_names and their_mask in theirs.layer.blob_names:
            yield _LayerBlob(layer, mask), _LayerBlob(theirs.layer, their_mask)


def _common(net: Net, other: Net, what: str, other_what: str) -> Iterator[tuple[Layer, Layer]]:
    """Yields the pairs of layers with the same label in two nets, after checking the shapes of their blobs."""
    known = other.named_layers()
    for label, layer in net.named_layers().items():
        if label not in known or not layer.blob_names:
            continue
        ours, theirs = layer.blobs(), known[label].blobs()
        if [blob.shape for blob in ours] != [blob.shape for blob in theirs]:
            raise NetError(
                f"layer {label!r}: the {what}'s blobs have shapes {_shapes(ours)}, the {other_what}'s {_shapes(theirs)}"
            )
        yield layer, known[label]


def _shapes(blobs: list[Tensor]) -> str:
    return ", ".join(str(list(blob.shape)) for blob in blobs) or "none"
