/* The resolver's own files: what a sweep knows while it runs. */
#ifndef PGUNISON_TXN_RECOVERY_PRIVATE_H
#define PGUNISON_TXN_RECOVERY_PRIVATE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/hashmap.h"
#include "base/list.h"
#include "decision_private.h"
#include "seeded_bug.h"
#include "txn/recovery.h"
#include "txn_assert.h"

/*
 *  IDLE --> RESOLVING --> VERIFYING --> COLLECTING --> IDLE
 *
 *  IDLE        nothing is outstanding
 *  RESOLVING   every shard is asked what is prepared there; what is due is brought to its end when its turn comes
 *  VERIFYING   every shard was asked; of rows that seem not to be needed any more, each participant is asked how it ended
 *  COLLECTING  rows of the decision table that are not needed any more are deleted
 */
enum sweep_state { SWEEP_IDLE, SWEEP_RESOLVING, SWEEP_VERIFYING, SWEEP_COLLECTING };

/*
 *  state        outstanding on the shard's control connection
 *  FREE         nothing
 *  LISTING      its prepared transactions, and decision rows if they are looked at in this sweep
 *  FENCING      the question for the decisions of one or more transactions
 *  FINISHING    COMMIT PREPARED or ROLLBACK PREPARED of one entry; or how it ended, if it is not prepared any more
 *  VERIFYING    which of the transactions that decision rows name did not commit here
 *  DELETING     decision rows
 *  UNREACHABLE  nothing, and nothing more in this sweep
 *
 *  Beside it, in RESOLVING, helpers may be FINISHING other entries on connections of their own.
 */
enum shard_state {
    SHARD_FREE,
    SHARD_LISTING,
    SHARD_FENCING,
    SHARD_FINISHING,
    SHARD_VERIFYING,
    SHARD_DELETING,
    SHARD_UNREACHABLE
};

/*
 *  NOT_ASKED --> WAITING --> ASKING --+--> COMMITTED    final
 *                                     +--> ABORTED      final, and durable on the decider before anyone acts on it
 *                                     +--> NONE         the decider is just committing: the next sweep asks again
 *                                     +--> UNREACHABLE  no answer, or one that is none
 *
 *  WAITING: it is due, and others have their turn first.
 */
enum decision {
    DECISION_NOT_ASKED,
    DECISION_WAITING,
    DECISION_ASKING,
    DECISION_COMMITTED,
    DECISION_ABORTED,
    DECISION_NONE,
    DECISION_UNREACHABLE
};

/* Transactions that one message asks about, if so many wait for one decider. */
#define FENCE_BATCH 100

/* One transaction that is prepared somewhere. */
struct doubt {
    const char *txid;
    const char *decider;
    struct list entries;
    struct list_node in_order; /* of discovery */
    struct list_node
        in_queue; /* of the shard that listed it: waiting; of its decider's: to be fenced, then asked */
    enum decision decision;
    const char *why;    /* NONE, UNREACHABLE */
    const char *shards; /* once it is asked about: what the fence says of its participants */
};

/* One more connection to a shard. */
struct helper {
    struct entry *finishing; /* NULL: it is free */
    bool lost;               /* in this sweep */
};

/* One prepared transaction of this cluster, as one shard listed it. */
struct entry {
    struct list_node in_doubt;
    struct list_node in_queue; /* of its shard, to be finished */
    struct doubt *doubt;
    struct gid gid;
    const char *text; /* the gid, as listed */
    unsigned shard;   /* that listed it */
    uint64_t xid;     /* there; 0: not known */
    double age_s;
    bool owned, over; /* over: it is not there any more */
    bool gone;        /* somebody else ended it: how is to be asked */
    const char *note;
};

/* A row of the decision table that was seen, and may go if its participants are found without the transaction
 * later on. */
struct row {
    const char *txid, *shards;
    double age_s;
    bool committed; /* and proves it */
    bool unproven;
    bool may_go; /* in this sweep, and in VERIFYING: nothing speaks against it */
};

/* A question that VERIFYING asks one shard: one participant of one row. */
struct verify {
    struct shard *decider;
    struct row *row;
    uint64_t xid;
};

/* A transaction that has committed, and a participant that did not: shown as long as the row is there. */
struct torn {
    struct list_node node;
    char txid[TXID_MAX_BYTES + 1];
    struct shard *decider, *participant;
    double age_s;
    bool seen; /* its row, since the look at its decider's table began */
};

