"""Commands that make databases, and the mean file of a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import DATA, CaffeCommand
from demitasse.cli.inputs import existing, prototxt

Images = Annotated[Path, typer.Argument(help="IDX file of images, plain or .gz.", callback=existing)]
Labels = Annotated[Path, typer.Argument(help="IDX file of labels, plain or .gz.", callback=existing)]
Root = Annotated[Path, typer.Argument(help="The folder that the names in the list are relative to.", callback=existing)]
Database = Annotated[Path, typer.Argument(help="The folder of the new database.")]
Backend = Annotated[str, typer.Option("--backend", help="The kind of database: lmdb or leveldb.")]

Gray = Annotated[bool, typer.Option("--gray/--nogray", help="Store images in grey.")]
Shuffle = Annotated[bool, typer.Option("--shuffle/--noshuffle", help="Store images in random order.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the random order.")]
ResizeWidth = Annotated[int, typer.Option("--resize_width", help="New width in pixels; 0 keeps it.")]
ResizeHeight = Annotated[int, typer.Option("--resize_height", help="New height in pixels; 0 keeps it.")]
CheckSize = Annotated[
    bool, typer.Option("--check_size/--nocheck_size", help="Require that all images have the same size.")
]
Encoded = Annotated[bool, typer.Option("--encoded/--noencoded", help="Store image files instead of pixels.")]
EncodeType = Annotated[
    str,
    typer.Option(
        "--encode_type", help="Format of encoded images, png or jpg; implies --encoded; default: the file's own."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for function in (
        *(convert_mnist_data, convert_mnist_siamese_data, convert_cifar_data, convert_imageset),
        *(create_annoset, compute_image_mean, extract_features),
    ):
        command = app.command(function.__name__, cls=CaffeCommand, rich_help_panel=DATA, no_args_is_help=True)
        command(function)


def convert_mnist_data(images: Images, labels: Labels, database: Database, backend: Backend = "lmdb") -> None:
    """Convert MNIST's files to a database."""
    from demitasse.caffe.tools.convert_mnist_data import convert_mnist_data as convert

    print(f"Processed {convert(images, labels, database, backend)} files.")


def convert_mnist_siamese_data(
    images: Images,
    labels: Labels,
    database: Database,
    backend: Backend = "lmdb",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw of pairs.")] = 0,
) -> None:
    """Convert MNIST's files to a database of random pairs, for siamese nets."""
    from demitasse.caffe.tools.convert_mnist_data import convert_mnist_siamese_data as convert

    print(f"Processed {convert(images, labels, database, backend, seed)} files.")


def convert_cifar_data(
    source: Annotated[
        Path, typer.Argument(help="The folder with data_batch_1.bin to test_batch.bin.", callback=existing)
    ],
    target: Annotated[Path, typer.Argument(help="The folder for the databases of the training and of the test.")],
    backend: Annotated[str, typer.Argument(help="The kind of database: lmdb or leveldb.")] = "lmdb",
) -> None:
    """Convert CIFAR-10's binary files to two databases."""
    from demitasse.caffe.tools.convert_cifar_data import convert_cifar_data as convert

    for database, count in convert(source, target, backend).items():
        print(f"{database}: processed {count} files.")


def convert_imageset(
    root: Root,
    image_list: Annotated[
        Path, typer.Argument(help="Text file with one '<file name> <label>' per line.", callback=existing)
    ],
    database: Database,
    gray: Gray = False,
    shuffle: Shuffle = False,
    seed: Seed = 0,
    backend: Backend = "lmdb",
    resize_width: ResizeWidth = 0,
    resize_height: ResizeHeight = 0,
    check_size: CheckSize = False,
    encoded: Encoded = False,
    encode_type: EncodeType = "",
) -> None:
    """Convert the image files named in a list to a database."""
    from demitasse.caffe.log import to_stderr
    from demitasse.caffe.tools.convert_imageset import convert_imageset as convert
    from demitasse.caffe.tools.image_datums import ImageOptions

    options = ImageOptions(gray, resize_height, resize_width, check_size, encoded, encode_type)
    with to_stderr():
        count = convert(root, image_list, database, options, shuffle, seed, backend)
    print(f"Processed {count} files.")


