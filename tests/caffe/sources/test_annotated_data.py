"""AnnotatedData: boxes follow their images through every transformation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.annotations import Annotations
from demitasse.caffe.images.codec import encode
from demitasse.caffe.images.sampling import WindowSampler
from demitasse.caffe.sources.annotated_data import AnnotatedData
from demitasse.caffe.sources.store import write_database
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

HEIGHT, WIDTH = 60, 80
BOX = (20, 12, 50, 33)  # xmin, ymin, xmax, ymax in pixels
RESIZE = "resize_param { height: 96 width: 96 }"


def image(box: tuple[int, int, int, int] = BOX) -> np.ndarray:
    """Returns a dark image with a bright rectangle, (3, height, width)."""
    pixels = np.full((3, HEIGHT, WIDTH), 40, np.uint8)
    pixels[:, box[1] : box[3], box[0] : box[2]] = 220
    return pixels


def annotated(*boxes: tuple[int, int, int, int], label: int = 7, encoded: bool = True, typed: bool = True) -> bytes:
    """Returns a record of an image with the first of the boxes drawn, class 1, 2 ... each."""
    pixels = image(boxes[0]) if boxes else image((0, 0, 0, 0))
    raw = schema.Datum(channels=3, height=HEIGHT, width=WIDTH, data=pixels.tobytes(), label=label)
    datum = schema.Datum(data=encode(pixels, "png"), encoded=True, label=label) if encoded else raw
    message = schema.AnnotatedDatum(datum=datum)
    if typed:
        message.type = schema.AnnotatedDatum.BBOX
    for number, (xmin, ymin, xmax, ymax) in enumerate(boxes):
        box = schema.NormalizedBBox(xmin=xmin / WIDTH, ymin=ymin / HEIGHT, xmax=xmax / WIDTH, ymax=ymax / HEIGHT)
        box.difficult = number % 2 == 1
        message.annotation_group.add(group_label=number + 1).annotation.add(instance_id=number + 3, bbox=box)
    return message.SerializeToString()


def source(
    folder: Path, *records: bytes, transform: str = "", annotations: str = "", batch: int = 1, tops: int = 2,
    phase: int = schema.TRAIN,
) -> AnnotatedData:  # fmt: skip
    path = folder / f"db{len(list(folder.iterdir()))}"
    write_database(path, [(b"%08d" % index, record) for index, record in enumerate(records)], "lmdb")
    names = " ".join(f'top: "t{index}"' for index in range(tops))
    text = f"""layer {{ name: "d" type: "AnnotatedData" {names} annotated_data_param {{ {annotations} }}
        transform_param {{ {transform} }} data_param {{ source: "{path}" backend: LMDB batch_size: {batch} }} }}"""
    spec = prototxt.parse(text, schema.NetParameter(), "net").layer[0]
    data = AnnotatedData(spec, phase)
    data.seed(1)
    return data


def bright(pixels: np.ndarray) -> np.ndarray:
    """Returns the corners of the bright rectangle, in fractions of the image."""
    rows, columns = np.nonzero(pixels[0] > 130)
    height, width = pixels.shape[1:]
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / (width, height, width, height)


def test_rows_of_boxes(tmp_path: Path) -> None:
    data = source(tmp_path, annotated(BOX, (0, 0, 8, 6)), annotated(), annotated(BOX), batch=3)
    assert data.shapes == [(3, 3, HEIGHT, WIDTH), (1, 1, 2, 8)]
    images, boxes = data.next_batch()
    np.testing.assert_array_equal(images[0], image())
    corners = [20 / 80, 12 / 60, 50 / 80, 33 / 60]
    expected = [[0, 1, 3, *corners, 0], [0, 2, 4, 0, 0, 0.1, 0.1, 1], [2, 1, 3, *corners, 0]]
    np.testing.assert_allclose(boxes[0, 0], expected, atol=1e-6)


def test_a_batch_without_boxes_has_a_row_of_minus_one(tmp_path: Path) -> None:
    data = source(tmp_path, annotated())
    assert data.shapes[1] == (1, 1, 1, 8)
    np.testing.assert_array_equal(data.next_batch()[1], np.full((1, 1, 1, 8), -1))


def test_records_without_boxes_have_labels(tmp_path: Path) -> None:
    data = source(tmp_path, annotated(label=4, typed=False), annotated(label=5, typed=False), batch=2)
    assert data.next_batch()[1].tolist() == [4, 5]
    assert len(source(tmp_path, annotated(BOX), tops=1).next_batch()) == 1
    with pytest.raises(DataError, match="record '00000001': not an AnnotatedDatum: the record has no type"):
        source(tmp_path, annotated(BOX), annotated(typed=False), batch=2).next_batch()
    typed = source(tmp_path, annotated(BOX, typed=False), annotations="anno_type: BBOX")
    assert typed.next_batch()[1].shape == (1, 1, 1, 8)


SAMPLER = """batch_sampler { sampler { min_scale: 0.4 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } max_sample: 1
    sample_constraint { min_object_coverage: 0.3 } max_trials: 50 }"""


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(
    ("transform", "annotations"),
    [
        ("mirror: true", ""),
        (RESIZE, ""),
        ("resize_param { height: 96 width: 200 resize_mode: FIT_LARGE_SIZE_AND_PAD }", ""),
        ("resize_param { height: 200 width: 96 resize_mode: FIT_LARGE_SIZE_AND_PAD }", ""),
        ("resize_param { height: 96 width: 96 resize_mode: FIT_SMALL_SIZE }", ""),
        (f"mirror: true crop_h: 70 crop_w: 80 {RESIZE}", ""),
        (f"{RESIZE} expand_param {{ max_expand_ratio: 3 }} mean_value: 40", ""),
        (RESIZE, SAMPLER),
        (f"{RESIZE} mirror: true crop_size: 90 expand_param {{ max_expand_ratio: 2 }} mean_value: 40", SAMPLER),
    ],
)  # fmt: skip
def test_boxes_are_where_the_pixels_are(tmp_path: Path, transform: str, annotations: str, encoded: bool) -> None:
    data = source(tmp_path, annotated(BOX, encoded=encoded), transform=transform, annotations=annotations)
    places = set()
    for _ in range(40):
        pixels, boxes = data.next_batch()
        if boxes[0, 0, 0, 0] == -1:
            continue
        # a window is cut to whole pixels, its boxes are not; and sides are blurred
        values = pixels[0].numpy() + (40 if "mean" in transform else 0)
        np.testing.assert_allclose(bright(values), boxes[0, 0, 0, 3:7].numpy(), atol=0.06)
        places.add(tuple(boxes[0, 0, 0, 3:7].round(decimals=2).tolist()))
    assert (len(places) > 10) == any(each in transform + annotations for each in ("crop", "expand", "sampler"))


def test_each_process_makes_a_part_of_the_images_and_their_boxes(tmp_path: Path) -> None:
    records = [annotated((4 * index, index, 40 + index, 30)) for index in range(7)]
    transform = f"{RESIZE} mirror: true crop_size: 90 expand_param {{ max_expand_ratio: 2 }}"
    alone = source(tmp_path, *records, transform=transform, annotations=SAMPLER, batch=6)
    dealt = [source(tmp_path, *records, transform=transform, annotations=SAMPLER, batch=2) for _ in range(3)]
    for rank, each in enumerate(dealt):
        each.split_among_ranks(rank, 3)
    for _ in range(3):
        images, boxes = alone.next_own_batch()
        for rank, each in enumerate(dealt):
            own_images, own_boxes = each.next_own_batch()
            np.testing.assert_array_equal(own_images, images[rank::3])
            rows = boxes[0, 0][boxes[0, 0, :, 0] % 3 == rank]
            rows[:, 0] //= 3
            np.testing.assert_array_equal(own_boxes[0, 0], rows if len(rows) else np.full((1, 8), -1))
            assert each.state() == alone.state()


def test_an_expanded_image_is_filled_with_the_mean(tmp_path: Path) -> None:
    transform = "expand_param { max_expand_ratio: 4 } resize_param { height: 60 width: 80 interp_mode: NEAREST }"
    data = source(tmp_path, annotated(BOX), transform=f"{transform} mean_value: 9 mean_value: 90 mean_value: 200")
    corners = {tuple(data.next_batch()[0][0, :, 0, 0].tolist()) for _ in range(20)}
    assert (0, 0, 0) in corners
    assert corners <= {(0, 0, 0), (31, -50, -160)}


def test_of_half_a_box_the_centre_decides(tmp_path: Path) -> None:
    """The crop has columns 16 to 63 of 80: of boxes that begin at 0."""
    boxes = [(0, 10, 30, 40), (0, 10, 36, 40), (60, 10, 70, 40), (0, 10, 16, 40)]
    transform = "crop_h: 60 crop_w: 48"
    for emit, labels in (
        ("", [1, 2, 3]),
        ("emit_constraint { emit_type: CENTER }", [2]),
        ("emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.5 }", [2]),
        ("emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.35 }", [1, 2, 3]),
    ):
        data = source(tmp_path, annotated(*boxes), transform=f"{transform} {emit}", phase=schema.TEST)
        assert data.next_batch()[1][0, 0, :, 1].tolist() == labels, emit


def test_scaled_units_of_the_smallest_size(tmp_path: Path) -> None:
    resize = "resize_param { height: 30 width: 30 resize_mode: FIT_SMALL_SIZE height_scale: 15 width_scale: 20 }"
    data = source(tmp_path, annotated(BOX), transform=resize)
    pixels, boxes = data.next_batch()
    assert pixels.shape == (1, 3, 30, 40)
    np.testing.assert_allclose(boxes[0, 0, 0, 3:7], [2 * 20 / 80, 2 * 12 / 60, 2 * 50 / 80, 2 * 33 / 60], atol=1e-6)
    wide = source(tmp_path, annotated(BOX), transform=resize.replace("20", "50"))
    with pytest.raises(DataError, match="the image is smaller than height_scale 15 and width_scale 50"):
        wide.next_batch()


def sampler(text: str) -> WindowSampler:
    param = prototxt.parse(text, schema.AnnotatedDataParameter(), "net")
    return WindowSampler(param.batch_sampler)


TARGET = np.array([[0.4, 0.4, 0.6, 0.6], [0.0, 0.0, 0.1, 0.1]])
SIZES = "sampler { min_scale: 0.1 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } max_sample: 1"


def shares(window: np.ndarray) -> dict[str, list[float]]:
    """Returns the three measures of a window with each of the boxes."""
    found: dict[str, list[float]] = {"jaccard_overlap": [], "sample_coverage": [], "object_coverage": []}
    for box in TARGET:
        width = max(0, min(window[2], box[2]) - max(window[0], box[0]))
        height = max(0, min(window[3], box[3]) - max(window[1], box[1]))
        areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (window, box)]
        found["sample_coverage"].append(width * height / areas[0])
        found["object_coverage"].append(width * height / areas[1])
        found["jaccard_overlap"].append(width * height / (sum(areas) - width * height))
    return found


@pytest.mark.parametrize("name", ["jaccard_overlap", "sample_coverage", "object_coverage"])
def test_samplers_keep_to_their_constraints(name: str) -> None:
    draw = sampler(f"batch_sampler {{ {SIZES} sample_constraint {{ min_{name}: 0.2 max_{name}: 0.7 }} }}")
    rng = np.random.default_rng(0)
    windows = [draw.draw(TARGET, rng) for _ in range(100)]
    assert sum(window is not None for window in windows) > 80
    for window in windows:
        assert window is None or any(0.2 <= share <= 0.7 for share in shares(window)[name])
    assert draw.draw(np.zeros((0, 4)), rng) is None


def test_windows_have_the_scales_and_aspects_of_their_sampler() -> None:
    draw = sampler("batch_sampler { sampler { min_scale: 0.3 max_scale: 0.9 max_aspect_ratio: 3 } max_sample: 1 }")
    rng = np.random.default_rng(0)
    windows = np.array([draw.draw(TARGET, rng) for _ in range(300)])
    width, height = (windows[:, 2:] - windows[:, :2]).T
    assert (windows >= 0).all()
    assert (windows <= 1 + 1e-9).all()
    scale = np.sqrt(width * height)
    assert 0.3 <= scale.min() < 0.35 < 0.85 < scale.max() <= 0.9 + 1e-9
    assert (width / height).min() >= 1 - 1e-9
    assert (width / height).max() > 2.5


def test_one_of_all_samplers_is_taken_and_none_is_none() -> None:
    both = sampler(
        "batch_sampler { max_sample: 1 } batch_sampler { sampler { max_scale: 0.5 min_scale: 0.5 } max_sample: 3 } "
        "batch_sampler { use_original_image: false }"
    )
    rng = np.random.default_rng(0)
    whole = [np.allclose(both.draw(TARGET, rng), [0, 0, 1, 1]) for _ in range(400)]
    assert 60 < sum(whole) < 140
    assert sampler("").draw(TARGET, rng) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("sampler { min_scale: 0 }", "min_scale is 0 and max_scale 1; expected 0 to 1, in order"),
        ("sampler { max_scale: 1.5 }", "max_scale 1.5; expected 0 to 1"),
        ("sampler { min_aspect_ratio: 2 }", "min_aspect_ratio is 2 and max_aspect_ratio 1; expected positive numbers"),
        ("max_trials: 1000000", "max_trials is 1000000; expected at most 10000"),
    ],
)
def test_impossible_samplers_are_refused(settings: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        sampler(f"batch_sampler {{ {settings} }}")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"batch": 0}, NetError, "AnnotatedData needs a batch_size above 0"),
        ({"tops": 3}, NetError, "AnnotatedData makes images and boxes, but 3 tops are named"),
        ({"batch": 2, "transform": "resize_param { height: 9 width: 9 resize_mode: FIT_SMALL_SIZE }"}, NetError,
         "FIT_SMALL_SIZE needs a batch_size of 1, found 2"),
        ({"transform": "expand_param { max_expand_ratio: 0.5 }"}, NetError, "max_expand_ratio is 0.5; expected 1"),
        ({"transform": "crop_h: 3"}, NetError, "crop_h is 3 and crop_w 0; give both or neither"),
        ({"transform": "crop_h: 61 crop_w: 3"}, DataError, "crop_size 61 x 3 is larger than the image"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(tmp_path: Path, fields: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        source(tmp_path, annotated(BOX), **fields)


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    small = schema.AnnotatedDatum(datum=schema.Datum(channels=3, height=4, width=4, data=bytes(48)), type=0)
    data = source(tmp_path, annotated(BOX), small.SerializeToString(), batch=2)
    with pytest.raises(DataError, match=r"record '00000001': the image has shape \[3, 4, 4\], but the first of the"):
        data.next_batch()


def test_floats_are_not_resized(tmp_path: Path) -> None:
    datum = schema.Datum(channels=1, height=2, width=2, float_data=[1.5] * 4)
    record = schema.AnnotatedDatum(datum=datum, type=0).SerializeToString()
    assert source(tmp_path, record).next_batch()[0].tolist() == [[[[1.5, 1.5], [1.5, 1.5]]]]
    with pytest.raises(DataError, match="record '00000000': the image has float_data; transformations of pixels need"):
        source(tmp_path, record, transform=RESIZE).next_batch()


@pytest.mark.parametrize("corner", [float("nan"), float("inf"), 1e30])
def test_boxes_that_are_no_numbers_are_refused(tmp_path: Path, corner: float) -> None:
    message = schema.AnnotatedDatum.FromString(annotated(BOX))
    message.annotation_group[0].annotation[0].bbox.xmin = corner
    with pytest.raises(DataError, match="record '00000000': not an AnnotatedDatum: a corner of a box is not finite"):
        source(tmp_path, message.SerializeToString())


def test_boxes_beyond_the_image_are_cut() -> None:
    columns = np.array([1, 1, 1]), np.zeros(3, int)
    corners = np.array([[-1, 0.5, 0.5, 2], [0.7, 0.7, 0.6, 0.9], [1.5, 0, 2, 1]])
    found = Annotations(*columns, corners, np.zeros(3, bool)).seen(np.array([0.0, 0, 1, 1]), None)
    np.testing.assert_array_equal(found.corners, [[0, 0.5, 0.5, 1]])
