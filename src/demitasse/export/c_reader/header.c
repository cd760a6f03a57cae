/* The header: all that it says is checked before anything is decoded by it. */
#include "parts.h"

#define MOST_BYTES ((uint64_t)1 << 28)
#define MOST_NAMES ((uint64_t)1 << 20)
#define LARGEST ((uint64_t)1 << 48)
#define PART ((uint64_t)1 << 19)

static int is_utf8(const uint8_t *text, uint64_t count)
{
    while (count != 0) {
        uint32_t point = *text++;
        unsigned more = point < 0x80 ? 0 : point < 0xE0 ? 1 : point < 0xF0 ? 2 : 3, j;
        if (more != 0) {
            if (point < 0xC2 || point > 0xF4 || more >= count) {
                return 0;
            }
            point &= 0x3Fu >> more;
            for (j = 0; j < more; ++j) {
                if ((*text & 0xC0) != 0x80) {
                    return 0;
                }
                point = point << 6 | (*text++ & 0x3Fu);
            }
            if ((more > 1 && point < (uint32_t)1 << (5 * more + 1)) || point >> 11 == 0x1B || point > 0x10FFFF) {
                return 0;
            }
        }
        count -= more + 1;
    }
    return 1;
}

/* Reads a name, which ends with a zero byte; returns its offset. */
static uint32_t read_name(demi_reader *r)
{
    const uint8_t *name = r->next;
    while (demi_byte(r) != 0) {
    }
    if (!is_utf8(name, (uint64_t)(r->next - name))) {
        demi_fail(r, DEMI_HEADER);
    }
    return (uint32_t)(name - r->header);
}

static int compare(const demi_reader *r, uint32_t one, uint32_t other)
{
    return demi_compare(r->header + one, r->header + other);
}

/* Puts names in order (Williams 1964, heapsort), and expects no two to be the same. */
static void expect_different(demi_reader *r, uint32_t *names, uint32_t count)
{
    uint32_t left = count, begun = count / 2, at, child, name;
    while (left > 1 && r->status == DEMI_OK) {
        if (begun != 0) {
            name = names[--begun];
        } else {
            name = names[--left];
            names[left] = names[0];
            if (left + 1 < count && compare(r, names[left], names[left + 1]) == 0) {
                demi_fail(r, DEMI_HEADER);
            }
        }
        for (at = begun; (child = 2 * at + 1) < left; at = child) {
            child += child + 1 < left && compare(r, names[child], names[child + 1]) < 0;
            if (compare(r, name, names[child]) >= 0) {
                break;
            }
            names[at] = names[child];
        }
        names[at] = name;
    }
    if (count > 1 && r->status == DEMI_OK && compare(r, names[0], names[1]) == 0) {
        demi_fail(r, DEMI_HEADER);
    }
}

/* Reads names, each followed by a text if they are keys. */
static void read_names(demi_reader *r, uint32_t *names, uint32_t count, unsigned keys)
{
    uint8_t *free = r->free;
    uint32_t *order = (uint32_t *)demi_give(r, count, 4), i;
    for (i = 0; i < count && r->status == DEMI_OK; ++i) {
        order[i] = read_name(r);
        if (names != NULL) {
            names[i] = order[i];
        }
        if (keys) {
            const uint64_t length = demi_short(r, MOST_BYTES);
            const uint8_t *text = demi_take(r, length);
            if (text != NULL && !is_utf8(text, length)) {
                demi_fail(r, DEMI_HEADER);
            }
        }
    }
    expect_different(r, order, count);
    r->free = free;
}

void demi_describe_entry(demi_reader *r, uint32_t index)
{
    const demi_entry *entry = r->entries + index;
    const uint8_t *next = r->next, *stop = r->stop;
    demi_tensor *tensor = &r->tensor;
    unsigned i;
    r->next = r->header + entry->shape;
    r->stop = r->header_end;
    r->type = demi_kinds[entry->type];
    tensor->name = (const char *)r->header + r->texts[index];
    tensor->dimensions = entry->dimensions;
    tensor->type = entry->type;
    tensor->value_bytes = r->type.size;
    tensor->size = 1;
    for (i = 0; i < entry->dimensions; ++i) {
        tensor->shape[i] = demi_short(r, LARGEST);
        tensor->size *= tensor->shape[i];
    }
    tensor->bytes = tensor->size * tensor->value_bytes;
    r->next = next;
    r->stop = stop;
}

/* Reads the settings of a tensor, and checks what the header has said of it; tells whether it has scales. */
static unsigned check_tensor(demi_reader *r, uint32_t index)
{
    demi_entry *entry = r->entries + index;
    const demi_tensor *tensor = &r->tensor;
    entry->settings = (uint32_t)(r->next - r->header);
    demi_describe_entry(r, index);
    if ((tensor->type >= DEMI_COMPLEX64 && tensor->type <= DEMI_COMPLEX32 &&
         (tensor->dimensions == 0 || tensor->shape[tensor->dimensions - 1] != 2)) ||
        (entry->cut && entry->codec != 3) ||
        (!entry->begins && (index == 0 || entry->codec == 3 || entry[-1].codec == 3))) {
        demi_fail(r, DEMI_HEADER);
        return 0;
    }
    entry->first = entry->begins ? index : entry[-1].first;
    if (tensor->bytes > r->limit) {
        demi_fail(r, DEMI_LIMIT);
    }
    r->limit -= tensor->bytes;
    if (entry->codec < 2) {
        return 0;
    }
    demi_read_settings(r, entry->codec);
    return r->settings.kind == 3;
}

