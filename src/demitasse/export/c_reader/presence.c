/* The model of weights: is a weight zero? */
#include "weights.h"

static int32_t excess_of(const demi_weights *m, const demi_line *of, uint32_t ahead)
{
    return demi_log(m->r, ((uint64_t)of->found << 16) + ahead) - demi_log(m->r, of->expected + ahead);
}

/* that of the columns around in the kernel */
static int32_t excess_around(const demi_weights *m)
{
    const demi_line *here = m->line[DEMI_COLUMN];
    demi_line sum = {0, 0, 0, 0};
    unsigned j;
    for (j = 0; j < 4; ++j) {
        const int32_t away = (j & 1 ? 1 : -1) * (j & 2 ? (int32_t)m->side : 1);
        if (m->at[DEMI_PLACE] + (uint32_t)away < m->group && (j & 2 || m->x + (uint32_t)away < m->side)) {
            sum.expected += here[away].expected;
            sum.found += here[away].found;
        }
    }
    return excess_of(m, &sum, 3000);
}

static uint32_t least_of(uint32_t one, uint32_t other)
{
    return one < other ? one : other;
}

static uint32_t level(int32_t x)
{
    const int32_t found = 8 + ((x * 2954 + (1 << 19)) >> 20);
    return found < 0 ? 0 : least_of((uint32_t)found, 15);
}

static uint32_t step(uint32_t n)
{
    uint32_t twice = 0;
    for (; n >= 4; n >>= 1) {
        twice += 2;
    }
    return least_of(twice + n, 15);
}

unsigned demi_presence(demi_weights *m)
{
    static const uint32_t ahead[DEMI_LINES] = {37683, 445000, 131500, 826800};
    const uint16_t *over = m->now - m->side;
    const unsigned many = m->group > 1;
    const uint32_t few = least_of(m->near, 3);
    demi_line *column = m->line[DEMI_COLUMN];
    uint32_t row, channel, both, pattern, behind, close, j, bit;
    demi_decision to;
    int32_t *more = to.input + 14, sums[DEMI_LINES];
    uint32_t context[14];
    for (j = 0; j < DEMI_LINES; ++j) {
        more[j] = j < DEMI_CHANNEL || many ? excess_of(m, m->line[j], ahead[j]) : 0;
    }
    more[4] = m->unit == NULL ? 0 : m->unit[m->at[DEMI_COLUMN] / m->span];
    more[5] = many ? excess_around(m) : 0;
    more[6] = 307;
    row = level(more[0]);
    channel = level(more[2]);
    both = level(more[1] + more[2]);
    pattern = (m->left != 0) + 2u * (m->over != 0);
    if (m->has_over) {
        pattern += 4u * (m->x != 0 && over[-1] != 0) + 8u * (m->x + 1 < m->side && over[1] != 0);
    }
    behind = *(m->now - m->group) != 0;
    close = (m->now[-1] != 0) + 2u * (m->now[-2] != 0) + 4u * (*m->above != 0);
    context[0] = 0;
    context[1] = m->at[DEMI_ROW];
    context[2] = m->at[DEMI_COLUMN];
    context[3] = row * 16 + both;
    context[4] = level(more[1]) * 16 + channel;
    context[5] = (pattern + 16 * behind) * 16 + row;
    context[6] = (close + 8 * behind) * 16 + both;
    context[7] = level(more[4]) * 16 + both;
    context[8] = step(column->found) * 16 + step(m->line[DEMI_ROW]->found);
    context[9] = column->history;
    context[10] = m->at[DEMI_PLACE] * 4 + few;
    context[11] = m->at[DEMI_CHANNEL];
    context[12] = (few * 16 + row) * 16 + channel;
    context[13] = m->at[DEMI_ROW] * 8 + few * 2 + (m->at[DEMI_PLACE] != 0);
    for (j = 0; j < 14; ++j) {
        to.slot[j] = m->slots[j] + context[j];
    }
    to.weights = m->weights + 21 * (many ? least_of(few, 2) : 0);
    to.pace = 734 + 892175 / (int32_t)(127 + m->found);
    to.base = demi_log(m->r, ((uint64_t)m->found << 16) + 32768) -
              demi_log(m->r, ((uint64_t)(m->i - m->found) << 16) + 648806);
    to.slots = 14;
    to.inputs = 21;
    to.ease = 5;
    to.limit = 1000;
    to.known = 0;
    bit = demi_decide(m->r, &to);
    sums[DEMI_ROW] = more[1] + more[2];
    sums[DEMI_COLUMN] = sums[DEMI_PLACE] = more[0] + more[2];
    sums[DEMI_CHANNEL] = more[0] + more[3];
    for (j = 0; j < DEMI_LINES; ++j) {
        m->line[j]->expected += demi_squash(m->r, to.base + sums[j]);
    }
    column->history = (uint8_t)(2u * column->history + bit);
    return bit;
}
