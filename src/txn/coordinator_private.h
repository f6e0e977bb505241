/* The coordinator's own files: its states, and those of its members (a member is one participant as the
 * coordinator sees it). */
#ifndef PGUNISON_TXN_COORDINATOR_PRIVATE_H
#define PGUNISON_TXN_COORDINATOR_PRIVATE_H

#include "base/arena.h"
#include "base/buf.h"
#include "seeded_bug.h"
#include "txn/coordinator.h"
#include "txn/decision.h"
#include "txn_assert.h"

/*
 *  NEW           -> ASSIGNING (the decider may lack an xid), PREPARING
 *  ASSIGNING     -> PREPARING, ABORTING
 *  PREPARING     -> DECIDING, ABORTING
 *  DECIDING      -> APPLYING, ABORTING, IN_DOUBT
 *  IN_DOUBT      -> APPLYING, CONFIRMING, LEAVING
 *  CONFIRMING    -> ABORTING, LEAVING
 *  APPLYING      -> SETTLING_COMMIT -> LEAVING, or LEAVING at once
 *  ABORTING      -> SETTLING_ABORT -> LEAVING, or LEAVING at once
 *  LEAVING       -> DONE
 *
 *  state            the client   what is true
 *  NEW              waits        nothing was sent
 *  ASSIGNING        waits        the decider was asked for its xid; nothing was prepared
 *  PREPARING        waits        the decider has an xid; the decision was not sent
 *  DECIDING         waits        every other member answered that it is prepared; the decision was sent
 *  IN_DOUBT         waits        the decider's connection was lost: committed or not, only the fence can tell
 *  CONFIRMING       waits        the table says aborted. That alone proves nothing to a coordinator that may
 *                                have slept: a committed row may have been applied, collected, and a fence
 *                                set since. Rolling back one prepared member proves it, because no row is
 *                                collected before all members are gone.
 *  APPLYING         waits        committed, for certain
 *  ABORTING         waits        rolled back, for certain
 *  SETTLING_COMMIT  has COMMIT   members are still being brought to it
 *  SETTLING_ABORT   has an error members are still being brought to it
 *  LEAVING          answered     nothing will be sent any more; control replies are outstanding (how members that are
 *                                gone have ended still counts); the resolver has the rest
 *  DONE             answered     nothing is outstanding
 */
enum coordinator_state {
    CO_NEW,
    CO_ASSIGNING,
    CO_PREPARING,
    CO_DECIDING,
    CO_IN_DOUBT,
    CO_CONFIRMING,
    CO_APPLYING,
    CO_ABORTING,
    CO_SETTLING_COMMIT,
    CO_SETTLING_ABORT,
    CO_LEAVING,
    CO_DONE
};

/*
 *  state         own connection         outstanding  what is true
 *  OPEN          ours, in transaction   nothing
 *  ASSIGNING     ours                   send         the decider: asked for its xid
 *  PREPARING     ours                   send         prepared or not
 *  PREPARED      ours, idle             nothing      prepared, it said so
 *  DECIDING      ours                   send         the decider: committed or not
 *  FENCE_WAIT    dropped                nothing      the decider, in doubt: asks again at retry_at_us
 *  FENCING       dropped                control      the decider, in doubt
 *  ROLLING_BACK  ours                   send         never prepared; ROLLBACK
 *  FINISHING     ours                   send         COMMIT PREPARED or ROLLBACK PREPARED
 *  RETRY_WAIT    given back             nothing      perhaps still prepared: next attempt at retry_at_us
 *  RETRYING      given back             control      perhaps still prepared
 *  GONE          given back             nothing      not prepared any more: somebody else ended it, and how is asked
 *                                                    at retry_at_us
 *  CHECKING      given back             control      the same
 *  FINISHED      given back             nothing      has the outcome (in CONFIRMING: is gone)
 *  TORN          given back             nothing      has the other outcome, and that was reported
 *  PARTING       given back             control      its reply changes nothing any more
 *  LEFT          given back             nothing      the resolver's
 */
enum member_state {
    M_OPEN,
    M_ASSIGNING,
    M_PREPARING,
    M_PREPARED,
    M_DECIDING,
    M_FENCE_WAIT,
    M_FENCING,
    M_ROLLING_BACK,
    M_FINISHING,
    M_RETRY_WAIT,
    M_RETRYING,
    M_GONE,
    M_CHECKING,
    M_FINISHED,
    M_TORN,
    M_PARTING,
    M_LEFT
};

struct member {
    enum member_state state;
    const char *shard;
    const char *prepare_sql, *commit_sql, *rollback_sql; /* NULL: the decider */
    uint64_t xid;                                        /* from PREPARED on: its own, there */
    uint64_t retry_at_us;                                /* FENCE_WAIT, RETRY_WAIT, GONE */
    char ended; /* FINISHED in CONFIRMING by somebody else: 'c' or 'a'; 0: by this coordinator */
    char status_sql[DECISION_STATUS_SQL_BYTES];
};

struct coordinator {
    enum coordinator_state state;
    struct arena arena; /* everything below points into it */
    const struct coordinator_ops *ops;
    void *port;
    const char *cluster, *txid;
    char proof[2 * TXID_SECRET_BYTES + 1];
    struct member *members;
    unsigned n, decider;
    bool assign_first; /* the decider may lack an xid */
    bool ack_decided;
    uint64_t resolve_timeout_us, retry_us, apply_timeout_us;
    struct decision_participant *named; /* what the decision names: all but the decider */
    struct buf shards_text, fence_sql;  /* made when they are needed, in the room that create() took */

    uint64_t deadline_us;      /* IN_DOUBT to SETTLING_*: when to stop trying; 0: none */
    uint64_t timer_us;         /* what the port's timer is set to; 0: nothing */
    uint64_t phase_started_us; /* of prepare, decide or apply */
    struct error error;        /* ABORTING: why */
    struct txn_result result;
    char *unapplied, *torn; /* room for all names, each */
    size_t names_bytes;
};

/* coordinator_state.c */
void coordinator_set_state(struct coordinator *c, enum coordinator_state to);
void member_set_state(struct coordinator *c, unsigned p, enum member_state to);
void coordinator_check(const struct coordinator *c);
bool member_sending(const struct member *m);     /* a send is outstanding */
bool member_controlling(const struct member *m); /* a control query is outstanding */
bool member_over(const struct member *m);        /* FINISHED, LEFT */

/* coordinator_member.c: what a reply makes of a member; the machine then acts on it in coordinator_advance().
 */
void member_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply);
void member_control_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply);
void member_torn(struct coordinator *c, unsigned p); /* reports it */
void member_part(struct coordinator *c,
                 unsigned p); /* gives up on it: connection given back, the rest is the resolver's */

/* coordinator.c */
void coordinator_abort(struct coordinator *c, const struct error *error, unsigned whose);
void coordinator_doubt(struct coordinator *c);
void coordinator_committed(struct coordinator *c);
/* coordinator_create.c: the text that names every participant with its xid, once these are known; in the room that was
 * taken for it. */
void coordinator_shards_text(struct coordinator *c);
uint64_t coordinator_now(const struct coordinator *c);

/* Frees it as the crash of its process would, whatever it is doing. For the simulator. */
void coordinator_abandon(struct coordinator **c);

#endif
