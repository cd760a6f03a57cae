/* Opens files, and reads tensors, payload by payload. */
#include "parts.h"

#define NONE UINT32_MAX

int demi_open(demi_file *file, const void *data, size_t size, void *arena, size_t arena_bytes, uint64_t limit)
{
    const size_t over = (size_t)((uintptr_t)arena & 7), skipped = over == 0 ? 0 : 8 - over;
    static const demi_file closed = {0};
    demi_tables *tables;
    demi_cursor front;
    demi_arena free;
    uint64_t version, plain, coded;
    const uint8_t *magic;
    int status;
    *file = closed;
    file->place.next = NONE;
    file->data = front.next = (const uint8_t *)data;
    file->size = size;
    front.end = file->data + size;
    front.status = DEMI_OK;
    magic = demi_take(&front, 4);
    if (magic == NULL || demi_big_endian(magic, 4) != 0x64656D69) {
        return DEMI_NOT_DEMI;
    }
    version = demi_short(&front, (uint64_t)1 << 32);
    if (front.status == DEMI_OK && (version < 1 || version > 2)) {
        return DEMI_VERSION;
    }
    plain = demi_short(&front, (uint64_t)1 << 28);
    coded = demi_short(&front, (uint64_t)1 << 28);
    if (front.status != DEMI_OK || plain > 65536 + 64 * coded) {
        return front.status == DEMI_CUT_SHORT ? DEMI_CUT_SHORT : DEMI_HEADER;
    }
    file->version = (uint32_t)version;
    file->header_bytes = (uint32_t)plain;
    file->arena = (uint8_t *)arena + skipped;
    file->arena_bytes = skipped < arena_bytes ? (arena_bytes - skipped) & ~(size_t)7 : 0;
    free.next = file->arena;
    free.left = file->arena_bytes;
    free.missing = 0;
    tables = (demi_tables *)demi_give(&free, 1, sizeof(demi_tables));
    status = DEMI_ARENA;
    if (tables != NULL) {
        demi_make_tables(tables);
        file->tables = tables;
        status = demi_read_header(file, &front, coded, &free, limit);
    }
    file->kept = (size_t)(free.next - file->arena);
    file->needed = status == DEMI_ARENA ? arena_bytes + (size_t)free.missing + 8 : 0;
    if (status != DEMI_OK) {
        file->tensors = file->names = file->pieces = 0;
    }
    return status;
}

int demi_describe(const demi_file *file, uint32_t index, demi_tensor *tensor)
{
    const demi_entry *entry;
    demi_cursor cursor;
    unsigned i;
    if (index >= file->tensors) {
        return DEMI_NO_TENSOR;
    }
    entry = file->entries + index;
    cursor.next = file->header + entry->shape;
    cursor.end = file->header + file->header_bytes;
    cursor.status = DEMI_OK;
    tensor->name = (const char *)file->header + file->texts[index];
    tensor->dimensions = entry->dimensions;
    tensor->type = entry->type;
    tensor->value_bytes = demi_kinds[entry->type].size;
    tensor->size = 1;
    for (i = 0; i < entry->dimensions; ++i) {
        tensor->shape[i] = demi_short(&cursor, UINT64_MAX);
        tensor->size *= tensor->shape[i];
    }
    tensor->bytes = tensor->size * tensor->value_bytes;
    return DEMI_OK;
}

int demi_name(const demi_file *file, uint32_t i, const char **name, uint32_t *index)
{
    if (i >= file->names) {
        return DEMI_NO_TENSOR;
    }
    *name = (const char *)file->header + file->texts[i];
    *index = i < file->tensors ? i : file->texts[file->names + i - file->tensors];
    return DEMI_OK;
}

