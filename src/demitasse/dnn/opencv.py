"""What cv2.dnn has beside the importer of Caffe nets: OpenCV itself, where it is installed."""

from __future__ import annotations

from importlib import import_module

_MODULE = "cv2.dnn"  # found by its name, also where a script has put demitasse.dnn in its place


def of_opencv(name: str) -> object:
    """Returns an attribute of OpenCV's own ``cv2.dnn``.

    Raises:
        AttributeError: it has none of this name, or OpenCV is not installed.
    """
    try:
        module = import_module(_MODULE)
    except ImportError as error:
        raise AttributeError(
            f"demitasse.dnn has no {name!r}; it reads and runs Caffe nets. All else of cv2.dnn is OpenCV's own, which "
            f"cannot be imported ({error}): pip install opencv-python-headless"
        ) from error
    if not hasattr(module, name):
        raise AttributeError(f"neither demitasse.dnn nor OpenCV's cv2.dnn has {name!r}")
    found: object = getattr(module, name)
    return found
