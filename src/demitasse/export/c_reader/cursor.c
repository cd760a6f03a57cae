/* Bytes and memory, taken from the front; checksums. */
#include "parts.h"

void demi_fail(demi_reader *r, unsigned status)
{
    if (r->status == DEMI_OK) {
        r->status = status;
    }
}

void demi_settle(demi_reader *r, unsigned wrong, unsigned ends)
{
    const unsigned first = r->status & ~DEMI_WRONG;
    if (r->status != DEMI_OK) {
        r->status = first == 0 ? wrong : first == DEMI_ENDS ? ends : first;
    }
}

const uint8_t *demi_take(demi_reader *r, uint64_t count)
{
    const uint8_t *found = r->next;
    if (count > (uint64_t)(r->stop - found)) {
        demi_fail(r, DEMI_ENDS);
    }
    if (r->status != DEMI_OK) {
        return NULL;
    }
    r->next += (size_t)count;
    return found;
}

unsigned demi_byte(demi_reader *r)
{
    const uint8_t *found = demi_take(r, 1);
    return found == NULL ? 0 : *found;
}

uint64_t demi_short(demi_reader *r, uint64_t most)
{
    uint64_t found = 0;
    unsigned shift = 0, byte;
    do {
        byte = demi_byte(r);
        found |= (uint64_t)(byte & 127) << shift;
        shift += 7;
    } while (byte > 127 && shift < 63);
    if (found > most || byte > 127 || (byte == 0 && shift > 7)) {
        r->status |= DEMI_WRONG; /* too large, or not in its shortest form */
    }
    return r->status == DEMI_OK ? found : 0;
}

void demi_shift(demi_reader *r)
{
    r->code <<= 8;
    if (r->stream != r->stream_end) {
        r->code |= *r->stream++;
    } else {
        ++r->behind;
    }
}

uint64_t demi_big_endian(const uint8_t *bytes, unsigned count)
{
    uint64_t found = 0;
    while (count-- != 0) {
        found = found << 8 | *bytes++;
    }
    return found;
}

uint32_t demi_crc(uint32_t crc, const uint8_t *bytes, uint64_t count)
{
    unsigned bit;
    crc = ~crc;
    while (count-- != 0) {
        crc ^= *bytes++;
        for (bit = 0; bit < 8; ++bit) {
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1)));
        }
    }
    return ~crc;
}

void demi_expect_crc(demi_reader *r, const uint8_t *checksum, unsigned status)
{
    unsigned i;
    for (i = 0; i < 32; i += 8) {
        if (*checksum++ != (uint8_t)(r->crc >> i)) {
            demi_fail(r, status);
        }
    }
}

void *demi_give(demi_reader *r, uint64_t count, unsigned size)
{
    const uint64_t bytes = (count * size + 7) & ~(uint64_t)7; /* counts are below 2^50 */
    uint8_t *found = r->free, *next = found;
    if (r->status == DEMI_OK && bytes > (uint64_t)(r->end - found)) {
        r->needed = (size_t)(found - (uint8_t *)r) + (size_t)bytes + 8; /* and what is skipped before the reader */
        demi_fail(r, DEMI_ARENA);
    }
    if (r->status != DEMI_OK) {
        return NULL;
    }
    r->free += (size_t)bytes;
    while (next != r->free) {
        *next++ = 0;
    }
    return found;
}
