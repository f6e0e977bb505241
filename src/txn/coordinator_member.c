/*
 * What a shard's answer makes of one member. Only records: it gives connections back, moves the member on,
 * and tells the machine of the three things that concern everybody (abort, in doubt, committed); sending is
 * coordinator.c's.
 *
 * Three kinds of answer are never mixed up. OK counts only with the command tag that was asked for. ERROR is
 * the shard's word that the statement had no effect. LOST says nothing.
 */
#include "coordinator_private.h"

#include <limits.h>

static bool replied(const struct txn_reply *reply, const char *tag)
{
    return reply->kind == TXN_REPLY_OK && reply->tag && strcmp(reply->tag, tag) == 0;
}

static bool failed_with(const struct txn_reply *reply, const char *sqlstate)
{
    return reply->kind == TXN_REPLY_ERROR && reply->error && strcmp(reply->error->sqlstate, sqlstate) == 0;
}

/* After the last use of a member's own connection: back to the session if it is idle, else closed. */
static void give_back(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    if (reply->kind != TXN_REPLY_LOST && reply->txn_status == 'I')
        c->ops->released(c->port, p);
    else
        c->ops->drop(c->port, p);
}

/* The error to abort with: the shard's own, or ours for a lost connection and for an answer that cannot be.
 */
static void abort_with_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply,
                             const char *what)
{
    struct error error;
    if (reply->kind == TXN_REPLY_ERROR && reply->error) {
        coordinator_abort(c, reply->error, p);
        return;
    }
    if (reply->kind == TXN_REPLY_LOST)
        error_set(&error, SQLSTATE_CONNECTION_FAILURE,
                  "connection to shard \"%s\" was lost while the transaction was %s", c->members[p].shard,
                  what);
    else
        error_set(&error, SQLSTATE_IN_FAILED_TRANSACTION,
                  "transaction was rolled back on shard \"%s\" while it was %s", c->members[p].shard, what);
    if (reply->kind == TXN_REPLY_LOST && reply->error)
        error_detail(&error, "%s", reply->error->message);
    error_hint(&error, "The transaction was rolled back on all shards; retry it.");
    coordinator_abort(c, &error, UINT_MAX);
}

/* A statement in the open transaction did not do what it should: where does that leave the connection? */
static void reopen(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    if (reply->kind != TXN_REPLY_LOST && reply->txn_status != 'I') {
        member_set_state(c, p, M_OPEN);
        return;
    }
    give_back(c, p, reply);
    member_set_state(c, p, M_FINISHED);
}

static void assign_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    if (reply->kind == TXN_REPLY_OK && reply->txn_status == 'T') {
        member_set_state(c, p, M_OPEN);
        return;
    }
    reopen(c, p, reply);
    if (c->state == CO_ASSIGNING)
        abort_with_reply(c, p, reply, "getting its identifier");
}

/* From here on the participant can be asked for, prepared or not. */
static bool note_xid(struct member *m, const struct txn_reply *reply)
{
    return reply->kind == TXN_REPLY_OK && reply->n_rows == 1 && reply->rows[0][0] &&
           decision_xid_parse(reply->rows[0][0], &m->xid);
}

static void prepare_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    bool bug = (SEEDED_BUG(BUG_TAG_UNCHECKED) && reply->kind == TXN_REPLY_OK) ||
               (SEEDED_BUG(BUG_DECIDE_EARLY) && reply->kind == TXN_REPLY_ERROR);
    bool known = note_xid(&c->members[p], reply);
    if ((replied(reply, "PREPARE TRANSACTION") && reply->txn_status == 'I' && known) || bug) {
        member_set_state(c, p, M_PREPARED);
        return;
    }
    if (reply->kind == TXN_REPLY_LOST || replied(reply, "PREPARE TRANSACTION")) {
        /* May be prepared, or may yet be. Nobody will ever decide to commit it, so the resolver needs no help
         * from here. */
        c->ops->drop(c->port, p);
        member_set_state(c, p, M_LEFT);
    } else {
        reopen(c, p, reply);
    }
    if (c->state == CO_PREPARING)
        abort_with_reply(c, p, reply, "being prepared");
}

