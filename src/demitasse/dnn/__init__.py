"""The drop-in for ``cv2.dnn``'s importer of Caffe nets, which OpenCV 5 has no more: ``from demitasse import dnn``.

Names and arguments are those of ``cv2.dnn``; images, blobs and results are NumPy arrays. Names that are not here, such
as ``readNetFromONNX``, are OpenCV's own, if it is installed.
"""

from __future__ import annotations

from demitasse.dnn.boxes import NMSBoxes
from demitasse.dnn.images import blobFromImage, blobFromImages, imagesFromBlob
from demitasse.dnn.layer import NetLayer
from demitasse.dnn.net import Net
from demitasse.dnn.opencv import of_opencv
from demitasse.dnn.reading import readNet, readNetFromCaffe

# where cv2 computes; here always on the CPU
DNN_BACKEND_DEFAULT, DNN_BACKEND_HALIDE, DNN_BACKEND_INFERENCE_ENGINE, DNN_BACKEND_OPENCV = 0, 1, 2, 3
DNN_BACKEND_VKCOM, DNN_BACKEND_CUDA = 4, 5
DNN_TARGET_CPU, DNN_TARGET_OPENCL, DNN_TARGET_OPENCL_FP16, DNN_TARGET_MYRIAD = 0, 1, 2, 3
DNN_TARGET_VULKAN, DNN_TARGET_FPGA, DNN_TARGET_CUDA, DNN_TARGET_CUDA_FP16 = 4, 5, 6, 7

__all__ = [
    "DNN_BACKEND_CUDA",
    "DNN_BACKEND_DEFAULT",
    "DNN_BACKEND_HALIDE",
    "DNN_BACKEND_INFERENCE_ENGINE",
    "DNN_BACKEND_OPENCV",
    "DNN_BACKEND_VKCOM",
    "DNN_TARGET_CPU",
    "DNN_TARGET_CUDA",
    "DNN_TARGET_CUDA_FP16",
    "DNN_TARGET_FPGA",
    "DNN_TARGET_MYRIAD",
    "DNN_TARGET_OPENCL",
    "DNN_TARGET_OPENCL_FP16",
    "DNN_TARGET_VULKAN",
    "NMSBoxes",
    "Net",
    "NetLayer",
    "blobFromImage",
    "blobFromImages",
    "imagesFromBlob",
    "readNet",
    "readNetFromCaffe",
]


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return of_opencv(name)
