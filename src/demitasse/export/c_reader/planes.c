/* Planes: a byte for each entry of a matrix, as it is or by asymmetric numeral systems.
 *
 * The planes of a tensor's bytes are read side by side, so that no value waits for its other bytes.
 */
#include "parts.h"

/* the rows of a matrix, or its columns */
typedef struct {
    const uint8_t *of; /* their kinds, of a width in bits each */
    uint32_t kinds, width;
    uint64_t count, at; /* at: the one that is next */
} side;

typedef struct {
    const uint8_t *raw; /* the bytes as they are; NULL for symbols */
    const uint8_t *words, *end;
    uint64_t left;    /* symbols */
    uint16_t *starts; /* 257 for each context: where each symbol starts, and the end */
    uint32_t bits, turn, states[4];
    side sides[2];
} plane;

static uint32_t kind_of(const side *s)
{
    uint64_t bit = s->at * s->width;
    uint32_t found = 0, j;
    for (j = 0; j < s->width; ++j, ++bit) {
        found |= ((uint32_t)s->of[bit >> 3] >> (~bit & 7) & 1) << j;
    }
    return found;
}

static void read_kinds(demi_reader *r, side *s)
{
    s->width = demi_bit_length(s->kinds - 1);
    s->of = demi_take(r, (s->count * s->width + 7) >> 3);
    for (; s->width != 0 && s->at < s->count && r->status == DEMI_OK; ++s->at) {
        if (kind_of(s) >= s->kinds) {
            r->status |= DEMI_WRONG;
        }
    }
    s->at = 0;
}

/* Expects a plane to end with its last symbol. */
static void expect_end(demi_reader *r, const plane *p)
{
    uint32_t wrong = p->words != p->end, j;
    for (j = 0; j < 4; ++j) {
        wrong |= p->states[j] ^ 65536;
    }
    if (p->left == 0 && wrong != 0) {
        r->status |= DEMI_WRONG;
    }
}

/* Reads all of a plane but its symbols, and goes on behind it. */
static void open_plane(demi_reader *r, plane *p, uint64_t rows, uint64_t columns)
{
    const uint64_t size = rows * columns;
    uint32_t contexts, symbol, j;
    uint16_t *starts;
    if (demi_short(r, 1) == 0) {
        p->raw = demi_take(r, size);
        return;
    }
    p->sides[0].count = rows;
    p->sides[1].count = columns;
    p->bits = demi_byte(r);
    p->sides[0].kinds = demi_byte(r);
    p->sides[1].kinds = demi_byte(r);
    if ((p->bits | 2) != 14 || ((p->sides[0].kinds - 1) | (p->sides[1].kinds - 1)) > 7) {
        r->status |= DEMI_WRONG;
    }
    for (j = 0; j < 2; ++j) {
        read_kinds(r, &p->sides[j]);
    }
    contexts = p->sides[0].kinds * p->sides[1].kinds;
    p->starts = starts = (uint16_t *)demi_give(r, contexts * 257, 2);
    for (; contexts != 0 && r->status == DEMI_OK; --contexts) {
        const uint32_t count = (uint32_t)demi_short(r, 255);
        uint32_t left = (uint32_t)1 << p->bits;
        for (symbol = 0; symbol < 257; ++symbol) {
            *starts++ = (uint16_t)(((uint32_t)1 << p->bits) - left);
            left -= symbol <= count ? (uint32_t)demi_short(r, left) : 0;
        }
        if (left != 0) {
            r->status |= DEMI_WRONG;
        }
    }
    for (j = 0; j < 16; ++j) {
        p->states[j >> 2] = p->states[j >> 2] >> 8 | demi_byte(r) << 24;
    }
    p->words = demi_take(r, 2 * demi_short(r, size));
    p->end = r->next;
    p->left = size;
    expect_end(r, p);
}

static uint32_t next(demi_reader *r, plane *p)
{
    const uint16_t *starts;
    uint32_t *at = p->states + p->turn, state, symbol = 0, step;
    if (p->raw != NULL) {
        return *p->raw++;
    }
    starts = p->starts + 257 * (kind_of(&p->sides[0]) * p->sides[1].kinds + kind_of(&p->sides[1]));
    state = *at & (((uint32_t)1 << p->bits) - 1);
    for (step = 128; step != 0; step >>= 1) { /* starts[symbol] <= state < starts[symbol + 2 * step] */
        symbol += starts[symbol + step] <= state ? step : 0;
    }
    starts += symbol;
    state += (uint32_t)(starts[1] - starts[0]) * (*at >> p->bits) - starts[0];
    if (state < 65536) {
        if (p->words == p->end) {
            r->status |= DEMI_WRONG;
            return 0;
        }
        state = state << 16 | p->words[0] | (uint32_t)p->words[1] << 8;
        p->words += 2;
    }
    *at = state;
    p->turn = (p->turn + 1) & 3;
    if (++p->sides[1].at == p->sides[1].count) {
        p->sides[1].at = 0;
        ++p->sides[0].at;
    }
    --p->left;
    expect_end(r, p);
    return symbol;
}

void demi_read_planes(demi_reader *r, uint64_t rows, uint64_t columns, uint64_t begin)
{
    const uint64_t size = rows * columns;
    const unsigned zeros = r->settings.zeros, last = r->settings.kind == 2 ? r->type.size + 1u : 2;
    plane *planes = (plane *)demi_give(r, 10, sizeof(plane)); /* of zeros, once more, and then of the values */
    uint64_t i;
    unsigned j;
    if (zeros && planes != NULL) {
        open_plane(r, planes, rows, columns);
        planes[1] = planes[0]; /* it is read twice: how many values there are must be known to find their planes */
        rows = 0;
        columns = 1;
        for (i = 0; i < size && r->status == DEMI_OK; ++i) {
            const uint32_t shown = next(r, planes + 1);
            if (shown > 1) {
                r->status |= DEMI_WRONG;
            }
            rows += shown;
        }
    }
    for (j = 2; j <= last && r->status == DEMI_OK; ++j) {
        open_plane(r, planes + j, rows, columns);
    }
    if (r->next != r->stop) {
        r->status |= DEMI_WRONG;
    }
    for (i = 0; i < size && r->status == DEMI_OK; ++i) {
        uint64_t found = 0;
        if (!zeros || next(r, planes) != 0) {
            for (j = 2; j <= last; ++j) {
                found = found << 8 | next(r, planes + j);
            }
            if (r->settings.kind != 2) {
                found = demi_value(r, (uint32_t)found, begin + i);
            } else if (r->type.mantissa >= 0) {
                found = found >> 1 | (found & 1) << (8 * r->type.size - 1);
            }
        }
        demi_put(r, found);
    }
}
