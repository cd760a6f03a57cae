"""A file of one format in, a file of another out; one of the two is a .demi file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf import text_format

from demitasse.caffe import formats as caffe_formats
from demitasse.caffe.formats.blobs import DEFINITION, TYPES
from demitasse.caffe.formats.compact import COMPACT
from demitasse.caffe.models.masks import without_compression
from demitasse.caffe.text.prototxt import read_net, read_text
from demitasse.caffe.tools.hidden_units import reorder_units
from demitasse.caffe.tools.say import Say
from demitasse.caffe.tools.say import silent as say_nothing
from demitasse.errors import UsageError
from demitasse.files import is_stream, write_bytes, write_text
from demitasse.packed.file import File
from demitasse.packed.formats import FORMATS, PACKED, Contents, Settings, chosen
from demitasse.packed.header import Header
from demitasse.packed.tensor import Tensor
from demitasse.packed.writer import Progress, silent
from demitasse.packed.writer import pack as packed_bytes
from demitasse.packing import state_dicts
from demitasse.packing.state_dicts import CHECKPOINT

__all__ = ["pack", "unpack"]

_REGISTERED = (caffe_formats, state_dicts)


def pack(
    source: str | Path,
    out: str | Path,
    form: str | None = None,
    *,
    net: str | Path | None = None,
    layers: str = "type",
    metadata: Mapping[str, str] | None = None,
    definition: bool = False,
    signed_zeros: bool = False,
    smallest: bool | None = None,
    reorder: bool = False,
    remove_dead_units: bool = False,
    key: str | None = None,
    progress: Progress = silent,
    say: Say = say_nothing,
) -> Header:
    """Packs a net into a .demi file.

    Args:
        source: the file of the net.
        out: the file to be written.
        form: format of the source, where its suffix does not tell it.
        net: prototxt of the net, where the source has no names and shapes.
        layers: which layers a compact file holds, ``type`` or ``original``.
        metadata: more text to keep, by key.
        definition: keep the text of ``net``, too: the file is a whole model then.
        signed_zeros: whether -0.0 stays what it is; else it becomes 0.0.
        smallest: see :func:`demitasse.packed.writer.pack`.
        reorder: put the hidden units of ``net`` in an order that takes fewer bytes; the function stays, to rounding.
        remove_dead_units: leave out hidden units that change nothing: blobs become smaller, and the definition
            with them.
        key: of the state_dict in a checkpoint of PyTorch that has several.
        progress: called with the number of values that are packed, and of all.
        say: is told where masks of compressing layers were applied, as ``dns_to_normal`` does.

    Returns:
        The header of the file.

    Raises:
        UsageError: a format is not known, or needs the net, or a key is taken.
        DemitasseError: the source cannot be read.
    """
    source, out = Path(source), Path(out)
    if out.suffix != PACKED and not is_stream(out):
        raise UsageError(f"{out}: expected a name that ends in {PACKED!r}")
    own = dict(metadata or {})
    for word in own:
        if _has_meaning(word):
            raise UsageError(f"metadata {word!r}: the key has a meaning of its own; choose another")
    if remove_dead_units and not definition:
        raise UsageError("without dead units the net has another definition; keep it in the file by --definition")
    text = _definition(net) if definition else ""
    name = chosen(source, form)
    if key is not None and name != CHECKPOINT:
        raise UsageError(f"{source}: files of format {name} have no key {key!r}; expected one of format {CHECKPOINT}")
    contents = FORMATS[name].read(source, _settings(net, layers, key)._replace(say=say))
    if reorder or remove_dead_units:
        contents, changed = _reordered(contents, net, reorder, remove_dead_units)
        text = changed if definition and remove_dead_units else text
    texts = {**contents.metadata, **own, **({DEFINITION: text} if definition else {})}
    data = packed_bytes(contents.tensors, texts, signed_zeros, smallest, contents.aliases, progress)
    write_bytes(out, data)
    with File(data) as packed:
        return packed.header


def unpack(
    source: str | Path,
    out: str | Path,
    form: str | None = None,
    *,
    net: str | Path | None = None,
    layers: str = "type",
    definition: bool = False,
    progress: Progress = silent,
) -> list[str]:
    """Unpacks a .demi file.

    Args:
        source: the .demi file.
        out: the file to be written.
        form: its format, where its suffix does not tell it, and it is not that of the file that was packed.
        net: prototxt of the net, with which a caffemodel gets all layers with their settings.
        layers: which layers a compact file may hold, ``type`` or ``original``.
        definition: write the prototxt that the file keeps, too, beside the other.
        progress: called with the number of values that are decoded, and of all.

    Returns:
        Keys of metadata that the format has no place for.

    Raises:
        UsageError: a format is not known, or the file keeps no definition.
        WeightsError: the format cannot hold a tensor; the message names it, and says why.
        FileFormatError: the file is missing, cut short or corrupt.
    """
    source, out = Path(source), Path(out)
    with File(source) as packed:
        found = packed.header.metadata
        name = chosen(out, form, found.get(COMPACT))
        if definition and DEFINITION not in found:
            raise UsageError(f"{source}: no definition of the net is in it; pack keeps one by --definition")
        tensors = list(_decoded(packed, progress))
    FORMATS[name].write(Contents(tensors, found), out, _settings(net, layers))
    if definition:
        beside = out.with_name(out.name.removesuffix(".h5")).with_suffix(".prototxt")
        write_text(beside, found[DEFINITION])
    return [] if FORMATS[name].keeps_metadata else [key for key in found if not _has_meaning(key)]


def _settings(net: str | Path | None, layers: str, key: str | None = None) -> Settings:
    return Settings(None if net is None else Path(net), layers, key)


def _has_meaning(key: str) -> bool:
    return key.split(".")[0] in (TYPES, DEFINITION, COMPACT)


def _reordered(contents: Contents, net: str | Path | None, reorder: bool, remove_dead: bool) -> tuple[Contents, str]:
    """Returns the contents with other hidden units, and the net that they belong to, as text."""
    if net is None:
        raise UsageError("only the definition of a Caffe net tells its hidden units: give its prototxt by --net")
    found = reorder_units(read_net(net), contents.tensors, reorder, remove_dead)
    # what a compact file has beside the values is of the old order
    kept = {key: text for key, text in contents.metadata.items() if key.split(".")[0] != COMPACT}
    return contents._replace(tensors=found.tensors, metadata=kept), text_format.MessageToString(found.net)


def _definition(net: str | Path | None) -> str:
    if net is None:
        raise UsageError("the definition to keep is the prototxt of the net: give it by --net")
    message = read_net(net)
    # files keep no masks
    return str(message) if without_compression(message) else read_text(net)


def _decoded(packed: File, progress: Progress) -> Iterator[Tensor]:
    total, done = sum(math.prod(entry.shape) for entry in packed.header.entries), 0
    progress(done, total)
    for tensor in packed.tensors():
        done += tensor.size
        progress(done, total)
        yield tensor
