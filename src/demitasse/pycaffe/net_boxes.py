"""The content of a net's picture: a box for each layer with a few facts, and an edge for each blob."""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.pycaffe.proto.caffe_pb2 import Message
from demitasse.report.net_picture import Box, Section
from demitasse.report.style import COLOURS

_CROSS = " \N{MULTIPLICATION SIGN} "
Edges = dict[tuple[int, int], str]

_BROWN, _ORANGE, _TEAL, _GREEN, _RED, _PURPLE, _YELLOW, _GREY = COLOURS
_KINDS = {
    _ORANGE: ("Convolution", "Im2col"),
    _PURPLE: ("InnerProduct", "Embed", "LSTM", "RNN"),
    _TEAL: ("Pooling", "SPP"),
    _RED: ("Loss", "Accuracy"),
    _YELLOW: ("BatchNorm", "LRN", "MVN", "Normalize", "Scale", "Bias"),
    _GREEN: (
        "ReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "BNLL", "Power", "Exp", "Log", "Dropout", "Threshold", "Clip",
        "Swish",
    ),
}  # fmt: skip


def boxes(layers: Sequence[Message], display_lrm: bool = False) -> tuple[list[Box], Edges]:
    """Returns the boxes of layers, in order, and the edges between them with their labels.

    A layer that works in place on the only output of another is in the same box.
    """
    groups: list[list[Message]] = []
    writers: dict[str, list[int]] = {}
    edges: Edges = {}
    for layer in layers:
        sources = [(writer, blob) for blob in layer.bottom for writer in writers.get(blob, [])]
        if _joins(layer, [groups[writer] for writer, _ in sources]):
            groups[sources[0][0]].append(layer)
            continue
        number = len(groups)
        groups.append([layer])
        for writer, blob in sources:
            notes = [edges.get((writer, number), ""), _note(groups[writer][0], blob)]
            edges[writer, number] = ", ".join(filter(None, notes))
        for blob in layer.top:
            # a net with both phases has a data layer for each phase, with the same tops
            writers[blob] = [number] if blob in layer.bottom else [*writers.get(blob, []), number]
    return [_box(group, display_lrm) for group in groups], edges


def _joins(layer: Message, sources: Sequence[Sequence[Message]]) -> bool:
    in_place = len(layer.bottom) == 1 and list(layer.top) == list(layer.bottom)
    return in_place and len(sources) == 1 and len(sources[0][0].top) == 1


def _note(writer: Message, blob: str) -> str:
    return "" if list(writer.top) == [writer.name] else blob


def _box(group: Sequence[Message], display_lrm: bool) -> Box:
    first, *others = group
    lines = tuple(filter(None, [first.type, *facts(first), _multipliers(first) if display_lrm else ""]))
    sections = [Section(first.name, lines, _colour(first))]
    for layer in others:
        line = " · ".join([layer.name, layer.type, *facts(layer)])
        sections.append(Section("", (line,), _colour(layer)))
    return Box(tuple(sections))


def _colour(layer: Message) -> str:
    if not layer.bottom:
        return _GREY
    return next((colour for colour, ends in _KINDS.items() if layer.type.endswith(ends)), _BROWN)


def facts(layer: Message) -> list[str]:
    """Returns the most important settings of a layer, as short phrases."""
    kind = layer.type
    if kind.endswith("Convolution"):
        found = [_window(layer.convolution_param, f"{layer.convolution_param.num_output} · ")]
        if layer.convolution_param.group > 1:
            found.append(f"{layer.convolution_param.group} groups")
        return found + _compression(layer)
    if kind.endswith("InnerProduct"):
        return [f"{layer.inner_product_param.num_output} outputs", *_compression(layer)]
    if kind == "Pooling":
        settings = layer.pooling_param
        method = type(settings).PoolMethod.Name(settings.pool)
        return [f"{method} global" if settings.global_pooling else _window(settings, f"{method} ")]
    if kind == "Dropout":
        return [f"{layer.dropout_param.dropout_ratio:g}"]
    if kind == "Eltwise":
        return [type(layer.eltwise_param).EltwiseOp.Name(layer.eltwise_param.operation)]
    if kind == "LRN":
        return [f"over {layer.lrn_param.local_size}"]
    return _amount(layer)


def _amount(layer: Message) -> list[str]:
    """Returns the shapes of inputs, or the batch size of a data layer."""
    if layer.type in ("Input", "DummyData"):
        shapes = layer.input_param.shape if layer.type == "Input" else layer.dummy_data_param.shape
        return [_CROSS.join(map(str, shape.dim)) for shape in shapes]
    for settings in ("data_param", "hdf5_data_param", "image_data_param", "memory_data_param", "window_data_param"):
        if layer.HasField(settings):
            return [f"batch {getattr(layer, settings).batch_size}"]
    return []


def _compression(layer: Message) -> list[str]:
    """Returns the settings of surgery or quantization; an empty list for other layers."""
    family = "inner_product_param" if layer.type.endswith("InnerProduct") else "convolution_param"
    for prefix in ("dns", "c", "inq"):
        name = f"{prefix}{'' if prefix == 'c' else '_'}{family}"
        if layer.HasField(name):
            settings = getattr(layer, name)
            if prefix == "inq":
                return ["portion " + " to ".join(f"{portion:g}" for portion in settings.portion)]
            return [f"c_rate {settings.c_rate:g}"]
    return []


def _window(settings: Message, before: str) -> str:
    kernel = _sizes(settings, "kernel_size", "kernel", 1)
    stride, pad = _sizes(settings, "stride", "stride", 1), _sizes(settings, "pad", "pad", 0)
    parts = [before + _times(kernel)]
    parts += [f"stride {_short(stride)}"] if set(stride) != {1} else []
    parts += [f"pad {_short(pad)}"] if set(pad) != {0} else []
    return ", ".join(parts)


def _short(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else _times(sizes)


def _sizes(settings: Message, field: str, prefix: str, default: int) -> list[int]:
    if settings.HasField(f"{prefix}_h") or settings.HasField(f"{prefix}_w"):
        return [getattr(settings, f"{prefix}_h"), getattr(settings, f"{prefix}_w")]
    value = getattr(settings, field)
    sizes = [value] if isinstance(value, int) else list(value)
    return (sizes or [default]) * (2 if len(sizes) < 2 else 1)


def _times(sizes: Sequence[int]) -> str:
    return _CROSS.join(map(str, sizes))


def _multipliers(layer: Message) -> str:
    rates = [param.lr_mult for param in layer.param]
    return f"lr mult {', '.join(f'{rate:g}' for rate in rates)}" if rates else ""
