"""Published sizes and errors of compressed nets, which pictures show beside our own."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A result from the literature.

    Attributes:
        paper: first author and year.
        arxiv: number of the paper.
        bytes: size of the compressed net.
        error: test error in percent.
    """

    paper: str
    arxiv: str
    bytes: float
    error: float


# (model, data), as recipes name them -> results
PUBLISHED: dict[tuple[str, str], tuple[Published, ...]] = {
    ("lenet5", "mnist"): (
        Published("Louizos 2017", "1705.08665", 2300, 1.0),
        Published("Havasi 2018", "1810.00440", 1520, 0.96),
        Published("Havasi 2018", "1810.00440", 3030, 0.69),
        Published("Oktay 2019", "1906.06624", 2840, 1.0),
    ),
    ("lenet300", "mnist"): (
        Published("Han 2016", "1510.00149", 27_000, 1.58),
        Published("Oktay 2019", "1906.06624", 8560, 1.9),
    ),
}
