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
    const demi_tables *tables;
    struct demi_decoder *decoder;
    const demi_settings *settings;
    uint32_t columns, channels, group, side, span; /* span: columns that come from one unit */
    line *column, *channel, *place;
    uint16_t *now, *above;  /* symbols of this row, and of the one before */
    int32_t *unit;          /* NULL if the matrix is not linked */
    uint32_t *presence[14], *value[10];
    uint32_t kinds[10];
    int64_t weights[3][21], signs[10], bits[10];
    uint64_t expected_in_row;
    uint32_t i, row, found, in_row, near;
    uint16_t last;
} model;

/* where a weight is */
typedef struct {
    uint32_t c, channel, place, x;
    unsigned up; /* whether there is a line of the kernel above */
} position;

static const int32_t presence_weights[21] = {
    -21561, -5571, -4456, -328, -4719, 14549, 5308, 8192, 6685, -1638, 3604, 5636, 1114, 459,
    44958, 24445, 25559, 7602, 49611, 29950, 63177,
};
static const int32_t sign_weights[10] = {-20840, -9634, -6423, -6554, 6423, 4915, 6947, 70451, 16253, -1114};
static const int32_t bit_weights[10] = {-3080, 6226, -1311, 786, 1966, 6357, 1573, 18940, 8651, 23986};

static int32_t excess(const model *m, uint64_t found, uint64_t expected, uint32_t ahead)
{
    return demi_log(m->tables, (found << 16) + ahead) - demi_log(m->tables, expected + ahead);
}

/* that of the columns around in the kernel */
static int32_t excess_around(const model *m, const position *at)
{
    const line *here = m->column + at->c;
    const line *around[4];
    uint64_t expected = 0, found = 0;
    unsigned count = 0;
    if (at->x != 0) {
        around[count++] = here - 1;
    }
    if (at->x < m->side - 1 && at->place + 1 < m->group) {
        around[count++] = here + 1;
    }
    if (at->up) {
        around[count++] = here - m->side;
    }
    if (at->place + m->side < m->group) {
        around[count++] = here + m->side;
    }
    while (count-- != 0) {
        expected += around[count]->expected;
        found += around[count]->found;
    }
    return excess(m, found, expected, 3000);
}

static uint32_t level(int32_t x)
{
    const int64_t found = 8 + (((int64_t)x * 2954 + (1 << 19)) >> 20);
    return found < 0 ? 0 : found > 15 ? 15 : (uint32_t)found;
}

static uint32_t step(uint32_t n)
{
    uint32_t k = 0;
    for (; n >= 4; n >>= 1) {
        ++k;
    }
    return 2 * k + n < 15 ? 2 * k + n : 15;
}

