"""Converts V0 to V1: in nets of 2013, one message had the settings of all layer types, and padding was a layer."""

from __future__ import annotations

from demitasse.caffe import log, schema
from demitasse.caffe.upgrade.fields import set_field
from demitasse.errors import NetError
from demitasse.registry import suggest

_PADDING = "padding"
_PADDED = ("conv", "pool")
# types whose name is not the lower case of the name in V1
_TYPES = {"conv": "CONVOLUTION", "images": "IMAGE_DATA", "innerproduct": "INNER_PRODUCT", "pool": "POOLING"}
_SAME_TYPES = (
    "accuracy", "bnll", "concat", "data", "dropout", "euclidean_loss", "flatten", "hdf5_data", "hdf5_output", "im2col",
    "infogain_loss", "lrn", "multinomial_logistic_loss", "relu", "sigmoid", "softmax", "softmax_loss", "split", "tanh",
    "window_data",
)  # fmt: skip
TYPES = _TYPES | {name: name.upper() for name in _SAME_TYPES}

_COMMON = ("name", "type", "blobs", "blobs_lr", "weight_decay")
_TRANSFORM = ("scale", "meanfile", "cropsize", "mirror")
_WEIGHTS = ("num_output", "biasterm", "weight_filler", "bias_filler")
_WINDOW = ("pad", "kernelsize", "stride")
_DETECTION = ("det_fg_threshold", "det_bg_threshold", "det_fg_fraction", "det_context_pad", "det_crop_mode")
# type -> its message in V1, and the settings that move there
_SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "concat": ("concat_param", ("concat_dim",)),
    "conv": ("convolution_param", (*_WEIGHTS, *_WINDOW, "group")),
    "data": ("data_param", ("source", "batchsize", "rand_skip")),
    "dropout": ("dropout_param", ("dropout_ratio",)),
    "hdf5_data": ("hdf5_data_param", ("source", "batchsize")),
    "images": (
        "image_data_param",
        ("source", "batchsize", "rand_skip", "shuffle_images", "new_height", "new_width"),
    ),
    "infogain_loss": ("infogain_loss_param", ("source",)),
    "innerproduct": ("inner_product_param", _WEIGHTS),
    "lrn": ("lrn_param", ("local_size", "alpha", "beta", "k")),
    "pool": ("pooling_param", (*_WINDOW, "pool")),
    "window_data": ("window_data_param", ("source", "batchsize", *_DETECTION)),
}
_RENAMED = {
    "batchsize": "batch_size",
    "biasterm": "bias_term",
    "cropsize": "crop_size",
    "kernelsize": "kernel_size",
    "meanfile": "mean_file",
    "shuffle_images": "shuffle",
    **{field: field.removeprefix("det_") for field in _DETECTION},
}


def upgrade(net: schema.NetParameter, places: list[str]) -> None:
    """Converts the ``layers`` of V0 to V1, in place, and folds padding layers into the layers after them.

    A setting that a type does not have is dropped with a warning, as in Caffe.

    Args:
        net: the net.
        places: the place of each layer, for errors; the places of padding layers are removed.

    Raises:
        NetError: a type is unknown, a layer has the form V1, or padding comes before a layer other than conv or pool.
    """
    for outer, place in zip(net.layers, places, strict=True):
        if not outer.HasField("layer"):
            raise _error(place, outer.name, "has the form of 2014, but other layers have the form of 2013")
        kind = outer.layer.type
        if outer.layer.HasField("type") and kind not in TYPES and kind != _PADDING:
            near = suggest(kind, [*TYPES, _PADDING])
            raise _error(place, outer.layer.name, f"has the unknown type {kind!r}; {near}")
    _fold_padding(net, places)
    for outer, place in zip(net.layers, places, strict=True):
        _upgrade_layer(outer, place)


def _error(place: str, name: str, what: str) -> NetError:
    return NetError(f"{place}: layer {name!r} {what}")


def _fold_padding(net: schema.NetParameter, places: list[str]) -> None:
    """Gives the pad of padding layers to the conv and pool layers that take their tops, and removes them."""
    maker: dict[str, schema.V1LayerParameter] = {}
    for index, outer in enumerate(net.layers):
        for slot, bottom in enumerate(outer.bottom):
            padding = maker.get(bottom)
            if padding is None:
                continue
            kind = outer.layer.type
            if kind not in _PADDED or len(outer.bottom) != 1 or len(padding.bottom) != 1 or len(padding.top) != 1:
                what = f"of type {kind!r} follows the padding layer {padding.layer.name!r}"
                raise _error(places[index], outer.layer.name, f"{what}; expected conv or pool, with one blob")
            outer.layer.pad = padding.layer.pad
            outer.bottom[slot] = padding.bottom[0]
        for top in outer.top:
            maker.pop(top, None)
            if outer.layer.type == _PADDING:
                maker[top] = outer
    kept = [index for index, outer in enumerate(net.layers) if outer.layer.type != _PADDING]
    layers = [net.layers[index] for index in kept]
    del net.layers[:]
    net.layers.extend(layers)
    places[:] = [places[index] for index in kept]


def _upgrade_layer(outer: schema.V1LayerParameter, place: str) -> None:
    """Moves the fields of the inner layer to the outer one."""
    inner = outer.layer
    if inner.HasField("type"):
        outer.type = outer.LayerType.Value(TYPES[inner.type])
    if inner.HasField("name"):
        outer.name = inner.name
    for field in ("blobs", "blobs_lr", "weight_decay"):
        outer.ClearField(field)
        set_field(outer, field, getattr(inner, field))
    for described, value in inner.ListFields():
        if described.name not in _COMMON:
            _move(outer, described.name, value, place)
    outer.ClearField("layer")


def _move(outer: schema.V1LayerParameter, field: str, value: object, place: str) -> None:
    kind = outer.layer.type
    message, fields = _SETTINGS.get(kind, ("", ()))
    name = _RENAMED.get(field, field)
    try:
        if field in _TRANSFORM:
            set_field(outer.transform_param, name, value)
        elif field in fields:
            set_field(getattr(outer, message), name, value)
        elif field == "hdf5_output_param" and kind == "hdf5_output":
            set_field(outer, name, value)
        else:
            log.warning("upgrade_proto.cpp:137", f"{place}: layer {outer.name!r}: its type {kind!r} has no {field}")
    except ValueError as error:
        raise _error(place, outer.name, f"has {field} {value}: {error}") from error
