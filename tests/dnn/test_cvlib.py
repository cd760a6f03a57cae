"""A published package that finds faces by the importer of Caffe nets that OpenCV 5 has dropped: it works again."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

import demitasse

SCRIPT = Path(__file__).with_name("find_faces.py")
NEEDS = ("requests", "progressbar", "imageio", "imutils", "pillow", "setuptools<70")

pytestmark = pytest.mark.slow


def environment(folder: Path, opencv: str) -> Path:
    """Makes an environment with cvlib and an OpenCV; all else is taken from that of the tests. Returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = ["cvlib", opencv, *NEEDS]
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cvlib and {opencv} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    (own,) = folder.glob("**/site-packages")
    paths = [sysconfig.get_path("purelib"), str(Path(demitasse.__file__).parents[1])]
    (own / "others.pth").write_text("\n".join(paths))
    return python


def faces(python: Path, backend: str, images: list[Path]) -> list[object]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, SCRIPT, backend, *images], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, list)
    return found


def test_cvlib_finds_the_same_faces_with_opencv_5_as_with_opencv_4(shared: Path, tmp_path: Path) -> None:
    images = sorted((shared / "models" / "detectors").glob("faces*.jpg"))
    assert images
    old_version, *old = faces(environment(tmp_path / "old", "opencv-python-headless<5"), "cv2", images)
    new_version, *new = faces(environment(tmp_path / "new", "opencv-python-headless>=5"), "demitasse", images)
    assert str(old_version).startswith("4.")
    assert str(new_version).startswith("5.")
    for before, after in zip(old, new, strict=True):
        assert isinstance(before, list)
        assert isinstance(after, list)
        assert before[0]
        assert after[0] == before[0]
        assert after[1] == pytest.approx(before[1], abs=1e-4)
