/*
 * Framing of protocol 3 messages (protocol chapter "Message Formats"): a type byte, then a 32-bit length that
 * counts itself and the body. Bytes from a peer never assert.
 */
#ifndef PGUNISON_WIRE_FRAME_H
#define PGUNISON_WIRE_FRAME_H

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
    FRAME_PARTIAL, /* more bytes are needed: *need_r says how many in all, from the beginning of this message
                    */
    FRAME_BAD      /* the length cannot be (below 4 or above max_len) */
};

/* Looks at the message that begins at bytes.data[0]. max_len bounds the length word. FRAME_OK sets *frame_r;
   FRAME_PARTIAL sets *need_r and, with at least the header there, frame_r->type. */
enum frame_result frame_next(struct slice bytes, uint32_t max_len, struct frame *frame_r, size_t *need_r);

#endif
