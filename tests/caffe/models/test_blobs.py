from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.models.blobs import array_blob, blob_array, read_mean, write_mean
from demitasse.errors import FileFormatError


def test_a_blob_must_have_as_many_values_as_its_shape_says() -> None:
    blob = array_blob(np.ones((2, 3), np.float32))
    blob.shape.dim[0] = 3
    with pytest.raises(FileFormatError, match=r"shape \[3, 3\] needs 36 bytes of values, found 24"):
        blob_array(blob)


def test_mean_file(tmp_path: Path) -> None:
    mean = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_mean(tmp_path / "mean", mean)
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), mean)
