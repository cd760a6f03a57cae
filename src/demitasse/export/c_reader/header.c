/* The header: all that it says is checked before anything is decoded by it. */
#include "parts.h"

#define MOST_BYTES ((uint64_t)1 << 28)
#define MOST_NAMES ((uint64_t)1 << 20)
#define LARGEST ((uint64_t)1 << 48)
#define PART ((uint64_t)1 << 19)

/* Reads names, each followed by a text if they are keys; returns their offsets. */
static uint32_t *read_names(demi_reader *r, uint32_t count, unsigned keys)
{
    uint32_t *names = (uint32_t *)demi_give(r, count, 4), i;
    uint8_t *free = r->free;
    const uint8_t **order = (const uint8_t **)demi_give(r, count, sizeof *order);
    for (i = 0; i < count << keys && r->status == DEMI_OK; ++i) {
        const unsigned is_text = i & keys;
        const uint64_t length = is_text ? demi_short(r, UINT64_MAX) : 0;
        const uint8_t *text = r->next;
        if (is_text) {
            demi_take(r, length);
        } else {
            order[i >> keys] = text;
            names[i >> keys] = (uint32_t)(text - r->header);
            while (demi_byte(r) != 0) {
            }
        }
        if (!demi_is_utf8(text, r->next)) {
            r->status |= DEMI_WRONG;
        }
    }
    demi_expect_different(r, order, count);
    r->free = free;
    return names;
}

void demi_describe_entry(demi_reader *r, uint32_t index)
{
    const demi_entry *entry = r->entries + index;
    demi_tensor *tensor = &r->tensor;
    uint64_t product = 1;
    unsigned i;
    r->next = r->header + entry->shape;
    r->stop = r->header_end;
    for (i = 0; i < DEMI_MOST_DIMENSIONS; ++i) {
        const uint64_t size = i < entry->dimensions ? demi_short(r, LARGEST / product) : 1;
        tensor->shape[i] = size;
        product *= size == 0 ? 1 : size;
    }
    r->type = demi_kinds[entry->type];
    tensor->name = (const char *)r->header + r->texts[index];
    tensor->dimensions = entry->dimensions;
    tensor->type = entry->type;
    tensor->value_bytes = r->type.size;
    r->columns = tensor->shape[0] == 0 ? 0 : demi_product(tensor, 1);
    r->part = tensor->size = tensor->shape[0] * r->columns;
    tensor->bytes = tensor->size * r->type.size;
    if (entry->cut && r->columns != 0) {
        r->part = r->columns > PART ? PART : PART / r->columns * r->columns;
    }
}

/* Reads the settings of a tensor, and checks what the header has said of it. */
static void check_tensor(demi_reader *r, uint32_t index)
{
    demi_entry *entry = r->entries + index;
    const demi_tensor *tensor = &r->tensor;
    const uint8_t *settings = r->next;
    entry->settings = (uint32_t)(settings - r->header);
    demi_describe_entry(r, index);
    r->next = settings;
    if ((tensor->type >= DEMI_COMPLEX64 && tensor->type <= DEMI_COMPLEX32 &&
         (tensor->dimensions == 0 || tensor->shape[tensor->dimensions - 1] != 2)) ||
        (entry->cut && entry->codec != 3) ||
        (!entry->begins && (index == 0 || entry->codec == 3 || entry[-1].codec == 3))) {
        r->status |= DEMI_WRONG;
        return;
    }
    entry->first = entry->begins ? index : entry[-1].first;
    if (tensor->bytes > r->limit) {
        demi_fail(r, DEMI_LIMIT);
    }
    r->limit -= tensor->bytes;
    demi_read_settings(r, entry->codec);
}

/* Reads the table of tensors. */
static void read_tensors(demi_reader *r)
{
    const uint8_t *columns = demi_take(r, 3 * (uint64_t)r->tensors);
    uint32_t i;
    r->entries = (demi_entry *)demi_give(r, r->tensors, sizeof(demi_entry));
    for (i = 0; i < r->tensors && r->status == DEMI_OK; ++i, ++columns) {
        demi_entry *entry = r->entries + i;
        const unsigned codec = columns[r->tensors];
        entry->type = *columns;
        entry->codec = (uint8_t)(codec >> 2);
        entry->cut = codec >> 1 & 1;
        entry->begins = codec & 1;
        entry->dimensions = columns[2 * r->tensors];
        entry->shape = (uint32_t)(r->next - r->header);
        if (entry->type >= DEMI_TYPES || entry->codec > 3 || entry->dimensions > DEMI_MOST_DIMENSIONS) {
            r->status |= DEMI_WRONG;
            return;
        }
        demi_describe_entry(r, i);
    }
    for (i = 0; i < r->tensors && r->status == DEMI_OK; ++i) {
        check_tensor(r, i);
    }
}

