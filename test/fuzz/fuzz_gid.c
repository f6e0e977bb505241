/* Bytes that may stand in pg_prepared_xacts: gid_parse() takes only what gid_format() gives back byte for
 * byte. */
#include <stdlib.h>

#include "txn/gid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gid g;
    struct error error;
    char text[GID_MAX_BYTES + 1];
    (void)txid_valid(slice_of(data, size));
    if (!gid_parse(slice_of(data, size), &g))
        return 0;
    if (gid_format(&g, text, &error) != STATUS_OK || strlen(text) != size || memcmp(text, data, size) != 0)
        abort();
    return 0;
}
