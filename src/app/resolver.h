/* Sweeps for transactions in doubt, on the control thread: txn/recovery.h over backend/asker.h. Private to
 * app. */
#ifndef PGUNISON_APP_RESOLVER_H
#define PGUNISON_APP_RESOLVER_H

#include "backend/asker.h"
#include "session/env.h"
#include "txn/recovery.h"

struct resolver;
struct resolver *resolver_create(struct loop *loop, struct config *config, struct asker *control,
                                 struct session_shared *shared);
/* Another list of shards, perhaps. What was asked for by resolver_request() is asked again. */
void resolver_reconfigure(struct resolver *r, struct config *config);
void resolver_destroy(struct resolver **r); /* requests that are not done are forgotten */

/* A sweep that begins after this call; txid: for that one alone, whatever its age. done() comes once, from
   the loop; ok false: not a transaction's name. */
void resolver_request(struct resolver *r, const char *txid, void (*done)(void *arg, bool ok), void *arg);

/* What the last sweep saw; valid until the loop's next turn. */
size_t resolver_entries(const struct resolver *r, const struct recovery_entry **entries_r);
/* NULL: no such shard yet. */
const struct recovery_shard *resolver_shard(const struct resolver *r, unsigned shard);

#endif
