/* The model of bytes: the header, and numbers, the most significant byte first. */
#include "parts.h"

/* Begins to decode a count of bytes; width is the size of a number, 0 for the header, whose primer is counted, too. */
void demi_bytes_begin(demi_reader *r, uint64_t count, unsigned width)
{
    static const uint16_t weights[7] = {13107, 16384, 19661, 19661, 19661, 6554, 13107};
    demi_bytes *model = &r->bytes;
    unsigned j;
    count += width == 0 ? DEMI_PRIMER : 0;
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
    if (width == 0) {
        uint8_t *primer = (uint8_t *)demi_give(r, DEMI_PRIMER, 1);
        if (primer != NULL) {
            demi_make_primer(primer);
        }
        for (j = 0; j < DEMI_PRIMER && r->status == DEMI_OK; ++j) {
            demi_next_byte(r, primer[j]);
        }
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
