"""Defines nets in Python: each layer type is a function of its bottoms that returns its tops.

A ``NetSpec`` names the tops, and ``to_proto`` collects the layers that they need::

    n = NetSpec()
    n.data, n.label = layers.DummyData(shape=[dict(dim=[64, 1, 28, 28]), dict(dim=[64])], ntop=2)
    n.ip = layers.InnerProduct(n.data, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = layers.SoftmaxWithLoss(n.ip, n.label)
    print(n.to_proto())
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from typing_extensions import override

from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.proto.caffe_pb2 import Message
from demitasse.pycaffe.spec_errors import FieldError, FieldTypeError, NotATopError, NoTopError
from demitasse.registry import suggest


class Top:
    """One output of a layer.

    Attributes:
        fn: the layer.
        n: the index of the output, from 0.
    """

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Message:
        """Returns the NetParameter of all layers that this top needs, with generated names."""
        return to_proto(self)


class Function:
    """A layer: its type, its inputs and its settings.

    Args:
        type_name: the layer's type.
        inputs: a :class:`Top` for each bottom.
        params: fields of the layer, or of the message for its type. Three are special: ``ntop``, the number of tops
            (1 by default), ``in_place``, whether the tops are the bottoms, and ``name``.

    Raises:
        NotATopError: an input is not a Top.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: Mapping[str, Any]) -> None:
        self.type_name = type_name
        self.inputs: tuple[Top, ...] = tuple(inputs)
        for index, top in enumerate(self.inputs):
            if not isinstance(top, Top):
                raise NotATopError(f"{type_name} input {index} is not a Top (type is {type(top)})")
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self) -> Message:
        """Returns the NetParameter of this layer and all layers that it needs, with generated names."""
        return to_proto(self)


class NetSpec:
    """The named tops of a net: ``n.conv1 = layers.Convolution(n.data, ...)``, or ``n["conv1"] = ...``.

    A layer without tops has a name, too: ``n.silence = layers.Silence(n.label, ntop=0)``.
    """

    tops: dict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setitem__(self, name: str, top: Top | Function) -> None:
        if not isinstance(top, Top | Function):
            raise NotATopError(f"{name!r} is a {type(top).__name__}; expected the top of a layer")
        self.tops[name] = top

    def __getitem__(self, name: str) -> Top | Function:
        if name not in self.tops:
            raise NoTopError(f"the net has no top {name!r}; {suggest(name, list(self.tops))}")
        return self.tops[name]

    def __delitem__(self, name: str) -> None:
        self[name]
        del self.tops[name]

    @override
    def __setattr__(self, name: str, top: Top | Function) -> None:
        self[name] = top

    def __getattr__(self, name: str) -> Any:
        if name == "tops" or name.startswith("__"):  # accessed while an object is copied, before it has any tops
            raise AttributeError(name)
        return self[name]

    @override
    def __delattr__(self, name: str) -> None:
        del self[name]

    def keys(self) -> list[str]:
        """Returns the names of the tops."""
        return list(self.tops)

    def vals(self) -> list[Top | Function]:
        """Returns the tops."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Changes settings of the layer with the top ``name``."""
        _function(self[name]).params.update(params)

    def to_proto(self) -> Message:
        """Returns the NetParameter of the layers that the named tops need; other tops get generated names."""
        return _SpecWriter({top: name for name, top in self.tops.items()}).net(self.tops.values())


class _SpecWriter:
    """Converts functions to LayerParameters, each after those that it needs."""

    def __init__(self, names: Mapping[Top | Function, str]) -> None:
        self.names = dict(names)
        self.counts: Counter[str] = Counter()
        self.layers: dict[Function, Message] = {}

    def net(self, tops: Iterable[Top | Function]) -> Message:
        for top in tops:
            self.add(_function(top))
        net = caffe_pb2.NetParameter()
        net.layer.extend(self.layers.values())
        return net

    def add(self, function: Function) -> None:
        waiting = [function]  # a stack, since nets may be deeper than Python's recursion limit
        while waiting:
            missing = [top.fn for top in waiting[-1].inputs if top.fn not in self.layers]
            if missing:
                waiting.append(missing[0])
            else:
                last = waiting.pop()
                if last not in self.layers:
                    self.layers[last] = self.layer(last)

    def layer(self, function: Function) -> Message:
        layer = caffe_pb2.LayerParameter(type=function.type_name)
        layer.bottom.extend(self.layers[top.fn].top[top.n] for top in function.inputs)
        layer.top.extend(layer.bottom if function.in_place else map(self.name, function.tops))
        layer.name = self.names.get(function) or self.name(function.tops[0] if function.tops else function)
        for field, value in function.params.items():
            _set(layer, field, value)
        return layer

    def name(self, item: Top | Function) -> str:
        if item not in self.names:
            kind = _function(item).type_name
            self.counts[kind] += 1
            self.names[item] = f"{kind}{self.counts[kind]}"
        return self.names[item]


