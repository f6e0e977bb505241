/*
 * One COMMIT over several writers: prepare all but the decider, decide on the decider, apply.
 *
 * Events (replies, the timer, a cancel) are recorded by coordinator_member.c; then coordinator_advance()
 * acts, in one place, until nothing is left to do. coordinator_private.h draws the machine.
 *
 * Invariants:
 *   - the decision is sent once, on the decider's own connection, and only when every other member said that
 *     it is prepared;
 *   - the decider has its xid before the first PREPARE is sent, so that a fence is always younger than it;
 *   - before the decision was sent, the transaction is rolled back whatever happened to replies: nobody else
 *     can commit it;
 *   - after it was sent, the outcome is what the decider answers or what the decision table says, and "aborted" in
 *     the table counts only together with a prepared member that this coordinator itself rolled back;
 *   - nothing is allocated after coordinator_create().
 *
 * Not responsible for: what it leaves behind (recovery.c), readers, the gate, and the answer to the client.
 */
#include "coordinator_private.h"

#include <stdio.h>

#include <limits.h>

/* An idle decider waits for the others' PREPARE; the client's idle timeout must not end it there. */
#define ASSIGN_PREFIX "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
#define ASSIGN_SQL    "SELECT pg_catalog.pg_current_xact_id()"

const char coordinator_assign_xid_sql[] = ASSIGN_SQL;

uint64_t coordinator_now(const struct coordinator *c)
{
    return c->ops->now_us(c->port);
}

unsigned coordinator_decider(const struct coordinator *c)
{
    return c->decider;
}

/* --- acting ----------------------------------------------------------------------------------- */

static void send(struct coordinator *c, unsigned p, enum member_state to, const char *sql)
{
    member_set_state(c, p, to);
    c->ops->send(c->port, p, sql);
}

static void control(struct coordinator *c, unsigned p, enum member_state to, const char *sql)
{
    member_set_state(c, p, to);
    c->ops->control(c->port, p, sql);
}

/* In the room that create() took. */
static void fence(struct coordinator *c)
{
    buf_clear(&c->fence_sql);
    decision_fence_sql(&c->fence_sql, c->txid, (const char *)buf_head(&c->shards_text));
    control(c, c->decider, M_FENCING, (const char *)buf_head(&c->fence_sql));
}

static void check(struct coordinator *c, unsigned p)
{
    decision_status_sql(c->members[p].status_sql, c->members[p].xid);
    control(c, p, M_CHECKING, c->members[p].status_sql);
}

static uint64_t phase_us(struct coordinator *c)
{
    uint64_t now = coordinator_now(c), us = now - c->phase_started_us;
    c->phase_started_us = now;
    return us ? us : 1;
}

static void begin_prepare(struct coordinator *c)
{
    coordinator_set_state(c, CO_PREPARING);
    for (unsigned p = 0; p < c->n; p++)
        if (p != c->decider)
            send(c, p, M_PREPARING, c->members[p].prepare_sql);
}

static bool others_are(const struct coordinator *c, enum member_state state)
{
    for (unsigned p = 0; p < c->n; p++)
        if (p != c->decider && c->members[p].state != state)
            return false;
    return true;
}

static void decide(struct coordinator *c)
{
    c->result.prepare_us = phase_us(c);
    coordinator_set_state(c, CO_DECIDING);
    member_set_state(c, c->decider, M_DECIDING);
    coordinator_shards_text(c);
    struct txn_decision decision = {
        .txid = c->txid, .shards = (const char *)buf_head(&c->shards_text), .proof = c->proof};
    c->ops->decide(c->port, c->decider, &decision);
}

/* Takes every member as far towards the outcome as it goes now. */
static void finish_members(struct coordinator *c)
{
    bool commit = c->state == CO_APPLYING || c->state == CO_SETTLING_COMMIT;
    uint64_t now = coordinator_now(c);
    for (unsigned p = 0; p < c->n; p++) {
        struct member *m = &c->members[p];
        if (m->state == M_OPEN)
            send(c, p, M_ROLLING_BACK, "ROLLBACK");
        else if (m->state == M_PREPARED)
            send(c, p, M_FINISHING, commit ? m->commit_sql : m->rollback_sql);
        else if (m->state == M_RETRY_WAIT && m->retry_at_us <= now)
            control(c, p, M_RETRYING, commit ? m->commit_sql : m->rollback_sql);
        else if (m->state == M_GONE && m->retry_at_us <= now)
            check(c, p);
    }
}

