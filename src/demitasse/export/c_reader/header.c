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
static uint32_t read_name(const demi_file *file, demi_cursor *cursor)
{
    const uint8_t *name = cursor->next;
    while (demi_byte(cursor) != 0) {
    }
    if (cursor->status == DEMI_OK && !is_utf8(name, (uint64_t)(cursor->next - name))) {
        cursor->status = DEMI_HEADER;
    }
    return (uint32_t)(name - file->header);
}

static int compare(const demi_file *file, uint32_t one, uint32_t other)
{
    return demi_compare((const char *)file->header + one, (const char *)file->header + other);
}

/* Moves down what stands at a place of a heap of numbers of texts; the greatest is at its top. */
static void sink_down(const demi_file *file, const uint32_t *texts, uint32_t *order, uint32_t at, uint32_t count)
{
    const uint32_t moved = order[at];
    uint32_t child;
    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && compare(file, texts[order[child]], texts[order[child + 1]]) < 0) {
            ++child;
        }
        if (compare(file, texts[moved], texts[order[child]]) >= 0) {
            break;
        }
        order[at] = order[child];
    }
    order[at] = moved;
}

/* Puts numbers of texts in order (Williams 1964, heapsort); tells whether no two texts are the same. */
static int in_order(const demi_file *file, const uint32_t *texts, uint32_t *order, uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; ++i) {
        order[i] = i;
    }
    for (i = count / 2; i-- != 0;) {
        sink_down(file, texts, order, i, count);
    }
    for (i = count; i-- > 1;) {
        const uint32_t greatest = order[0];
        order[0] = order[i];
        order[i] = greatest;
        sink_down(file, texts, order, 0, i);
    }
    for (i = 1; i < count; ++i) {
        if (compare(file, texts[order[i - 1]], texts[order[i]]) == 0) {
            return 0;
        }
    }
    return 1;
}

/* Passes over the metadata; arena: memory that is free again afterwards. */
static int read_metadata(const demi_file *file, demi_cursor *cursor, demi_arena arena, uint64_t *missing)
{
    uint32_t *keys = (uint32_t *)demi_give(&arena, file->pieces, 4), i;
    uint32_t *order = (uint32_t *)demi_give(&arena, file->pieces, 4);
    if (keys == NULL || order == NULL) {
        *missing = arena.missing;
        return DEMI_ARENA;
    }
    for (i = 0; i < file->pieces && cursor->status == DEMI_OK; ++i) {
        uint64_t length;
        const uint8_t *text;
        keys[i] = read_name(file, cursor);
        length = demi_short(cursor, MOST_BYTES);
        text = demi_take(cursor, length);
        if (text != NULL && !is_utf8(text, length)) {
            cursor->status = DEMI_HEADER;
        }
    }
    return cursor->status == DEMI_OK && in_order(file, keys, order, file->pieces) ? DEMI_OK : DEMI_HEADER;
}

static int read_names(demi_file *file, demi_cursor *cursor, uint32_t others, demi_arena *arena)
{
    uint32_t *texts = (uint32_t *)demi_give(arena, (uint64_t)file->names + others, 4), i;
    uint32_t *sorted = (uint32_t *)demi_give(arena, file->names, 4);
    if (texts == NULL || sorted == NULL) {
        return DEMI_ARENA;
    }
    file->texts = texts;
    file->sorted = sorted;
    for (i = 0; i < file->names && cursor->status == DEMI_OK; ++i) {
        texts[i] = read_name(file, cursor);
    }
    for (i = 0; i < others && cursor->status == DEMI_OK; ++i) {
        texts[file->names + i] = (uint32_t)demi_short(cursor, MOST_NAMES);
        if (texts[file->names + i] >= file->tensors) {
            cursor->status = DEMI_HEADER;
        }
    }
    return cursor->status == DEMI_OK && in_order(file, texts, sorted, file->names) ? DEMI_OK : DEMI_HEADER;
}

