/*
 * One COMMIT over several writers: prepare, decide, apply (docs/commit-protocol.md). Pure: events in, actions
 * out through the ops below; no clock, sockets, memory that the caller does not see, or threads.
 *
 * The session calls coordinator_create() at COMMIT when two or more participants may have written, after it
 * has released or is releasing the readers itself. From then on the participants' connections belong to the
 * coordinator until it calls released() or drop() for each. All memory that is needed after the commit point
 * is allocated in create().
 */
#ifndef PGUNISON_TXN_COORDINATOR_H
#define PGUNISON_TXN_COORDINATOR_H

#include "txn/gid.h"
#include "txn/port.h"

struct txn_participant {
    const char *shard;   /* its name */
    bool cannot_prepare; /* temporary table, LISTEN/NOTIFY, WITH HOLD cursor: must be the decider */
    bool may_lack_xid;   /* its last statement may not have assigned a transaction id */
};

enum txn_outcome {
    TXN_COMMITTED,      /* decided and, unless applied_everywhere is false, applied */
    TXN_ROLLED_BACK,    /* definitely: error says why (a shard's own error, or 40001 after a fence) */
    TXN_OUTCOME_UNKNOWN /* the decider stayed unreachable: 08007, txid in DETAIL; the resolver goes on */
};

struct txn_result {
    enum txn_outcome outcome;
    bool applied_everywhere; /* COMMITTED: false: answer COMMIT with a WARNING; unapplied names the shards.
                                With ack_decided applying has just begun and nothing is known to be late: true
                              */
    const char *unapplied;   /* comma-separated shard names, or NULL */
    const char *torn;        /* those that are known to have ended it the other way, or NULL */
    const struct error *error;
    unsigned error_participant;               /* whose error it is, or UINT_MAX: the proxy's own */
    uint64_t prepare_us, decide_us, apply_us; /* for SHOW TWO_PHASE; 0 where the phase did not finish */
};

/* The decision: decision_insert_sql with these values, and COMMIT. */
struct txn_decision {
    const char *txid, *shards, *proof; /* $1 to $3 */
};

struct coordinator_ops {
    /* Sends one simple Query on participant p's own connection; answered by coordinator_reply(c, p, …), with the first
       column of the last row, if there was one. At most one is outstanding a participant. */
    void (*send)(void *port, unsigned p, const char *sql);
    /* The same for the decision: both statements up to one Sync, so that an error of the first keeps the second from
       running, and the proof as a parameter: the text of a statement under way can be read by others of its role. */
    void (*decide)(void *port, unsigned p, const struct txn_decision *d);
    /* Sends one simple Query on a connection of the control role to participant p's shard; answered by
       coordinator_control_reply(c, p, …), with TXN_REPLY_LOST at the latest when the port's own patience
       ends: done() waits for it. At most one outstanding a participant. That connection has no
       statement_timeout: COMMIT PREPARED must be alone in its message. A connection that was lost while idle
       is reported as LOST when it is used. */
    void (*control)(void *port, unsigned p, const char *sql);
    /* Participant p's own connection is idle, outside a transaction, and the session's again. */
    void (*released)(void *port, unsigned p);
    /* Participant p's own connection must be closed: its state is unknown or it is not needed. The
       coordinator has done with it; a reply to an outstanding send will not be reported. */
    void (*drop)(void *port, unsigned p);
    /* One timer: coordinator_timer(c) once, after_us from now. 0: cancel. Setting replaces. */
    void (*timer)(void *port, uint64_t after_us);
    uint64_t (*now_us)(void *port); /* monotonic */
    /* Participant p is known to have ended the other way than the transaction: somebody else ended what was prepared
       there. committed: so is the transaction, and the shard rolled back; else the reverse. At any time after start();
       once a participant. */
    void (*torn)(void *port, unsigned p, bool committed);
    /* The client can be answered. Once. `result` lives until `done`. */
    void (*answer)(void *port, const struct txn_result *result);
    /* Nothing is outstanding any more; the coordinator may be destroyed (not inside this call). After
     * answer(). */
    void (*done)(void *port);
};

struct coordinator_options {
    const char *cluster;
    const char *txid; /* made with: */
    uint8_t secret[TXID_SECRET_BYTES];
    /* spreads deciders evenly: counter of the caller; taken modulo the eligible ones */
    unsigned decider_hint;
    bool ack_decided;            /* commit_ack = decided */
    uint64_t resolve_timeout_us; /* commit_resolve_timeout */
    /* between attempts at the fence and at applying through control connections */
    uint64_t retry_us;
    uint64_t apply_timeout_us; /* after the decision, how long the client waits for an unreachable participant
                                  before it gets COMMIT with a WARNING */
};

struct coordinator;
/* Error (nothing sent): two participants that cannot be prepared (0A000), a gid too long. */
struct coordinator *coordinator_create(const struct coordinator_options *options,
                                       const struct txn_participant *participants, unsigned n,
                                       const struct coordinator_ops *ops, void *port,
                                       struct error *error_r) MUST_CHECK;
void coordinator_start(struct coordinator *c);
void coordinator_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply);
void coordinator_control_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply);
void coordinator_timer(struct coordinator *c);
/* The client is gone or cancels: before the decision was sent, the transaction is rolled back; later this
   changes nothing. After start(). */
void coordinator_cancel(struct coordinator *c);
/* The end of the message that gives the decider an xid. Models of shards know the message by it. */
extern const char coordinator_assign_xid_sql[];
/* "preparing", "deciding", … for SHOW TRANSACTIONS */
const char *coordinator_state_name(const struct coordinator *c);
unsigned coordinator_decider(const struct coordinator *c); /* index of the participant that decides */
void coordinator_destroy(struct coordinator **c);          /* asserts that it is done */

#endif