static void decide_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    if (replied(reply, "COMMIT")) {
        give_back(c, p, reply);
        member_set_state(c, p, M_FINISHED);
        coordinator_committed(c);
    } else if (failed_with(reply, "23505") && reply->txn_status == 'E') {
        /* Before the COMMIT only our own INSERT can violate a unique index: there is a fence. */
        struct error error;
        error_set(&error, SQLSTATE_SERIALIZATION_FAILURE,
                  "transaction was rolled back because its commit took too long");
        error_detail(
            &error,
            "Another resolver found transaction %s in doubt and ended it before shard \"%s\" decided.",
            c->txid, c->members[p].shard);
        error_hint(&error, "Retry the transaction.");
        member_set_state(c, p, M_OPEN);
        coordinator_abort(c, &error, UINT_MAX);
    } else if (reply->kind == TXN_REPLY_ERROR || replied(reply, "ROLLBACK") ||
               SEEDED_BUG(BUG_LOST_IS_ABORTED)) {
        reopen(c, p, reply);
        abort_with_reply(c, p, reply, "committing");
    } else {
        c->ops->drop(c->port, p);
        member_set_state(c, p, M_FENCE_WAIT);
        c->members[p].retry_at_us = coordinator_now(c);
        coordinator_doubt(c);
    }
}

static bool committing(const struct coordinator *c)
{
    return c->state == CO_APPLYING || c->state == CO_SETTLING_COMMIT ||
           (c->state == CO_LEAVING && c->result.outcome == TXN_COMMITTED);
}

/* COMMIT PREPARED or ROLLBACK PREPARED was answered. Tells what becomes of the member. */
static enum member_state finished(struct coordinator *c, const struct txn_reply *reply)
{
    if (replied(reply, committing(c) ? "COMMIT PREPARED" : "ROLLBACK PREPARED")) {
        if (c->state == CO_CONFIRMING)
            coordinator_abort(c, &c->error, UINT_MAX);
        return M_FINISHED;
    }
    if (!failed_with(reply, SQLSTATE_UNDEFINED_OBJECT))
        return M_RETRY_WAIT;
    /* It was prepared, so somebody has ended it: a resolver, who did what was decided, or anybody else who may. */
    if (SEEDED_BUG(BUG_GONE_IS_DONE) && c->state == CO_CONFIRMING)
        coordinator_abort(c, &c->error, UINT_MAX);
    return SEEDED_BUG(BUG_GONE_IS_DONE) || SEEDED_BUG(BUG_GONE_IS_APPLIED) ? M_FINISHED : M_GONE;
}

static void finish_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    give_back(c, p, reply);
    /* If it is to be tried again: the session may be another role than the one that prepared (SET LOCAL ROLE), time
     * out, be gone. The control role tries. */
    member_set_state(c, p, finished(c, reply));
    c->members[p].retry_at_us = coordinator_now(c);
}

void member_torn(struct coordinator *c, unsigned p)
{
    member_set_state(c, p, M_TORN);
    c->ops->torn(c->port, p, committing(c));
}

/*
 * What became of a member that somebody else ended. As it should be, mostly. In CONFIRMING nothing should be:
 *   'aborted'    Rows 'c' are not collected before every member has committed. So there never was one, and the fence
 *                means what it says.
 *   'committed'  Either by a row 'c' that was collected since, or against the fence.
 */
static void check_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    const char *status =
        reply->kind == TXN_REPLY_OK && reply->n_rows == 1 && reply->n_columns == 1 && reply->rows[0][0]
            ? reply->rows[0][0]
            : "";
    bool committed = strcmp(status, "committed") == 0, aborted = strcmp(status, "aborted") == 0;
    if (!committed &&
        !aborted) { /* no answer, or too long ago to be known: if need be, the resolver asks again */
        member_set_state(c, p, c->state == CO_LEAVING ? M_LEFT : M_GONE);
        c->members[p].retry_at_us = coordinator_now(c) + c->retry_us;
    } else if (c->state == CO_CONFIRMING) {
        c->members[p].ended = committed ? 'c' : 'a';
        member_set_state(c, p, M_FINISHED);
        if (aborted)
            coordinator_abort(c, &c->error, UINT_MAX);
    } else if (committed == committing(c)) {
        member_set_state(c, p, M_FINISHED);
    } else {
        member_torn(c, p);
    }
}

