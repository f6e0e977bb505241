/*
 * Framing: where one protocol 3 message ends and the next begins.
 *
 *     0      1                5                      1 + length
 *     | type | length (BE 32) | body                 |
 *
 * The length word counts itself, so it is never below 4. It is judged as soon as it is there: a peer that
 * announces more than max_len is refused before a byte of the body is waited for. What a type may carry is
 * not judged here (see message.h), nor whether the type exists.
 */
#include "wire/frame.h"
#include "base/buf.h"

enum frame_result frame_next(struct slice bytes, uint32_t max_len, struct frame *frame_r, size_t *need_r)
{
    uint32_t length;
    size_t total;

    if (bytes.len < FRAME_HEADER_BYTES) {
        *need_r = FRAME_HEADER_BYTES;
        return FRAME_PARTIAL;
    }
    frame_r->type = bytes.data[0];
    length = load_u32(bytes.data + 1);
    if (length < 4 || length > max_len)
        return FRAME_BAD;

    total = (size_t)length + 1;
    if (bytes.len < total) {
        *need_r = total;
        return FRAME_PARTIAL;
    }
    frame_r->body = slice_of(bytes.data + FRAME_HEADER_BYTES, total - FRAME_HEADER_BYTES);
    frame_r->whole = slice_of(bytes.data, total);
    return FRAME_OK;
}
