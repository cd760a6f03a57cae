"""A net made fast for use: :func:`optimize` returns a plan that computes the same blobs in fewer steps."""

from demitasse.caffe.inference.plan import Plan, optimize

__all__ = ["Plan", "optimize"]
