"""Batch samplers of SSD: windows of an image that show its boxes well enough, or badly enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images.annotations import Boxes, Window, coverage
from demitasse.errors import NetError

_MOST_TRIALS = 10_000


class WindowSampler:
    """Draws windows by the ``batch_sampler`` of an AnnotatedDataParameter.

    Each sampler draws windows, until ``max_sample`` of them meet its constraint or ``max_trials`` are drawn. A window
    meets it if it does so with one of the boxes: by their overlap, by the share of the window that the box covers
    (sample), or by the share of the box that the window shows (object).

    Raises:
        NetError: bounds of a sampler are impossible.

    Reference: Liu et al. 2016 (SSD), section 2.2, "Data augmentation".
    """

    def __init__(self, samplers: Sequence[schema.BatchSampler]) -> None:
        self._samplers = [sampler for sampler in samplers if sampler.use_original_image]
        for sampler in self._samplers:
            _check(sampler)

    def draw(self, boxes: Boxes, random: np.random.Generator) -> Window | None:
        """Returns one of the windows that all samplers find, at random; None if they find none.

        Args:
            boxes: (n, 4), in fractions of the image.
            random: the generator.
        """
        windows = [window for sampler in self._samplers for window in _windows(sampler, boxes, random)]
        return windows[int(random.integers(len(windows)))] if windows else None


def _check(sampler: schema.BatchSampler) -> None:
    sizes = sampler.sampler
    if not 0 < sizes.min_scale <= sizes.max_scale <= 1:
        raise NetError(f"min_scale is {sizes.min_scale:g} and max_scale {sizes.max_scale:g}; expected 0 to 1, in order")
    if not 0 < sizes.min_aspect_ratio <= sizes.max_aspect_ratio < np.inf:
        raise NetError(
            f"min_aspect_ratio is {sizes.min_aspect_ratio:g} and max_aspect_ratio {sizes.max_aspect_ratio:g}; expected "
            "positive numbers, in order"
        )
    if sampler.max_trials > _MOST_TRIALS:
        raise NetError(f"max_trials is {sampler.max_trials}; expected at most {_MOST_TRIALS}")


def _windows(sampler: schema.BatchSampler, boxes: Boxes, random: np.random.Generator) -> list[Window]:
    most = sampler.max_sample if sampler.HasField("max_sample") else sampler.max_trials
    found: list[Window] = []
    for _ in range(sampler.max_trials):
        if len(found) >= most:
            break
        window = _drawn(sampler.sampler, random)
        if _meets(window, boxes, sampler.sample_constraint):
            found.append(window)
    return found


def _drawn(sizes: schema.Sampler, random: np.random.Generator) -> Window:
    scale = random.uniform(sizes.min_scale, sizes.max_scale)
    aspect = random.uniform(sizes.min_aspect_ratio, sizes.max_aspect_ratio)
    aspect = min(max(aspect, scale**2), 1 / scale**2)  # no side is longer than that of the image
    size = np.minimum([scale * aspect**0.5, scale / aspect**0.5], 1)
    start = random.random(2) * (1 - size)
    return np.concatenate([start, start + size])


def _meets(window: Window, boxes: Boxes, constraint: schema.SampleConstraint) -> bool:
    """Returns whether the window meets a constraint with one of the boxes."""
    measures: dict[str, Callable[[], Boxes]] = {
        "jaccard_overlap": lambda: _overlap(window, boxes),
        "sample_coverage": lambda: coverage(window[None], boxes)[0],
        "object_coverage": lambda: coverage(boxes, window[None])[:, 0],
    }
    good = np.ones(len(boxes), bool)
    asked = False
    for name, measure in measures.items():
        for prefix, compare in (("min", np.greater_equal), ("max", np.less_equal)):
            if constraint.HasField(f"{prefix}_{name}"):
                asked = True
                good &= compare(measure(), getattr(constraint, f"{prefix}_{name}"))
    return bool(good.any()) or not asked


def _overlap(window: Window, boxes: Boxes) -> Boxes:
    """Returns the Jaccard overlap of the window with each box."""
    size = (window[2:] - window[:2]).prod()
    common = coverage(window[None], boxes)[0] * size
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1)
    found: Boxes = common / (size + areas - common)
    return found
