"""Deep Compression's ``.net`` files. The numbering of their shared values is not kept; writing renumbers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from typing_extensions import override

from demitasse.caffe.layer_rule import LayerRule
from demitasse.errors import FileFormatError
from demitasse.formats.base import FORMATS, Contents, Format, Settings
from demitasse.formats.blobs import Array, to_layers
from demitasse.formats.nameless import file_content, of_blobs, required_net, stored_layers, stored_shapes
from demitasse.formats.sources import place_of
from demitasse.packed.compact import deep_compression

if TYPE_CHECKING:
    from demitasse.caffe.net import Net


class DeepCompression(Format):
    """The bytes are defined by :mod:`demitasse.packed.compact.deep_compression`."""

    name = "net"
    suffixes = (".net",)

    @override
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        net = required_net(settings, place_of(source))
        return of_blobs(decode(source, net, LayerRule(settings.layers)), net)

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        layers = stored_layers(contents, settings, "a .net file")
        for layer in to_layers(contents):
            if "InnerProduct" in layer.kind:  # its weight has four axes in models from before 2014
                weight = layers[layer.name][0]
                layers[layer.name][0] = weight.reshape(weight.shape[-2:])
        file.write(deep_compression.encode(layers))


def decode(source: Path | bytes, net: Net, rule: LayerRule = LayerRule.TYPE) -> dict[str, list[Array]]:
    """Decodes a file: name of layer -> weight and bias.

    Args:
        source: the path of the file, or its bytes.
        net: the plain net that the file belongs to.
        rule: which layers are stored.

    Raises:
        FileFormatError: the file is missing, cut short, damaged, or belongs to another net; the message has the byte
            offset.
    """
    data = file_content(source)
    try:
        return deep_compression.decode(data, stored_shapes(net, rule))
    except FileFormatError as error:
        raise error.within(place_of(source)) from error


FORMATS.register(DeepCompression.name)(DeepCompression())
