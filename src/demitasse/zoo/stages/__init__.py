"""The stages of recipes, each in its own file. To add one: write its file, register it, import the file here."""

from demitasse.zoo.stages import pack, prune, quantize, recalibrate, rescale, shrink, train
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, TrainingStage, Work

__all__ = ["STAGES", "Outcome", "Stage", "TrainingStage", "Work"]

_KINDS = (train, shrink, prune, rescale, quantize, recalibrate, pack)
