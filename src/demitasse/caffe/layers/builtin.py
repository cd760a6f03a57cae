"""Layers in Python of well-known projects that are built in, so that their nets run without that code."""

from __future__ import annotations

from demitasse.caffe import schema
from demitasse.caffe.layers.base import Layer
from demitasse.caffe.layers.dropout import SpatialDropout
from demitasse.caffe.layers.grid_boxes import GridClusters
from demitasse.caffe.layers.proposal import RegionProposal
from demitasse.caffe.layers.text_proposal import TextProposals
from demitasse.caffe.layers.upsampling import SpatialRepetition

# (module, class) -> what computes the same
_BUILTIN: dict[tuple[str, str], type[Layer]] = {
    ("rpn.proposal_layer", "ProposalLayer"): RegionProposal,  # py-faster-rcnn
    ("layers.text_proposal_layer", "ProposalLayer"): TextProposals,  # CTPN
    ("spatial_dropout", "SpatialDropoutLayer"): SpatialDropout,  # ENet
    ("caffe.layers.detectnet.clustering", "ClusterDetections"): GridClusters,  # DetectNet
    ("caffe_traininglayers", "SpatialRepLayer"): SpatialRepetition,  # colorization
}


def builtin_layer(spec: schema.LayerParameter) -> type[Layer] | None:
    """Returns the class for a layer of type Python that is built in; None for any other layer."""
    if spec.type != "Python":
        return None
    return _BUILTIN.get((spec.python_param.module, spec.python_param.layer))
