/* Codec 2: a matrix row by row. */
#include "weights.h"

static const int32_t first_weights[31 + 21] = {
    -21561, -5571, -4456, -328, -4719, 14549, 5308, 8192, 6685, -1638, 3604, 5636, 1114, 459,
    44958, 24445, 25559, 7602, 49611, 29950, 63177,
    -20840, -9634, -6423, -6554, 6423, 4915, 6947, 70451, 16253, -1114,
    -3080, 6226, -1311, 786, 1966, 6357, 1573, 18940, 8651, 23986,
};

/* Finds the excess of each unit that the columns come from, by the counts of the matrix before. */
static void find_units(demi_weights *m)
{
    demi_reader *r = m->r;
    const uint32_t number = r->units;
    int32_t everywhere;
    uint32_t u;
    if (number == 0 || m->columns % number != 0) {
        r->status |= DEMI_WRONG;
        return;
    }
    m->span = m->columns / number;
    m->unit = (int32_t *)demi_give(r, number, 4);
    everywhere = demi_log(r, 2 * (uint64_t)r->found + number) - demi_log(r, number);
    for (u = 0; u < number && r->status == DEMI_OK; ++u) {
        m->unit[u] = demi_log(r, 2 * (uint64_t)r->counts[u] + 1) - everywhere;
    }
}

/* Makes the memory of an untrained model. */
static void begin(demi_weights *m, uint32_t rows)
{
    /* of each context: what there are slots for, and the binary logarithm of their number for each of those, or more;
     * symbols have 16 slots for each */
    enum { ROWS = 16 * DEMI_ROW, COLUMNS = 16 * DEMI_COLUMN, CHANNELS = 16 * DEMI_CHANNEL, PLACES = 16 * DEMI_PLACE,
           ONE = 16 * DEMI_LINES };
    static const uint8_t sizes[24] = {
        ONE, ROWS, COLUMNS, ONE + 8, ONE + 8, ONE + 9, ONE + 8, ONE + 8, ONE + 8, ONE + 8, PLACES + 2, CHANNELS,
        ONE + 10, ROWS + 3, /* 14 of presence, and 10 of symbols */
        ONE, ROWS, COLUMNS, CHANNELS, PLACES, ONE + 4, ONE + 4, ONE + 7, ONE + 5, ONE + 6,
    };
    const uint32_t factors[5] = {rows, m->columns, m->columns / m->group, m->group, 1};
    unsigned j;
    for (j = 0; j < 24; ++j) {
        const uint64_t kinds = (uint64_t)factors[sizes[j] >> 4] << (sizes[j] & 15);
        const uint64_t size = j < 14 ? kinds : kinds * 16 + ((uint64_t)1 << m->r->settings.depth);
        m->kinds[j] = (uint32_t)kinds;
        m->slots[j] = (uint32_t *)demi_give(m->r, size, 4);
    }
    for (j = 0; j < DEMI_WEIGHTS; ++j) {
        m->weights[j] = first_weights[j < DEMI_SIGNS ? j % 21 : j - 42];
    }
    for (j = DEMI_COLUMN; j < DEMI_LINES; ++j) {
        m->lines[j] = (demi_line *)demi_give(m->r, factors[j], sizeof(demi_line));
    }
}

/* Decodes a row of symbols; those after the end of the stream are all the same. */
static void decode_row(demi_weights *m, uint16_t *now, uint16_t *above)
{
    demi_reader *r = m->r;
    const demi_settings *settings = &r->settings;
    const uint16_t last = (uint16_t)(1u << settings->depth << settings->is_signed);
    uint32_t *at = m->at;
    demi_line row = {0, 0, 0, 0};
    unsigned j;
    m->line[DEMI_ROW] = &row;
    at[DEMI_CHANNEL] = at[DEMI_PLACE] = m->x = m->near = 0;
    for (at[DEMI_COLUMN] = 0; at[DEMI_COLUMN] < m->columns && r->status == DEMI_OK; ++at[DEMI_COLUMN]) {
        uint16_t symbol = 0;
        if (m->i % 16384 == 0 && (last > 1 || settings->zeros)) { /* else there is no decision */
            demi_expect_more(r);
        }
        for (j = DEMI_COLUMN; j < DEMI_LINES; ++j) {
            m->line[j] = m->lines[j] + at[j];
        }
        m->now = now++;
        m->above = above++;
        m->has_over = at[DEMI_PLACE] >= m->side;
        m->left = m->x != 0 ? m->now[-1] : 0;
        m->over = m->has_over ? *(m->now - m->side) : 0;
        if (r->only_ones) {
            symbol = last;
        } else if (!settings->zeros || demi_presence(m)) {
            symbol = demi_symbol(m);
        }
        *m->now = symbol;
        if (symbol != 0) {
            m->last = symbol;
            for (j = 0; j < DEMI_LINES; ++j) {
                m->line[j]->symbol = symbol;
                ++m->line[j]->found;
            }
            ++m->found;
            ++m->near;
        }
        if (m->present == NULL) {
            demi_put(r, demi_value(r, symbol, m->i));
        } else {
            m->present[m->i >> 3] |= (uint8_t)((symbol != 0) << (m->i & 7));
        }
        ++m->i;
        ++m->x;
        if (++at[DEMI_PLACE] == m->group) {
            ++at[DEMI_CHANNEL];
            at[DEMI_PLACE] = m->near = 0;
            m->x = m->side;
        }
        if (m->x == m->side) {
            m->x = 0;
        }
    }
    if (m->columns > 1) {
        r->counts[at[DEMI_ROW]] = row.found;
        r->units = at[DEMI_ROW] + 1;
        r->found = m->found;
    }
}

void demi_read_weights(demi_reader *r)
{
    const uint32_t rows = (uint32_t)r->tensor.shape[0], columns = (uint32_t)r->columns;
    const uint64_t before = (uint64_t)r->settings.group + 1; /* zeros before a row, for weights that are not there */
    demi_weights *m = (demi_weights *)demi_give(r, 1, sizeof(demi_weights));
    uint16_t *now = (uint16_t *)demi_give(r, before + columns, 2), *above, *other;
    above = (uint16_t *)demi_give(r, before + columns, 2);
    if (r->status != DEMI_OK) {
        return;
    }
    now += (size_t)before;
    above += (size_t)before;
    m->r = r;
    m->columns = columns;
    m->group = r->settings.group;
    m->side = r->settings.side;
    if (r->settings.linked) {
        find_units(m);
    }
    if (r->settings.kind == 2) {
        m->present = (uint8_t *)demi_give(r, (r->tensor.size + 7) >> 3, 1);
    }
    begin(m, rows);
    for (; m->at[DEMI_ROW] < rows && r->status == DEMI_OK; ++m->at[DEMI_ROW]) {
        decode_row(m, now, above);
        other = above;
        above = now;
        now = other;
    }
    if (m->present != NULL && r->status == DEMI_OK) {
        demi_read_numbers(r, m->present, m->found);
    }
}
