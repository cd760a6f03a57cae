"""Layers as users write them."""

from __future__ import annotations

import json

import numpy as np

from demitasse import pycaffe as caffe


class Times(caffe.Layer):
    """The bottom times the number in ``param_str``, 2 without one."""

    def setup(self, bottom, top):
        if len(bottom) != 1:
            raise ValueError("one bottom, please")
        self.factor = float(self.param_str or 2)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = self.factor * top[0].diff


class Count(caffe.Layer):
    """A data layer: 0, 1, 2, ... row by row, with labels; ``param_str`` is JSON with ``rows`` and ``start``."""

    def setup(self, bottom, top):
        settings = json.loads(self.param_str)
        self.rows, self.next = settings["rows"], settings["start"]
        top[0].reshape(self.rows, 3)
        top[1].reshape(self.rows)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        numbers = np.arange(self.next, self.next + self.rows)
        top[0].data[...] = numbers[:, np.newaxis] % 3 == np.arange(3)
        top[1].data[...] = numbers % 3
        self.next += self.rows

    def backward(self, top, propagate_down, bottom):
        raise AssertionError("nobody wants a gradient here")


class Linear(caffe.Layer):
    """A matrix that is learnt: top = bottom @ weight."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].shape[1], int(self.param_str))
        self.blobs[0].data[...] = 0.1

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].shape[0], self.blobs[0].shape[1])

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data @ self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += bottom[0].data.T @ top[0].diff
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff @ self.blobs[0].data.T


class SquareLoss(caffe.Layer):
    """Half the squared distance of two bottoms, summed."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[0] = np.sum(self.difference**2) / 2

    def backward(self, top, propagate_down, bottom):
        for index, sign in enumerate((1, -1)):
            if propagate_down[index]:
                bottom[index].diff[...] = sign * top[0].diff[0] * self.difference


class Phase(caffe.Layer):
    """A scalar: the phase."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Table(caffe.Layer):
    """Writes its top once, in ``setup``, in place of every pass; no ``reshape`` of its own."""

    def setup(self, bottom, top):
        top[0].reshape(2, 2)
        top[0].data[...] = [[1, 2], [3, 4]]

    def forward(self, bottom, top):
        pass


class Failing(caffe.Layer):
    """Raises in the method that ``param_str`` names."""

    def _fail(self, method):
        if method in self.param_str:
            raise LookupError(f"nothing in {method}")

    def setup(self, bottom, top):
        self._fail("setup")

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
        self._fail("shaping")

    def forward(self, bottom, top):
        self._fail("forward")

    def backward(self, top, propagate_down, bottom):
        self._fail("backward")


class NoLayer:
    """Not a layer."""
