/*
 * Names of transactions. txid: 128 random bits and a counter, unique over the cluster, [0-9a-f-] only.
 * gid: pgunison/<cluster>/<decider shard>/<txid>/<participant shard>, at most GID_MAX_BYTES: the name under
 * which a participant is prepared (PostgreSQL allows 199 bytes, src/include/access/xact.h GIDSIZE 200).
 * Parsing is strict: what was parsed, formatted again, gives the same bytes; anything else is not ours and
 * stays untouched.
 */
#ifndef PGUNISON_TXN_GID_H
#define PGUNISON_TXN_GID_H

#include "base/error.h"
#include "base/slice.h"

#define GID_MAX_BYTES      199
#define TXID_MAX_BYTES     56
#define GID_NAME_MAX_BYTES 40 /* cluster and shard names: [A-Za-z0-9_.-] */

struct gid {
    char cluster[GID_NAME_MAX_BYTES + 1];
    char decider[GID_NAME_MAX_BYTES + 1];
    char txid[TXID_MAX_BYTES + 1];
    char participant[GID_NAME_MAX_BYTES + 1];
};

/* random: 16 bytes from the caller (the simulator injects its own); counter: per process. */
void txid_make(const uint8_t random[16], uint64_t counter, char txid_r[TXID_MAX_BYTES + 1]);
bool txid_valid(struct slice s);
bool gid_name_valid(struct slice s); /* usable as a cluster's or a shard's name */
enum status gid_format(const struct gid *g, char text_r[GID_MAX_BYTES + 1], struct error *error_r) MUST_CHECK;
bool gid_parse(struct slice text, struct gid *g_r); /* false: not one of ours, of any cluster */

#endif
