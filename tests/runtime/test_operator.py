"""Optimized modules exported and compiled again, as one operation."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import UsageError
from demitasse.runtime import OptimizedModule
from demitasse.zoo.models import MODELS
from tests.runtime.playground import sparse
from tests.runtime.test_optimize import IMAGES, Block, Several, Sizes

DIGITS = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
ANY = torch.export.Dim.DYNAMIC


@pytest.fixture(autouse=True)
def _compiler() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        yield
    torch._dynamo.reset()


def lenet() -> OptimizedModule:
    return demitasse.optimize(sparse(MODELS["lenet5"](), 0.05), DIGITS)


def operations(graph: torch.fx.Graph) -> list[str]:
    return [str(node.target) for node in graph.nodes if node.op == "call_function" and "demitasse" in str(node.target)]


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_without_a_break(backend: str) -> None:
    fast = lenet()
    compiled = torch.compile(fast, fullgraph=True, backend=backend)
    for batch in (2, 5, 1):
        x = torch.randn(batch, 1, 28, 28)
        torch.testing.assert_close(compiled(x), fast(x), rtol=0, atol=0)


def test_compiled_inside_another_module() -> None:
    fast = lenet()
    around = nn.Sequential(nn.ReLU(), fast, nn.Linear(10, 3))
    compiled = torch.compile(around, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(DIGITS), around(DIGITS))
    compiled(DIGITS).sum().backward()
    assert around[2].weight.grad is not None
    wanting = DIGITS.clone().requires_grad_()
    assert not torch.compile(fast, fullgraph=True, backend="aot_eager")(wanting).requires_grad


def test_exported_for_batches_of_any_size() -> None:
    fast = lenet()
    program = torch.export.export(fast, (DIGITS,), dynamic_shapes=(({0: ANY},),))
    assert operations(program.graph) == ["demitasse.run.default"]
    for batch in (2, 3, 7):
        x = torch.randn(batch, 1, 28, 28)
        torch.testing.assert_close(program.module()(x), fast(x), rtol=0, atol=0)
    fixed = torch.export.export(fast, (DIGITS,))
    torch.testing.assert_close(fixed.module()(DIGITS), fast(DIGITS), rtol=0, atol=0)


def test_arguments_by_name_and_results_of_any_structure() -> None:
    example = {"x": torch.randn(2, 8), "scale": torch.randn(2, 1)}
    fast = demitasse.optimize(Several().eval(), example)
    compiled = torch.compile(fast, fullgraph=True, backend="aot_eager")
    for batch in (2, 4):
        x, scale = torch.randn(batch, 8), torch.randn(batch, 1)
        found, expected = compiled(scale=scale, x=x), fast(x=x, scale=scale)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert found["same"].data_ptr() != x.data_ptr()
    program = torch.export.export(fast, (), example)
    torch.testing.assert_close(program.module()(**example), fast(**example), rtol=0, atol=0)


class Halves(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x.reshape(-1, 4), x.reshape(x.shape[0] * 2, 4).t(), torch.cat([x, x, x[:1]]).long()


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_shapes_that_are_made_of_the_batch(backend: str) -> None:
    fast = demitasse.optimize(Halves().eval(), torch.randn(3, 8))
    compiled = torch.compile(fast, fullgraph=True, backend=backend, dynamic=True)
    for batch in (3, 6):
        x = torch.randn(batch, 8)
        torch.testing.assert_close(compiled(x), fast(x), rtol=0, atol=0)


@pytest.mark.parametrize(("model", "example"), [(sparse(Block(), 0.3), IMAGES), (sparse(MODELS["gpt"](), 0.05), None)])
def test_graphs_that_are_partly_pytorch(model: nn.Module, example: Tensor | None) -> None:
    x = torch.randint(0, 50, (2, 16)) if example is None else example
    fast = demitasse.optimize(model, x)
    compiled = torch.compile(fast, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), fast(x), rtol=0, atol=0)
    assert operations(torch.export.export(fast, (x,)).graph) == ["demitasse.run.default"]


def test_what_is_not_made_of_tensors_is_called_as_it_is() -> None:
    fast = demitasse.optimize(Sizes().eval(), (torch.randn(2, 3, 4, 4), 3))
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(torch.compile(fast, backend="eager")(x, 3), fast(x, 3))
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(fast, backend="eager", fullgraph=True)(x, 3)


def test_arguments_that_do_not_fit() -> None:
    fast = lenet()
    wrong: Any = torch.compile(fast, backend="eager", fullgraph=True)
    with pytest.raises(UsageError, match=r"argument images has shape \[2, 1, 27, 28\]; expected \['n', 1, 28, 28\]"):
        wrong(torch.randn(2, 1, 27, 28))
    with pytest.raises(Exception, match="found 2 arguments; expected 1, as in the example"):
        wrong(DIGITS, DIGITS)


def test_a_program_does_not_keep_the_plan() -> None:
    program = torch.export.export(lenet(), (DIGITS,)).module()
    gc.collect()
    with pytest.raises(UsageError, match=r"found no optimized module 'LeNet5-[0-9a-f]+' in this process"):
        program(DIGITS)


def test_a_program_runs_only_in_the_process_that_holds_the_plan(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(lenet(), (DIGITS,)), tmp_path / "net.pt2")
    code = """
import torch
from demitasse.runtime import OptimizedModule
torch.export.load("net.pt2").module()(torch.randn(2, 1, 28, 28))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert found.returncode
    assert "found no optimized module 'LeNet5-" in found.stderr
    assert "runs only in the process that made it" in found.stderr
