"""What a run on several devices says when one of its processes ends early."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest
from torch.multiprocessing.spawn import ProcessExitedException

from demitasse.cli import processes
from demitasse.errors import RankError


def wait(*codes: int) -> None:
    def join(grace_period: float) -> bool:
        raise ProcessExitedException("", 0, 0, 1)

    context: Any = SimpleNamespace(join=join, processes=[SimpleNamespace(exitcode=code) for code in codes])
    processes._wait(context)


def test_a_rank_that_was_killed_is_named() -> None:
    for codes in ((-signal.SIGTERM, -signal.SIGKILL), (1, -signal.SIGKILL), (-signal.SIGABRT, -signal.SIGKILL)):
        with pytest.raises(RankError, match="rank 1 was killed by SIGKILL"):
            wait(*codes)
    with pytest.raises(RankError, match="rank 0 was killed by SIGABRT"):
        wait(-signal.SIGABRT, -signal.SIGTERM)


def test_a_rank_that_failed_has_said_why() -> None:
    """The others end by torch's clean-up, which may abort them."""
    for codes in ((-signal.SIGABRT, 2), (2, -signal.SIGTERM), (1, 2)):
        with pytest.raises(SystemExit) as stop:
            wait(*codes)
        assert stop.value.code == 2
