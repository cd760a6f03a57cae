"""Converts legacy forms of nets and solvers to the current form. Only this folder knows the old forms.

Nets have three forms: V0 (2013, a layer inside each of ``layers``), V1 (2014, ``layers`` with types in capitals) and
the current one (``layer``). Each file converts one form to the next; the names V0 and V1 are Caffe's.
"""

from demitasse.caffe.upgrade.net import upgrade_layers as upgrade_layers
from demitasse.caffe.upgrade.net import upgrade_net as upgrade_net
from demitasse.caffe.upgrade.solver import upgrade_solver as upgrade_solver
