"""Data: records in key order, whatever the batch size; bad databases are said, not served."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.caffe import schema
from demitasse.caffe.sources.database import Data
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

COUNT = 10


def datum(index: int, height: int = 4, width: int = 5) -> bytes:
    """Image ``index``: pixels index, index + 1, ..., label 2 * index."""
    data = bytes((index + i) % 256 for i in range(height * width))
    message = schema.Datum(channels=1, height=height, width=width, data=data, label=2 * index)
    return message.SerializeToString()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    # written in another order than that of the keys
    write_lmdb(tmp_path / "db", [(f"{i:08d}".encode(), datum(i)) for i in reversed(range(COUNT))])
    return tmp_path / "db"


def layer(path: Path, data: str = "batch_size: 4 backend: LMDB", transform: str = "", tops: int = 2):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    text = (
        f'layer {{ name: "d" type: "Data" {names} transform_param {{ {transform} }} '
        f'data_param {{ source: "{path}" {data} }} }}'
    )
    return prototxt.parse(text, schema.NetParameter(), "net").layer[0]


def source(path: Path, *settings: str, phase: int = schema.TRAIN, tops: int = 2) -> Data:
    return Data(layer(path, *settings, tops=tops), phase)


def write(tmp_path: Path, *values: bytes) -> Path:
    write_lmdb(tmp_path / "bad", [(f"{i:08d}".encode(), value) for i, value in enumerate(values)])
    return tmp_path / "bad"


def test_batches_follow_the_keys_and_wrap_round(database: Path) -> None:
    data = source(database)
    assert data.shapes == [(4, 1, 4, 5), (4,)]
    labels = np.concatenate([data.next_batch()[1].numpy() for _ in range(4)])
    np.testing.assert_array_equal(labels, [2 * (i % COUNT) for i in range(16)])


def test_pixels_are_float32_and_belong_to_their_label(database: Path) -> None:
    image, label = source(database, "batch_size: 7 backend: LMDB", "scale: 0.5").next_batch()
    assert str(image.dtype) == str(label.dtype) == "torch.float32"
    np.testing.assert_array_equal(image[3, 0].numpy(), (3 + np.arange(20).reshape(4, 5)) * 0.5)


def test_a_batch_may_be_larger_than_the_database(database: Path) -> None:
    labels = source(database, "batch_size: 23 backend: LMDB").next_batch()[1].numpy()
    np.testing.assert_array_equal(labels, [2 * (i % COUNT) for i in range(23)])


def test_one_top_is_the_image(database: Path) -> None:
    data = source(database, tops=1)
    assert data.shapes == [(4, 1, 4, 5)]
    assert len(data.next_batch()) == 1


def test_three_tops_are_refused(database: Path) -> None:
    with pytest.raises(NetError, match="3 tops"):
        source(database, tops=3)


def test_two_nets_share_a_database(database: Path) -> None:
    first, second = source(database), source(database)
    first.next_batch()
    np.testing.assert_array_equal(second.next_batch()[1].numpy(), [0, 2, 4, 6])
    first.close()
    np.testing.assert_array_equal(second.next_batch()[1].numpy(), [8, 10, 12, 14])


def test_rand_skip_starts_anywhere_below_and_by_the_seed(database: Path) -> None:
    starts = []
    for seed in range(40):
        data = source(database, "batch_size: 1 backend: LMDB rand_skip: 5")
        data.seed(seed)
        starts.append(int(data.next_batch()[1]) // 2)
    assert set(starts) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("transform", ["", "crop_size: 3 mirror: true"])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_resumed_run_reads_the_same_batches(database: Path, transform: str, before: int) -> None:
    settings = ("batch_size: 4 backend: LMDB rand_skip: 7", transform)
    unbroken = source(database, *settings)
    unbroken.seed(11)
    for _ in range(before):
        unbroken.next_batch()
    state = json.loads(json.dumps(unbroken.state()))
    resumed = source(database, *settings)
    resumed.restore(state)
    for _ in range(5):
        for one, other in zip(unbroken.next_batch(), resumed.next_batch(), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_seed_decides_the_draws(database: Path) -> None:
    def read(seed: int) -> np.ndarray:
        data = source(database, "batch_size: 10 backend: LMDB", "crop_size: 2 mirror: true")
        data.seed(seed)
        return data.next_batch()[0].numpy()

    np.testing.assert_array_equal(read(-1), read(-1))
    assert not np.array_equal(read(1), read(2))


def test_a_state_beyond_the_database_is_refused(database: Path) -> None:
    data = source(database)
    with pytest.raises(DataError, match="record 11, but the database has 10"):
        data.restore({**data.state(), "position": COUNT + 1})


def test_float_data(tmp_path: Path) -> None:
    values = [0.25, -1.5, 1e6]
    message = schema.Datum(channels=3, height=1, width=1, float_data=values, label=-1)
    image, label = source(write(tmp_path, message.SerializeToString()), "batch_size: 1 backend: LMDB").next_batch()
    np.testing.assert_array_equal(image.numpy().ravel(), np.float32(values))
    assert label.item() == -1


def encoded(color: bool) -> bytes:
    stream = BytesIO()
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    Image.fromarray(pixels if color else pixels[..., 0]).save(stream, "png")
    return schema.Datum(data=stream.getvalue(), encoded=True).SerializeToString()


@pytest.mark.parametrize(
    ("color", "data", "transform", "expected"),
    [
        (True, "", "", [[30, 60], [20, 50], [10, 40]]),
        (False, "", "", [[10, 40]]),
        (False, "force_encoded_color: true", "", [[10, 40]] * 3),
        (False, "", "force_color: true", [[10, 40]] * 3),
        (True, "", "force_gray: true", [[18, 48]]),
    ],
)
def test_encoded_images_are_blue_green_red(
    tmp_path: Path, color: bool, data: str, transform: str, expected: list[list[int]]
) -> None:
    path = write(tmp_path, encoded(color))
    image = source(path, f"batch_size: 1 backend: LMDB {data}", transform, tops=1).next_batch()[0]
    np.testing.assert_array_equal(image[0, :, 0].numpy(), expected)


def test_cropped_images_may_differ_in_size(tmp_path: Path) -> None:
    path = write(tmp_path, datum(0, 4, 5), datum(1, 6, 7))
    image = source(path, "batch_size: 2 backend: LMDB", "crop_size: 2", phase=schema.TEST, tops=1).next_batch()[0]
    np.testing.assert_array_equal(image[0, 0].numpy(), [[6, 7], [11, 12]])
    np.testing.assert_array_equal(image[1, 0].numpy(), [[17, 18], [24, 25]])


def missing(tmp_path: Path) -> Path:
    return tmp_path / "nowhere"


def not_an_lmdb(tmp_path: Path) -> Path:
    (tmp_path / "data.mdb").write_bytes(b"nothing of the kind" * 1000)
    return tmp_path


def empty(tmp_path: Path) -> Path:
    return write(tmp_path)


def cut_short(tmp_path: Path) -> Path:
    path = write(tmp_path, *(datum(i) for i in range(500)))
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return path


def not_a_datum(tmp_path: Path) -> Path:
    return write(tmp_path, b"\xff\xff\xff")


def datum_without_values(tmp_path: Path) -> Path:
    return write(tmp_path, b"")


def too_few_values(tmp_path: Path) -> Path:
    return write(tmp_path, schema.Datum(channels=1, height=2, width=2, data=b"abc").SerializeToString())


def negative_shape(tmp_path: Path) -> Path:
    return write(tmp_path, schema.Datum(channels=-1, height=-1, width=4, data=b"abcd").SerializeToString())


def image_cut_short(tmp_path: Path) -> Path:
    whole = schema.Datum.FromString(encoded(True))
    return write(tmp_path, schema.Datum(data=whole.data[:50], encoded=True).SerializeToString())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "nowhere: not an LMDB: there is no file data.mdb"),
        (not_an_lmdb, "not a readable LMDB"),
        (empty, "bad: the LMDB has no records"),
        (cut_short, "data.mdb: cut short: found [0-9]+ bytes; expected [0-9]+"),
        (not_a_datum, "bad: record '00000000': not a Datum"),
        (datum_without_values, r"record '00000000': not a Datum: found 0 values for shape \[0, 0, 0\]"),
        (too_few_values, r"record '00000000': not a Datum: found 3 values for shape \[1, 2, 2\]"),
        (negative_shape, r"found 4 values for shape \[-1, -1, 4\]"),
        (image_cut_short, "record '00000000': not a Datum: not a readable image"),
    ],
)
def test_bad_databases_are_named(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(DataError, match=message):
        source(make(tmp_path))


def test_an_image_of_another_size_is_named_with_both_shapes(tmp_path: Path) -> None:
    path = write(tmp_path, datum(0), datum(1), datum(2, 5, 4))
    with pytest.raises(DataError, match=r"record '00000002'.* \[1, 5, 4\], but .* \[1, 4, 5\]"):
        source(path, "batch_size: 3 backend: LMDB").next_batch()


def test_a_crop_that_does_not_fit_is_named(database: Path) -> None:
    with pytest.raises(DataError, match=r"record '00000000': crop_size 5 is larger .* \[1, 4, 5\]"):
        source(database, "batch_size: 3 backend: LMDB", "crop_size: 5")


@pytest.mark.leveldb
def test_leveldb_is_the_backend_where_none_is_named(database: Path) -> None:
    with pytest.raises(DataError, match="db: not a LevelDB: there is no file CURRENT in it"):
        source(database, "batch_size: 3")


def test_a_batch_size_is_needed(database: Path) -> None:
    with pytest.raises(NetError, match="batch_size"):
        source(database, "backend: LMDB")
