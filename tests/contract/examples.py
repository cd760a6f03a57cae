"""Examples of every layer type, and what each is held against.

A new type needs a line in EXAMPLES. It is held against ``oracle``, or its line in RECORDED names golden cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from tests.contract import descendant_oracles as descendants
from tests.contract import detection_oracles as detection
from tests.contract import multibox_oracles as multibox
from tests.contract import oracles
from tests.golden.single import single_net
from tests.pycaffe import user_layers

IMAGE = (2, 4, 4, 3)
ROWS = (3, 5)
MATRIX = ((4, 3), (4, 3))
LABELLED = ((4, 3), (4,))
SEQUENCE = ((3, 2, 4), (3, 2))
FILTERS = 'num_output: 4 weight_filler { type: "gaussian" }'


class Example(NamedTuple):
    """A layer as a net would hold it.

    Attributes:
        shapes: of the bottoms.
        numbers: bottom -> n for bottoms of whole numbers 0 ... n - 1, such as labels.
        constants: further bottoms without gradient.
        positive: the first bottom has no negative entries.
        oracle: bottoms, then blobs, as float64 arrays -> the tops.
        together: the items of a batch depend on each other; a batch of one is then held against the oracle.
        single: the shapes of a batch of one, where they are not those with a 1 for the first axis.
        given: bottom -> its values, of which a batch of one takes the first, by its shapes.
        random: the layer draws.
        differentiable: a gradient goes through.
        step: of the numerical gradient; larger where the layer computes in float32.
    """

    type: str
    settings: str = ""
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    numbers: dict[int, int] = {}  # noqa: RUF012 (nobody changes it)
    tops: int = 1
    phase: int = schema.TRAIN
    oracle: Callable[..., object] | None = None
    together: bool = False
    single: tuple[tuple[int, ...], ...] = ()
    constants: tuple[int, ...] = ()
    positive: bool = False
    given: dict[int, np.ndarray] = {}  # noqa: RUF012 (nobody changes it)
    random: bool = False
    differentiable: bool = True
    step: float = 1e-6

    def __str__(self) -> str:
        return f"{self.type} {self.settings}"[:60]

    def net(self) -> Net:
        torch.manual_seed(0)
        net = single_net(self.type, self.settings, *self.shapes, tops=self.tops, phase=self.phase)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter)
        return net

    def bottoms(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        found = [torch.randn(shape, generator=generator) for shape in self.shapes]
        for index, count in self.numbers.items():
            found[index] = torch.randint(count, self.shapes[index], generator=generator).float()
        for index, values in self.given.items():
            first = tuple(slice(size) for size in self.shapes[index])
            found[index] = torch.tensor(values[first], dtype=torch.float32)
        if self.positive:
            found[0] = found[0].abs() + 0.1
        return found

    def takes_gradient(self, index: int) -> bool:
        return index not in self.numbers and index not in self.constants and index not in self.given

    def of_one(self) -> Example:
        """Returns the example with a batch of one."""
        shapes = tuple((1, *shape[1:]) if self.batched(index) else shape for index, shape in enumerate(self.shapes))
        return self._replace(shapes=self.single or shapes)

    def batched(self, index: int) -> bool:
        """Whether the first axis of a bottom is the batch."""
        return self.shapes[index][:1] == self.shapes[0][:1]


# six default boxes and their variances
PRIORS = np.stack(
    [
        np.array([[0.1, 0.1, 0.5, 0.4], [0.2, 0.1, 0.5, 0.5], [0.4, 0.5, 0.9, 0.8], [0.5, 0.5, 0.9, 0.9],
                  [0.0, 0.3, 0.3, 0.9], [0.6, 0.0, 1.0, 0.4]]).ravel(),
        np.tile([0.1, 0.1, 0.2, 0.2], 6),
    ]
)[None]  # fmt: skip
FOUND = ((2, 24), (2, 18), (1, 2, 24))  # offsets, scores of three classes, priors
# item, label, instance, corners, difficult; the third image has none
TRUTHS = np.array(
    [[0, 1, 0, 0.12, 0.1, 0.5, 0.42, 0], [0, 2, 0, 0.15, 0.12, 0.5, 0.48, 1], [0, 1, 1, 0.45, 0.5, 0.95, 0.85, 0],
     [1, 2, 0, 0.05, 0.35, 0.3, 0.8, 0], [1, 2, 1, 0.55, 0.05, 0.9, 0.4, 0], [-1, -1, -1, -1, -1, -1, -1, -1]]
)[None, None]  # fmt: skip
TRAINED = ((3, 24), (3, 18), (1, 2, 24), (1, 1, 6, 8))  # offsets, scores of three classes, priors, true boxes
TRAINED_ONE = ((1, 24), (1, 18), (1, 2, 24), (1, 1, 3, 8))
BEYOND = PRIORS + np.array([[0.3], [0.0]]) * np.tile([0, 1, 0, 1], 6)  # boxes that reach beyond the image
# item, label, score, corners
DETECTED = np.array(
    [[0, 1, 0.6, 0.1, 0.1, 0.5, 0.4], [0, 1, 0.9, 0.13, 0.1, 0.5, 0.4], [0, 2, 0.7, 0.15, 0.1, 0.5, 0.5],
     [0, 2, 0.8, 0.5, 0.5, 0.9, 0.9], [1, 1, 0.3, 0.0, 0.0, 0.2, 0.2], [1, 2, 0.4, 0.05, 0.4, 0.3, 0.8],
     [2, -1, -1, -1, -1, -1, -1]]
)[None, None]  # fmt: skip
SPOTS = np.array([[0], [1], [0], [0], [1], [0]]) * np.eye(5)[0]  # regions of two images
REGIONS = np.array(
    [[0, 1, 2, 9, 14], [1, 0, 0, 15, 15], [0, 6.5, 3.5, 6.5, 3.5], [1, 12, 10, 40, 44], [0, 90, 90, 99, 99]]
)
FOCUS = ((2, 8, 7, 6), (5, 5))
IMAGE_INFO = np.array([[64, 80, 1.0], [50, 60, 0.5]])


def detection_settings(more: str = "", nms: str = "nms_threshold: 0.3 top_k: 5", code: str = "CENTER_SIZE") -> str:
    return f"""detection_output_param {{ num_classes: 3 code_type: {code} confidence_threshold: 0.1 keep_top_k: 4
        nms_param {{ {nms} }} {more} }}"""


def multibox_settings(more: str = "", **settings: str) -> str:
    fields = " ".join(f"{name}: {value}" for name, value in settings.items())
    return f"multibox_loss_param {{ num_classes: 3 {fields} {more} }}"


def multibox_example(settings: str, locations: int = 1, priors: np.ndarray = PRIORS, **oracle: object) -> Example:
    offsets = [((shapes[0][0], 24 * locations), *shapes[1:]) for shapes in (TRAINED, TRAINED_ONE)]
    return Example(
        "MultiBoxLoss", settings, offsets[0], given={2: priors, 3: TRUTHS}, together=True, single=offsets[1],
        oracle=lambda *x: multibox.multibox(*x, 3, **oracle),
    )  # fmt: skip


# golden cases, by the beginning of their names, of the types whose examples below have no oracle
RECORDED = {
    "ArgMax": "argmax_",
    "Bias": "bias_",
    "CConvolution": "fork_cconv_test",
    "CInnerProduct": "fork_cip_test",
    "Concat": "concat_",
    "Convolution": "conv_",
    "DNSConvolution": "fork_dnsconv_test",
    "DNSInnerProduct": "fork_dnsip_test",
    "Eltwise": "eltwise_",
    "Flatten": "flatten_",
    "HDF5Output": "data_hdf5output",
    "INQConvolution": "fork_inqconv_test",
    "INQInnerProduct": "fork_inqip_test",
    "InnerProduct": "ip_",
    "LRN": "lrn_",
    "PReLU": "prelu_",
    "Pooling": "pool_",
    "Reshape": "reshape_",
    "Scale": "scale_",
    "Silence": "silence_",
    "Slice": "slice_",
    "Split": "split_",
}

# labels of the first YOLO: difficult, occupied, class, and x, y, width, height of each of 2 by 2 cells
CELLS = np.array(
    [
        [0, 1, 0, 0, 1, 1, 1, 0, 2, 0, 2, 0, 0.3, 0.2, 0.5, 0.6, 0.7, 0.3, 0.9, 0.8, 0.2, 0.8, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.8, 0.7, 1.5, 2],
    ]
)
# labels of the second: class, x, y, width, height of up to 30 boxes
BOXES_OF_YOLO = np.pad(
    [[2, 0.3, 0.4, 0.9, 1.2, 0, 0.6, 0.7, 0.5, 0.4, 2, 0.7, 0.2, 1, 1], [1, 0.5, 0.5, 1, 1, *[0.0] * 10]],
    ((0, 0), (0, 135)),
)

EXAMPLES = [
    Example("AbsVal", oracle=lambda x: np.where(x < 0, -x, x)),
    Example(
        "Accuracy", "accuracy_param { top_k: 2 }", LABELLED, {1: 3}, 2, together=True, differentiable=False,
        oracle=lambda x, label: oracles.accuracy(x, label, 2),
    ),
    Example("ArgMax", "argmax_param { top_k: 2 out_max_val: true }", differentiable=False),
    Example("Axpy", "", ((2, 4), IMAGE, IMAGE), oracle=lambda a, x, y: a[:, :, None, None] * x + y),
    Example("BN", "bn_param { bn_mode: LEARN }", tops=3, together=True,
            oracle=lambda *given: detection.bn(*given, eps=1e-9, statistics=True)),
    Example("BN", "bn_param { bn_mode: INFERENCE }", phase=schema.TEST,
            oracle=lambda x, weight, bias: x * weight + bias),
    Example("BN", "bn_param { momentum: 0.9 eps: 0.01 }", together=True,
            oracle=lambda *given: detection.bn(*given, eps=0.01)),
    Example("BN", "bn_param { eps: 0.01 }", phase=schema.TEST, oracle=lambda x, w, b, m, v: 10 * x * w + b),
    Example("BN", "bn_param { frozen: true eps: 0.01 }", oracle=lambda x, w, b, m, v: x / math.sqrt(1.01) * w + b),
    Example("BN", "bn_param { var_eps: 0.25 moving_average: true }", phase=schema.TEST,
            oracle=lambda x, w, b, m, v: 2 * x * w + b),
    Example("BN", "bn_param { decay: 0.1 }", phase=schema.TEST, together=True,
            oracle=lambda *given: detection.bn(*given, eps=1e-10)),
    Example("BNLL", oracle=lambda x: np.log(1 + np.exp(x))),
    Example("BatchNorm", together=True, oracle=oracles.batch_norm),
    Example("BatchNorm", phase=schema.TEST),
    Example(
        "BatchReindex", "", ((4, 3, 2), (6,)), {1: 4}, together=True, single=((1, 3, 2), (0,)),
        oracle=lambda x, numbers: np.array([x[int(n)] for n in numbers]).reshape(-1, *x.shape[1:]),
    ),
    Example("Bias", "bias_param { axis: 1 num_axes: 2 }"),
    Example("Bias", "", (IMAGE, (4,))),
    Example(
        "BoxAnnotatorOHEM", "box_annotator_ohem_param { roi_per_img: 2 }", ((6, 5), (6, 1, 1, 1), (6,), (6, 4)),
        {2: 3}, 2, given={0: SPOTS}, together=True, single=((1, 5), (1, 1, 1, 1), (1,), (1, 4)), differentiable=False,
        oracle=lambda *x: multibox.hardest(*x, 2, -1),
    ),
    Example(
        "BoxAnnotatorOHEM", "box_annotator_ohem_param { roi_per_img: 3 ignore_label: 255 }",
        ((2, 5, 2, 3), (2, 1, 2, 3), (2, 1, 2, 3), (2, 4, 2, 3)), {0: 2, 2: 3}, 2, together=True, differentiable=False,
        oracle=lambda *x: multibox.hardest(*x, 3, 255),
    ),
    Example("Clip", "clip_param { min: -0.5 max: 0.7 }", oracle=lambda x: np.minimum(np.maximum(x, -0.5), 0.7)),
    Example("Concat", "", (IMAGE, (2, 1, 4, 3))),
    Example(
        "ContrastiveLoss", "contrastive_loss_param { margin: 2 }", (*MATRIX, (4,)), {2: 2}, together=True,
        oracle=lambda a, b, label: oracles.contrastive(a, b, label, 2, legacy=False),
    ),
    Example(
        "ContrastiveLoss", "contrastive_loss_param { margin: 7 legacy_version: true }", (*MATRIX, (4,)), {2: 2},
        together=True, oracle=lambda a, b, label: oracles.contrastive(a, b, label, 7, legacy=True),
    ),
    Example("ContinuationIndicator", "continuation_indicator_param { time_step: 3 batch_size: 2 }", (), together=True,
            differentiable=False, oracle=lambda: np.array([[0, 0], [1, 1], [1, 1]])),
    Example("Convolution", f"convolution_param {{ {FILTERS} kernel_size: 3 }}"),
    Example("Convolution", f"convolution_param {{ {FILTERS} kernel_h: 3 kernel_w: 2 group: 2 pad_h: 1 dilation: 2 }}"),
    Example("Convolution", f"convolution_param {{ {FILTERS} kernel_size: 2 stride: 2 }}", ((1, 2, 3, 4, 3, 4),)),
    Example(
        "Convolution", f"convolution_param {{ {FILTERS} kernel_size: 1 bias_term: false }}", (IMAGE, IMAGE), tops=2
    ),
    Example("ConvolutionDepthwise", "convolution_param { num_output: 4 kernel_size: 2 }", oracle=detection.depthwise),
    Example("Crop", "crop_param { offset: 1 }", (IMAGE, (2, 4, 2, 2)), oracle=lambda x, part: x[:, :, 1:3, 1:3]),
    Example(
        "Crop", "crop_param { axis: 1 offset: 0 offset: 2 offset: 1 }", (IMAGE, (2, 3, 2, 2)),
        oracle=lambda x, part: x[:, :3, 2:4, 1:3],
    ),
    Example(
        "Deconvolution", f"convolution_param {{ {FILTERS} kernel_size: 3 stride: 2 pad: 1 group: 2 }}",
        oracle=lambda *given: oracles.deconvolution(*given, stride=2, pad=1, group=2),
    ),
    Example(
        "Deconvolution", f"convolution_param {{ {FILTERS} kernel_size: 2 dilation: 2 bias_term: false }}",
        ((1, 2, 3),), oracle=lambda *given: oracles.deconvolution(*given, dilation=2),
    ),
    Example(
        "Deconvolution", f"convolution_param {{ {FILTERS} kernel_size: 2 stride: 2 pad: 1 }}", ((2, 2, 2, 3, 2, 2),),
        oracle=lambda *given: oracles.deconvolution(*given, stride=2, pad=1),
    ),
    Example(
        "DeformableConvolution",
        f"""deformable_convolution_param {{ {FILTERS} kernel_size: 2 stride: 2 pad: 1 dilation: 2 group: 2
        deformable_group: 2 }}""",
        ((2, 4, 5, 4), (2, 16, 3, 2)),
        oracle=lambda *x: descendants.deformed(*x, stride=2, pad=1, dilation=2, group=2, parts=2),
    ),
    Example(
        "DeformableConvolution", f"deformable_convolution_param {{ {FILTERS} kernel_size: 1 bias_term: false }}",
        ((2, 3, 4, 4), (2, 2, 4, 4)),
        oracle=lambda *x: descendants.deformed(*x, np.zeros(4), stride=1, pad=0, dilation=1, group=1, parts=1),
    ),
    Example("DepthwiseConvolution", f"convolution_param {{ {FILTERS} kernel_size: 2 group: 4 }}",
            oracle=detection.depthwise),
    Example(
        "DetectionEvaluate", "detection_evaluate_param { num_classes: 3 }", ((1, 1, 7, 7), (1, 1, 6, 8)),
        given={0: DETECTED, 1: TRUTHS}, together=True, single=((1, 1, 4, 7), (1, 1, 3, 8)), differentiable=False,
        oracle=lambda *x: multibox.evaluated(*x, 3),
    ),
    Example(
        "DetectionEvaluate",
        """detection_evaluate_param { num_classes: 4 background_label_id: 3 overlap_threshold: 0.75
        evaluate_difficult_gt: false }""",
        ((1, 1, 7, 7), (1, 1, 6, 8)), given={0: DETECTED, 1: TRUTHS}, together=True,
        single=((1, 1, 4, 7), (1, 1, 3, 8)), differentiable=False,
        oracle=lambda *x: multibox.evaluated(*x, 4, 0.75, False, 3),
    ),
    Example("DetectionOutput", detection_settings(), FOUND, given={2: PRIORS}, together=True, differentiable=False,
            oracle=lambda *x: detection.detections(*x, 3, "CENTER_SIZE", 0.1, 0.3, 5, 4)),
    Example(
        "DetectionOutput",
        detection_settings("share_location: false background_label_id: 2", "nms_threshold: 0.8 eta: 0.7", "CORNER"),
        ((2, 72), *FOUND[1:]), given={2: PRIORS}, together=True, differentiable=False,
        oracle=lambda *x: detection.detections(*x, 3, "CORNER", 0.1, 0.8, 6, 4, eta=0.7, background=2, shared=False),
    ),
    Example(
        "DetectionOutput",
        detection_settings("variance_encoded_in_target: true background_label_id: -1", "top_k: 3", "CORNER_SIZE"),
        FOUND, given={2: PRIORS}, together=True, differentiable=False,
        oracle=lambda *x: detection.detections(*x, 3, "CORNER_SIZE", 0.1, 0.3, 3, 4, background=-1, encoded=True),
    ),
    Example(
        "DetectionOutput", detection_settings("objectness_score: -0.5"), (*FOUND, (2, 12), (2, 24)), given={2: PRIORS},
        together=True, differentiable=False,
        oracle=lambda x, s, p, *first: detection.detections(
            x, s, p, 3, "CENTER_SIZE", 0.1, 0.3, 5, 4, first=first, objectness=-0.5
        ),
    ),
    Example("Dropout", "dropout_param { dropout_ratio: 0.3 }", random=True),
    Example("Dropout", "dropout_param { dropout_ratio: 0 }", oracle=lambda x: x),
    Example("Dropout", phase=schema.TEST, oracle=lambda x: x),
    Example("SpatialDropout", "spatial_dropout_param { dropout_ratio: 0.3 }", random=True),
    Example("SpatialDropout", "spatial_dropout_param { dropout_ratio: 0 }", oracle=lambda x: x),
    Example("SpatialDropout", phase=schema.TEST, oracle=lambda x: x),
    Example("ELU", "elu_param { alpha: 0.5 }", oracle=lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    Example("Eltwise", "eltwise_param { operation: SUM coeff: 2 coeff: -0.5 }", (ROWS, ROWS)),
    Example("Eltwise", "eltwise_param { operation: PROD }", (ROWS, ROWS, ROWS)),
    Example("Eltwise", "eltwise_param { operation: MAX }", (ROWS, ROWS, ROWS)),
    Example(
        "Embed", "embed_param { num_output: 3 input_dim: 5 }", ((2, 3),), {0: 5},
        oracle=lambda x, weight, bias: np.array([[weight[int(n)] + bias for n in row] for row in x]),
    ),
    Example(
        "EuclideanLoss", "", (ROWS, ROWS), together=True, oracle=lambda a, b: ((a - b) ** 2).sum() / 2 / len(a)
    ),
    Example(
        "EvalDetection", "eval_detection_param { side: 2 num_class: 3 threshold: 0.1 nms: 0.3 }", ((2, 52), (2, 28)),
        given={1: CELLS}, differentiable=False,
        oracle=lambda *x: descendants.judged(*x, side=2, classes=3, objects=2, least=np.float32(0.1),
                                             nms=np.float32(0.3)),
    ),
    Example(
        "EvalDetection",
        """eval_detection_param { side: 2 num_class: 3 threshold: 0.2 nms: 0.5 biases: [1, 0.5, 1.5, 2]
        score_type: OBJ }""",
        ((2, 16, 2, 2), (2, 150)), given={1: BOXES_OF_YOLO}, differentiable=False,
        oracle=lambda *x: descendants.judged(*x, side=2, classes=3, objects=2, least=np.float32(0.2), nms=0.5,
                                             biases=[1, 0.5, 1.5, 2], score="OBJ"),
    ),
    Example("Exp", oracle=np.exp),
    Example("Exp", "exp_param { base: 2 scale: 0.5 shift: -1 }", oracle=lambda x: 2 ** (0.5 * x - 1)),
    Example(
        "Filter", "", ((5, 3, 2), (5, 4), (5, 1)), {2: 2}, 2,
        oracle=lambda x, z, chosen: (x[chosen[:, 0] != 0], z[chosen[:, 0] != 0]), together=True,
    ),
    Example("Flatten", "flatten_param { axis: 1 end_axis: 2 }"),
    Example(
        "FrcnnProposal", "proposal_param {}", ((2, 18, 3, 4), (2, 36, 3, 4), (2, 3)), tops=2, given={2: IMAGE_INFO},
        together=True, differentiable=False,
        oracle=lambda *x: detection.proposals(*x, 16, [0.5, 1, 2], [8, 16, 32], 16, 6000, 300, 0.7),
    ),
    Example(
        "HDF5Output", "hdf5_output_param { file_name: 'written.h5' }", (ROWS, (3, 1)), tops=0, together=True,
        differentiable=False, oracle=lambda data, label: (),
    ),
    Example("HardSigmoid", shapes=((3, 40),), oracle=lambda x: np.minimum(np.maximum(x / 5 + 0.5, 0), 1)),
    Example("HingeLoss", "", LABELLED, {1: 3}, together=True, oracle=lambda x, label: oracles.hinge(x, label, 1)),
    Example(
        "HingeLoss", "hinge_loss_param { norm: L2 }", LABELLED, {1: 3}, together=True,
        oracle=lambda x, label: oracles.hinge(x, label, 2),
    ),
    Example(
        "Im2col", "convolution_param { kernel_h: 2 kernel_w: 3 stride: 2 pad: 1 }",
        oracle=lambda x: oracles.im2col(x, (2, 3), 2, 1, 1),
    ),
    Example(
        "Im2col", "convolution_param { kernel_size: 2 dilation: 2 }", ((2, 2, 4, 3, 5),),
        oracle=lambda x: oracles.im2col(x, (2, 2, 2), 1, 0, 2),
    ),
    Example(
        "InfogainLoss", "", (*LABELLED, (1, 1, 3, 3)), {1: 3}, constants=(2,), together=True, oracle=oracles.infogain,
    ),
    Example("InnerProduct", f"inner_product_param {{ {FILTERS} }}"),
    Example("InnerProduct", f"inner_product_param {{ {FILTERS} axis: 2 transpose: true bias_term: false }}"),
    Example("ImResize", "imresize_param { factor: 2.5 scale_gap: 0.4 }", ((3, 2, 5, 6),), together=True,
            oracle=lambda x: descendants.rescaled(x, (12, 15), 1, 0.4)),
    Example("ImResize", "imresize_param { target_spatial_width: 4 target_spatial_height: 9 start_scale: 0.6 }",
            ((1, 2, 6, 5),), together=True, oracle=lambda x: descendants.rescaled(x, (9, 4), 0.6, 0.1)),
    Example("Interp", "interp_param { zoom_factor: 3 }", oracle=lambda x: detection.resized(x, 10, 7)),
    Example("Interp", "interp_param { shrink_factor: 2 pad_end: -1 }",
            oracle=lambda x: detection.resized(x[:, :, :3, :2], 2, 1)),
    Example("Interp", "interp_param { height: 5 width: 2 }", oracle=lambda x: detection.resized(x, 5, 2)),
    Example("Interp", "", (IMAGE, (2, 1, 6, 9)), constants=(1,), oracle=lambda x, like: detection.resized(x, 6, 9)),
    Example("LRN", "lrn_param { local_size: 3 alpha: 0.5 k: 2 }"),
    Example("LRN", "lrn_param { local_size: 5 alpha: 0.5 beta: 0.6 }"),
    Example("LRN", "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"),
    Example(
        "LSTM", "recurrent_param { num_output: 2 }", SEQUENCE, {1: 2}, oracle=oracles.lstm, together=True,
        single=((3, 1, 4), (3, 1)),
    ),
    Example(
        "LSTM", "recurrent_param { num_output: 2 expose_hidden: true }",
        ((3, 2, 2, 2), (3, 2), (2, 3), (1, 2, 2), (1, 2, 2)), {1: 2}, 3, constants=(3, 4), together=True,
        single=((3, 1, 2, 2), (3, 1), (1, 3), (1, 1, 2), (1, 1, 2)),
        oracle=lambda *given: oracles.lstm(*given, static=True, exposed=True),
    ),
    Example(
        "LSTMUnit", "", ((1, 3, 2), (1, 3, 8), (1, 3)), {2: 2}, 2, together=True, oracle=oracles.lstm_unit,
        single=((1, 1, 2), (1, 1, 8), (1, 1)),
    ),
    Example("Log", "log_param { shift: 9 }", oracle=lambda x: np.log(9 + x)),
    Example("Log", "log_param { base: 10 scale: 2 shift: 20 }", oracle=lambda x: np.log10(20 + 2 * x)),
    Example("Lstm", "lstm_param { num_output: 2 }", SEQUENCE[:1], together=True, single=((3, 1, 4),),
            oracle=lambda x, w, u, b: oracles.lstm(x, np.array([[0, 0], [1, 1], [1, 1]])[:, : x.shape[1]], w, b, u)),
    Example("Lstm", "lstm_param { num_output: 2 }", SEQUENCE, {1: 2}, together=True, single=((3, 1, 4), (3, 1)),
            oracle=lambda x, cont, w, u, b: oracles.lstm(x, cont, w, b, u)),
    Example("MVN", oracle=lambda x: oracles.mvn(x, (2, 3))),
    Example(
        "MVN", "mvn_param { across_channels: true eps: 1e-4 }", oracle=lambda x: oracles.mvn(x, (1, 2, 3), 1e-4)
    ),
    Example(
        "MVN", "mvn_param { normalize_variance: false }", oracle=lambda x: x - x.mean((2, 3), keepdims=True)
    ),
    Example(
        "MatWrite", "mat_write_param { prefix: 'written_' }", (ROWS, (3, 1)), tops=0, together=True,
        differentiable=False, oracle=lambda *bottoms: (),
    ),
    multibox_example(multibox_settings()),
    multibox_example(
        multibox_settings(code_type="CENTER_SIZE", overlap_threshold="0.3", neg_pos_ratio="0.7", loc_weight="2"),
        code="CENTER_SIZE", threshold=0.3, ratio=np.float32(0.7), weight=2,
    ),
    multibox_example(
        f"{multibox_settings(code_type='CORNER_SIZE', match_type='BIPARTITE', mining_type='NONE')} "
        "loss_param { normalization: FULL }",
        code="CORNER_SIZE", each=False, mining="NONE", divisor="FULL",
    ),
    multibox_example(
        f"{multibox_settings(conf_loss_type='LOGISTIC', loc_loss_type='L2', use_difficult_gt='false')} "
        "loss_param { normalization: BATCH_SIZE }",
        logistic=True, square=True, difficult=False, divisor="BATCH_SIZE",
    ),
    multibox_example(
        f"{multibox_settings(share_location='false', mining_type='NONE', background_label_id='2')} "
        "loss_param { normalization: NONE }",
        3, shared=False, mining="NONE", background=2, divisor="NONE",
    )._replace(given={2: PRIORS, 3: TRUTHS - (TRUTHS[..., 1:2] > 0) * np.eye(8)[1]}),
    multibox_example(
        multibox_settings(
            share_location="false", mining_type="NONE", use_prior_for_matching="false", code_type="CENTER_SIZE"
        ),
        3, shared=False, mining="NONE", by_prior=False, code="CENTER_SIZE",
    ),
    multibox_example(
        multibox_settings(encode_variance_in_target="true", use_prior_for_matching="false", neg_overlap="0.2",
                          bp_inside="true"),
        in_target=True, by_prior=False, below=0.2, within=True,
    ),
    multibox_example(
        multibox_settings(bp_inside="true", ignore_cross_boundary_bbox="true", neg_overlap="0.9"),
        1, BEYOND, within=True, inside=True, below=0.9,
    ),
    multibox_example(
        multibox_settings("nms_param { nms_threshold: 0.3 top_k: 4 }", mining_type="HARD_EXAMPLE", sample_size="3"),
        mining="HARD_EXAMPLE", most=3, nms=0.3, top_k=4,
    ),
    multibox_example(
        multibox_settings(
            "nms_param { nms_threshold: 0.4 }", mining_type="HARD_EXAMPLE", sample_size="3", use_prior_for_nms="true"
        ),
        mining="HARD_EXAMPLE", most=3, nms=0.4, nms_prior=True,
    ),
    multibox_example(
        multibox_settings(mining_type="HARD_EXAMPLE", sample_size="2", loc_loss_type="L2"),
        mining="HARD_EXAMPLE", most=2, square=True,
    ),
    multibox_example(
        f"propagate_down: [true, false, false, false] {multibox_settings(map_object_to_agnostic='true')}"
        .replace("num_classes: 3", "num_classes: 2"),
    )._replace(
        shapes=((3, 24), (3, 12), *TRAINED[2:]), single=((1, 24), (1, 12), *TRAINED_ONE[2:]),
        oracle=lambda *x: multibox.multibox(*x, 2, agnostic=True, parts=(1, 0)),
    ),
    Example(
        "MultiStageMeanfield",
        """multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 3 theta_beta: 2 theta_gamma: 1.5 }""",
        ((2, 3, 3, 4), (2, 3, 3, 4), (2, 3, 3, 4)), constants=(2,),
        oracle=lambda *x: descendants.random_field(*x, steps=2, alpha=3, beta=2, gamma=1.5),
    ),
    Example(
        "MultinomialLogisticLoss", "", LABELLED, {1: 3}, together=True, positive=True, oracle=oracles.multinomial
    ),
    Example("Nms", "nms_param { threshold: 0.2 max_peaks: 3 num_parts: 2 }", ((2, 3, 9, 11),), differentiable=False,
            oracle=lambda x: descendants.peaks(x, 2, 3, np.float32(0.2))),
    Example("Normalize", "norm_param { across_spatial: false channel_shared: false }",
            oracle=lambda x, weight: detection.normalized(x, weight, across=False)),
    Example("Normalize", oracle=lambda x, weight: detection.normalized(x, weight, across=True)),
    Example("PReLU"),
    Example("PReLU", "prelu_param { channel_shared: true }"),
    Example("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", (), together=True, oracle=lambda blob: blob),
    Example("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 2 }", FOCUS,
            given={1: REGIONS}, together=True, single=((2, 8, 7, 6), (2, 5)),
            oracle=lambda x, regions: detection.region_means(x, regions, 2, 2, 0.5)),
    Example("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }",
            oracle=lambda x: x.transpose(0, 2, 3, 1)),
    Example("Permute", "permute_param { order: 0 order: 3 }", oracle=lambda x: x.transpose(0, 3, 1, 2)),
    Example("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"),
    Example("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 2 }"),
    Example("Pooling", "pooling_param { pool: MAX kernel_size: 2 }", tops=2),
    Example("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    Example("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 2 }"),
    Example("Pooling", "pooling_param { pool: AVE global_pooling: true }"),
    Example("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", random=True),
    Example("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", phase=schema.TEST),
    Example("Pooling3D", "pooling3d_param { kernel_depth: 2 kernel_size: 3 stride: 2 temporal_stride: 2 }",
            ((2, 3, 5, 6, 7),), oracle=lambda x: descendants.pooled(x, (2, 3, 3), (2, 2, 2), 0, np.max)),
    Example("Pooling3D", "pooling3d_param { pool: AVE kernel_depth: 3 kernel_size: 2 stride: 2 pad: 1 }",
            ((2, 3, 4, 5, 6),), oracle=lambda x: descendants.pooled(x, (3, 2, 2), (1, 2, 2), 1, np.sum)),
    Example("Power", "power_param { power: 3 scale: 2 shift: 0.5 }", oracle=lambda x: (2 * x + 0.5) ** 3),
    Example(
        "PriorBox", "prior_box_param { min_size: 3 max_size: 6 aspect_ratio: 2 aspect_ratio: 1 clip: true }",
        ((2, 1, 2, 3), (2, 1, 8, 9)), together=True, differentiable=False,
        oracle=lambda x, image: detection.default_boxes(
            (2, 3), (8, 9), [3], [6], [2, 0.5], (4, 3), [0.1] * 4, clip=True),
    ),
    Example(
        "PriorBox",
        """prior_box_param { min_size: 3.9 min_size: 5 aspect_ratio: 3 flip: false variance: 0.1 variance: 0.2
        variance: 0.3 variance: 0.4 img_h: 10 img_w: 20 step: 5 offset: 0.25 }""",
        ((2, 1, 2, 3), (2, 1, 8, 9)), together=True, differentiable=False,
        oracle=lambda x, image: detection.default_boxes(
            (2, 3), (10, 20), [3, 5], [], [3], (5, 5), [0.1, 0.2, 0.3, 0.4], 0.25),
    ),
    Example(
        "Proposal",
        "proposal_param { scale: 1 scale: 2 min_size: 8 pre_nms_topn: 40 post_nms_topn: 6 nms_thresh: 0.5 }",
        ((2, 12, 3, 4), (2, 24, 3, 4), (2, 3)), tops=2, given={2: IMAGE_INFO}, together=True, differentiable=False,
        oracle=lambda *x: detection.proposals(*x, 16, [0.5, 1, 2], [1, 2], 8, 40, 6, 0.5),
    ),
    Example(
        "Python", f"python_param {{ module: '{user_layers.__name__}' layer: 'Times' }}", step=0.25,
        oracle=lambda x: 2 * x,
    ),
    Example(
        "RNN", "recurrent_param { num_output: 2 }", SEQUENCE, {1: 2}, oracle=oracles.rnn, together=True,
        single=((3, 1, 4), (3, 1)),
    ),
    Example("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }", FOCUS, given={1: REGIONS},
            together=True, single=((2, 8, 7, 6), (2, 5)),
            oracle=lambda x, regions: detection.region_maxima(x, regions, (3, 2), 0.5)),
    Example("ReLU", oracle=lambda x: np.maximum(x, 0)),
    Example("ReLU", "relu_param { negative_slope: 0.1 }", oracle=lambda x: np.where(x > 0, x, 0.1 * x)),
    Example("ReLU6", oracle=lambda x: np.minimum(np.maximum(x, 0), 6)),
    Example("ReLU6", "relu6_param { negative_slope: 0.1 }",
            oracle=lambda x: np.minimum(np.where(x > 0, x, 0.1 * x), 6)),
    Example(
        "Reduction", "reduction_param { operation: ASUM axis: 1 coeff: 2 }",
        oracle=lambda x: 2 * np.abs(x).sum((1, 2, 3)),
    ),
    Example("Reduction", "reduction_param { operation: SUMSQ }", together=True, oracle=lambda x: (x**2).sum()),
    Example("Reduction", "reduction_param { operation: MEAN axis: -1 }", oracle=lambda x: x.mean(-1)),
    Example("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"),
    Example("Reorg", "reorg_param { stride: 2 }", ((2, 4, 4, 6),), oracle=lambda x: detection.reorganized(x, 2, False)),
    Example("Reorg", "reorg_param { stride: 2 reverse: true }", ((2, 8, 2, 3),),
            oracle=lambda x: detection.reorganized(x, 2, True)),
    Example("Reverse", together=True, oracle=lambda x: x[::-1]),
    Example("Reverse", "reverse_param { axis: 2 }", oracle=lambda x: x[:, :, ::-1]),
    Example("SPP", "spp_param { pyramid_height: 2 }", oracle=lambda x: oracles.pyramid(x, 2, "MAX")),
    Example("SPP", "spp_param { pyramid_height: 2 pool: AVE }", oracle=lambda x: oracles.pyramid(x, 2, "AVE")),
    Example("Scale", "scale_param { bias_term: true }"),
    Example("Scale", "scale_param { axis: 0 }", (IMAGE, (2, 4))),
    Example("SegAccuracy", "seg_accuracy_param { ignore_label: 2 }", ((2, 4, 3, 3), (2, 1, 3, 3)), {1: 4},
            together=True, differentiable=False, oracle=lambda x, labels: detection.segmentation(x, labels, 2)),
    Example("ShuffleChannel", "shuffle_channel_param { group: 2 }", oracle=lambda x: x[:, [0, 2, 1, 3]]),
    Example("Sigmoid", oracle=oracles.sigmoid),
    Example(
        "SigmoidCrossEntropyLoss", "loss_param { ignore_label: 0 normalization: VALID }", MATRIX, {1: 2},
        together=True, oracle=lambda x, target: oracles.sigmoid_loss(x, target, 0),
    ),
    Example("Silence", "", (IMAGE, (2, 5)), tops=0, differentiable=False),
    Example("Slice", "slice_param { slice_point: 1 slice_point: 3 }", tops=3),
    Example("SmoothL1Loss", "", (ROWS, ROWS), together=True, oracle=detection.smooth_l1),
    Example("SmoothL1Loss", "", (ROWS, ROWS, (*ROWS, 1, 1)), constants=(2,), together=True,
            oracle=lambda a, b, w: detection.smooth_l1(a, b, w[..., 0, 0], np.ones_like(a))),
    Example("SmoothL1Loss", "smooth_l1_loss_param { sigma: 3 }", (ROWS,) * 4, constants=(2, 3), together=True,
            oracle=lambda *x: detection.smooth_l1(*x, sigma=3)),
    Example(
        "SmoothL1LossOHEM", "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 3 }", (IMAGE,) * 3,
        constants=(2,), tops=2, together=True, oracle=lambda *x: multibox.smooth_l1_of_channels(*x, divisor=3),
    ),
    Example("SmoothL1LossOHEM", "", (ROWS, ROWS), together=True,
            oracle=lambda *x: multibox.smooth_l1_of_channels(*x)[0]),
    Example("Softmax", oracle=oracles.softmax),
    Example(
        "SoftmaxWithLoss", "loss_param { ignore_label: 1 }", LABELLED, {1: 3}, together=True,
        oracle=lambda x, label: oracles.softmax_loss(x, label, 1),
    ),
    Example("SoftmaxWithLoss", "softmax_param { axis: 2 } loss_param { normalization: NONE }", ((2, 3, 4), (2, 3)),
            {1: 4}, together=True,
            oracle=lambda x, label: 3 * len(x) * oracles.softmax_loss(x.reshape(-1, 4), label.ravel())),
    Example("SoftmaxWithLossOHEM", "loss_param { ignore_label: 1 }", ((9, 3), (9,)), {1: 3}, 3, together=True,
            oracle=lambda x, label: oracles.softmax_losses(x, label, 1)),
    Example("Split", tops=2),
    Example("Swish", "swish_param { beta: 0.5 }", oracle=lambda x: x * oracles.sigmoid(0.5 * x)),
    Example("Swish", oracle=lambda x: x * oracles.sigmoid(x)),
    Example("TanH", oracle=np.tanh),
    Example("Threshold", "threshold_param { threshold: 0.3 }", differentiable=False, oracle=lambda x: 1.0 * (x > 0.3)),
    Example("Tile", "tile_param { tiles: 3 }", oracle=lambda x: np.concatenate([x, x, x], 1)),
    Example("Tile", "tile_param { axis: -1 tiles: 2 }", (ROWS,), oracle=lambda x: np.concatenate([x, x], 1)),
    Example("Transpose", "transpose_param { dim: 3 dim: 0 dim: 2 dim: 1 }", together=True,
            oracle=lambda x: x.transpose(3, 0, 2, 1)),
    Example("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_h: 4 unpool_w: 5 }",
            ((2, 3, 2, 2), (2, 3, 2, 2)), given={1: np.tile([[0, 2], [11, 19]], (2, 3, 1, 1))},
            oracle=lambda x, mask: detection.unpooled(x, mask, 4, 5)),
    Example("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 7 }", ((2, 3, 3, 3),),
            oracle=lambda x: descendants.placed(x, (7, 7), 2)),
    Example("Unpooling", "unpooling_param { unpool: AVE kernel_size: 3 stride: 2 unpool_h: 6 unpool_w: 9 }",
            ((2, 3, 3, 4),), oracle=lambda x: descendants.spread(x, (6, 9), 3, 2, share=True)),
    Example("Unpooling", "unpooling_param { unpool: TILE kernel_size: 3 stride: 2 unpool_h: 6 unpool_w: 10 }",
            ((2, 3, 3, 4),), oracle=lambda x: descendants.spread(x, (6, 10), 3, 2, share=False)),
    Example("Upsample", "upsample_param { scale: 2 }", oracle=lambda x: x.repeat(2, 2).repeat(2, 3)),
    Example("Upsample", "upsample_param { scale: 2 pad_out_w: true }", ((2, 3, 2, 2), (2, 3, 2, 2)),
            given={1: np.tile([[0, 2], [11, 7]], (2, 3, 1, 1))},
            oracle=lambda x, mask: detection.unpooled(x, mask, 4, 3)),
    Example(
        "YoloDetectionOutput",
        """yolo_detection_output_param { num_classes: 3 num_box: 2 confidence_threshold: 0.2 nms_threshold: 0.4
        biases: 1 biases: 2 biases: 2 biases: 1 }""",
        ((2, 16, 3, 3),), together=True, differentiable=False,
        oracle=lambda x: detection.yolo([x], [[(1, 2), (2, 1)]], [1], 3, 0.2, 0.4, exclusive=True),
    ),
    Example(
        "Yolov3DetectionOutput",
        """yolov3_detection_output_param { num_classes: 3 num_box: 2 confidence_threshold: 0.3 nms_threshold: 0.4
        biases: 10 biases: 14 biases: 23 biases: 27 biases: 37 biases: 58 mask: 1 mask: 2 mask: 0 mask: 1
        anchors_scale: 16 anchors_scale: 8 }""",
        ((2, 16, 2, 2), (2, 16, 4, 4)), together=True, differentiable=False,
        oracle=lambda a, b: detection.yolo([a, b], [[(23, 27), (37, 58)], [(10, 14), (23, 27)]], [16, 8], 3, 0.3, 0.4,
                                           exclusive=False),
    ),
    # under surgery the gradient is that of the effective values: with the masks at 1 they are the weights
    *(
        Example(f"{kind}Convolution", f"convolution_param {{ {FILTERS} kernel_size: 3 }} {extra}", phase=schema.TEST)
        for kind, extra in (("DNS", ""), ("C", ""), ("INQ", "inq_convolution_param { portion: 0 portion: 0.5 }"))
    ),
    *(
        Example(f"{kind}InnerProduct", f"inner_product_param {{ {FILTERS} }} {extra}", phase=schema.TEST)
        for kind, extra in (("DNS", ""), ("C", ""), ("INQ", "inq_inner_product_param { portion: 0 portion: 0.5 }"))
    ),
]  # fmt: skip
