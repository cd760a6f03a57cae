/* The model of weights: which symbol does a weight have that is not zero? */
#include "weights.h"

uint16_t demi_symbol(demi_weights *m)
{
    const unsigned is_signed = m->r->settings.is_signed, most = m->r->settings.depth;
    /* symbols that tell something about this one */
    const uint16_t symbols[5] = {m->last, m->line[DEMI_COLUMN]->symbol, m->line[DEMI_CHANNEL]->symbol, m->left,
                                 m->over};
    uint32_t node = 1 - is_signed, sign = 0, j, told[5], kind[10];
    demi_decision to;
    unsigned depth;
    kind[0] = 0;
    for (j = 0; j < DEMI_LINES; ++j) {
        kind[1 + j] = m->at[j];
    }
    to.slots = to.inputs = 10;
    to.ease = 0;
    to.limit = 116;
    to.known = 0;
    to.pace = 2831 * 1250 / (int32_t)(1250 + m->found);
    for (depth = 1 - is_signed; depth <= most; ++depth) {
        for (j = 0; j < 5; ++j) {
            const uint32_t number = symbols[j] - 1u;
            const uint32_t tells = depth == 0 ? number & 1 : number >> is_signed >> (most > 3 ? most - 3 : 0);
            told[j] = symbols[j] == 0 ? 0 : 1 + tells;
        }
        kind[5] = told[0];
        kind[6] = told[1];
        kind[7] = told[3] * 10 + told[4];
        kind[8] = told[2] * 2 + sign;
        kind[9] = (told[3] + told[4]) * 2 + sign;
        for (j = 0; j < 10; ++j) {
            to.slot[j] = m->slots[14 + j] + (size_t)(node < 16 ? kind[j] : m->kinds[14 + j]) * 16 + node;
        }
        to.weights = m->weights + (depth == 0 ? DEMI_SIGNS : DEMI_BITS);
        to.base = *to.slot[0] == 0 ? 0 : m->r->logit[*to.slot[0] >> 16];
        j = demi_decide(m->r, &to);
        node = depth == 0 ? 1 : 2 * node + j;
        sign = depth == 0 ? j : sign;
    }
    return (uint16_t)(1 + ((node - (1u << most)) << is_signed | sign));
}
