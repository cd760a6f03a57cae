"""Drops channels that nothing needs: those that no weight takes, and those that are always the same number.

Pruned nets have many of them. With them go their rows and columns, so that gaps between weights become short.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from demitasse.export.c_source.evaluation import limited
from demitasse.export.c_source.net import CNet, WeightedSum
from demitasse.graph.weights import Doubles

Flags = npt.NDArray[np.bool_]


def without_dead_channels(net: CNet) -> CNet:
    """Returns the net without the channels that can be dropped; what it computes is the same but for rounding.

    Channels are dropped between convolutions and inner products alone, where nothing else takes them.
    """
    net = CNet(
        net.name,
        [replace(tensor) for tensor in net.tensors],
        [replace(operation, inputs=list(operation.inputs)) for operation in net.operations],
        dict(net.inputs),
        dict(net.outputs),
        set(net.softmax),
    )
    while any(_shrunk(net, operation) for operation in net.operations if isinstance(operation, WeightedSum)):
        pass
    return net


def _shrunk(net: CNet, operation: WeightedSum) -> bool:
    """Drops the dead channels of a result; tells whether there were any."""
    number = operation.output
    users = [user for user in net.users(number) if isinstance(user, WeightedSum)]
    simple = operation.groups == 1 and number not in net.outputs.values() and net.tensors[number].home is None
    if not simple or not users or len(users) < len(net.users(number)) or any(user.groups > 1 for user in users):
        return False
    parts = [_columns(net, user) for user in users]
    needed = np.any([part.any((0, 2)) for part in parts], 0)
    constant = ~operation.weight.any(1)
    values = limited(operation.limits, np.where(constant, operation.bias, 0.0)[None, :, None, None]).reshape(-1)
    edged = any(user.windows and any(user.windows.pad) for user in users)
    dead = ~needed | (constant & ((values == 0) | (not edged and not _mixes_zeros(operation))))
    if dead.all():  # one is left, so that no tensor is empty
        dead[0] = False
    if not dead.any():
        return False
    folded = np.where(dead & needed, values, 0.0)
    for user, part in zip(users, parts, strict=True):
        user.bias = user.bias + np.einsum("oci,c->o", part, folded)
        user.weight = part[:, ~dead].reshape(len(part), -1)
    limits = operation.limits
    if limits.slopes is not None and len(limits.slopes) == len(dead):
        operation.limits = replace(limits, slopes=limits.slopes[~dead])
    operation.weight, operation.bias = operation.weight[~dead], operation.bias[~dead]
    net.tensors[number].channels = int((~dead).sum())
    return True


def _columns(net: CNet, user: WeightedSum) -> Doubles:
    """Returns the weight by channels of its input, (outputs, channels, window or plane)."""
    return user.weight.reshape(len(user.weight), net.tensors[user.input].channels, -1)


def _mixes_zeros(operation: WeightedSum) -> bool:
    """Tells whether pooling adds zeros from around the plane, so that the mean of a constant is another."""
    pooling = operation.pooling
    return pooling is not None and pooling.method == "AVE" and any(pooling.windows.pad)
