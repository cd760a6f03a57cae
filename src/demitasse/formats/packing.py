"""``demitasse pack`` and ``unpack``: convert a file of another format to a .demi file, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from google.protobuf import text_format

from demitasse.caffe.hidden_units import reorder_units
from demitasse.caffe.models.masks import without_compression
from demitasse.caffe.text.prototxt import read_net, read_text
from demitasse.errors import DemitasseError, UsageError, WeightsError, parameter
from demitasse.files import atomic_write, is_stream, write_bytes, write_text
from demitasse.formats.base import FORMATS, PACKED, Contents, Format, Settings, format_named, format_of
from demitasse.formats.blobs import DEFINITION, TYPES
from demitasse.formats.compact import COMPACT
from demitasse.formats.demi import Demi, contents_of
from demitasse.formats.image_inputs import preparation_for
from demitasse.formats.onnx import GRAPH
from demitasse.formats.sources import missing_file_error
from demitasse.graph.stored import KEY as NET_GRAPH
from demitasse.packed.file import File
from demitasse.packed.header import Header
from demitasse.packed.writer import Progress, silent
from demitasse.preparation import Parts, Preparation, metadata_of

# keys of metadata that the formats use
_MEANINGS = (TYPES, DEFINITION, NET_GRAPH, COMPACT, GRAPH)
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
    preparation: Preparation | Parts | None = None,
    classes: Sequence[str] | None = None,
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
        out: the file to write.
        form: format of the source, if its suffix does not determine it.
        net: prototxt of the net, if the source has no names and shapes.
        layers: which layers a compact file contains, ``type`` or ``original``.
        metadata: further text to store, by key.
        definition: also store the text of ``net``, which makes the file a complete model, and the graph that its deploy
            form computes, if all of its layers have a stored form; ``say`` is called with the reason if one has not.
        preparation: how images become inputs of the net; a dict has some of the fields of
            :class:`demitasse.Preparation`, and ``net``, its data layer, or the shape of its input say the others. With
            a definition, what the data layer says is stored in any case.
        classes: the names of the net's classes, in order.
        signed_zeros: whether to keep -0.0; otherwise it becomes 0.0.
        smallest: see :func:`demitasse.packed.writer.pack`.
        reorder: reorder the hidden units of ``net`` to save bytes; the net computes the same, up to rounding.
        remove_dead_units: remove hidden units that have no effect on the output; blobs and definition become smaller.
        key: key of the state_dict, if a PyTorch checkpoint contains several.
        progress: called with the number of values packed so far, and the number of all values.
        say: called with a message if masks of compressing layers are applied, as ``dns_to_normal`` does, and about
            the preparation of images.

    Returns:
        The header of the file.

    Raises:
        UsageError: a format is unknown or needs the net, a metadata key is reserved, or images cannot be prepared so.
        DemitasseError: the source cannot be read.
    """
    source, out = Path(source), Path(out)
    if out.suffix != PACKED and not is_stream(out):
        raise UsageError(f"{out}: the name of the file to write must end in {PACKED!r}")
    if net is not None and not Path(net).exists():
        raise missing_file_error(Path(net))
    own = dict(metadata or {})
    for word in own:
        if _has_meaning(word):
            raise UsageError(f"metadata {word!r}: the key is reserved; choose another")
    if remove_dead_units and not definition:
        raise UsageError(
            "removing dead units changes the definition of the net; store it in the file by "
            f"{parameter('definition', True)}"
        )
    text = _definition(net) if definition else ""
    found = _other(source, form)
    if key is not None and not found.nests:
        raise UsageError(f"{source}: files of format {found.name} have no keys, found key {key!r}; expected format pt")
    settings = Settings(_path(net), layers, key, signed_zeros, smallest, say, progress)
    contents = found.read(source, settings)
    if reorder or remove_dead_units:
        contents, changed = _reordered(contents, net, reorder, remove_dead_units)
        text = changed if definition and remove_dead_units else text
    if not isinstance(preparation, Preparation):
        given = preparation or Parts()
        preparation = preparation_for(net, contents.tensors, given, say) if definition or given else None
    texts = metadata_of({**contents.metadata, **own}, preparation, classes)
    if definition:
        texts.pop(NET_GRAPH, None)
        texts |= {DEFINITION: text, **_graph(text, contents, str(source), say)}
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
        out: the file to write.
        form: format of ``out``, if neither its suffix nor the format of the packed file determines it.
        net: prototxt of the net, so that a caffemodel contains all layers with their settings.
        layers: which layers a compact file may contain, ``type`` or ``original``.
        definition: also write the stored prototxt, beside ``out``.
        progress: called with the number of values decoded so far, and the number of all values.

    Returns:
        The metadata keys that the format cannot store, the graph of a module among them.

    Raises:
        UsageError: a format is unknown, or the file contains no definition.
        WeightsError: the format cannot hold a tensor; the message names the tensor and the reason.
        FileFormatError: the file is missing, cut short or corrupt.
    """
    source, out = Path(source), Path(out)
    with File(source) as packed:
        metadata = packed.header.metadata
        found = _other(out, form, metadata.get(COMPACT))
        if definition and DEFINITION not in metadata:
            raise UsageError(
                f"{source}: contains no definition of the net; pack stores it with {parameter('definition', True)}"
            )
        contents = contents_of(packed, progress)
    with atomic_write(out) as file:
        found.write(contents, file, Settings(_path(net), layers))
    if definition:
        beside = out.with_name(out.name.removesuffix(".h5")).with_suffix(".prototxt")
        write_text(beside, metadata[DEFINITION])
    lost = [] if found.keeps_metadata else [key for key in metadata if not _has_meaning(key) and key not in found.keeps]
    keeps_graph = DEFINITION in metadata or (found.keeps_metadata and NET_GRAPH in contents.metadata)
    return lost if NET_GRAPH not in metadata or keeps_graph else [*lost, NET_GRAPH]


def _other(path: Path, form: str | None, otherwise: str | None = None) -> Format:
    """Returns the format of the file that is not a .demi file.

    Args:
        path: the path of the file.
        form: its format, if given.
        otherwise: the format to use if none is given and the suffix is unknown.

    Raises:
        UsageError: no format has this name or suffix, or it is the format of .demi files.
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
        raise UsageError(f"{path}: this is a .demi file; expected a file of another format ('unpack' converts to one)")
    return found


