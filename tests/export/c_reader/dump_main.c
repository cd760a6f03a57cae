/* For the tests: reads files from standard input, each after its length, and writes what the reader finds in them.
 *
 * The argument is the limit. Each file is read twice: tensors are only checked, and then written.
 */
#include <stdio.h>
#include <stdlib.h>

#include "demi.h"

#define ARENA ((size_t)40 << 20)

static void put(const void *bytes, size_t count)
{
    if (count != 0 && fwrite(bytes, 1, count, stdout) != count) {
        exit(3);
    }
}

static void number(uint64_t value)
{
    unsigned char bytes[8];
    unsigned i;
    for (i = 0; i < 8; ++i) {
        bytes[i] = (unsigned char)(value >> 8 * i);
    }
    put(bytes, 8);
}

/* Reads every tensor; keep: writes them. */
static int tensors(demi_file *file, int keep)
{
    uint32_t i, index;
    const char *name;
    int status = DEMI_OK;
    if (keep) {
        number(0);
        number(file->names);
    }
    for (i = 0; i < file->names && status == DEMI_OK; ++i) {
        demi_tensor tensor;
        unsigned char *values;
        unsigned j;
        size_t length = 0;
        demi_name(file, i, &name, &index);
        demi_describe(file, index, &tensor);
        values = (unsigned char *)malloc((size_t)tensor.bytes); /* of the exact size, so that sanitizers see all */
        status = demi_read(file, index, keep ? values : NULL, keep ? (size_t)tensor.bytes : 0);
        if (status != DEMI_OK) {
            const uint64_t size = tensor.size;
            demi_describe(file, index, &tensor);
            if (tensor.size != size) {
                exit(5);
            }
        }
        if (keep) {
            while (name[length] != 0) {
                ++length;
            }
            number(length);
            put(name, length);
            number(tensor.type);
            number(tensor.dimensions);
            for (j = 0; j < tensor.dimensions; ++j) {
                number(tensor.shape[j]);
            }
            number(tensor.bytes);
            put(values, (size_t)tensor.bytes);
            if (demi_find(file, name, &index) != DEMI_OK || (i < file->tensors && index != i)) {
                exit(4);
            }
        }
        free(values);
    }
    return status;
}

int main(int count, char **arguments)
{
    const uint64_t limit = count > 1 ? strtoul(arguments[1], NULL, 10) : 0;
    unsigned char length[4];
    void *arena = malloc(ARENA);
    while (fread(length, 1, 4, stdin) == 4) {
        const size_t size = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
        unsigned char *data = (unsigned char *)malloc(size);
        demi_file file;
        int status = fread(data, 1, size, stdin) == size ? DEMI_OK : -1;
        if (status == DEMI_OK) {
            status = demi_open(&file, data, size, arena, ARENA, limit);
        }
        if (status == DEMI_OK) {
            status = tensors(&file, 0); /* checked, and then read */
        }
        if (status == DEMI_OK) {
            status = tensors(&file, 1);
        }
        if (status != DEMI_OK) {
            number((uint64_t)status);
        }
        free(data);
    }
    free(arena);
    return 0;
}
