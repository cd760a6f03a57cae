"""Broken records, databases, HDF5 files and images: a typed error, or data of a sensible shape; nothing else."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from demitasse.caffe import schema
from demitasse.caffe.images.codec import FORMATS, decode
from demitasse.caffe.images.label_image import decode_labels
from demitasse.caffe.sources.annotated_data import AnnotatedData
from demitasse.caffe.sources.database import Data
from demitasse.caffe.sources.hdf5 import HDF5Data
from demitasse.caffe.sources.leveldb_store import LevelDbReader
from demitasse.caffe.sources.store import write_database
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.annotation_files import KINDS, read_annotation
from demitasse.errors import DataError
from tests.hostile.mutation import mutated

# of each kind: together more than 12,000, and thirty times as many with -m slow
IMAGES, RECORDS, HDF5, LEVELDB = 6200, 5400, 360, 160
ANNOTATED, BOX_FILES, LABELS = 2000, 500, 1200
TIMES = [1, pytest.param(30, marks=pytest.mark.slow)]


def attempt(call: Callable[[], Any]) -> Any:
    """Returns what the call returns, or its DataError."""
    try:
        return call()
    except DataError as error:
        return error


def picture(channels: int = 3) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, channels), np.uint8).repeat(4, 0).repeat(4, 1)
    return pixels[..., 0] if channels == 1 else pixels


def image_files() -> dict[str, bytes]:
    files = {}
    for kind in FORMATS:
        for mode in ("L", "RGB"):
            stream = io.BytesIO()
            Image.fromarray(picture(len(mode))).save(stream, kind)
            files[f"{kind} {mode}"] = stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "JPEG", progressive=True, comment=b"c" * 40, dpi=(72, 72))
    return {**files, "progressive": stream.getvalue()}


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it mends
@pytest.mark.parametrize("times", TIMES)
def test_images(times: int) -> None:
    rng = random.Random(times)
    files = list(image_files().values())
    refused = 0
    for index in range(IMAGES * times):
        data, color = mutated(files[index % len(files)], rng), rng.choice([None, True, False])
        image = attempt(lambda: decode(data, color))  # noqa: B023 (called at once)
        if isinstance(image, DataError):
            refused += 1
            continue
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[0] in ({None: (1, 3, 4), True: (3,), False: (1,)}[color])
        assert int(image.sum()) >= 0  # every pixel is there
    assert IMAGES * times / 4 < refused < IMAGES * times


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", TIMES)
def test_label_images(times: int) -> None:
    rng = random.Random(times)
    files = []
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        for mode in ("P", "L", "RGB"):
            stream = io.BytesIO()
            Image.fromarray(picture()).convert(mode).save(stream, kind)
            files.append(stream.getvalue())
    refused = 0
    for index in range(LABELS * times):
        labels = attempt(lambda: decode_labels(mutated(files[index % len(files)], rng)))  # noqa: B023
        if isinstance(labels, DataError):
            refused += 1
            continue
        assert (labels.dtype, labels.ndim) == (np.uint8, 2)
        assert int(labels.sum()) >= 0
    assert LABELS * times / 8 < refused < LABELS * times


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", list(image_files()))
def test_images_cut_short(kind: str) -> None:
    data = image_files()[kind]
    shape = decode(data).shape
    for end in range(0, len(data), max(len(data) // 60, 1)):
        image = attempt(lambda: decode(data[:end]))  # noqa: B023
        assert isinstance(image, DataError) or image.shape == shape  # the cut bytes were not pixels


def bomb(width: int, height: int) -> bytes:
    """Returns a small PNG that declares a large image."""
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "png")
    data = bytearray(stream.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (0, 5)])
def test_decompression_bombs_take_no_memory(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="not a readable image"):
        decode(bomb(*size))


def test_formats_whose_readers_start_programs_are_refused() -> None:
    for data in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", b"SIMPLE  =  T", b"gimp"):
        with pytest.raises(DataError, match="its format is not known"):
            decode(data)


def datums() -> list[bytes]:
    png, jpeg = image_files()["PNG RGB"], image_files()["JPEG L"]
    raw = picture().transpose(2, 0, 1)
    return [
        schema.Datum(channels=3, height=24, width=20, data=raw.tobytes(), label=3).SerializeToString(),
        schema.Datum(channels=2, height=3, width=1, float_data=[0.5] * 6, label=-1).SerializeToString(),
        schema.Datum(data=png, encoded=True, label=7).SerializeToString(),
        schema.Datum(data=jpeg, encoded=True).SerializeToString(),
    ]


def source(kind: type, message: str, **fields: Any) -> Any:
    layer = schema.LayerParameter(type=kind.__name__, top=["data", "label"])
    prototxt.parse(message.format(**fields), layer, "net")
    return kind(layer, schema.TRAIN)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("backend", ["lmdb", pytest.param("leveldb", marks=pytest.mark.leveldb)])
def test_records(backend: str, times: int, tmp_path: Path) -> None:
    rng = random.Random(times)
    whole, count = datums(), RECORDS * times // 2
    broken = [whole[0], *(mutated(whole[index % len(whole)], rng) for index in range(count))]
    write_database(tmp_path / "db", ((b"%08d" % index, value) for index, value in enumerate(broken)), backend)
    data = source(
        Data,
        'data_param {{ source: "{path}" backend: {backend} batch_size: 1 }}',
        path=tmp_path / "db",
        backend=backend.upper(),
    )
    refused = 0
    for _ in broken:
        found = attempt(data.next_batch)
        if isinstance(found, DataError):
            assert "record '0" in str(found)
            refused += 1
        else:
            assert (found[0].ndim, found[1].shape) == (4, (1,))
    assert count / 10 < refused < count
    data.close()


def annotated_datums() -> list[bytes]:
    found = []
    for number, data in enumerate(datums()):
        message = schema.AnnotatedDatum(datum=schema.Datum.FromString(data), type=schema.AnnotatedDatum.BBOX)
        for label in range(number):
            box = schema.NormalizedBBox(xmin=0.1, ymin=0.2, xmax=0.7, ymax=0.3 + label / 4, difficult=True)
            message.annotation_group.add(group_label=label + 1).annotation.add(instance_id=label, bbox=box)
        found.append(message.SerializeToString())
    return found


CHANGES = """transform_param {{ mirror: true expand_param {{ max_expand_ratio: 2 }} crop_h: 5 crop_w: 7
    resize_param {{ height: 8 width: 9 resize_mode: FIT_LARGE_SIZE_AND_PAD interp_mode: AREA interp_mode: CUBIC }}
    noise_param {{ gauss_blur: true }} emit_constraint {{ emit_type: CENTER }} }}
    annotated_data_param {{ batch_sampler {{ sampler {{ min_scale: 0.2 }} max_trials: 5
    sample_constraint {{ min_jaccard_overlap: 0.1 }} }} }}"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", TIMES)
