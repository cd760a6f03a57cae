/* Payloads: a tensor consists of parts, each in a payload; a payload may have several tensors. */
#include "parts.h"

void demi_read_next(demi_reader *r)
{
    const uint32_t index = r->following++;
    const demi_entry *entry = r->entries + index;
    const uint8_t *payload = entry->payload, *lengths, *checksum;
    uint64_t begin = 0, here;
    demi_describe_entry(r, index);
    r->next = r->header + entry->settings;
    demi_read_settings(r, entry->codec);
    lengths = r->header + entry->length;
    checksum = r->checksums + 4 * (size_t)entry->checksum;
    do {
        here = r->tensor.size - begin < r->part ? r->tensor.size - begin : r->part;
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
            r->units = 0;
            r->crc = demi_crc(0, r->stream, length);
        }
        if (entry->codec == 3) {
            const uint64_t across = r->columns > r->part ? 1 : r->columns;
            demi_read_planes(r, across != 0 ? here / across : entry->cut ? 0 : r->tensor.shape[0], across, begin);
        } else {
            if (entry->codec != 0) {
                demi_start(r);
            }
            if (entry->codec == 2) {
                demi_read_weights(r);
            } else {
                demi_read_numbers(r, NULL, entry->codec * here); /* of codec 0 none, only zeros */
            }
        }
        begin += r->part;
        if (index + 1 == r->tensors || entry[1].begins) {
            demi_expect_crc(r, checksum, DEMI_CHECKSUM);
        }
        checksum += 4;
    } while (begin < r->tensor.size && r->status == DEMI_OK);
    demi_settle(r, DEMI_PAYLOAD, DEMI_PAYLOAD);
}
