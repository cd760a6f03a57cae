"""Converts V1 to the current form: in ``layers`` of 2014, the type is an enum, and rates are in separate lists."""

from __future__ import annotations

from demitasse.caffe import schema
from demitasse.caffe.upgrade.fields import set_field

# current types that are not the V1 name in title case without underscores
_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BN": "BN",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "ROI_POOLING": "ROIPooling",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
# list in V1 -> field of the current ParamSpec
_PARAM = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
# layers that read images, and the message with their settings before there was transform_param
_IMAGES = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")


def layer_type(name: str) -> str:
    """Returns the current type for a type of V1: ``INNER_PRODUCT`` -> ``InnerProduct``."""
    return _TYPES.get(name, name.title().replace("_", ""))


def move_transforms(net: schema.NetParameter) -> None:
    """Moves the image settings of layers that read images to ``transform_param``, in place.

    If one layer of the net needs it, all of them get both messages, as in Caffe.
    """
    found = [
        (getattr(layer, _IMAGES[kind]), layer.transform_param)
        for layer in net.layers
        if (kind := _type_name(layer)) in _IMAGES
    ]
    if not any(settings.HasField(field) for settings, _ in found for field in _TRANSFORMS):
        return
    for settings, transform in found:
        settings.SetInParent()
        transform.SetInParent()
        for field in filter(settings.HasField, _TRANSFORMS):
            setattr(transform, field, getattr(settings, field))
            settings.ClearField(field)


def upgrade(net: schema.NetParameter) -> None:
    """Converts each of ``layers`` to a ``layer``, in place."""
    for old in net.layers:
        _fill(net.layer.add(), old)
    net.ClearField("layers")


def _fill(new: schema.LayerParameter, old: schema.V1LayerParameter) -> None:
    for field, value in old.ListFields():
        if field.name in _PARAM:
            for index, one in enumerate(value):
                if index == len(new.param):
                    new.param.add()
                setattr(new.param[index], _PARAM[field.name], one)
        elif field.name == "type":
            new.type = layer_type(_type_name(old))
        elif not field.GetOptions().deprecated:
            set_field(new, field.name, value)


def _type_name(layer: schema.V1LayerParameter) -> str:
    name: str = layer.LayerType.Name(layer.type)
    return name
