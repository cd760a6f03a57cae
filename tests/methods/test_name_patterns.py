"""Names collapsed to patterns."""

from __future__ import annotations

import pytest

from demitasse.methods.name_patterns import collapse

GPT = [f"h.{block}.ln_{number}.{kind}" for block in range(12) for number in (1, 2) for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([], []),
        (["bias"], ["bias"]),
        (["conv1.bias", "bn1.weight", "bn1.bias"], ["conv1.bias", "bn1.{weight,bias} (2)"]),
        (["0.bias", "2.bias"], ["{0,2}.bias (2)"]),
        (GPT, ["h.*.{ln_1,ln_2}.{weight,bias} (48)"]),
        ([*GPT, "wte.weight"], ["h.*.{ln_1,ln_2}.{weight,bias} (48)", "wte.weight"]),
        (["a.b", "a.b.0", "a.b.1"], ["a.b", "a.b.{0,1} (2)"]),
        # what is not there is not said to be there
        (["1.a", "1.b", "2.a"], ["{1,2}.a (2)", "1.b"]),
        ([f"conv{number}.bias" for number in range(50)], ["{conv0,conv1,conv2,...,conv49}.bias (50)"]),
    ],
)
def test_collapse(names: list[str], patterns: list[str]) -> None:
    assert collapse(names) == patterns
