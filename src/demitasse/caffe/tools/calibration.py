"""Inputs for a net without labels: images in files, records of a database, or the batches of its own data layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from demitasse.arrays import Array
from demitasse.caffe import schema
from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.sources import SOURCES, Source
from demitasse.caffe.sources.store import BACKENDS
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.say import Say, silent
from demitasse.errors import DataError, UsageError, parameter
from demitasse.formats.base import Settings, format_of
from demitasse.formats.image_inputs import preparation_for
from demitasse.preparation import Parts, Preparation
from demitasse.preparation.image_files import drawn_files

_BATCH = 50  # images

Batches = list[dict[str, Tensor]]


class Calibration(NamedTuple):
    """Inputs of a net.

    Attributes:
        batches: name of an input -> (n, ...) float32.
        preparation: how images became inputs; None if a data layer transformed them.
    """

    batches: Batches
    preparation: Preparation | None = None


def calibration_of(
    net: str | Path,
    model: str | Path,
    images: str | Path | None,
    source: str | Path | None,
    given: Parts,
    examples: int,
    seed: int,
    say: Say,
) -> Calibration:
    """Returns inputs for a net.

    Args:
        net: its prototxt.
        model: its weights, which show how many channels it takes.
        images: a folder of images, or a list of their names, which may have labels; some are drawn at random.
        source: an LMDB or a LevelDB, whose first records are taken. Without it and ``images``, the net's data layers
            are read, in phase TRAIN if they have one: centre crops, not mirrored, and each record once.
        given: how images become inputs, as far as the net's data layers do not say so, or instead of them.
        examples: the most examples.
        seed: of the draw.
        say: called with notes about the preparation.

    Raises:
        UsageError: both ``images`` and ``source`` are given, the net has no data layer, or nothing says how images
            become inputs.
        DataError: there are no images, or one cannot be read or does not fit the net.
    """
    if images is not None and source is not None:
        raise UsageError(f"both {parameter('images')} and {parameter('source')} are given; expected one of them")
    layers = labelled_layers(prototxt.read_net(net), str(net))
    if images is None and source is None:
        if given:
            _preparation(net, model, given, silent)  # what is written with the net; wrong parts are found at once
        return Calibration(_own_batches(net, examples))
    inputs = [layer for layer in layers.values() if layer.type in SOURCES and layer.top]
    if not inputs:
        raise UsageError(f"{net}: the net has no input")
    top, transformed = inputs[0].top[0], inputs[0].HasField("transform_param")
    if source is not None and transformed and not given:
        found = Calibration([{top: part} for part in _records(Path(source), inputs[0].transform_param, examples)])
    else:
        preparation = _preparation(net, model, given, say)
        if images is not None:
            parts = _prepared(drawn_files(Path(images), examples, seed), preparation)
        else:
            assert source is not None
            plain = _records(Path(source), schema.TransformationParameter(), examples)
            parts = (_of_pixels(part, preparation, str(source)) for part in plain)
        found = Calibration([{top: part} for part in parts], preparation)
    _check_shape(inputs[0], found.batches[0][top], str(images or source))
    return found


def _preparation(net: str | Path, model: str | Path, given: Parts, say: Say) -> Preparation:
    tensors = format_of(model).read(Path(model), Settings(net=Path(net))).tensors
    found = preparation_for(net, tensors, given, say)
    if found is None:
        raise UsageError(f"{net}: does not say how images become inputs; give {parameter('preparation')}")
    return found


def _prepared(files: Sequence[Path], prepare: Callable[[Path], Array]) -> Iterator[Tensor]:
    for start in range(0, len(files), _BATCH):
        yield torch.from_numpy(np.stack([prepare(file) for file in files[start : start + _BATCH]]))


def _records(path: Path, transform: schema.TransformationParameter, examples: int) -> Iterator[Tensor]:
    """Yields the first records of a database, (n, channels, height, width)."""
    backend = "lmdb" if (path / "data.mdb").exists() or path.is_file() else "leveldb"
    with BACKENDS[backend].open(str(path)) as database:
        left = min(examples, len(database))
    if not left:
        raise DataError(f"{path}: the database has no records")
    spec = schema.LayerParameter(name="calibration", type="Data", top=["data"], transform_param=transform)
    spec.data_param.source, spec.data_param.batch_size = str(path), min(_BATCH, left)
    spec.data_param.backend = schema.DataParameter.DB.Value(backend.upper())
    for (part,) in _batches(_opened(spec, str(path)), left):
        yield part


def _of_pixels(part: Tensor, preparation: Preparation, place: str) -> Tensor:
    """Prepares records that are pixels, blue first."""
    pixels = part.byte()
    if not torch.equal(pixels.float(), part):
        raise DataError(
            f"{place}: its records are no pixels of 0 to 255; expected a net whose data layer says the rest"
        )
    images = pixels.flip(1).permute(0, 2, 3, 1).numpy()
    images = images[..., 0] if images.shape[3] == 1 else images
    return torch.from_numpy(np.stack([preparation(image) for image in images]))


def _own_batches(net: str | Path, examples: int) -> Batches:
    """Returns batches of the net's data layers."""
    for phase in (schema.TRAIN, schema.TEST):
        layers = labelled_layers(prototxt.read_net(net), str(net), phase).values()
        specs = [layer for layer in layers if layer.type in SOURCES and not SOURCES[layer.type].fed]
        if specs:
            sources = {tuple(spec.top): _opened(spec, f"{net}: layer {spec.name!r}") for spec in specs}
            return _joined(sources, min(examples, *(source.epoch() or examples for source in sources.values())))
    raise UsageError(f"{net}: the net has no data layer; give {parameter('images')} or {parameter('source')}")


def _joined(sources: Mapping[tuple[str, ...], Source], examples: int) -> Batches:
    """Returns the batches of several sources together: top -> tensor."""
    found: Batches = []
    for batches in zip(*(_batches(source, examples) for source in sources.values()), strict=True):
        found.append({})
        for tops, batch in zip(sources, batches, strict=True):
            found[-1].update(zip(tops, batch, strict=True))
    return found


def _opened(spec: schema.LayerParameter, place: str) -> Source:
    """Opens a data layer, without its random mirrors and crops; images of a list come in random order."""
    plain = schema.LayerParameter.FromString(spec.SerializeToString())
    plain.transform_param.mirror = False
    if plain.type in ("ImageData", "ImageSegData"):
        plain.image_data_param.shuffle = True
    if plain.type == "DenseImageData":
        plain.dense_image_data_param.shuffle, plain.dense_image_data_param.mirror = True, False
    try:
        return SOURCES[plain.type](plain, schema.TEST)
    except DataError as error:
        raise error.within(place) from error


def _batches(source: Source, examples: int) -> Iterator[list[Tensor]]:
    """Yields batches of a source with this number of examples in all, and closes it."""
    try:
        while examples > 0:
            batch = [top[:examples] if top.ndim else top for top in source.next_batch()]
            yield batch
            examples -= len(batch[0]) if batch[0].ndim else 1
    finally:
        source.close()


def _check_shape(layer: schema.LayerParameter, found: Tensor, place: str) -> None:
    """Raises DataError if images do not have the shape that an Input layer says."""
    shapes = layer.input_param.shape
    wanted = list(shapes[0].dim)[1:] if layer.type == "Input" and shapes else []
    if wanted and list(found.shape[1:]) != wanted:
        raise DataError(f"{place}: images become {list(found.shape[1:])}; the net takes {wanted}")
