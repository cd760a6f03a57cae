"""Sparse rows, however the values come, and the forms of packed weights."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from demitasse.packed.rows import RowsBuilder, sparse_rows
from demitasse.packed.sparse import Floats, SparseRows
from demitasse.packed.weight import PackedWeight

CASES = {
    "dense": ((5, 7), 1.0, 3),
    "half": ((5, 7), 0.5, 3),
    "empty": ((4, 9), 0.0, 3),
    "far apart": ((3, 2000), 0.002, 3),
    "many values": ((30, 120), 0.3, 1 << 20),
    "255 values": ((30, 400), 0.3, 254),
    "256 values": ((30, 400), 0.9, 256),
    "no rows": ((0, 3), 1.0, 3),
    "no columns": ((3, 0), 1.0, 3),
}


def made(case: str) -> Floats:
    shape, density, values = CASES[case]
    rng = np.random.default_rng(0)
    found = rng.integers(1, values + 1, shape) * (rng.random(shape) < density)
    if values < 10:
        found[..., -1:] *= -1
    return found.astype(np.float32)


def same(left: SparseRows, right: SparseRows) -> bool:
    return all(np.array_equal(*both) for both in zip(left, right, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_no_value_is_lost(case: str) -> None:
    matrix = made(case)
    found = sparse_rows(matrix)
    assert np.array_equal(found.dense(matrix.shape[1]), matrix)
    assert found.kept() == np.count_nonzero(matrix)
    assert found.starts[-1] == len(found.gaps) == len(found.codes if len(found.codes) else found.values)
    assert bool(len(found.codes)) == (0 < len(np.unique(matrix[matrix != 0])) < 256)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 13, 5000])
def test_the_size_of_pieces_makes_no_difference(case: str, size: int) -> None:
    matrix = made(case)
    builder, bits = RowsBuilder(*matrix.shape), matrix.reshape(-1).view(np.uint32)
    for start in range(0, len(bits), size):
        builder.append(bits[start : start + size])
    assert same(builder.finish(), sparse_rows(matrix))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunks", [1, 3])
def test_columns(case: str, chunks: int) -> None:
    matrix = made(case)
    weight = PackedWeight.of_rows(matrix.shape, sparse_rows(matrix))
    bounds = [chunk * len(matrix) // chunks for chunk in range(chunks + 1)]
    found = weight.columns(chunks).dense(len(matrix))
    for chunk, (begin, end) in enumerate(pairwise(bounds)):
        part = found[chunk * matrix.shape[1] : (chunk + 1) * matrix.shape[1], : end - begin]
        assert np.array_equal(part, matrix[begin:end].T)
    assert np.array_equal(weight.array(), matrix)
    assert np.array_equal(weight.rows().dense(matrix.shape[1]), matrix)


@pytest.mark.parametrize("case", [case for case, (shape, *_) in CASES.items() if all(shape)])
@pytest.mark.parametrize("panel", [1, 7, 64, 300])
def test_panels(case: str, panel: int) -> None:
    matrix = made(case)
    weight = PackedWeight.of_rows(matrix.shape, sparse_rows(matrix))
    found = weight.rows(panel).dense(panel).reshape(-1, len(matrix), panel)
    whole = np.concatenate(list(found), 1)
    assert np.array_equal(whole[:, : matrix.shape[1]], matrix)
    assert not whole[:, matrix.shape[1] :].any()
    assert np.array_equal(weight.array(), matrix)


def test_one_form_is_kept() -> None:
    weight = PackedWeight.of_rows((30, 400), sparse_rows(made("255 values")))
    before = weight.nbytes
    for groups, chunks in ((1, 1), (3, 0), (1, 4)):
        found = weight.columns(chunks) if chunks else weight.rows(groups)
        assert weight.nbytes == found.nbytes
    assert weight.rows().nbytes == before


def test_factors_leave_the_codes() -> None:
    matrix, factor = made("255 values"), np.arange(30) / 7
    weight = PackedWeight.of_rows(matrix.shape, sparse_rows(matrix))
    scaled = weight.scaled(factor).scaled(factor)
    expected = matrix * (factor**2)[:, None]
    np.testing.assert_allclose(scaled.array(), expected, rtol=1e-6)
    assert scaled.rows().codes is weight.rows().codes
    scaled.columns(2)
    np.testing.assert_allclose(scaled.array(), expected, rtol=1e-6)
    assert np.array_equal(weight.array(), matrix)


def test_a_negative_zero_is_a_zero() -> None:
    assert sparse_rows(np.array([[-0.0, 1.0]], np.float32)).kept() == 1


def test_what_is_no_number_stays() -> None:
    matrix = np.array([[np.nan, 0, np.inf, -np.inf]], np.float32)
    assert np.array_equal(sparse_rows(matrix).dense(4), matrix, equal_nan=True)
