/* For the tests: the reader in WebAssembly, without a library. */
#include "demi.h"

#define EXPORT(name) __attribute__((export_name(#name)))

static unsigned char arena[DEMI_ARENA_BYTES], data[1 << 20], values[1 << 20];
static demi_file file;
static demi_tensor tensor;

/* compilers call these */
void *memcpy(void *to, const void *from, size_t count)
{
    size_t i;
    for (i = 0; i < count; ++i) {
        ((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    size_t i;
    for (i = 0; i < count; ++i) {
        ((volatile unsigned char *)to)[i] = (unsigned char)value;
    }
    return to;
}

EXPORT(data) unsigned char *where_data(void)
{
    return data;
}

EXPORT(values) unsigned char *where_values(void)
{
    return values;
}

EXPORT(open) int open(size_t size)
{
    return demi_open(&file, data, size, arena, sizeof arena, sizeof values);
}

EXPORT(tensors) uint32_t tensors(void)
{
    return file.tensors;
}

/* Reads a tensor; returns the number of its bytes, or -1. */
EXPORT(read) int read(uint32_t index)
{
    if (demi_describe(&file, index, &tensor) != DEMI_OK || demi_read(&file, index, values, sizeof values) != DEMI_OK) {
        return -1;
    }
    return (int)tensor.bytes;
}
