"""The compact formats: layers without names and shapes, which the net tells.

The metadata says under ``compact`` which of them a file was in. Where the bytes of a layer are not those that its
values give, as they may be of another writer, they are kept under ``compact.<layer>``, in base64: what is unpacked
is the same file.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import numpy as np

from demitasse.caffe.formats.blobs import Array, needed_net, of_layers, to_layers
from demitasse.caffe.models.caffemodel import LayerBlobs
from demitasse.caffe.models.messages import read_bytes
from demitasse.caffe.tools.compact_file import WITH_FIRE, net_with_shapes, stored_shapes
from demitasse.caffe.tools.layer_rule import LayerRule
from demitasse.errors import FileFormatError, WeightsError
from demitasse.files import write_bytes
from demitasse.packed.compact import CODECS
from demitasse.packed.compact.base import ROLES
from demitasse.packed.formats import FORMATS, Contents, Settings
from demitasse.packed.reader import Reader

COMPACT = "compact"


class Compact:
    """Files of one codec.

    Args:
        codec: name in :data:`demitasse.packed.compact.CODECS`.
    """

    suffixes: tuple[str, ...] = ()
    keeps_metadata = False

    def __init__(self, codec: str) -> None:
        self._codec = codec

    def read(self, path: Path, settings: Settings) -> Contents:
        """See :class:`demitasse.packed.formats.Format`."""
        net = net_with_shapes(needed_net(settings, f"{path} ({self._codec})"))
        kinds = {name: layer.spec.type for name, layer in net.named_layers().items()}
        reader, layers, kept = Reader(read_bytes(path)), [], {COMPACT: self._codec}
        try:
            for name, shapes in stored_shapes(net, LayerRule(settings.layers), self._codec).items():
                start = reader.offset
                arrays = CODECS[self._codec].decode(reader, name, shapes)
                data = reader.since(start)
                if self._encoded(name, arrays) != data:
                    kept[f"{COMPACT}.{name}"] = base64.b64encode(data).decode()
                layers.append(LayerBlobs(name, kinds[name], arrays))
            reader.finish()
        except FileFormatError as error:
            raise error.within(str(path)) from None
        found = of_layers(layers)
        return Contents(found.tensors, {**found.metadata, **kept})

    def _encoded(self, name: str, arrays: list[Array]) -> bytes | None:
        try:
            return CODECS[self._codec].encode(name, arrays)
        except WeightsError:  # a codebook of values that this program does not write
            return None

    def write(self, contents: Contents, path: Path, settings: Settings) -> None:
        """See :class:`demitasse.packed.formats.Format`."""
        kept = contents.metadata if contents.metadata.get(COMPACT) == self._codec else {}
        parts = []
        for name, arrays in stored_layers(contents, settings, f"a compact file ({self._codec})", self._codec).items():
            text = kept.get(f"{COMPACT}.{name}")
            parts.append(CODECS[self._codec].encode(name, arrays) if text is None else self._kept(name, text, arrays))
        write_bytes(path, b"".join(parts))

    def _kept(self, name: str, text: str, arrays: list[Array]) -> bytes:
        """Returns the bytes that were kept of a layer, which must be those of its values."""
        try:
            reader = Reader(base64.b64decode(text, validate=True))
            found = CODECS[self._codec].decode(reader, name, [array.shape for array in arrays])
            reader.finish()
        except (FileFormatError, binascii.Error) as error:
            raise FileFormatError(f"metadata '{COMPACT}.{name}': {error}") from None
        if not all(np.array_equal(*both, equal_nan=True) for both in zip(found, arrays, strict=True)):
            raise FileFormatError(f"metadata '{COMPACT}.{name}' has other values than the layer")
        return reader.since(0)


def stored_layers(contents: Contents, settings: Settings, what: str, codec: str = "") -> dict[str, list[Array]]:
    """Returns name -> weight and, where there is one, bias of all layers.

    Raises:
        WeightsError: such files hold no layers of this kind; names the first tensor of it.
    """
    rule, found = LayerRule(settings.layers), {}
    for layer in to_layers(contents):
        first = next(iter(layer.tensors.values())).name
        if layer.kind and not rule.takes(layer.name, layer.kind, codec == WITH_FIRE):
            raise WeightsError(
                f"{first} belongs to a layer of type {layer.kind}; {what} holds convolutions and inner products "
                f"(--layers {rule})"
            )
        layer.expect(what, "float32")
        if len(layer.tensors) > len(ROLES):
            raise WeightsError(
                f"{layer.name}.{len(ROLES)} is one blob too many; {what} holds weight and bias of a layer "
                "(of a net with masks, dns_to_normal and inq_to_normal make a plain one)"
            )
        found[layer.name] = layer.arrays(what)
    return found


for _name in CODECS:
    FORMATS.register(_name)(Compact(_name))
