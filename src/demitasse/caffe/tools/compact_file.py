"""Converts nets to and from the compact formats of :mod:`demitasse.packed.compact`."""

from __future__ import annotations

import time
from pathlib import Path

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.log import warning
from demitasse.caffe.models.messages import read_bytes
from demitasse.caffe.tools import compact_lines
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import read_source
from demitasse.caffe.tools.target import log_initial
from demitasse.caffe.weights import save_weights
from demitasse.files import write_bytes
from demitasse.formats import deep_compression
from demitasse.formats.compact import COMPACTS
from demitasse.formats.nameless import net_with_shapes, stored_shapes


def encode(
    codec: str,
    net: str | Path,
    model: str | Path,
    out: str | Path,
    rule: LayerRule = LayerRule.TYPE,
    say: Say = silent,
) -> int:
    """Writes the weights of a net in a compact format, and logs the layers with blobs that are not stored.

    Args:
        codec: name in :data:`demitasse.packed.compact.CODECS`.
        net: prototxt of the model.
        model: its caffemodel.
        out: the file to write.
        rule: which layers are stored.
        say: called with a few lines for each layer.

    Returns:
        The size of the file in bytes.

    Raises:
        WeightsError: the format cannot hold a value (the message has layer, blob and value), or blobs do not match
            the net.
        DemitasseError: a file cannot be read.
    """
    start = time.perf_counter()
    form, layers = COMPACTS[codec], read_source(net, model)
    stored = {each.name: each for each in layers if rule.takes(each.name, each.kind, form.takes_fire)}
    say(f"\n\nlayer list:  {list(stored)}")
    parts = []
    for name, each in stored.items():
        begin = time.perf_counter()
        arrays = each.effective()
        parts.append(form.encode(name, arrays))
        for line in compact_lines.encoded(codec, each, arrays, time.perf_counter() - begin):
            say(line)
    data = b"".join(parts)
    write_bytes(out, data)
    left_out = [each.name for each in layers if each.name not in stored]
    if left_out:
        warning("tools", f"layers that are not stored in the file: {', '.join(left_out)}")
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
        out: the caffemodel to write.
        rule: which layers are stored.
        say: called with a few lines for each layer.

    Raises:
        FileFormatError: the file is cut short, corrupt or belongs to another net; the message has the byte offset.
        NetError: the net cannot be built.
    """
    start = time.perf_counter()
    form, target = COMPACTS[codec], net_with_shapes(net)
    shapes = stored_shapes(target, rule, form.takes_fire)
    data = read_bytes(binary)
    say("")
    begin = time.perf_counter()
    for name, arrays, _ in form.decode(data, shapes, str(binary)):
        target.load_blobs(name, arrays, str(binary))
        for line in compact_lines.decoded(name, len(arrays), time.perf_counter() - begin):
            say(line)
        begin = time.perf_counter()
    log_initial(target, shapes)
    save_weights(target, out)
    say(f"\nModel decoded. Saved as {out} [time: {time.perf_counter() - start:.3f} s] ")


def deep_compression_to_caffe(net: str | Path, binary: str | Path, out: str | Path) -> None:
    """Writes a caffemodel from a ``.net`` file of Deep Compression; see :func:`decode` for arguments and errors."""
    target = net_with_shapes(net)
    layers = deep_compression.decode(Path(binary), target)
    for name, arrays in layers.items():
        target.load_blobs(name, arrays, str(binary))
    log_initial(target, layers)
    save_weights(target, out)
