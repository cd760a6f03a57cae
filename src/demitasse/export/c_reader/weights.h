/* The model of weights, which the files of codec 2 share. */
#ifndef DEMI_WEIGHTS_H
#define DEMI_WEIGHTS_H

#include "parts.h"

/* what is kept of a row, a column, a channel, or a place in the kernel */
typedef struct {
    uint64_t expected; /* in 1 / 65536 */
    uint32_t found;
    uint16_t symbol; /* the last one that is not zero */
    uint8_t history; /* the last eight decisions, the newest lowest */
} demi_line;

/* where the weights of inputs begin: those of presence, 3 rows of 21, then those of signs and of bits */
enum { DEMI_SIGNS = 3 * 21, DEMI_BITS = DEMI_SIGNS + 10, DEMI_WEIGHTS = DEMI_BITS + 10 };
enum { DEMI_ROW, DEMI_COLUMN, DEMI_CHANNEL, DEMI_PLACE, DEMI_LINES };

/* what is known when a weight is decoded */
typedef struct {
    demi_reader *r;
    demi_line *line[DEMI_LINES];      /* those of the weight */
    uint32_t at[DEMI_LINES];          /* their numbers */
    uint16_t *now, *above;            /* symbols of this row, and of the one before, from the weight on */
    uint32_t columns, group, side, x; /* x: the column in the kernel */
    uint32_t i, found, near;          /* weights, and those not zero: of all, and of this channel of the row */
    uint16_t left, over, last;        /* symbols: in the same kernel, and the last one that was not zero */
    uint8_t has_over;                 /* whether there is a line of the kernel above */
    uint8_t *present;                 /* a bit for each weight; NULL if they have symbols */
    int32_t *unit;                    /* of each unit that columns come from; NULL if the matrix is not linked */
    uint32_t span;                    /* columns that come from one unit */
    demi_line *lines[DEMI_LINES];
    uint32_t kinds[24];
    uint32_t *slots[24];           /* of each context: 14 of presence, 10 of symbols */
    int64_t weights[DEMI_WEIGHTS]; /* of inputs: of presence, by the weights found in the channel; of signs; of bits */
} demi_weights;

unsigned demi_presence(demi_weights *m); /* whether the weight is not zero */
uint16_t demi_symbol(demi_weights *m);   /* of a weight that is not zero */

#endif
