"""The parts of a net under pycaffe's names: blobs, layers, parameters, and their connections."""

from __future__ import annotations

from collections import OrderedDict

from demitasse.caffe import net as caffe_net
from demitasse.caffe import schema
from demitasse.caffe.blob import Blob, BlobVec
from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.python import Python
from demitasse.caffe.log import shown
from demitasse.caffe.python_layer import PythonLayer
from demitasse.pycaffe.errors import LayerNameError
from demitasse.pycaffe.steps import LayerStep, PythonStep, SourceStep, TorchStep
from demitasse.pycaffe.wiring import wiring
from demitasse.registry import suggest


class LayerView:
    """An entry of ``net.layers``, except for a Python layer, which is the entry itself.

    Attributes:
        type: the type of the layer, as in the prototxt.
        blobs: the blobs of the layer, as in a caffemodel.
    """

    def __init__(self, kind: str, blobs: list[Blob]) -> None:
        self.type, self.blobs = kind, BlobVec(blobs)


class Structure:
    """The blobs and layers of a net.

    Args:
        module: the net as a torch module, whose parameters the blobs share.

    Attributes:
        blobs: name -> :class:`~demitasse.caffe.blob.Blob`, in net order.
        params: name -> blobs, for the layers that have blobs.
        layers: all layers, including data layers and splits.
        layer_dict: name -> layer.
        inputs: the names of the blobs that the caller feeds.
        outputs: the names of the blobs that no layer uses.
        top_names: name of layer -> names of its tops.
        bottom_names: name of layer -> names of its bottoms.
        blob_loss_weights: name of blob -> its weight in the loss.

    If several layers have the same name, the dictionaries contain the last, as in Caffe.
    """

    def __init__(self, module: caffe_net.Net) -> None:
        self.module = module
        self.blobs: OrderedDict[str, Blob] = OrderedDict()
        self.layers: list[LayerView | PythonLayer] = []
        self._steps: list[LayerStep] = []
        layers, found = module.named_layers(), wiring(module)
        parts = zip(module.labels, module.spec.layer, found.layers, found.bottoms, strict=True)
        for label, spec, needed, down in parts:
            layer = layers.get(label)
            self._add_blobs(spec, layer)
            bottom, top = [self.blobs[name] for name in spec.bottom], [self.blobs[name] for name in spec.top]
            if layer is None:
                self._add(SourceStep(module.sources[label], top), LayerView(spec.type, []))
            elif isinstance(layer, Python):
                self._add(PythonStep(layer, bottom, top, down, needed), layer.instance)
            else:
                step = TorchStep(layer, bottom, top, down, needed)
                self._add(step, LayerView(spec.type, step.own))
        if module.force_backward:
            module.requires_grad_()
        self._name(module)
        for name, weight in module.losses.items():
            self.blobs[name].diff[...] = weight

    def _add_blobs(self, spec: schema.LayerParameter, layer: Layer | None) -> None:
        for index, name in enumerate(spec.top):
            if name not in self.blobs:
                # values that a Python layer wrote to its tops in setup are kept
                shape = self.module.shapes[name]
                self.blobs[name] = layer.top[index] if isinstance(layer, Python) else Blob(*shape)

    def _add(self, step: LayerStep, layer: LayerView | PythonLayer) -> None:
        self._steps.append(step)
        self.layers.append(layer)

    def _name(self, module: caffe_net.Net) -> None:
        specs = module.spec.layer
        self._blob_names, self._blobs = list(self.blobs), list(self.blobs.values())
        self._layer_names = [spec.name for spec in specs]
        self._blob_loss_weights = [module.losses.get(name, 0.0) for name in self._blob_names]
        self.blob_loss_weights = OrderedDict(zip(self._blob_names, self._blob_loss_weights, strict=True))
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers, strict=True))
        named = zip(self._layer_names, self.layers, strict=True)
        self.params = OrderedDict((name, layer.blobs) for name, layer in named if layer.blobs)
        self.top_names = OrderedDict((spec.name, list(spec.top)) for spec in specs)
        self.bottom_names = OrderedDict((spec.name, list(spec.bottom)) for spec in specs)
        self.inputs, self.outputs = list(module.inputs), list(module.outputs)
        self._keys = list(self.blobs)
        self._inputs, self._outputs = self._ids(self.inputs), self._ids(self.outputs)

    def _show_automatic_tops(self) -> None:
        """Renames the tops of losses that name none to ``(automatic)``, as in Caffe; the last one gets the name."""
        self._blob_names = [shown(name) for name in self._keys]
        self.blobs = OrderedDict(zip(self._blob_names, self._blobs, strict=True))
        self.blob_loss_weights = OrderedDict(zip(self._blob_names, self._blob_loss_weights, strict=True))
        self.top_names = OrderedDict((layer, [shown(top) for top in tops]) for layer, tops in self.top_names.items())

    def module_blobs(self) -> list[tuple[str, Blob]]:
        """Returns all blobs, with their names in the module."""
        return list(zip(self._keys, self._blobs, strict=True))

    def _ids(self, names: list[str]) -> list[int]:
        return [self._keys.index(name) for name in names]

    def _top_ids(self, layer: int) -> list[int]:
        return self._ids(list(self.module.spec.layer[layer].top))

    def _bottom_ids(self, layer: int) -> list[int]:
        return self._ids(list(self.module.spec.layer[layer].bottom))

    def _index(self, layer: str) -> int:
        if layer not in self.layer_dict:
            raise LayerNameError(f"there is no layer {layer!r}; {suggest(layer, self._layer_names)}")
        return self._layer_names.index(layer)

    def _param_blobs(self) -> list[Blob]:
        return [blob for layer in self.layers for blob in layer.blobs]
