"""Deep Compression's ``.net``: shared values, whose numbers are not kept: what is written gives them new ones."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe.formats.blobs import needed_net, of_layers, to_layers
from demitasse.caffe.formats.compact import stored_layers
from demitasse.caffe.models.caffemodel import LayerBlobs
from demitasse.caffe.models.messages import read_bytes
from demitasse.caffe.tools.compact_file import net_with_shapes, stored_shapes
from demitasse.caffe.tools.layer_rule import LayerRule
from demitasse.errors import FileFormatError
from demitasse.files import write_bytes
from demitasse.packed.compact import deep_compression
from demitasse.packed.formats import FORMATS, Contents, Settings


class DeepCompression:
    """See :mod:`demitasse.packed.compact.deep_compression`."""

    suffixes: tuple[str, ...] = (".net",)
    keeps_metadata = False

    def read(self, path: Path, settings: Settings) -> Contents:
        """See :class:`demitasse.packed.formats.Format`."""
        net = net_with_shapes(needed_net(settings, str(path)))
        try:
            layers = deep_compression.decode(read_bytes(path), stored_shapes(net, LayerRule(settings.layers)))
        except FileFormatError as error:
            raise error.within(str(path)) from None
        return of_layers(LayerBlobs(name, net.layer(name).spec.type, arrays) for name, arrays in layers.items())

    def write(self, contents: Contents, path: Path, settings: Settings) -> None:
        """See :class:`demitasse.packed.formats.Format`."""
        layers = stored_layers(contents, settings, "a .net file")
        for layer in to_layers(contents):
            if "InnerProduct" in layer.kind:  # of four axes in models from before 2014
                weight = layers[layer.name][0]
                layers[layer.name][0] = weight.reshape(weight.shape[-2:])
        data = deep_compression.encode(layers)
        write_bytes(path, data)


FORMATS.register("net")(DeepCompression())
