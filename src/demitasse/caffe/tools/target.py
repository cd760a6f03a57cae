"""The target net of a conversion: built, or only its definition if its data or its Python code is not available."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from pathlib import Path

from typing_extensions import override

from demitasse.caffe import log, schema
from demitasse.caffe.definition.filter import Placed
from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.definition.split import insert_splits
from demitasse.caffe.layer_blobs import write_blobs
from demitasse.caffe.layers import LAYERS, Layer, Shape
from demitasse.caffe.layers.spatial import Window
from demitasse.caffe.models.blobs import Array, array_blob, blob_arrays
from demitasse.caffe.models.caffemodel import write_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.errors import DataError, FileFormatError, NetError, PythonLayerError
from demitasse.registry import suggest


class ConversionTarget(ABC):
    """A net that receives the blobs of layers, by label, and is saved as a caffemodel."""

    @abstractmethod
    def layer(self, label: str, blobs: list[Array]) -> Layer:
        """Returns a layer, set up for such blobs.

        Raises:
            NetError: the net has no such layer, or the layer cannot have such blobs.
        """

    @abstractmethod
    def has(self, label: str) -> bool:
        """Returns whether the net has the layer."""

    @abstractmethod
    def load(self, label: str, blobs: list[Array]) -> None:
        """Copies blobs into a layer.

        Raises:
            WeightsError: the blobs do not match the layer.
        """

    @abstractmethod
    def save(self, out: str | Path) -> None:
        """Writes the model, and logs which layers did not receive blobs."""


def open_target(path: str | Path) -> ConversionTarget:
    """Returns the net of a prototxt; its data is not needed.

    Raises:
        NetError: the net cannot be built.
        PrototxtError: the prototxt cannot be read.
    """
    try:
        return BuiltTarget(Net.from_file(path), path)
    except (DataError, FileFormatError, PythonLayerError) as error:
        log.warning("tools", f"{path}: the net is not built, because its definition suffices here: {error}")
        return DefinedTarget(path)


class BuiltTarget(ConversionTarget):
    """A built net, which has values for all its layers."""

    def __init__(self, net: Net, path: str | Path) -> None:
        self._net, self._path = net, path
        self._loaded: set[str] = set()

    @override
    def layer(self, label: str, blobs: list[Array]) -> Layer:
        return self._net.layer(label)

    @override
    def has(self, label: str) -> bool:
        return label in self._net.named_layers()

    @override
    def load(self, label: str, blobs: list[Array]) -> None:
        self._net.load_blobs(label, blobs, f"for {self._path}")
        self._loaded.add(label)

    @override
    def save(self, out: str | Path) -> None:
        log_initial(self._net, self._loaded)
        save_weights(self._net, out)


class DefinedTarget(ConversionTarget):
    """The definition of a net. Layers are set up for bottoms that match their blobs; layers without blobs are dropped.

    A layer that should have blobs but receives none is left out of the saved model.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        net = prototxt.read_net(path)
        self._specs = labelled_layers(net, str(path))
        self._message = schema.NetParameter(name=net.name)
        self._layers: dict[str, Layer] = {}

    @override
    def layer(self, label: str, blobs: list[Array]) -> Layer:
        if label not in self._specs:
            raise NetError(f"{self._path}: there is no layer {label!r}; {suggest(label, self._specs)}")
        if label not in self._layers:
            spec = self._specs[label]
            if not self.has(label):
                raise NetError(f"layer {label!r} ({self._path}): found {len(blobs)} blobs, but {spec.type} has none")
            layer = LAYERS[spec.type](spec)
            try:
                layer.setup(*bottoms_of(spec, [blob.shape for blob in blobs]))
            except NetError as error:
                raise error.within(f"layer {label!r} ({self._path})") from error
            self._layers[label] = layer
        return self._layers[label]

    @override
    def has(self, label: str) -> bool:
        return label in self._specs and self._specs[label].type.endswith(tuple(_BOTTOMS))

    @override
    def load(self, label: str, blobs: list[Array]) -> None:
        write_blobs(self.layer(label, blobs), label, blobs, f"for {self._path}")

    @override
    def save(self, out: str | Path) -> None:
        for label, layer in self._layers.items():
            self._specs[label].blobs.extend(map(array_blob, blob_arrays(layer.blobs())))
        empty = [
            label
            for label, spec in self._specs.items()
            if spec.type in LAYERS and LAYERS[spec.type].has_blobs and not spec.blobs
        ]
        if empty:
            log.warning(
                "tools", f"layers that are left out, because their shapes depend on the data: {', '.join(empty)}"
            )
        kept = [Placed(spec, str(self._path)) for label, spec in self._specs.items() if label not in empty]
        self._message.layer.extend(layer for layer, _ in insert_splits(kept))
        write_net_message(self._message, out)


