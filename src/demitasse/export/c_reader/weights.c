/* The model of weights: a matrix row by row; is a weight zero, and if not, which number has it? */
#include "parts.h"

/* what is kept of a column, a channel, or a place in the kernel */
typedef struct {
    uint64_t expected; /* in 1 / 65536 */
    uint32_t found;
    uint16_t symbol; /* the last one that is not zero */
    uint8_t history; /* the last eight decisions, the newest lowest */
} line;

typedef struct {
    demi_reader *r;
    line *column, *channel, *place; /* those of the weight that is next */
    uint16_t *now, *above;          /* symbols of this row, and of the one before, from the weight on */
    uint32_t row, c, in_channel, in_place, x;
    uint32_t columns, group, side, span; /* span: columns that come from one unit */
    uint32_t i, found, in_row, near;
    uint64_t expected_in_row;
    int32_t *unit; /* NULL if the matrix is not linked */
    uint16_t last;
    uint8_t up; /* whether there is a line of the kernel above */
    line *lines, *channels, *places;
    uint32_t kinds[24];
    uint32_t *slots[24]; /* of each context: 14 of presence, 10 of values */
    int64_t weights[5][21]; /* of presence, by the weights found in the channel; of signs; of bits */
} model;

static const int32_t first_weights[31 + 21] = {
    -21561, -5571, -4456, -328, -4719, 14549, 5308, 8192, 6685, -1638, 3604, 5636, 1114, 459,
    44958, 24445, 25559, 7602, 49611, 29950, 63177,
    -20840, -9634, -6423, -6554, 6423, 4915, 6947, 70451, 16253, -1114,
    -3080, 6226, -1311, 786, 1966, 6357, 1573, 18940, 8651, 23986,
};

static int32_t excess(const model *m, uint64_t found, uint64_t expected, uint32_t ahead)
{
    return demi_log(m->r->tables, (found << 16) + ahead) - demi_log(m->r->tables, expected + ahead);
}

static int32_t excess_of(const model *m, const line *of, uint32_t ahead)
{
    return excess(m, of->found, of->expected, ahead);
}

