"""MultiBoxLoss: the loss that trains an SSD."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Shape
from demitasse.caffe.layers.box_code import BoxCode
from demitasse.caffe.layers.boxes import Floats, Indices
from demitasse.caffe.layers.loss import LabelledLoss
from demitasse.caffe.layers.matching import NOTHING, Matches, match
from demitasse.caffe.layers.mining import HardExamples
from demitasse.caffe.layers.truths import COLUMNS, TruthBoxes, check_rows, read_truths
from demitasse.errors import DataError, NetError


class _Positives(NamedTuple):
    """Default boxes that have a true box, one entry for each: its item, its own number, its class of offsets, truth."""

    item: Indices
    prior: Indices
    location: Indices
    truth: Indices


@LAYERS.register("MultiBoxLoss")
class MultiBoxLoss(LabelledLoss):
    """(loss of the classes + ``loc_weight`` * loss of the places) / the number of matched default boxes.

    Bottoms: offsets of the boxes (n, priors * 4), or without ``share_location`` (n, priors * classes * 4); scores
    (n, priors * classes); the top of PriorBox layers, (1, 2, priors * 4); and the true boxes (1, 1, rows, 8): item,
    label, instance, xmin, ymin, xmax, ymax, difficult, where an item of -1 is no box.

    Default boxes are matched with true ones (:func:`~demitasse.caffe.layers.matching.match`), or without
    ``use_prior_for_matching`` the boxes that the net predicts. The classes' loss is of the matched ones, and of those
    without a match that :class:`~demitasse.caffe.layers.mining.HardExamples` chooses, or all of them. The places' loss
    is of the matched ones. ``loss_param`` chooses another divisor: n * priors (FULL), n (BATCH_SIZE), or none; it is
    at least 1. A bottom with ``propagate_down: false`` adds no loss.

    Reference: Liu et al. 2016 (SSD), section 2.2, equations 1 to 3.
    """

    bottom_count = (4, 4)
    without_gradient = (2, 3)

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        settings = self.spec.multibox_loss_param
        self.classes, self.shares = settings.num_classes, settings.share_location
        self.background = int(np.uint32(settings.background_label_id).astype(np.int32))
        self.agnostic, self.logistic = settings.map_object_to_agnostic, settings.conf_loss_type == settings.LOGISTIC
        self.code = BoxCode.named(settings.code_type, not settings.encode_variance_in_target)
        self.mining = HardExamples.of(settings)
        propagates = list(self.spec.propagate_down) or [True, True]
        self.weights = settings.loc_weight * propagates[0], float(propagates[1])
        self._check_classes()
        self._check_shapes(shapes)

    def _check_classes(self) -> None:
        if not self.classes:
            raise NetError("num_classes is missing; expected a positive number")
        if not self.logistic and not 0 <= self.background < self.classes:
            raise NetError(f"background_label_id is {self.background}; expected one of the {self.classes} classes")
        if self.agnostic and self.classes != (2 if self.background >= 0 else 1):
            raise NetError(f"map_object_to_agnostic knows objects and background; found num_classes {self.classes}")
        if self.mining is not None and not self.shares:
            raise NetError("mining_type needs share_location: true; set mining_type: NONE")

    def _check_shapes(self, shapes: tuple[Shape, ...]) -> None:
        offsets, scores, priors, truths = shapes
        if len(priors) < 3 or priors[:2] != (1, 2) or priors[2] % 4 or max(priors[3:], default=1) > 1:
            raise NetError(f"the priors have shape {list(priors)}; expected [1, 2, 4 * priors]")
        check_rows(truths, COLUMNS, "the labels")
        self.priors = priors[2] // 4
        sizes = [math.prod(shape[1:]) for shape in (offsets, scores)]
        wanted = [self.priors * 4 * (1 if self.shares else self.classes), self.priors * self.classes]
        if offsets[:1] != scores[:1] or sizes != wanted:
            raise NetError(
                f"the offsets have shape {list(offsets)} and the scores {list(scores)}; expected {wanted[0]} and "
                f"{wanted[1]} values for each item, by {self.priors} priors and {self.classes} classes"
            )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [()]

    @override
    def forward(self, offsets: Tensor, scores: Tensor, priors: Tensor, labels: Tensor) -> Tensor:
        count = offsets.shape[0]
        moves, by_class = offsets.reshape(count, self.priors, -1, 4), scores.reshape(count, self.priors, self.classes)
        defaults = priors.detach().reshape(2, -1, 4).to(moves)
        truths = self._truths(labels, count)
        matches, overlaps = self._matched(moves.detach(), defaults, truths)
        counted = np.ones(matches.shape[:2], bool)
        if self.mining is not None:
            counted = self._mined(moves, by_class, defaults, truths, matches, overlaps)
        positives = _positives(matches)
        targets = torch.from_numpy(self._targets(positives, truths, count)).to(scores.device)
        chosen = torch.from_numpy(counted).to(scores.device)
        of_classes = self._class_losses(by_class[chosen], targets[chosen]).sum()
        of_places = self._place_losses(moves, defaults, truths, positives).sum()
        total = self.weights[0] * of_places + self.weights[1] * of_classes
        return total / self._divisor(count, len(positives.item))

    def _divisor(self, count: int, matched: int) -> float:
        by_mode = {"FULL": count * self.priors, "VALID": matched, "BATCH_SIZE": count, "PRE_FIXED": self.normalizer}
        found = by_mode.get(self.normalization, 1)
        return found if self.normalization == "PRE_FIXED" else max(found, 1)

    def _truths(self, labels: Tensor, count: int) -> TruthBoxes:
        place = f"layer {self.spec.name!r}"
        found = read_truths(labels, self.background, place)
        if not self.spec.multibox_loss_param.use_difficult_gt:
            found = found.where(~found.difficult)
        if self.agnostic:
            found = found._replace(label=np.full_like(found.label, self.background + 1))
        for what, numbers, most in (("item", found.item, count), ("label", found.label, self.classes)):
            wrong = numbers[(numbers < 0) | (numbers >= most)]
            if len(wrong):
                raise DataError(f"{place}: the {what} of a box is {wrong[0]}; expected 0 to {most - 1}")
        return found

    def _matched(self, moves: Tensor, defaults: Tensor, truths: TruthBoxes) -> tuple[Indices, Floats]:
        """Returns (n, priors, classes of offsets): the true box of each default box, -1 for none, -2 for outside.

        Also returns (n, priors), the largest overlap of each default box, which matters where offsets are shared.
        """
        count, _, locations, _ = moves.shape
        found = np.full((count, self.priors, locations), NOTHING)
        overlaps = np.zeros((count, self.priors))
        corners = defaults[0].cpu().numpy()
        for item in range(count):
            mine = np.flatnonzero(truths.item == item)
            if not len(mine):
                continue
            if self.spec.multibox_loss_param.use_prior_for_matching:
                matches = self._match(corners, mine, truths)
                overlaps[item] = matches.overlaps
                self._distribute(found[item], matches, truths)
                continue
            decoded = self.code.decode(moves[item], defaults[:, :, None]).cpu().numpy()
            for location in range(locations):
                wanted = mine if self.shares else mine[truths.label[mine] == location]
                matches = self._match(decoded[:, location], wanted, truths)
                found[item, :, location], overlaps[item] = matches
        return found, overlaps

    def _match(self, boxes: Floats, mine: Indices, truths: TruthBoxes) -> Matches:
        """Matches boxes with some of the true ones, and returns the indices of these among all."""
        settings = self.spec.multibox_loss_param
        each = settings.match_type == settings.PER_PREDICTION
        found = match(
            *(boxes, truths.corners[mine].astype(boxes.dtype), settings.overlap_threshold, each),
            *(settings.ignore_cross_boundary_bbox, f"layer {self.spec.name!r}"),
        )
        has = found.indices >= 0
        found.indices[has] = mine[found.indices[has]]
        return found

    def _distribute(self, found: Indices, matches: Matches, truths: TruthBoxes) -> None:
        """Fills (priors, classes of offsets): with offsets for each class, a match is one of the class of its box."""
        if self.shares:
            found[:, 0] = matches.indices
            return
        prior = np.flatnonzero(matches.indices >= 0)
        truth = matches.indices[prior]
        found[prior, truths.label[truth]] = truth

    def _mined(
        self,
        moves: Tensor,
        by_class: Tensor,
        defaults: Tensor,
        truths: TruthBoxes,
        matches: Indices,
        overlaps: Floats,
    ) -> NDArray[np.bool_]:
        """Returns (n, priors), the default boxes that have a loss; takes matches from ``matches`` that are not hard."""
        assert self.mining is not None
        positives = _positives(matches)
        with torch.no_grad():
            targets = torch.from_numpy(self._targets(positives, truths, len(matches))).to(by_class.device)
            losses = self._class_losses(by_class.flatten(0, 1), targets.flatten(0, 1)).cpu().numpy()
            losses = losses.reshape(matches.shape[:2]).copy()
            if self.mining.every:
                of_places = self._place_losses(moves, defaults, truths, positives).sum(1)
                losses[positives.item, positives.prior] += of_places.cpu().numpy()
            boxes = None
            if self.mining.suppresses:
                shown = self.code.decode(moves[:, :, 0], defaults[:, None])
                boxes = (defaults[:1] if self.mining.by_prior else shown).expand_as(shown).cpu().numpy()
        counted = np.zeros(matches.shape[:2], bool)
        for item in np.unique(truths.item):
            mine = None if boxes is None else boxes[item]
            counted[item] = self.mining.choose(losses[item], matches[item, :, 0], overlaps[item], mine)
        return counted

    def _targets(self, positives: _Positives, truths: TruthBoxes, count: int) -> NDArray[np.int64] | NDArray[np.bool_]:
        """Returns the class of each default box, (n, priors), or with LOGISTIC its classes, (n, priors, classes)."""
        label = truths.label[positives.truth]
        if not self.logistic:
            labels = np.full((count, self.priors), self.background)
            labels[positives.item, positives.prior] = label
            return labels
        classes = np.zeros((count, self.priors, self.classes), bool)
        classes[positives.item, positives.prior, label] = True
        if 0 <= self.background < self.classes:
            classes[:, :, self.background] = ~classes.any(2)
        return classes

    def _class_losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each default box, (m,), from its scores (m, classes) and its target."""
        if self.logistic:
            return F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype), reduction="none").sum(1)
        return F.cross_entropy(scores, targets, reduction="none")

    def _place_losses(self, moves: Tensor, defaults: Tensor, truths: TruthBoxes, positives: _Positives) -> Tensor:
        """Returns the losses of the four numbers of each match, (m, 4)."""
        settings = self.spec.multibox_loss_param
        item, prior, location = (torch.from_numpy(index).to(moves.device) for index in positives[:3])
        offsets, default = moves[item, prior, location], defaults[:, prior]
        corners = torch.from_numpy(truths.corners[positives.truth]).to(offsets)
        distance = offsets - self.code.encode(corners, default)
        if not self.code.varied:
            distance = distance / default[1]
        if settings.bp_inside:
            shown = default[0] if settings.use_prior_for_matching else self.code.decode(offsets.detach(), default)
            distance = torch.where((shown >= 0) & (shown <= 1), distance, 0.0)
        if settings.loc_loss_type == settings.L2:
            return distance.square() / 2
        return F.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none")


def _positives(matches: Indices) -> _Positives:
    item, prior, location = np.nonzero(matches >= 0)
    return _Positives(item, prior, location, matches[item, prior, location])
