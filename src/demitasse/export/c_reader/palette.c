/* What the settings of a codec say, what symbols stand for, and where values go. */
#include "parts.h"

const demi_kind demi_kinds[DEMI_TYPES] = {
    {4, 23, 255}, {2, 10, 31}, {2, 7, 255}, {8, 52, 2047}, {1, -1, 0}, {1, -1, 0}, {2, -1, 0}, {2, -1, 0},
    {4, -1, 0}, {4, -1, 0}, {8, -1, 0}, {8, -1, 0}, {1, -1, 0}, {1, 3, 15}, {1, 2, 31},
    {4, 23, 255}, {8, 52, 2047}, {2, 10, 31}, {1, -1, 0}, {1, -1, 0}, {1, -1, 0}, {1, -1, 0},
};

uint32_t demi_bit_length(uint32_t x)
{
    uint32_t found = 0;
    for (; x != 0; x >>= 1) {
        ++found;
    }
    return found;
}

uint64_t demi_product(const demi_tensor *tensor, unsigned axis)
{
    uint64_t found = 1;
    for (; axis < DEMI_MOST_DIMENSIONS; ++axis) {
        found *= tensor->shape[axis];
    }
    return found;
}

/* the mantissa of a scale, as a whole number */
static uint32_t mantissa_of(const demi_settings *settings, uint64_t line)
{
    return ((uint32_t)1 << settings->m) + (settings->fractions == NULL ? 0 : settings->fractions[line]);
}

static void read_scales(demi_reader *r)
{
    demi_settings *settings = &r->settings;
    const unsigned flags = (unsigned)demi_short(r, 35), axis = flags >> 1 & 1;
    const uint32_t most = r->type.most;
    uint64_t line;
    r->has_scales = 1;
    settings->powers = flags & 1;
    settings->m = (uint8_t)(flags >> 2);
    settings->count = (uint32_t)demi_short(r, settings->powers ? 63 : 2047) + 1;
    settings->least = (uint32_t)demi_short(r, most);
    settings->lines = r->tensor.shape[axis];
    settings->inner = demi_product(&r->tensor, axis + 1);
    settings->values = demi_take(r, settings->lines);
    settings->fractions = settings->m == 0 ? NULL : demi_take(r, settings->lines);
    if (settings->least == 0 || (axis != 0 && r->tensor.dimensions < 2)) {
        r->status |= DEMI_WRONG;
    }
    for (line = 0; line < settings->lines && r->status == DEMI_OK; ++line) {
        uint32_t odd = mantissa_of(settings, line);
        const uint32_t times = settings->powers ? 1 : settings->count;
        const uint32_t last = settings->least + settings->values[line] - settings->m + settings->count - times +
                              demi_bit_length(odd * times) - 1;
        const uint32_t is_normal = odd >> settings->m == 1;
        while ((odd & 1) == 0) {
            odd >>= 1;
        }
        if (!is_normal || last >= most || (uint64_t)odd * times >> r->type.mantissa > 1) {
            r->status |= DEMI_WRONG;
        }
    }
}

void demi_read_settings(demi_reader *r, unsigned codec)
{
    const uint64_t size = r->tensor.size;
    demi_settings *settings = &r->settings;
    unsigned flags;
    if (codec < 2) {
        return;
    }
    flags = (unsigned)demi_short(r, codec == 2 ? 31 : 7);
    settings->kind = flags & 3;
    settings->zeros = flags >> 2 & 1;
    settings->linked = flags >> 3 & 1;
    settings->count = 1;
    settings->is_signed = 9 >> settings->kind & 1; /* of kinds 0 and 3 */
    if (settings->is_signed && r->type.mantissa < 0) {
        r->status |= DEMI_WRONG;
        return;
    }
    if (settings->kind == 0) {
        settings->least = (uint32_t)demi_short(r, r->type.most);
        settings->count = (uint32_t)demi_short(r, 63) + 1;
    } else if (settings->kind == 1) {
        settings->count = (uint32_t)demi_short(r, 4095) + 1;
        settings->values = demi_take(r, settings->count * r->type.size);
    } else if (settings->kind == 3) {
        read_scales(r);
    }
    settings->depth = (uint8_t)demi_bit_length(settings->count - 1);
    if (codec == 3) {
        const uint32_t symbols = (settings->kind == 3 ? settings->count : (uint32_t)1 << settings->depth)
                                 << settings->is_signed;
        if (settings->kind != 2 && (symbols > 255 || settings->zeros)) {
            r->status |= DEMI_WRONG;
        }
        return;
    }
    /* these are refused below if they do not fit */
    settings->group = (uint32_t)demi_product(&r->tensor, 2);
    settings->side = (uint32_t)r->tensor.shape[r->tensor.dimensions > 2 ? r->tensor.dimensions - 1 : 2];
    if (flags & 16) {
        settings->group = (uint32_t)demi_short(r, r->columns);
        settings->side = (uint32_t)demi_short(r, r->columns);
    }
    if (settings->group == 0 || r->columns % settings->group != 0 || settings->side - 1 >= settings->group ||
        size - 1 >= 0x7FFFFFFF ||
        r->tensor.shape[0] + r->columns > (size >> 18 != 0 ? size >> 4 : 1 << 14)) {
        r->status |= DEMI_WRONG;
    }
    if (r->rows < r->tensor.shape[0]) {
        r->rows = (uint32_t)r->tensor.shape[0];
    }
}

/* Returns the bits of the value of a symbol; index is that in the whole tensor, flat. */
uint64_t demi_value(const demi_reader *r, uint32_t symbol, uint64_t index)
{
    const demi_settings *settings = &r->settings;
    const uint32_t number = symbol - 1;
    const unsigned size = r->type.size;
    uint64_t bits = 1;
    uint32_t k = number >> settings->is_signed, exponent;
    if (symbol == 0 || k >> settings->depth != 0) {
        return 0;
    }
    if (settings->kind != 0 && k >= settings->count) {
        k = settings->count - 1;
    }
    if (settings->kind == 1) {
        return demi_big_endian(settings->values + k * size, size);
    }
    exponent = settings->least + 63;
    if (settings->kind == 3) {
        index = index / settings->inner % settings->lines;
        exponent += settings->values[index];
        exponent -= settings->m;
        bits = mantissa_of(settings, index);
        if (!settings->powers) {
            bits *= k + 1;
            k = 0;
        }
    }
    for (; bits >> 63 == 0; bits <<= 1) {
        --exponent;
    }
    exponent += k;
    if (exponent > r->type.most) {
        exponent = r->type.most;
    }
    /* sign, exponent, and the mantissa without its highest bit */
    return (uint64_t)(number & 1) << (8 * size - 1) | (uint64_t)exponent << r->type.mantissa |
           bits << 1 >> (64 - r->type.mantissa);
}

void demi_put(demi_reader *r, uint64_t value)
{
    static const uint16_t one = 1; /* its first byte is 1 where the lowest byte of a number comes first */
    const unsigned last = *(const uint8_t *)&one ? 0 : r->type.size - 1u;
    unsigned i;
    if (r->tensor.type == DEMI_BOOL && value > 1) {
        r->status |= DEMI_WRONG;
    }
    for (i = 0; i < r->type.size; ++i, value >>= 8) {
        const uint8_t byte = (uint8_t)value;
        r->crc = demi_crc(r->crc, &byte, 1);
        if (r->out != NULL) {
            r->out[i ^ last] = byte;
        }
    }
    r->out += r->out == NULL ? 0 : r->type.size;
}