Shapes = list[Shape]
_IMAGE_AXES = 4


def bottoms_of(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    """Returns shapes of bottoms for which a layer has blobs of these shapes; odd shapes give ones that do not fit."""
    return next(bottoms for ending, bottoms in _BOTTOMS.items() if spec.type.endswith(ending))(spec, blobs or [()])


def _convolution(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    settings, (weight, *_) = spec.convolution_param, blobs
    channels = weight[1] * settings.group if len(weight) > 1 else 0
    return [(*(1,) * settings.axis, channels, *weight[2:])] * len(spec.bottom)


def _deconvolution(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    return [(*(1,) * spec.convolution_param.axis, *blobs[0][:1], *blobs[0][2:])] * len(spec.bottom)


def _deformable(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    settings, (weight, *_) = spec.deformable_convolution_param, blobs
    if len(weight) != _IMAGE_AXES:
        return [(), ()]
    window = Window.from_settings(settings, 2)
    sizes = [dilation * (kernel - 1) + 1 for kernel, dilation in zip(window.kernel, window.dilation, strict=True)]
    plane = [2 * pad // stride + 1 for pad, stride in zip(window.pad, window.stride, strict=True)]
    offsets = 2 * settings.deformable_group * window.kernel[0] * window.kernel[1]
    return [(1, weight[1] * settings.group, *sizes), (1, offsets, *plane)]


def _by_class(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    classes = blobs[0][-1] if blobs[0] else 0
    return [(1, classes, 1, 1), (1, classes, 1, 1), (1, 3, 1, 1)]


def _inner_product(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    settings, (weight, *_) = spec.inner_product_param, blobs
    # weights in old files have four axes
    return [(*(1,) * settings.axis, weight[-2 if settings.transpose else -1] if len(weight) > 1 else 0)]


def _by_channel(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    return [(2, *(blobs[0] or (1,)))]  # in training, normalization needs more than one item


def _recurrent(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    parts, plain = (2, 3) if spec.type == "LSTM" else (1, 5)
    static = [(1, blobs[2][-1])] if len(blobs) > plain else []
    exposed = [(1, 1, spec.recurrent_param.num_output)] * parts if spec.recurrent_param.expose_hidden else []
    return [(1, 1, *blobs[0][1:]), (1, 1), *static, *exposed]


def _depthwise(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    return [(*(1,) * spec.convolution_param.axis, *blobs[0][:1], *blobs[0][2:])] * len(spec.bottom)


def _steps(spec: schema.LayerParameter, blobs: Shapes) -> Shapes:
    return [(1, 1, *blobs[0][1:]), (1, 1)][: len(spec.bottom)]


# keyed by the end of the layer type
_BOTTOMS: dict[str, Callable[[schema.LayerParameter, Shapes], Shapes]] = {
    "Deconvolution": _deconvolution,
    "DeformableConvolution": _deformable,
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "BatchNorm": _by_channel,
    "MultiStageMeanfield": _by_class,
    "PReLU": _by_channel,
    "Scale": lambda spec, blobs: [(*(1,) * spec.scale_param.axis, *blobs[0])],
    "Bias": lambda spec, blobs: [(*(1,) * spec.bias_param.axis, *blobs[0])],
    "Embed": lambda spec, blobs: [(1,)],
    "Parameter": lambda spec, blobs: [],
    "LSTM": _recurrent,
    "BN": lambda spec, blobs: [(2, *blobs[0][1:])],
    "ConvolutionDepthwise": _depthwise,
    "Lstm": _steps,
    "Normalize": _by_channel,
    "RNN": _recurrent,
}


def log_initial(net: Net, loaded: Collection[str]) -> None:
    """Logs the layers with blobs that were not loaded and so keep their initial values."""
    rest = [name for name, layer in net.named_layers().items() if layer.blob_names and name not in loaded]
    if rest:
        log.warning("tools", f"layers that keep their initial values: {', '.join(rest)}")
