/*
 * The commit protocol under a simulated world: model shards, proxies, a clock and a network that misbehave on
 * demand. The code under test is src/txn as it is; everything else is one thread and one queue of events, so
 * a run is a function of its plan or seed.
 *
 *   model.c   shards: what PostgreSQL does with the statements src/txn sends (prepared transactions, the decision
 *             table with its unique index, xids and snapshots, implicit transactions, locks, sessions that outlive
 *             their client)
 *   world.c   events, connections, faults, and the checks
 *   proxy.c   proxies: a resolver each, and the coordinators of their clients, behind the ports of src/txn
 *   main.c    which runs to make: every single fault and every pair, then random schedules
 *
 * Checked after every step: no transaction has one part committed and another rolled back; no answer is
 * contradicted; no decision row or fence goes too early; connections come back idle. At the end, once faults
 * stop: everything prepared was resolved, every client was answered, every row was collected.
 */
#ifndef PGUNISON_TEST_SIM_H
#define PGUNISON_TEST_SIM_H

#include "base/arena.h"
#include "txn/coordinator.h"
#include "txn/recovery.h"

#include <stdlib.h>

enum { FIRST_XID = 1000 };
enum { MAX_SHARDS = 4, MAX_PROXIES = 3, MAX_TXNS = 6, MAX_FAULTS = 4 };

/* --- faults ----------------------------------------------------------------------------------- */

enum fault_kind {
    FAULT_NONE,
    /* of one message */
    LOSE_BEFORE,  /* connection lost, never executed */
    LOSE_AFTER,   /* executed, reply lost */
    LOSE_LATE,    /* reported lost, executed long after */
    FAIL,         /* the shard refuses it */
    FAIL_COMMIT,  /* its COMMIT fails (deferred constraint) */
    VANISH,       /* the transaction is not there: PREPARE answers ROLLBACK */
    SLOW,         /* arrives long after, answered */
    DUPLICATE,    /* the same message arrives again long after, in a session of its own */
    STALL,        /* everything but the commit at its end is executed; that, long after */
    STALL_LOST,   /* the same, and reported lost at once */
    CRASH_BEFORE, /* the shard crashes instead of executing it */
    CRASH_AFTER,  /* the shard crashes after executing it, before answering */
    /* of the proxy that sends it */
    PROXY_CRASH_BEFORE, /* this message and all later ones are not sent */
    PROXY_CRASH_AFTER,  /* this message was sent, no later one */
    PAUSE_BEFORE,       /* sent long after, by a proxy that sees nothing meanwhile */
    PAUSE_AFTER,        /* sent, and the proxy sees nothing for long */
    N_FAULTS,           /* from here on: what others do as it is sent */
    HAND_COMMIT =
        N_FAULTS,  /* somebody who may says COMMIT PREPARED: there, or on the first shard where he can */
    HAND_ROLLBACK, /* ... or ROLLBACK PREPARED */
    FORGE,         /* somebody inserts a row 'c' for everything that is prepared anywhere */
    FORGE_FENCE,   /* ... or 'a' */
    N_KINDS
};

enum { SIDE_MESSAGE, SIDE_PROXY, SIDE_OTHERS, N_SIDES };
unsigned fault_side(enum fault_kind k); /* one of each may come with a message */

struct fault {
    enum fault_kind kind;
    unsigned step; /* at the step-th message, listings not counted unless the scenario says so */
};

struct scenario {
    unsigned n_shards, n_proxies, n_txns;
    bool lacks_xid; /* the last statement on the decider wrote nothing */
    bool ack_decided;
    bool listings; /* the resolvers' listings are steps, too */
    bool briefly;  /* "long" is long enough for resolvers and timeouts, but not for collection */
    struct fault faults[MAX_FAULTS];
    unsigned n_faults;
    bool random; /* then seed and the rates below decide instead of faults[] */
    uint64_t seed;
    double fault_rate;
    bool two_clusters;
    bool several;   /* n_txns begin one just after the other, the last first, each on shard 0 and one other */
    bool no_policy; /* the tables have neither CHECK nor policy */
};

/* --- the model -------------------------------------------------------------------------------- */

enum part_state { PART_OPEN, PART_PREPARED, PART_COMMITTED, PART_ABORTED };

struct txn;
struct conn;

struct decision_row {
    char txid[TXID_MAX_BYTES + 1], shards[256], outcome;
    char proof[2 * TXID_SECRET_BYTES + 1]; /* in hex; "" */
    uint64_t xid, at_us;
    bool committed; /* else its inserter is in progress */
    bool updated;   /* by `xid`, from 'c' to 'a'; then what it was: */
    uint64_t old_xid;
    char old_proof[2 * TXID_SECRET_BYTES + 1];
};

struct prepared {
    char gid[GID_MAX_BYTES + 1];
    uint64_t xid, at_us;
    struct txn *txn;
    unsigned part;
};

/* What pg_xact_status() knows. A transaction that is not here did not commit. */
struct model_shard {
    char name[16];
    bool *committed; /* by xid - FIRST_XID */
    size_t committed_cap;
    bool up;
    uint64_t next_xid;
    struct decision_row rows[64];
    size_t n_rows;
    struct prepared prepared[64];
    size_t n_prepared;
};

struct reply {
    struct txn_reply txn;
    struct error error;
};

enum wait { WAIT_NONE, WAIT_LOCK, WAIT_STALL };

