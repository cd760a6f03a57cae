/* The header: all that it says is checked before anything is decoded by it. */
#include "parts.h"

#define MOST_BYTES ((uint64_t)1 << 28)
#define MOST_NAMES ((uint64_t)1 << 20)
#define LARGEST ((uint64_t)1 << 48)
#define PART ((uint64_t)1 << 19)

void demi_describe_entry(demi_reader *r, uint32_t index)
{
    const demi_entry *entry = r->entries + index;
    const uint8_t *next = r->next, *stop = r->stop;
    demi_tensor *tensor = &r->tensor;
    unsigned i;
    r->next = r->header + entry->shape;
    r->stop = r->header_end;
    for (i = 0; i < DEMI_MOST_DIMENSIONS; ++i) {
        tensor->shape[i] = i < entry->dimensions ? demi_short(r, LARGEST) : 1;
    }
    r->next = next;
    r->stop = stop;
    r->type = demi_kinds[entry->type];
    tensor->name = (const char *)r->header + r->texts[index];
    tensor->dimensions = entry->dimensions;
    tensor->type = entry->type;
    tensor->value_bytes = r->type.size;
    tensor->size = demi_product(tensor, 0);
    tensor->bytes = tensor->size * tensor->value_bytes;
    r->columns = tensor->shape[0] == 0 ? 0 : demi_product(tensor, 1);
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
        demi_refuse(r);
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
    const uint64_t columns = r->columns, all = r->tensor.size;
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
            demi_refuse(r);
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
    for (i = 0; i < r->tensors; ++i) {
        demi_entry *entry = r->entries + i;
        demi_describe_entry(r, i);
        entry->length = (uint32_t)(r->next - r->header);
        entry->payload = payload;
        entry->checksum = checksums;
        for (parts = entry->begins ? demi_parts(r, entry->cut, &unused) : 0; parts != 0; --parts) {
            length = demi_short(r, LARGEST);
            if (length > (uint64_t)(r->data_end - payload)) {
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
        demi_refuse(r);
    }
    if (payload != r->data_end) {
        demi_fail(r, DEMI_CUT_SHORT);
    }
}

/* Decodes a text whose first bytes are known. */
static void decode(demi_reader *r, const uint8_t *stream, const uint8_t *end, uint8_t *text, uint64_t known,
                   uint64_t count)
{
    uint8_t *free = r->free;
    uint64_t i;
    r->stream = stream;
    r->stream_end = end;
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
    decode(r, demi_primer, demi_primer + demi_primer_bytes, text, 0, DEMI_DECODED);
    decode(r, bytes, r->next, text, DEMI_PRIMER, DEMI_PRIMER + plain);
    if (r->status == DEMI_OK) {
        r->header = r->next = text + DEMI_PRIMER;
        r->header_end = r->stop = r->header + (size_t)plain;
        r->crc = demi_crc(0, r->data, (uint64_t)(checksum - r->data));
        r->crc = demi_crc(r->crc, bytes, coded);
        r->crc = demi_crc(r->crc, r->header, plain);
        demi_expect_crc(r, checksum, DEMI_HEADER);
    }
}

void demi_read_header(demi_reader *r)
{
    const uint8_t *payload;
    const uint64_t plain = demi_short(r, MOST_BYTES), coded = demi_short(r, MOST_BYTES);
    uint32_t pieces, others, i;
    if (plain > 65536 + 64 * coded) {
        demi_refuse(r);
    }
    payload = r->next + 4 + (size_t)coded;
    decode_header(r, plain, coded);
    pieces = (uint32_t)demi_short(r, MOST_NAMES);
    others = (uint32_t)demi_short(r, MOST_NAMES);
    r->tensors = (uint32_t)demi_short(r, MOST_NAMES);
    r->names = r->tensors + others;
    demi_read_names(r, NULL, pieces, 1);
    r->texts = (uint32_t *)demi_give(r, (uint64_t)r->names + others, 4);
    demi_read_names(r, r->texts, r->names, 0);
    for (i = r->names; i < r->names + others && r->status == DEMI_OK; ++i) {
        r->texts[i] = (uint32_t)demi_short(r, MOST_NAMES);
        if (r->texts[i] >= r->tensors) {
            demi_refuse(r);
        }
    }
    if (read_tensors(r) != r->version) {
        demi_refuse(r);
    }
    if (r->status == DEMI_OK) {
        r->counts = (uint32_t *)demi_give(r, r->rows, 4);
        read_payloads(r, payload);
    }
    if (r->status == DEMI_ENDS) {
        r->status = r->header == NULL ? DEMI_CUT_SHORT : DEMI_HEADER;
    }
}