static unsigned presence(model *m, const position *at)
{
    const uint16_t *here = m->now + at->c;
    const unsigned left = at->x != 0 && here[-1] != 0, many = m->group > 1;
    const uint32_t few = m->near < 3 ? m->near : 3;
    line *column = m->column + at->c, *channel = m->channel + at->channel, *place = m->place + at->place;
    const int32_t by_row = excess(m, m->in_row, m->expected_in_row, 37683);
    const int32_t by_column = excess(m, column->found, column->expected, 445000);
    const int32_t by_channel = many ? excess(m, channel->found, channel->expected, 131500) : 0;
    const int32_t by_place = many ? excess(m, place->found, place->expected, 826800) : 0;
    const int32_t by_unit = m->unit == NULL ? 0 : m->unit[at->c / m->span];
    const uint32_t row = level(by_row), in_channel = level(by_channel), both = level(by_column + by_channel);
    uint32_t pattern = left, behind, close, j, expected, bit;
    demi_decision to;
    if (at->up) {
        const uint16_t *above = here - m->side;
        pattern += 2u * (above[0] != 0);
        pattern += 4u * (at->x != 0 && above[-1] != 0);
        pattern += 8u * (at->x < m->side - 1 && above[1] != 0);
    }
    behind = at->c >= m->group && *(here - m->group) != 0;
    close = (at->c != 0 && here[-1] != 0) + 2u * (at->c > 1 && here[-2] != 0) + 4u * (m->above[at->c] != 0);
    {
        const uint32_t context[14] = {
            0,
            m->row,
            at->c,
            row * 16 + both,
            level(by_column) * 16 + in_channel,
            (pattern + 16 * behind) * 16 + row,
            (close + 8 * behind) * 16 + both,
            level(by_unit) * 16 + both,
            step(column->found) * 16 + step(m->in_row),
            column->history,
            at->place * 4 + few,
            at->channel,
            (few * 16 + row) * 16 + in_channel,
            m->row * 8 + few * 2 + (at->place != 0),
        };
        for (j = 0; j < 14; ++j) {
            to.slot[j] = m->presence[j] + context[j];
        }
    }
    to.input[14] = by_row;
    to.input[15] = by_column;
    to.input[16] = by_channel;
    to.input[17] = by_place;
    to.input[18] = by_unit;
    to.input[19] = many ? excess_around(m, at) : 0;
    to.input[20] = 307;
    to.weights = m->weights[many ? (m->near < 2 ? m->near : 2) : 0];
    to.pace = 734 + 892175 / (127 + (int64_t)m->found);
    to.base = demi_log(m->tables, ((uint64_t)m->found << 16) + 32768);
    to.base -= demi_log(m->tables, ((uint64_t)(m->i - m->found) << 16) + 648806);
    to.slots = 14;
    to.inputs = 21;
    to.ease = 5;
    to.limit = 1000;
    to.known = -1;
    bit = demi_decide(m->tables, m->decoder, &to);
    expected = demi_squash(m->tables, to.base + by_row + by_channel);
    m->expected_in_row += demi_squash(m->tables, to.base + by_column + by_channel);
    channel->expected += demi_squash(m->tables, to.base + by_row + by_place);
    column->expected += expected;
    place->expected += expected;
    column->history = (uint8_t)((unsigned)column->history << 1 | bit);
    return bit;
}

/* what a symbol tells about another's sign (depth 0) or magnitude */
static uint32_t told(const model *m, uint32_t symbol, unsigned depth)
{
    const demi_settings *settings = m->settings;
    if (symbol == 0) {
        return 0;
    }
    if (depth == 0) {
        return 1 + ((symbol - 1) & 1);
    }
    return 1 + ((symbol - 1) >> settings->is_signed >> (settings->depth > 3 ? settings->depth - 3 : 0));
}

/* Decodes a weight that is not zero; returns its symbol. */
static uint16_t value(model *m, const position *at)
{
    const unsigned is_signed = m->settings->is_signed, most = m->settings->depth;
    const uint32_t left = at->x != 0 ? m->now[at->c - 1] : 0, up = at->up ? m->now[at->c - m->side] : 0;
    uint32_t node = 1 - is_signed, sign = 0, j;
    unsigned depth, bit;
    for (depth = 1 - is_signed; depth <= most; ++depth) {
        const uint32_t beside = told(m, left, depth), above = told(m, up, depth);
        const uint32_t kind[10] = {
            0,
            m->row,
            at->c,
            at->channel,
            at->place,
            told(m, m->last, depth),
            told(m, m->column[at->c].symbol, depth),
            beside * 10 + above,
            told(m, m->channel[at->channel].symbol, depth) * 2 + sign,
            (beside + above) * 2 + sign,
        };
        demi_decision to;
        for (j = 0; j < 10; ++j) {
            to.slot[j] = m->value[j] + (size_t)(node < 16 ? kind[j] : m->kinds[j]) * 16 + node;
        }
        to.weights = depth == 0 ? m->signs : m->bits;
        to.pace = 2831 * 1250 / (1250 + (int64_t)m->found);
        to.base = *to.slot[0] == 0 ? 0 : m->tables->logit[*to.slot[0] >> 16];
        to.slots = to.inputs = 10;
        to.ease = 0;
        to.limit = 116;
        to.known = -1;
        bit = demi_decide(m->tables, m->decoder, &to);
        if (depth == 0) {
            node = 1;
            sign = bit;
        } else {
            node = 2 * node + bit;
        }
    }
    node -= (uint32_t)1 << most;
    return (uint16_t)(1 + (node << is_signed | sign));
}

