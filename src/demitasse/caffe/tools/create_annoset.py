"""Converts a list of images and of files with their boxes to a database for AnnotatedData."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images.image_list import read_image_list
from demitasse.caffe.list_file import read_lines, shown
from demitasse.caffe.log import warning
from demitasse.caffe.sources.store import Record, write_database
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.annotation_files import KINDS, ImageAnnotation, read_annotation
from demitasse.caffe.tools.convert_imageset import image_key
from demitasse.caffe.tools.image_datums import ImageOptions, StoredImage, image_datums
from demitasse.errors import DataError, PrototxtError, UsageError, parameter
from demitasse.registry import suggest

_PLACE = "io.cpp:300"
_OF_DATABASES = ("data.mdb", "CURRENT")  # files that an LMDB or a LevelDB has


@dataclass(frozen=True)
class AnnotationOptions:
    """How annotations are read.

    Attributes:
        anno_type: ``detection``: the list names a file of boxes for each image; ``classification``: a label.
        label_type: the kind of these files: ``xml``, ``json`` or ``txt``.
        label_map_file: a prototxt of a LabelMap, the numbers of the classes; txt files have numbers already.
        check_label: require that no two classes have the same name.
    """

    anno_type: str = "classification"
    label_type: str = "xml"
    label_map_file: str | Path = ""
    check_label: bool = False

    def __post_init__(self) -> None:
        for name, known in (("anno_type", ("classification", "detection")), ("label_type", sorted(KINDS))):
            if (found := getattr(self, name)) not in known:
                raise UsageError(f"{parameter(name, found)}: {suggest(found, known)}")
        if self.anno_type == "detection" and self.label_type != "txt" and not self.label_map_file:
            raise UsageError(f"{parameter('label_map_file')} is missing: the numbers of the classes")


def create_annoset(
    root: str | Path,
    image_list: str | Path,
    database: str | Path,
    annotations: AnnotationOptions | None = None,
    options: ImageOptions | None = None,
    shuffle: bool = False,
    seed: int = 0,
    backend: str = "lmdb",
    redo: bool = False,
) -> int:
    """Writes a database with one AnnotatedDatum per image, under the keys ``%08d_<file name>``.

    A file that is not an image is skipped with a warning in the log. So are warnings of boxes beyond the image, which
    are stored as they are, and of missing files of boxes, whose images are stored without boxes, as in SSD's tool.

    Args:
        root: the folder that the names in the list are relative to.
        image_list: a text file with one ``<image> <file of boxes>`` per line, or ``<image> <label>``; the names of
            images may contain spaces.
        database: the folder of the new database.
        annotations: how annotations are read.
        options: how images are stored.
        shuffle: whether to store the images in random order.
        seed: the seed of the random order.
        backend: ``lmdb`` or ``leveldb``.
        redo: replace a database that exists already.

    Returns:
        The number of records.

    Raises:
        DataError: the list or a file of boxes is malformed, a class is not in the label map, or none of the images can
            be read; with ``check_size``, an image has another size than the first.
        PrototxtError: the label map cannot be read.
        UnknownNameError: there is no such backend.
        UsageError: the database exists already, plyvel is missing for LevelDB, or options exclude each other.
    """
    annotations, options = annotations or AnnotationOptions(), options or ImageOptions()
    entries = _entries(image_list, annotations)
    labels = _labels(annotations) if annotations.label_map_file else {}
    if shuffle:
        entries = [entries[index] for index in np.random.default_rng(seed).permutation(len(entries))]
    if redo:
        _remove(Path(database))
    return write_database(database, _records(os.path.join(root, ""), entries, labels, annotations, options), backend)


def link_database(database: str | Path, folder: str | Path) -> Path:
    """Makes a link to a database in a folder, which is made if it is missing, and returns it.

    Raises:
        UsageError: there is something else by this name.
    """
    target = Path(database).absolute()
    link = Path(folder) / target.name
    Path(folder).mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        if link.samefile(target):
            return link
        raise UsageError(f"{link} exists already, and is not a link")
    link.symlink_to(target)
    return link


def _remove(database: Path) -> None:
    """Removes a database, but nothing else."""
    if not database.exists():
        return
    if not any((database / name).is_file() for name in _OF_DATABASES):
        raise UsageError(f"{database} exists already, and is not a database")
    shutil.rmtree(database)


def _entries(image_list: str | Path, annotations: AnnotationOptions) -> list[tuple[str, str]]:
    """Returns the images of a list, each with its file of boxes or its label."""
    if annotations.anno_type == "classification":
        return [(entry.name, str(entry.label)) for entry in read_image_list(image_list)]
    entries = []
    for number, line in enumerate(read_lines(image_list, "a list of images and annotations"), start=1):
        words = line.strip().rsplit(maxsplit=1)
        if len(words) == 1:
            raise DataError(f"{image_list}:{number}: expected '<image> <file of boxes>', found {line!r}")
        if words:
            entries.append((words[0], words[1]))
    if not entries:
        raise DataError(f"{image_list}: the list contains no images")
    return entries


def _labels(annotations: AnnotationOptions) -> dict[str, int]:
    """Returns the numbers of the classes, by name."""
    path = str(annotations.label_map_file)
    found: dict[str, int] = {}
    for item in prototxt.parse(prototxt.read_text(path), schema.LabelMap(), path).item:
        if annotations.check_label and (item.name in found or item.label in found.values()):
            raise PrototxtError(f"{path}: several classes have the name {item.name!r} or the label {item.label}")
        found[item.name] = item.label
    return found


def _records(
    root: str,
    entries: list[tuple[str, str]],
    labels: Mapping[str, int],
    annotations: AnnotationOptions,
    options: ImageOptions,
) -> Iterator[Record]:
    for image in image_datums(root, [name for name, _ in entries], options):
        name, annotation = entries[image.number]
        if annotations.anno_type == "classification":
            image.datum.label = int(annotation)
            message = schema.AnnotatedDatum(datum=image.datum)
        else:
            image.datum.label = -1
            message = _with_boxes(image, root + annotation, labels, annotations.label_type)
        yield image_key(image.number, name), message.SerializeToString()


def _with_boxes(image: StoredImage, path: str, labels: Mapping[str, int], kind: str) -> schema.AnnotatedDatum:
    message = schema.AnnotatedDatum(datum=image.datum, type=schema.AnnotatedDatum.BBOX)
    if not os.path.exists(path):
        warning(_PLACE, f"{shown(path)} does not exist: the image is stored without boxes")
        return message
    found = read_annotation(path, kind)
    height, width = found.height or image.height, found.width or image.width
    if (height, width) != (image.height, image.width):
        warning(
            _PLACE, f"{shown(path)} inconsistent image size: {height} x {width}, not {image.height} x {image.width}"
        )
    _warn_of_boxes(found, height, width, path)
    groups: dict[int, schema.AnnotationGroup] = {}
    for box in found.boxes:
        label = _label(box.name, labels, kind, path)
        if label not in groups:
            groups[label] = message.annotation_group.add(group_label=label)
        xmin, ymin, xmax, ymax = (np.array(box.corners) / ((width, height) * 2)).tolist()
        bbox = schema.NormalizedBBox(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, difficult=box.difficult)
        groups[label].annotation.add(instance_id=len(groups[label].annotation), bbox=bbox)
    return message


def _label(name: str, labels: Mapping[str, int], kind: str, path: str) -> int:
    if kind == "txt":
        return int(name)
    if name not in labels:
        raise DataError(f"{path}: the class {name!r} is not in the label map; {suggest(name, labels)}")
    return labels[name]


def _warn_of_boxes(found: ImageAnnotation, height: int, width: int, path: str) -> None:
    for box in found.boxes:
        xmin, ymin, xmax, ymax = box.corners
        if min(box.corners) < 0 or max(xmin, xmax) > width or max(ymin, ymax) > height:
            warning(_PLACE, f"{shown(path)} bounding box exceeds image boundary.")
        if xmin > xmax or ymin > ymax:
            warning(_PLACE, f"{shown(path)} bounding box irregular.")