uint64_t demi_parts(const demi_reader *r, unsigned cut, uint64_t *size)
{
    const uint64_t columns = demi_columns(&r->tensor), all = r->tensor.size;
    *size = !cut ? all : columns > PART ? PART : columns == 0 ? 1 : PART / columns * columns;
    return !cut || all == 0 ? 1 : (all - 1) / *size + 1;
}

/* Reads the table of tensors; returns 2 if there are scales, else 1. */
static uint32_t read_tensors(demi_reader *r)
{
    const uint8_t *columns = demi_take(r, 3 * (uint64_t)r->tensors);
    uint32_t i, version = 1;
    unsigned j;
    r->entries = (demi_entry *)demi_give(r, r->tensors, sizeof(demi_entry));
    for (i = 0; i < r->tensors && r->status == DEMI_OK; ++i) {
        demi_entry *entry = r->entries + i;
        uint64_t product = 1;
        const unsigned codec = columns[r->tensors + i];
        entry->type = columns[i];
        entry->codec = (uint8_t)(codec >> 2);
        entry->cut = codec >> 1 & 1;
        entry->begins = codec & 1;
        entry->dimensions = columns[2 * r->tensors + i];
        entry->shape = (uint32_t)(r->next - r->header);
        if (entry->type >= DEMI_TYPES || entry->codec > 3 || entry->dimensions > DEMI_MOST_DIMENSIONS) {
            demi_fail(r, DEMI_HEADER);
        }
        for (j = 0; j < entry->dimensions && r->status == DEMI_OK; ++j) {
            const uint64_t size = demi_short(r, LARGEST / product);
            product *= size == 0 ? 1 : size;
        }
    }
    for (i = 0; i < r->tensors && r->status == DEMI_OK; ++i) {
        version |= 2u * check_tensor(r, i);
    }
    return version == 3 ? 2 : 1;
}

/* Finds out where each payload lies; the file ends with the last one. */
static void read_payloads(demi_reader *r, const uint8_t *payload)
{
    uint32_t i, checksums = 0;
    uint64_t parts, unused, length;
    for (i = 0; i < r->tensors && r->status == DEMI_OK; ++i) {
        demi_entry *entry = r->entries + i;
        demi_describe_entry(r, i);
        entry->length = (uint32_t)(r->next - r->header);
        entry->payload = payload;
        entry->checksum = checksums;
        for (parts = entry->begins ? demi_parts(r, entry->cut, &unused) : 0; parts != 0; --parts) {
            length = demi_short(r, LARGEST);
            if (length > (uint64_t)(r->data + r->size - payload)) {
                demi_fail(r, DEMI_CUT_SHORT);
            }
            if (r->status != DEMI_OK) {
                return;
            }
            payload += (size_t)length;
            ++checksums;
        }
    }
    r->checksums = demi_take(r, 4 * (uint64_t)checksums);
    if (r->next != r->stop) {
        demi_fail(r, DEMI_HEADER);
    }
    if (payload != r->data + r->size) {
        demi_fail(r, DEMI_CUT_SHORT);
    }
}

/* Decodes the plain header, whose coded form is read next, and checks its checksum. */
static void decode_header(demi_reader *r, uint64_t plain, uint64_t coded)
{
    uint8_t *header = (uint8_t *)demi_give(r, plain, 1), *free = r->free, *to = header;
    const uint8_t *front = r->next, *checksum = demi_take(r, 4), *bytes = demi_take(r, coded);
    uint32_t crc;
    demi_bytes_begin(r, plain, 0);
    r->stream = bytes;
    r->stream_end = r->next;
    demi_start(r);
    r->free = free; /* the model's memory is used until something else is given there */
    r->header = r->status == DEMI_OK ? header : NULL;
    for (; plain != 0 && r->status == DEMI_OK; --plain) {
        *to++ = (uint8_t)demi_next_byte(r, -1);
    }
    if (r->status == DEMI_OK) {
        crc = demi_crc(0, r->data, (uint64_t)(front - r->data));
        crc = demi_crc(crc, bytes, coded);
        crc = demi_crc(crc, header, (uint64_t)(to - header));
        for (plain = 0; plain < 4; ++plain, crc >>= 8) {
            if (checksum[plain] != (uint8_t)crc) {
                demi_fail(r, DEMI_HEADER);
            }
        }
    }
    r->next = header;
    r->header_end = r->stop = to;
}

void demi_read_header(demi_reader *r)
{
    const uint8_t *payload;
    const uint64_t plain = demi_short(r, MOST_BYTES), coded = demi_short(r, MOST_BYTES);
    uint32_t pieces, others, i;
    if (plain > 65536 + 64 * coded) {
        demi_fail(r, DEMI_HEADER);
    }
    payload = r->next + 4 + (size_t)coded;
    decode_header(r, plain, coded);
    pieces = (uint32_t)demi_short(r, MOST_NAMES);
    others = (uint32_t)demi_short(r, MOST_NAMES);
    r->tensors = (uint32_t)demi_short(r, MOST_NAMES);
    r->names = r->tensors + others;
    read_names(r, NULL, pieces, 1);
    r->texts = (uint32_t *)demi_give(r, (uint64_t)r->names + others, 4);
    read_names(r, r->texts, r->names, 0);
    for (i = r->names; i < r->names + others && r->status == DEMI_OK; ++i) {
        r->texts[i] = (uint32_t)demi_short(r, MOST_NAMES);
        if (r->texts[i] >= r->tensors) {
            demi_fail(r, DEMI_HEADER);
        }
    }
    if (read_tensors(r) != r->version) {
        demi_fail(r, DEMI_HEADER);
    }
    read_payloads(r, payload);
    if (r->status == DEMI_ENDS) {
        r->status = r->header == NULL ? DEMI_CUT_SHORT : DEMI_HEADER;
    }
}
