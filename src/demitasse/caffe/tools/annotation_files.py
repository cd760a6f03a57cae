"""Files that say which boxes an image has: VOC's and ILSVRC's XML, COCO's boxes as JSON, and plain text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

from demitasse.caffe.list_file import read_lines, read_regular
from demitasse.errors import DataError


class NamedBox(NamedTuple):
    """A box: the name of its class, its corners xmin, ymin, xmax, ymax in pixels, and whether it is difficult."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool = False


class ImageAnnotation(NamedTuple):
    """The boxes of an image, and its size in pixels; 0 if the file does not say it."""

    boxes: list[NamedBox]
    height: int = 0
    width: int = 0


def read_annotation(path: str | Path, kind: str) -> ImageAnnotation:
    """Reads the boxes of an image.

    Args:
        path: the file.
        kind: a key of :data:`KINDS`.

    Raises:
        DataError: the file is missing, or malformed.
    """
    try:
        return KINDS[kind](path)
    except (ValueError, KeyError, TypeError, RecursionError, expat.ExpatError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DataError(f"{path}: not a {kind} file of annotations: {what}") from error


def _xml(path: str | Path) -> ImageAnnotation:
    """Reads ``annotation { size { height width } object { name difficult bndbox { xmin ymin xmax ymax } } }``."""
    root = _parse_xml(read_regular(path))
    if root.tag != "annotation":
        raise ValueError(f"the outermost element is {root.tag!r}; expected 'annotation'")
    boxes = []
    for each in root.findall("object"):
        name, difficult = _text(each, "name"), (each.findtext("difficult") or "").strip() == "1"
        xmin, ymin, xmax, ymax = (_number(_text(each, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append(NamedBox(name, (xmin, ymin, xmax, ymax), difficult))
    if root.find("size") is None:
        return ImageAnnotation(boxes)
    return ImageAnnotation(boxes, int(_text(root, "size/height")), int(_text(root, "size/width")))


def _parse_xml(data: bytes) -> ElementTree.Element:
    """Parses XML, without entities, which a small file could make huge."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(name: str, *_: object) -> None:
        raise ValueError(f"it declares the entity {name!r}; annotations need none")

    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)
    return builder.close()


def _text(element: ElementTree.Element, path: str) -> str:
    found = element.findtext(path)
    if found is None or not found.strip():
        raise KeyError(path)
    return found.strip()


def _json(path: str | Path) -> ImageAnnotation:
    """Reads ``{"image": {"height", "width"}, "annotation": [{"category_id", "iscrowd", "bbox": [x, y, w, h]}]}``."""
    content = json.loads(read_regular(path).decode("utf-8-sig"))
    boxes = []
    for each in content["annotation"]:
        x, y, width, height = (_number(value) for value in each["bbox"])
        boxes.append(NamedBox(str(each["category_id"]), (x, y, x + width, y + height), bool(each.get("iscrowd", 0))))
    size: dict[str, Any] = content.get("image", {})
    return ImageAnnotation(boxes, int(size.get("height", 0)), int(size.get("width", 0)))


def _txt(path: str | Path) -> ImageAnnotation:
    """Reads lines ``label xmin ymin xmax ymax``."""
    boxes = []
    for number, line in enumerate(read_lines(path, "a txt file of annotations"), start=1):
        words = line.split()
        if words and len(words) != 5:
            raise ValueError(f"line {number}: expected 'label xmin ymin xmax ymax', found {line!r}")
        if words:
            xmin, ymin, xmax, ymax = map(_number, words[1:])
            boxes.append(NamedBox(str(int(words[0])), (xmin, ymin, xmax, ymax)))
    return ImageAnnotation(boxes)


def _number(value: str | float) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value} is not a finite number")
    return found


# --label_type -> the function that reads such a file
KINDS: dict[str, Callable[[str | Path], ImageAnnotation]] = {"json": _json, "txt": _txt, "xml": _xml}