def _function(item: Top | Function) -> Function:
    return item.fn if isinstance(item, Top) else item


def _set(layer: Message, field: str, value: object) -> None:
    """Sets a field of the message for the layer's type, or of the layer itself."""
    settings = _PARAM_NAMES.get(layer.type)
    own = getattr(layer, f"{settings}_param") if settings else layer
    of_layer = field in layer.DESCRIPTOR.fields_by_name and field not in own.DESCRIPTOR.fields_by_name
    try:
        assign_proto(layer if of_layer or field.endswith("param") else own, field, value)
    except (FieldError, FieldTypeError) as error:
        raise error.within(f"layer {layer.name!r} ({layer.type})") from error


def to_proto(*tops: Top | Function) -> Message:
    """Returns the NetParameter of all layers that the tops need, with generated names: ``Convolution1``, ..."""
    return _SpecWriter({}).net(tops)


def assign_proto(proto: Message, name: str, val: object) -> None:
    """Sets a field of a message: a message from a dictionary, a repeated field from a list or a single value.

    Raises:
        FieldError: the message has no such field.
        FieldTypeError: the value has the wrong type.
    """
    known = proto.DESCRIPTOR.fields_by_name
    if name not in known:
        raise FieldError(f"{proto.DESCRIPTOR.name} has no field {name!r}; {suggest(name, list(known))}")
    field = getattr(proto, name)
    if hasattr(field, "extend"):
        _fill(field, list(val) if isinstance(val, list | tuple) else [val], proto, name)
    elif isinstance(val, dict):
        for key, value in val.items():
            assign_proto(field, key, value)
    else:
        _try(proto, name, val, lambda: setattr(proto, name, val))


def _fill(field: Message, values: list[object], proto: Message, name: str) -> None:
    for value in values:
        if isinstance(value, dict):
            item = field.add()
            for key, part in value.items():
                assign_proto(item, key, part)
        else:
            _try(proto, name, value, partial(field.append, value))


def _try(proto: Message, name: str, val: object, assign: Callable[[], object]) -> None:
    try:
        assign()
    except (TypeError, ValueError, AttributeError) as error:
        raise FieldTypeError(f"{proto.DESCRIPTOR.name}.{name} cannot be set to {val!r}: {error}") from error


def param_name_dict() -> dict[str, str]:
    """Returns layer type -> name of the field with its settings, without ``_param``: Convolution -> convolution."""
    fields = [field for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields if field.name.endswith("_param")]
    return {field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param") for field in fields}


_PARAM_NAMES = param_name_dict()


class Layers:
    """Every layer type as a function: ``layers.Convolution(bottom, ..., num_output=20)``.

    The function returns the top of the layer, a tuple of tops for ``ntop`` of 2 or more, or the :class:`Function`
    for 0.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*bottoms: Top, **params: Any) -> Top | Function | tuple[Top, ...]:
            function = Function(name, bottoms, params)
            if function.ntop == 1:
                return function.tops[0]
            return function.tops or function

        return layer


class _Values:
    """The enum values of one parameter message."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def __getattr__(self, name: str) -> int:
        enums = self._message.DESCRIPTOR.enum_types
        values: dict[str, int] = {value.name: value.number for enum in enums for value in enum.values}
        if name not in values:
            raise FieldError(f"{self._message.DESCRIPTOR.name} has no value {name!r}; {suggest(name, values)}")
        return values[name]


class Parameters:
    """The values of enums in layers' settings: ``params.Pooling.MAX``."""

    def __getattr__(self, name: str) -> _Values:
        if name.startswith("__"):
            raise AttributeError(name)
        message = getattr(caffe_pb2, f"{name}Parameter", None)
        if message is None:
            known = [each.removesuffix("Parameter") for each in caffe_pb2.DESCRIPTOR.message_types_by_name]
            raise FieldError(f"there is no message {name}Parameter; {suggest(name, known)}")
        return _Values(message)


layers = Layers()
params = Parameters()
