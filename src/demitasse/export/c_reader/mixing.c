/* Arithmetic coding, and mixing of the probabilities that contexts give. */
#include "parts.h"

#define SEEN 1023u /* the bits of a slot that count its observations */

/* The page computes with e(k); its inverse, u = e^(-k / 1024) with 64 bits, gives the same tables. */
void demi_make_tables(demi_reader *r)
{
    uint64_t u = 0xFFFFFFFFFFFFFFFFu;
    uint32_t k, m = 0, p, below = 0, at_most;
    for (k = 0; k <= DEMI_LARGEST; ++k) {
        /* 2^63 / (2^46 + 2^46 u) is 2^17 / (1 + u) */
        const uint32_t twice = (uint32_t)(((uint64_t)1 << 63) / (((uint64_t)1 << 46) + (u >> 18)));
        const uint32_t rounded = (twice + 1) >> 1;
        r->squash[k] = (uint16_t)(rounded - (rounded >> 16)); /* at most 65535 */
        /* log(m) is the first k whose e(k) is not below 1 + m / 1024: whose u (1024 + m) is at most 1024 */
        while (m < 1024 && (u >> 11) * (1024 + m) >> 53 < 1024) {
            r->log[m++] = (uint16_t)k;
        }
        u -= (u >> 10) - (u >> 21) + ((u >> 31) - (u >> 43)) / 3; /* the series of e^(-1 / 1024) */
    }
    for (p = 1; p < 65536; ++p) {
        at_most = below;
        while (at_most <= 2 * DEMI_LARGEST && demi_squash(r, (int64_t)at_most - DEMI_LARGEST) <= p) {
            ++at_most;
        }
        r->logit[p] = (int16_t)((int32_t)((below + at_most) >> 1) - DEMI_LARGEST);
        below = at_most;
    }
    r->logit[0] = r->logit[1];
}

uint32_t demi_squash(const demi_reader *r, int64_t x)
{
    const uint64_t size = x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
    const uint32_t found = r->squash[size > DEMI_LARGEST ? DEMI_LARGEST : size];
    return x < 0 ? 65536 - found : found;
}

int32_t demi_log(const demi_reader *r, uint64_t x)
{
    int32_t bits = 10;
    for (; x >= 2048; x >>= 1) {
        ++bits;
    }
    for (; x < 1024; x <<= 1) {
        --bits;
    }
    return r->log[x - 1024] + ((bits * 726817) >> 10);
}

/* Begins a stream, if that has not been done. */
void demi_start(demi_reader *r)
{
    unsigned i;
    if (r->started || r->status != DEMI_OK) {
        return;
    }
    while (r->stream_end != r->stream && r->stream_end[-1] == 0) {
        --r->stream_end; /* zeros are read after the end in any case */
    }
    r->started = 1;
    r->only_ones = 0;
    r->behind = 0;
    r->range = 0xFFFFFFFFu;
    for (i = 0; i < 4; ++i) {
        demi_shift(r);
    }
    if (r->code == r->range) {
        r->status |= DEMI_WRONG;
    }
}

void demi_expect_more(demi_reader *r)
{
    if (r->stream == r->stream_end) {
        if (r->code == 0) {
            r->only_ones = 1;
        } else if (r->behind > 64) {
            r->status |= DEMI_WRONG;
        }
    }
}

static unsigned decode(demi_reader *r, uint32_t p)
{
    const uint32_t bound = (r->range >> 16) * p;
    const unsigned bit = r->code < bound;
    if (bit) {
        r->range = bound;
    } else {
        r->code -= bound;
        r->range -= bound;
    }
    while (r->range < 0x1000000) {
        r->range <<= 8;
        demi_shift(r);
    }
    return bit;
}

unsigned demi_decide(demi_reader *r, demi_decision *to)
{
    uint64_t sum = 0; /* may only overflow in streams that no encoder writes, and then as it does in two's complement */
    int64_t error;
    uint32_t p;
    unsigned j, bit;
    for (j = 0; j < to->inputs; ++j) {
        if (j < to->slots) {
            uint32_t *slot = to->slot[j];
            if ((*slot & SEEN) == 0) {
                *slot = demi_squash(r, to->base) << 16;
            }
            to->input[j] = r->logit[*slot >> 16] - to->base;
        }
        sum += (uint64_t)to->weights[j] * (uint64_t)(int64_t)to->input[j];
    }
    p = demi_squash(r, to->base + ((int64_t)sum >> 16));
    if (to->known != 0) {
        bit = to->known >> 7 & 1;
        to->known <<= 1;
    } else {
        bit = decode(r, p);
    }
    error = (int64_t)((int32_t)(bit << 16) - (int32_t)p) * to->pace;
    for (j = 0; j < to->inputs; ++j) {
        to->weights[j] += (error * to->input[j] + (1 << 29)) >> 30;
        if (j < to->slots) {
            uint32_t *slot = to->slot[j];
            const uint32_t n = *slot & SEEN;
            const int32_t rate = 131072 / (int32_t)(2 * (n + to->ease) + 3), estimate = (int32_t)(*slot >> 10);
            const int64_t change = (int64_t)((int32_t)(bit << 22) - estimate) * rate >> 16;
            *slot += ((uint32_t)change << 10) + (n < to->limit);
        }
    }
    return bit;
}