/* Finds out where each payload lies; the file ends with the last one. */
static void read_payloads(demi_reader *r, const uint8_t *payload)
{
    uint32_t i, checksums = 0;
    for (i = 0; i < r->tensors; ++i) {
        demi_entry *entry = r->entries + i;
        const uint8_t *lengths = r->next;
        uint64_t begin = 0;
        demi_describe_entry(r, i);
        r->next = lengths;
        entry->length = (uint32_t)(lengths - r->header);
        entry->payload = payload;
        entry->checksum = checksums + entry->begins - 1u;
        do {
            const uint64_t length = entry->begins ? demi_short(r, LARGEST) : 0;
            if (length > (uint64_t)(r->data_end - payload)) {
                demi_fail(r, DEMI_CUT_SHORT);
            }
            if (r->status != DEMI_OK) {
                return;
            }
            payload += (size_t)length;
            checksums += entry->begins;
            begin += r->part;
        } while (begin < r->tensor.size);
    }
    r->checksums = demi_take(r, 4 * (uint64_t)checksums);
    if (r->next != r->stop) {
        r->status |= DEMI_WRONG;
    }
    if (payload != r->data_end) {
        demi_fail(r, DEMI_CUT_SHORT);
    }
}

/* Decodes a text whose first bytes are known. */
static void decode(demi_reader *r, uint8_t *text, uint64_t known, uint64_t count)
{
    uint8_t *free = r->free;
    uint64_t i;
    r->started = 0;
    demi_start(r);
    demi_bytes_begin(r, count, 1);
    for (i = 0; i < count && r->status == DEMI_OK; ++i) {
        text[i] = (uint8_t)demi_next_byte(r, i < known ? 256u + text[i] : 0);
    }
    r->free = free;
}

/* Decodes the plain header, whose coded form is read next, and checks its checksum. */
static void decode_header(demi_reader *r, uint64_t plain, uint64_t coded)
{
    uint8_t *text = (uint8_t *)demi_give(r, DEMI_DECODED + plain, 1);
    const uint8_t *checksum = demi_take(r, 4), *bytes = demi_take(r, coded);
    r->stream = demi_primer;
    r->stream_end = demi_primer + DEMI_CODED;
    decode(r, text, 0, DEMI_DECODED);
    r->stream = bytes;
    r->stream_end = r->next;
    decode(r, text, DEMI_PRIMER, DEMI_PRIMER + plain);
    if (r->status == DEMI_OK) {
        r->header = r->next = text + DEMI_PRIMER;
        r->header_end = r->stop = r->header + (size_t)plain;
        r->crc = demi_crc(0, r->data, (uint64_t)(checksum - r->data));
        r->crc = demi_crc(r->crc, bytes, coded);
        r->crc = demi_crc(r->crc, r->header, plain);
        demi_expect_crc(r, checksum, DEMI_HEADER);
    }
}

void demi_read_header(demi_reader *r, uint64_t version)
{
    const uint8_t *payload;
    const uint64_t plain = demi_short(r, MOST_BYTES), coded = demi_short(r, MOST_BYTES);
    uint32_t counts[3], others, i; /* of pieces of metadata, other names, tensors */
    if (plain > 65536 + 64 * coded) {
        r->status |= DEMI_WRONG;
    }
    payload = r->next + 4 + (size_t)coded;
    decode_header(r, plain, coded);
    for (i = 0; i < 3; ++i) {
        counts[i] = (uint32_t)demi_short(r, MOST_NAMES);
    }
    others = counts[1];
    r->tensors = counts[2];
    r->names = r->tensors + others;
    read_names(r, counts[0], 1);
    r->texts = read_names(r, r->names, 0);
    r->meant = (uint32_t *)demi_give(r, others, 4);
    for (i = 0; i < others && r->status == DEMI_OK; ++i) {
        r->meant[i] = (uint32_t)demi_short(r, MOST_NAMES);
        if (r->meant[i] >= r->tensors) {
            r->status |= DEMI_WRONG;
        }
    }
    read_tensors(r);
    if (version != 1u + r->has_scales) {
        r->status |= DEMI_WRONG;
    }
    r->counts = (uint32_t *)demi_give(r, r->rows, 4);
    if (r->status == DEMI_OK) {
        read_payloads(r, payload);
    }
    demi_settle(r, DEMI_HEADER, r->header == NULL ? DEMI_CUT_SHORT : DEMI_HEADER);
}
