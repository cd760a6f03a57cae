"""How the weight of a layer is a matrix, and how the inputs of the layer become the columns that it multiplies.

A kind of layer is a class here, or in another room, which registers it: of the entries that match a parameter, the last
one counts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from typing_extensions import override

from demitasse.methods.homes import Home, is_conv1d
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.methods.one_shot.convolved import convolved, sides
from demitasse.methods.one_shot.sampling import EVERY, Sample
from demitasse.registry import Registry

# the most entries of a chunk of columns
_CHUNK = 1 << 23


class View(ABC):
    """One parameter of a layer as a stack of matrices, (groups, rows, columns).

    The order of groups and rows is that of the layer's output channels.

    Args:
        home: where the module holds the parameter.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    @classmethod
    @abstractmethod
    def matches(cls, home: Home) -> bool:
        """Returns whether this is the view of a parameter."""

    @abstractmethod
    def matrix(self, weight: Tensor) -> Tensor:
        """Returns the weight as (groups, rows, columns)."""

    @abstractmethod
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns a matrix as a weight of this shape; the inverse of :meth:`matrix`."""

    @abstractmethod
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        """Yields the columns of a call of the layer in chunks, (groups, columns, n).

        Args:
            arguments: the positional arguments of the call.
            named: its keyword arguments.
            sample: which windows of a convolution to take.
        """

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels in the module's output, counted from the end; None if that is not the product."""
        return None

    @property
    def by_position(self) -> bool:
        """Whether the first input is (..., columns), and each of its positions is a column on its own."""
        return False

    @property
    def turn(self) -> int:
        """Of weights whose inputs come with the same call: those of a lower turn are compressed first."""
        return 0

    @property
    def watched(self) -> nn.Module:
        """The module whose calls tell the inputs."""
        return self.home.module

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias that is added to the product, (groups * rows,), if there is one."""
        found = getattr(self.home.module, "bias", None)
        return found if isinstance(found, nn.Parameter) else None


VIEWS: Registry[type[View]] = Registry("layer view")


def view_of(home: Home) -> View | None:
    """Returns the view of a parameter in one of its homes; None if its layer is of no known kind."""
    found = [VIEWS[name] for name in VIEWS if VIEWS[name].matches(home)]
    return found[-1](home) if found else None


def tensor_argument(arguments: Arguments, named: Named, number: int, name: str) -> Tensor | None:
    """Returns an argument of a call by position or by name; None if it is missing, or no tensor."""
    found = arguments[number] if len(arguments) > number else named.get(name)
    return found if isinstance(found, Tensor) else None


def chunked(inputs: Tensor, width: int) -> Iterator[Tensor]:
    """Yields parts of a tensor along its first axis, so that each has few enough entries as columns.

    Args:
        inputs: any shape.
        width: number of entries of columns that an example becomes.
    """
    if inputs.numel():
        yield from torch.split(inputs, max(1, _CHUNK // max(width, 1)))


@VIEWS.register("linear")
class LinearView(View):
    """``x @ W.T``: W (rows, columns)."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, nn.Linear) and home.role == "weight"

    @property
    @override
    def by_position(self) -> bool:
        return type(self) in (LinearView, Conv1DView)  # the other subclasses have inputs of other kinds

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return weight.unsqueeze(0)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix[0]

    @property
    @override
    def channel_axis(self) -> int | None:
        return -1

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        inputs = tensor_argument(arguments, named, 0, "input")
        if inputs is not None:
            for part in chunked(inputs.reshape(-1, inputs.shape[-1]), inputs.shape[-1]):
                yield part.t().unsqueeze(0)