/* that of the columns around in the kernel */
static int32_t excess_around(const model *m)
{
    const line *here = m->column;
    line sum = {0, 0, 0, 0};
    const uint32_t side = m->side;
    const uint8_t is_there[4] = {m->x != 0, m->x + 1 < side && m->in_place + 1 < m->group, m->up,
                                 m->in_place + side < m->group};
    unsigned j;
    for (j = 0; j < 4; ++j) {
        if (is_there[j]) {
            const size_t away = j < 2 ? 1 : side;
            const line *other = j & 1 ? here + away : here - away;
            sum.expected += other->expected;
            sum.found += other->found;
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
    const int32_t found = 8 + (int32_t)(((int64_t)x * 2954 + (1 << 19)) >> 20);
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

static unsigned presence(model *m)
{
    const demi_tables *tables = m->r->tables;
    const uint16_t *here = m->now, *over = here - m->side;
    const unsigned many = m->group > 1;
    const uint32_t few = least_of(m->near, 3);
    line *column = m->column;
    uint32_t row, channel, both, pattern, behind, close, j, expected, bit;
    demi_decision to;
    int32_t *more = to.input + 14;
    uint32_t context[14];
    more[0] = excess(m, m->in_row, m->expected_in_row, 37683);
    more[1] = excess_of(m, column, 445000);
    more[2] = many ? excess_of(m, m->channel, 131500) : 0;
    more[3] = many ? excess_of(m, m->place, 826800) : 0;
    more[4] = m->unit == NULL ? 0 : m->unit[m->c / m->span];
    more[5] = many ? excess_around(m) : 0;
    more[6] = 307;
    row = level(more[0]);
    channel = level(more[2]);
    both = level(more[1] + more[2]);
    pattern = m->x != 0 && here[-1] != 0;
    if (m->up) {
        pattern += 2u * (over[0] != 0) + 4u * (m->x != 0 && over[-1] != 0);
        pattern += 8u * (m->x + 1 < m->side && over[1] != 0);
    }
    behind = m->c >= m->group && *(here - m->group) != 0;
    close = (m->c != 0 && here[-1] != 0) + 2u * (m->c > 1 && here[-2] != 0) + 4u * (*m->above != 0);
    context[0] = 0;
    context[1] = m->row;
    context[2] = m->c;
    context[3] = row * 16 + both;
    context[4] = level(more[1]) * 16 + channel;
    context[5] = (pattern + 16 * behind) * 16 + row;
    context[6] = (close + 8 * behind) * 16 + both;
    context[7] = level(more[4]) * 16 + both;
    context[8] = step(column->found) * 16 + step(m->in_row);
    context[9] = column->history;
    context[10] = m->in_place * 4 + few;
    context[11] = m->in_channel;
    context[12] = (few * 16 + row) * 16 + channel;
    context[13] = m->row * 8 + few * 2 + (m->in_place != 0);
    for (j = 0; j < 14; ++j) {
        to.slot[j] = m->slots[j] + context[j];
    }
    to.weights = m->weights[many ? least_of(few, 2) : 0];
    to.pace = 734 + 892175 / (int32_t)(127 + m->found);
    to.base = demi_log(tables, ((uint64_t)m->found << 16) + 32768);
    to.base -= demi_log(tables, ((uint64_t)(m->i - m->found) << 16) + 648806);
    to.slots = 14;
    to.inputs = 21;
    to.ease = 5;
    to.limit = 1000;
    to.known = -1;
    bit = demi_decide(m->r, &to);
    expected = demi_squash(tables, to.base + more[0] + more[2]);
    column->expected += expected;
    m->place->expected += expected;
    m->expected_in_row += demi_squash(tables, to.base + more[1] + more[2]);
    m->channel->expected += demi_squash(tables, to.base + more[0] + more[3]);
    column->history = (uint8_t)(2u * column->history + bit);
    return bit;
}

/* Decodes a weight that is not zero; returns its symbol. */
static uint16_t value(model *m)
{
    const unsigned is_signed = m->r->settings.is_signed, most = m->r->settings.depth;
    /* symbols that tell something about this one */
    const uint16_t symbols[5] = {m->last, m->column->symbol, m->channel->symbol,
                                 (uint16_t)(m->x != 0 ? m->now[-1] : 0), (uint16_t)(m->up ? *(m->now - m->side) : 0)};
    uint32_t node = 1 - is_signed, sign = 0, j, told[5], kind[10];
    demi_decision to;
    unsigned depth;
    kind[0] = 0;
    kind[1] = m->row;
    kind[2] = m->c;
    kind[3] = m->in_channel;
    kind[4] = m->in_place;
    to.slots = to.inputs = 10;
    to.ease = 0;
    to.limit = 116;
    to.known = -1;
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
        to.weights = m->weights[depth == 0 ? 3 : 4];
        to.base = *to.slot[0] == 0 ? 0 : m->r->tables->logit[*to.slot[0] >> 16];
        j = demi_decide(m->r, &to);
        node = depth == 0 ? 1 : 2 * node + j;
        sign = depth == 0 ? j : sign;
    }
    return (uint16_t)(1 + ((node - (1u << most)) << is_signed | sign));
}

/* Finds the excess of each unit that the columns come from, by the counts of the matrix before. */
static void find_units(model *m)
{
    const demi_reader *r = m->r;
    const uint32_t number = r->units;
    int32_t everywhere;
    uint64_t sum = 0;
    uint32_t u;
    if (number == 0 || m->columns % number != 0) {
        demi_fail(m->r, DEMI_PAYLOAD);
        return;
    }
    m->span = m->columns / number;
    m->unit = (int32_t *)demi_give(m->r, number, 4);
    for (u = 0; u < number; ++u) {
        sum += r->counts[u];
    }
    everywhere = demi_log(r->tables, 2 * sum + number) - demi_log(r->tables, number);
    for (u = 0; u < number && r->status == DEMI_OK; ++u) {
        m->unit[u] = demi_log(r->tables, 2 * (uint64_t)r->counts[u] + 1) - everywhere;
    }
}

/* Makes the memory of an untrained model. */
static void begin(model *m, uint64_t rows)
{
    /* of presence the binary logarithm of the slots of a context, of values its kinds; both for each of those below */
    enum { ONE, ROWS, COLUMNS, CHANNELS, GROUP };
    static const uint8_t sizes[24][2] = {
        {0, ONE}, {0, ROWS}, {0, COLUMNS}, {8, ONE}, {8, ONE}, {9, ONE}, {8, ONE}, {8, ONE},
        {8, ONE}, {8, ONE}, {2, GROUP}, {0, CHANNELS}, {10, ONE}, {3, ROWS},
        {1, ONE}, {1, ROWS}, {1, COLUMNS}, {1, CHANNELS}, {1, GROUP},
        {10, ONE}, {10, ONE}, {100, ONE}, {20, ONE}, {40, ONE},
    };
    const demi_settings *settings = &m->r->settings;
    const uint32_t channels = m->columns / m->group;
    const uint64_t factors[5] = {1, rows, m->columns, channels, m->group};
    unsigned j;
    for (j = 0; j < 24; ++j) {
        uint64_t size = (j < 14 ? 1u << sizes[j][0] : sizes[j][0]) * factors[sizes[j][1]];
        m->kinds[j] = (uint32_t)size;
        size = j < 14 ? size * settings->zeros : size * 16 + ((uint64_t)1 << settings->depth);
        m->slots[j] = (uint32_t *)demi_give(m->r, size, 4);
    }
    for (j = 0; j < 105; ++j) {
        m->weights[j / 21][j % 21] = first_weights[j % 21 + (j < 63 ? 0 : j < 84 ? 21 : 31)];
    }
    m->lines = (line *)demi_give(m->r, m->columns, sizeof(line));
    m->channels = (line *)demi_give(m->r, channels, sizeof(line));
    m->places = (line *)demi_give(m->r, m->group, sizeof(line));
}

/* Decodes a row of symbols; those after the end of the stream are all the same. */
static void decode_row(model *m, uint16_t *now, uint16_t *above)
{
    demi_reader *r = m->r;
    const demi_settings *settings = &r->settings;
    const uint32_t most = (2u << settings->depth << settings->is_signed >> 1) - 1;
    const unsigned constant = most == 0 && !settings->zeros;
    m->in_channel = m->in_place = m->x = m->near = m->in_row = 0;
    m->expected_in_row = 0;
    for (m->c = 0; m->c < m->columns && r->status == DEMI_OK; ++m->c, ++m->i) {
        uint16_t symbol = 0;
        if (m->i % 16384 == 0 && !constant) {
            demi_expect_more(r);
        }
        m->up = m->in_place >= m->side;
        m->column = m->lines + m->c;
        m->channel = m->channels + m->in_channel;
        m->place = m->places + m->in_place;
        m->now = now + m->c;
        m->above = above + m->c;
        if (r->only_ones || constant) {
            symbol = (uint16_t)(1 + most);
        } else if (!settings->zeros || presence(m)) {
            symbol = value(m);
        }
        *m->now = symbol;
        if (symbol != 0) {
            m->last = m->column->symbol = m->channel->symbol = symbol;
            ++m->column->found;
            ++m->channel->found;
            ++m->place->found;
            ++m->found;
            ++m->in_row;
            ++m->near;
        }
        if (++m->x == m->side) {
            m->x = 0;
        }
        if (++m->in_place == m->group) {
            ++m->in_channel;
            m->in_place = m->x = m->near = 0;
        }
    }
}

void demi_read_weights(demi_reader *r)
{
    const uint64_t rows = demi_rows(&r->tensor);
    const uint32_t columns = (uint32_t)demi_columns(&r->tensor);
    uint32_t *counts = NULL, c;
    uint8_t *present = NULL;
    uint16_t *now, *above, *other;
    uint64_t i = 0;
    model m;
    m.r = r;
    m.columns = columns;
    m.group = (uint32_t)r->settings.group;
    m.side = (uint32_t)r->settings.side;
    m.i = m.found = 0;
    m.last = 0;
    m.unit = NULL;
    if (r->settings.linked) {
        find_units(&m);
    }
    if (columns > 1 && r->status == DEMI_OK) {
        /* the counts for the next tensor lie at the end of the memory, where those of the last one are free now */
        uint8_t *free = r->free;
        r->end += ((size_t)r->units * 4 + 7) & ~(size_t)7;
        r->units = 0;
        counts = (uint32_t *)demi_give(r, rows, 4);
        if (counts == NULL) {
            return;
        }
        r->end -= r->free - free;
        r->free = free;
        r->counts = counts = (uint32_t *)(void *)r->end;
        r->units = (uint32_t)rows;
    }
    begin(&m, rows);
    now = (uint16_t *)demi_give(r, columns, 2);
    above = (uint16_t *)demi_give(r, columns, 2);
    if (r->settings.kind == 2) {
        present = (uint8_t *)demi_give(r, (r->tensor.size + 7) >> 3, 1);
    }
    for (m.row = 0; m.row < rows && r->status == DEMI_OK; ++m.row) {
        decode_row(&m, now, above);
        if (counts != NULL) {
            counts[m.row] = m.in_row;
        }
        for (c = 0; c < columns && r->status == DEMI_OK; ++c, ++i) {
            if (present == NULL) {
                demi_put(r, demi_value(r, now[c], i));
            } else {
                present[i >> 3] |= (uint8_t)((now[c] != 0) << (i & 7));
            }
        }
        other = above;
        above = now;
        now = other;
    }
    if (present != NULL && r->status == DEMI_OK) {
        demi_read_numbers(r, present, m.found);
    }
}
