"""The effects of SIGINT and SIGHUP on a training run."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from demitasse.errors import UsageError

EFFECTS = ("stop", "snapshot", "none")


class Signals:
    """A context that records signals; the solver checks for them between iterations.

    Args:
        sigint: effect of SIGINT: ``stop`` (after a snapshot), ``snapshot`` or ``none``.
        sighup: effect of SIGHUP, which does not exist on Windows.

    Raises:
        UsageError: there is no such effect.
    """

    def __init__(self, sigint: str = "stop", sighup: str = "snapshot") -> None:
        effects = {"SIGINT": sigint, "SIGHUP": sighup}
        for name, effect in effects.items():
            if effect not in EFFECTS:
                raise UsageError(f"-{name.lower()}_effect: {effect!r} is not one of {', '.join(EFFECTS)}")
        # Windows has no SIGHUP
        self._effects = {getattr(signal, name): effects[name] for name in effects if hasattr(signal, name)}
        self._pending: set[str] = set()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        for number in self._effects:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending.add(self._effects[signal.Signals(number)])

    def requested(self, effect: str) -> bool:
        """Returns whether a signal with this effect has arrived since the last call."""
        if effect not in self._pending:
            return False
        self._pending.discard(effect)
        return True