static bool any(const struct coordinator *c, bool (*is)(const struct member *m))
{
    for (unsigned p = 0; p < c->n; p++)
        if (is(&c->members[p]))
            return true;
    return false;
}

static bool all_over(const struct coordinator *c)
{
    for (unsigned p = 0; p < c->n; p++)
        if (!member_over(&c->members[p]))
            return false;
    return true;
}

/* Connections go back, what is not finished is the resolver's. Only of those that somebody else ended nobody else may
 * know: they are asked for a last time, if it is known how they should have ended. */
static void leave(struct coordinator *c)
{
    coordinator_set_state(c, CO_LEAVING);
    c->deadline_us = 0;
    for (unsigned p = 0; p < c->n; p++)
        member_part(c, p);
}

static void check_gone(struct coordinator *c)
{
    for (unsigned p = 0; p < c->n; p++)
        if (c->members[p].state == M_GONE)
            check(c, p);
}

static bool torn(const struct member *m)
{
    return m->state == M_TORN;
}

static bool unapplied(const struct member *m)
{
    return m->state != M_FINISHED && m->state != M_TORN;
}

/* Somebody else ended it there, and how is not known yet. */
static bool gone(const struct member *m)
{
    return m->state == M_GONE || m->state == M_CHECKING;
}

/* NULL: there are none. */
static const char *names_of(const struct coordinator *c, bool (*is)(const struct member *m), char *names)
{
    size_t len = 0;
    for (unsigned p = 0; p < c->n; p++) {
        if (!is(&c->members[p]))
            continue;
        len +=
            (size_t)snprintf(names + len, c->names_bytes - len, "%s%s", len ? ", " : "", c->members[p].shard);
        TXN_ASSERT(len < c->names_bytes);
    }
    return len ? names : NULL;
}

/* Answers the client and goes on to the state `to`. */
static void answer(struct coordinator *c, enum txn_outcome outcome, enum coordinator_state to)
{
    c->result.outcome = outcome;
    c->result.torn = names_of(c, torn, c->torn);
    if (outcome != TXN_COMMITTED)
        c->result.error = &c->error;
    if (to == CO_LEAVING)
        leave(c);
    else
        coordinator_set_state(c, to);
    c->ops->answer(c->port, &c->result);
}

static void answer_unknown(struct coordinator *c, const char *why)
{
    error_set(&c->error, SQLSTATE_OUTCOME_UNKNOWN, "outcome of the transaction is unknown: shard \"%s\" %s",
              c->members[c->decider].shard, why);
    error_detail(&c->error, "Transaction identifier: %s", c->txid);
    error_hint(
        &c->error,
        "It is either committed or rolled back on all shards, or will be. SHOW TRANSACTION %s on the console "
        "tells what is known.",
        c->txid);
    c->result.error_participant = UINT_MAX;
    answer(c, TXN_OUTCOME_UNKNOWN, CO_LEAVING);
}

static void act_applying(struct coordinator *c, bool expired)
{
    finish_members(c);
    if (all_over(c)) {
        c->result.apply_us = phase_us(c);
        c->result.applied_everywhere = !any(c, torn);
        answer(c, TXN_COMMITTED, CO_LEAVING);
    } else if (c->ack_decided) {
        c->result.applied_everywhere = true; /* nothing is known to be late */
        answer(c, TXN_COMMITTED, CO_SETTLING_COMMIT);
    } else if (expired) {
        c->result.unapplied = names_of(c, unapplied, c->unapplied);
        answer(c, TXN_COMMITTED, CO_LEAVING);
    }
}

