"""create_annoset: images and boxes of VOC, COCO and plain files, and what is wrong with them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.codec import decode, encode
from demitasse.caffe.sources.lmdb_store import LmdbReader
from demitasse.caffe.tools.annotation_files import KINDS, read_annotation
from demitasse.caffe.tools.create_annoset import AnnotationOptions, create_annoset, link_database
from demitasse.caffe.tools.image_datums import ImageOptions
from demitasse.errors import DataError, PrototxtError, UsageError

BGR = np.random.default_rng(0).integers(0, 256, (3, 20, 40), np.uint8)
MAP = """item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "cat" label: 1 } item { name: "dog" label: 2 }
"""
XML = """<annotation>
  <folder>VOC2007</folder>
  <size><width>40</width><height>20</height><depth>3</depth></size>
  <object><name>dog</name><difficult>1</difficult>
    <bndbox><xmin>4</xmin><ymin>2</ymin><xmax>20</xmax><ymax>10</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>
  <object><name>cat</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object>
  <object><name>dog</name><bndbox><xmin>30</xmin><ymin>5</ymin><xmax>40</xmax><ymax>15</ymax></bndbox></object>
</annotation>
"""
JSON = {
    "image": {"height": 20, "width": 40},
    "annotation": [
        {"category_id": "dog", "iscrowd": 1, "bbox": [4, 2, 16, 8]},
        {"category_id": "cat", "bbox": [0, 0, 10, 20]},
        {"category_id": "dog", "iscrowd": 0, "bbox": [30.0, 5.0, 10.0, 10.0]},
    ],
}
TXT = "2 4 2 20 10\n\n1 0 0 10 20\n2 30 5 40 15\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a b.png").write_bytes(encode(BGR, "png"))
    (tmp_path / "map").write_text(MAP)
    for kind, text in (("xml", XML), ("json", json.dumps(JSON)), ("txt", TXT)):
        (tmp_path / f"a.{kind}").write_text(text)
        (tmp_path / f"{kind}.list").write_text(f"a b.png a.{kind}\n")
    return tmp_path


def convert(root: Path, kind: str = "xml", options: ImageOptions | None = None, **more) -> schema.AnnotatedDatum:
    annotations = AnnotationOptions("detection", kind, root / "map")
    assert create_annoset(root, root / f"{kind}.list", root / "db", annotations, options, **more) == 1
    with LmdbReader(str(root / "db")) as reader:
        ((key, value),) = reader.records()
    assert key == b"00000000_a b.png"
    return schema.AnnotatedDatum.FromString(value)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_boxes(root: Path, kind: str) -> None:
    message = convert(root, kind)
    assert message.type == message.BBOX
    assert (message.datum.height, message.datum.width, message.datum.label) == (20, 40, -1)
    assert message.datum.data == BGR.tobytes()
    dogs, cats = message.annotation_group
    assert (dogs.group_label, cats.group_label) == (2, 1)
    assert [each.instance_id for each in dogs.annotation] == [0, 1]
    assert [each.bbox.difficult for each in dogs.annotation] == [kind != "txt", False]
    boxes = [(b.xmin, b.ymin, b.xmax, b.ymax) for b in (each.bbox for each in (*dogs.annotation, *cats.annotation))]
    expected = [(4 / 40, 2 / 20, 20 / 40, 10 / 20), (30 / 40, 5 / 20, 1, 15 / 20), (0, 0, 10 / 40, 1)]
    np.testing.assert_allclose(boxes, expected, atol=1e-6)


def test_images_are_resized_and_boxes_are_shares(root: Path) -> None:
    message = convert(root, options=ImageOptions(resize_height=5, resize_width=5))
    assert (message.datum.height, message.datum.width) == (5, 5)
    assert message.annotation_group[0].annotation[0].bbox.xmax == 0.5


@pytest.mark.parametrize(
    ("least", "most", "size"), [(30, 0, (30, 60)), (0, 30, (15, 30)), (30, 50, (25, 50)), (10, 60, (20, 40))]
)
def test_limits_of_sides(root: Path, least: int, most: int, size: tuple[int, int]) -> None:
    message = convert(root, options=ImageOptions(encoded=True, min_dim=least, max_dim=most))
    assert decode(message.datum.data).shape == (3, *size)
    assert (message.datum.data == (root / "a b.png").read_bytes()) == (size == (20, 40))


def test_labels_of_whole_images(root: Path) -> None:
    (root / "list").write_text("a b.png 7\n")
    assert create_annoset(root, root / "list", root / "db") == 1
    with LmdbReader(str(root / "db")) as reader:
        message = schema.AnnotatedDatum.FromString(next(reader.records())[1])
    assert (message.datum.label, message.HasField("type"), len(message.annotation_group)) == (7, False, 0)


def test_shuffled_by_the_seed(root: Path) -> None:
    for number in range(20):
        (root / f"{number}.png").write_bytes(encode(BGR, "png"))
    (root / "list").write_text("".join(f"{number}.png {number}\n" for number in range(20)))
    create_annoset(root, root / "list", root / "db", shuffle=True, seed=2)
    with LmdbReader(str(root / "db")) as reader:
        labels = [schema.AnnotatedDatum.FromString(value).datum.label for _, value in reader.records()]
    assert labels != sorted(labels) == list(range(20))


def test_what_is_odd_is_said_and_stored(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "a.xml").write_text(XML.replace("<width>40<", "<width>10<").replace("<xmin>30<", "<xmin>50<"))
    with caplog.at_level(logging.WARNING, "demitasse.caffe"):
        convert(root)
    for message in ("inconsistent image size: 20 x 10, not 20 x 40", "exceeds image boundary", "box irregular"):
        assert message in caplog.text


def test_an_image_without_a_file_of_boxes_has_none(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "a.xml").unlink()
    with caplog.at_level(logging.WARNING, "demitasse.caffe"):
        message = convert(root)
    assert (message.HasField("type"), len(message.annotation_group)) == (True, 0)
    assert "a.xml does not exist: the image is stored without boxes" in caplog.text


def test_a_database_is_replaced_only_if_asked_and_if_it_is_one(root: Path) -> None:
    convert(root)
    with pytest.raises(UsageError, match="db"):
        convert(root)
    convert(root, redo=True)
    (root / "folder").mkdir()
    (root / "folder" / "thesis.tex").write_text("...")
    with pytest.raises(UsageError, match="folder exists already, and is not a database"):
        create_annoset(root, root / "xml.list", root / "folder", AnnotationOptions("detection", "xml", root / "map"),
                       redo=True)  # fmt: skip
    assert (root / "folder" / "thesis.tex").exists()


def test_links(root: Path) -> None:
    convert(root)
    for _ in range(2):
        link = link_database(root / "db", root / "examples" / "VOC")
        assert link.is_symlink()
        assert (link / "data.mdb").samefile(root / "db" / "data.mdb")
    (root / "other").mkdir()
    (root / "other" / "db").write_text("mine")
    with pytest.raises(UsageError, match="db exists already, and is not a link"):
        link_database(root / "db", root / "other")


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("xml", "<name>cat<", "<name>cats<", r"a\.xml: the class 'cats' is not in the label map; did you mean 'cat'"),
        ("xml", "<name>cat</name>", "", r"a\.xml: not a xml file of annotations: 'name' is missing"),
        ("xml", "<ymax>20</ymax>", "<ymax> </ymax>", "'bndbox/ymax' is missing"),
        ("xml", "<ymax>20<", "<ymax>twenty<", "could not convert string to float: 'twenty'"),
        ("xml", "<ymax>20<", "<ymax>nan<", "nan is not a finite number"),
        ("xml", "</annotation>", "", "no element found"),
        ("xml", "annotation>", "data>", "the outermost element is 'data'; expected 'annotation'"),
        ("xml", "<annotation>", '<!DOCTYPE a [<!ENTITY b "bb">]><annotation>', "it declares the entity 'b'"),
        ("json", '"bbox": [4, 2, 16, 8]', '"box": []', "'bbox' is missing"),
        ("json", "[4, 2, 16, 8]", "[4, 2, 16]", "not enough values to unpack"),
        ("json", '"annotation"', '"annotations"', "'annotation' is missing"),
        ("json", "{", "", "not a json file of annotations"),
        ("json", "[4, 2, 16, 8]", "[[4], 2, 16, 8]", "not a json file of annotations"),
        ("txt", "2 4 2", "2 4", r"line 1: expected 'label xmin ymin xmax ymax', found '2 4 20 10'"),
        ("txt", "2 4 2", "dog 4 2", "invalid literal for int"),
    ],
)
def test_broken_files_of_boxes(root: Path, kind: str, old: str, new: str, message: str) -> None:
    path = root / f"a.{kind}"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        convert(root, kind)
    assert not (root / "db").exists()


def test_nested_files_of_boxes_end_in_an_error(root: Path) -> None:
    (root / "deep.json").write_text('{"annotation": ' + "[" * 100_000)
    with pytest.raises(DataError, match=r"deep\.json: not a json file"):
        read_annotation(root / "deep.json", "json")
    (root / "deep.xml").write_text("<annotation>" * 100_000)
    with pytest.raises(DataError, match=r"deep\.xml: not a xml file"):
        read_annotation(root / "deep.xml", "xml")
    with pytest.raises(DataError, match=r"none\.xml: "):
        read_annotation(root / "none.xml", "xml")


def test_duplicates_in_the_label_map(root: Path) -> None:
    (root / "map").write_text(f'{MAP} item {{ name: "cat" label: 3 }}')
    assert convert(root).annotation_group[1].group_label == 3
    strict = AnnotationOptions("detection", "xml", root / "map", check_label=True)
    with pytest.raises(PrototxtError, match=r"map: several classes have the name 'cat' or the label 3"):
        create_annoset(root, root / "xml.list", root / "other", strict)
    (root / "map").write_text("item { names: 3 }")
    with pytest.raises(PrototxtError, match=r"map:1: .*names.*did you mean 'name'"):
        create_annoset(root, root / "xml.list", root / "other", strict)


def test_broken_lists_and_options(root: Path) -> None:
    detection = AnnotationOptions("detection", "xml", root / "map")
    for text, message in (
        ("a.png\n", r"list:1: expected '<image> <file of boxes>', found 'a\.png'"),
        ("\n", "no images"),
    ):
        (root / "list").write_text(text)
        with pytest.raises(DataError, match=message):
            create_annoset(root, root / "list", root / "db", detection)
    with pytest.raises(UsageError, match=r"anno_type='detections': did you mean 'detection'"):
        AnnotationOptions("detections")
    with pytest.raises(UsageError, match="label_type='yaml': known: json, txt, xml"):
        AnnotationOptions("detection", "yaml", "map")
    with pytest.raises(UsageError, match="label_map_file is missing"):
        AnnotationOptions("detection")
    with pytest.raises(UsageError, match="min_dim is -1 and max_dim 0; expected 0 or more"):
        ImageOptions(min_dim=-1)