def test_records_with_boxes(times: int, tmp_path: Path) -> None:
    rng = random.Random(times)
    whole, count = annotated_datums(), ANNOTATED * times
    broken = [whole[0], *(mutated(whole[index % len(whole)], rng) for index in range(count))]
    write_database(tmp_path / "db", ((b"%08d" % index, value) for index, value in enumerate(broken)), "lmdb")
    data = source(
        AnnotatedData,
        f'data_param {{{{ source: "{{path}}" backend: LMDB batch_size: 1 }}}} {CHANGES}',
        path=tmp_path / "db",
    )
    refused = 0
    for _ in broken:
        found = attempt(data.next_batch)
        if isinstance(found, DataError):
            assert "record '0" in str(found)
            refused += 1
        else:
            image, boxes = found
            assert image.shape[2:] == (5, 7)
            assert boxes.shape == (1, 1, boxes.shape[2], 8)
            corners = boxes[0, 0, :, 3:7]
            assert (corners == -1).all() or ((corners >= 0) & (corners <= 1)).all()
    assert count / 10 < refused < count
    data.close()


BOXES = {
    "xml": b"""<?xml version="1.0"?><annotation><size><height>20</height><width>30</width></size><object><name>a</name>
        <difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>
        </annotation>""",
    "json": b'{"image": {"height": 9, "width": 9}, "annotation": [{"category_id": "a", "bbox": [1, 2.5, 3e0, 4]}]}',
    "txt": b"1 2 3 4 5\n2 3.5 4 5 6\n",
}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_files_of_boxes(kind: str, times: int, tmp_path: Path) -> None:
    rng = random.Random(times)
    path, refused = tmp_path / "boxes", 0
    for _ in range(BOX_FILES * times):
        path.write_bytes(mutated(BOXES[kind], rng))
        found = attempt(lambda: read_annotation(path, kind))
        if isinstance(found, DataError):
            assert str(path) in str(found)
            refused += 1
        else:
            assert all(len(box.corners) == 4 for box in found.boxes)
    assert BOX_FILES * times / 10 < refused < BOX_FILES * times


