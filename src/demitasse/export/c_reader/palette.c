/* What the settings of a codec say, what symbols stand for, and where values go. */
#include "parts.h"

const demi_kind demi_kinds[DEMI_TYPES] = {
    {4, 23, 0}, {2, 10, 0}, {2, 7, 0}, {8, 52, 0}, {1, -1, 0}, {1, -1, 0}, {2, -1, 0}, {2, -1, 0},
    {4, -1, 0}, {4, -1, 0}, {8, -1, 0}, {8, -1, 0}, {1, -1, 0}, {1, 3, 0}, {1, 2, 0}, {4, 23, 1},
    {8, 52, 1}, {2, 10, 1}, {1, -1, 0}, {1, -1, 0}, {1, -1, 0}, {1, -1, 0},
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

static unsigned bit_length(uint64_t x)
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

static void read_scales(demi_cursor *cursor, const demi_tensor *tensor, demi_settings *settings)
{
    const uint64_t flags = demi_short(cursor, 35), most = most_exponent(&settings->type);
    const unsigned axis = flags >> 1 & 1;
    uint64_t line, odd, last;
    unsigned i;
    settings->powers = flags & 1;
    settings->m = (uint8_t)(flags >> 2);
    settings->count = (uint32_t)demi_short(cursor, settings->powers ? 63 : 2047) + 1;
    settings->least = demi_short(cursor, most);
    settings->lines = axis < tensor->dimensions ? tensor->shape[axis] : 1;
    settings->inner = 1;
    for (i = axis + 1; i < tensor->dimensions; ++i) {
        settings->inner *= tensor->shape[i];
    }
    settings->values = demi_take(cursor, settings->lines);
    settings->fractions = settings->m == 0 ? NULL : demi_take(cursor, settings->lines);
    if (cursor->status != DEMI_OK || settings->least == 0 || (axis == 1 && tensor->dimensions < 2)) {
        cursor->status = DEMI_HEADER;
        return;
    }
    for (line = 0; line < settings->lines; ++line) {
        odd = mantissa_of(settings, line);
        last = odd * (settings->powers ? 1 : settings->count);
        last = settings->least + settings->values[line] - settings->m + bit_length(last) - 1;
        last += settings->powers ? settings->count - 1 : 0;
        if (odd >> (settings->m + 1) != 0 || last >= most) {
            cursor->status = DEMI_HEADER;
        }
        for (; (odd & 1) == 0; odd >>= 1) {
        }
        odd *= settings->powers ? 1 : settings->count;
        if (odd >= (uint64_t)2 << settings->type.mantissa) {
            cursor->status = DEMI_HEADER;
        }
    }
}

int demi_read_settings(demi_cursor *cursor, const demi_tensor *tensor, unsigned codec, demi_settings *settings)
{
    static const demi_settings none = {0};
    const uint64_t flags = demi_short(cursor, codec == 2 ? 31 : 7), columns = demi_columns(tensor);
    unsigned i;
    *settings = none;
    settings->type = demi_kinds[tensor->type];
    settings->kind = flags & 3;
    settings->zeros = flags >> 2 & 1;
    settings->linked = flags >> 3 & 1;
    settings->count = 1;
    settings->is_signed = settings->kind == 0 || settings->kind == 3;
    if (settings->is_signed && settings->type.mantissa < 0) {
        return DEMI_HEADER;
    }
    if (settings->kind == 0) {
        settings->least = demi_short(cursor, most_exponent(&settings->type));
        settings->count = (uint32_t)demi_short(cursor, 63) + 1;
    } else if (settings->kind == 1) {
        settings->count = (uint32_t)demi_short(cursor, 4095) + 1;
        settings->values = demi_take(cursor, (uint64_t)settings->count * settings->type.size);
    } else if (settings->kind == 3) {
        read_scales(cursor, tensor, settings);
    }
    settings->depth = (uint8_t)bit_length(settings->count - 1);
    if (codec == 3) {
        const uint32_t symbols = settings->kind == 3 ? 2 * settings->count
                                                     : (uint32_t)1 << (settings->depth + settings->is_signed);
        if (settings->kind != 2 && (symbols > 255 || settings->zeros)) {
            return DEMI_HEADER;
        }
        return cursor->status;
    }
    settings->group = settings->side = 1;
    if (flags & 16) {
        settings->group = demi_short(cursor, columns);
        settings->side = demi_short(cursor, columns);
    } else if (tensor->dimensions > 2) {
        for (i = 2; i < tensor->dimensions; ++i) {
            settings->group *= tensor->shape[i];
        }
        settings->side = tensor->shape[tensor->dimensions - 1];
    }
    if (cursor->status == DEMI_OK &&
        (settings->group == 0 || columns % settings->group != 0 || settings->side == 0 ||
         settings->side > settings->group || tensor->size == 0 || tensor->size >= (uint64_t)1 << 31 ||
         demi_rows(tensor) + columns > (tensor->size >> 4 < 1 << 14 ? 1 << 14 : tensor->size >> 4))) {
        cursor->status = DEMI_HEADER;
    }
    return cursor->status;
}

/* Returns the bits of the value of a symbol; index is that in the whole tensor, flat. */
uint64_t demi_value(const demi_settings *settings, uint32_t symbol, uint64_t index)
{
    const demi_kind *type = &settings->type;
    const uint32_t number = symbol - 1;
    uint64_t sign, k, exponent, whole;
    unsigned above;
    if (symbol == 0 || number >> settings->depth >> settings->is_signed != 0) {
        return 0;
    }
    if (settings->kind == 1) {
        k = number < settings->count ? number : settings->count - 1;
        return demi_big_endian(settings->values + k * type->size, type->size);
    }
    sign = (uint64_t)(number & 1) << (8 * type->size - 1);
    k = number >> 1;
    if (settings->kind == 0) {
        exponent = settings->least + k;
        exponent = exponent < most_exponent(type) ? exponent : most_exponent(type);
        return sign | exponent << type->mantissa;
    }
    k = k < settings->count ? k : settings->count - 1;
    index = index / settings->inner % settings->lines;
    whole = mantissa_of(settings, index) * (settings->powers ? 1 : k + 1);
    above = bit_length(whole) - 1;
    exponent = settings->least + settings->values[index] - settings->m + above + (settings->powers ? k : 0);
    whole = above > (unsigned)type->mantissa ? whole >> (above - (unsigned)type->mantissa)
                                             : whole << ((unsigned)type->mantissa - above);
    return sign | exponent << type->mantissa | (whole ^ (uint64_t)1 << type->mantissa);
}

/* whether the lowest byte of a number comes first in memory */
static int is_little_endian(void)
{
    static const uint16_t one = 1;
    return *(const uint8_t *)&one;
}

void demi_put(demi_sink *sink, uint64_t value)
{
    uint8_t bytes[8];
    unsigned i;
    for (i = 0; i < sink->size; ++i) {
        bytes[i] = (uint8_t)(value >> 8 * i);
        if (sink->out != NULL) {
            sink->out[is_little_endian() ? i : sink->size - 1 - i] = bytes[i];
        }
    }
    sink->out += sink->out == NULL ? 0 : sink->size;
    sink->crc = demi_crc(sink->crc, bytes, sink->size);
    if (sink->most_is_one && value > 1) {
        sink->status = DEMI_PAYLOAD; /* a bool */
    }
}
