/* Bytes and numbers, read from the front; checksums; memory from the arena. */
#include "parts.h"

const uint8_t *demi_take(demi_cursor *cursor, uint64_t count)
{
    const uint8_t *found = cursor->next;
    if (cursor->status != DEMI_OK) {
        return NULL;
    }
    if (count > (uint64_t)(cursor->end - found)) {
        cursor->status = DEMI_CUT_SHORT;
        return NULL;
    }
    cursor->next += (size_t)count;
    return found;
}

unsigned demi_byte(demi_cursor *cursor)
{
    const uint8_t *found = demi_take(cursor, 1);
    return found == NULL ? 0 : *found;
}

uint64_t demi_short(demi_cursor *cursor, uint64_t most)
{
    uint64_t found = 0;
    unsigned shift, byte;
    for (shift = 0; shift < 63; shift += 7) {
        byte = demi_byte(cursor);
        found |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            if (cursor->status == DEMI_OK && found <= most && (byte != 0 || shift == 0)) {
                return found;
            }
            break;
        }
    }
    if (cursor->status == DEMI_OK) {
        cursor->status = DEMI_HEADER; /* too large, or not in its shortest form */
    }
    return 0;
}

uint64_t demi_big_endian(const uint8_t *bytes, unsigned count)
{
    uint64_t found = 0;
    while (count-- != 0) {
        found = found << 8 | *bytes++;
    }
    return found;
}

uint32_t demi_little_endian(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* half a byte at a time, so that the table is small */
uint32_t demi_crc(uint32_t crc, const uint8_t *bytes, uint64_t count)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    crc = ~crc;
    while (count-- != 0) {
        crc ^= *bytes++;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

void *demi_give(demi_arena *arena, uint64_t count, unsigned size)
{
    uint64_t bytes = (count * size + 7) & ~(uint64_t)7; /* counts are below 2^50 */
    uint8_t *found = arena->next, *end;
    if (bytes > arena->left) {
        arena->missing = bytes - arena->left;
        return NULL;
    }
    arena->left -= bytes;
    for (end = found + (size_t)bytes; arena->next != end; ++arena->next) {
        *arena->next = 0;
    }
    return found;
}

int demi_compare(const char *one, const char *other)
{
    while (*one == *other && *one != 0) {
        ++one;
        ++other;
    }
    return (int)(unsigned char)*one - (int)(unsigned char)*other;
}
