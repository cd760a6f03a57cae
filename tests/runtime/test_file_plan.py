"""The plan of a file on arrays, in one process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from demitasse.errors import UsageError
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack
from demitasse.runtime import packed_cache, stored
from demitasse.runtime.file_plan import FilePlan
from demitasse.runtime.packed_cache import StoredContents

RNG = np.random.default_rng(0)
WEIGHT = (RNG.normal(size=(32, 64)) * (RNG.random((32, 64)) < 0.05)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return tmp_path / "demitasse"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    graph = json.dumps({"inputs": {"x": [1, 64]}, "steps": [["InnerProduct", "fc"]]})
    (tmp_path / "m.demi").write_bytes(pack([of_array("fc.weight", WEIGHT)], {"graph": graph}))
    return tmp_path / "m.demi"


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 64)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_of_every_size(path: Path, threads: int) -> None:
    plan = FilePlan(path, threads=threads)
    for count in (1, 3, 20, 1):
        given = rows(count)
        np.testing.assert_allclose(plan({"x": given})["fc"], given @ WEIGHT.T, rtol=1e-4, atol=1e-5)


def test_what_native_plans_do_not_take(path: Path) -> None:
    plan = FilePlan(path)
    with pytest.raises(UsageError, match="blob 'x' is not fed"):
        plan({"y": rows(1)})
    with pytest.raises(RuntimeError):
        plan({"x": rows(2)[:, :1]})  # which would fit if it were repeated
    assert plan({"x": rows(0)})["fc"].shape == (0, 32)


def test_an_entry_is_read_again_as_it_was(path: Path) -> None:
    plan = FilePlan(path, threads=2)
    expected = plan({"x": rows(1)})["fc"]
    key = packed_cache.key_of(path)
    found = packed_cache.read(key)
    assert found is not None
    assert found.metadata == {"graph": plan.metadata["graph"]}
    form = packed_cache.form_of(found.weights["fc.weight"])
    assert form is not None
    assert form.chunks == 8
    assert np.array_equal(FilePlan(path, threads=2)({"x": rows(1)})["fc"], expected)


def test_arrays_of_every_kind_are_kept(cache: Path) -> None:
    weights = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(3, "f4"), "c": np.zeros((0, 3))}
    weights["d"] = weights["a"]
    packed_cache.write("key", StoredContents({"text": "\u00e9"}, weights))
    found = packed_cache.read("key")
    assert found is not None
    assert found.metadata == {"text": "\u00e9"}
    assert found.weights["d"] is found.weights["a"]
    for name, expected in weights.items():
        assert found.weights[name].dtype == expected.dtype
        assert found.weights[name].shape == expected.shape
        assert np.array_equal(found.weights[name], expected)  # type: ignore[arg-type]


def test_the_cache_is_bounded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = StoredContents({}, {"a": np.zeros(1000, np.float32)})
    monkeypatch.setattr(packed_cache, "_MOST", 13_000)
    for number in range(5):
        packed_cache.write(f"{number}", contents)
        os.utime(cache / f"model-{number}.packed", (number, number))
        assert packed_cache.read("0") is not None  # used, and so the newest
    assert {path.name for path in cache.glob("*")} == {f"model-{number}.packed" for number in (0, 3, 4)}
    monkeypatch.setattr(packed_cache, "_LARGEST", 3_999)
    packed_cache.write("large", contents)
    assert packed_cache.read("large") is None


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_of = packed_cache.key_of

    def replaced(given: Path) -> str:
        found = key_of(given)
        path.write_bytes(path.read_bytes())
        os.utime(path, (1, 1))
        return found

    monkeypatch.setattr(stored.packed_cache, "key_of", replaced)
    FilePlan(path)({"x": rows(1)})
    assert not list(cache.glob("*"))
