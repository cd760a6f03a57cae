/* The model of bytes: the header, and numbers, the most significant byte first. */
#include "parts.h"

/* Begins to decode a count of bytes, of numbers of a width. */
void demi_bytes_begin(demi_reader *r, uint64_t count, unsigned width)
{
    static const uint16_t weights[7] = {13107, 16384, 19661, 19661, 19661, 6554, 13107};
    demi_bytes *model = (demi_bytes *)demi_give(r, 1, sizeof(demi_bytes));
    unsigned j;
    if (model == NULL) {
        return;
    }
    r->bytes = model;
    model->bits = 3 + demi_bit_length(count >> 16 != 0 ? 65536 : (uint32_t)count | 64); /* from 10 to 20 */
    model->slots = (uint32_t *)demi_give(r, (uint64_t)7 << model->bits, 4);
    for (j = 0; j < 35; ++j) {
        model->weights[j] = weights[j % 7];
    }
    model->width = width;
}

unsigned demi_next_byte(demi_reader *r, uint32_t known)
{
    demi_bytes *model = r->bytes;
    uint8_t *same = model->number + model->place;
    uint32_t context[7];
    demi_decision to;
    unsigned node, row, j;
    if (known == 0) {
        if (model->count++ % 2048 == 0) {
            demi_expect_more(r);
        }
        if (r->only_ones) {
            return 255;
        }
    }
    to.pace = 4194;
    to.base = 0;
    to.known = known;
    to.limit = 250;
    to.slots = to.inputs = 7;
    to.ease = 0;
    context[0] = 0;
    for (j = 1; j < 5; ++j) {
        context[j] = (model->newest & 0xFFFFFFFFu >> (32 - 8 * j)) + 1;
    }
    context[5] = *same + 1u;
    context[6] = context[5] + 256 * (model->newest & 255);
    for (node = 1; node < 256;) {
        for (j = row = 0; j < 7; ++j) {
            const uint32_t mixed = (context[j] << 11 | model->place << 8 | node) * 2654435761u;
            to.slot[j] = model->slots + ((size_t)j << model->bits);
            to.slot[j] += (mixed ^ mixed >> 15) & (((uint32_t)1 << model->bits) - 1);
            row = j < 5 && *to.slot[j] != 0 ? j : row;
        }
        to.weights = model->weights + 7 * row;
        node = 2 * node + demi_decide(r, &to);
    }
    *same = (uint8_t)node;
    model->newest = model->newest << 8 | *same;
    model->place = model->place + 1 == model->width ? 0 : model->place + 1;
    return *same;
}

/* Reads all values of the tensor: zeros, and a count of numbers, one for each bit of present, or for each value. */
void demi_read_numbers(demi_reader *r, const uint8_t *present, uint64_t count)
{
    uint64_t i;
    unsigned j;
    if (count != 0) {
        demi_bytes_begin(r, count * r->type.size, r->type.size);
    }
    for (i = 0; i < r->tensor.size && r->status == DEMI_OK; ++i) {
        uint64_t value = 0;
        if (count != 0 && (present == NULL || (present[i >> 3] >> (i & 7) & 1))) {
            for (j = 0; j < r->type.size; ++j) {
                value = value << 8 | demi_next_byte(r, 0);
            }
        }
        demi_put(r, value);
    }
}
