"""The deploy form of a net: sources become inputs, and labels, losses and accuracies are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from demitasse.caffe import schema
from demitasse.caffe.layers import LAYERS
from demitasse.caffe.sources import SOURCES
from demitasse.errors import DataError, ExportError, UnknownNameError, UsageError, parameter
from demitasse.graph.graph import Shape
from demitasse.registry import suggest

# loss -> the number of its first bottoms that are not labels; 1 for all others
_SCORES = {"ContrastiveLoss": 2, "EuclideanLoss": 2}
_MEASURES = {"Accuracy", "SegAccuracy"}
# recurrent layer -> number of parts of its state; its bottoms have the time on axis 0 and the batch on axis 1
_STATES = {"LSTM": 2, "Lstm": 0, "RNN": 1}
# types that may move the batch to another axis
_MOVING = {"Permute", "Reshape", "Transpose"}
_FILLERS = ("weight_filler", "bias_filler", "filler")


def deploy(
    layers: Sequence[schema.LayerParameter],
    phase: int = schema.TEST,
    shapes: Mapping[str, Shape] | None = None,
    outputs: Collection[str] = (),
) -> schema.NetParameter:
    """Returns the layers that the outputs depend on, with Input layers before them.

    Args:
        layers: the layers of a net, filtered.
        phase: the phase in which sources are opened for the shapes that are not given.
        shapes: shapes of the tops of sources, by name.
        outputs: names of blobs; by default those that only losses, accuracies or no layers take.

    Returns:
        A NetParameter without fillers, include and exclude rules, and loss weights.

    Raises:
        UnknownNameError: ``shapes`` or ``outputs`` has a name that the net does not have.
        DataError: no shape is given for an input, and its data cannot be opened to find it.
        ExportError: no layer is left.
    """
    body = [layer for layer in layers if layer.type not in SOURCES]
    sources = [layer for layer in layers if layer.type in SOURCES]
    shapes = dict(shapes or {})
    _require_known(shapes, [top for layer in sources for top in layer.top], "input")
    _require_known(outputs, [top for layer in body for top in layer.top], "blob")
    kept, needed = _needed(body, outputs or _ends(body))
    if not kept:
        raise ExportError("the net has no outputs: its layers are only inputs, labels, losses and accuracies")
    result = schema.NetParameter()
    for source in sources:
        tops = [top for top in source.top if top in needed]
        if tops:
            result.layer.append(_input(source, tops, shapes, phase))
    result.layer.extend(map(_bare, kept))
    return result


def ends(net: schema.NetParameter) -> list[str]:
    """Returns the names of the blobs that no layer of a deploy form takes."""
    return _ends([layer for layer in net.layer if layer.type not in SOURCES])


def batch_axes(net: schema.NetParameter) -> dict[str, int]:
    """Returns input -> axis of its batch in a deploy form: 0, or 1 where it goes into a recurrent layer."""
    behind_time: set[str] = set()
    for layer in reversed(net.layer):
        if layer.type in _STATES:
            behind_time.update(_sequences(layer))
        elif layer.type not in _MOVING and behind_time.intersection(layer.top):
            behind_time.update(layer.bottom)
    return {top: int(top in behind_time) for layer in net.layer if layer.type in SOURCES for top in layer.top}


def _sequences(layer: schema.LayerParameter) -> list[str]:
    """Returns the bottoms of a recurrent layer without the static one, which has the batch on axis 0."""
    states = _STATES[layer.type] if layer.recurrent_param.expose_hidden else 0
    static = len(layer.bottom) == 3 + states
    return [*layer.bottom[:2], *layer.bottom[2 + static :]]


def _require_known(names: Iterable[str], known: list[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(f"the net has no {what} {name!r}; {suggest(name, known)}")


def _ends(body: Iterable[schema.LayerParameter]) -> list[str]:
    found: dict[str, None] = {}
    labels: set[str] = set()
    scores: set[str] = set()
    for layer in body:
        if _is_measure(layer):
            count = _SCORES.get(layer.type, 1 if layer.top else len(layer.bottom))
            scores.update(layer.bottom[:count])
            labels.update(layer.bottom[count:])
            continue
        for name in layer.bottom:
            found.pop(name, None)
        found.update(dict.fromkeys(layer.top))
    return [name for name in found if name in scores or name not in labels]


def _is_measure(layer: schema.LayerParameter) -> bool:
    """Tells whether a layer only measures the net, or has no tops."""
    is_loss = layer.type in LAYERS and LAYERS[layer.type].is_loss
    return is_loss or layer.type in _MEASURES or not (layer.top or layer.type == "Silence")


def _needed(
    body: Sequence[schema.LayerParameter], outputs: Iterable[str]
) -> tuple[list[schema.LayerParameter], set[str]]:
    """Returns the layers that the outputs depend on, in order, and the blobs that these need from sources."""
    needed, kept = set(outputs), []
    for layer in reversed(body):
        if needed.intersection(layer.top):
            needed.difference_update(layer.top)
            needed.update(layer.bottom)
            kept.append(layer)
    return kept[::-1], needed


def _input(
    source: schema.LayerParameter, tops: list[str], shapes: dict[str, Shape], phase: int
) -> schema.LayerParameter:
    missing = [top for top in tops if top not in shapes]
    if missing:
        shapes = {**_opened(source, phase, missing[0]), **shapes}
    layer = schema.LayerParameter(name=source.name, type="Input", top=tops)
    for top in tops:
        layer.input_param.shape.add().dim.extend(shapes[top])
    return layer


def _opened(source: schema.LayerParameter, phase: int, missing: str) -> dict[str, Shape]:
    hint = f"give the shape of {missing!r} ({parameter('input_shapes', f'{missing}=N,...')}) instead of the data"
    try:
        opened = SOURCES[source.type](source, phase)
    except DataError as error:
        raise DataError(f"layer {source.name!r}: {error}; {hint}") from error
    opened.close()
    if not all(opened.shapes):
        raise UsageError(f"layer {source.name!r}: has no shape; {hint}")
    return dict(zip(source.top, opened.shapes, strict=False))


def _bare(layer: schema.LayerParameter) -> schema.LayerParameter:
    """Returns a copy of a layer without the fields that only training and filtering need."""
    bare = schema.LayerParameter.FromString(layer.SerializeToString())
    for field in ("include", "exclude", "loss_weight", "propagate_down", "blobs"):
        bare.ClearField(field)
    bare.phase = schema.TEST
    for described, value in bare.ListFields():
        if described.message_type is not None and described.name.endswith("_param"):
            for filler in _FILLERS:
                if filler in described.message_type.fields_by_name:
                    value.ClearField(filler)
    return bare
