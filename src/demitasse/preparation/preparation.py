"""Preparation: size, channels, mean and scale of the images that a net expects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError, UsageError, visible
from demitasse.preparation.checks import CHANNELS, Numbers, Sides, check_channels, checked_numbers, checked_size

Image = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Number = TypeVar("Number", np.float32, np.uint8)


class Parts(TypedDict, total=False):
    """Some of the fields of a :class:`Preparation`."""

    channels: str
    size: Sides
    mean: Numbers
    scale: Numbers
    crop: Sides | None


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
    size: Sides
    mean: Numbers = 0.0
    scale: Numbers = 1.0
    crop: Sides | None = None

    def __post_init__(self) -> None:
        check_channels(self.channels)
        object.__setattr__(self, "size", checked_size("size", self.size))
        for name in ("mean", "scale"):
            object.__setattr__(self, name, checked_numbers(name, getattr(self, name), CHANNELS[self.channels]))
        if not _by_channel(self.scale).all():
            raise UsageError("scale is 0; every image would be the same")
        if self.crop is not None:
            object.__setattr__(self, "crop", checked_size("crop", self.crop))
            if any(part > whole for part, whole in zip(self.crop, self.size, strict=True)):
                raise UsageError(f"crop is {self.crop}; expected at most the size, {self.size}")

    @classmethod
    def normalized(
        cls, channels: str, size: Sides, mean: Numbers, deviation: Numbers, crop: Sides | None = None
    ) -> Preparation:
        """Returns the preparation for mean and standard deviation of pixels from 0 to 1, as PyTorch's nets have them.

        Raises:
            UsageError: a value is not valid.
        """
        check_channels(channels)
        means = np.atleast_1d(checked_numbers("mean", mean, CHANNELS[channels]))
        deviations = np.atleast_1d(checked_numbers("deviation", deviation, CHANNELS[channels]))
        if not (deviations > 0).all():
            raise UsageError(f"deviation is {deviation!r}; expected numbers above 0")
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
        prepared = self._resized(self.decode(image), np.float32)
        prepared -= _by_channel(self.mean)
        prepared *= _by_channel(self.scale)
        return prepared

    def decode(self, image: str | Path | bytes | Pixels) -> Pixels:
        """Returns the pixels of an image in its own size, with its channels in order: (channels, height, width) uint8.

        Args:
            image: as for a call of the preparation.

        Raises:
            DataError, MissingPackageError: as for a call of the preparation.
        """
        return self._decoded(image) if isinstance(image, str | Path | bytes) else self._arranged(image)

    def resize(self, pixels: Pixels) -> Pixels:
        """Returns what :meth:`decode` returned, resized and cropped: (channels, height, width) uint8."""
        return self._resized(pixels, np.uint8)

    def _decoded(self, image: str | Path | bytes) -> Pixels:
        from demitasse.caffe.images.codec import decode

        try:
            content = image if isinstance(image, bytes) else Path(image).read_bytes()
            blue_first = decode(content, color=self.channels != "grey")
        except OSError as error:
            raise DataError(f"{visible(str(image))}: cannot be read: {error.strerror}") from error
        except DataError as error:
            raise (error if isinstance(image, bytes) else error.within(visible(str(image)))) from error
        return blue_first[::-1] if self.channels == "rgb" else blue_first

    def _arranged(self, image: Pixels) -> Pixels:
        found, colours = np.asarray(image), self.channels != "grey"
        wanted = found.ndim == 2 or (colours and found.ndim == 3 and found.shape[2] == 3)
        if found.dtype != np.uint8 or not wanted or not found.size:
            expected = "(height, width) or (height, width, 3)" if colours else "(height, width)"
            raise DataError(f"the image has shape {list(found.shape)} of {found.dtype}; expected {expected} of uint8")
        if found.ndim == 2:
            return np.broadcast_to(found, (self.shape[0], *found.shape))
        return found.transpose(2, 0, 1)[:: -1 if self.channels == "bgr" else 1]

    def _resized(self, pixels: Pixels, kind: type[Number]) -> NDArray[Number]:
        """Returns the centre of the resized pixels, (channels, height, width), as a copy."""
        top, left = ((whole - part) // 2 for whole, part in zip(self.size, self.shape[1:], strict=True))
        window = (slice(None), slice(top, top + self.shape[1]), slice(left, left + self.shape[2]))
        if pixels.shape[1:] == self.size:
            return pixels[window].astype(kind, order="C")
        from demitasse.caffe.images.resizing import Resized, copy_window

        prepared = np.empty(self.shape, kind)
        copy_window(Resized(pixels, *self.size), window, False, prepared)
        return prepared


def _by_channel(numbers: Numbers) -> Image:
    """Returns numbers, one or one for each channel, as (channels, 1, 1)."""
    return np.array(numbers, np.float32).reshape(-1, 1, 1)
