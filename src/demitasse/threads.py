"""The number of threads that computations use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def thread_count() -> int:
    """Returns the number of threads that torch uses; where torch is not loaded, the number that it would use."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    with suppress(ValueError):
        if (given := int(os.environ.get("OMP_NUM_THREADS", ""))) > 0:
            return given
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the number of threads torch uses, and restores it at the end; 0 keeps the current setting."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
