"""The nets of a solver: the one it trains and those it tests, which share their blobs with it."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.caffe import log, prototxt, schema
from demitasse.caffe.net import Net
from demitasse.errors import NetError, PrototxtError


def train_net(param: schema.Message, origin: str) -> Net:
    """Builds the net that a SolverParameter trains.

    Args:
        param: the solver.
        origin: its file, for messages.

    Raises:
        PrototxtError: it names no training net, or several.
        NetError: the net cannot be built.
    """
    fields = ("net", "net_param", "train_net", "train_net_param")
    given = [name for name in fields if param.HasField(name)]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise PrototxtError(f"{origin}: expected one training net (one of {', '.join(fields)}), found {found}")
    return _build("training net", param, given[0], getattr(param, given[0]), schema.TRAIN, param.train_state)


def test_nets(param: schema.Message, origin: str) -> list[Net]:
    """Builds the test nets in Caffe's order: test_net_param, test_net, then the rest of test_iter for net.

    Raises:
        PrototxtError: the numbers of test_iter and test_state do not fit, or test_interval is missing.
        NetError: a net cannot be built.
    """
    named = [("test_net_param", spec) for spec in param.test_net_param]
    named += [("test_net", path) for path in param.test_net]
    generic = next((name for name in ("net_param", "net") if param.HasField(name)), None)
    count = len(param.test_iter)
    if count < len(named) or (count > len(named) and generic is None):
        raise PrototxtError(f"{origin}: {count} test_iter for {len(named)} test nets; give one for each")
    if generic:
        named += [(generic, getattr(param, generic))] * (count - len(named))
    if param.test_state and len(param.test_state) != count:
        raise PrototxtError(f"{origin}: {len(param.test_state)} test_state for {count} test nets")
    if count and param.test_interval <= 0:
        raise PrototxtError(f"{origin}: test_iter is given, but test_interval is {param.test_interval}")
    states = list(param.test_state) or [schema.NetState()] * count
    return [
        _build(f"test net (#{index})", param, field, where, schema.TEST, state)
        for index, ((field, where), state) in enumerate(zip(named, states, strict=True))
    ]


def _build(
    what: str, param: schema.Message, field: str, where: schema.Message, phase: int, state: schema.Message
) -> Net:
    in_file = isinstance(where, str)
    log.info("solver.cpp:87", f"Creating {what} from {field}" + (f" file: {where}" if in_file else ""))
    spec = prototxt.read_net(where) if in_file else where
    merged = schema.NetState()
    merged.MergeFrom(spec.state)
    merged.MergeFrom(state)
    lines = prototxt.layer_lines(where) if in_file else None
    net = Net(spec, phase, merged.level, list(merged.stage), where if in_file else field, lines)
    log.describe(net)
    return net


def place(net: Net, device: torch.device) -> Net:
    """Moves a net to a device, in the memory format that is fastest there; its tensors stay the same objects."""
    if device.type == "cpu":
        return net.channels_last()
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = tensor.data.to(device)
    return net


def share(test: Net, train: Net) -> None:
    """Lets the layers of a test net hold the very blobs of the training net's layers of the same name.

    Raises:
        NetError: the blobs of two such layers differ; says both shapes.
    """
    known = train.named_layers()
    for name, layer in test.named_layers().items():
        if name not in known or not layer.blob_names:
            continue
        ours, theirs = layer.blobs(), known[name].blobs()
        if [blob.shape for blob in ours] != [blob.shape for blob in theirs]:
            raise NetError(
                f"layer {name!r}: the test net's blobs have shapes {_shapes(ours)}, "
                f"the training net's {_shapes(theirs)}"
            )
        for attribute, blob in zip(layer.blob_names, theirs, strict=True):
            layer.share_blob(attribute, blob)


def _shapes(blobs: list[Tensor]) -> str:
    return ", ".join(str(list(blob.shape)) for blob in blobs) or "none"
