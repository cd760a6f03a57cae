"""Images from files, resized and cropped: (height, width, channels), float32 from 0 to 1, red first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError
from demitasse.extras import needs
from demitasse.pycaffe.spec_errors import MismatchError

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[Any]

# shares of red, green and blue in the luminance of ITU-R BT.709
_LUMINANCE = np.array([0.2125, 0.7154, 0.0721])
_LARGEST = {"I;16": 65535.0, "I": 65535.0, "F": 1.0}


def load_image(filename: str | PathLike[str], color: bool = True) -> Array:
    """Reads an image file.

    Args:
        filename: JPEG, PNG or what else Pillow reads; opacity is left out.
        color: red, green and blue, also of a grey image; else luminance.

    Returns:
        (height, width, 3), or (height, width, 1) without colour; float32 from 0 to 1.

    Raises:
        DataError: the file is missing or not an image.
        MissingPackageError: Pillow is not installed.
    """
    with needs("PIL"):
        from PIL import Image
    try:
        with Image.open(filename) as image:
            pixels = _pixels(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{filename}: not an image that can be read: {error}") from error
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
    """Resizes an image by interpolation, without a filter; its range stays.

    Images of 1 or 3 channels are sampled at the centres of the new pixels, and the border is the least value of
    the image, as in the scikit-image of Caffe's day. For other numbers of channels the corner pixels keep their
    places, as ``scipy.ndimage.zoom`` has it.

    Args:
        im: (height, width, channels).
        new_dims: (height, width).
        interp_order: degree of the splines: 0 nearest, 1 linear, up to 5.

    Returns:
        (new height, new width, channels), float32.

    Raises:
        MismatchError: an array of another shape, or a size that is not positive.
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
    """Cuts ten pieces from each image: four corners and the centre, then their mirror images.

    Args:
        images: (height, width, channels) each, all of one shape.
        crop_dims: (height, width) of a piece.

    Returns:
        (10 * images, height, width, channels), float32; those of one image follow each other.

    Raises:
        MismatchError: a piece is larger than the images.
    """
    height, width = (int(size) for size in crop_dims)
    down, right = images[0].shape[0] - height, images[0].shape[1] - width
    if down < 0 or right < 0:
        raise MismatchError(f"pieces of {height} x {width} cannot be cut from images of shape {images[0].shape}")
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    pieces = []
    for image in images:
        cut = [image[y : y + height, x : x + width] for y, x in corners]
        pieces += cut + [piece[:, ::-1] for piece in cut]
    return np.stack(pieces).astype(np.float32)
