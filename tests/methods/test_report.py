"""What a method's report looks like: whole numbers and names at any width, and few words for many dense parameters."""

from __future__ import annotations

import pytest
from torch import nn, optim

import demitasse
from demitasse.methods.report import MethodReport, ParameterRow
from demitasse.methods.selection import Dense
from demitasse.methods.sensitivity import LayerSensitivity, Sensitivity

LONG = "transformer.encoder.layers.{}.attention.query_projection_of_block.weight"
ROWS = tuple(
    ParameterRow(LONG.format(number), (4096, 4096), 16_777_216, 1_677_722, frozen=1_500_000, exponents=(-12, -3))
    for number in range(4)
)
WIDTHS = ("40", "80", "110", "200")


@pytest.mark.parametrize("width", WIDTHS)
def test_printed_reports_fit_the_terminal(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    printed = str(MethodReport("Surgery", 12_345, ROWS, ()))
    assert all(len(line) <= int(width) for line in printed.splitlines())
    assert printed.count("1,677,722") == 4
    assert "6,710,888" in printed
    assert "…" not in printed


@pytest.mark.parametrize("width", WIDTHS)
def test_printed_sensitivities_fit_the_terminal(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    by_sparsity = {0.5: 0.0511, 0.6: 0.0522, 0.7: 0.0533, 0.8: 0.0544, 0.9: 0.0555, 0.95: 0.0566, 0.993: 0.0577}
    layers = (LayerSensitivity(LONG.format(0), 1_000_000, by_sparsity, {5: 0.0588, 4: 0.0599, 3: 0.0611}),)
    printed = str(Sensitivity(0.05, layers))
    assert all(len(line) <= int(width) for line in printed.splitlines())
    for number in ("0.0511", "0.0577", "0.0611", "99.3 %", "3 bits"):
        assert printed.count(number) == 1


def test_many_dense_parameters_are_a_few_patterns() -> None:
    names = [f"h.{block}.{kind}" for block in range(48) for kind in ("ln_1.weight", "ln_1.bias", "attn.bias")]
    text = MethodReport("Surgery", 0, (), tuple(Dense(name, 10, "no weight") for name in names)).table().text()
    dense = text[text.index("dense") :]
    assert dense == "dense (no weight): h.*.ln_1.{weight,bias} (96), h.*.attn.bias (48); 1,440 entries"


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_of_dense_parameters_fit_the_terminal(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    name = LONG.format(0).replace("weight", "a_bias_with_a_very_long_name_of_its_own")
    printed = str(MethodReport("Surgery", 1, ROWS, (Dense(name, 10, "no weight"), Dense("short.bias", 2, "no weight"))))
    assert all(len(line) <= int(width) for line in printed.splitlines())
    assert f"{name},short.bias;" in printed[printed.index("dense") :].replace("\n", "").replace(" ", "")


def test_a_notebook_shows_a_table() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    surgery = demitasse.Surgery(model, optim.SGD(model.parameters(), lr=0.1), sparsity=0.5)
    html = surgery.report()._repr_html_()
    assert "<td>0.weight</td>" in html
    assert "dense (" in html