/* Reads the settings of a tensor; returns DEMI_HEADER if they contradict the format. */
static int check_tensor(const demi_file *file, demi_cursor *cursor, uint32_t index, uint64_t *bytes, uint32_t *scaled)
{
    demi_entry *entry = file->entries + index;
    const demi_entry *before = entry - 1;
    demi_settings settings;
    demi_tensor tensor;
    demi_describe(file, index, &tensor);
    if (demi_kinds[entry->type].is_complex && (tensor.dimensions == 0 || tensor.shape[tensor.dimensions - 1] != 2)) {
        return DEMI_HEADER;
    }
    if ((entry->cut && entry->codec != 3) ||
        (!entry->begins && (index == 0 || entry->codec == 3 || before->codec == 3))) {
        return DEMI_HEADER;
    }
    entry->first = entry->begins ? index : before->first;
    if (entry->codec > 1) {
        if (demi_read_settings(cursor, &tensor, entry->codec, &settings) != DEMI_OK) {
            return DEMI_HEADER;
        }
        *scaled |= settings.kind == 3;
    }
    *bytes = tensor.bytes;
    return cursor->status;
}

static int read_tensors(demi_file *file, demi_cursor *cursor, uint64_t limit)
{
    const uint8_t *types = demi_take(cursor, file->tensors), *codecs = demi_take(cursor, file->tensors);
    const uint8_t *dimensions = demi_take(cursor, file->tensors);
    uint32_t i, scaled = 0;
    uint64_t left = limit, bytes;
    if (cursor->status != DEMI_OK) {
        return DEMI_HEADER;
    }
    for (i = 0; i < file->tensors; ++i) {
        demi_entry *entry = file->entries + i;
        uint64_t product = 1;
        unsigned j;
        entry->type = types[i];
        entry->codec = codecs[i] >> 2;
        entry->cut = codecs[i] >> 1 & 1;
        entry->begins = codecs[i] & 1;
        entry->dimensions = dimensions[i];
        entry->shape = (uint32_t)(cursor->next - file->header);
        if (entry->type >= DEMI_TYPES || entry->codec > 3 || entry->dimensions > DEMI_MOST_DIMENSIONS) {
            return DEMI_HEADER;
        }
        for (j = 0; j < entry->dimensions; ++j) {
            const uint64_t size = demi_short(cursor, LARGEST), factor = size == 0 ? 1 : size;
            if (factor > LARGEST / product) {
                return DEMI_HEADER;
            }
            product *= factor;
        }
    }
    for (i = 0; i < file->tensors; ++i) {
        file->entries[i].settings = (uint32_t)(cursor->next - file->header);
        if (cursor->status != DEMI_OK || check_tensor(file, cursor, i, &bytes, &scaled) != DEMI_OK) {
            return DEMI_HEADER;
        }
        if (bytes > left) {
            return DEMI_LIMIT;
        }
        left -= bytes;
    }
    return scaled + 1 == file->version ? DEMI_OK : DEMI_HEADER;
}

uint64_t demi_parts(const demi_tensor *tensor, uint64_t *size)
{
    const uint64_t columns = demi_columns(tensor);
    *size = columns > PART ? PART : columns == 0 ? 1 : PART / columns * columns;
    return tensor->size == 0 ? 1 : (tensor->size - 1) / *size + 1;
}