/* Returns the excess of each unit that the columns come from; counts are those of the matrix before. */
static int32_t *units(const demi_file *file, demi_arena *arena)
{
    const uint32_t number = file->place.units, *counts = file->place.counts;
    int32_t *found = (int32_t *)demi_give(arena, number, 4);
    int32_t everywhere;
    uint64_t sum = 0;
    uint32_t u;
    if (found == NULL) {
        return NULL;
    }
    for (u = 0; u < number; ++u) {
        sum += counts[u];
    }
    everywhere = demi_log(file->tables, 2 * sum + number) - demi_log(file->tables, number);
    for (u = 0; u < number; ++u) {
        found[u] = demi_log(file->tables, 2 * (uint64_t)counts[u] + 1) - everywhere;
    }
    return found;
}

static int begin(model *m, demi_arena *arena, const demi_settings *settings, uint64_t rows, uint64_t columns)
{
    const uint64_t channels = columns / settings->group, nodes = (uint64_t)1 << settings->depth;
    const uint64_t slots[14] = {1, rows, columns, 256, 256, 512, 256, 256, 256, 256, 4 * settings->group, channels,
                                1024, 8 * rows};
    const uint64_t kinds[10] = {1, rows, columns, channels, settings->group, 10, 10, 100, 20, 40};
    unsigned j;
    uint8_t complete = 1;
    for (j = 0; j < 21; ++j) {
        m->weights[0][j] = m->weights[1][j] = m->weights[2][j] = presence_weights[j];
    }
    for (j = 0; j < 10; ++j) {
        m->signs[j] = sign_weights[j];
        m->bits[j] = bit_weights[j];
        m->kinds[j] = (uint32_t)kinds[j];
        m->value[j] = (uint32_t *)demi_give(arena, settings->kind == 2 ? 0 : kinds[j] * 16 + nodes, 4);
        complete &= m->value[j] != NULL;
    }
    for (j = 0; j < 14; ++j) {
        m->presence[j] = (uint32_t *)demi_give(arena, settings->zeros ? slots[j] : 0, 4);
        complete &= m->presence[j] != NULL;
    }
    m->column = (line *)demi_give(arena, columns, sizeof(line));
    m->channel = (line *)demi_give(arena, channels, sizeof(line));
    m->place = (line *)demi_give(arena, settings->group, sizeof(line));
    m->now = (uint16_t *)demi_give(arena, columns, 2);
    m->above = (uint16_t *)demi_give(arena, columns, 2);
    complete &= m->column != NULL && m->channel != NULL && m->place != NULL && m->now != NULL && m->above != NULL;
    m->settings = settings;
    m->columns = (uint32_t)columns;
    m->channels = (uint32_t)channels;
    m->group = (uint32_t)settings->group;
    m->side = (uint32_t)settings->side;
    m->i = m->found = 0;
    m->last = 0;
    return complete ? DEMI_OK : DEMI_ARENA;
}

/* Decodes a row into m->now; symbols after the end of the stream are all the same. */
static int decode_row(model *m)
{
    const demi_settings *settings = m->settings;
    const uint32_t most = (((uint32_t)1 << settings->depth) - 1) << settings->is_signed | settings->is_signed;
    const unsigned constant = most == 0 && !settings->zeros;
    position at;
    at.channel = at.place = at.x = 0;
    m->expected_in_row = 0;
    m->in_row = m->near = 0;
    for (at.c = 0; at.c < m->columns; ++at.c, ++m->i) {
        uint16_t symbol = 0;
        if (m->i % 16384 == 0 && !constant && demi_expect_more(m->decoder) != DEMI_OK) {
            return DEMI_PAYLOAD;
        }
        at.up = at.place >= m->side;
        if (m->decoder->ones || constant) {
            symbol = (uint16_t)(1 + most);
        } else if (!settings->zeros || presence(m, &at)) {
            symbol = value(m, &at);
        }
        m->now[at.c] = symbol;
        if (symbol != 0) {
            m->last = m->column[at.c].symbol = m->channel[at.channel].symbol = symbol;
            ++m->column[at.c].found;
            ++m->channel[at.channel].found;
            ++m->place[at.place].found;
            ++m->found;
            ++m->in_row;
            ++m->near;
        }
        at.x = at.x + 1 == m->side ? 0 : at.x + 1;
        if (++at.place == m->group) {
            ++at.channel;
            at.place = at.x = m->near = 0;
        }
    }
    return DEMI_OK;
}