struct shard {
    const char *name;
    enum shard_state state;
    bool bare;                  /* LISTING: without decision rows, because there is no table */
    bool listed;                /* in this sweep: its prepared transactions are known */
    bool rows_due;              /* in this sweep: rows were seen in an earlier one */
    struct list waiting;        /* doubts */
    uint64_t began_us, step_us; /* the schedule of those: the k-th has its turn at began + k * step */
    uint64_t turns;             /* that were had */
    struct list fences;         /* doubts */
    struct list finishes;       /* entries */
    struct list asked;          /* FENCING: doubts */
    size_t one_by_one;       /* so many at the head of fences are asked about alone: together they failed */
    struct entry *finishing; /* FINISHING */
    struct helper helpers[RECOVERY_HELPERS_MAX];
    struct recovery_shard now; /* being counted */
    struct recovery_shard published;

    struct arena row_arena; /* rows: from the sweep that saw them to the end of the next */
    struct row *rows;
    size_t n_rows;
    char after_txid[TXID_MAX_BYTES + 1]; /* where the next look at the table begins */
    struct verify *verifies;             /* of other shards' rows, of this one's participants */
    size_t n_verifies;
};

struct recovery {
    struct recovery_options options;
    const char *cluster;
    const struct recovery_ops *ops;
    void *port;
    struct arena names;
    struct shard *shards;
    unsigned n;

    enum sweep_state state;
    char only[TXID_MAX_BYTES + 1]; /* the transaction this sweep is for; "": all */
    struct arena *arena;           /* of this sweep */
    struct arena arenas[2];        /* the other one holds what is published */
    struct list doubts;            /* in the order of their discovery */
    struct hashmap doubt_of;       /* "<decider>/<txid>" -> struct doubt */
    struct recovery_entry *entries;
    size_t n_entries;
    struct list torn;
    bool waking; /* a tick will come */
    uint64_t
        next_due_us; /* when the first of those falls due that the last sweep left alone; UINT64_MAX: none */
    struct buf sql;
    struct hashmap reported; /* lines already logged; emptied by a sweep that has nothing to report */
    bool reporting;          /* this sweep has something */
};

/* recovery_report.c: what the files below share */
struct shard *recovery_find_shard(struct recovery *r, struct slice name);
/* Logs a line, once. */
void recovery_report(struct recovery *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *recovery_reason(struct recovery *r,
                            const struct txn_reply *reply); /* why a query failed, in words */

/* recovery_entries.c: prepared transactions */
void entries_begin(struct recovery *r);
bool entries_present(struct recovery *r, const char *decider,
                     const char *txid); /* some shard listed a part of it */
void entries_listed(struct recovery *r, struct shard *s,
                    const char *const *columns); /* of enum sweep_column */
bool entries_next_job(struct recovery *r,
                      struct shard *s); /* sends the next fence or finish, if there is one */
void entries_fence_reply(struct recovery *r, struct shard *s, const struct txn_reply *reply);
void entries_finish_reply(struct recovery *r, struct shard *s, struct entry *e,
                          const struct txn_reply *reply);
/* Gives finishes to free helpers, if many wait. */
void entries_help(struct recovery *r, struct shard *s);
void entries_shard_lost(struct shard *s);
void entries_publish(struct recovery *r);
void entries_ask(struct recovery *r, struct doubt *d); /* its turn has come */

/* recovery_pace.c: turns */
void pace_add(struct shard *s, struct doubt *d);
void pace_begin(struct recovery *r, struct shard *s); /* those that s listed are all added */
void pace_tick(struct recovery *r);
bool pace_waiting(const struct recovery *r);

/* recovery_torn.c */
void torn_found(struct recovery *r, struct shard *decider, const struct row *row, struct shard *participant,
                const char *how);
/* An entry ended the other way than was decided, by somebody else. */
void torn_entry(struct recovery *r, struct shard *s, const struct entry *e);
void torn_row_seen(struct recovery *r, const struct shard *decider, const struct row *row);
void torn_look_over(struct recovery *r, const struct shard *decider);     /* the whole table was seen */
size_t torn_publish(const struct recovery *r, struct recovery_entry *to); /* to: NULL: counts only */
void torn_free(struct recovery *r);

/* recovery_rows.c: decision rows */
bool rows_wanted(const struct recovery *r, const struct shard *s); /* look at the table in this sweep */
struct sweep_query rows_query(const struct recovery *r, const struct shard *s);
void rows_listed(struct recovery *r, struct shard *s, const struct txn_reply *reply);
void rows_begin_verifying(struct recovery *r);
bool rows_verify(struct recovery *r, struct shard *s); /* asks s how its participants ended, if it has any */
void rows_verify_reply(struct recovery *r, struct shard *s, const struct txn_reply *reply);
bool rows_collect(struct recovery *r, struct shard *s); /* sends a DELETE, if there is something to delete */

#endif
