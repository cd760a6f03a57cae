/* Runs a program of kernels in its own memory: replay FILE.
 *
 * The file is what replay.py writes, in int64: the bytes of the memory, the number of words in it that are places in the
 * memory, the number of those that are numbers of kernels, the driver's number, the place of its arguments, and the
 * number of threads; then where those words are; then the memory, which is written back in place.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef void (*kernel)(int64_t *, int64_t, int64_t);
extern const kernel kernels[];

static struct { int64_t bytes, pointers, functions, driver, arguments, threads; } header;
static char *memory;

static void *work(void *thread) {
    kernels[header.driver]((int64_t *)(memory + header.arguments), (int64_t)(intptr_t)thread, header.threads);
    return NULL;
}

static void check(int fine, const char *what) {
    if (!fine) {
        perror(what);
        exit(1);
    }
}

int main(int count, char **words) {
    check(count == 2, "replay FILE");
    FILE *file = fopen(words[1], "r+b");
    check(file != NULL && fread(&header, sizeof header, 1, file) == 1, "header");
    int64_t *places = calloc(header.pointers + header.functions, sizeof *places);
    check(fread(places, sizeof *places, header.pointers + header.functions, file)
          == (size_t)(header.pointers + header.functions), "places");
    long start = ftell(file);
    memory = aligned_alloc(64, header.bytes);
    check(memory != NULL && fread(memory, header.bytes, 1, file) == 1, "memory");
    for (int64_t i = 0; i < header.pointers + header.functions; i++) {
        int64_t *word = (int64_t *)(memory + places[i]);
        *word = i < header.pointers ? (intptr_t)memory + *word : (intptr_t)kernels[*word];
    }
    pthread_t *others = calloc(header.threads, sizeof *others);
    for (int64_t i = 1; i < header.threads; i++)
        check(pthread_create(&others[i], NULL, work, (void *)(intptr_t)i) == 0, "thread");
    work(NULL);
    for (int64_t i = 1; i < header.threads; i++)
        pthread_join(others[i], NULL);
    check(fseek(file, start, SEEK_SET) == 0 && fwrite(memory, header.bytes, 1, file) == 1 && fclose(file) == 0, "result");
    return 0;
}
