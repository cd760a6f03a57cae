"""Translations of detection layers: default boxes, regions, and what is found."""

from __future__ import annotations

import torch

from demitasse.export.source.base import SOURCE, Code, call


@SOURCE.register("PriorBox")
def prior_box(code: Code, x: str, image: str) -> str:
    boxes = code.step.call(*(torch.zeros(shape) for shape in code.shapes))
    assert isinstance(boxes, torch.Tensor)
    return code.buffer("boxes", boxes)


@SOURCE.register("DetectionOutput")
def detection_output(code: Code, offsets: str, scores: str, priors: str, *first: str) -> str:
    given = code.settings
    if first:
        code.refuse("it has the bottoms of RefineDet's first step")
    code.helper("_decode")
    code.helper("_suppress")
    encoded = {"code": f'"{given.code.kind}"', "varied": given.code.varied, "clip": given.clips}
    chosen = {"background": given.background, "least": given.least, "top_k": given.top_k, "most": given.keep_top_k}
    return call(
        code.helper("_detections"), offsets, scores, priors, given.classes, given.threshold,
        **chosen, eta=given.eta, pixel=given.code.pixel, **encoded,
    )  # fmt: skip


@SOURCE.register("Proposal")
def proposal(code: Code, scores: str, offsets: str, image: str) -> str:
    given = code.settings
    code.helper("_suppress")
    anchors = code.buffer("anchors", torch.tensor(given.anchors, dtype=torch.float64))
    chosen = {"before": given.before or None, "after": given.after or None}
    found = call(
        code.helper("_proposals"), scores, offsets, image, anchors, given.stride, given.threshold,
        min_size=given.min_size, **chosen,
    )  # fmt: skip
    return found if len(code.step.outputs) == 2 else f"{found}[0]"


@SOURCE.register("ROIPooling")
def region_maxima(code: Code, x: str, regions: str) -> str:
    code.helper("_away_from_zero")
    return call(code.helper("_pool_regions"), x, regions, *code.settings.pooled, code.settings.scale)
