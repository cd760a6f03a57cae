"""The adapter of Caffe nets: what reads them into graphs. Nothing else in the room of graphs knows Caffe."""

from demitasse.graph.caffe.model import definition_in, load_stored, of_files, of_net, stored_layers
from demitasse.graph.caffe.net import is_net, of_whole_net

__all__ = ["definition_in", "is_net", "load_stored", "of_files", "of_net", "of_whole_net", "stored_layers"]
