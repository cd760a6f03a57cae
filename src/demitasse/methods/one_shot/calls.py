"""The arguments of a call of a layer."""

from __future__ import annotations

from collections.abc import Mapping

Arguments = tuple[object, ...]
Named = Mapping[str, object]
