/* The model of bytes: the header, and numbers, the most significant byte first. */
#include "parts.h"

static const char primer[] =
    "layer {\n  name: \"conv1\"\n  type: \"Convolution\"\n  bottom: \"data\"\n  top: \"conv1\"\n  param {\n    lr"
    "_mult: 1\n    decay_mult: 1\n  }\n  convolution_param {\n    num_output: 64\n    pad: 1\n    kernel_size: 3"
    "\n    stride: 1\n    weight_filler {\n      type: \"xavier\"\n    }\n    bias_filler {\n      type: \"consta"
    "nt\"\n      value: 0\n    }\n  }\n}\nname: \"LeNet\"\nlayer { name: \"data\" type: \"Input\" top: \"data\" i"
    "nput_param { shape { dim: 1 dim: 3 dim: 28 dim: 28 } } }\nlayer { name: \"conv1\" type: \"Convolution\" bott"
    "om: \"data\" top: \"conv1\"\n  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: \"xav"
    "ier\" } } }\nlayer { name: \"relu1\" type: \"ReLU\" bottom: \"conv1\" top: \"conv1\" }\nlayer { name: \"pool"
    "1\" type: \"Pooling\" bottom: \"conv1\" top: \"pool1\"\n  pooling_param { pool: MAX kernel_size: 2 stride: 2"
    " } }\nlayer { name: \"ip1\" type: \"InnerProduct\" bottom: \"pool1\" top: \"ip1\"\n  inner_product_param { n"
    "um_output: 10 weight_filler { type: \"xavier\" } } }\nlayer { name: \"prob\" type: \"Softmax\" bottom: \"ip1"
    "\" top: \"prob\" }\ndefinition\0compact\0format\0pt\0BatchNorm Scale DNSConvolution DNSInnerProduct INQConvo"
    "lution INQInnerProduct\0CConvolution CConvolution CInnerProduct CInnerProduct\0caffe\0Convolution Convolutio"
    "n InnerProduct InnerProduct\0model.embed_tokens.weight\0model.layers.0.self_attn.q_proj.weight\0model.layers"
    ".0.mlp.down_proj.weight\0model.layers.0.input_layernorm.weight\0transformer.h.0.attn.c_attn.weight\0lm_head."
    "weight\0features.0.weight\0features.0.bias\0classifier.6.weight\0classifier.6.bias\0conv1.weight\0bn1.weight"
    "\0bn1.bias\0bn1.running_mean\0bn1.running_var\0bn1.num_batches_tracked\0layer1.0.conv1.weight\0layer1.0.bn1."
    "weight\0layer1.0.bn1.bias\0layer1.0.bn1.running_mean\0layer1.0.bn1.running_var\0layer1.0.bn1.num_batches_tra"
    "cked\0layer1.0.conv2.weight\0layer2.0.downsample.0.weight\0layer2.0.downsample.1.weight\0layer3.1.conv1.weig"
    "ht\0layer4.1.bn2.bias\0fc.weight\0fc.bias\0fc1.weight\0fc1.bias\0fc2.weight\0fc2.bias\0fc3.weight\0fc3.bias"
    "\0conv1.0\0conv1.1\0conv2.0\0conv2.1\0ip1.0\0ip1.1\0ip2.0\0ip2.1\0\0\0\0\0\0\0\0\0\11\10\10\10\10\10\10\10\4"
    "\1\4\1\2\1\2\1\24\1\5\5\0242\24\5\0052\364\3\240\6\364\3\n\364\3\n\4{\3\4|\0\14|\3\4{\1\34{\3\20\4\4|\1\14|"
    "\3\4|\0";

/* Begins to decode a count of bytes; width is the size of a number, 0 for the header, whose primer is counted, too. */
void demi_bytes_begin(demi_reader *r, uint64_t count, unsigned width)
{
    static const uint16_t weights[7] = {13107, 16384, 19661, 19661, 19661, 6554, 13107};
    demi_bytes *model = &r->bytes;
    unsigned j;
    count += width == 0 ? sizeof primer - 1 : 0;
    model->bits = 3;
    for (; count != 0 && model->bits < 20; count >>= 1) {
        ++model->bits;
    }
    model->bits = model->bits < 10 ? 10 : model->bits;
    model->slots = (uint32_t *)demi_give(r, (uint64_t)7 << model->bits, 4);
    for (j = 0; j < 35; ++j) {
        model->weights[j / 7][j % 7] = weights[j % 7];
    }
    model->history = 0;
    model->count = model->place = 0;
    model->width = width == 0 ? 1 : width;
    for (j = 0; width == 0 && j < sizeof primer - 1 && r->status == DEMI_OK; ++j) {
        demi_next_byte(r, (unsigned char)primer[j]);
    }
}

unsigned demi_next_byte(demi_reader *r, int known)
{
    demi_bytes *model = &r->bytes;
    const uint32_t newest = (uint32_t)model->history;
    const uint32_t same = (uint32_t)(model->history >> 8 * (model->width - 1)) & 255;
    uint32_t context[7];
    demi_decision to;
    unsigned node, row, j;
    if (known < 0) {
        if (model->count++ % 2048 == 0) {
            demi_expect_more(r);
        }
        if (r->only_ones) {
            return 255;
        }
    }
    to.pace = 4194;
    to.base = 0;
    to.slots = to.inputs = 7;
    to.ease = 0;
    to.limit = 250;
    to.known = -1;
    for (j = 0; j < 7; ++j) {
        const uint32_t bytes = j == 0 ? 0xFFFFFFFFu : j == 5 ? same : j == 6 ? same + 256 * (newest & 255)
                                                    : newest & 0xFFFFFFFFu >> (32 - 8 * j);
        context[j] = model->place + 8 * (bytes + 1);
    }
    for (node = 1; node < 256;) {
        for (j = row = 0; j < 7; ++j) {
            const uint32_t mixed = (context[j] << 8 | node) * 2654435761u;
            to.slot[j] = model->slots + ((size_t)j << model->bits);
            to.slot[j] += (mixed ^ mixed >> 15) & (((uint32_t)1 << model->bits) - 1);
            row = j < 5 && *to.slot[j] != 0 ? j : row;
        }
        to.weights = model->weights[row];
        if (known >= 0) {
            to.known = known >> 7 & 1;
            known <<= 1;
        }
        node = 2 * node + demi_decide(r, &to);
    }
    model->history = model->history << 8 | (node & 255);
    model->place = model->place + 1 == model->width ? 0 : model->place + 1;
    return node & 255;
}

/* Reads numbers: all values of the tensor, or of those that are not zero, one for each bit of present. */
void demi_read_numbers(demi_reader *r, const uint8_t *present, uint64_t found)
{
    uint64_t i;
    unsigned j;
    demi_bytes_begin(r, found * r->value_bytes, r->value_bytes);
    for (i = 0; i < r->tensor.size && r->status == DEMI_OK; ++i) {
        uint64_t value = 0;
        if (present == NULL || (present[i >> 3] >> (i & 7) & 1)) {
            for (j = 0; j < r->value_bytes; ++j) {
                value = value << 8 | demi_next_byte(r, -1);
            }
        }
        demi_put(r, value);
    }
}
