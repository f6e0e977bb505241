/* Bytes that may stand in pg_prepared_xacts: gid_parse() takes only what gid_format() gives back byte for
 * byte. Bytes that may be said to be a proof: none of them is one of a name that is not valid. */
#include <stdlib.h>

#include "txn/gid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gid g;
    struct error error;
    char text[GID_MAX_BYTES + 1];
    struct slice bytes = slice_of(data, size);
    if (txid_without_proof(bytes) && !txid_valid(bytes))
        abort();
    /* Whatever is in front of them: the first bytes are taken for a proof, the rest for a name. */
    size_t proof = size < 2 * TXID_SECRET_BYTES ? size : 2 * TXID_SECRET_BYTES;
    if (txid_proven(slice_of(data + proof, size - proof), slice_of(data, proof)) &&
        (!txid_valid(slice_of(data + proof, size - proof)) || proof != 2 * TXID_SECRET_BYTES))
        abort();
    if (!gid_parse(slice_of(data, size), &g))
        return 0;
    if (gid_format(&g, text, &error) != STATUS_OK || strlen(text) != size || memcmp(text, data, size) != 0)
        abort();
    return 0;
}
