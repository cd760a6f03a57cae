"""Hard examples: the default boxes of an SSD that it learns most from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.layers.boxes import Floats, Indices, suppress
from demitasse.caffe.layers.matching import NOTHING
from demitasse.errors import NetError

_SMALLEST = 1e-5  # areas below this are not compared


class HardExamples(NamedTuple):
    """Which default boxes of an item have a loss.

    MAX_NEGATIVE: the matched ones, and ``ratio`` times as many without a match, of those whose overlap with true boxes
    is below ``overlap``. HARD_EXAMPLE (``every``): ``most`` of all, matched or not. Those with the largest losses are
    chosen, the first of equal ones; with a ``threshold`` above 0, after non-maximum suppression by the losses.

    Attributes:
        every: whether matched boxes are chosen, too.
        ratio: boxes without a match for each matched one.
        overlap: boxes that overlap a true box as much as this are no examples of background.
        most: the number of boxes of an item with ``every``.
        threshold: the largest overlap of two chosen boxes; 0 for no suppression.
        top_k: the number of boxes that go through the suppression; None for all.
        by_prior: whether default boxes are suppressed instead of predicted ones.

    Reference: Liu et al. 2016 (SSD), section 2.2, "Hard negative mining"; Shrivastava, Gupta, Girshick 2016.
    """

    every: bool
    ratio: float
    overlap: float
    most: int
    threshold: float
    top_k: int | None
    by_prior: bool

    @classmethod
    def of(cls, settings: schema.MultiBoxLossParameter) -> HardExamples | None:
        """Returns what a MultiBoxLossParameter sets; None if all boxes have a loss.

        Raises:
            NetError: settings contradict each other.
        """
        none, given = settings.mining_type == settings.NONE, settings.HasField("mining_type")
        if settings.HasField("do_neg_mining") and settings.do_neg_mining == none and given:
            raise NetError("do_neg_mining contradicts mining_type; leave do_neg_mining out")
        if none or (settings.HasField("do_neg_mining") and not settings.do_neg_mining):
            return None
        every = settings.mining_type == settings.HARD_EXAMPLE
        if every and settings.sample_size < 1:
            raise NetError(f"sample_size is {settings.sample_size}; expected 1 or more")
        nms = settings.nms_param
        return cls(
            *(every, settings.neg_pos_ratio, settings.neg_overlap, settings.sample_size),
            nms.nms_threshold if settings.HasField("nms_param") else 0.0,
            nms.top_k if nms.HasField("top_k") and nms.top_k >= 0 else None,
            settings.use_prior_for_nms,
        )

    @property
    def suppresses(self) -> bool:
        """Whether boxes are needed."""
        return self.threshold > 0

    def choose(self, losses: Floats, matches: Indices, overlaps: Floats, boxes: Floats | None) -> NDArray[np.bool_]:
        """Returns which boxes of an item have a loss, (n,).

        Args:
            losses: (n,).
            matches: (n,), the index of the true box of each, negative for none; the matches of boxes that are not
                chosen are taken away.
            overlaps: (n,), the largest overlap with a true box.
            boxes: (n, 4), where boxes are needed.
        """
        matched = matches >= 0
        eligible = np.ones_like(matched) if self.every else (matches == NOTHING) & (overlaps < self.overlap)
        # in float32, as in SSD's code
        wanted = self.most if self.every else int(np.float32(matched.sum()) * np.float32(self.ratio))
        hard = np.zeros_like(matched)
        hard[self._ranked(losses, np.flatnonzero(eligible), boxes)[: max(wanted, 0)]] = True
        if self.every:
            matches[matched & ~hard] = NOTHING
            matched = matched & hard
            hard &= matches == NOTHING
        return matched | hard

    def _ranked(self, losses: Floats, places: Indices, boxes: Floats | None) -> Indices:
        """Returns the places of the largest losses, the largest first."""
        places = places[np.argsort(-losses[places], kind="stable")]
        if boxes is None:
            return places
        places = places[: self.top_k]
        size = (boxes[places, 2:] - boxes[places, :2]).clip(min=0)
        places = places[size.prod(1) >= _SMALLEST]
        return places[suppress(boxes[places], self.threshold, self.top_k, place="mining")]
