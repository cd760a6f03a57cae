"""The functions of PyTorch that a file may name, and the words that it may give them.

All are pure: they return new tensors or numbers, and neither change their arguments, nor know files, other code, or
memory that was not written. How much memory they take follows from shapes alone, and is computed without values first:
see :mod:`demitasse.graph.bounds`.
"""

from __future__ import annotations

# functions of torch.ops.aten with their overloads
_ATEN = """
abs acos acosh alias amax amin angle asin asinh atan atan2 atanh ceil clone contiguous cos cosh erf erfc exp exp2 expm1
floor frac isfinite isinf isnan lift_fresh_copy log log10 log1p log2 logical_and logical_not logical_or logical_xor neg
positive reciprocal relu round rsqrt sgn sigmoid sign signbit sin sinh sqrt square tan tanh trunc
celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid mish prelu relu6 selu silu softplus
softshrink threshold
add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar
div.Tensor_mode div.Scalar_mode floor_divide floor_divide.Scalar remainder.Tensor remainder.Scalar fmod.Tensor
fmod.Scalar pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar maximum minimum lerp.Scalar lerp.Tensor addcmul addcdiv
eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar ge.Tensor ge.Scalar
__and__.Tensor __and__.Scalar __or__.Tensor __or__.Scalar __xor__.Tensor __xor__.Scalar
bitwise_and.Tensor bitwise_and.Scalar bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar
bitwise_not clamp clamp.Tensor clamp_min clamp_min.Tensor clamp_max clamp_max.Tensor nan_to_num
where.self where.ScalarSelf where.ScalarOther where.Scalar masked_fill.Scalar masked_fill.Tensor
sum sum.dim_IntList mean mean.dim prod prod.dim_int max max.dim max.other min min.dim min.other argmax argmin
any any.dim any.dims all all.dim all.dims var.correction std.correction var_mean.correction std_mean.correction
linalg_vector_norm logsumexp cumsum cumprod diff topk sort argsort softmax.int _softmax log_softmax.int _log_softmax
matmul mm bmm addmm baddbmm mv dot linear conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding
conv_transpose1d conv_transpose2d.input conv_transpose3d.input convolution
scaled_dot_product_attention embedding
layer_norm native_layer_norm group_norm native_group_norm rms_norm _native_batch_norm_legit_no_training
max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec upsample_linear1d.vec upsample_bilinear2d.vec
upsample_trilinear3d.vec upsample_bicubic2d.vec upsample_nearest2d upsample_bilinear2d pixel_shuffle pixel_unshuffle
channel_shuffle
reshape permute transpose.int t unsqueeze squeeze squeeze.dim squeeze.dims expand expand_as slice.Tensor select.int cat
stack split.Tensor split_with_sizes chunk unbind.int flatten.using_ints unflatten.int narrow movedim.int movedim.intlist
flip roll repeat repeat_interleave.self_int tile index.Tensor index_select gather scatter.src scatter.value scatter_add
index_put slice_scatter select_scatter diagonal tril triu unfold im2col col2im pad constant_pad_nd reflection_pad1d
reflection_pad2d replication_pad1d replication_pad2d meshgrid meshgrid.indexing broadcast_tensors
full full_like zeros zeros_like ones ones_like new_full new_zeros new_ones arange arange.start arange.start_step
linspace eye scalar_tensor _to_copy to.dtype to.device to.dtype_layout type_as sym_size.int
"""
# functions of Python's operator, on whole numbers that are sizes and on results of several tensors
_OPERATOR = "getitem add sub mul floordiv mod neg truediv lt le gt ge eq ne"
# functions of torch on sizes
_TORCH = "sym_max sym_min sym_not sym_ite sym_int sym_float"

_NUMBERS = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128"
_VARIANTS = "none tanh trunc floor constant reflect replicate circular same valid ij xy"
# words that functions take: types of numbers, ways to lie in memory, the device, and the names of variants
WORDS = frozenset(
    [f"torch.{name}" for name in f"{_NUMBERS} strided contiguous_format channels_last preserve_format".split()]
    + f"{_VARIANTS} cpu".split()
)
# a constant that the module returns
CONSTANT = "demitasse.constant"


def _aten(name: str) -> str:
    return f"aten.{name}" if "." in name else f"aten.{name}.default"


ALLOWED = frozenset(
    [
        *map(_aten, _ATEN.split()),
        *(f"operator.{name}" for name in _OPERATOR.split()),
        *(f"torch.{name}" for name in _TORCH.split()),
        CONSTANT,
    ]
)