@VIEWS.register("transposed linear")
class Conv1DView(LinearView):
    """Hugging Face's Conv1D, ``x @ W``: W (columns, rows)."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return is_conv1d(home.module) and home.role == "weight"

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return weight.t().unsqueeze(0)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix[0].t()

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        found = tensor_argument(arguments, named, 0, "x")
        yield from super().columns((found,), {})


def windows(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    sample: Sample = EVERY,
) -> Tensor:
    """Returns the windows of a convolution over padded inputs as columns.

    Args:
        inputs: (n, channels, sizes...).
        kernel: its size along each axis.
        stride: the stride along each axis.
        dilation: the dilation along each axis.
        groups: number of groups.
        sample: which windows to take.

    Returns:
        (groups, channels / groups * kernel positions, n * windows).
    """
    n, channels = inputs.shape[:2]
    reaches = [(size - 1) * spread + 1 for size, spread in zip(kernel, dilation, strict=True)]
    counts = [
        max(0, (size - reach) // step + 1) for size, reach, step in zip(inputs.shape[2:], reaches, stride, strict=True)
    ]
    taken = sample.places(counts)
    found = inputs.new_empty(channels, math.prod(kernel), n, *map(len, taken))
    by_channel = inputs.transpose(0, 1)
    for number, place in enumerate(product(*map(range, kernel))):
        part = [
            slice(position * spread + places.start * step, position * spread + places.stop * step, places.step * step)
            for position, spread, places, step in zip(place, dilation, taken, stride, strict=True)
        ]
        found[:, number] = by_channel[(slice(None), slice(None), *part)]
    return found.reshape(groups, channels // groups * math.prod(kernel), -1)


@VIEWS.register("convolution")
class ConvolutionView(View):
    """A convolution along 1 to 3 axes: weight (rows, channels / groups, kernel...)."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        module = home.module
        return isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd) and home.role == "weight"

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        groups = self._groups()
        return weight.reshape(groups, weight.shape[0] // groups, -1)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix.reshape(*shape)

    def _groups(self) -> int:
        return int(self.home.module.groups)  # type: ignore[arg-type]

    @property
    @override
    def channel_axis(self) -> int | None:
        assert isinstance(self.home.module, _ConvNd)
        return -1 - len(self.home.module.kernel_size)

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        inputs, module = tensor_argument(arguments, named, 0, "input"), self.home.module
        assert isinstance(module, _ConvNd)
        if inputs is None:
            return
        axes = len(module.kernel_size)
        inputs = inputs if inputs.ndim == axes + 2 else inputs.unsqueeze(0)
        padding, mode = sides(module, module.padding), module.padding_mode
        if (own := convolved(module, arguments, named)) is not None:
            (inputs, padding), mode = own, "zeros"
        width = math.prod(inputs.shape[1:]) * math.prod(module.kernel_size) // math.prod(module.stride)
        for part in chunked(inputs, width):
            padded = F.pad(part, padding, mode="constant" if mode == "zeros" else mode)
            yield windows(padded, module.kernel_size, module.stride, module.dilation, module.groups, sample)


def stuffed(inputs: Tensor, stride: Sequence[int]) -> Tensor:
    """Returns inputs with ``stride - 1`` zeros between neighbours along every axis after the second."""
    sizes = [(size - 1) * step + 1 for size, step in zip(inputs.shape[2:], stride, strict=True)]
    found = inputs.new_zeros(*inputs.shape[:2], *sizes)
    found[(slice(None), slice(None), *(slice(None, None, step) for step in stride))] = inputs
    return found


def transposed_columns(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    sides: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
    sample: Sample = EVERY,
) -> Tensor:
    """Returns the columns of a transposed convolution: a convolution of the inputs with zeros between them.

    Args:
        inputs: (n, channels, sizes...).
        kernel: its size along each axis.
        stride: the stride along each axis.
        sides: by how much the whole result is cut at its begin, and at its end, along each axis; may be negative.
        dilation: the dilation along each axis.
        groups: number of groups.
        sample: which outputs to take.

    Returns:
        (groups, channels / groups * kernel positions, n * outputs).
    """
    pads = []
    for size, spread, (begin, end) in zip(reversed(kernel), reversed(dilation), reversed(sides), strict=True):
        reach = spread * (size - 1)
        pads += [reach - begin, reach - end]
    found = windows(F.pad(stuffed(inputs, stride), pads), kernel, [1] * len(kernel), dilation, groups, sample)
    # an output meets the kernel from its last position to its first
    return found.reshape(groups, -1, math.prod(kernel), found.shape[2]).flip(2).flatten(1, 2)


def transposed_matrix(weight: Tensor, groups: int) -> Tensor:
    """Returns (channels, rows / groups, kernel...) as (groups, rows / groups, channels / groups * positions)."""
    split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return split.transpose(1, 2).flatten(2)


def transposed_weight(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse of :func:`transposed_matrix`."""
    groups, rows, _ = matrix.shape
    split = matrix.reshape(groups, rows, shape[0] // groups, -1)
    return split.transpose(1, 2).reshape(*shape)


@VIEWS.register("transposed convolution")
class TransposedConvolutionView(View):
    """A transposed convolution along 1 to 3 axes: weight (channels, rows / groups, kernel...)."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, _ConvTransposeNd) and home.role == "weight"

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return transposed_matrix(weight, int(self.home.module.groups))  # type: ignore[arg-type]

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return transposed_weight(matrix, shape)

    @property
    @override
    def channel_axis(self) -> int | None:
        assert isinstance(self.home.module, _ConvTransposeNd)
        return -1 - len(self.home.module.kernel_size)

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        inputs, module = tensor_argument(arguments, named, 0, "input"), self.home.module
        assert isinstance(module, _ConvTransposeNd)
        if inputs is None:
            return
        axes = len(module.kernel_size)
        inputs = inputs if inputs.ndim == axes + 2 else inputs.unsqueeze(0)
        padding = [int(size) for size in module.padding]
        sides = [(size, size - more) for size, more in zip(padding, module.output_padding, strict=True)]
        width = math.prod(inputs.shape[1:]) * math.prod(module.kernel_size) * math.prod(module.stride)
        for part in chunked(inputs, width):
            yield transposed_columns(
                part, module.kernel_size, module.stride, sides, module.dilation, module.groups, sample
            )


@VIEWS.register("embedding")
class EmbeddingView(View):
    """A table, W (rows, columns): no product, so a row's loss is the squared error of its entries.

    How much a row counts, which is nothing if it is never used, follows from gradients alone.
    """

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return home.is_embedding

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return weight.unsqueeze(0)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix[0]

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        yield from ()
