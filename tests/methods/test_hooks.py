"""What breaks other pruning libraries, one named test each: the module stays an ordinary module."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

import demitasse
from demitasse.errors import MethodError, WeightsError
from demitasse.methods.records import CUT, FROZEN, record_of
from tests.methods.playground import Net, backward, batches, check, net, same, sgd, train, weights


def pruned(model: nn.Module, optimizer: torch.optim.Optimizer, **settings: object) -> demitasse.Surgery:
    return demitasse.Surgery(model, optimizer, **{"sparsity": 0.8, "ramp": 5, "gamma": 0.0, **settings})  # type: ignore[arg-type]


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


@pytest.mark.parametrize("kind", ["SGD", "fused SGD", "fused AdamW"])
def test_gradscaler_skips_leave_masks_alone(kind: str) -> None:
    model = net()
    if kind == "fused AdamW":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    else:
        optimizer = sgd(model, fused=kind == "fused SGD")
    surgery = pruned(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=10**6)
    for number, (images, labels) in enumerate(batches(12)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        skipped = number % 3 == 2
        if skipped:
            model.fc.weight.grad[0, 0] = torch.inf  # type: ignore[index]
        before, masks = weights(model), surgery.masks()
        scaler.step(optimizer)
        scaler.update()
        check(model, surgery)
        if skipped:
            assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
            assert all(torch.equal(before[name], model.state_dict()[name]) for name in ("conv.weight", "fc.weight"))
    assert surgery.iteration == 8


def test_a_step_skipped_on_the_device_decides_nothing() -> None:
    """What a fused optimizer on a GPU leaves behind: found_inf as a tensor that the host does not read."""
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 4)
    before, masks = weights(model), surgery.masks()
    surgery.decide(torch.tensor(1.0))
    assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    surgery.decide(torch.tensor(0.0))
    assert any(not torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
    check(model, surgery)


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
    surgery = pruned(model, optimizer)
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


def test_gradient_clipping_and_accumulation() -> None:
    results = []
    for parts in (1, 2):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        nn.init.constant_(model[1].bias, 0)
        with torch.no_grad():
            model[1].weight.copy_(torch.linspace(-1, 1, 640).reshape(10, 64))
        optimizer = sgd(model)
        surgery = pruned(model, optimizer)
        for images, labels in batches(10):
            optimizer.zero_grad()
            for image, label in zip(images.chunk(parts), labels.chunk(parts), strict=True):
                (nn.functional.cross_entropy(model(image), label) / parts).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            check(model, surgery)
        assert surgery.iteration == 10
        results.append(weights(model))
    for key in results[0]:
        torch.testing.assert_close(results[0][key], results[1][key], atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_masked_weight_goes_to_cut_weights() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, 1.0, 2.0, 3.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.25, ramp=0, gamma=0)
    record = surgery.records["weight"]
    for expected in (0.0, 0.0):
        model.zero_grad()
        (model(torch.tensor([[-0.4, 0.0, 0.0, 0.0]]))).sum().backward()
        optimizer.step()
        assert model.weight[0, 0] == expected
    # 0.1 -> 0.5 -> 0.9, in the reserve; then it outgrows the threshold and the smallest of the others goes
    assert record.hold()[0, 0] == pytest.approx(0.9)
    for _ in range(2):
        model.zero_grad()
        (model(torch.tensor([[-0.4, 0.0, 0.0, 0.0]]))).sum().backward()
        optimizer.step()
    assert model.weight[0].tolist() == pytest.approx([1.7, 0.0, 2.0, 3.0])


def test_tied_weights_are_counted_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    surgery = pruned(model, optimizer, sparsity=0.5)
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()
    report = surgery.report()
    assert (report.total, report.kept, len(report.rows)) == (64, 32, 1)


def test_parameters_added_to_the_optimizer_later() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.conv.parameters(), lr=0.05)
    surgery = pruned(model, optimizer, ramp=0)
    train(model, optimizer, 3)
    check(model, surgery)
    optimizer.add_param_group({"params": list(model.fc.parameters()), "weight_decay": 0.1})
    train(model, optimizer, 10, after=lambda: check(model, surgery))
    assert surgery.records["fc.weight"].hold().any()
    assert surgery.report().sparsity == pytest.approx(0.8, abs=1e-3)


def test_parameters_removed_from_the_optimizer() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    gone = model.fc.weight
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if parameter is not gone]
    before = weights(model)
    train(model, optimizer, 3, after=lambda: check(model, surgery))
    assert not torch.equal(before["conv.weight"], model.conv.weight)
    kept = (before["fc.weight"] != 0) & (gone != 0)
    assert torch.equal(before["fc.weight"][kept], gone[kept])


def test_two_methods_on_one_model() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 20)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    masks = surgery.masks()
    for _ in quantize:
        train(model, optimizer, 5, after=lambda: check(model, surgery, quantize))
    assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
    assert surgery.report().sparsity == pytest.approx(0.8, abs=0.01)
    assert quantize.report().frozen_share == 1
    surgery.finish()
    train(model, optimizer, 5, after=lambda: check(model, quantize))
    quantize.finish()
    assert "step" not in optimizer.__dict__
    assert not [parameter for parameter in model.parameters() if record_of(parameter)]


def test_surgery_finished_before_quantization_ends_stays_cut() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(0.5, 1.0))
    train(model, optimizer, 20)
    zeros = {name: record.values == 0 for name, record in surgery.records.items()}
    surgery.finish()
    train(model, optimizer, 5, after=lambda: check(model, quantize))
    for name, zero in zeros.items():
        assert not quantize.records[name].values[zero].any()


def test_quantization_after_finished_pruning_keeps_the_zeros() -> None:
    model = net()
    optimizer = sgd(model)
    pruning = demitasse.MagnitudePruning(model, optimizer, sparsity=0.7, ramp=5)
    train(model, optimizer, 10)
    pruning.finish()
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    for _ in quantize:
        train(model, optimizer, 5)
    assert quantize.report().sparsity >= 0.7 - 1e-3


def test_two_prunings_of_one_parameter_are_refused() -> None:
    model = net()
    optimizer = sgd(model)
    pruned(model, optimizer, parameters=["conv"])
    with pytest.raises(MethodError, match=r"conv\.weight is under Surgery already; finish that first"):
        demitasse.MagnitudePruning(model, optimizer, sparsity=0.5)
    demitasse.MagnitudePruning(model, optimizer, sparsity=0.5, parameters=["fc"], ramp=2)
    train(model, optimizer, 5)


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
    reserve = {name: record.hold().clone() for name, record in surgery.records.items()}
    model.to(memory_format=torch.contiguous_format)
    model.to(memory_format=torch.channels_last)
    model.to(memory_format=torch.contiguous_format)
    surgery.records["0.weight"].enter()
    surgery.records["0.weight"].leave()
    assert torch.equal(surgery.records["0.weight"].hold(), reserve["0.weight"])
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
    assert surgery.records["weight"].hold().dtype == torch.float64


def test_frozen_layers_stay_as_they_are() -> None:
    model = net()
    model.conv.requires_grad_(False)
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    assert [(item.name, item.reason) for item in surgery.dense if item.name == "conv.weight"] == [
        ("conv.weight", "takes no gradient")
    ]
    before = model.conv.weight.clone()
    train(model, optimizer, 10)
    assert torch.equal(before, model.conv.weight)


def test_layers_frozen_later_keep_their_masks() -> None:
    model = net()
    optimizer = sgd(model)
    pruned(model, optimizer)
    train(model, optimizer, 10)
    model.conv.requires_grad_(False)
    optimizer.zero_grad(set_to_none=True)
    before = model.conv.weight.clone()
    train(model, optimizer, 10)
    assert torch.equal(before, model.conv.weight)


@pytest.mark.parametrize("keyword", [False, True])
def test_a_closure_sees_effective_weights(keyword: bool) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    other = net()
    plain = sgd(other)
    twin = pruned(other, plain)
    for batch in batches(12):

        def closure(batch=batch) -> torch.Tensor:  # type: ignore[no-untyped-def]
            check(model, surgery)
            return backward(model, batch)

        loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
        assert isinstance(loss, torch.Tensor)
        backward(other, batch)
        plain.step()
    assert twin.iteration == surgery.iteration == 12
    assert same(model, other)


def test_load_state_dict_between_steps_wins() -> None:
    model = net()
    optimizer = sgd(model, momentum=0.0, weight_decay=0.0, lr=0.0)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    dense = {name: torch.full_like(tensor, 0.5) for name, tensor in surgery.masks().items()}
    dense = {name: torch.full(mask.shape, 0.5) for name, mask in dense.items()}
    model.load_state_dict(dense, strict=False)
    train(model, optimizer, 1)
    check(model, surgery)
    for record in surgery.records.values():
        dense_values = torch.where(record.status == CUT, record.hold(), record.values)
        assert torch.equal(dense_values, torch.full_like(dense_values, 0.5))


@pytest.mark.parametrize("through_data", [False, True])
def test_edits_in_place_between_steps_win(through_data: bool) -> None:
    model = net()
    optimizer = sgd(model, momentum=0.0, weight_decay=0.0, lr=0.0)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    record = surgery.records["fc.weight"]
    row, column = (record.status == CUT).nonzero()[0].tolist()
    with torch.no_grad():
        (model.fc.weight.data if through_data else model.fc.weight)[row, column] = 9.0
    train(model, optimizer, 1)
    # larger than all others: it comes back
    assert model.fc.weight[row, column] == 9.0


@pytest.mark.parametrize("through_data", [False, True])
def test_edits_of_frozen_weights_are_put_onto_the_grid(through_data: bool) -> None:
    model = net()
    optimizer = sgd(model)
    quantize = demitasse.IncrementalQuantization(model, optimizer, exponents=4, portions=(0.5, 1.0))
    next(iter(quantize))
    record = quantize.records["fc.weight"]
    frozen = record.status == FROZEN
    with torch.no_grad():
        (model.fc.weight.data if through_data else model.fc.weight).mul_(0.7)
    train(model, optimizer, 1)
    check(model, quantize)
    assert model.fc.weight[frozen].any()


class Failing(torch.optim.SGD):
    def step(self, closure=None):  # type: ignore[no-untyped-def]
        loss = super().step(closure)
        if self.defaults["lr"] < 0.1:
            raise RuntimeError("half way")
        return loss


def test_a_step_that_raises_leaves_effective_weights() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)

    def closure() -> torch.Tensor:
        raise RuntimeError("no loss today")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no loss today"):
            optimizer.step(closure)
        check(model, surgery)
    train(model, optimizer, 3, after=lambda: check(model, surgery))
    assert surgery.iteration == 13


def test_a_step_that_raises_after_its_update() -> None:
    model = net()
    optimizer = Failing(model.parameters(), lr=0.05, momentum=0.9)
    surgery = pruned(model, optimizer, ramp=0)
    optimizer.defaults["lr"] = 1.0
    train(model, optimizer, 5)
    optimizer.defaults["lr"] = 0.05
    backward(model, next(batches(1)))
    with pytest.raises(RuntimeError, match="half way"):
        optimizer.step()
    check(model, surgery)
    optimizer.defaults["lr"] = 1.0
    train(model, optimizer, 5, after=lambda: check(model, surgery))
    assert surgery.iteration == 10


def test_an_optimizer_that_the_method_does_not_know(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 5)
    train(model, torch.optim.Adam(model.parameters()), 1)
    message = r"conv\.weight was stepped by Adam, which Surgery does not know; give it all optimizers of the model"
    for action in (surgery.report, surgery.finish, lambda: demitasse.save(model, tmp_path / "model.safetensors")):
        with pytest.raises(MethodError, match=message):
            action()
    assert not list(tmp_path.iterdir())


def test_an_optimizer_of_other_parameters_is_no_stranger() -> None:
    model, other = net(), net(1)
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(other, sgd(other), 2)
    train(model, optimizer, 2)
    surgery.report()


def test_several_optimizers_of_one_model() -> None:
    model = net()
    first = torch.optim.Adam(model.conv.parameters(), lr=0.01)
    second = torch.optim.SGD([*model.norm.parameters(), *model.fc.parameters()], lr=0.05)
    surgery = pruned(model, [first, second])
    for batch in batches(10):
        backward(model, batch)
        first.step()
        second.step()
        check(model, surgery)
    assert surgery.iteration == 10
    assert surgery.finish().sparsity == pytest.approx(0.8, abs=1e-3)


def test_an_optimizer_inside_an_optimizer_is_no_stranger() -> None:
    class Outer(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__([parameter for group in inner.param_groups for parameter in group["params"]], {})
            self.base = inner

        def step(self, closure=None):  # type: ignore[no-untyped-def]
            return self.base.step(closure)

    model = net()
    outer = Outer(sgd(model))
    surgery = pruned(model, outer)
    train(model, outer, 10, after=lambda: check(model, surgery))
    assert surgery.report().iteration == 10


def test_the_wrong_optimizer_is_refused() -> None:
    with pytest.raises(MethodError, match="the SGD trains no parameter of this Net"):
        pruned(net(), sgd(net(1)))
    with pytest.raises(MethodError, match=r"optimizer is a list_iterator; expected a torch\.optim\.Optimizer"):
        pruned(net(), iter([]))  # type: ignore[arg-type]
    with pytest.raises(MethodError, match="no optimizer is given"):
        pruned(net(), [])  # type: ignore[arg-type]
    model = net()
    with pytest.raises(MethodError, match="trains none of the chosen parameters"):
        pruned(model, torch.optim.SGD(model.norm.parameters(), lr=0.1))


def test_parameters_replaced_in_the_module_are_noticed() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    model.fc.weight = nn.Parameter(model.fc.weight.detach().clone())
    with pytest.raises(MethodError, match=r"the module holds another parameter as fc\.weight by now"):
        train(model, optimizer, 1)
    with pytest.raises(MethodError, match="after fully_shard"):
        surgery.report()
    with pytest.raises(MethodError, match="after fully_shard"):
        train(model, sgd(model), 1)


def test_a_scheduler_made_before_or_after_attaching_does_not_warn() -> None:
    for before in (True, False):
        model = net()
        optimizer = sgd(model)
        if before:
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        surgery = pruned(model, optimizer)
        if not before:
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        train(model, optimizer, 5, after=scheduler.step)
        check(model, surgery)
        surgery.finish()
        train(model, optimizer, 2, after=scheduler.step)
        assert (model.fc.weight != 0).all()


def test_capture_of_a_cuda_graph_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 2)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr("demitasse.methods.hooks.on_cuda", lambda records: True)
    backward(model, next(batches(1)))
    with pytest.raises(MethodError, match="cannot be captured as a CUDA graph"):
        optimizer.step()
    check(model, surgery)


@pytest.mark.gpu
def test_capture_of_a_real_cuda_graph_raises() -> None:
    model = net().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pruned(model, optimizer)
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(MethodError, match="cannot be captured"), torch.cuda.graph(graph):
        optimizer.step()


def test_a_method_is_not_copied() -> None:
    model = net()
    surgery = pruned(model, sgd(model))
    with pytest.raises(MethodError, match="save its state_dict"):
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
