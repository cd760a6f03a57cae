/* What the files of the reader share. */
#ifndef DEMI_PARTS_H
#define DEMI_PARTS_H

#include "demi.h"

/* compilation stops here if a shift to the right of a negative number does not round down, which C leaves open */
typedef char demi_shifts_round_down[(-3 >> 1) == -2 ? 1 : -1];

/* ---- cursor.c: bytes and memory, taken from the front ---- */

typedef struct {
    const uint8_t *next, *end;
    int status; /* DEMI_OK, or what is wrong; then nothing more is read */
} demi_cursor;

const uint8_t *demi_take(demi_cursor *cursor, uint64_t count); /* NULL if there are not that many */
unsigned demi_byte(demi_cursor *cursor);
uint64_t demi_short(demi_cursor *cursor, uint64_t most);
uint64_t demi_big_endian(const uint8_t *bytes, unsigned count);
uint32_t demi_little_endian(const uint8_t *bytes);
uint32_t demi_crc(uint32_t crc, const uint8_t *bytes, uint64_t count);
int demi_compare(const char *one, const char *other); /* as strcmp does */

/* memory that is given from the front */
typedef struct {
    uint8_t *next;
    uint64_t left;
    uint64_t missing; /* bytes that could not be given */
} demi_arena;

void *demi_give(demi_arena *arena, uint64_t count, unsigned size); /* zeros; NULL if there is too little */

/* ---- mixing.c: arithmetic coding, and mixing of probabilities ---- */

#define DEMI_LARGEST 12288

typedef struct demi_tables {
    uint16_t squash[DEMI_LARGEST + 1]; /* of logits from 0 on */
    uint16_t log[1024];
    int16_t logit[65536];
} demi_tables;

/* a decision: a slot for each context, inputs (those of slots first) with their weights, and how they learn */
typedef struct {
    uint32_t *slot[14];
    int64_t input[21];
    int64_t *weights;
    int64_t pace;
    int32_t base;
    uint8_t slots, inputs, ease;
    uint16_t limit;
    int8_t known; /* the bit, if it is known; else -1 */
} demi_decision;

void demi_make_tables(demi_tables *tables);
uint32_t demi_squash(const demi_tables *tables, int64_t x);
int32_t demi_log(const demi_tables *tables, uint64_t x);
int demi_start(struct demi_decoder *decoder, const uint8_t *bytes, size_t count);
unsigned demi_decide(const demi_tables *tables, struct demi_decoder *decoder, demi_decision *decision);
int demi_expect_more(struct demi_decoder *decoder); /* notes whether only ones follow; called now and then */

/* ---- bytes.c: the model of bytes ---- */

typedef struct {
    const demi_tables *tables;
    uint32_t *slots;
    int64_t weights[5][7];
    uint64_t history; /* the last eight bytes, the newest lowest */
    uint64_t count;   /* of bytes that were decoded */
    unsigned bits, width, place;
} demi_bytes;

int demi_bytes_begin(demi_bytes *model, const demi_tables *tables, demi_arena *arena, uint64_t count, unsigned width);
void demi_bytes_learn_primer(demi_bytes *model);
uint64_t demi_primer_length(void);
int demi_bytes_next(demi_bytes *model, struct demi_decoder *decoder, uint8_t *byte);

/* ---- palette.c: what symbols stand for, and where values go ---- */

typedef struct {
    uint8_t size;        /* of a value in bytes */
    int8_t mantissa;     /* bits; -1 of integers */
    uint8_t is_complex;
} demi_kind;

extern const demi_kind demi_kinds[DEMI_TYPES];

/* the settings of codecs 2 and 3 */
typedef struct {
    demi_kind type;
    uint8_t kind, zeros, linked, depth, is_signed, powers, m;
    uint32_t count;
    uint64_t least, lines, inner, group, side;
    const uint8_t *values, *fractions; /* of kind 1 the values; of kind 3 exponents, and fractions or NULL */
} demi_settings;

/* values in order, which are written and summed up */
typedef struct {
    uint8_t *out; /* NULL if they are only summed up */
    uint32_t crc;
    uint8_t size, most_is_one, status;
} demi_sink;

uint64_t demi_rows(const demi_tensor *tensor);
uint64_t demi_columns(const demi_tensor *tensor);
int demi_read_settings(demi_cursor *cursor, const demi_tensor *tensor, unsigned codec, demi_settings *settings);
uint64_t demi_value(const demi_settings *settings, uint32_t symbol, uint64_t index);
void demi_put(demi_sink *sink, uint64_t value);

/* ---- weights.c, planes.c: codecs 2 and 3 ---- */

int demi_read_weights(demi_file *file, demi_arena *arena, const demi_tensor *tensor, const demi_settings *settings,
                      demi_sink *sink);
int demi_read_planes(demi_arena *arena, const demi_settings *settings, uint64_t rows, uint64_t columns, uint64_t begin,
                     demi_cursor *payload, demi_sink *sink);

/* ---- header.c ---- */

/* a tensor in the header; offsets are those of plain bytes */
typedef struct demi_entry {
    size_t payload;   /* byte of the file where its payload begins, or the first of its payloads */
    uint32_t first;   /* the first tensor of its payload */
    uint32_t shape, settings, length, checksum;
    uint8_t type, codec, begins, cut, dimensions;
} demi_entry;

int demi_read_header(demi_file *file, demi_cursor *front, uint64_t coded, demi_arena *arena, uint64_t limit);
uint64_t demi_parts(const demi_tensor *tensor, uint64_t *size); /* parts of a tensor that is cut, and their size */

#endif
