"""Where data comes from. Importing this package registers every source."""

from demitasse.caffe.sources import database, dummy, fed, hdf5, memory
from demitasse.caffe.sources.base import SOURCES, Source

__all__ = ["SOURCES", "Source"]

_FILES = (database, dummy, fed, hdf5, memory)
