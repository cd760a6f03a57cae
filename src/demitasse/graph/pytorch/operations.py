"""What PyTorch's operations are in a graph: those that passes, kernels and exporters know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

from torch import Tensor, fx, nn

from demitasse.graph.pytorch.reading import OPERATIONS, Reading

Constant = Callable[[object], Tensor | None]


def _pair(value: int | Sequence[int]) -> tuple[int, ...]:
    numbers = [value] if isinstance(value, int) else list(value)
    return tuple(numbers * 2 if len(numbers) == 1 else numbers)


def _weights(constant: Constant, weight: object, bias: object) -> dict[str, Tensor] | None:
    """Returns weight and bias; None where one of them is computed."""
    found, added = constant(weight), None if bias is None else constant(bias)
    if found is None or (bias is not None and added is None):
        return None
    return {"weight": found} | ({} if added is None else {"bias": added})


def _padding(word: str, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...] | None:
    """Returns the padding that ``same`` and ``valid`` mean; None if it is another at the other end."""
    if word == "valid":
        return (0,) * len(kernel)
    both = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    return None if any(each % 2 for each in both) else tuple(each // 2 for each in both)


@OPERATIONS.register("aten.conv2d.default", "aten.conv2d.padding")
def convolution(a: SimpleNamespace, constant: Constant) -> Reading | None:
    weights = _weights(constant, a.weight, a.bias)
    if weights is None or a.input.meta["val"].ndim != 4:
        return None
    kernel = tuple(weights["weight"].shape[2:])
    pad = _padding(a.padding, kernel, _pair(a.dilation)) if isinstance(a.padding, str) else _pair(a.padding)
    if pad is None:
        return None
    settings = SimpleNamespace(
        axis=1,
        kernel=kernel,
        stride=_pair(a.stride),
        pad=pad,
        dilation=_pair(a.dilation),
        group=a.groups,
    )
    return Reading("Convolution", settings, weights, [a.input])


@OPERATIONS.register("aten.linear.default")
def linear(a: SimpleNamespace, constant: Constant) -> Reading | None:
    weights = _weights(constant, a.weight, a.bias)
    if weights is None:
        return None
    axes = a.input.meta["val"].ndim
    return Reading("InnerProduct", SimpleNamespace(axis=axes - 1), weights, [a.input])


@OPERATIONS.register("aten._native_batch_norm_legit_no_training.default")
def batch_norm(a: SimpleNamespace, constant: Constant) -> Reading | None:
    names = {"mean": "running_mean", "variance": "running_var", "weight": "weight", "bias": "bias"}
    weights = {name: constant(getattr(a, field)) for name, field in names.items() if getattr(a, field) is not None}
    if None in weights.values() or ("weight" in weights) != ("bias" in weights):
        return None
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    return Reading("BatchNorm", SimpleNamespace(eps=a.eps), kept, [a.input], nn.Identity())


def _activation(kind: str, **settings: Callable[[SimpleNamespace], float]) -> Callable[..., Reading]:
    def read(a: SimpleNamespace, constant: Constant) -> Reading:
        return Reading(kind, SimpleNamespace(**{name: get(a) for name, get in settings.items()}), {}, [a.self])

    return read


OPERATIONS.register("aten.relu.default")(_activation("ReLU", slope=lambda a: 0.0))
OPERATIONS.register("aten.leaky_relu.default")(_activation("ReLU", slope=lambda a: float(a.negative_slope)))
OPERATIONS.register("aten.relu6.default")(_activation("Clip", min=lambda a: 0.0, max=lambda a: 6.0))
OPERATIONS.register("aten.hardtanh.default")(
    _activation("Clip", min=lambda a: float(a.min_val), max=lambda a: float(a.max_val))
)


@OPERATIONS.register("aten.add.Tensor")
def add(a: SimpleNamespace, constant: Constant) -> Reading | None:
    shapes = [getattr(getattr(each, "meta", {}).get("val"), "shape", None) for each in (a.self, a.other)]
    if None in shapes or shapes[0] != shapes[1] or a.self is a.other:
        return None
    coeff = [] if a.alpha == 1 else [1.0, float(a.alpha)]
    return Reading("Eltwise", SimpleNamespace(operation="SUM", coeff=coeff), {}, [a.self, a.other])


@OPERATIONS.register("aten.cat.default")
def concatenation(a: SimpleNamespace, constant: Constant) -> Reading | None:
    inputs = list(a.tensors)
    if len(set(inputs)) != len(inputs):
        return None
    return Reading("Concat", SimpleNamespace(axis=a.dim % inputs[0].meta["val"].ndim), {}, inputs)


@OPERATIONS.register("aten.view.default")
def view(a: SimpleNamespace, constant: Constant) -> Reading | None:
    """All axes but the first taken as one; other views are left to PyTorch."""
    given, size = a.self.meta["val"], a.size
    if len(size) != 2 or given.ndim < 2 or isinstance(size[1], fx.Node):
        return None
    first = size[0].meta["val"] if isinstance(size[0], fx.Node) else size[0]
    if first != given.shape[0]:
        return None
    settings = SimpleNamespace(axis=1, end_axis=given.ndim - 1)
    return Reading("Flatten", settings, {}, [a.self], nn.Flatten(1))


@OPERATIONS.register("aten.mean.dim")
def mean(a: SimpleNamespace, constant: Constant) -> Reading | None:
    """The mean of each plane; other means are left to PyTorch."""
    given = a.self.meta["val"]
    if given.ndim != 4 or a.dtype is not None or sorted(axis % 4 for axis in a.dim or ()) != [2, 3]:
        return None
    return Reading("GlobalMean", SimpleNamespace(keeps_axes=a.keepdim), {}, [a.self])


def _pooling(a: SimpleNamespace, method: str) -> Reading | None:
    given = a.self.meta["val"]
    kernel, pad = _pair(a.kernel_size), _pair(a.padding)
    stride = _pair(a.stride) if a.stride else kernel
    if given.ndim != 4 or _pair(getattr(a, "dilation", 1)) != (1, 1):
        return None
    plane = tuple(int(size) for size in given.shape[2:])
    sizes = [_windows(*axis, a.ceil_mode) for axis in zip(plane, kernel, stride, pad, strict=True)]
    settings = SimpleNamespace(
        method=method, plane=plane, kernel=kernel, stride=stride, pad=pad, ceil_mode=a.ceil_mode, margin=(),
        sizes=sizes,
    )  # fmt: skip
    return Reading("Pooling", settings, {}, [a.self])


def _windows(length: int, kernel: int, stride: int, pad: int, ceil_mode: bool) -> int:
    """Returns the number of windows along an axis; one that would begin behind the padded input is left out."""
    span = length + 2 * pad - kernel
    count = (-(-span // stride) if ceil_mode else span // stride) + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= length + pad else count


@OPERATIONS.register("aten.max_pool2d.default")
def max_pool(a: SimpleNamespace, constant: Constant) -> Reading | None:
    return _pooling(a, "MAX")


@OPERATIONS.register("aten.avg_pool2d.default")
def avg_pool(a: SimpleNamespace, constant: Constant) -> Reading | None:
    counts_padding = a.count_include_pad or not any(_pair(a.padding))
    return _pooling(a, "AVE") if counts_padding and a.divisor_override is None else None


@OPERATIONS.register("aten.adaptive_avg_pool2d.default")
def adaptive_avg_pool(a: SimpleNamespace, constant: Constant) -> Reading | None:
    """Means of equal parts; parts of different sizes are left to PyTorch."""
    given, sizes = a.self.meta["val"], a.output_size
    if given.ndim != 4 or any(int(length) % size for length, size in zip(given.shape[2:], sizes, strict=True)):
        return None
    kernel = [int(length) // size for length, size in zip(given.shape[2:], sizes, strict=True)]
    return _pooling(SimpleNamespace(self=a.self, kernel_size=kernel, stride=kernel, padding=0, ceil_mode=False), "AVE")


@OPERATIONS.register("aten.softmax.int")
def softmax(a: SimpleNamespace, constant: Constant) -> Reading | None:
    if a.dtype is not None:
        return None
    return Reading("Softmax", SimpleNamespace(axis=a.dim % a.self.meta["val"].ndim), {}, [a.self])
