/* Planes: a byte for each entry of a matrix, as it is or by asymmetric numeral systems.
 *
 * The planes of a tensor's bytes are read side by side, so that no value waits for its other bytes.
 */
#include "parts.h"

typedef struct {
    const uint8_t *raw; /* the bytes as they are; NULL for symbols */
    const uint8_t *words, *end, *of_rows, *of_columns;
    uint16_t *starts; /* 257 for each context: where each symbol starts, and the end */
    uint32_t kinds[2], bits, turn, states[4];
    uint64_t columns, row, column;
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

static const uint8_t *read_kinds(demi_reader *r, unsigned kinds, uint64_t count)
{
    const unsigned width = width_of(kinds);
    const uint8_t *of = demi_take(r, (count * width + 7) >> 3);
    uint64_t i;
    for (i = 0; width != 0 && i < count && r->status == DEMI_OK; ++i) {
        if (kind_at(of, kinds, i) >= kinds) {
            demi_fail(r, DEMI_PAYLOAD);
        }
    }
    return of;
}

/* Reads all of a plane but its symbols, and goes on behind it. */
static void open_plane(demi_reader *r, plane *p, uint64_t rows, uint64_t columns)
{
    uint16_t *starts;
    unsigned context, symbol, j;
    p->raw = NULL;
    if (demi_short(r, 1) == 0) {
        p->raw = demi_take(r, rows * columns);
        return;
    }
    p->bits = demi_byte(r);
    p->kinds[0] = demi_byte(r);
    p->kinds[1] = demi_byte(r);
    p->row = p->column = p->turn = 0;
    p->columns = columns;
    if ((p->bits | 2) != 14 || p->kinds[0] - 1 > 7 || p->kinds[1] - 1 > 7) {
        demi_fail(r, DEMI_PAYLOAD);
        return;
    }
    p->of_rows = read_kinds(r, p->kinds[0], rows);
    p->of_columns = read_kinds(r, p->kinds[1], columns);
    p->starts = starts = (uint16_t *)demi_give(r, 257 * p->kinds[0] * p->kinds[1], 2);
    for (context = 0; context < p->kinds[0] * p->kinds[1] && r->status == DEMI_OK; ++context) {
        const unsigned count = (unsigned)demi_short(r, 255);
        uint32_t sum = 0;
        for (symbol = 0; symbol < 256; ++symbol) {
            *starts++ = (uint16_t)sum;
            sum += symbol <= count ? (uint32_t)demi_short(r, (uint64_t)1 << p->bits) : 0;
            if (sum >> p->bits > (sum == (uint32_t)1 << p->bits)) {
                demi_fail(r, DEMI_PAYLOAD);
            }
        }
        *starts++ = (uint16_t)sum;
        if (sum != (uint32_t)1 << p->bits) {
            demi_fail(r, DEMI_PAYLOAD);
        }
    }
    for (j = 0; j < 16; ++j) {
        p->states[j >> 2] = p->states[j >> 2] >> 8 | demi_byte(r) << 24;
    }
    p->words = demi_take(r, 2 * demi_short(r, rows * columns));
    p->end = r->next;
}

static unsigned next(demi_reader *r, plane *p)
{
    const uint16_t *starts;
    uint32_t state, slot;
    unsigned low = 0, high = 256;
    if (p->raw != NULL) {
        return *p->raw++;
    }
    starts = p->starts + 257 * (kind_at(p->of_rows, p->kinds[0], p->row) * p->kinds[1] +
                                kind_at(p->of_columns, p->kinds[1], p->column));
    state = p->states[p->turn];
    slot = state & (((uint32_t)1 << p->bits) - 1);
    while (high - low > 1) { /* starts[low] <= slot < starts[high] */
        const unsigned middle = (low + high) >> 1;
        if (starts[middle] <= slot) {
            low = middle;
        } else {
            high = middle;
        }
    }
    state = (uint32_t)(starts[high] - starts[low]) * (state >> p->bits) + slot - starts[low];
    if (state < 65536) {
        if (p->words == p->end) {
            demi_fail(r, DEMI_PAYLOAD);
            return 0;
        }
        state = state << 16 | p->words[0] | (uint32_t)p->words[1] << 8;
        p->words += 2;
    }
    p->states[p->turn] = state;
    p->turn = (p->turn + 1) & 3;
    if (++p->column == p->columns) {
        p->column = 0;
        ++p->row;
    }
    return low;
}

/* Expects a plane to end with its symbols. */
static void expect_end(demi_reader *r, const plane *p)
{
    unsigned j;
    for (j = 0; j < 4 && p->raw == NULL; ++j) {
        if (p->states[j] != 65536 || p->words != p->end) {
            demi_fail(r, DEMI_PAYLOAD);
        }
    }
}

void demi_read_planes(demi_reader *r, uint64_t rows, uint64_t columns, uint64_t begin)
{
    const uint64_t size = rows * columns;
    const unsigned count = r->settings.kind == 2 ? r->value_bytes : 1, zeros = r->settings.zeros;
    plane part[8], shown, first;
    uint64_t i, present = 0;
    unsigned j;
    if (zeros) {
        open_plane(r, &shown, rows, columns);
        first = shown; /* it is read twice: how many values there are must be known to find their planes */
        for (i = 0; i < size && r->status == DEMI_OK; ++i) {
            j = next(r, &first);
            if (j > 1) {
                demi_fail(r, DEMI_PAYLOAD);
            }
            present += j;
        }
        if (r->status == DEMI_OK) {
            expect_end(r, &first);
        }
        rows = present;
        columns = 1;
    }
    for (j = 0; j < count && r->status == DEMI_OK; ++j) {
        open_plane(r, &part[j], rows, columns);
    }
    if (r->next != r->stop) {
        demi_fail(r, DEMI_PAYLOAD);
    }
    for (i = 0; i < size && r->status == DEMI_OK; ++i) {
        uint64_t found = 0;
        if (!zeros || next(r, &shown) != 0) {
            for (j = 0; j < count; ++j) {
                found = found << 8 | next(r, &part[j]);
            }
            if (r->settings.kind != 2) {
                found = demi_value(r, (uint32_t)found, begin + i);
            } else if (r->type.mantissa >= 0) {
                found = found >> 1 | (found & 1) << (8u * count - 1);
            }
        }
        demi_put(r, found);
    }
    for (j = 0; j < count && r->status == DEMI_OK; ++j) {
        expect_end(r, &part[j]);
    }
}
