"""``demitasse pack`` and ``unpack``: a file of one format in, a file of another out; one of the two is a .demi file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from google.protobuf import text_format

from demitasse.caffe.hidden_units import reorder_units
from demitasse.caffe.models.masks import without_compression
from demitasse.caffe.text.prototxt import read_net, read_text
from demitasse.errors import UsageError, parameter
from demitasse.files import atomic_write, is_stream, write_bytes, write_text
from demitasse.formats.base import FORMATS, PACKED, Contents, Format, Settings, format_named, format_of
from demitasse.formats.blobs import DEFINITION, TYPES
from demitasse.formats.compact import COMPACT
from demitasse.formats.demi import Demi, contents_of
from demitasse.formats.onnx import GRAPH
from demitasse.packed.file import File
from demitasse.packed.header import Header
from demitasse.packed.writer import Progress, silent

# keys of metadata that formats give a meaning to
_MEANINGS = (TYPES, DEFINITION, COMPACT, GRAPH)
_DEMI = Demi()


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
    say: Callable[[str], None] = lambda line: None,
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
        signed_zeros: whether -0.0 stays what it is; otherwise it becomes 0.0.
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
        raise UsageError(
            f"without dead units the net has another definition; keep it in the file by {parameter('definition', True)}"
        )
    text = _definition(net) if definition else ""
    found = _other(source, form)
    if key is not None and not found.nests:
        raise UsageError(f"{source}: files of format {found.name} have no key {key!r}; expected one of format pt")
    settings = Settings(_path(net), layers, key, signed_zeros, smallest, say, progress)
    contents = found.read(source, settings)
    if reorder or remove_dead_units:
        contents, changed = _reordered(contents, net, reorder, remove_dead_units)
        text = changed if definition and remove_dead_units else text
    texts = {**contents.metadata, **own, **({DEFINITION: text} if definition else {})}
    packed = BytesIO()
    _DEMI.write(contents._replace(metadata=texts), packed, settings)
    write_bytes(out, packed.getvalue())
    with File(packed.getvalue()) as file:
        return file.header


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
        metadata = packed.header.metadata
        found = _other(out, form, metadata.get(COMPACT))
        if definition and DEFINITION not in metadata:
            raise UsageError(
                f"{source}: no definition of the net is in it; pack keeps one by {parameter('definition', True)}"
            )
        contents = contents_of(packed, progress)
    with atomic_write(out) as file:
        found.write(contents, file, Settings(_path(net), layers))
    if definition:
        beside = out.with_name(out.name.removesuffix(".h5")).with_suffix(".prototxt")
        write_text(beside, metadata[DEFINITION])
    return [] if found.keeps_metadata else [key for key in metadata if not _has_meaning(key)]


def _other(path: Path, form: str | None, otherwise: str | None = None) -> Format:
    """Returns the format of the file that is not a .demi file.

    Args:
        path: of the file.
        form: its format, where it is given.
        otherwise: the format where nothing is given and the suffix tells none.

    Raises:
        UsageError: no format has this name or suffix, or it is that of .demi files.
    """
    if form is not None:
        found = format_named(form)
    else:
        try:
            found = format_of(path)
        except UsageError:
            if otherwise is None:
                raise
            found = FORMATS[otherwise]
    if isinstance(found, Demi):
        raise UsageError(f"{path}: is packed already; 'unpack' makes another file of it")
    return found


def _path(net: str | Path | None) -> Path | None:
    return None if net is None else Path(net)


def _has_meaning(key: str) -> bool:
    return key.split(".")[0] in _MEANINGS


def _reordered(contents: Contents, net: str | Path | None, reorder: bool, remove_dead: bool) -> tuple[Contents, str]:
    """Returns the contents with other hidden units, and the net that they belong to, as text."""
    if net is None:
        raise UsageError(
            f"only the definition of a Caffe net tells its hidden units: give its prototxt by {parameter('net')}"
        )
    found = reorder_units(read_net(net), contents.tensors, reorder, remove_dead)
    # what a compact file has beside the values is of the old order
    kept = {key: text for key, text in contents.metadata.items() if key.split(".")[0] != COMPACT}
    return contents._replace(tensors=found.tensors, metadata=kept), text_format.MessageToString(found.net)


def _definition(net: str | Path | None) -> str:
    if net is None:
        raise UsageError(f"the definition to keep is the prototxt of the net: give it by {parameter('net')}")
    message = read_net(net)
    # files keep no masks
    return str(message) if without_compression(message) else read_text(net)