int demi_find(const demi_file *file, const char *name, uint32_t *index)
{
    uint32_t low = 0, high = file->names;
    const char *found;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = demi_compare(name, (const char *)file->header + file->texts[file->sorted[middle]]);
        if (order == 0) {
            return demi_name(file, file->sorted[middle], &found, index);
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return DEMI_NO_TENSOR;
}

int demi_metadata(const demi_file *file, const char *key, const char **text, size_t *length)
{
    demi_cursor cursor;
    uint32_t i;
    cursor.next = file->header;
    cursor.end = file->header + file->header_bytes;
    cursor.status = DEMI_OK;
    for (i = 0; i < 3 && file->pieces != 0; ++i) {
        demi_short(&cursor, UINT64_MAX);
    }
    for (i = 0; i < file->pieces; ++i) {
        const char *found = (const char *)cursor.next;
        while (demi_byte(&cursor) != 0) {
        }
        *length = (size_t)demi_short(&cursor, UINT64_MAX);
        *text = (const char *)demi_take(&cursor, *length);
        if (demi_compare(found, key) == 0) {
            return DEMI_OK;
        }
    }
    return DEMI_NO_TENSOR;
}

/* Reads a tensor whose payloads are its own, part by part. */
static int read_parts(demi_file *file, const demi_entry *entry, const demi_tensor *tensor, demi_arena arena,
                      const demi_settings *settings, demi_sink *sink, uint64_t *missing)
{
    const uint64_t columns = demi_columns(tensor), rows = demi_rows(tensor);
    uint64_t size = tensor->size, parts = 1, begin = 0, here;
    const uint8_t *payload = file->data + entry->payload, *checksum = file->header + entry->checksum;
    demi_cursor lengths, bytes;
    int status = DEMI_OK;
    lengths.next = file->header + entry->length;
    lengths.end = file->header + file->header_bytes;
    lengths.status = DEMI_OK;
    if (entry->cut) {
        parts = demi_parts(tensor, &size);
    }
    for (; parts != 0 && status == DEMI_OK; --parts) {
        demi_arena free = arena;
        here = tensor->size - begin < size ? tensor->size - begin : size;
        bytes.next = payload;
        payload += (size_t)demi_short(&lengths, UINT64_MAX);
        bytes.end = payload;
        bytes.status = DEMI_OK;
        sink->crc = demi_crc(0, bytes.next, (uint64_t)(bytes.end - bytes.next));
        if (!entry->cut) {
            status = demi_read_planes(&free, settings, rows, columns, 0, &bytes, sink);
        } else if (columns > size) {
            status = demi_read_planes(&free, settings, here, 1, begin, &bytes, sink);
        } else {
            status = demi_read_planes(&free, settings, columns == 0 ? 0 : here / columns, columns, begin, &bytes, sink);
        }
        if (status == DEMI_OK && sink->crc != demi_little_endian(checksum)) {
            status = DEMI_CHECKSUM;
        }
        *missing = free.missing;
        checksum += 4;
        begin += here;
    }
    return status;
}

/* Reads numbers by the model of bytes. */
static int read_numbers(demi_file *file, demi_arena *arena, uint64_t size, demi_sink *sink)
{
    demi_bytes model;
    uint8_t bytes[8];
    unsigned j;
    int status = demi_bytes_begin(&model, file->tables, arena, size * sink->size, sink->size);
    for (; size != 0 && status == DEMI_OK; --size) {
        for (j = 0; j < sink->size && status == DEMI_OK; ++j) {
            status = demi_bytes_next(&model, &file->place.decoder, bytes + j);
        }
        if (status == DEMI_OK) {
            demi_put(sink, demi_big_endian(bytes, sink->size));
        }
    }
    return status;
}

/* Begins the payload of a tensor: its stream, and its checksum. */
static void begin_payload(demi_file *file, const demi_entry *entry)
{
    const uint8_t *payload = file->data + entry->payload;
    demi_cursor cursor;
    size_t length;
    cursor.next = file->header + entry->length;
    cursor.end = file->header + file->header_bytes;
    cursor.status = DEMI_OK;
    length = (size_t)demi_short(&cursor, UINT64_MAX);
    file->place.crc = demi_crc(0, payload, length);
    file->place.units = 0;
    demi_start(&file->place.decoder, payload, length);
}

/* Reads the tensor that follows. */
static int read_next(demi_file *file, void *values)
{
    const uint32_t index = file->place.next;
    const demi_entry *entry = file->entries + index;
    const size_t held = ((size_t)file->place.units * 4 + 7) & ~(size_t)7;
    demi_settings settings;
    demi_tensor tensor;
    demi_cursor cursor;
    demi_arena arena;
    demi_sink sink;
    int status = DEMI_OK;
    demi_describe(file, index, &tensor);
    cursor.next = file->header + entry->settings;
    cursor.end = file->header + file->header_bytes;
    cursor.status = DEMI_OK;
    if (entry->codec > 1) {
        demi_read_settings(&cursor, &tensor, entry->codec, &settings);
    }
    if (entry->begins && entry->codec != 3) {
        begin_payload(file, entry);
    }
    arena.next = file->arena + file->kept;
    arena.left = file->arena_bytes - file->kept - (entry->begins ? 0 : held);
    arena.missing = 0;
    sink.out = (uint8_t *)values;
    sink.crc = file->place.crc;
    sink.size = tensor.value_bytes;
    sink.most_is_one = tensor.type == DEMI_BOOL;
    sink.status = DEMI_OK;
    if (entry->codec == 3) {
        status = read_parts(file, entry, &tensor, arena, &settings, &sink, &arena.missing);
    } else if (entry->codec == 0) {
        uint64_t i;
        for (i = 0; i < tensor.size; ++i) {
            demi_put(&sink, 0);
        }
    } else {
        status = demi_start(&file->place.decoder, NULL, 0);
        if (status == DEMI_OK && entry->codec == 1) {
            status = read_numbers(file, &arena, tensor.size, &sink);
        } else if (status == DEMI_OK) {
            status = demi_read_weights(file, &arena, &tensor, &settings, &sink);
        }
    }
    file->needed = status == DEMI_ARENA ? file->arena_bytes + (size_t)arena.missing + 8 : 0;
    file->place.crc = sink.crc;
    ++file->place.next;
    if (status != DEMI_OK || sink.status != DEMI_OK) {
        return status == DEMI_ARENA || status == DEMI_CHECKSUM ? status : DEMI_PAYLOAD;
    }
    if (entry->codec != 3 && (index + 1 == file->tensors || file->entries[index + 1].begins) &&
        file->place.crc != demi_little_endian(file->header + file->entries[entry->first].checksum)) {
        return DEMI_CHECKSUM;
    }
    return DEMI_OK;
}

int demi_read(demi_file *file, uint32_t index, void *values, size_t bytes)
{
    demi_tensor tensor;
    int status = demi_describe(file, index, &tensor);
    if (status != DEMI_OK) {
        return status;
    }
    if (values != NULL && tensor.bytes > bytes) {
        return DEMI_OUTPUT;
    }
    if (file->place.next > index || file->place.next < file->entries[index].first) {
        file->place.next = file->entries[index].first;
    }
    while (status == DEMI_OK && file->place.next <= index) {
        status = read_next(file, file->place.next == index ? values : NULL);
    }
    if (status != DEMI_OK) {
        file->place.next = NONE;
    }
    return status;
}

const char *demi_message(int status)
{
    static const char *const messages[] = {
        "no error", "not a .demi file", "a version that this reader does not know", "the file is cut short, or too long",
        "the header is corrupt", "a payload is corrupt", "the checksum of a payload is wrong",
        "the tensors are larger than the limit", "the arena is too small", "the memory for the values is too small",
        "there is no such tensor",
    };
    return status < 0 || status > DEMI_NO_TENSOR ? "an unknown status" : messages[status];
}
