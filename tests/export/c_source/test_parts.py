"""The parts of the C export by themselves: streams, powers, places in the arena, dropped channels, costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from demitasse.export import c, cost_report
from demitasse.export.c_source.adaptive import encoded
from demitasse.export.c_source.evaluation import FloatArithmetic, evaluate
from demitasse.export.c_source.live import without_dead_channels
from demitasse.export.c_source.lowering import lowered
from demitasse.export.c_source.memory import Claim, offsets
from demitasse.export.c_source.powers import power_rows, signed_digits
from demitasse.export.c_source.source_net import source_net
from demitasse.export.c_source.streams import (
    FORMS,
    RiceCode,
    WeightStream,
    by_frequency,
    numbers,
    smallest_streams,
    stream,
)
from tests.export.c_source.compiling import to_powers


def decoded(found: WeightStream, shape: tuple[int, int]) -> np.ndarray:
    """Returns the codes of a stream, read as its description says."""
    flat = np.zeros(shape[0] * shape[1], np.int64)
    if found.form == "dense":
        both = np.frombuffer(found.content, np.uint8)
        return np.stack([both & 15, both >> 4], 1).reshape(-1)[: len(flat)].reshape(shape).astype(np.int64)
    bits = "".join(f"{byte:08b}" for byte in found.content)
    place, at, byte = 0, -1, 0
    while True:
        if found.form == "nibbles":
            gap, code = found.content[byte] >> 4, found.content[byte] & 15
            byte += 1
        else:
            gap, place = number(bits, place, found.gap)
            code = -1
        at += 1 + gap
        if at >= len(flat):
            assert at == len(flat)
            assert byte == len(found.content) if found.form == "nibbles" else place > 8 * (len(found.content) - 1)
            return flat.reshape(shape)
        if code < 0:
            code, place = number(bits, place, found.code)
            code += 1
        flat[at] = code


def number(bits: str, place: int, code: RiceCode) -> tuple[int, int]:
    """Returns the number of a Rice code at a place in bits, and the place behind it."""
    ones = 0
    while ones < code.most and bits[place] == "1":
        ones, place = ones + 1, place + 1
    place += ones < code.most
    return ones << code.shift | int(bits[place : place + code.shift] or "0", 2), place + code.shift


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40))
def test_the_best_rice_code(numbers):
    code = RiceCode.best(np.array(numbers))
    texts = [code.text(each) for each in numbers]
    assert code.bits(np.array(numbers)) == len("".join(texts)) <= len(numbers) * max(numbers).bit_length()
    assert [number(text, 0, code) for text in texts] == [
        (each, len(text)) for each, text in zip(numbers, texts, strict=True)
    ]


def test_values_by_frequency():
    different, places = by_frequency(np.array([5, -1, 7, 7, 5, 7]))
    assert different.tolist() == [7, 5, -1]
    assert places.tolist() == [1, 2, 0, 0, 1, 0]


@pytest.mark.parametrize("form", FORMS)
@given(st.integers(1, 7), st.integers(1, 90), st.integers(1, 15), st.floats(0, 1), st.integers(0, 9))
def test_streams_are_read_as_they_were_written(form, rows, columns, most, share, seed):
    drawn = np.random.default_rng(seed)
    codes = drawn.integers(1, most + 1, (rows, columns)) * (drawn.random((rows, columns)) < share)
    assert np.array_equal(decoded(FORMS[form](codes), codes.shape), codes)


def decoded_adaptively(content: bytes, depth: int, share: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns the codes of an adaptive stream, read as its description says, and all of its bytes."""
    chances = [share << 8] * 2 + [1 << 15] * (1 + (1 << depth))
    data = list(content)
    state = [0xFFFFFFFF, int.from_bytes(bytes(data.pop(0) for _ in range(4)), "big")]

    def decide(context: int) -> int:
        chance = chances[context]
        bound = (state[0] >> 16) * chance
        bit = state[1] < bound
        state[:] = [bound, state[1]] if bit else [state[0] - bound, state[1] - bound]
        chances[context] += (65535 - chance) // 64 if bit else -(chance // 64)
        while state[0] < 1 << 24:
            state[:] = [state[0] << 8, state[1] << 8 | data.pop(0)]
        return int(bit)

    flat, at, sign = np.zeros(shape[0] * shape[1], np.int64), -1, 0
    while True:
        at, before = at + 1, 1
        while not decide(before):
            at, before = at + 1, 0
        if at >= len(flat):
            assert at == len(flat)
            assert not data
            return flat.reshape(shape)
        sign, node = decide(2 + sign), 1
        for _ in range(depth):
            node = 2 * node + decide(3 + node)
        flat[at] = 1 + 2 * (node - (1 << depth)) + sign


