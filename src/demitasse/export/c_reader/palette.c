/* What the settings of a codec say, what symbols stand for, and where values go. */
#include "parts.h"

const demi_kind demi_kinds[DEMI_TYPES] = {
    {4, 23}, {2, 10}, {2, 7}, {8, 52}, {1, -1}, {1, -1}, {2, -1}, {2, -1}, {4, -1}, {4, -1}, {8, -1},
    {8, -1}, {1, -1}, {1, 3}, {1, 2}, {4, 23}, {8, 52}, {2, 10}, {1, -1}, {1, -1}, {1, -1}, {1, -1},
};

uint64_t demi_rows(const demi_tensor *tensor)
{
    return tensor->dimensions == 0 ? 1 : tensor->shape[0];
}

uint64_t demi_columns(const demi_tensor *tensor)
{
    const uint64_t rows = demi_rows(tensor);
    return rows == 0 ? 0 : tensor->size / rows;
}

static unsigned bit_length(uint32_t x)
{
    unsigned found = 0;
    for (; x != 0; x >>= 1) {
        ++found;
    }
    return found;
}

/* the largest number that the exponent's bits hold */
static uint64_t most_exponent(const demi_kind *type)
{
    return ((uint64_t)1 << (8 * type->size - 1 - type->mantissa)) - 1;
}

/* the mantissa of a scale, as a whole number */
static uint32_t mantissa_of(const demi_settings *settings, uint64_t line)
{
    return ((uint32_t)1 << settings->m) + (settings->fractions == NULL ? 0 : settings->fractions[line]);
}

static void read_scales(demi_reader *r, demi_settings *settings)
{
    const unsigned flags = (unsigned)demi_short(r, 35), axis = flags >> 1 & 1;
    const uint32_t most = (uint32_t)most_exponent(&r->type);
    uint64_t line;
    unsigned i;
    settings->powers = flags & 1;
    settings->m = (uint8_t)(flags >> 2);
    settings->count = (uint32_t)demi_short(r, settings->powers ? 63 : 2047) + 1;
    settings->least = demi_short(r, most);
    settings->lines = axis < r->tensor.dimensions ? r->tensor.shape[axis] : 1;
    settings->inner = 1;
    for (i = axis + 1; i < r->tensor.dimensions; ++i) {
        settings->inner *= r->tensor.shape[i];
    }
    settings->values = demi_take(r, settings->lines);
    settings->fractions = settings->m == 0 ? NULL : demi_take(r, settings->lines);
    if (settings->least == 0 || axis >= (r->tensor.dimensions == 0 ? 1u : r->tensor.dimensions)) {
        demi_fail(r, DEMI_HEADER);
    }
    for (line = 0; line < settings->lines && r->status == DEMI_OK; ++line) {
        uint32_t odd = mantissa_of(settings, line);
        const uint32_t times = settings->powers ? 1 : settings->count;
        const uint32_t last = (uint32_t)settings->least + settings->values[line] - settings->m +
                              bit_length(odd * times) - 1 + settings->count - times;
        if (odd >> (settings->m + 1) != 0 || last >= most) {
            demi_fail(r, DEMI_HEADER);
        }
        while ((odd & 1) == 0) {
            odd >>= 1;
        }
        if ((uint64_t)odd * times >> r->type.mantissa > 1) {
            demi_fail(r, DEMI_HEADER);
        }
    }
}

