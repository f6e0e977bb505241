/*
 * Resolution of what coordinators left behind: sweeps pg_prepared_xacts on every shard, asks or fences the
 * decider, applies, and collects decision rows and fences (DESIGN "Resolution"). Pure, like the coordinator.
 * One per process.
 */
#ifndef PGUNISON_TXN_RECOVERY_H
#define PGUNISON_TXN_RECOVERY_H

#include "txn/gid.h"
#include "txn/port.h"

struct recovery_ops {
    /* One simple Query on a control connection to shard s; answered by recovery_reply(r, s, …). At most one
     * outstanding a shard. */
    void (*control)(void *port, unsigned s, const char *sql);
    /* The same on one of options.helpers more connections to that shard; answered by recovery_helper_reply(). */
    void (*helper)(void *port, unsigned s, unsigned helper, const char *sql);
    bool (*owned)(void *port, const char *txid); /* a live coordinator of this process works on it */
    uint64_t (*now_us)(void *port);              /* monotonic */
    /* recovery_tick(), after_us from now. Once for each call; at most one is outstanding, and only in a sweep. Not
       needed without options.spread_us. */
    void (*wake)(void *port, uint64_t after_us);
    /* one line worth a WARNING: what could not be understood or done, and where */
    void (*log)(void *port, const char *text);
    /* One participant is known, or (suspected) thought, to have ended the other way than its transaction. committed: so
       is the transaction, and the shard rolled back; else the reverse. Again in each process, and as often as it is
       seen. text: the same in words, for the log. */
    void (*torn)(void *port, const char *txid, const char *shard, bool suspected, const char *text);
    /* One entry was brought to its end. */
    void (*resolved)(void *port, const char *txid, const char *shard, bool committed);
    void (*sweep_done)(void *port);
};

#define RECOVERY_HELPERS_MAX 3

struct recovery_options {
    const char *cluster;
    uint64_t resolve_after_us;
    uint64_t fence_keep_us; /* age below which a fence row stays: a day */
    uint64_t collect_batch; /* rows a DELETE takes at most */
    /* Each end of a prepared transaction is a flush of its own; those of several connections share flushes. */
    unsigned helpers;    /* connections more that help to end prepared transactions of a shard; at most
                            RECOVERY_HELPERS_MAX */
    size_t helpers_from; /* ... while so many of them wait there */
    /* Transactions that one shard lists, and that are due, are spread over this time, so that others hardly notice.
       0: as fast as possible. */
    uint64_t spread_us;
    uint64_t step_us; /* ... a few over less: the next one follows this soon */
    uint64_t tick_us; /* ... and those of so long go together */
};

/* What the last sweep saw, and transactions that are torn as long as their decision's row is there, for SHOW UNRESOLVED and metrics. Strings live until the next sweep ends. */
struct recovery_entry {
    const char *txid, *shard, *decider;
    const char *decision; /* "committed", "aborted", "none", "unreachable", "not yet asked" */
    double age_s;
    bool owned;
    const char *note; /* why it is still there; "" if nothing is odd */
};
struct recovery_shard {
    bool reachable;
    unsigned prepared; /* of this cluster */
    double oldest_prepared_s;
};

struct recovery;
struct recovery *recovery_create(const struct recovery_options *options, const char *const *shards,
                                 unsigned n_shards, const struct recovery_ops *ops, void *port);
/* Starts a sweep over all shards unless one runs (false then). txid: only that one, regardless of its age;
   NULL: all that are past resolve_after. sweep_done() ends it. */
bool recovery_sweep(struct recovery *r, const char *txid);
bool recovery_sweeping(const struct recovery *r);
void recovery_tick(struct recovery *r);
/* How long to rest after a sweep: interval_us, or until something that it saw falls due, but at least a tenth of
   interval_us. */
uint64_t recovery_rest_us(const struct recovery *r, uint64_t interval_us);
void recovery_reply(struct recovery *r, unsigned s, const struct txn_reply *reply);
void recovery_helper_reply(struct recovery *r, unsigned s, unsigned helper, const struct txn_reply *reply);
size_t recovery_entries(const struct recovery *r, const struct recovery_entry **entries_r);
const struct recovery_shard *recovery_shard_state(const struct recovery *r, unsigned s);
void recovery_destroy(struct recovery **r);

#endif
