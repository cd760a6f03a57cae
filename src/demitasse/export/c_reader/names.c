/* Names and other texts of the header: they are UTF-8, and no two names are the same. */
#include "parts.h"

int demi_is_utf8(const uint8_t *text, const uint8_t *end)
{
    while (text != end) {
        uint32_t point = *text++, bit = 0x40; /* tells whether another byte follows; then the bits below it count */
        if (point < 0x80) {
            continue;
        }
        if (point > 0xF4) {
            return 0;
        }
        for (; (point & bit) != 0; bit <<= 5) {
            if (text == end || *text >> 6 != 2) {
                return 0;
            }
            point = point << 6 | (*text++ & 0x3Fu);
        }
        point &= bit - 1;
        /* a form that is too long, a surrogate, beyond the last */
        if (point < 0x80 || point < bit >> 5 || point >> 11 == 0x1B || point > 0x10FFFF) {
            return 0;
        }
    }
    return 1;
}

static int compare(const uint8_t *one, const uint8_t *other)
{
    while (*one == *other && *one != 0) {
        ++one;
        ++other;
    }
    return (int)*one - (int)*other;
}

/* Puts the names in order, which compares all that are the same with one another.
 *
 * Shell 1959, A high-speed sorting procedure, with the distances 3 d + 1 of Knuth 1973, The art of computer
 * programming, vol. 3, 5.2.1: no order of n names takes more than about n^1.5 steps.
 */
void demi_expect_different(demi_reader *r, const uint8_t **names, uint32_t count)
{
    uint32_t distance = 1, i, at;
    while (distance < count) {
        distance = 3 * distance + 1;
    }
    while (r->status == DEMI_OK && (distance /= 3) != 0) {
        for (i = distance; i < count; ++i) {
            for (at = i; at >= distance; at -= distance) {
                const uint8_t **high = names + at, **low = high - distance, *name = *low;
                const int order = compare(name, *high);
                if (order == 0) {
                    r->status |= DEMI_WRONG;
                    return;
                }
                if (order < 0) {
                    break;
                }
                *low = *high;
                *high = name;
            }
        }
    }
}