/* Decodes the numbers that follow a matrix without a palette, one for each bit of present. */
static int decode_numbers(demi_file *file, demi_arena *arena, const uint8_t *present, uint64_t size, uint64_t found,
                          demi_sink *sink)
{
    demi_bytes bytes;
    uint8_t number[8];
    uint64_t i;
    unsigned j;
    int status = demi_bytes_begin(&bytes, file->tables, arena, found * sink->size, sink->size);
    for (i = 0; i < size && status == DEMI_OK; ++i) {
        if (present[i >> 3] >> (i & 7) & 1) {
            for (j = 0; j < sink->size && status == DEMI_OK; ++j) {
                status = demi_bytes_next(&bytes, &file->place.decoder, number + j);
            }
            demi_put(sink, status == DEMI_OK ? demi_big_endian(number, sink->size) : 0);
        } else {
            demi_put(sink, 0);
        }
    }
    return status;
}

int demi_read_weights(demi_file *file, demi_arena *arena, const demi_tensor *tensor, const demi_settings *settings,
                      demi_sink *sink)
{
    const uint64_t rows = demi_rows(tensor), columns = demi_columns(tensor);
    uint32_t *counts = NULL;
    uint8_t *present = NULL;
    uint64_t i = 0;
    uint32_t c;
    model m;
    int status;
    m.tables = file->tables;
    m.decoder = &file->place.decoder;
    m.unit = NULL;
    if (settings->linked) {
        if (file->place.units == 0 || columns % file->place.units != 0) {
            return DEMI_PAYLOAD;
        }
        m.span = (uint32_t)(columns / file->place.units);
        m.unit = units(file, arena);
        if (m.unit == NULL) {
            return DEMI_ARENA;
        }
    }
    if (columns > 1) {
        /* the counts for the next tensor lie at the end of the arena, where those of the last one are free now */
        uint8_t *end = file->arena + file->arena_bytes;
        const uint64_t bytes = (4 * rows + 7) & ~(uint64_t)7, all = (uint64_t)(end - arena->next);
        if (bytes > all) {
            arena->missing = bytes - all;
            return DEMI_ARENA;
        }
        counts = (uint32_t *)(void *)(end - (size_t)bytes);
        arena->left = all - bytes;
        file->place.counts = counts;
        file->place.units = (uint32_t)rows;
    }
    status = begin(&m, arena, settings, rows, columns);
    if (status == DEMI_OK && settings->kind == 2) {
        present = (uint8_t *)demi_give(arena, (tensor->size + 7) >> 3, 1);
        status = present == NULL ? DEMI_ARENA : DEMI_OK;
    }
    for (m.row = 0; m.row < rows && status == DEMI_OK; ++m.row) {
        uint16_t *swapped = m.above;
        status = decode_row(&m);
        if (counts != NULL) {
            counts[m.row] = 0;
        }
        for (c = 0; c < columns && status == DEMI_OK; ++c, ++i) {
            if (counts != NULL) {
                counts[m.row] += m.now[c] != 0;
            }
            if (present == NULL) {
                demi_put(sink, demi_value(settings, m.now[c], i));
            } else {
                present[i >> 3] = (uint8_t)(present[i >> 3] | (m.now[c] != 0) << (i & 7));
            }
        }
        m.above = m.now;
        m.now = swapped;
    }
    if (status == DEMI_OK && present != NULL) {
        status = decode_numbers(file, arena, present, tensor->size, m.found, sink);
    }
    return status;
}
