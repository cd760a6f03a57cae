/* What programs call: opening a file, and saying and reading what is in it. */
#include "parts.h"

#define NONE UINT32_MAX

int demi_open(demi_file *file, const void *data, size_t size, void *arena, size_t arena_bytes, uint64_t limit)
{
    const size_t skipped = (0 - (size_t)(uintptr_t)arena) & 7;
    demi_reader *r = (demi_reader *)(void *)((uint8_t *)arena + skipped);
    const uint8_t *magic;
    uint64_t version;
    size_t i;
    file->reader = r;
    file->tensors = file->names = 0;
    file->needed = sizeof(demi_reader) + 8;
    if (arena_bytes < file->needed) {
        return DEMI_ARENA;
    }
    for (i = 0; i < sizeof(demi_reader); ++i) {
        ((uint8_t *)r)[i] = 0;
    }
    r->free = (uint8_t *)(r + 1);
    r->end = (uint8_t *)arena + arena_bytes;
    r->data = r->next = (const uint8_t *)data;
    r->data_end = r->stop = r->data + size;
    r->limit = limit;
    r->following = NONE;
    demi_make_tables(r);
    magic = demi_take(r, 4);
    if (magic == NULL || demi_big_endian(magic, 4) != 0x64656D69) {
        r->status = DEMI_NOT_DEMI;
    }
    version = demi_short(r, (uint64_t)1 << 32);
    file->version = (uint32_t)version;
    if (version - 1 > 1) {
        demi_fail(r, DEMI_VERSION);
    }
    demi_read_header(r, version);
    r->kept = r->free;
    file->needed = r->needed;
    if (r->status == DEMI_OK) {
        file->tensors = r->tensors;
        file->names = r->names;
    }
    return (int)r->status;
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
    *index = i < file->tensors ? i : r->meant[i - file->tensors];
    return DEMI_OK;
}

int demi_find(const demi_file *file, const char *name, uint32_t *index)
{
    const char *found;
    uint32_t i;
    size_t j;
    for (i = 0; demi_name(file, i, &found, index) == DEMI_OK; ++i) {
        for (j = 0; name[j] == found[j]; ++j) {
            if (name[j] == 0) {
                return DEMI_OK;
            }
        }
    }
    return DEMI_NO_TENSOR;
}

int demi_read(demi_file *file, uint32_t index, void *values, size_t bytes)
{
    demi_reader *r = file->reader;
    uint32_t first;
    unsigned status;
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
        demi_read_next(r);
    }
    status = r->status;
    if (status != DEMI_OK) {
        r->following = NONE;
        r->status = DEMI_OK;
        file->needed = r->needed;
    }
    return (int)status;
}
