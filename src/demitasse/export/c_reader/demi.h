/* A reader of .demi files, versions 1 and 2: tensors by name, from a file in memory, without malloc.
 *
 * The page docs/demi_format.md of demitasse says what a file is. All memory is an arena of the caller. Opening a file
 * takes 1.1 MB of it or more, since the header is coded by a model with that many counters; a tensor takes its counters
 * instead. A file of any bytes ends in values or in an error, within a time that the limit and the size of the file
 * bound.
 */
#ifndef DEMI_H
#define DEMI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DEMI_MOST_DIMENSIONS 32
/* an arena of this size opens every file whose plain header has at most 2,057 bytes, which about 60 tensors take */
#define DEMI_ARENA_BYTES (1200 * 1024)

/* what went wrong; every function below that returns int returns one of these */
enum demi_status {
    DEMI_OK = 0,
    DEMI_NOT_DEMI,    /* the file does not begin as .demi files do */
    DEMI_VERSION,     /* a version that this reader does not know */
    DEMI_CUT_SHORT,   /* the file is cut short, or has bytes at its end */
    DEMI_HEADER,      /* the header contradicts the format, or its checksum is wrong */
    DEMI_PAYLOAD,     /* the bytes of a tensor contradict the format */
    DEMI_CHECKSUM,    /* the checksum of a payload is wrong */
    DEMI_LIMIT,       /* the tensors take more bytes than the limit allows */
    DEMI_ARENA,       /* the arena is too small: it needs demi_file.needed bytes */
    DEMI_OUTPUT,      /* the memory for the values is too small */
    DEMI_NO_TENSOR    /* there is no such tensor */
};

/* types of values, by their number in a file */
enum demi_type {
    DEMI_FLOAT32, DEMI_FLOAT16, DEMI_BFLOAT16, DEMI_FLOAT64, DEMI_INT8, DEMI_UINT8, DEMI_INT16, DEMI_UINT16,
    DEMI_INT32, DEMI_UINT32, DEMI_INT64, DEMI_UINT64, DEMI_BOOL, DEMI_FLOAT8_E4M3FN, DEMI_FLOAT8_E5M2,
    DEMI_COMPLEX64, DEMI_COMPLEX128, DEMI_COMPLEX32, DEMI_FLOAT8_E4M3FNUZ, DEMI_FLOAT8_E5M2FNUZ,
    DEMI_FLOAT8_E8M0FNU, DEMI_FLOAT4_E2M1FN_X2, DEMI_TYPES
};

/* what a file says of a tensor */
typedef struct demi_tensor {
    const char *name;      /* UTF-8, in the arena */
    uint64_t size;         /* number of values; complex ones count twice */
    uint64_t bytes;        /* what demi_read writes */
    uint8_t dimensions;
    uint8_t type;          /* of enum demi_type */
    uint8_t value_bytes;   /* of a value; of a part of a complex one */
    uint64_t shape[DEMI_MOST_DIMENSIONS]; /* a complex number is a last axis of 2: the real and the imaginary part */
} demi_tensor;

/* an open file */
typedef struct demi_file {
    uint32_t version;
    uint32_t tensors; /* their number */
    uint32_t names;   /* of tensors, and then other names for some of them */
    size_t needed;    /* after DEMI_ARENA: bytes that the arena must have at least to come further */
    struct demi_reader *reader; /* in the arena */
} demi_file;

/* Opens a file.
 *
 * file: filled.
 * data, size: the whole file, which must stay where it is, as the arena must.
 * arena, arena_bytes: memory for everything that the reader keeps and needs meanwhile.
 * limit: the largest number of bytes of all tensors together; a file with more is refused.
 */
int demi_open(demi_file *file, const void *data, size_t size, void *arena, size_t arena_bytes, uint64_t limit);

/* Says what the tensor number index is, from 0 on. */
int demi_describe(const demi_file *file, uint32_t index, demi_tensor *tensor);

/* Finds the number of a tensor by one of its names. */
int demi_find(const demi_file *file, const char *name, uint32_t *index);

/* Says name number i of demi_file.names, and which tensor has it. */
int demi_name(const demi_file *file, uint32_t i, const char **name, uint32_t *index);

/* Reads the values of a tensor, row by row, each in the byte order of this machine.
 *
 * values, bytes: where to write them; values may be NULL: then they are only checked.
 *
 * Tensors of one payload follow one another in one stream: reading them in their order reads each once. The checksum is
 * that of the whole payload, so it is checked when its last tensor is read.
 */
int demi_read(demi_file *file, uint32_t index, void *values, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
