/*
 * Framing of protocol 3 messages (protocol chapter "Message Formats"): a type byte, then a 32-bit length that
 * counts itself and the body. Bytes from a peer never assert.
 */
#ifndef PGUNISON_WIRE_FRAME_H
#define PGUNISON_WIRE_FRAME_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#define FRAME_HEADER_BYTES 5

struct frame {
    uint8_t type;
    struct slice body;  /* without type and length */
    struct slice whole; /* type, length and body, as received */
};

enum frame_result {
    FRAME_OK,      /* *frame_r is whole */
    FRAME_PARTIAL, /* more bytes are needed: *need_r says how many in all, from the message's first one */
    FRAME_BAD      /* the length cannot be (below 4 or above max_len) */
};

/*
 *     0      1                5                      1 + length
 *     | type | length (BE 32) | body                 |
 *
 * The length word counts itself, so it is never below 4. It is judged as soon as it is there: a peer that
 * announces more than max_len is refused before a byte of the body is waited for. What a type may carry is
 * not judged here (see message.h), nor whether the type exists.
 *
 * Looks at the message that begins at bytes.data[0]. max_len bounds the length word. FRAME_OK sets *frame_r;
 * FRAME_PARTIAL sets *need_r and, with at least the header there, frame_r->type. Inline, because it runs for each message.
 */
static inline enum frame_result frame_next(struct slice bytes, uint32_t max_len, struct frame *frame_r,
                                           size_t *need_r)
{
    if (bytes.len < FRAME_HEADER_BYTES) {
        *need_r = FRAME_HEADER_BYTES;
        return FRAME_PARTIAL;
    }
    frame_r->type = bytes.data[0];
    uint32_t length = load_u32(bytes.data + 1);
    if (length < 4 || length > max_len)
        return FRAME_BAD;

    size_t total = (size_t)length + 1;
    if (bytes.len < total) {
        *need_r = total;
        return FRAME_PARTIAL;
    }
    frame_r->body = slice_of(bytes.data + FRAME_HEADER_BYTES, total - FRAME_HEADER_BYTES);
    frame_r->whole = slice_of(bytes.data, total);
    return FRAME_OK;
}

#endif
