"""From graphs to programs of kernels: one family of operations a file."""

from demitasse.runtime.native.lowering import moving, pointwise, pooling, products
from demitasse.runtime.native.lowering.base import LOWER, Lowered, Lowering, Memo, NotNative, lowered

__all__ = ["LOWER", "Lowered", "Lowering", "Memo", "NotNative", "lowered", "moving", "pointwise", "pooling", "products"]
