/* Planes: a byte for each entry of a matrix, as it is or by asymmetric numeral systems.
 *
 * The planes of a tensor's bytes are read side by side, so that no value waits for its other bytes.
 */
#include "parts.h"

typedef struct {
    const uint8_t *raw; /* the bytes as they are; NULL for symbols */
    const uint8_t *of_rows, *of_columns;
    uint16_t *starts; /* 257 for each context: where each symbol starts, and the end */
    demi_cursor words;
    uint32_t states[4];
    uint64_t columns, row, column, i;
    unsigned bits, kinds[2];
} plane;

static unsigned width_of(unsigned kinds)
{
    return kinds > 4 ? 3 : kinds > 2 ? 2 : kinds - 1;
}

static unsigned kind_at(const uint8_t *of, unsigned kinds, uint64_t i)
{
    const unsigned width = width_of(kinds);
    unsigned found = 0, j;
    for (j = 0; j < width; ++j) {
        const uint64_t bit = i * width + j;
        found |= (of[bit >> 3] >> (7 - (bit & 7)) & 1u) << j;
    }
    return found;
}

static const uint8_t *read_kinds(demi_cursor *cursor, unsigned kinds, uint64_t count)
{
    const uint8_t *of = demi_take(cursor, (count * width_of(kinds) + 7) >> 3);
    uint64_t i;
    for (i = 0; kinds > 1 && of != NULL && i < count; ++i) {
        if (kind_at(of, kinds, i) >= kinds) {
            cursor->status = DEMI_PAYLOAD;
        }
    }
    return of;
}

/* Reads all of a plane but its symbols; the cursor moves on to behind it. */
static int open_plane(plane *p, demi_arena *arena, demi_cursor *cursor, uint64_t rows, uint64_t columns)
{
    static const plane none = {0};
    const uint8_t *model;
    uint64_t words;
    unsigned context, symbol, j;
    *p = none;
    if (demi_short(cursor, 1) == 0) {
        p->raw = demi_take(cursor, rows * columns);
        return cursor->status;
    }
    model = demi_take(cursor, 3);
    if (model == NULL) {
        return cursor->status;
    }
    p->bits = model[0];
    p->kinds[0] = model[1];
    p->kinds[1] = model[2];
    p->columns = columns;
    if ((p->bits != 12 && p->bits != 14) || p->kinds[0] - 1 > 7 || p->kinds[1] - 1 > 7) {
        return DEMI_PAYLOAD;
    }
    p->of_rows = read_kinds(cursor, p->kinds[0], rows);
    p->of_columns = read_kinds(cursor, p->kinds[1], columns);
    p->starts = (uint16_t *)demi_give(arena, (uint64_t)257 * p->kinds[0] * p->kinds[1], 2);
    if (p->starts == NULL) {
        return DEMI_ARENA;
    }
    for (context = 0; context < p->kinds[0] * p->kinds[1]; ++context) {
        const uint64_t count = demi_short(cursor, 255);
        uint16_t *starts = p->starts + 257 * context;
        uint32_t sum = 0;
        for (symbol = 0; symbol < 256; ++symbol) {
            sum += symbol <= count ? (uint32_t)demi_short(cursor, (uint64_t)1 << p->bits) : 0;
            if (cursor->status != DEMI_OK || sum > (uint32_t)1 << p->bits) {
                return DEMI_PAYLOAD;
            }
            starts[symbol + 1] = (uint16_t)sum;
        }
        if (sum != (uint32_t)1 << p->bits) {
            return DEMI_PAYLOAD;
        }
    }
    for (j = 0; j < 4; ++j) {
        const uint8_t *state = demi_take(cursor, 4);
        p->states[j] = state == NULL ? 0 : demi_little_endian(state);
    }
    words = demi_short(cursor, rows * columns);
    p->words.next = demi_take(cursor, 2 * words);
    p->words.end = cursor->next;
    return cursor->status;
}

static unsigned next(plane *p)
{
    const uint16_t *starts;
    uint32_t *state, slot;
    unsigned low = 0, high = 256;
    if (p->raw != NULL) {
        return *p->raw++;
    }
    starts = p->starts + 257 * (kind_at(p->of_rows, p->kinds[0], p->row) * p->kinds[1] +
                                kind_at(p->of_columns, p->kinds[1], p->column));
    state = p->states + (p->i++ & 3);
    slot = *state & (((uint32_t)1 << p->bits) - 1);
    while (high - low > 1) { /* starts[low] <= slot < starts[high] */
        const unsigned middle = (low + high) >> 1;
        if (starts[middle] <= slot) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *state = (uint32_t)(starts[high] - starts[low]) * (*state >> p->bits) + slot - starts[low];
    if (*state < 65536) {
        const uint8_t *word = demi_take(&p->words, 2);
        *state = *state << 16 | (word == NULL ? 0 : word[0] | (uint32_t)word[1] << 8);
    }
    if (++p->column == p->columns) {
        p->column = 0;
        ++p->row;
    }
    return low;
}

/* Tells whether a plane ends with its symbols. */
static int closed(const plane *p)
{
    unsigned j;
    for (j = 0; j < 4 && p->raw == NULL && p->words.status == DEMI_OK; ++j) {
        if (p->states[j] != 65536 || p->words.next != p->words.end) {
            break;
        }
    }
    return p->raw != NULL || j == 4 ? DEMI_OK : DEMI_PAYLOAD;
}

int demi_read_planes(demi_arena *arena, const demi_settings *settings, uint64_t rows, uint64_t columns, uint64_t begin,
                     demi_cursor *payload, demi_sink *sink)
{
    const uint64_t size = rows * columns;
    const unsigned count = settings->kind == 2 ? sink->size : 1, turned = 8u * sink->size - 1;
    plane shown, part[8];
    uint64_t i, present = size;
    unsigned j;
    int status = DEMI_OK;
    if (settings->zeros) {
        plane first;
        status = open_plane(&shown, arena, payload, rows, columns);
        first = shown; /* it is read twice: how many values there are must be known to find their planes */
        for (i = present = 0; i < size && status == DEMI_OK; ++i) {
            const unsigned is_there = next(&first);
            status = is_there > 1 ? DEMI_PAYLOAD : DEMI_OK;
            present += is_there;
        }
        status = status == DEMI_OK ? closed(&first) : status;
        rows = present;
        columns = 1;
    }
    for (j = 0; j < count && status == DEMI_OK; ++j) {
        status = open_plane(&part[j], arena, payload, rows, columns);
    }
    if (status == DEMI_OK && payload->next != payload->end) {
        status = DEMI_PAYLOAD;
    }
    for (i = 0; i < size && status == DEMI_OK; ++i) {
        uint64_t found = 0;
        if (settings->zeros && next(&shown) == 0) {
            demi_put(sink, 0);
            continue;
        }
        for (j = 0; j < count; ++j) {
            found = found << 8 | next(&part[j]);
        }
        if (settings->kind != 2) {
            found = demi_value(settings, (uint32_t)found, begin + i);
        } else if (settings->type.mantissa >= 0) {
            found = found >> 1 | (found & 1) << turned;
        }
        demi_put(sink, found);
    }
    for (j = 0; j < count && status == DEMI_OK; ++j) {
        status = closed(&part[j]);
    }
    return status;
}
