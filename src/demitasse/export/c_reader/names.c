/* Names and other texts of the header: they are UTF-8, and no two names are the same. */
#include "parts.h"

/* Expects a text to be UTF-8. */
static void expect_utf8(demi_reader *r, const uint8_t *text, const uint8_t *end)
{
    while (text < end) {
        const unsigned first = *text++;
        unsigned more = first > 0xEF ? 3 : first > 0xDF ? 2 : first > 0xC1;
        /* between what the second byte must be (The Unicode Standard, table 3-7); then the others */
        unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (first > 0xF4 || (first > 0x7F && more == 0)) {
            demi_refuse(r);
        }
        for (; more != 0; --more) {
            if (text == end || *text < least || *text > most) {
                demi_refuse(r);
                return;
            }
            ++text;
            least = 0x80;
            most = 0xBF;
        }
    }
}

/* Expects names to be different: puts them in order, which compares all that are the same with one another.
 *
 * Shell 1959, A high-speed sorting procedure, with the distances 3 d + 1 of Knuth 1973, The art of computer programming,
 * vol. 3, 5.2.1.
 */
static void expect_different(demi_reader *r, uint32_t *names, uint32_t count)
{
    uint32_t distance = 1, i, at;
    while (distance < count) {
        distance = 3 * distance + 1;
    }
    while ((distance /= 3) != 0) {
        for (i = distance; i < count && r->status == DEMI_OK; ++i) {
            const uint32_t name = names[i];
            for (at = i; at >= distance; at -= distance) {
                const int order = demi_compare(r->header + names[at - distance], r->header + name);
                if (order == 0) {
                    demi_refuse(r);
                }
                if (order <= 0) {
                    break;
                }
                names[at] = names[at - distance];
            }
            names[at] = name;
        }
    }
}

/* Reads names, each followed by a text if they are keys. */
void demi_read_names(demi_reader *r, uint32_t *names, uint32_t count, unsigned keys)
{
    uint8_t *free = r->free;
    uint32_t *order = (uint32_t *)demi_give(r, count, 4), i;
    unsigned is_text;
    for (i = 0; i < count && r->status == DEMI_OK; ++i) {
        order[i] = (uint32_t)(r->next - r->header);
        if (names != NULL) {
            names[i] = order[i];
        }
        for (is_text = 0; is_text <= keys; ++is_text) {
            const uint64_t length = is_text ? demi_short(r, UINT64_MAX) : 0;
            const uint8_t *text = r->next;
            if (is_text) {
                demi_take(r, length);
            } else {
                while (demi_byte(r) != 0) {
                }
            }
            expect_utf8(r, text, r->next);
        }
    }
    expect_different(r, order, count);
    r->free = free;
}