def create_annoset(
    root: Root,
    image_list: Annotated[
        Path,
        typer.Argument(
            help="Text file with one '<image> <file of boxes>' or '<image> <label>' per line.", callback=existing
        ),
    ],
    database: Database,
    links: Annotated[str, typer.Argument(help="A folder to put a link to the database into.")] = "",
    anno_type: Annotated[
        str, typer.Option("--anno_type", help="detection: files of boxes; classification: labels.")
    ] = "classification",
    label_type: Annotated[
        str, typer.Option("--label_type", help="The kind of files of boxes: xml, json or txt.")
    ] = "xml",
    label_map_file: Annotated[
        str, typer.Option("--label_map_file", help="Prototxt of a LabelMap.", callback=existing)
    ] = "",
    check_label: Annotated[
        bool, typer.Option("--check_label/--nocheck_label", help="Require that no two classes have the same name.")
    ] = False,
    redo: Annotated[bool, typer.Option("--redo/--noredo", help="Replace a database that exists already.")] = False,
    gray: Gray = False,
    shuffle: Shuffle = False,
    seed: Seed = 0,
    backend: Backend = "lmdb",
    min_dim: Annotated[int, typer.Option("--min_dim", help="Enlarge images with a shorter side below this.")] = 0,
    max_dim: Annotated[int, typer.Option("--max_dim", help="Reduce images with a longer side above this.")] = 0,
    resize_width: ResizeWidth = 0,
    resize_height: ResizeHeight = 0,
    check_size: CheckSize = False,
    encoded: Encoded = False,
    encode_type: EncodeType = "",
) -> None:
    """Convert images with boxes to a database for AnnotatedData (SSD)."""
    from demitasse.caffe.log import to_stderr
    from demitasse.caffe.tools.create_annoset import AnnotationOptions, link_database
    from demitasse.caffe.tools.create_annoset import create_annoset as convert
    from demitasse.caffe.tools.image_datums import ImageOptions

    annotations = AnnotationOptions(anno_type, label_type, label_map_file, check_label)
    options = ImageOptions(gray, resize_height, resize_width, check_size, encoded, encode_type, min_dim, max_dim)
    with to_stderr():
        count = convert(root, image_list, database, annotations, options, shuffle, seed, backend, redo)
    print(f"Processed {count} files.")
    if links:
        print(f"{link_database(database, links)} is a link to them.")


def compute_image_mean(
    database: Annotated[str, typer.Argument(help="The folder of the database.", callback=existing)],
    mean_file: Annotated[str, typer.Argument(help="The mean file to write; without it, none is written.")] = "",
    backend: Backend = "lmdb",
) -> None:
    """Compute the mean image of a database, and the mean of each channel."""
    from demitasse.caffe.images.mean import write_mean
    from demitasse.caffe.log import number
    from demitasse.caffe.tools.compute_image_mean import compute_image_mean as compute

    mean, count = compute(database, backend)
    if mean_file:
        write_mean(mean_file, mean)
    print(f"Processed {count} files.\nNumber of channels: {len(mean)}")
    for channel, value in enumerate(mean.mean(axis=(1, 2), dtype=float)):
        print(f"mean_value channel [{channel}]: {number(value)}")


def extract_features(
    weights: Annotated[str, typer.Argument(help="The caffemodel.", callback=existing)],
    net: Annotated[str, typer.Argument(help="The net's prototxt, with data layers.", callback=prototxt)],
    blobs: Annotated[str, typer.Argument(help="Names of blobs, separated by commas.")],
    databases: Annotated[str, typer.Argument(help="Folders of the new databases, separated by commas.")],
    batches: Annotated[int, typer.Argument(help="Number of batches to run.", min=1)],
    backend: Annotated[str, typer.Argument(help="The kind of database: lmdb or leveldb.")],
    mode: Annotated[str, typer.Argument(help="CPU or GPU.")] = "CPU",
    device_id: Annotated[int, typer.Argument(help="Number of the GPU.", min=0)] = 0,
) -> None:
    """Write blobs of a net to databases, one record per image."""
    from demitasse.errors import UsageError

    if mode not in ("CPU", "GPU"):
        raise UsageError(f"extract_features: MODE is {mode!r}; expected CPU or GPU")
    from demitasse.caffe import device, log
    from demitasse.caffe.tools.extract_features import extract_features as extract

    with log.to_stderr():
        chosen = device.choose(str(device_id) if mode == "GPU" else "")
        count = extract(weights, net, blobs.split(","), databases.split(","), batches, backend, chosen)
    print(f"Extracted features of {count} images.")
