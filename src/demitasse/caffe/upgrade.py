"""Legacy forms -> one NetParameter, one SolverParameter. All knowledge of old files stands here."""

from __future__ import annotations

from demitasse.caffe import schema
from demitasse.errors import NetError

_SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "LarsSGD")


def upgrade_net(net: schema.Message) -> schema.Message:
    """Brings a NetParameter up to date in place and returns it.

    Input fields of the net become an ``Input`` layer; the three statistics of ``BatchNorm`` are not learnt.
    """
    if net.input:
        layers = [schema.LayerParameter.FromString(layer.SerializeToString()) for layer in net.layer]
        del net.layer[:]
        _input_layer(net)
        net.layer.extend(layers)
    for layer in net.layer:
        if layer.type == "BatchNorm":
            del layer.param[:]
            for _ in range(3):
                layer.param.add(lr_mult=0.0, decay_mult=0.0)
    return net


def _input_layer(net: schema.Message) -> None:
    layer = net.layer.add(name="input", type="Input")
    layer.top.extend(net.input)
    if net.input_shape:
        layer.input_param.shape.extend(net.input_shape)
    if len(net.input_dim) % 4:
        raise NetError(f"input_dim takes four values an input, found {len(net.input_dim)}")
    for start in range(0, len(net.input_dim), 4):
        layer.input_param.shape.add().dim.extend(net.input_dim[start : start + 4])
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def upgrade_solver(solver: schema.Message) -> schema.Message:
    """Turns the old enum ``solver_type`` into the string ``type``, in place, and returns the solver."""
    if solver.HasField("solver_type"):
        solver.type = _SOLVER_TYPES[solver.solver_type]
        solver.ClearField("solver_type")
    return solver
