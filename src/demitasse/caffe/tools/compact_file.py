"""Nets to and from the compact formats of :mod:`demitasse.packed.compact`."""

from __future__ import annotations

import time
from pathlib import Path

from demitasse.caffe.log import warning
from demitasse.caffe.models.messages import read_bytes
from demitasse.caffe.net import Net
from demitasse.caffe.tools import compact_lines
from demitasse.caffe.tools.layer_rule import LayerRule
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import read_source
from demitasse.caffe.tools.target import log_initial
from demitasse.caffe.weights import save_weights
from demitasse.errors import DataError, FileFormatError
from demitasse.files import write_bytes
from demitasse.packed.compact import CODECS, Shape, deep_compression
from demitasse.packed.reader import Reader

# layers with "fire" in their names are SqueezeNet's, and this is the format made for it
WITH_FIRE = "squeezenet"


def encode(
    codec: str,
    net: str | Path,
    model: str | Path,
    out: str | Path,
    rule: LayerRule = LayerRule.TYPE,
    say: Say = silent,
) -> int:
    """Writes the weights of a net in a compact format; layers with blobs that it leaves out are logged.

    Args:
        codec: name in :data:`demitasse.packed.compact.CODECS`.
        net: prototxt of the model.
        model: its caffemodel.
        out: the file to be written.
        rule: which layers are stored.
        say: takes a few lines for each layer.

    Returns:
        The size of the file in bytes.

    Raises:
        WeightsError: a value that the format cannot hold (layer, blob, value), or blobs that do not fit the net.
        DemitasseError: a file cannot be read.
    """
    start = time.perf_counter()
    layers = read_source(net, model)
    stored = {each.name: each for each in layers if rule.takes(each.name, each.kind, codec == WITH_FIRE)}
    say(f"\n\nlayer list:  {list(stored)}")
    parts = []
    for name, each in stored.items():
        begin = time.perf_counter()
        arrays = each.effective()
        parts.append(CODECS[codec].encode(name, arrays))
        for line in compact_lines.encoded(codec, each, arrays, time.perf_counter() - begin):
            say(line)
    data = b"".join(parts)
    write_bytes(out, data)
    left_out = [each.name for each in layers if each.name not in stored]
    if left_out:
        warning("tools", f"layers that are not in the file: {', '.join(left_out)}")
    say(f"\ncompact model saved as {out}\n\ntotal time: {time.perf_counter() - start:.3f} s")
    return len(data)


def decode(
    codec: str,
    net: str | Path,
    binary: str | Path,
    out: str | Path,
    rule: LayerRule = LayerRule.TYPE,
    say: Say = silent,
) -> None:
    """Writes a caffemodel from a compact file; layers that are not in it keep their initial values.

    Args:
        codec: name in :data:`demitasse.packed.compact.CODECS`.
        net: prototxt of the plain net.
        binary: the compact file.
        out: the caffemodel to be written.
        rule: which layers are stored.
        say: takes a few lines for each layer.

    Raises:
        FileFormatError: the file is cut short, corrupt or of another net; says at which byte.
        NetError: the net cannot be built.
    """
    start = time.perf_counter()
    target = net_with_shapes(net)
    shapes = stored_shapes(target, rule, codec)
    reader = Reader(read_bytes(binary))
    say("")
    try:
        for name, wanted in shapes.items():
            begin = time.perf_counter()
            target.load_blobs(name, CODECS[codec].decode(reader, name, wanted), str(binary))
            for line in compact_lines.decoded(name, len(wanted), time.perf_counter() - begin):
                say(line)
        reader.finish()
    except FileFormatError as error:
        raise error.within(str(binary)) from None
    log_initial(target, shapes)
    save_weights(target, out)
    say(f"\nModel decoded. Saved as {out} [time: {time.perf_counter() - start:.3f} s] ")


def deep_compression_to_caffe(net: str | Path, binary: str | Path, out: str | Path) -> None:
    """Writes a caffemodel from a ``.net`` file of Deep Compression; arguments and errors as of :func:`decode`."""
    target = net_with_shapes(net)
    shapes = stored_shapes(target, LayerRule.TYPE)
    try:
        layers = deep_compression.decode(read_bytes(binary), shapes)
    except FileFormatError as error:
        raise error.within(str(binary)) from None
    for name, arrays in layers.items():
        target.load_blobs(name, arrays, str(binary))
    log_initial(target, shapes)
    save_weights(target, out)


def net_with_shapes(path: str | Path) -> Net:
    """Returns the net of a prototxt, which tells the shapes of what such a file holds.

    Raises:
        DataError: the shapes follow from its data, which cannot be read.
        NetError: it cannot be built.
    """
    try:
        return Net.from_file(path)
    except DataError as error:
        raise DataError(
            f"{error}; the file does not tell the shapes of the weights, and in this net they follow from the data: "
            "give a deploy prototxt, whose Input has a shape"
        ) from None


def stored_shapes(net: Net, rule: LayerRule, codec: str = "") -> dict[str, list[Shape]]:
    """Returns name -> shapes of weight and bias for the layers that a file holds; masks are not stored.

    Args:
        net: the plain net.
        rule: which layers are stored.
        codec: name of the format; SqueezeNet's own takes its fire modules by name, too.
    """
    return {
        name: [tuple(getattr(layer, b).shape) for b in layer.blob_names if not b.endswith("_mask")]
        for name, layer in net.named_layers().items()
        if layer.blob_names and rule.takes(name, layer.spec.type, codec == WITH_FIRE)
    }
