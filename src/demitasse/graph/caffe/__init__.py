"""The adapter of Caffe nets: what reads them into graphs. Nothing else in the room of graphs knows Caffe."""

from demitasse.graph.caffe.model import of_files, of_net
from demitasse.graph.caffe.net import is_net, of_whole_net

__all__ = ["is_net", "of_files", "of_net", "of_whole_net"]