/* A connection: the proxy's end above, the server's session below. One message at most is under way. */
struct conn {
    struct conn *next;
    struct world *w;
    unsigned id, shard, proxy, incarnation;
    struct txn *txn; /* NULL: the resolver's */
    unsigned part;
    bool control;
    unsigned helper; /* of the resolver's: 0 its main connection, else which of its helpers */
    bool usable;     /* the proxy may send on it */
    bool waiting;    /* the proxy waits for a reply */

    bool alive, eof; /* the session exists; its client is gone and it ends after the message it has */
    bool pending;    /* a message is on its way to it, or being executed */
    char status;     /* 'I', 'T', 'E' */
    bool implicit;   /* the transaction ends with the message */
    bool app;        /* the open transaction is the application's part of txn */
    uint64_t xid;
    const char *sql, *at;  /* message, and the statement to execute next */
    enum fault_kind fault; /* of this message */
    bool stalled_once;
    enum wait wait;
    uint64_t wait_xid, lock_timeout_us, wait_generation;
    struct reply *building;
};

void model_execute(struct conn *c); /* c->sql from c->at on; answers, or waits */
void model_lock_timeout(struct conn *c);
void model_end_session(struct conn *c); /* aborts what is open */
void model_crash(struct world *w, unsigned shard);
void model_hand(struct world *w, unsigned shard, bool commit);
void model_forge(struct world *w, char outcome);

/* --- the world -------------------------------------------------------------------------------- */

struct txn {
    struct world *w;
    unsigned index, proxy, incarnation, n_parts, decider;
    unsigned shard[MAX_SHARDS]; /* of each part */
    const char *shard_name[MAX_SHARDS];
    enum part_state part[MAX_SHARDS]; /* what the shard made of it */
    char txid[TXID_MAX_BYTES + 1];
    struct coordinator *coordinator;
    struct conn *own[MAX_SHARDS], *control[MAX_SHARDS];
    bool own_returned[MAX_SHARDS];
    uint64_t timer_generation;
    bool started, answered, done, orphaned; /* orphaned: its proxy crashed */
    bool by_hand[MAX_SHARDS];               /* ended so */
    bool torn, reported;                    /* parts ended in different ways; somebody said so */
    bool said_rolled_back;                  /* ... and that this is how it was to end */
    bool told_gone; /* a proxy heard that a part which it was to roll back is not there */
    unsigned n_faulted_then;
    enum txn_outcome outcome;
};

struct proxy {
    struct world *w;
    unsigned index, incarnation;
    bool up, dying, holding; /* dying, holding: later messages of this turn are not sent, or sent late */
    uint64_t paused_until_us;
    const char *cluster;
    struct recovery *recovery;
    struct conn *conn[MAX_SHARDS][1 + RECOVERY_HELPERS_MAX];
};

enum event_kind {
    EVENT_START,
    EVENT_EXECUTE,
    EVENT_RESUME,
    EVENT_LOCK_TIMEOUT,
    EVENT_EOF,
    EVENT_SHARD_CRASH,
    EVENT_SHARD_UP,
    EVENT_PROXY_CRASH,
    EVENT_PROXY_UP,
    EVENT_OTHERS, /* generation: the kind of fault */
    EVENT_REPLY,  /* from here on: to a proxy, so not while it is paused */
    EVENT_TIMER,
    EVENT_CANCEL,
    EVENT_WAKE,
    EVENT_SWEEP
};

struct event {
    uint64_t at_us, order, generation;
    enum event_kind kind;
    struct conn *conn;
    struct txn *txn;
    struct reply *reply;
    unsigned index; /* of a shard or a proxy */
    unsigned incarnation;
};

struct world {
    struct scenario scenario;
    struct arena arena;
    uint64_t now_us, random_state, order;
    struct event *queue; /* a heap */
    size_t n_queue, queue_cap;
    struct model_shard shards[MAX_SHARDS];
    const char *shard_names[MAX_SHARDS];
    struct proxy proxies[MAX_PROXIES];
    struct txn txns[MAX_TXNS];
    struct conn *conns;
    unsigned n_conns, steps, n_faulted, unsettled; /* unsettled: events that must happen before the end */
    unsigned n_torn, n_forged;
    bool trace, failed;
    char why[512];
    unsigned outcomes[3];
};

void world_init(struct world *w, const struct scenario *s, bool trace);
void world_run(struct world *w);
void world_free(struct world *w);

void world_trace(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void world_fail(struct world *w, const char *fmt, ...)
    PRINTF_LIKE(2, 3); /* the first one counts and ends the run */
uint64_t world_random(struct world *w, uint64_t below);
uint64_t world_latency(struct world *w);
uint64_t world_long(struct world *w);
void world_at(struct world *w, uint64_t after_us, struct event e);
struct conn *world_connect(struct world *w, unsigned proxy, unsigned shard, struct txn *txn, unsigned part,
                           bool control);
void world_send(struct conn *c, const char *sql);
void world_close(struct conn *c);
void world_answer(struct conn *c); /* c->building goes to the proxy; the message is over */
void world_part(struct txn *t, unsigned part, enum part_state to);
/* somebody says that it is torn */
void world_reported(struct world *w, const char *txid, const char *shard, bool suspected);
struct txn *world_find(struct world *w, const char *txid);
const char *fault_name(enum fault_kind kind);

/* proxy.c */
void proxy_start(struct world *w, unsigned index);
void proxy_crash(struct world *w, unsigned index);
void proxy_sweep(struct world *w, unsigned index);
void proxy_wake(struct world *w, unsigned index);
void proxy_reply(struct conn *c, const struct reply *reply);
void txn_start(struct txn *t);

#endif
