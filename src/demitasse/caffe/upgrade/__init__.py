"""Legacy forms -> one NetParameter, one SolverParameter. All knowledge of old files stands in this folder.

Of nets there are three forms: V0 (2013, a layer inside each of ``layers``), V1 (2014, ``layers`` with types in
capitals) and today's (``layer``). Each file takes one form to the next; the names V0 and V1 are Caffe's.
"""

from demitasse.caffe.upgrade.net import upgrade_layers as upgrade_layers
from demitasse.caffe.upgrade.net import upgrade_net as upgrade_net
from demitasse.caffe.upgrade.solver import upgrade_solver as upgrade_solver
