"""Layers that write files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.caffe.layers.output import disable_file_output
from demitasse.caffe.net import Net
from demitasse.errors import DataError, NetError
from tests.golden.single import single_net

matlab = pytest.importorskip("scipy.io", reason="SciPy is not installed")

pytestmark = pytest.mark.usefixtures("own_folder")


def writer(settings: str, *shapes: tuple[int, ...]) -> Net:
    return single_net("MatWrite", f"mat_write_param {{ {settings} }}", *shapes, tops=0)


def test_files_are_those_of_deeplab(tmp_path):
    (tmp_path / "list.txt").write_text("first.jpg 1\n\nsecond.jpg 0\nthird.jpg 2\n")
    net = writer('prefix: "out/" source: "list.txt" strip: 4 period: 2', (1, 3, 2, 4), (1, 5))
    (tmp_path / "out").mkdir()
    batches = [[torch.randn(1, 3, 2, 4), torch.randn(1, 5)] for _ in range(3)]
    for batch in batches:
        net(dict(zip(net.inputs, batch, strict=True)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "first_blob_0.mat", "first_blob_1.mat", "third_blob_0.mat", "third_blob_1.mat"
    ]  # fmt: skip
    found = matlab.loadmat("out/third_blob_0.mat")["data"]
    assert found.dtype == np.float32
    assert np.array_equal(found, batches[2][0].numpy().transpose(3, 2, 1, 0))
    assert matlab.loadmat("out/first_blob_1.mat")["data"].shape == (1, 1, 5, 1)


def test_without_a_list_files_are_numbered(tmp_path):
    net = writer('prefix: "it_"', (2, 3))
    for _ in range(2):
        net({name: torch.zeros(shape) for name, shape in net.inputs.items()})
    assert sorted(path.name for path in tmp_path.glob("it_*")) == ["it_iter_0_blob_0.mat", "it_iter_1_blob_0.mat"]
    disable_file_output(net.named_layers().values())
    net({name: torch.zeros(shape) for name, shape in net.inputs.items()})
    assert len(list(tmp_path.glob("it_*"))) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('source: "none.txt"', "none.txt: not a list of names"),
        ('source: "list.txt" strip: 3', "list.txt: 'abc' has 3 characters; strip is 3"),
        ('source: "list.txt"', "list.txt: the list has 1 names; this is forward 2"),
    ],
)
def test_a_wrong_list_is_told(settings, message, tmp_path):
    (tmp_path / "list.txt").write_text("abc\n")
    net = writer(f'prefix: "p" {settings}', (2, 3))

    def twice():
        for _ in range(2):
            net({name: torch.zeros(shape) for name, shape in net.inputs.items()})

    with pytest.raises(DataError, match=message):
        twice()


def test_wrong_settings_are_told():
    with pytest.raises(NetError, match="strip is 0 and period 0; expected"):
        writer('prefix: "p" period: 0', (2, 3))
    with pytest.raises(NetError, match="expected at most four axes"):
        writer('prefix: "p"', (1, 1, 1, 1, 2))
