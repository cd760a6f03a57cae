"""Loops are kept on the disk, and made anew when any of their sources has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from demitasse.packed.kernels import compiled as module


def once(x: int) -> int:
    return x + 1


def test_kept_until_a_source_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))

    def hits() -> int:
        loop = module.compiled(once)
        assert loop(1) == 2
        return sum(loop.stats.cache_hits.values())  # type: ignore[attr-defined]

    assert [hits(), hits()] == [0, 1]
    monkeypatch.setattr(module, "_SOURCES", "others")
    assert [hits(), hits()] == [0, 1]
