"""One suite over every registered solver type: what each must do, whatever its rule."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.training.optimizers import OPTIMIZERS
from tests.golden.single import single_net

RATES = {"AdaDelta": 1.0, "LarsSGD": 50.0}


def made(kind, net, **settings):
    """An optimizer with settings that suit its kind."""
    momentum = 0.0 if kind in ("AdaGrad", "RMSProp") else 0.9
    given = {"type": kind, "momentum": momentum, "delta": 1e-6 if kind == "AdaDelta" else 1e-8, **settings}
    return OPTIMIZERS[kind](net, schema.SolverParameter(**given))


def network(kind="InnerProduct", settings="", params=""):
    torch.manual_seed(0)
    common = 'num_output: 3 weight_filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'
    return single_net(kind, f"inner_product_param {{ {common} }} {settings} {params}", (8, 4))


def backward(net, scale=1.0):
    """Adds the gradient of a quadratic loss; returns the loss."""
    generator = torch.Generator().manual_seed(1)
    bottom, wanted = torch.randn(8, 4, generator=generator), torch.randn(8, 3, generator=generator)
    loss = (net({"b0": bottom})["t0"] - wanted).square().mean()
    (loss * scale).backward()
    return loss.item()


def train(kind, net, steps=5, scale=1.0, **settings):
    """Trains; returns the optimizer and the losses."""
    optimizer, losses = made(kind, net, **settings), []
    for iteration in range(steps):
        net.zero_grad()
        losses.append(backward(net, scale))
        optimizer.step(RATES.get(kind, 0.05), iteration)
    return optimizer, losses


@pytest.mark.parametrize("kind", list(OPTIMIZERS))
class TestEverySolverType:
    def test_loss_falls(self, kind):
        _, losses = train(kind, network(), steps=30)
        assert losses[-1] < 0.97 * losses[0]

    def test_history_has_the_layout_of_a_solverstate(self, kind):
        net = network("DNSInnerProduct")
        optimizer, _ = train(kind, net)
        shapes = [blob.tensor.shape for blob in net.learnable]
        assert [h.shape for h in optimizer.history] == shapes * optimizer.slots
        assert all(h.dtype == torch.float32 for h in optimizer.history)
        for index, tensor in enumerate(optimizer.history):
            assert bool(tensor.any()) != net.learnable[index % len(shapes)].name.endswith("_mask")

    def test_frozen_weights_keep_their_bits(self, kind):
        net = network("INQInnerProduct", "inq_inner_product_param { portion: 0 portion: 0.5 }")
        optimizer = made(kind, net, weight_decay=0.1)
        with torch.no_grad():
            net({"b0": torch.ones(8, 4)})  # freezes
        layer = net.layer("l")
        before = {name: values.detach().clone() for name, (values, _) in layer.masked().items()}
        for tensor in optimizer.history:
            tensor += 1  # left from a time when all were free
        for iteration in range(3):
            net.zero_grad()
            backward(net)
            optimizer.step(RATES.get(kind, 0.05), iteration)
        for index, (name, free) in enumerate(layer.free_masks().items()):
            assert 0 < free.count_nonzero() < free.numel()
            values = getattr(layer, name).detach()
            assert torch.equal(values[~free], before[name][~free])
            assert (values[free] != before[name][free]).all()
            for slot in range(optimizer.slots):
                assert not optimizer.history[index + 4 * slot][~free].any()

    def test_no_gradient_counts_as_zero(self, kind):
        one, two = network(), network()
        for parameter in two.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for net in (one, two):
            made(kind, net, weight_decay=0.1).step(0.1, 0)
        for mine, other in zip(one.parameters(), two.parameters(), strict=True):
            torch.testing.assert_close(mine, other)

    def test_masks_and_gradientless_blobs_are_left_alone(self, kind):
        net = network("DNSInnerProduct", "dns_inner_product_param { gamma: 0 iter_stop: -1 }")
        net.layer("l").weight_mask[0] = False
        mask = net.layer("l").weight_mask.clone()
        train(kind, net, weight_decay=0.1)
        assert torch.equal(net.layer("l").weight_mask, mask)

    def test_iter_size_averages(self, kind):
        one, two = network(), network()
        train(kind, one, weight_decay=0.01)
        train(kind, two, weight_decay=0.01, scale=4.0, iter_size=4)
        for mine, other in zip(one.parameters(), two.parameters(), strict=True):
            torch.testing.assert_close(mine, other)

    def test_history_is_all_that_a_resume_needs(self, kind):
        straight, cut = network(), network()
        train(kind, straight, steps=6)
        first, _ = train(kind, cut, steps=3)
        second = made(kind, cut)
        for mine, other in zip(second.history, first.history, strict=True):
            mine.copy_(other)
        for iteration in range(3, 6):
            cut.zero_grad()
            backward(cut)
            second.step(RATES.get(kind, 0.05), iteration)
        for mine, other in zip(cut.parameters(), straight.parameters(), strict=True):
            assert torch.equal(mine, other)

    def test_memory_format_makes_no_difference(self, kind):
        text = "convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 1 } }"
        images, found = torch.randn(2, 3, 5, 5), []
        for arrange in (lambda net: net, lambda net: net.channels_last()):
            torch.manual_seed(0)
            net = arrange(single_net("Convolution", text, (2, 3, 5, 5)))
            optimizer = made(kind, net, weight_decay=0.01)
            for iteration in range(2):
                net.zero_grad()
                net({"b0": images})["t0"].square().mean().backward()
                optimizer.step(0.01, iteration)
            found.append(net.layer("l").weight)
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
