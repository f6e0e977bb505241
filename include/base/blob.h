/*
 * Bytes that several hold at once: a large message of a client, which its connection still walks, which is on its way
 * to one shard or several, and whose text a prepared statement keeps. Whoever queues or keeps bytes that lie in a blob
 * refers to it instead of copying them. The bytes do not change while it lives. A blob belongs to its thread.
 */
#ifndef PGUNISON_BASE_BLOB_H
#define PGUNISON_BASE_BLOB_H

#include "base/buf.h"

/* Shorter ones are copied: that is cheaper than looking for the blob. */
#define BLOB_MIN_BYTES ((size_t)64 * 1024)

struct blob;
/* Takes the memory of b over, which goes on pointing there: bytes may be appended in the room behind its end, and
   nothing else may be done to it. One reference. */
struct blob *blob_create(struct buf *b);
void blob_unref(struct blob **b);
/* The blob of this thread in which the bytes lie: a new reference. NULL: none. */
struct blob *blob_of(const void *data, size_t len);
/* What one of its holders accounts for: its memory divided by how many they are. */
size_t blob_share(const struct blob *b);

/* A text in pieces: short ones are copied, long ones that lie in a blob are referred to. */
struct rope_piece {
    struct blob *blob; /* NULL: bytes [at, at + len) of short_bytes */
    const uint8_t *data;
    size_t at, len;
};
struct rope {
    struct buf short_bytes;
    struct rope_piece *pieces;
    size_t n, cap;
    bool cut;
};
void rope_init(struct rope *r);
void rope_free(struct rope *r);
void rope_clear(struct rope *r); /* keeps memory */
void rope_add(struct rope *r, struct slice bytes);
/* What is added next begins with the piece whose number this returns. */
size_t rope_cut(struct rope *r);
struct slice rope_piece(const struct rope *r, size_t i);
size_t rope_len(const struct rope *r, size_t from, size_t to); /* of the pieces [from, to) */
size_t rope_memory(const struct rope *r);

#endif
