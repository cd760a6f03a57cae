"""Files that hold tensors by name: one class for each format, and functions for files of any format."""

from demitasse.formats import caffemodel, compact, deep_compression, demi, onnx, safetensors, torch_save
from demitasse.formats.base import FORMATS, Contents, Format, Settings
from demitasse.formats.packed_file import PackedFile
from demitasse.formats.packing import pack, unpack
from demitasse.formats.states import load, save

open = PackedFile

# imported because they register their formats
_ALL = (demi, safetensors, torch_save, onnx, caffemodel, compact, deep_compression)

__all__ = ["FORMATS", "Contents", "Format", "PackedFile", "Settings", "load", "open", "pack", "save", "unpack"]
