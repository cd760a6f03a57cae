"""Computes the mean image of a database."""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.sources.database import datum_image
from demitasse.caffe.sources.store import BACKENDS
from demitasse.errors import DataError

Mean = NDArray[np.float32]


def compute_image_mean(database: str, backend: str = "lmdb") -> tuple[Mean, int]:
    """Returns the mean of all images, (channels, height, width) float32, and the number of images.

    The sum is exact up to 2^53; Caffe's sum, in float32, is exact up to 2^24, which is 65,793 white images.

    Args:
        database: the folder of the database.
        backend: ``lmdb`` or ``leveldb``.

    Raises:
        UnknownNameError: there is no such backend.
        DataError: the folder is not such a database, or an image has another shape than the first.
    """
    total: NDArray[np.float64] | None = None
    count = 0
    with BACKENDS[backend].open(database) as reader:
        for key, value in reader.records():
            place = f"{database}: record {key.decode(errors='backslashreplace')!r}"
            try:
                image = datum_image(schema.Datum.FromString(value))
            except (DecodeError, DataError) as error:
                raise DataError(f"{place}: not a Datum: {error}") from error
            if total is None:
                total = np.zeros(image.shape)
            if image.shape != total.shape:
                raise DataError(
                    f"{place}: the image has shape {list(image.shape)}; expected {list(total.shape)} of the first image"
                )
            total += image
            count += 1
    assert total is not None  # opening refuses an empty database
    return (total / count).astype(np.float32), count
