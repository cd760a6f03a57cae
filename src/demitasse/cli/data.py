"""Commands that make databases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.errors import UsageError

Database = Annotated[Path, typer.Argument(help="The folder to be made.")]
Backend = Annotated[str, typer.Option("--backend", help="The kind of database: lmdb.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("convert_mnist_data", no_args_is_help=True)(convert_mnist_data)
    app.command("convert_imageset", no_args_is_help=True)(convert_imageset)


def convert_mnist_data(
    images: Annotated[Path, typer.Argument(help="IDX file of images, plain or .gz.")],
    labels: Annotated[Path, typer.Argument(help="IDX file of labels, plain or .gz.")],
    database: Database,
    backend: Backend = "lmdb",
) -> None:
    """Makes a database of MNIST's files."""
    from demitasse.caffe.tools.convert_mnist_data import convert_mnist_data as convert

    _check_backend(backend)
    print(f"Processed {convert(images, labels, database)} files.")


def convert_imageset(
    root: Annotated[Path, typer.Argument(help="The folder that the names in the list are relative to.")],
    image_list: Annotated[Path, typer.Argument(help="Text: '<file name> <label>' a line.")],
    database: Database,
    gray: Annotated[bool, typer.Option("--gray/--nogray", help="Store images in grey.")] = False,
    shuffle: Annotated[bool, typer.Option("--shuffle/--noshuffle", help="In random order.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the random order.")] = 0,
    backend: Backend = "lmdb",
    resize_width: Annotated[int, typer.Option("--resize_width", help="In pixels; 0 as it is.")] = 0,
    resize_height: Annotated[int, typer.Option("--resize_height", help="In pixels; 0 as it is.")] = 0,
    check_size: Annotated[
        bool, typer.Option("--check_size/--nocheck_size", help="All images must have one size.")
    ] = False,
    encoded: Annotated[
        bool, typer.Option("--encoded/--noencoded", help="Store image files instead of pixels.")
    ] = False,
    encode_type: Annotated[
        str, typer.Option("--encode_type", help="Format of encoded images: png, jpg; else that of the file.")
    ] = "",
) -> None:
    """Makes a database of the image files named in a list."""
    from demitasse.caffe.log import to_stderr
    from demitasse.caffe.tools.convert_imageset import ImageOptions
    from demitasse.caffe.tools.convert_imageset import convert_imageset as convert

    _check_backend(backend)
    options = ImageOptions(gray, resize_height, resize_width, check_size, encoded, encode_type)
    with to_stderr():
        count = convert(root, image_list, database, options, shuffle, seed)
    print(f"Processed {count} files.")


def _check_backend(backend: str) -> None:
    if backend != "lmdb":
        raise UsageError(f"--backend {backend}: only lmdb is written")
