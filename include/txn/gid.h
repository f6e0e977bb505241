/*
 * Names of transactions. txid: <proxy>-<counter>-<proof>, unique over the cluster. Its last part is the sha256 of a
 * secret of 128 random bits that only the transaction's coordinator knows: everybody may read names, and nobody who
 * reads one can write the decision that belongs to it. Earlier versions named transactions <128 random bits>-<counter>:
 * such names are still understood, but never made.
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
#define TXID_MAX_BYTES     67
#define TXID_PROOF_BYTES   43 /* sha256 as base64url without padding */
#define TXID_SECRET_BYTES  16
#define TXID_COUNTER_MAX   UINT64_C(0xffffffffffffff) /* what is beyond is cut off */
#define GID_NAME_MAX_BYTES 40                         /* cluster and shard names: [A-Za-z0-9_.-] */

struct gid {
    char cluster[GID_NAME_MAX_BYTES + 1];
    char decider[GID_NAME_MAX_BYTES + 1];
    char txid[TXID_MAX_BYTES + 1];
    char participant[GID_NAME_MAX_BYTES + 1];
};

/* proxy: drawn once per process; counter: per process; secret: random bytes from the caller (the simulator injects its
 * own). */
void txid_make(uint32_t proxy, uint64_t counter, const uint8_t secret[TXID_SECRET_BYTES],
               char txid_r[TXID_MAX_BYTES + 1]);
bool txid_valid(struct slice s);
/* Of an earlier version: nothing can prove its decision. */
bool txid_without_proof(struct slice s);
/* Whether proof, in hex, is the secret that txid was made with. */
bool txid_proven(struct slice txid, struct slice proof_hex);
bool gid_name_valid(struct slice s); /* usable as a cluster's or a shard's name */
enum status gid_format(const struct gid *g, char text_r[GID_MAX_BYTES + 1], struct error *error_r) MUST_CHECK;
bool gid_parse(struct slice text, struct gid *g_r); /* false: not one of ours, of any cluster */

#endif
