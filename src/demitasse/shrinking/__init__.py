"""Compression without training: runs a model on calibration inputs and compresses it layer after layer."""

from demitasse.shrinking.report import ShrinkReport, ShrunkParameter
from demitasse.shrinking.request import check_shrink, shrink

__all__ = ["ShrinkReport", "ShrunkParameter", "check_shrink", "shrink"]
