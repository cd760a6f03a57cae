"""Fixtures for all tests; the one place that knows where the shared reference data lies."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# tables take the width they need, whatever the terminal that starts the tests
os.environ.pop("COLUMNS", None)

SHARED = Path(os.environ.get("DEMITASSE_SHARED", Path(__file__).parents[1] / "../shared")).resolve()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Makes a folder of the tests' own the user's cache, for their processes, too."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips the tests whose device or package is not here."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")
    if item.get_closest_marker("leveldb") and find_spec("plyvel") is None:
        pytest.skip("plyvel is not installed")


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a folder of the test's own the working directory, where nets write to relative paths."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shared() -> Path:
    """The folder of reference data; tests that read it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED} (set DEMITASSE_SHARED)")
    return SHARED


# every run tries the same examples; the first may have loops to compile
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")
