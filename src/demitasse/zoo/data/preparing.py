"""The settings of data that say how images are prepared, in training and testing alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from demitasse.preparation import Preparation
from demitasse.zoo.data.images import PixelArray, channel_statistics

# settings in recipes, where a whole number is no float, and a list becomes a tuple
Sides = int | tuple[int, ...] | None
Numbers = float | tuple[float, ...] | None

SAMPLE = 1000  # training images to take mean and deviation of


def preparation_of(size: Sides, crop: Sides, channels: str, mean: Numbers, scale: Numbers) -> Preparation:
    """Returns the preparation of the settings.

    Raises:
        UsageError: a setting is not valid.
    """
    height_width, centre = (_both(each) for each in (size, crop))
    numbers = 0.0 if mean is None else mean, 1.0 if scale is None else scale
    return Preparation(channels, height_width, *numbers, centre)  # type: ignore[arg-type]


def _both(sides: Sides) -> tuple[int, ...] | None:
    return (sides, sides) if isinstance(sides, int) else sides


def normalised(preparation: Preparation, images: PixelArray) -> Preparation:
    """Returns the preparation with mean and scale such that the channels have mean 0 and deviation 1.

    They are those of some of the images, at equal intervals.

    Args:
        preparation: size, crop and channels.
        images: (n, channels, height, width) uint8.
    """
    total = images.shape[0]
    which = np.unique(np.linspace(0, total - 1, min(total, SAMPLE)).astype(np.int64))
    mean, deviation = (part.flatten().tolist() for part in channel_statistics(images[which]))
    found = Preparation.normalized(preparation.channels, preparation.size, mean, deviation, preparation.crop)
    return replace(preparation, mean=found.mean, scale=found.scale)
