"""Reads a net's prototxt together with its caffemodel: the layers and their effective weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.layer_rule import COMPRESSING, SURGERY, WEIGHTED
from demitasse.caffe.models.blobs import Array
from demitasse.caffe.models.caffemodel import LayerBlobs, read_model
from demitasse.caffe.models.masks import has_masks, has_masks_text, plain_model_advice
from demitasse.caffe.text import prototxt
from demitasse.errors import WeightsError


@dataclass(frozen=True, eq=False)
class SourceLayer:
    """One layer of the source.

    Attributes:
        name: the label of the layer.
        kind: its type.
        blobs: weight and bias, or the blobs of another type.
        masks: a mask for each blob, of the same shape; or empty.
    """

    name: str
    kind: str
    blobs: list[Array]
    masks: list[Array]

    @property
    def is_pruned(self) -> bool:
        """Whether the layer is under surgery. Guo's own models mark cut weights by zeros instead of masks."""
        return self.kind in SURGERY

    def kept(self) -> list[Array]:
        """Returns a bool array for each blob, True for the values that surgery kept."""
        return [mask == 1 for mask in self.masks] if self.masks else [blob != 0 for blob in self.blobs]

    def effective(self) -> list[Array]:
        """Returns the blobs that the layer computes with, float32; cut values are 0."""
        blobs = [blob.astype(np.float32) for blob in self.blobs]
        if not self.is_pruned:
            return blobs
        return [np.where(kept, blob, np.float32(0)) for blob, kept in zip(blobs, self.kept(), strict=True)]


def read_source(net: str | Path, model: str | Path) -> list[SourceLayer]:
    """Reads the layers of a net that have blobs in the model, in the order of the net (phase TEST).

    The net is not built, so its data is not needed.

    Raises:
        PrototxtError: the net cannot be read.
        FileFormatError: the model cannot be read.
        WeightsError: a convolution or inner product has no blobs in the model, or a different number of blobs.
    """
    held = {layer.name: layer for layer in read_model(model)}
    found = []
    for label, layer in labelled_layers(prototxt.read_net(net), str(net)).items():
        if label in held and held[label].blobs:
            _check_masks(layer, held[label], net, model)
            found.append(_source_layer(label, layer, held[label].blobs, str(model)))
        elif layer.type in WEIGHTED:
            raise WeightsError(f"{model}: there are no blobs for layer {label!r} of {net}")
    return found


def _check_masks(spec: schema.LayerParameter, held: LayerBlobs, net: str | Path, model: str | Path) -> None:
    """Raises WeightsError if the model has masks that the net's layer lacks, or that have another meaning there."""
    if {held.type, spec.type} <= COMPRESSING and (held.type in SURGERY) != (spec.type in SURGERY):
        raise WeightsError(
            f"{model}: layer {held.name!r} has type {held.type}, but in {net} type {spec.type}, whose masks have "
            f"another meaning: {plain_model_advice(held.type)}, with the prototxt that the model was trained with"
        )
    if spec.type in WEIGHTED - COMPRESSING and len(held.blobs) > 1 and has_masks(held.type, held.blobs):
        raise WeightsError(
            f"{model}: {has_masks_text(held.name, held.type)}, but in {net} it is a plain {spec.type}: "
            "give the prototxt that the model was trained with"
        )


def _source_layer(label: str, spec: schema.LayerParameter, blobs: list[Array], origin: str) -> SourceLayer:
    if spec.type not in WEIGHTED:
        return SourceLayer(label, spec.type, blobs, [])
    settings = spec.inner_product_param if "InnerProduct" in spec.type else spec.convolution_param
    plain = 1 + settings.bias_term
    allowed = (plain, 2 * plain) if spec.type in COMPRESSING else (plain,)
    masks = blobs[plain:]
    if len(blobs) not in allowed or any(m.shape != b.shape for m, b in zip(masks, blobs, strict=False)):
        raise WeightsError(
            f"{origin}: layer {label!r} of type {spec.type}: found blobs of shapes "
            f"{[list(blob.shape) for blob in blobs]}; expected {' or '.join(map(str, allowed))} blobs, "
            "with masks of the same shapes as their values"
        )
    return SourceLayer(label, spec.type, blobs[:plain], masks)