@given(st.integers(1, 7), st.integers(1, 90), st.integers(1, 32), st.floats(0, 1), st.integers(0, 9))
def test_adaptive_streams_are_read_as_they_were_written(rows, columns, most, share, seed):
    drawn = np.random.default_rng(seed)
    codes = drawn.integers(1, most + 1, (rows, columns)) * (drawn.random((rows, columns)) < share)
    found = encoded(codes)
    assert np.array_equal(decoded_adaptively(*found, codes.shape), codes)


def test_adaptive_streams_hold_sixteen_powers():
    assert encoded(np.full((1, 1), 32)).depth == 4
    assert encoded(np.full((1, 1), 33)) is None


def sparse(rows: int, columns: int) -> np.ndarray:
    """Returns codes of which few are not zero in the first half of the rows, and many in the second."""
    drawn = np.random.default_rng(0)
    shares = np.repeat([[0.02], [0.5]], [(rows + 1) // 2, rows // 2], 0)
    return drawn.integers(1, 8, (rows, columns)) * (drawn.random((rows, columns)) < shares)


def test_the_smallest_streams_count_the_code_that_reads_them():
    large, small = sparse(200, 300), sparse(4, 10)
    assert [each.form for each in smallest_streams([small])] == ["nibbles"]
    assert [each.form for each in smallest_streams([large, small])] == ["adaptive", "adaptive"]
    assert len(smallest_streams([large])[0].content) < 0.85 * len(stream(large).content)
    assert smallest_streams([]) == []


def test_a_stream_is_about_the_smallest():
    drawn = np.random.default_rng(0)
    for share, form in ((0.01, "bits"), (0.15, "bits"), (0.9, "dense")):
        codes = drawn.integers(1, 16, (50, 200)) * (drawn.random((50, 200)) < share)
        found = stream(codes)
        assert found.form == form
        assert len(found.content) <= 1.05 * min(len(make(codes).content) for make in FORMS.values())
    many = np.arange(1, 40).reshape(3, 13)
    assert stream(many).form == "bits"
    assert np.array_equal(decoded(stream(many), many.shape), many)


def test_numbers():
    assert numbers([0, -1, 1, 63, -64, 64, -(2**31)]) == bytes([0, 1, 2, 126, 127, 128, 1, 255, 255, 255, 255, 15])


@given(st.lists(st.integers(-9, 5), min_size=1, max_size=30), st.floats(0.01, 100), st.booleans())
def test_rows_of_powers(exponents, factor, is_scaled):
    drawn = np.random.default_rng(len(exponents))
    weight = 2.0 ** np.array([exponents, exponents[::-1]]) * drawn.choice([-1, 0, 1], (2, len(exponents)))
    factors = np.array([1.0, np.float64(np.float32(factor))]) if is_scaled else np.ones(2)
    given_weight = weight * factors[:, None]
    found = power_rows(given_weight)
    assert found is not None
    made = found.whole * 2.0**found.exponent * (1 if found.factors is None else found.factors[:, None])
    assert np.array_equal(made, given_weight)
    assert found.shifts.min() >= 0


def test_rows_that_are_none():
    assert power_rows(np.array([[0.5, 0.375]])) is None
    assert power_rows(np.array([[1.0, 2.0**-20]])) is None
    found = power_rows(np.zeros((2, 3)))
    assert found is not None
    assert not found.signs.any()


@given(st.floats(1e-6, 1e6), st.sampled_from([-1, 1]))
def test_digits(value, sign):
    digits = signed_digits(sign * value)
    made = sum(digit.sign * 2.0**digit.exponent for digit in digits)
    assert abs(made - sign * value) <= 2.0**-11 * value
    assert len(digits) <= 7
    assert signed_digits(0.0) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 5)), max_size=20))
