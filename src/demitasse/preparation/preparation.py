"""Preparation: size, channels, mean and scale of the images that a net expects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError, UsageError, visible
from demitasse.registry import suggest

Image = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# name -> number of channels
CHANNELS = {"grey": 1, "rgb": 3, "bgr": 3}
# the largest height and width
LARGEST = 4096
# significant digits of numbers: a millionth of a value is less than float32 loses in a net
DIGITS = 6
_FLOAT32 = 3.4e38  # no float32 is larger


@dataclass(frozen=True)
class Preparation:
    """How an image becomes the input of a net: ``(pixels - mean) * scale``, for pixels from 0 to 255.

    The image is resized, whatever its proportions, by bilinear interpolation as in Caffe; then the centre is cropped.
    Numbers are kept with six significant digits, as files store them.

    Args:
        channels: ``grey``, or the order of colours: ``rgb``, or ``bgr`` as in Caffe.
        size: (height, width) to which the image is resized.
        mean: is subtracted from the pixels: one number, or one for each channel, in the order of ``channels``.
        scale: the factor of the difference: one number, or one for each channel.
        crop: (height, width) of the centre that is kept; None keeps all.

    Raises:
        UsageError: a value is not valid; names it.
    """

    channels: str
    size: tuple[int, int]
    mean: float | Sequence[float] = 0.0
    scale: float | Sequence[float] = 1.0
    crop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _check_channels(self.channels)
        object.__setattr__(self, "size", _checked_size("size", self.size))
        for name in ("mean", "scale"):
            object.__setattr__(self, name, _checked_numbers(name, getattr(self, name), CHANNELS[self.channels]))
        if not np.array(self.scale, np.float32).all():
            raise UsageError("scale is 0; every image would be the same")
        if self.crop is not None:
            object.__setattr__(self, "crop", _checked_size("crop", self.crop))
            if any(part > whole for part, whole in zip(self.crop, self.size, strict=True)):
                raise UsageError(f"crop is {_sides(self.crop)}; expected at most the size, {_sides(self.size)}")

    @classmethod
    def normalized(
        cls,
        channels: str,
        size: tuple[int, int],
        mean: float | Sequence[float],
        deviation: float | Sequence[float],
        crop: tuple[int, int] | None = None,
    ) -> Preparation:
        """Returns the preparation for mean and standard deviation of pixels from 0 to 1, as PyTorch's nets have them.

        Raises:
            UsageError: a value is not valid.
        """
        _check_channels(channels)
        means, deviations = (
            np.atleast_1d(_checked_numbers(name, numbers, CHANNELS[channels]))
            for name, numbers in (("mean", mean), ("deviation", deviation))
        )
        if not deviations.all():
            raise UsageError("deviation is 0; expected a number above it")
        return cls(channels, size, (255 * means).tolist(), (1 / (255 * deviations)).tolist(), crop)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a prepared image, (channels, height, width)."""
        return (CHANNELS[self.channels], *(self.crop or self.size))

    def __call__(self, image: str | Path | bytes | Pixels) -> Image:
        """Returns an image as the net expects it.

        Args:
            image: the path of a file; its bytes; or its pixels, uint8 (height, width) in grey or (height, width, 3),
                red first.

        Returns:
            (channels, height, width) float32.

        Raises:
            DataError: the file cannot be read, or the array is no image of these channels.
            MissingPackageError: Pillow is not installed.
        """
        pixels = self._decoded(image) if isinstance(image, str | Path | bytes) else self._arranged(image)
        prepared = self._resized(pixels)
        prepared -= np.array(self.mean, np.float32).reshape(-1, 1, 1)
        prepared *= np.array(self.scale, np.float32).reshape(-1, 1, 1)
        return prepared

    def _decoded(self, image: str | Path | bytes) -> Pixels:
        from demitasse.caffe.images.codec import decode

        try:
            content = image if isinstance(image, bytes) else Path(image).read_bytes()
            blue_first = decode(content, color=self.channels != "grey")
        except OSError as error:
            raise DataError(f"{image!s}: cannot be read: {error.strerror}") from error
        except DataError as error:
            raise (error if isinstance(image, bytes) else error.within(visible(str(image)))) from error
        return blue_first[::-1] if self.channels == "rgb" else blue_first

    def _arranged(self, image: Pixels) -> Pixels:
        found = np.asarray(image)
        wanted = ((2,), (3,)) if self.channels != "grey" else ((2,),)
        if found.dtype != np.uint8 or (found.ndim,) not in wanted or found.shape[2:] not in ((), (3,)) or not found.size:
            expected = "(height, width)" if self.channels == "grey" else "(height, width, 3)"
            raise DataError(f"the image has shape {list(found.shape)} of {found.dtype}; expected {expected} of uint8")
        if found.ndim == 2:
            return np.broadcast_to(found, (self.shape[0], *found.shape))
        return found.transpose(2, 0, 1)[:: -1 if self.channels == "bgr" else 1]

    def _resized(self, pixels: Pixels) -> Image:
        """Returns the centre of the resized pixels, (channels, height, width), as a copy."""
        top, left = ((whole - part) // 2 for whole, part in zip(self.size, self.shape[1:], strict=True))
        window = (slice(None), slice(top, top + self.shape[1]), slice(left, left + self.shape[2]))
        if pixels.shape[1:] == self.size:
            return pixels[window].astype(np.float32)
        from demitasse.caffe.images.resizing import Resized, copy_window

        prepared = np.empty(self.shape, np.float32)
        copy_window(Resized(pixels, *self.size), window, False, prepared)
        return prepared


def _check_channels(channels: object) -> None:
    if not isinstance(channels, str) or channels not in CHANNELS:
        raise UsageError(f"channels is {channels!r}; {suggest(str(channels), CHANNELS)}")


def _sides(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _checked_size(name: str, size: object) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Iterable) else ()
    if len(sides) != 2 or not all(isinstance(side, Integral) and 1 <= side <= LARGEST for side in sides):
        raise UsageError(f"{name} is {size!r}; expected (height, width), whole numbers from 1 to {LARGEST}")
    return int(sides[0]), int(sides[1])


def _checked_numbers(name: str, given: object, channels: int) -> float | tuple[float, ...]:
    """Returns one number, or one for each channel, with the digits that files store; one number for equal ones."""
    numbers = tuple(given) if isinstance(given, Iterable) else (given,)
    if len(numbers) not in (1, channels) or not all(isinstance(each, Real) and abs(each) < _FLOAT32 for each in numbers):
        count = "a finite number" if channels == 1 else f"a finite number, or {channels} of them"
        raise UsageError(f"{name} is {given!r}; expected {count}")
    rounded = tuple(float(f"{each:.{DIGITS}g}") for each in numbers)
    return rounded[0] if len(set(rounded)) == 1 else rounded
