"""Writes files atomically, and reads and closes them safely."""

from demitasse.files.atomic import atomic_write, check_writable, write_bytes, write_text
from demitasse.files.closing import Closing
from demitasse.files.errors import check_readable, writing
from demitasse.files.folders import make_folder, new_folder
from demitasse.files.names import is_same_file, short_names, system_path, text_path
from demitasse.files.streams import descriptor, is_stream

__all__ = [
    "Closing",
    "atomic_write",
    "check_readable",
    "check_writable",
    "descriptor",
    "is_same_file",
    "is_stream",
    "make_folder",
    "new_folder",
    "short_names",
    "system_path",
    "text_path",
    "write_bytes",
    "write_text",
    "writing",
]