def test_what_is_needed_at_the_same_time_does_not_overlap(drawn):
    claims = [Claim(size, first, first + length) for size, first, length in drawn]
    found, total = offsets(claims)
    for one in range(len(claims)):
        assert found[one] % 4 == 0
        assert found[one] + claims[one].size <= total
        for other in range(one):
            if claims[one].first <= claims[other].last and claims[other].first <= claims[one].last:
                apart = found[one] + claims[one].size <= found[other] or found[other] + claims[other].size <= found[one]
                assert apart or not claims[one].size or not claims[other].size


def test_the_arena_is_as_large_as_the_most_that_is_needed_at_once():
    claims = [Claim(100, 0, 1), Claim(40, 1, 2), Claim(100, 2, 3), Claim(8, 3, 4)]
    assert offsets(claims) == ([0, 100, 0, 100], 140)


class Padded(nn.Module):
    """The constant channel of ``one`` is padded, so that it cannot go into a bias; that of ``two`` can."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 5, 3, padding=1)
        self.three, self.four = nn.Linear(5 * 16, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.two(torch.relu(self.one(x))))
        return self.four(torch.relu(self.three(y.flatten(1))))


@torch.no_grad()
def test_dead_channels_are_dropped():
    torch.manual_seed(0)
    model = to_powers(Padded())
    model.one.bias.copy_(torch.tensor([0.5, -1, 2, 0.25]))
    model.one.weight[0] = model.one.weight[1] = 0  # a constant that is padded, and one that the ReLU makes 0
    model.two.weight[:, 3] = 0  # a channel that nothing takes
    model.two.weight[2] = 0
    model.two.bias[2] = 0.5  # a constant that goes into biases
    model.three.weight[:, 16:32] = 0  # of channel 1
    model.three.weight[4] = 0
    model.four.weight[:, 0] = 0
    net = lowered(source_net(model, torch.zeros(1, 1, 4, 4)).graph)
    live = without_dead_channels(net)
    assert [each.weight.shape for each in live.operations] == [(2, 1), (3, 18), (4, 48), (3, 4)]
    x = torch.randn(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    blob = next(iter(net.inputs))
    expected = model(x).numpy()
    for each in (net, live):
        (found,) = evaluate(each, FloatArithmetic(), {blob: x.double().numpy()}).values()
        assert np.abs(found.reshape(7, -1) - expected).max() < 1e-6
    assert [each.weight.shape for each in net.operations] == [(4, 1), (5, 36), (6, 80), (3, 6)]  # stays as it was


def test_costs(tmp_path):
    torch.manual_seed(0)
    model = to_powers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)))
    report = c(model, torch.zeros(1, 1, 8, 8), tmp_path / "net.c", range=(-1, 1), bits=8)
    costs = cost_report(report.written)
    assert [(layer.name, layer.kept, layer.total) for layer in costs.layers] == [("conv2d", 18, 18), ("linear", 54, 54)]
    assert costs.layers[0].additions == 18 * 36
    assert costs.layers[1].additions == 54
    assert (
        costs.flash
        == sum(layer.flash for layer in costs.layers)
        == sum(len(each.values) for layer in report.written.layers for each in layer.tables)
    )
    assert f"ARENA_BYTES {costs.ram}" in (tmp_path / "net.h").read_text()
    assert [layer.stream for layer in costs.layers] == [len(each.stream.content) for each in report.written.layers]
    assert 0.8 < costs.layers[1].stream / costs.layers[1].packed < 1.35
    assert "conv2d" in str(costs)
    assert "together" in str(costs)