/* Finds out where each payload lies; the file ends with the last one. */
static int read_payloads(demi_file *file, demi_cursor *cursor, uint64_t at)
{
    demi_tensor tensor;
    uint64_t parts, unused;
    uint32_t i;
    for (i = 0; i < file->tensors; ++i) {
        demi_entry *entry = file->entries + i;
        entry->length = (uint32_t)(cursor->next - file->header);
        entry->payload = (size_t)at;
        demi_describe(file, i, &tensor);
        for (parts = entry->cut ? demi_parts(&tensor, &unused) : entry->begins; parts != 0; --parts) {
            at += demi_short(cursor, LARGEST);
            if (cursor->status != DEMI_OK || at > file->size) {
                return cursor->status != DEMI_OK ? DEMI_HEADER : DEMI_CUT_SHORT;
            }
        }
    }
    for (i = 0; i < file->tensors; ++i) {
        demi_entry *entry = file->entries + i;
        entry->checksum = (uint32_t)(cursor->next - file->header);
        demi_describe(file, i, &tensor);
        for (parts = entry->cut ? demi_parts(&tensor, &unused) : entry->begins; parts != 0; --parts) {
            if (demi_take(cursor, 4) == NULL) {
                return DEMI_HEADER;
            }
        }
    }
    if (cursor->next != cursor->end) {
        return DEMI_HEADER;
    }
    return at == file->size ? DEMI_OK : DEMI_CUT_SHORT;
}

/* Decodes the plain header behind the cursor's front, and checks its checksum. */
static int decode_header(demi_file *file, demi_cursor *front, uint64_t coded, demi_arena arena, uint64_t *missing)
{
    uint8_t *plain = file->arena + file->kept;
    const uint64_t before = (uint64_t)(front->next - file->data);
    const uint8_t *checksum = demi_take(front, 4), *bytes = demi_take(front, coded);
    demi_bytes model;
    uint32_t crc;
    uint32_t i;
    int status;
    if (bytes == NULL) {
        return DEMI_CUT_SHORT;
    }
    if (demi_bytes_begin(&model, file->tables, &arena, demi_primer_length() + file->header_bytes, 1) != DEMI_OK) {
        *missing = arena.missing;
        return DEMI_ARENA;
    }
    demi_bytes_learn_primer(&model);
    demi_start(&file->place.decoder, bytes, (size_t)coded);
    status = demi_start(&file->place.decoder, NULL, 0);
    for (i = 0; i < file->header_bytes && status == DEMI_OK; ++i) {
        status = demi_bytes_next(&model, &file->place.decoder, plain + i);
    }
    crc = demi_crc(0, file->data, before);
    crc = demi_crc(crc, bytes, coded);
    crc = demi_crc(crc, plain, file->header_bytes);
    return status == DEMI_OK && crc == demi_little_endian(checksum) ? DEMI_OK : DEMI_HEADER;
}

int demi_read_header(demi_file *file, demi_cursor *front, uint64_t coded, demi_arena *arena, uint64_t limit)
{
    uint8_t *plain = (uint8_t *)demi_give(arena, file->header_bytes, 1);
    demi_cursor cursor;
    uint32_t others;
    int status;
    if (plain == NULL) {
        return DEMI_ARENA;
    }
    file->header = plain;
    file->kept = (size_t)(plain - file->arena);
    status = decode_header(file, front, coded, *arena, &arena->missing);
    if (status != DEMI_OK) {
        return status;
    }
    cursor.next = plain;
    cursor.end = plain + file->header_bytes;
    cursor.status = DEMI_OK;
    file->pieces = (uint32_t)demi_short(&cursor, MOST_NAMES);
    others = (uint32_t)demi_short(&cursor, MOST_NAMES);
    file->tensors = (uint32_t)demi_short(&cursor, MOST_NAMES);
    file->names = file->tensors + others;
    status = cursor.status != DEMI_OK ? DEMI_HEADER : read_metadata(file, &cursor, *arena, &arena->missing);
    status = status != DEMI_OK ? status : read_names(file, &cursor, others, arena);
    if (status != DEMI_OK) {
        return status;
    }
    file->entries = (demi_entry *)demi_give(arena, file->tensors, sizeof(demi_entry));
    if (file->entries == NULL) {
        return DEMI_ARENA;
    }
    status = read_tensors(file, &cursor, limit);
    return status != DEMI_OK ? status : read_payloads(file, &cursor, (uint64_t)(front->next - file->data));
}
