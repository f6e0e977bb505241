/* A stream of messages: frames follow each other without a gap, stay inside the bytes, and what is partial
 * says how much it needs. The first two bytes choose the limit. */
#include "base/buf.h"
#include "wire/frame.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t max_len;
    struct slice rest;

    if (size < 2)
        return 0;
    max_len = load_u16(data);
    rest = slice_of(data + 2, size - 2);
    for (;;) {
        struct frame f;
        size_t need;
        enum frame_result result = frame_next(rest, max_len, &f, &need);

        if (result == FRAME_PARTIAL) {
            require(need > rest.len && need <= (rest.len < FRAME_HEADER_BYTES ? 5 : (size_t)max_len + 1));
            return 0;
        }
        if (result == FRAME_BAD)
            return 0;
        require(f.whole.data == rest.data && f.whole.len <= rest.len && f.whole.len >= FRAME_HEADER_BYTES);
        require(f.body.data == f.whole.data + 5 && f.body.len == f.whole.len - 5 &&
                f.body.len + 4 <= max_len);
        rest = slice_of(rest.data + f.whole.len, rest.len - f.whole.len);
    }
}
