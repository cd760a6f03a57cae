/* For the tests: reads the file from standard input with the smallest arenas that the reader asks for. */
#include <stdio.h>
#include <stdlib.h>

#include "demi.h"

static unsigned char data[1 << 20];

/* Opens the file and reads all tensors, each on its own, the last one first. */
static int read_all(demi_file *file, size_t size, void *arena, size_t bytes)
{
    static unsigned char values[1 << 20];
    int status = demi_open(file, data, size, arena, bytes, sizeof values);
    uint32_t i;
    for (i = file->tensors; status == DEMI_OK && i-- != 0;) {
        status = demi_read(file, i, values, sizeof values);
    }
    return status;
}

int main(void)
{
    const size_t size = fread(data, 1, sizeof data, stdin);
    size_t bytes = 0;
    int tries = 0, status = DEMI_ARENA;
    while (status == DEMI_ARENA && ++tries < 100) {
        unsigned char *arena = (unsigned char *)malloc(bytes + 1);
        demi_file file;
        status = read_all(&file, size, arena + 1, bytes); /* not aligned */
        if (status == DEMI_ARENA && file.needed <= bytes) {
            return 2;
        }
        bytes = status == DEMI_ARENA ? file.needed : bytes;
        free(arena);
    }
    printf("%d %lu %d\n", status, (unsigned long)bytes, tries);
    return 0;
}
