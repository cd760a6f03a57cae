"""One suite over every registered source of data: what each must do, wherever its records come from."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.net import Net
from demitasse.caffe.sources import SOURCES, Source
from demitasse.caffe.sources.memory import MemoryData
from demitasse.caffe.sources.store import write_database
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, DemitasseError

RECORDS = 7
TRANSFORM = "transform_param { crop_size: 5 mirror: true }"
NOISE = 'data_filler { type: "gaussian" } data_filler { value: 3 }'
# type -> its settings; B is the size of a batch, and files are in the working directory
SETTINGS = {
    "AnnotatedData": """data_param { source: "annotated" backend: LMDB batch_size: B rand_skip: 5 }
        annotated_data_param { batch_sampler { sampler { min_scale: 0.5 } max_trials: 4
        sample_constraint { min_object_coverage: 0.3 } } }
        transform_param { mirror: true resize_param { height: 6 width: 5 interp_mode: LINEAR interp_mode: AREA }
        expand_param { max_expand_ratio: 2 } distort_param { brightness_prob: 0.5 brightness_delta: 20 } }""",
    "Data": f'data_param {{ source: "lmdb" backend: LMDB batch_size: B rand_skip: 5 }} {TRANSFORM}',
    "DenseImageData": f'dense_image_data_param {{ source: "pairs" batch_size: B shuffle: true }} {TRANSFORM}',
    "DummyData": f"dummy_data_param {{ shape {{ dim: B dim: 3 }} shape {{ dim: B }} {NOISE} }}",
    "HDF5Data": 'hdf5_data_param { source: "hdf5_list" batch_size: B shuffle: true }',
    "ImageData": f'image_data_param {{ source: "list" batch_size: B shuffle: true }} {TRANSFORM}',
    "ImageSegData": 'image_data_param { source: "pairs" batch_size: B rand_skip: 5 label_type: PIXEL } transform_param '
    "{ crop_size: 7 mirror: true rand_resize: 0.5 rand_resize: 2 rand_rotate: -9 rand_rotate: 9 gaussian_blur: true }",
    "Input": "input_param { shape { dim: B dim: 3 } shape { dim: B } }",
    "MemoryData": "memory_data_param { channels: 1 height: 2 width: 2 batch_size: B }",
    "WindowData": f'window_data_param {{ source: "windows" batch_size: B }} {TRANSFORM}',
}
FED = {kind for kind in SOURCES if SOURCES[kind].fed}
READERS = [kind for kind in SOURCES if kind not in FED]
RECORDLESS = {"DummyData"}  # each process draws its own from torch's generator, there is nothing to deal out

each = pytest.mark.parametrize("kind", list(SOURCES))
each_reader = pytest.mark.parametrize("kind", READERS)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts seven records into files of each kind."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    records, annotated, lines, pairs, windows = [], [], "", "", ""
    for index in range(RECORDS):
        content = encode(random.integers(0, 256, (3, 9, 8), np.uint8), "png")
        Path(f"{index}.png").write_bytes(content)
        datum = schema.Datum(data=content, encoded=True, label=index)
        annotated.append((b"%08d" % index, annotated_datum(datum, index).SerializeToString()))
        records.append((b"%08d" % index, datum.SerializeToString()))
        Path(f"{index}_classes.png").write_bytes(encode(random.integers(0, 5, (1, 9, 8), np.uint8), "png"))
        lines += f"{index}.png {index}\n"
        pairs += f"{index}.png {index}_classes.png\n"
        windows += f"# {index}\n{index}.png\n3 9 8\n2\n{index + 1} 0.9 1 1 6 7\n3 0.2 0 2 7 8\n"
    write_database("lmdb", records, "lmdb")
    write_database("annotated", annotated, "lmdb")
    with h5py.File("rows", "w") as file:
        file["data"] = random.standard_normal((RECORDS, 3)).astype(np.float32)
        file["label"] = np.arange(RECORDS, dtype=np.float32)
    for name, text in (("list", lines), ("pairs", pairs), ("windows", windows), ("hdf5_list", "rows\n")):
        Path(name).write_text(text)


def annotated_datum(datum: schema.Datum, boxes: int) -> schema.AnnotatedDatum:
    """An image with a number of boxes, of two classes in turn."""
    message = schema.AnnotatedDatum(datum=datum, type=schema.AnnotatedDatum.BBOX)
    for number in range(boxes):
        box = schema.NormalizedBBox(xmin=0.1, ymin=0.1 * number, xmax=0.6, ymax=0.9)
        message.annotation_group.add(group_label=1 + number % 2).annotation.add(instance_id=number, bbox=box)
    return message


def has_boxes(top: Tensor) -> bool:
    return top.ndim == 4 and top.shape[3] == 8


def dealt_top(top: Tensor, rank: int, ranks: int) -> Tensor:
    """Returns the part of a top that belongs to a process: every so many items or, of boxes, those of such items."""
    if not has_boxes(top):
        return top[rank::ranks]
    rows = top[0, 0][top[0, 0, :, 0] % ranks == rank].clone()
    rows[:, 0] = rows[:, 0].div(ranks, rounding_mode="floor")
    return rows[None, None] if len(rows) else torch.full((1, 1, 1, 8), -1.0)


def joined_tops(batches: list[list[Tensor]]) -> list[Tensor]:
    """Returns batches as one."""
    if not has_boxes(batches[0][-1]):
        return [torch.cat(tops) for tops in zip(*batches, strict=True)]
    size = len(batches[0][0])
    for index, (_, boxes) in enumerate(batches):
        boxes[..., 0][boxes[..., 0] >= 0] += index * size
    return [torch.cat(tops, 2 * has_boxes(tops[0])) for tops in zip(*batches, strict=True)]


def definition(kind: str, batch: int = 3) -> str:
    settings = SETTINGS[kind].replace(": B", f": {batch}")
    return f'layer {{ name: "d" type: "{kind}" top: "data" top: "label" {settings} }}'


def filled(source: Source) -> Source:
    if isinstance(source, MemoryData):
        source.set_arrays(np.arange(4.0 * RECORDS).reshape(-1, 1, 2, 2), np.arange(float(RECORDS)))
    return source


def made(kind: str, batch: int = 3, seed: int = 4) -> Source:
    spec = prototxt.parse(definition(kind, batch), schema.NetParameter(), "net").layer[0]
    source = filled(SOURCES[kind](spec, schema.TRAIN))
    source.seed(seed)
    torch.manual_seed(seed)
    return source


def equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def test_every_source_is_here() -> None:
    assert set(SETTINGS) == set(SOURCES), "give the new source a line in SETTINGS"


@each
def test_a_net_has_the_tops_that_the_source_says(kind: str) -> None:
    net = Net(prototxt.parse(definition(kind), schema.NetParameter(), "net"))
    assert [net.shapes["data"], net.shapes["label"]] == list(net.sources["d"].shapes)
    assert all(shape[0] == (1 if shape[3:] == (8,) else 3) for shape in net.sources["d"].shapes)


@each_reader
def test_batches_have_the_shapes_that_are_said(kind: str) -> None:
    source = made(kind)
    for _ in range(2 * RECORDS):
        batch = source.next_own_batch()
        shapes = [(*top.shape[:2], source.shapes[1][2], 8) if has_boxes(top) else tuple(top.shape) for top in batch]
        assert shapes == list(source.shapes)  # but the number of boxes differs
        assert all(top.dtype == torch.float32 and bool(top.isfinite().all()) for top in batch)


@each_reader
def test_a_batch_is_not_changed_by_the_next_one(kind: str) -> None:
    source = made(kind)
    first = source.next_own_batch()
    kept = [top.clone() for top in first]
    source.next_own_batch()
    assert equal(first, kept)


@each_reader
def test_batches_depend_on_the_seed_alone(kind: str) -> None:
    again, source = made(kind, seed=5), made(kind)
    first = [source.next_own_batch() for _ in range(4)]
    again.next_own_batch()
    again.seed(4)
    torch.manual_seed(4)
    assert all(equal(batch, again.next_own_batch()) for batch in first)


@each
def test_a_state_is_plain_and_brings_the_batches_back(kind: str) -> None:
    if kind in FED:
        source = made(kind)
        source.restore(json.loads(json.dumps(source.state())))
        return
    source, other = made(kind), made(kind, seed=9)
    for count in (1, 2, RECORDS):
        for _ in range(count):
            source.next_own_batch()
        state = json.loads(json.dumps(source.state()))
        torch.manual_seed(1)
        wanted = [source.next_own_batch() for _ in range(4)]
        for resumed in (other, source):
            resumed.restore(state)
            torch.manual_seed(1)
            assert all(equal(batch, resumed.next_own_batch()) for batch in wanted)


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind not in RECORDLESS])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_batches_of_all_processes_make_up_those_of_one(kind: str, ranks: int) -> None:
    dealt = [made(kind, 2) for _ in range(ranks)]
    for rank, source in enumerate(dealt):
        source.split_among_ranks(rank, ranks)
    batches = [[source.next_own_batch() for source in dealt] for _ in "ab"]
    # one process has a larger batch, or, where a batch is drawn as a whole, as many batches
    large, small = made(kind, 2 * ranks), made(kind, 2)
    wholes = [large.next_own_batch() for _ in "ab"]
    joined = [joined_tops([small.next_own_batch() for _ in dealt]) for _ in "ab"]
    assert any(
        all(
            equal(mine, [dealt_top(top, rank, ranks) for top in whole])
            for whole, parts in zip(of_one, batches, strict=True)
            for rank, mine in enumerate(parts)
        )
        for of_one in (wholes, joined)
    )


@each_reader
def test_constants_are_the_same_in_every_batch(kind: str) -> None:
    source = made(kind)
    for index, constant in source.constants().items():
        assert all(torch.equal(source.next_own_batch()[index], constant) for _ in range(3))


@each
def test_a_source_may_be_closed_twice_and_before_anything_is_read(kind: str) -> None:
    unused, used = made(kind), made(kind)
    if kind not in FED:
        used.next_own_batch()
    for source in (unused, used):
        source.close()
        source.close()


@each_reader
def test_several_threads_make_the_same_batches(kind: str) -> None:
    ahead, alone = made(kind), made(kind)
    ahead.workers = 2
    first = [alone.next_own_batch() for _ in range(4)]
    torch.manual_seed(4)
    assert all(equal(batch, ahead.next_own_batch()) for batch in first)
    ahead.close()


@each
def test_a_file_that_is_missing_or_broken_is_named(kind: str) -> None:
    text = definition(kind)
    kinds = ("lmdb", "annotated", "hdf5_list", "list", "pairs", "windows")
    names = [name for name in kinds if f'"{name}"' in text]
    for name in names:
        spec = prototxt.parse(text.replace(f'"{name}"', '"missing"'), schema.NetParameter(), "net").layer[0]
        with pytest.raises(DemitasseError, match="missing"):
            SOURCES[kind](spec, schema.TRAIN).next_own_batch()
    Path("broken").write_bytes(b"\xff\0 broken")
    for name in names:
        spec = prototxt.parse(text.replace(f'"{name}"', '"broken"'), schema.NetParameter(), "net").layer[0]
        with pytest.raises(DemitasseError, match="broken"):
            SOURCES[kind](spec, schema.TRAIN).next_own_batch()


@pytest.mark.parametrize("kind", sorted(FED))
def test_what_is_fed_reads_nothing(kind: str) -> None:
    with pytest.raises(DataError, match="fed by the caller"):
        made(kind).next_own_batch()
