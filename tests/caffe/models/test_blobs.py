import numpy as np
import pytest

from demitasse.caffe.models.blobs import array_blob, blob_array
from demitasse.errors import FileFormatError


def test_a_blob_must_have_as_many_values_as_its_shape_says() -> None:
    blob = array_blob(np.ones((2, 3), np.float32))
    blob.shape.dim[0] = 3
    with pytest.raises(FileFormatError, match=r"shape \[3, 3\] needs 36 bytes of values, found 24"):
        blob_array(blob)
