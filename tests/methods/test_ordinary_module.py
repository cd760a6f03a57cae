"""The module stays an ordinary module, whatever people do with modules."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

import demitasse
from demitasse.errors import MethodError, WeightsError
from demitasse.methods.records import CUT
from tests.methods.playground import Net, backward, batches, check, net, pruned, same, sgd, train, weights


def test_state_dict_keys_are_unchanged() -> None:
    model = net()
    before = list(model.state_dict())
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    assert list(model.state_dict()) == before
    surgery.finish()
    assert list(model.state_dict()) == before


def test_state_dict_is_what_will_be_shipped() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    zeros = sum(int((model.state_dict()[name] == 0).sum()) for name in surgery.records)
    assert zeros == round(0.8 * (36 + 1440))


def test_deepcopy_and_pickle_give_ordinary_modules() -> None:
    model = net()
    optimizer = sgd(model)
    pruned(model, optimizer)
    train(model, optimizer, 10)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(model, twin)
        other = sgd(twin)
        train(twin, other, 3)
        assert (twin.fc.weight != 0).all()
    assert same(model, copy.deepcopy(model))


def test_deepcopied_optimizer_has_no_hooks() -> None:
    model = net()
    optimizer = sgd(model)
    pruned(model, optimizer)
    train(model, optimizer, 2)
    assert "step" not in copy.deepcopy(optimizer).__dict__


def test_ema_sees_effective_weights_and_finish_projects_it() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    train(model, optimizer, 20, after=lambda: average.update_parameters(model))
    surgery.finish(average)
    for name, record in surgery.records.items():
        values = average.module.get_parameter(name)
        assert not values[record.status == CUT].any()
        assert values[record.status != CUT].any()


def test_ema_updated_by_a_step_hook_of_the_user() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(check(model, surgery)))
    train(model, optimizer, 10)
    assert len(seen) == 10


def test_swa_under_quantization_is_projected_onto_the_frozen_values() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = SWALR(optimizer, swa_lr=0.01, anneal_epochs=2)
    average = AveragedModel(model)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(0.5, 1.0))
    for _ in quantize:
        train(model, optimizer, 5, after=lambda: average.update_parameters(model))
        scheduler.step()
    quantize.finish(average)
    update_bn((images for images, _ in batches(3)), average)
    for name in quantize.records:
        assert torch.equal(average.module.get_parameter(name), model.get_parameter(name))


def test_finish_of_another_module_is_refused() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    with pytest.raises(WeightsError, match=r"the averaged model has no conv\.weight of shape \(4, 1, 3, 3\)"):
        surgery.finish(nn.Linear(2, 2))


def test_torch_compile_of_the_module() -> None:
    results = []
    for compiled in (False, True):
        model = net()
        optimizer = sgd(model)
        surgery = pruned(model, optimizer)
        train(torch.compile(model, backend="aot_eager") if compiled else model, optimizer, 12)
        check(model, surgery)
        results.append(weights(model))
    for key in results[0]:
        torch.testing.assert_close(results[0][key], results[1][key])


def test_attached_to_a_compiled_module_names_stay_plain() -> None:
    model = net()
    surgery = pruned(torch.compile(model, backend="eager"), sgd(model))
    assert list(surgery.records) == ["conv.weight", "fc.weight"]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_step_equals_the_plain_one() -> None:
    results = []
    for compiled in (False, True):
        model = net()
        # a bias before batch norm has only rounding errors for a gradient: eps keeps Adam from blowing them up
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01), eps=1e-3)
        surgery = pruned(model, optimizer)
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for batch in batches(12):
            backward(model, batch)
            step()
            check(model, surgery)
        assert surgery.iteration == 12
        results.append(weights(model))
    for key in results[0]:
        torch.testing.assert_close(results[0][key], results[1][key])


def test_bf16_autocast() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    for images, labels in batches(10):
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        check(model, surgery)
    assert surgery.report().sparsity == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float16])
def test_parameters_of_other_types(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    surgery = pruned(model, optimizer, floor=0.05)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=5, portions=(0.5, 1.0))

    def steps() -> None:
        for _ in range(8):
            optimizer.zero_grad()
            model(torch.randn(8, 32).to(dtype)).square().sum().mul(0.001).backward()
            optimizer.step()
            check(model, surgery, quantize)

    steps()
    for _ in quantize:
        steps()
    assert quantize.report().frozen_share == 1


def test_channels_last_before_and_after_attaching() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    surgery = pruned(model, optimizer)

    def steps() -> None:
        for _ in range(6):
            optimizer.zero_grad()
            model(torch.randn(2, 3, 8, 8)).square().mean().backward()
            optimizer.step()
            check(model, surgery)

    steps()
    reserve = {name: record.ensure_reserve().clone() for name, record in surgery.records.items()}
    model.to(memory_format=torch.contiguous_format)
    model.to(memory_format=torch.channels_last)
    model.to(memory_format=torch.contiguous_format)
    surgery.records["0.weight"].load_dense()
    surgery.records["0.weight"].load_effective()
    assert torch.equal(surgery.records["0.weight"].ensure_reserve(), reserve["0.weight"])
    steps()
    assert surgery.report().sparsity == pytest.approx(0.8, abs=2e-3)


def test_a_module_moved_to_another_type() -> None:
    model = nn.Linear(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    surgery = pruned(model, optimizer)
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        optimizer.state.clear()
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(2, 16, dtype=dtype)).square().mean().backward()
            optimizer.step()
            check(model, surgery)
    assert surgery.records["weight"].ensure_reserve().dtype == torch.float64


def test_a_method_is_not_copied() -> None:
    model = net()
    surgery = pruned(model, sgd(model))
    with pytest.raises(MethodError, match="save state_dict"):
        copy.deepcopy(surgery)


def test_module_and_optimizer_are_freed() -> None:
    import gc
    import weakref

    model: Net | None = net()
    optimizer: torch.optim.SGD | None = sgd(model)  # type: ignore[arg-type]
    surgery: demitasse.Surgery | None = pruned(model, optimizer)  # type: ignore[arg-type]
    train(model, optimizer, 3)  # type: ignore[arg-type]
    gone = weakref.ref(model), weakref.ref(optimizer), weakref.ref(surgery)  # type: ignore[arg-type]
    model = optimizer = surgery = None
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]
