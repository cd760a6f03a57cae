"""The text of a source: imports, helpers, the class, and the function that loads it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from torch import Tensor

from demitasse.errors import ExportError
from demitasse.export.module import prepared
from demitasse.export.names import class_name, identifiers
from demitasse.export.source import descendants, detection, elementwise, linear, pooling, recurrent, shape
from demitasse.export.source.base import SOURCE, Code
from demitasse.export.source.helpers import HELPERS
from demitasse.export.source.lines import WIDTH, wrapped
from demitasse.graph import Graph, Model
from demitasse.graph.graph import Shape

_FAMILIES = (descendants, detection, elementwise, linear, pooling, recurrent, shape)

_IMPORTS = {"torch.": "import torch", "F.": "import torch.nn.functional as F"}

_LOAD = '''
def load(path=Path(__file__).with_suffix(".safetensors")):
    """Returns the net with its weights, for inference."""
    net = {name}()
    net.load_state_dict(load_file(path))
    return net.eval()
'''


def written(model: Model) -> tuple[str, dict[str, Tensor]]:
    """Returns the source of a model, and its state_dict.

    Raises:
        ExportError: a layer has no translation; says which.
    """
    graph = prepared(model)
    variables = _variables(graph)
    codes, forward = _translated(graph, variables)
    name = class_name(model.name)
    constructors = [line for code in codes for line in code.constructors]
    needed = {helper for code in codes for helper in code.needs}
    helpers = [HELPERS[helper] for helper in HELPERS if helper in needed]
    inputs = [variables[number] for number in graph.inputs.values()]
    body = [
        f"class {name}(nn.Module):",
        *_docstring(model, graph, variables),
        *_method("def __init__(self):", ["super().__init__()", *constructors] if constructors else []),
        *_method(f"def forward({', '.join(['self', *inputs])}):", forward),
    ]
    parts = [*helpers, "\n" + "\n".join(body) + "\n", _LOAD.replace("{name}", name)]
    code = "\n".join(parts)
    state = {key: value for each in codes for key, value in each.tensors.items()}
    return f"{_head(name, code)}\n{code}", state


def _variables(graph: Graph) -> dict[int, str]:
    """Returns the variable of each value, named after its blob: the same one again once the value before is dead."""
    made = [*graph.inputs.values(), *(number for step in graph.steps for number in step.outputs)]
    names = identifiers((graph.values[number].name for number in made), "blob")
    last = {number: index for index, step in enumerate(graph.steps) for number in step.inputs}
    last |= dict.fromkeys(graph.outputs.values(), len(graph.steps))
    free = dict.fromkeys(names.values(), -1)  # variable -> index of the last step that needs its value
    found: dict[int, str] = {}
    for index, numbers in enumerate([list(graph.inputs.values()), *(step.outputs for step in graph.steps)], -1):
        for number in numbers:
            name = names[graph.values[number].name]
            while free.get(name, -1) > index:
                name += "_"
            free[name] = last.get(number, index)
            found[number] = name
    return found


def _translated(graph: Graph, variables: dict[int, str]) -> tuple[list[Code], list[str]]:
    names = identifiers((step.name for step in graph.steps), "layer")
    used = set(names.values())
    shared: dict[object, str] = {}
    codes: list[Code] = []
    lines: list[str] = []
    for step in graph.steps:
        code = Code(step, graph.shapes(step), names[step.name], used, shared)
        inputs, outputs = ([variables[number] for number in each] for each in (step.inputs, step.outputs))
        statements = _statements(code, inputs, outputs)
        joined = _joined(lines[-1], statements[0]) if lines and inputs == outputs else None
        lines[len(lines) - (joined is not None) :] = [joined] if joined else statements
        codes.append(code)
    lines.append(f"return {', '.join(variables[number] for number in graph.outputs.values())}")
    return codes, lines


def _statements(code: Code, inputs: list[str], outputs: list[str]) -> list[str]:
    step = code.step
    if step.kind not in SOURCE:
        raise ExportError(f"layer {step.name!r} of type {step.kind} has no translation to PyTorch source")
    found = SOURCE[step.kind](code, *inputs)
    if isinstance(found, str):
        return [f"{', '.join(outputs)}{',' if len(outputs) == 1 and step.kind == 'Slice' else ''} = {found}"]
    return [f"{output} = {expression}" for output, expression in zip(outputs, found, strict=True)]


def _joined(before: str, line: str) -> str | None:
    """Returns two statements on one variable as one, ``x = F.relu(self.conv(y))``; None if that reads badly."""
    name, _, value = before.partition(" = ")
    start = re.match(rf"{name} = F\.\w+\({name}(?=[,)])", line)
    if start is None or value.startswith("F.") or not value.endswith(")") or line.count(name) != 2:
        return None
    joined = f"{start[0][: -len(name)]}{value}{line[start.end() :]}"
    return joined if len(joined) + 8 <= WIDTH else None


def _method(head: str, statements: Sequence[str]) -> list[str]:
    if not statements:
        return []
    return ["", *wrapped(head, 4), *(line for statement in statements for line in wrapped(statement, 8))]


def _docstring(model: Model, graph: Graph, variables: dict[int, str]) -> list[str]:
    batches = [model.inputs[name][axis] for name, axis in model.batch_axes.items()]
    last = max(model.batch_axes.values(), default=None)
    takes = [
        f"{variables[graph.inputs[name]]} {_shape(sizes, model.batch_axes.get(name), batches)}"
        for name, sizes in model.inputs.items()
    ]
    gives = [
        f"{variables[number]} {_shape(graph.values[number].shape, last, batches)}" for number in graph.outputs.values()
    ]
    return textwrap.wrap(
        f'"""Takes {", ".join(takes)}; gives {", ".join(gives)}."""',
        WIDTH,
        initial_indent=" " * 4,
        subsequent_indent=" " * 4,
    )


def _shape(shape: Shape, axis: int | None, batches: list[int]) -> str:
    sizes = [str(size) for size in shape]
    if axis is not None and axis < len(shape) and shape[axis] in batches:
        sizes[axis] = "n"
    return f"({', '.join(sizes)})"


def _head(name: str, code: str) -> str:
    """Returns the docstring and the imports that the code needs."""
    torch = [line for word, line in _IMPORTS.items() if re.search(rf"[ (=]{re.escape(word)}", code)]
    lines = [f'"""{name}, written by demitasse from a Caffe net."""', "", "from pathlib import Path", "", *torch]
    return "\n".join([*lines, "from safetensors.torch import load_file", "from torch import nn", ""])
