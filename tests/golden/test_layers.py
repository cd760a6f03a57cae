"""Every recorded layer: tops, gradients and blobs after the pass agree with real Caffe."""

from __future__ import annotations

import pytest
import torch

from tests.golden.layer_case import LAYER_CASES, Case, Recorder, check, gradient, layer_cases

LONG_SUMS = ("Convolution", "Deconvolution", "LSTM", "RNN")
CASES = layer_cases()
needs_cases = pytest.mark.skipif(not CASES, reason=f"no reference data at {LAYER_CASES}")


@needs_cases
def test_every_case_but_those_of_data_layers_is_run():
    other = {"fillers"}  # statistics, in tests/caffe/test_fillers.py
    wanted = {f.name for f in LAYER_CASES.iterdir() if f.is_dir() and not f.name.startswith("data_")} - other
    assert len(wanted) > 150
    assert wanted == {folder.name for folder in CASES}


@needs_cases
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_agrees_with_caffe(folder, monkeypatch):
    monkeypatch.chdir(folder)
    case = Case.open(folder)
    net = case.net()
    recorder = Recorder(net)
    atol = 5e-5 if any(layer.type.endswith(LONG_SUMS) for layer in net.spec.layer) else 1e-5
    for prefix in case.passes():
        net.zero_grad()
        recorder.run(case.under(prefix, "bottom"))
        tops = case.under(prefix, "top")
        assert set(tops) <= set(recorder.blobs)
        for name, expected in tops.items():
            check(f"{prefix} top {name}", recorder.blobs[name], expected, atol)
        if case.settings["backward"]:
            _check_backward(case, prefix, recorder, atol)
        for key, expected in case.under(prefix, "param_after").items():
            layer, index = key.rsplit("/", 1)
            check(f"{prefix} after {key}", net.layer(layer).blobs()[int(index)], expected, atol)


def _check_backward(case: Case, prefix: str, recorder: Recorder, atol: float) -> None:
    diffs = {name: torch.from_numpy(diff) for name, diff in case.under(prefix, "top_diff").items()}
    heads = [name for name in diffs if recorder.blobs[name].requires_grad]
    if case.settings["loss_layer"]:
        total = sum((recorder.blobs[name] * diffs[name]).sum() for name in heads)
        assert recorder.net.loss(recorder.blobs).item() == pytest.approx(total.item())
    torch.autograd.backward([recorder.blobs[name] for name in heads], [diffs[name] for name in heads])
    # unless the net forces it, nothing goes down to its inputs: Caffe leaves other numbers in their diffs
    for kind in ("bottom_diff", "blob_diff") if recorder.net.force_backward else ("blob_diff",):
        for name, expected in case.under(prefix, kind).items():
            check(f"{prefix} {kind} {name}", recorder.gradient(name), expected, atol)
    for key, expected in case.under(prefix, "param_diff").items():
        layer, index = key.rsplit("/", 1)
        check(f"{prefix} diff {key}", gradient(recorder.net.layer(layer).blobs()[int(index)]), expected, atol)
