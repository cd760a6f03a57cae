"""Convolutions, and inner products of many rows, with dense weights over planes.

A few rows of the weights are computed at once, so that what is loaded of the planes is used for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import BYTE, INT, Machine
from demitasse.runtime.native.product import PLANES, Block, Epilogue, blocks, finish, started

# rows that are computed at once
GROUP = 4


class DenseRows(NamedTuple):
    """A matrix in groups of rows.

    Attributes:
        codes: (groups, columns, GROUP) uint8, numbers of values, or (0,) where there are too many values.
        values: the values by code, or (groups, columns, GROUP); float32.
    """

    codes: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.codes.nbytes + self.values.nbytes


def dense_rows(matrix: npt.NDArray[np.float32]) -> DenseRows:
    """Returns a matrix, (rows, columns), in groups; rows of zeros fill the last one."""
    groups = -(-len(matrix) // GROUP)
    whole = np.zeros((groups * GROUP, matrix.shape[1]), np.float32)
    whole[: len(matrix)] = matrix
    values = np.ascontiguousarray(whole.reshape(groups, GROUP, -1).transpose(0, 2, 1))
    known, codes = np.unique(values.view(np.uint32), return_inverse=True)
    if 0 < len(known) <= 256:
        return DenseRows(codes.reshape(values.shape).astype(np.uint8), known.view(np.float32))
    return DenseRows(np.zeros(0, np.uint8), values)


DENSE = f"*codes *values columns {PLANES}"


def dense(machine: Machine, vectors: int, coded: bool, epilogue: Epilogue) -> ir.Module:
    """Returns the kernel that multiplies dense rows with planes; for the arguments see ``product``."""
    code = KernelCode("kernel", machine, DENSE)
    groups = code.div(code.add(code.rows, GROUP - 1), GROUP)
    with blocks(code, vectors, groups) as block, code.loop(block.begin, block.end) as group:
        _group(code, group, block, vectors, coded, epilogue)
    return code.finish()


def _group(code: KernelCode, group: Operand, block: Block, vectors: int, coded: bool, epilogue: Epilogue) -> None:
    first = code.mul(group, GROUP)
    most = code.add(code.rows, -1)
    rows = [code.add(first, index) for index in range(GROUP)]
    known = [code.b.select(code.b.icmp_signed("<", row, code.rows), row, most) for row in rows]
    starts = [started(code, row, epilogue) for row in known]
    sums = [[code.variable(start) for _ in range(vectors)] for start in starts]
    offsets = code.at(code.offsets, code.load(code.bases, first, INT), INT)
    with code.loop(0, code.columns) as column:
        entry = code.mul(code.add(code.mul(group, code.columns), column), GROUP)
        place = code.load(offsets, column, INT)
        seen = [code.load_vector(block.planes, code.add(place, index * code.lanes)) for index in range(vectors)]
        for index, totals in enumerate(sums):
            number = code.add(entry, index)
            weight = code.splat(code.load(code.values, code.load(code.codes, number, BYTE) if coded else number))
            for value, total in zip(seen, totals, strict=True):
                code.set(total, code.intrinsic("fma", value, weight, code.get(total)))
    for row, totals in zip(rows, sums, strict=True):
        with code.b.if_then(code.b.icmp_signed("<", row, code.rows)):
            out = code.add(block.out, code.mul(row, code.output_plane))
            finish(code, row, out, [code.get(total) for total in totals], epilogue)