def _graph(definition: str, contents: Contents, source: str, say: Callable[[str], None]) -> dict[str, str]:
    """Returns the graph of a net as metadata; if it has no stored form, none, and ``say`` is called with the reason."""
    from demitasse.graph.caffe.storing import stored_graph

    try:
        return {NET_GRAPH: stored_graph(definition, contents, source)}
    except WeightsError:  # the net could not be computed at all
        raise
    except DemitasseError as error:
        say(f"stored no graph beside the definition, from which the net is run instead: {error}")
        return {}


def _path(net: str | Path | None) -> Path | None:
    return None if net is None else Path(net)


def _has_meaning(key: str) -> bool:
    return key.split(".")[0] in _MEANINGS


def _reordered(contents: Contents, net: str | Path | None, reorder: bool, remove_dead: bool) -> tuple[Contents, str]:
    """Returns the contents with reordered or fewer hidden units, and the matching net as text."""
    if net is None:
        raise UsageError(
            f"the hidden units are found in the definition of a Caffe net: give its prototxt by {parameter('net')}"
        )
    found = reorder_units(read_net(net), contents.tensors, reorder, remove_dead)
    # the bytes kept for a compact file are in the old order
    kept = {key: text for key, text in contents.metadata.items() if key.split(".")[0] != COMPACT}
    return contents._replace(tensors=found.tensors, metadata=kept), text_format.MessageToString(found.net)


def _definition(net: str | Path | None) -> str:
    if net is None:
        raise UsageError(f"the definition to store is the net's prototxt: give it by {parameter('net')}")
    message = read_net(net)
    # .demi files contain no masks
    return str(message) if without_compression(message) else read_text(net)
