"""The data sources of nets. Importing this package registers all of them."""

from demitasse.caffe.sources import (
    annotated_data,
    database,
    dummy,
    fed,
    hdf5,
    image_data,
    leveldb_store,
    lmdb_store,
    memory,
    segmentation,
    window_data,
)
from demitasse.caffe.sources.base import SOURCES, Source

__all__ = ["SOURCES", "Source"]

_FILES = (
    *(annotated_data, database, dummy, fed, hdf5, image_data, leveldb_store, lmdb_store, memory, segmentation),
    window_data,
)