def hdf5_source(path: Path) -> HDF5Data:
    return source(HDF5Data, 'hdf5_data_param {{ source: "{path}" batch_size: 4 }}', path=path)


def read_leveldb(path: Path) -> int:
    with LevelDbReader(str(path)) as reader:
        count = len(list(reader.records()))
        assert count == len(reader) <= 40
        return count


def write_hdf5(path: Path, **settings: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.arange(24, dtype=np.float32).reshape(8, 3), **settings)
        file.create_dataset("label", data=np.arange(8))


@pytest.mark.parametrize("times", TIMES)
def test_hdf5(times: int, tmp_path: Path) -> None:
    rng = random.Random(times)
    whole = []
    for settings in ({}, {"chunks": (2, 3), "compression": "gzip"}, {"chunks": (3, 2), "fletcher32": True}):
        write_hdf5(tmp_path / "whole.h5", **settings)
        whole.append((tmp_path / "whole.h5").read_bytes())
    (tmp_path / "list").write_text(str(tmp_path / "broken.h5"))
    refused = 0
    for index in range(HDF5 * times):
        (tmp_path / "broken.h5").write_bytes(mutated(whole[index % 3], rng))
        found = attempt(lambda: hdf5_source(tmp_path / "list").next_batch())
        if isinstance(found, DataError):
            assert "broken.h5" in str(found)
            refused += 1
        else:
            assert len(found[0]) == len(found[1]) == 4
    assert HDF5 * times / 20 < refused < HDF5 * times


@pytest.mark.parametrize("settings", [{}, {"chunks": (1 << 20, 3), "compression": "gzip"}])
def test_hdf5_that_declares_more_than_it_holds(settings: dict, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "broken.h5", "w") as file:
        for name in ("data", "label"):
            file.create_dataset(name, (1 << 44, 3), np.float32, **settings)
    (tmp_path / "list").write_text(str(tmp_path / "broken.h5"))
    with pytest.raises(
        DataError, match=r"broken\.h5: dataset '/data' declares 211106232532992 bytes, but the file contains only 0"
    ):
        hdf5_source(tmp_path / "list")


def log_alone(path: Path) -> None:
    write_database(path, ((b"%08d" % i, bytes([i]) * 300) for i in range(40)), "leveldb")


def tables(path: Path) -> None:
    import plyvel

    log_alone(path)
    with plyvel.DB(str(path)) as database:
        database.compact_range()


@pytest.mark.leveldb
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("make", [log_alone, tables])
def test_leveldb_files(make: Callable[[Path], None], times: int, tmp_path: Path) -> None:
    rng = random.Random(times)
    make(tmp_path / "db")
    whole = {
        file.name: file.read_bytes()
        for file in (tmp_path / "db").iterdir()
        if file.stat().st_size and file.name not in ("LOCK", "LOG", "LOG.old")
    }
    count, refused = LEVELDB * times // 2, 0
    for index in range(count):
        name = list(whole)[index % len(whole)]
        (tmp_path / "db" / name).write_bytes(mutated(whole[name], rng))
        found = attempt(lambda: read_leveldb(tmp_path / "db"))
        if isinstance(found, DataError):
            assert str(tmp_path / "db") in str(found)
            refused += 1
        (tmp_path / "db" / name).write_bytes(whole[name])
    assert count / 4 < refused < count


def test_an_lmdb_cut_short_anywhere(tmp_path: Path) -> None:
    write_database(tmp_path / "db", ((b"%08d" % i, bytes(5000)) for i in range(20)), "lmdb")
    file = tmp_path / "db/data.mdb"
    data = file.read_bytes()
    for end in range(0, len(data), 1000):
        file.write_bytes(data[:end])
        with pytest.raises(DataError):
            source(Data, 'data_param {{ source: "{path}" backend: LMDB batch_size: 1 }}', path=tmp_path / "db")
