/* What the files of the reader share. */
#ifndef DEMI_PARTS_H
#define DEMI_PARTS_H

#include "demi.h"

/* compilation stops here if a shift to the right of a negative number does not round down, which C leaves open */
typedef char demi_shifts_round_down[(-3 >> 1) == -2 ? 1 : -1];

#define DEMI_ENDS 32       /* a status: there are fewer bytes than expected */
#define DEMI_WRONG 64u     /* a bit of the status: what was read contradicts the format */
#define DEMI_PRIMER 2038   /* bytes of the primer */
#define DEMI_DECODED 2048  /* bytes that the primer is decoded to: it, and zeros, so that the model has more slots */
#define DEMI_CODED 687     /* and those of its coded form */
#define DEMI_LARGEST 12288 /* logits are from -12288 to 12288 */

/* a type of values */
typedef struct {
    uint8_t size;    /* in bytes */
    int8_t mantissa; /* bits; -1 of integers */
    uint16_t most;   /* the largest number that the exponent's bits hold */
} demi_kind;

/* what the header says of a tensor; offsets are those of its bytes */
typedef struct {
    const uint8_t *payload; /* the first of its payloads, or the one that it is in */
    uint32_t first;         /* the first tensor of its payload */
    uint32_t shape, settings, length;
    uint32_t checksum; /* number of the first of its payloads */
    uint8_t type, codec, begins, cut, dimensions;
} demi_entry;

/* the settings of codecs 2 and 3 */
typedef struct {
    uint8_t kind, zeros, linked, depth, is_signed, powers, m;
    uint32_t count, least, group, side;
    uint64_t lines, inner;
    const uint8_t *values, *fractions; /* of kind 1 the values; of kind 3 exponents, and fractions or NULL */
} demi_settings;

/* the model of bytes */
typedef struct {
    uint32_t *slots;
    uint32_t newest; /* the last four bytes, the newest lowest */
    uint32_t count;  /* of bytes that were decoded */
    unsigned bits, width, place;
    uint8_t number[8];   /* the last byte at each place */
    int64_t weights[35]; /* of 7 inputs in each of 5 rows */
} demi_bytes;

/* everything that is known of an open file; what is used most comes first, where its address takes few bytes of code */
typedef struct demi_reader {
    unsigned status; /* the first error, and maybe DEMI_WRONG; then nothing more is read, and no memory is given */
    demi_kind type;  /* of the tensor that is being read */
    demi_settings settings;
    /* the bytes that are read: of the header, or of a payload of planes; memory that is left */
    const uint8_t *next, *stop, *header;
    uint8_t *free;
    /* the stream of decisions: was it begun, and do only ones follow */
    uint8_t started, only_ones;
    uint32_t crc; /* of the payload and its values */
    uint32_t range, code;
    const uint8_t *stream, *stream_end;
    uint32_t behind; /* zeros that were read after its end */
    uint8_t *out;           /* where values go; NULL if they are only summed up */
    uint64_t columns, part; /* of the tensor that is being read: columns, and values in each of its parts */
    uint8_t *end;           /* of the memory */
    demi_bytes *bytes;
    /* the payload that is open */
    uint32_t following;      /* the tensor that follows; UINT32_MAX for none */
    uint32_t units, *counts; /* rows of the last matrix of more than one column; weights of each that are not zero */
    uint32_t found;          /* all of those weights */
    uint32_t rows;           /* the most of any matrix */
    /* the header */
    uint32_t tensors, names;
    uint8_t has_scales;      /* whether any tensor has */
    demi_entry *entries;
    uint32_t *texts, *meant; /* offsets of all names; the tensors that other names mean */
    const uint8_t *header_end, *data, *data_end, *checksums;
    uint64_t limit;
    uint8_t *kept;           /* where the memory that is left began after opening */
    size_t needed;           /* of the arena */
    demi_tensor tensor;
    uint16_t squash[DEMI_LARGEST + 1]; /* of logits from 0 on */
    uint16_t log[1024];
    int16_t logit[65536];
} demi_reader;

/* a decision: a slot for each context, inputs (those of slots first) with their weights, and how they learn */
typedef struct {
    int64_t *weights;
    int32_t pace, base;
    uint32_t known; /* 0, or 256 and a byte whose bits are known: the next one has the value 128 */
    uint16_t limit;
    uint8_t slots, inputs, ease;
    uint32_t *slot[14];
    int32_t input[21];
} demi_decision;

/* cursor.c: bytes and memory, taken from the front */
void demi_fail(demi_reader *r, unsigned status);
void demi_settle(demi_reader *r, unsigned wrong, unsigned ends); /* what the status is then */
const uint8_t *demi_take(demi_reader *r, uint64_t count); /* NULL if there are not that many */
unsigned demi_byte(demi_reader *r);
uint64_t demi_short(demi_reader *r, uint64_t most);
void demi_shift(demi_reader *r); /* a byte of the stream, or zero after its end, into the code */
uint64_t demi_big_endian(const uint8_t *bytes, unsigned count);
uint32_t demi_crc(uint32_t crc, const uint8_t *bytes, uint64_t count);
uint32_t demi_bit_length(uint32_t x);
void demi_expect_crc(demi_reader *r, const uint8_t *checksum, unsigned status);
void *demi_give(demi_reader *r, uint64_t count, unsigned size); /* zeros; NULL if there is too little */

/* mixing.c: arithmetic coding, and mixing of probabilities */
void demi_make_tables(demi_reader *r);
uint32_t demi_squash(const demi_reader *r, int64_t x);
int32_t demi_log(const demi_reader *r, uint64_t x);
void demi_start(demi_reader *r);
void demi_expect_more(demi_reader *r); /* notes whether only ones follow; called now and then */
unsigned demi_decide(demi_reader *r, demi_decision *decision);

/* primer.c, bytes.c: the model of bytes */
extern const uint8_t demi_primer[DEMI_CODED];
void demi_bytes_begin(demi_reader *r, uint64_t count, unsigned width);
unsigned demi_next_byte(demi_reader *r, uint32_t known); /* known: as that of a decision */
void demi_read_numbers(demi_reader *r, const uint8_t *present, uint64_t count);

/* palette.c: what symbols stand for, and where values go */
extern const demi_kind demi_kinds[DEMI_TYPES];
uint64_t demi_product(const demi_tensor *tensor, unsigned axis); /* of the sizes from an axis on */
void demi_read_settings(demi_reader *r, unsigned codec);
uint64_t demi_value(const demi_reader *r, uint32_t symbol, uint64_t index);
void demi_put(demi_reader *r, uint64_t value);

/* payload.c */
void demi_read_next(demi_reader *r); /* the tensor that follows */

/* weights.c, planes.c: codecs 2 and 3 */
void demi_read_weights(demi_reader *r);
void demi_read_planes(demi_reader *r, uint64_t rows, uint64_t columns, uint64_t begin);

/* names.c, header.c: what the header says */
int demi_is_utf8(const uint8_t *text, const uint8_t *end);
void demi_expect_different(demi_reader *r, const uint8_t **names, uint32_t count); /* changes their order */
void demi_describe_entry(demi_reader *r, uint32_t index); /* fills tensor, columns, part and type; the shape is read */
void demi_read_header(demi_reader *r, uint64_t version);

#endif
