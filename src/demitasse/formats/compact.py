"""The compact formats. Their files contain no names and no shapes; both come from the net.

The metadata entry ``compact`` names the format of a file. If another program wrote the bytes of a layer differently
from demitasse, they are kept in base64 under ``compact.<layer>``, so that unpacking restores the same file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from typing_extensions import override

from demitasse.caffe.layer_rule import LayerRule
from demitasse.errors import FileFormatError, WeightsError
from demitasse.formats.base import FORMATS, Contents, Format, Settings
from demitasse.formats.blobs import Array
from demitasse.formats.nameless import file_content, of_blobs, required_net, stored_layers, stored_shapes
from demitasse.formats.sources import place_of
from demitasse.packed.compact import CODECS, Shape
from demitasse.packed.reader import ByteReader

COMPACT = "compact"
# the format made for SqueezeNet, whose layers have "fire" in their names
_WITH_FIRE = "squeezenet"


class Compact(Format):
    """Files of one codec.

    Args:
        codec: its name in :data:`demitasse.packed.compact.CODECS`.
    """

    def __init__(self, codec: str) -> None:
        self.name = codec
        self.what = f"a compact file ({codec})"
        self.takes_fire = codec == _WITH_FIRE

    @override
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        place = place_of(source)
        net = required_net(settings, f"{place} ({self.name})")
        shapes = stored_shapes(net, LayerRule(settings.layers), self.takes_fire)
        layers, kept = {}, {COMPACT: self.name}
        for name, arrays, data in self.decode(file_content(source), shapes, place):
            layers[name] = arrays
            if self._own(name, arrays) != data:
                kept[f"{COMPACT}.{name}"] = base64.b64encode(data).decode()
        found = of_blobs(layers, net)
        return found._replace(metadata={**found.metadata, **kept})

    def decode(
        self, data: bytes, shapes: Mapping[str, Sequence[Shape]], place: str
    ) -> Iterator[tuple[str, list[Array], bytes]]:
        """Yields the layers of a file: name, weight and bias, and their bytes.

        Args:
            data: the content of the file.
            shapes: name -> shapes of weight and bias, for each layer in the file.
            place: the file, for error messages.

        Raises:
            FileFormatError: the file is cut short, damaged, or belongs to another net; the message has the byte offset.
        """
        reader = ByteReader(data)
        try:
            for name, wanted in shapes.items():
                start = reader.offset
                arrays = CODECS[self.name].decode(reader, name, wanted)
                yield name, arrays, reader.bytes_since(start)
            reader.expect_end()
        except FileFormatError as error:
            raise error.within(place) from error

    def _own(self, name: str, arrays: list[Array]) -> bytes | None:
        try:
            return self.encode(name, arrays)
        except WeightsError:  # values that demitasse cannot write in this format
            return None

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        kept = contents.metadata if contents.metadata.get(COMPACT) == self.name else {}
        parts = []
        for name, arrays in stored_layers(contents, settings, self.what, self.takes_fire).items():
            text = kept.get(f"{COMPACT}.{name}")
            parts.append(self.encode(name, arrays) if text is None else self._kept(name, text, arrays))
        file.write(b"".join(parts))

    def encode(self, name: str, arrays: Sequence[Array]) -> bytes:
        """Returns the bytes of a layer: of its weight and, if it has one, its bias.

        Raises:
            WeightsError: the format cannot hold a value; the message names layer, blob and value.
        """
        return CODECS[self.name].encode(name, arrays)

    def _kept(self, name: str, text: str, arrays: list[Array]) -> bytes:
        """Returns the bytes kept for a layer, after checking that they decode to its values."""
        try:
            reader = ByteReader(base64.b64decode(text, validate=True))
            found = CODECS[self.name].decode(reader, name, [array.shape for array in arrays])
            reader.expect_end()
        except (FileFormatError, binascii.Error) as error:
            raise FileFormatError(f"metadata '{COMPACT}.{name}': {error}") from None
        if not all(np.array_equal(*both, equal_nan=True) for both in zip(found, arrays, strict=True)):
            raise FileFormatError(f"metadata '{COMPACT}.{name}' does not decode to the values of the layer")
        return reader.bytes_since(0)


COMPACTS = {name: Compact(name) for name in CODECS}
for _name, _format in COMPACTS.items():
    FORMATS.register(_name)(_format)