static void act(struct coordinator *c)
{
    bool expired = c->deadline_us && coordinator_now(c) >= c->deadline_us;
    struct member *decider = &c->members[c->decider];
    switch (c->state) {
    case CO_NEW:
    case CO_DECIDING:
    case CO_DONE:
        return;
    case CO_ASSIGNING:
        if (decider->state == M_OPEN)
            begin_prepare(c);
        return;
    case CO_PREPARING:
        if (others_are(c, M_PREPARED))
            decide(c);
        return;
    case CO_IN_DOUBT:
        if (expired)
            answer_unknown(c, "was lost while committing and did not tell in time");
        else if (decider->state == M_FENCE_WAIT && decider->retry_at_us <= coordinator_now(c))
            fence(c);
        return;
    case CO_CONFIRMING:
        finish_members(c);
        if (all_over(c) || expired)
            answer_unknown(c, "was lost while committing, and others ended what was prepared");
        return;
    case CO_APPLYING:
        act_applying(c, expired);
        return;
    case CO_ABORTING:
        finish_members(c);
        if (all_over(c) || expired)
            answer(c, TXN_ROLLED_BACK, CO_LEAVING);
        else if (!any(c, member_sending) && !any(c, gone))
            answer(c, TXN_ROLLED_BACK, CO_SETTLING_ABORT);
        return;
    case CO_SETTLING_COMMIT:
    case CO_SETTLING_ABORT:
        finish_members(c);
        if (all_over(c) || expired)
            leave(c);
        return;
    case CO_LEAVING:
        check_gone(c);
        if (all_over(c))
            coordinator_set_state(c, CO_DONE);
        return;
    }
}

static void set_timer(struct coordinator *c)
{
    uint64_t at = c->deadline_us;
    for (unsigned p = 0; p < c->n && at; p++) {
        const struct member *m = &c->members[p];
        bool waits = m->state == M_FENCE_WAIT || m->state == M_RETRY_WAIT || m->state == M_GONE;
        if (waits && m->retry_at_us < at)
            at = m->retry_at_us;
    }
    if (at == c->timer_us)
        return;
    c->timer_us = at;
    uint64_t now = coordinator_now(c);
    c->ops->timer(c->port, at == 0 ? 0 : at > now ? at - now : 1);
}

static void advance(struct coordinator *c)
{
    enum coordinator_state before;
    do {
        before = c->state;
        act(c);
    } while (c->state != before);
    set_timer(c);
    coordinator_check(c);
    if (c->state == CO_DONE)
        c->ops->done(c->port);
}

/* --- what members report ---------------------------------------------------------------------- */

void coordinator_abort(struct coordinator *c, const struct error *error, unsigned whose)
{
    bool confirmed = c->state == CO_CONFIRMING;
    if (error != &c->error)
        c->error = *error;
    c->result.error_participant = whose;
    c->deadline_us = coordinator_now(c) + c->apply_timeout_us + 1;
    coordinator_set_state(c, CO_ABORTING);
    for (unsigned p = 0; p < c->n && confirmed; p++) /* what proved nothing then, does now */
        if (c->members[p].state == M_FINISHED && c->members[p].ended == 'c')
            member_torn(c, p);
}

void coordinator_doubt(struct coordinator *c)
{
    c->deadline_us = coordinator_now(c) + c->resolve_timeout_us + 1;
    coordinator_set_state(c, CO_IN_DOUBT);
}

void coordinator_committed(struct coordinator *c)
{
    c->result.decide_us = phase_us(c);
    c->deadline_us = coordinator_now(c) + c->apply_timeout_us + 1;
    coordinator_set_state(c, CO_APPLYING);
}

/* --- events ----------------------------------------------------------------------------------- */

void coordinator_start(struct coordinator *c)
{
    TXN_ASSERT(c->state == CO_NEW);
    c->phase_started_us = coordinator_now(c);
    if (c->assign_first) {
        coordinator_set_state(c, CO_ASSIGNING);
        send(c, c->decider, M_ASSIGNING, ASSIGN_PREFIX ASSIGN_SQL);
    } else {
        begin_prepare(c);
    }
    coordinator_check(c);
}

void coordinator_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    TXN_ASSERT(p < c->n && member_sending(&c->members[p]));
    member_reply(c, p, reply);
    advance(c);
}

void coordinator_control_reply(struct coordinator *c, unsigned p, const struct txn_reply *reply)
{
    TXN_ASSERT(p < c->n && member_controlling(&c->members[p]));
    member_control_reply(c, p, reply);
    advance(c);
}

void coordinator_timer(struct coordinator *c)
{
    if (c->timer_us == 0)
        return; /* fired while it was being cancelled */
    c->timer_us = 0;
    advance(c);
}

void coordinator_cancel(struct coordinator *c)
{
    TXN_ASSERT(c->state != CO_NEW);
    if (c->state != CO_ASSIGNING && c->state != CO_PREPARING)
        return;
    struct error error;
    error_set(&error, SQLSTATE_QUERY_CANCELED, "canceling commit due to user request");
    coordinator_abort(c, &error, UINT_MAX);
    advance(c);
}
