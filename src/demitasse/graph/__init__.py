"""A net as data: numbered values, and steps that each compute one operation.

:mod:`demitasse.graph.caffe` reads a Caffe net into a :class:`Graph`; the functions of :mod:`demitasse.graph.passes`
turn one graph into another. The runtime and the exporters work on graphs and know no front end.
"""

from demitasse.graph.graph import Graph, Step, Value
from demitasse.graph.model import Model

__all__ = ["Graph", "Model", "Step", "Value"]
