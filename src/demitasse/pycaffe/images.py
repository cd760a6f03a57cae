"""Loads, resizes and crops images: (height, width, channels), float32 from 0 to 1, red first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.errors import DataError
from demitasse.extras import needs
from demitasse.pycaffe.spec_errors import MismatchError

if TYPE_CHECKING:
    from PIL import Image

# weights of red, green and blue in the luminance of ITU-R BT.709
_LUMINANCE = np.array([0.2125, 0.7154, 0.0721])
_LARGEST = {"I;16": 65535.0, "I": 65535.0, "F": 1.0}


def load_image(filename: str | PathLike[str], color: bool = True) -> Array:
    """Reads an image file.

    Args:
        filename: a JPEG, PNG or other file that Pillow reads; opacity is dropped.
        color: whether to return red, green and blue, also for a grey image; otherwise luminance.

    Returns:
        (height, width, 3), or (height, width, 1) without colour; float32 from 0 to 1.

    Raises:
        DataError: the file is missing or not an image.
        MissingPackageError: Pillow is not installed.
    """
    with needs("PIL"):
        from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(filename) as image:
            pixels = _pixels(image)
    except UnidentifiedImageError:
        raise DataError(f"{filename}: not a readable image: its format is not known") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{filename}: not a readable image: {error}") from error
    if color:
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    elif pixels.shape[2] == 3:
        pixels = (pixels @ _LUMINANCE)[:, :, None]
    return np.array(pixels, np.float32)


def _pixels(image: Image.Image) -> Array:
    """Returns (height, width, 1 or 3), float64 from 0 to 1."""
    if image.mode in _LARGEST:
        return np.asarray(image, float)[:, :, None] / _LARGEST[image.mode]
    grey = image.mode in ("1", "L", "LA")
    pixels = np.asarray(image.convert("L" if grey else "RGB"), float) / 255
    return pixels[:, :, None] if grey else pixels


def resize_image(im: Array, new_dims: Iterable[int], interp_order: int = 1) -> Array:
    """Resizes an image by interpolation, without a filter; the result stays in the image's range of values.

    Images of 1 or 3 channels are sampled at the centres of the new pixels, with the image's lowest value as border,
    like scikit-image at the time of Caffe. For other numbers of channels the corner pixels keep their positions, like
    in ``scipy.ndimage.zoom``.

    Args:
        im: (height, width, channels).
        new_dims: (height, width).
        interp_order: degree of the splines: 0 nearest, 1 linear, up to 5.

    Returns:
        (new height, new width, channels), float32.

    Raises:
        MismatchError: the array has another shape, or a size is not positive.
        MissingPackageError: SciPy is not installed.
    """
    with needs("scipy"):
        from scipy import ndimage
    height, width = map(int, new_dims)
    if im.ndim != 3 or 0 in im.shape or min(height, width) < 1:
        raise MismatchError(f"an image of shape {im.shape} (height, width, channels) cannot become {height} x {width}")
    factors = (height / im.shape[0], width / im.shape[1], 1)
    source = np.asarray(im, float)
    if im.shape[2] not in (1, 3):
        return np.asarray(ndimage.zoom(source, factors, order=interp_order), np.float32)
    low, high = source.min(), source.max()
    resized = ndimage.zoom(source, factors, order=interp_order, mode="grid-constant", cval=low, grid_mode=True)
    return np.asarray(resized.clip(low, high), np.float32)


def oversample(images: Sequence[Array], crop_dims: Iterable[int]) -> Array:
    """Returns ten crops of each image: four corners and the centre, then their mirror images.

    Args:
        images: (height, width, channels) each, all of the same shape.
        crop_dims: (height, width) of a crop.

    Returns:
        (10 * images, height, width, channels), float32; the crops of one image are adjacent.

    Raises:
        MismatchError: a crop is larger than the images.
    """
    height, width = (int(size) for size in crop_dims)
    down, right = images[0].shape[0] - height, images[0].shape[1] - width
    if down < 0 or right < 0:
        raise MismatchError(f"crops of {height} x {width} do not fit in images of shape {images[0].shape}")
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    pieces = []
    for image in images:
        cut = [image[y : y + height, x : x + width] for y, x in corners]
        pieces += cut + [piece[:, ::-1] for piece in cut]
    return np.stack(pieces).astype(np.float32)
