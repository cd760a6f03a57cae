"""What inspect says of a .demi file: shares that add up, entropies known by hand, a table, a picture."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import demitasse
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack
from demitasse.report.inspection import Inspection, inspect
from demitasse.report.inspection_bars import bars_of
from demitasse.report.inspection_picture import picture
from demitasse.report.inspection_table import table
from demitasse.report.style import COLOURS


def net() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    signs = rng.choice([-0.5, 0.5], (200, 300))
    density = rng.random((200, 1)) * rng.random((1, 300))
    return {
        "fc.weight": np.where(rng.random((200, 300)) < density, signs, 0).astype(np.float32),
        "fc.bias": rng.normal(size=200).astype(np.float32),
        "dead": np.zeros(7, np.float32),
        "none": np.zeros((0, 3), np.float32),
    }


def write(path: Path, fast: bool = False) -> Inspection:
    arrays = [of_array(name, array) for name, array in net().items()]
    path.write_bytes(pack(arrays, {"who": "me", "long": "x" * 100}, smallest=not fast, aliases={"head": "fc.weight"}))
    return inspect(path)


@pytest.mark.parametrize("fast", [False, True])
def test_all_bytes_are_accounted_for(fast: bool, tmp_path: Path) -> None:
    found = write(tmp_path / "net.demi", fast)
    assert found.size == (tmp_path / "net.demi").stat().st_size
    payloads = sum(row.bytes for row in found.rows)
    assert abs(found.size - found.header - payloads) < 8  # ends of payloads, and fractions
    assert [row.codec for row in found.rows] == ["planes" if fast else "weights", "numbers", "zeros", "zeros"]
    assert found.ratio == 4 * 60_207 / found.size


def test_entropy_of_independent_values(tmp_path: Path) -> None:
    row = write(tmp_path / "net.demi").rows[0]
    share = row.present / row.count
    binary = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert row.present == np.count_nonzero(net()["fc.weight"])
    assert row.distinct == 2
    assert row.entropy == pytest.approx((row.count * binary + row.present) / 8, rel=1e-3)
    assert row.against_entropy == row.bytes / row.entropy
    # positions are not independent, but signs are
    assert row.positions < 0.95 * row.count * binary / 8
    assert row.values == pytest.approx(row.present / 8, rel=0.02)


def test_where_the_values_are_too_many_there_is_no_comparison(tmp_path: Path) -> None:
    rows = write(tmp_path / "net.demi").rows
    assert [row.against_entropy is None for row in rows] == [False, True, True, True]


def test_table(tmp_path: Path) -> None:
    found = write(tmp_path / "net.demi")
    console = Console(width=150, file=StringIO(), record=True)
    console.print(table(found))
    text = console.export_text()
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [line[0] for line in lines] == ["fc.weight", "fc.bias", "dead", "none", "header", "file"]
    assert lines[0][1:4] == ["float32", "200 x 300", "weights"]
    assert lines[-1][8] == f"{found.size:,}"
    assert f"{found.ratio:.1f}x smaller than float32" in text
    assert "head is another name of fc.weight" in text
    assert "who: me" in text
    assert f"long: {'x' * 60} ... (100 characters)" in text


def test_plain_values_go_into_json(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(write(tmp_path / "net.demi").as_plain()))
    assert plain["rows"][0]["shape"] == [200, 300]
    assert plain["rows"][1]["against_entropy"] is None
    assert plain["metadata"]["who"] == "me"


def test_progress(tmp_path: Path) -> None:
    write(tmp_path / "net.demi")
    seen: list[tuple[int, int]] = []
    inspect(tmp_path / "net.demi", lambda done, total: seen.append((done, total)))
    assert seen == [(0, 60_207), (60_000, 60_207), (60_200, 60_207), (60_207, 60_207), (60_207, 60_207)]


def test_picture(tmp_path: Path) -> None:
    picture(write(tmp_path / "net.demi"), tmp_path / "net.png")
    image = Image.open(tmp_path / "net.png").convert("RGB")
    colours = {"#{:02x}{:02x}{:02x}".format(*rgb) for count, rgb in image.getcolors(1 << 24) if count > 60}
    assert {*COLOURS[:3]} <= colours


def test_an_empty_file_has_a_table_and_a_picture(tmp_path: Path) -> None:
    (tmp_path / "net.demi").write_bytes(pack([]))
    found = inspect(tmp_path / "net.demi")
    Console(file=StringIO()).print(table(found))
    picture(found, tmp_path / "net.png")
    assert found.header == found.size


@pytest.mark.parametrize(("layers", "bars"), [(10, 20), (20, 20), (40, 30)])
def test_many_tensors_are_drawn_by_layer_and_the_smallest_together(layers: int, bars: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        of_array(f"layer{number}.{name}", rng.normal(size=size * (number + 1)).astype(np.float32))
        for number in range(layers)
        for name, size in (("weight", 20), ("bias", 2))
    ]
    (tmp_path / "net.demi").write_bytes(pack(arrays))
    rows = inspect(tmp_path / "net.demi").rows
    drawn = bars_of(rows)
    assert len(drawn) == bars
    assert sum(bar.positions + bar.values for bar in drawn) == pytest.approx(sum(row.bytes for row in rows))
    if bars == 30:
        assert drawn[-1].label == "22 others"


def test_names_and_metadata_of_a_stranger_do_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    state = {"a\x1b]0;title\x07\x1b[2J": torch.ones(3), "n\nl": torch.ones(2)}
    demitasse.save(state, tmp_path / "odd.demi", metadata={"k\x1b": "v\x1b[31m"})
    shown = table(inspect(tmp_path / "odd.demi")).text()
    assert all(character.isprintable() for character in shown.replace("\n", ""))
    for part in (r"a\x1b]0;title\x07\x1b[2J", r"n\nl", r"k\x1b: v\x1b[31m"):
        assert part in shown
