/* Opens files, and reads tensors, payload by payload. */
#include "parts.h"

#define NONE UINT32_MAX

int demi_open(demi_file *file, const void *data, size_t size, void *arena, size_t arena_bytes, uint64_t limit)
{
    const size_t skipped = (0 - (size_t)(uintptr_t)arena) & 7;
    demi_reader small, *r = &small;
    uint64_t version;
    demi_tables *tables;
    file->tensors = file->names = 0;
    small.status = DEMI_OK;
    small.missing = 0;
    small.free = small.end = (uint8_t *)arena;
    if (arena_bytes >= 8) {
        small.free += skipped;
        small.end += skipped + ((arena_bytes - skipped) & ~(size_t)7);
    }
    file->reader = (demi_reader *)demi_give(&small, 1, sizeof(demi_reader));
    if (file->reader != NULL) {
        r = file->reader;
        r->free = small.free;
        r->end = small.end;
    }
    r->data = r->next = (const uint8_t *)data;
    r->size = size;
    r->stop = r->data + size;
    r->limit = limit;
    r->arena_bytes = arena_bytes;
    r->following = NONE;
    r->tables = tables = (demi_tables *)demi_give(r, 1, sizeof(demi_tables));
    if (r->status == DEMI_OK) {
        demi_make_tables(tables);
        if (size < 4 || demi_big_endian(demi_take(r, 4), 4) != 0x64656D69) {
            demi_fail(r, DEMI_NOT_DEMI);
        }
        version = demi_short(r, (uint64_t)1 << 32);
        r->version = file->version = (uint32_t)version;
        if (version - 1 > 1) {
            demi_fail(r, DEMI_VERSION);
        }
        demi_read_header(r);
        r->kept = r->free;
        if (r->status == DEMI_OK) {
            file->tensors = r->tensors;
            file->names = r->names;
        }
    }
    file->needed = arena_bytes + (size_t)r->missing + 8;
    return r->status;
}

int demi_describe(const demi_file *file, uint32_t index, demi_tensor *tensor)
{
    if (index >= file->tensors) {
        return DEMI_NO_TENSOR;
    }
    demi_describe_entry(file->reader, index);
    *tensor = file->reader->tensor;
    return DEMI_OK;
}

int demi_name(const demi_file *file, uint32_t i, const char **name, uint32_t *index)
{
    const demi_reader *r = file->reader;
    if (i >= file->names) {
        return DEMI_NO_TENSOR;
    }
    *name = (const char *)r->header + r->texts[i];
    *index = i < file->tensors ? i : r->texts[file->names - file->tensors + i];
    return DEMI_OK;
}

int demi_find(const demi_file *file, const char *name, uint32_t *index)
{
    const char *found;
    uint32_t i;
    for (i = 0; demi_name(file, i, &found, index) == DEMI_OK; ++i) {
        if (demi_compare((const uint8_t *)name, (const uint8_t *)found) == 0) {
            return DEMI_OK;
        }
    }
    return DEMI_NO_TENSOR;
}

/* Reads the tensor that follows, of the parts that it consists of. */
static void read_next(demi_reader *r)
{
    const uint32_t index = r->following++;
    const demi_entry *entry = r->entries + index;
    const uint8_t *payload = entry->payload, *lengths, *checksum;
    uint64_t parts, size, begin, here, columns;
    unsigned i;
    demi_describe_entry(r, index);
    r->value_bytes = r->tensor.value_bytes;
    r->next = r->header + entry->settings;
    r->stop = r->header_end;
    if (entry->codec > 1) {
        demi_read_settings(r, entry->codec);
    }
    columns = demi_columns(&r->tensor);
    lengths = r->header + entry->length;
    checksum = r->checksums + 4 * (size_t)r->entries[entry->first].checksum;
    begin = 0;
    for (parts = demi_parts(r, entry->cut, &size); parts != 0 && r->status == DEMI_OK; --parts) {
        here = r->tensor.size - begin < size ? r->tensor.size - begin : size;
        r->free = r->kept;
        if (entry->begins) {
            size_t length;
            r->next = lengths;
            r->stop = r->header_end;
            length = (size_t)demi_short(r, UINT64_MAX);
            lengths = r->next;
            r->next = r->stream = payload;
            payload += length;
            r->stop = r->stream_end = payload;
            r->started = 0;
            r->end += ((size_t)r->units * 4 + 7) & ~(size_t)7;
            r->units = 0;
            r->crc = demi_crc(0, r->stream, length);
        }
        if (entry->codec == 3) {
            const uint64_t across = columns > size ? 1 : columns;
            const uint64_t rows = !entry->cut ? demi_rows(&r->tensor) : across == 0 ? 0 : here / across;
            demi_read_planes(r, rows, across, begin);
        } else if (entry->codec == 0) {
            for (; here != 0; --here) {
                demi_put(r, 0);
            }
        } else {
            demi_start(r);
            if (entry->codec == 1) {
                demi_read_numbers(r, NULL, here);
            } else {
                demi_read_weights(r);
            }
        }
        begin += here;
        for (i = 0; i < 4 && (index + 1 == r->tensors || entry[1].begins); ++i) {
            if (checksum[i] != (uint8_t)(r->crc >> 8 * i)) {
                demi_fail(r, DEMI_CHECKSUM);
            }
        }
        checksum += 4;
    }
    if (r->status == DEMI_ENDS || r->status == DEMI_HEADER) {
        r->status = DEMI_PAYLOAD;
    }
}

int demi_read(demi_file *file, uint32_t index, void *values, size_t bytes)
{
    demi_reader *r = file->reader;
    uint32_t first;
    int status;
    if (index >= file->tensors) {
        return DEMI_NO_TENSOR;
    }
    demi_describe_entry(r, index);
    if (values != NULL && r->tensor.bytes > bytes) {
        return DEMI_OUTPUT;
    }
    first = r->entries[index].first;
    if (r->following > index || r->following < first) {
        r->following = first;
    }
    while (r->status == DEMI_OK && r->following <= index) {
        r->out = r->following == index ? (uint8_t *)values : NULL;
        read_next(r);
    }
    status = r->status;
    if (status != DEMI_OK) {
        r->following = NONE;
        r->status = DEMI_OK;
        file->needed = r->arena_bytes + (size_t)r->missing + 8;
    }
    return status;
}
