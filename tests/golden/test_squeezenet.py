"""SqueezeNet v1.0, decoded from Deep Compression's file, on 500 photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.squeezenet_imagenet import accuracy


@pytest.mark.slow
def test_accuracy_on_photographs(shared: Path) -> None:
    found = accuracy(shared / "models/squeezenet_v1.0_deep_compression.net", shared / "data/imagenet_sample")
    assert found.photographs == 500
    # JPEG decoders differ by a grey level or two, which changes up to three photographs
    assert found.top1 == pytest.approx(0.618, abs=0.006)
    assert found.top5 == pytest.approx(0.816, abs=0.006)