void demi_read_settings(demi_reader *r, unsigned codec)
{
    const unsigned flags = (unsigned)demi_short(r, codec == 2 ? 31 : 7);
    const uint64_t columns = demi_columns(&r->tensor), size = r->tensor.size;
    demi_settings *settings = &r->settings;
    unsigned i;
    settings->kind = flags & 3;
    settings->zeros = flags >> 2 & 1;
    settings->linked = flags >> 3 & 1;
    settings->count = 1;
    settings->is_signed = settings->kind % 3 == 0;
    if (settings->is_signed && r->type.mantissa < 0) {
        demi_fail(r, DEMI_HEADER);
        return;
    }
    if (settings->kind == 0) {
        settings->least = demi_short(r, most_exponent(&r->type));
        settings->count = (uint32_t)demi_short(r, 63) + 1;
    } else if (settings->kind == 1) {
        settings->count = (uint32_t)demi_short(r, 4095) + 1;
        settings->values = demi_take(r, settings->count * r->type.size);
    } else if (settings->kind == 3) {
        read_scales(r, settings);
    }
    settings->depth = (uint8_t)bit_length(settings->count - 1);
    if (codec == 3) {
        const uint32_t symbols = (settings->kind == 3 ? settings->count : (uint32_t)1 << settings->depth)
                                 << settings->is_signed;
        if (settings->kind != 2 && (symbols > 255 || settings->zeros)) {
            demi_fail(r, DEMI_HEADER);
        }
        return;
    }
    settings->group = settings->side = 1;
    if (flags & 16) {
        settings->group = demi_short(r, columns);
        settings->side = demi_short(r, columns);
    } else if (r->tensor.dimensions > 2) {
        for (i = 2; i < r->tensor.dimensions; ++i) {
            settings->side = r->tensor.shape[i];
            settings->group *= settings->side;
        }
    }
    if (settings->group == 0 || columns % settings->group != 0 || settings->side - 1 >= settings->group ||
        size - 1 >= 0x7FFFFFFF || demi_rows(&r->tensor) + columns > (size >> 18 != 0 ? size >> 4 : 1 << 14)) {
        demi_fail(r, DEMI_HEADER);
    }
}

/* Returns the bits of the value of a symbol; index is that in the whole tensor, flat. */
uint64_t demi_value(const demi_reader *r, uint32_t symbol, uint64_t index)
{
    const demi_settings *settings = &r->settings;
    const uint32_t number = symbol - 1;
    const unsigned mantissa = (unsigned)r->type.mantissa, size = r->type.size;
    uint64_t exponent, whole = 1;
    uint32_t k = number >> settings->is_signed;
    if (symbol == 0 || k >> settings->depth != 0) {
        return 0;
    }
    if (settings->kind != 0 && k >= settings->count) {
        k = settings->count - 1;
    }
    if (settings->kind == 1) {
        return demi_big_endian(settings->values + k * size, size);
    }
    exponent = settings->least;
    if (settings->kind == 3) {
        index = index / settings->inner % settings->lines;
        exponent += settings->values[index];
        exponent -= settings->m;
        whole = mantissa_of(settings, index);
        if (!settings->powers) {
            whole *= k + 1;
            k = 0;
        }
    }
    exponent += k + bit_length((uint32_t)whole) - 1;
    if (exponent > most_exponent(&r->type)) {
        exponent = most_exponent(&r->type);
    }
    /* the highest bit goes to the place behind the mantissa, and away */
    k = bit_length((uint32_t)whole) - 1;
    whole = k > mantissa ? whole >> (k - mantissa) : whole << (mantissa - k);
    whole ^= (uint64_t)1 << mantissa;
    return (uint64_t)(number & 1) << (8 * size - 1) | exponent << mantissa | whole;
}

void demi_put(demi_reader *r, uint64_t value)
{
    static const uint16_t one = 1; /* its first byte is 1 where the lowest byte of a number comes first */
    const unsigned last = *(const uint8_t *)&one ? 0 : r->value_bytes - 1u;
    unsigned i;
    if (r->tensor.type == DEMI_BOOL && value > 1) {
        demi_fail(r, DEMI_PAYLOAD);
    }
    for (i = 0; i < r->value_bytes; ++i, value >>= 8) {
        const uint8_t byte = (uint8_t)value;
        r->crc = demi_crc(r->crc, &byte, 1);
        if (r->out != NULL) {
            r->out[i ^ last] = byte;
        }
    }
    r->out += r->out == NULL ? 0 : r->value_bytes;
}
