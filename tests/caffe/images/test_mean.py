from pathlib import Path

import numpy as np

from demitasse.caffe.images.mean import read_mean, write_mean


def test_mean_file(tmp_path: Path) -> None:
    mean = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_mean(tmp_path / "mean", mean)
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), mean)
