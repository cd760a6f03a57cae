"""A net as C computes it: tensors of one example, and a short list of operations on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from demitasse.graph.weights import Doubles

Pair = tuple[int, int]


@dataclass
class CTensor:
    """A tensor of one example: planes, one for each channel, one after another.

    Attributes:
        name: of the blob.
        channels: number of planes.
        plane: height and width; 1 and 1 of a vector.
        home: the tensor that it is a part of, and its first channel there; None if it has memory of its own.
    """

    name: str
    channels: int
    plane: Pair = (1, 1)
    home: tuple[int, int] | None = None

    @property
    def area(self) -> int:
        """Number of values in a plane."""
        return self.plane[0] * self.plane[1]

    @property
    def size(self) -> int:
        """Number of values."""
        return self.channels * self.area


@dataclass(frozen=True)
class PlaneWindows:
    """Windows over a plane; those of pooling are clipped to it, those of convolution see zeros around it."""

    plane: Pair
    kernel: Pair
    stride: Pair
    pad: Pair
    dilation: Pair
    sizes: Pair

    @property
    def reach(self) -> Pair:
        """Height and width from the first to the last entry of a window."""
        (height, width), (down, across) = self.kernel, self.dilation
        return (height - 1) * down + 1, (width - 1) * across + 1


@dataclass(frozen=True)
class Pooling2d:
    """The maximum (``MAX``) or the mean (``AVE``) of windows; a mean counts the padding that its window covers."""

    method: str
    windows: PlaneWindows


@dataclass(frozen=True)
class Limits:
    """What is applied to each value: slopes below zero first, then a least and a greatest value.

    Attributes:
        low: the least value.
        high: the greatest value.
        slopes: (1,) or (channels,), the factors of negative values; None for none.
    """

    low: float = -math.inf
    high: float = math.inf
    slopes: Doubles | None = None

    @property
    def keeps_order(self) -> bool:
        """Whether a greater value never becomes less than a smaller one."""
        return self.slopes is None or bool(np.all(self.slopes >= 0))


NO_LIMITS = Limits()


@dataclass(kw_only=True)
class COperation:
    """One operation.

    Attributes:
        name: of the layer.
        inputs: numbers of the tensors that it takes.
        output: number of the tensor that it makes.
        limits: are applied to each value of the result, before pooling.
    """

    name: str
    inputs: list[int]
    output: int
    limits: Limits = NO_LIMITS

    @property
    def input(self) -> int:
        """The first input."""
        return self.inputs[0]


@dataclass(kw_only=True)
class WeightedSum(COperation):
    """A convolution, or an inner product; limits and pooling come after it.

    Attributes:
        weight: (outputs, inputs / groups * window).
        bias: (outputs,).
        windows: of a convolution; None for an inner product, which sees its input as a vector.
        groups: of a convolution.
        pooling: what follows.
    """

    weight: Doubles
    bias: Doubles
    windows: PlaneWindows | None = None
    groups: int = 1
    pooling: Pooling2d | None = None


@dataclass(kw_only=True)
class PlanePooling(COperation):
    """Pooling of each plane."""

    pooling: Pooling2d


@dataclass(kw_only=True)
class Addition(COperation):
    """The sum of tensors of one shape, each with its sign."""

    signs: list[int]


@dataclass(kw_only=True)
class Pointwise(COperation):
    """Limits alone, or a copy; the result may be a part of a larger tensor."""


@dataclass(kw_only=True)
class GreatestPlace(COperation):
    """The place of the greatest value, at the end of a net.

    Attributes:
        last: whether it is the last one of several; otherwise the first one.
    """

    last: bool


@dataclass
class CNet:
    """Operations in order, on numbered tensors.

    Attributes:
        name: of the net.
        tensors: by number.
        operations: in the order in which they are computed.
        inputs: name -> number of the tensor.
        outputs: name -> number of the tensor.
        softmax: names of the outputs whose softmax the net returns; C returns what it is taken of.
    """

    name: str
    tensors: list[CTensor] = field(default_factory=list)
    operations: list[COperation] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    softmax: set[str] = field(default_factory=set)

    def add(self, tensor: CTensor) -> int:
        """Adds a tensor and returns its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def root(self, number: int) -> tuple[int, int]:
        """Returns the tensor in whose memory a tensor lies, and the number of values before it there."""
        start = 0
        while (home := self.tensors[number].home) is not None:
            start += home[1] * self.tensors[home[0]].area
            number = home[0]
        return number, start

    def maker(self, number: int) -> COperation | None:
        """Returns the operation that makes a tensor; None of an input, or of one that is made in parts."""
        return next((each for each in self.operations if each.output == number), None)

    def users(self, number: int) -> list[COperation]:
        """Returns the operations that take a tensor."""
        return [each for each in self.operations if number in each.inputs]
