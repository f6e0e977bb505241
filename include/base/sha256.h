/*
 * SHA-256 of short texts (FIPS 180-4), by OpenSSL.
 *
 * The first call on a thread makes what it hashes with; the thread's end frees it.
 */
#ifndef PGUNISON_BASE_SHA256_H
#define PGUNISON_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* sha256(data[len]). Ends the process where OpenSSL has no SHA-256 or no memory is left. */
void sha256(const uint8_t *data, size_t len, uint8_t hash_r[SHA256_BYTES]);

#endif