void member_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    switch (c->members[p].state) {
    case M_ASSIGNING:
        assign_reply(c, p, reply);
        return;
    case M_PREPARING:
        prepare_reply(c, p, reply);
        return;
    case M_DECIDING:
        decide_reply(c, p, reply);
        return;
    case M_ROLLING_BACK:
        give_back(c, p, reply);
        member_set_state(c, p, M_FINISHED);
        return;
    case M_FINISHING:
        finish_reply(c, p, reply);
        return;
    case M_OPEN:
    case M_PREPARED:
    case M_FENCE_WAIT:
    case M_FENCING:
    case M_RETRY_WAIT:
    case M_RETRYING:
    case M_GONE:
    case M_CHECKING:
    case M_FINISHED:
    case M_TORN:
    case M_PARTING:
    case M_LEFT:
        TXN_ASSERT(!"reply without a send");
    }
}

static void fence_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    char outcome = 0;
    if (reply->kind == TXN_REPLY_OK && reply->n_rows == 1 && reply->n_columns == 2)
        outcome = decision_outcome(c->txid, reply->rows[0][0], reply->rows[0][1]);
    if (outcome == 'c') {
        member_set_state(c, p, M_FINISHED);
        coordinator_committed(c);
    } else if (outcome == 'a') {
        member_set_state(c, p, M_FINISHED);
        error_set(&c->error, SQLSTATE_SERIALIZATION_FAILURE,
                  "transaction was rolled back because the connection to shard \"%s\" was lost while it was "
                  "committing",
                  c->members[p].shard);
        error_hint(&c->error, "Retry the transaction.");
        coordinator_set_state(c, CO_CONFIRMING);
    } else {
        /* Unreachable, still committing (55P03), not writable: ask again. */
        member_set_state(c, p, M_FENCE_WAIT);
        c->members[p].retry_at_us = coordinator_now(c) + c->retry_us;
    }
}

void member_control_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    struct member *m = &c->members[p];
    TXN_ASSERT(member_controlling(m));
    if (m->state == M_FENCING) {
        fence_reply(c, p, reply);
    } else if (m->state == M_RETRYING) {
        enum member_state to = finished(c, reply);
        member_set_state(c, p, to);
        m->retry_at_us = coordinator_now(c) + (to == M_GONE ? 0 : c->retry_us);
    } else if (m->state == M_CHECKING) {
        check_reply(c, p, reply);
    } else {
        bool gone = failed_with(reply, SQLSTATE_UNDEFINED_OBJECT) && c->result.outcome != TXN_OUTCOME_UNKNOWN;
        member_set_state(c, p, gone && !SEEDED_BUG(BUG_GONE_IS_APPLIED) ? M_GONE : M_LEFT);
    }
}

void member_part(struct coordinator *c, unsigned p)
{
    struct member *m = &c->members[p];
    switch (m->state) {
    case M_OPEN:
    case M_DECIDING:
        TXN_ASSERT(!"parting in the middle of a transaction");
        return;
    case M_PREPARING:
    case M_FINISHING:
        c->ops->drop(c->port, p);
        member_set_state(c, p, M_LEFT);
        return;
    case M_ASSIGNING:
    case M_ROLLING_BACK:
        c->ops->drop(c->port, p); /* was never prepared and ends with its connection */
        member_set_state(c, p, M_FINISHED);
        return;
    case M_PREPARED:
        c->ops->released(c->port, p);
        member_set_state(c, p, M_LEFT);
        return;
    case M_FENCE_WAIT:
    case M_RETRY_WAIT:
        member_set_state(c, p, M_LEFT);
        return;
    case M_GONE:
        if (c->result.outcome == TXN_OUTCOME_UNKNOWN)
            member_set_state(c, p, M_LEFT); /* else asked for a last time */
        return;
    case M_CHECKING:
        if (c->result.outcome != TXN_OUTCOME_UNKNOWN)
            return; /* its answer counts still */
        member_set_state(c, p, M_PARTING);
        return;
    case M_FENCING:
    case M_RETRYING:
        member_set_state(c, p, M_PARTING);
        return;
    case M_FINISHED:
    case M_TORN:
    case M_PARTING:
    case M_LEFT:
        return;
    }
}
