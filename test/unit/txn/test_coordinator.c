/*
 * The coordinator against a scripted port. What it does between two looks is compared as text: "send 1
 * prepare; send 2 prepare". Three participants; 0 decides unless a test says otherwise.
 */
#include "txn/coordinator.h"

#include "base/buf.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TXID   "00c0ffee-1-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZE"
#define SECRET "000102030405060708090a0b0c0d0e0f"

struct harness {
    struct coordinator *c;
    struct buf actions;
    uint64_t now_us, timer_us;
    struct txn_result result;
    struct error error;
    char last_sql[4096];
    char unapplied[256], torn[256];
    int answers, dones;
};

static const char *kind_of(const char *sql)
{
    if (strstr(sql, "PREPARE TRANSACTION '"))
        return "prepare";
    if (strstr(sql, "ON CONFLICT"))
        return "fence";
    if (strstr(sql, "pg_xact_status("))
        return "check";
    if (strncmp(sql, "COMMIT PREPARED '", 17) == 0)
        return "commit";
    if (strncmp(sql, "ROLLBACK PREPARED '", 19) == 0)
        return "undo";
    if (strcmp(sql, "ROLLBACK") == 0)
        return "rollback";
    if (strstr(sql, coordinator_assign_xid_sql))
        return "assign";
    return sql;
}

static void act(struct harness *h, const char *what, unsigned p, const char *sql)
{
    buf_printf(&h->actions, "%s%s %u", buf_len(&h->actions) ? "; " : "", what, p);
    if (sql) {
        buf_printf(&h->actions, " %s", kind_of(sql));
        snprintf(h->last_sql, sizeof h->last_sql, "%s", sql);
    }
}

static void op_send(void *port, unsigned p, const char *sql)
{
    act(port, "send", p, sql);
}
static void op_decide(void *port, unsigned p, const struct txn_decision *d)
{
    struct harness *h = port;
    assert_string_equal(d->txid, TXID);
    assert_string_equal(d->proof, SECRET);
    act(port, "send", p, NULL);
    buf_str(&h->actions, " decide");
    snprintf(h->last_sql, sizeof h->last_sql, "%s", d->shards);
}
static void op_control(void *port, unsigned p, const char *sql)
{
    act(port, "control", p, sql);
}
static void op_released(void *port, unsigned p)
{
    act(port, "released", p, NULL);
}
static void op_drop(void *port, unsigned p)
{
    act(port, "drop", p, NULL);
}
static void op_timer(void *port, uint64_t after_us)
{
    struct harness *h = port;
    h->timer_us = after_us ? h->now_us + after_us : 0;
}
static uint64_t op_now(void *port)
{
    return ((struct harness *)port)->now_us;
}
static void op_torn(void *port, unsigned p, bool committed)
{
    act(port, committed ? "torn, not committed" : "torn, committed", p, NULL);
}
static void op_answer(void *port, const struct txn_result *result)
{
    struct harness *h = port;
    static const char *const names[] = {"committed", "rolled back", "unknown"};
    h->answers++;
    h->result = *result;
    if (result->error)
        h->error = *result->error;
    snprintf(h->unapplied, sizeof h->unapplied, "%s", result->unapplied ? result->unapplied : "");
    snprintf(h->torn, sizeof h->torn, "%s", result->torn ? result->torn : "");
    buf_printf(&h->actions, "%sanswer %s", buf_len(&h->actions) ? "; " : "", names[result->outcome]);
}
static void op_done(void *port)
{
    struct harness *h = port;
    h->dones++;
    buf_printf(&h->actions, "%sdone", buf_len(&h->actions) ? "; " : "");
}

static const struct coordinator_ops ops = {.send = op_send,
                                           .decide = op_decide,
                                           .control = op_control,
                                           .released = op_released,
                                           .drop = op_drop,
                                           .timer = op_timer,
                                           .now_us = op_now,
                                           .torn = op_torn,
                                           .answer = op_answer,
                                           .done = op_done};

static struct coordinator_options options(void)
{
    return (struct coordinator_options){.cluster = "main",
                                        .txid = TXID,
                                        .secret = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                        .resolve_timeout_us = 10000,
                                        .retry_us = 1000,
                                        .apply_timeout_us = 5000};
}

static struct txn_participant three[3] = {{.shard = "s0"}, {.shard = "s1"}, {.shard = "s2"}};

static void open_with(struct harness *h, const struct coordinator_options *o,
                      const struct txn_participant *participants)
{
    *h = (struct harness){.now_us = 1000000};
    buf_init(&h->actions);
    h->c = coordinator_create(o, participants, 3, &ops, h, &h->error);
    assert_non_null(h->c);
    coordinator_start(h->c);
}

static void open_three(struct harness *h)
{
    struct coordinator_options o = options();
    open_with(h, &o, three);
}

static void close_it(struct harness *h)
{
    assert_int_equal(h->answers, 1);
    assert_int_equal(h->dones, 1);
    assert_int_equal(h->timer_us, 0);
    coordinator_destroy(&h->c);
    assert_null(h->c);
    buf_free(&h->actions);
}

#define expect(h, text) expect_at(h, text, __FILE__, __LINE__)
static void expect_at(struct harness *h, const char *text, const char *file, int line)
{
    buf_u8(&h->actions, 0);
    _assert_string_equal((const char *)buf_head(&h->actions), text, file, line);
    buf_clear(&h->actions);
}

static void ok(struct harness *h, unsigned p, const char *tag)
{
    struct txn_reply r = {.kind = TXN_REPLY_OK, .tag = tag, .txn_status = 'I'};
    char xid[24];
    const char *row[] = {xid}, *const * rows[] = {row};
    snprintf(xid, sizeof xid, "100%u", p);
    if (strcmp(tag, "PREPARE TRANSACTION") == 0) {
        r.n_rows = r.n_columns = 1;
        r.rows = rows;
    }
    coordinator_reply(h->c, p, &r);
}
static void failed(struct harness *h, unsigned p, const char *sqlstate, char status)
{
    struct error e;
    error_set(&e, sqlstate, "shard said no");
    struct txn_reply r = {.kind = TXN_REPLY_ERROR, .error = &e, .txn_status = status};
    coordinator_reply(h->c, p, &r);
}
static void lost(struct harness *h, unsigned p)
{
    struct txn_reply r = {.kind = TXN_REPLY_LOST};
    coordinator_reply(h->c, p, &r);
}
static void control_ok(struct harness *h, unsigned p, const char *tag)
{
    struct txn_reply r = {.kind = TXN_REPLY_OK, .tag = tag, .txn_status = 'I'};
    coordinator_control_reply(h->c, p, &r);
}
static void control_failed(struct harness *h, unsigned p, const char *sqlstate)
{
    struct error e;
    error_set(&e, sqlstate, "shard said no");
    struct txn_reply r = {.kind = TXN_REPLY_ERROR, .error = &e, .txn_status = 'I'};
    coordinator_control_reply(h->c, p, &r);
}
static void control_lost(struct harness *h, unsigned p)
{
    struct txn_reply r = {.kind = TXN_REPLY_LOST};
    coordinator_control_reply(h->c, p, &r);
}
/* To the question how p ended. NULL: too long ago. */
static void status_is(struct harness *h, unsigned p, const char *status)
{
    const char *row[] = {status};
    const char *const *rows[] = {row};
    struct txn_reply r = {.kind = TXN_REPLY_OK,
                          .tag = "SELECT 1",
                          .txn_status = 'I',
                          .n_rows = 1,
                          .n_columns = 1,
                          .rows = rows};
    coordinator_control_reply(h->c, p, &r);
}
static void fence_proves(struct harness *h, const char *outcome, const char *proof);
static void fence_says(struct harness *h, const char *outcome)
{
    fence_proves(h, outcome, outcome && strcmp(outcome, "c") == 0 ? SECRET : "");
}
static void fence_proves(struct harness *h, const char *outcome, const char *proof)
{
    const char *row[] = {outcome, proof};
    const char *const *rows[] = {row};
    struct txn_reply r = {.kind = TXN_REPLY_OK,
                          .tag = "SELECT 1",
                          .txn_status = 'I',
                          .n_rows = outcome ? 1 : 0,
                          .n_columns = 2,
                          .rows = rows};
    coordinator_control_reply(h->c, 0, &r);
}
/* Lets time pass until the timer fires. */
static void wait_for_timer(struct harness *h)
{
    assert_true(h->timer_us != 0);
    h->now_us = h->timer_us;
    h->timer_us = 0;
    coordinator_timer(h->c);
}

static void prepare_all(struct harness *h)
{
    expect(h, "send 1 prepare; send 2 prepare");
    ok(h, 1, "PREPARE TRANSACTION");
    expect(h, "");
    ok(h, 2, "PREPARE TRANSACTION");
    expect(h, "send 0 decide");
}

static void decide_lost(struct harness *h)
{
    open_three(h);
    prepare_all(h);
    lost(h, 0);
    expect(h, "drop 0; control 0 fence");
}

static void commits_in_three_phases(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    assert_string_equal(coordinator_state_name(h.c), "preparing");
    h.now_us += 5;
    prepare_all(&h);
    assert_non_null(strstr(h.last_sql, "main/s0/s1:1001,s2:1002"));
    h.now_us += 6;
    ok(&h, 0, "COMMIT");
    expect(&h, "released 0; send 1 commit; send 2 commit");
    assert_string_equal(h.last_sql, "COMMIT PREPARED 'pgunison/main/s0/" TXID "/s2'");
    h.now_us += 7;
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "released 2");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "released 1; answer committed; done");
    assert_true(h.result.applied_everywhere);
    assert_null(h.result.unapplied);
    assert_int_equal(h.result.prepare_us, 5);
    assert_int_equal(h.result.decide_us, 6);
    assert_int_equal(h.result.apply_us, 7);
    close_it(&h);
}

static void decided_acknowledgement_answers_before_applying(void **state)
{
    (void)state;
    struct harness h;
    struct coordinator_options o = options();
    o.ack_decided = true;
    open_with(&h, &o, three);
    prepare_all(&h);
    ok(&h, 0, "COMMIT");
    expect(&h, "released 0; send 1 commit; send 2 commit; answer committed");
    assert_true(h.result.applied_everywhere);
    ok(&h, 1, "COMMIT PREPARED");
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "released 1; released 2; done");
    close_it(&h);
}

static void decider_gets_its_xid_before_anything_is_prepared(void **state)
{
    (void)state;
    struct harness h;
    struct coordinator_options o = options();
    struct txn_participant p[3] = {
        {.shard = "s0", .may_lack_xid = true}, {.shard = "s1", .may_lack_xid = true}, {.shard = "s2"}};
    open_with(&h, &o, p);
    expect(&h, "send 0 assign");
    struct txn_reply r = {.kind = TXN_REPLY_OK, .tag = "SELECT 1", .txn_status = 'T'};
    coordinator_reply(h.c, 0, &r);
    prepare_all(&h);
    failed(&h, 0, "53100", 'E');
    expect(&h, "send 0 rollback; send 1 undo; send 2 undo");
    ok(&h, 0, "ROLLBACK");
    ok(&h, 1, "ROLLBACK PREPARED");
    ok(&h, 2, "ROLLBACK PREPARED");
    expect(&h, "released 0; released 1; released 2; answer rolled back; done");
    assert_string_equal(h.error.sqlstate, "53100");
    assert_int_equal(h.result.error_participant, 0);
    close_it(&h);
}

static void decider_without_a_transaction_aborts(void **state)
{
    (void)state;
    struct harness h;
    struct coordinator_options o = options();
    struct txn_participant p[3] = {{.shard = "s0", .may_lack_xid = true}, {.shard = "s1"}, {.shard = "s2"}};
    open_with(&h, &o, p);
    expect(&h, "send 0 assign");
    ok(&h, 0, "SELECT 1");
    expect(&h, "released 0; send 1 rollback; send 2 rollback");
    ok(&h, 1, "ROLLBACK");
    lost(&h, 2);
    expect(&h, "released 1; drop 2; answer rolled back; done");
    close_it(&h);
}

static void deciders_are_spread_and_the_unpreparable_decides(void **state)
{
    (void)state;
    struct harness h;
    struct coordinator_options o = options();
    for (unsigned hint = 0; hint < 6; hint++) {
        o.decider_hint = hint;
        struct error error;
        struct coordinator *c = coordinator_create(&o, three, 3, &ops, &h, &error);
        assert_non_null(c);
        assert_int_equal(coordinator_decider(c), hint % 3);
        coordinator_destroy(&c);
    }
    struct txn_participant p[3] = {{.shard = "s0"}, {.shard = "s1"}, {.shard = "s2", .cannot_prepare = true}};
    o.decider_hint = 0;
    open_with(&h, &o, p);
    assert_int_equal(coordinator_decider(h.c), 2);
    expect(&h, "send 0 prepare; send 1 prepare");
    coordinator_cancel(h.c);
    ok(&h, 0, "PREPARE TRANSACTION");
    ok(&h, 1, "PREPARE TRANSACTION");
    expect(&h, "send 2 rollback; send 0 undo; send 1 undo");
    ok(&h, 2, "ROLLBACK");
    ok(&h, 0, "ROLLBACK PREPARED");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "released 2; released 0; released 1; answer rolled back; done");
    assert_string_equal(h.error.sqlstate, SQLSTATE_QUERY_CANCELED);
    close_it(&h);
}

static void create_refuses_before_anything_is_sent(void **state)
{
    (void)state;
    struct error error = {0};
    struct coordinator_options o = options();
    struct txn_participant two[2] = {{.shard = "s0", .cannot_prepare = true},
                                     {.shard = "s1", .cannot_prepare = true}};
    assert_null(coordinator_create(&o, two, 2, &ops, NULL, &error));
    assert_string_equal(error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    two[0].cannot_prepare = false;
    two[0].shard = "a shard with a name that is longer than 40 bytes";
    assert_null(coordinator_create(&o, two, 2, &ops, NULL, &error));
    assert_string_equal(error.sqlstate, SQLSTATE_PROGRAM_LIMIT);
    two[0].shard = "s1"; /* twice the same name: one would be prepared under the decider's */
    assert_null(coordinator_create(&o, two, 2, &ops, NULL, &error));
}

static void failed_prepare_rolls_everything_back_with_the_shards_error(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    expect(&h, "send 1 prepare; send 2 prepare");
    failed(&h, 2, "53400", 'I');
    expect(&h, "released 2; send 0 rollback");
    ok(&h, 0, "ROLLBACK");
    expect(&h, "released 0");
    ok(&h, 1, "PREPARE TRANSACTION");
    expect(&h, "send 1 undo");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "released 1; answer rolled back; done");
    assert_string_equal(h.error.sqlstate, "53400");
    assert_int_equal(h.result.error_participant, 2);
    close_it(&h);
}

static void prepare_in_a_failed_transaction_is_no_vote(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    expect(&h, "send 1 prepare; send 2 prepare");
    ok(&h, 1, "ROLLBACK");
    expect(&h, "released 1; send 0 rollback");
    failed(&h, 2, "25P02", 'E');
    expect(&h, "send 2 rollback");
    ok(&h, 2, "ROLLBACK");
    ok(&h, 0, "ROLLBACK");
    expect(&h, "released 2; released 0; answer rolled back; done");
    assert_string_equal(h.error.sqlstate, SQLSTATE_IN_FAILED_TRANSACTION);
    close_it(&h);
}

static void lost_prepare_is_rolled_back_and_left_to_the_resolver(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    expect(&h, "send 1 prepare; send 2 prepare");
    ok(&h, 1, "PREPARE TRANSACTION");
    lost(&h, 2);
    expect(&h, "drop 2; send 0 rollback; send 1 undo");
    ok(&h, 0, "ROLLBACK");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "released 0; released 1; answer rolled back; done");
    assert_string_equal(h.error.sqlstate, SQLSTATE_CONNECTION_FAILURE);
    close_it(&h);
}

static void hung_prepare_delays_the_answer_only_so_long(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    expect(&h, "send 1 prepare; send 2 prepare");
    failed(&h, 1, "53400", 'I');
    ok(&h, 0, "ROLLBACK");
    expect(&h, "released 1; send 0 rollback; released 0");
    wait_for_timer(&h);
    expect(&h, "drop 2; answer rolled back; done");
    close_it(&h);
}

static void cancel_counts_only_before_the_decision(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    coordinator_cancel(h.c);
    expect(&h, "");
    ok(&h, 0, "COMMIT");
    coordinator_cancel(h.c);
    expect(&h, "released 0; send 1 commit; send 2 commit");
    ok(&h, 1, "COMMIT PREPARED");
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "released 1; released 2; answer committed; done");
    close_it(&h);
}

static void decision_refused_at_commit_rolls_back(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    failed(&h, 0, "23503", 'I'); /* a deferred constraint */
    expect(&h, "released 0; send 1 undo; send 2 undo");
    ok(&h, 1, "ROLLBACK PREPARED");
    failed(&h, 2, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(&h, "released 1; released 2; control 2 check");
    status_is(&h, 2, "aborted");
    expect(&h, "answer rolled back; done");
    assert_string_equal(h.error.sqlstate, "23503");
    assert_int_equal(h.result.error_participant, 0);
    close_it(&h);
}

static void decision_after_a_fence_is_a_serialization_failure(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    failed(&h, 0, "23505", 'E');
    expect(&h, "send 0 rollback; send 1 undo; send 2 undo");
    ok(&h, 0, "ROLLBACK");
    failed(&h, 1, SQLSTATE_UNDEFINED_OBJECT, 'I');
    failed(&h, 2, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(&h, "released 0; released 1; control 1 check; released 2; control 2 check");
    status_is(&h, 1, "aborted");
    status_is(&h, 2, "aborted");
    expect(&h, "answer rolled back; done");
    assert_string_equal(h.error.sqlstate, SQLSTATE_SERIALIZATION_FAILURE);
    assert_int_equal(h.result.error_participant, UINT_MAX);
    close_it(&h);
}

static void deferred_unique_violation_of_the_application_stays_its_own(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    failed(&h, 0, "23505", 'I');
    ok(&h, 1, "ROLLBACK PREPARED");
    ok(&h, 2, "ROLLBACK PREPARED");
    assert_string_equal(h.error.sqlstate, "23505");
    close_it(&h);
}

static void commit_with_tag_rollback_is_rolled_back(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    ok(&h, 0, "ROLLBACK");
    expect(&h, "released 0; send 1 undo; send 2 undo");
    ok(&h, 1, "ROLLBACK PREPARED");
    ok(&h, 2, "ROLLBACK PREPARED");
    expect(&h, "released 1; released 2; answer rolled back; done");
    close_it(&h);
}

static void lost_decision_that_was_made_commits(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    assert_string_equal(coordinator_state_name(h.c), "in doubt");
    fence_says(&h, "c");
    expect(&h, "send 1 commit; send 2 commit");
    ok(&h, 1, "COMMIT PREPARED");
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "released 1; released 2; answer committed; done");
    close_it(&h);
}

static void lost_decision_that_was_fenced_is_rolled_back_once_one_member_confirms(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    fence_says(&h, "a");
    expect(&h, "send 1 undo; send 2 undo");
    failed(&h, 2, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(&h, "released 2; control 2 check");
    assert_string_equal(h.last_sql, "SELECT pg_catalog.pg_xact_status('1002'::pg_catalog.xid8)");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "released 1");
    status_is(&h, 2, "aborted");
    expect(&h, "answer rolled back; done");
    assert_string_equal(h.error.sqlstate, SQLSTATE_SERIALIZATION_FAILURE);
    assert_string_equal(h.torn, "");
    close_it(&h);
}

/* No row 'c' is collected before all have committed, so there was none. */
static void fence_and_one_member_that_somebody_rolled_back_are_a_rollback(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    fence_says(&h, "a");
    failed(&h, 1, SQLSTATE_UNDEFINED_OBJECT, 'I');
    failed(&h, 2, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(&h, "send 1 undo; send 2 undo; released 1; control 1 check; released 2; control 2 check");
    status_is(&h, 1, "aborted");
    status_is(&h, 2, "aborted");
    expect(&h, "answer rolled back; done");
    close_it(&h);
}

static void member_that_was_committed_against_a_fence_is_torn_once_that_is_certain(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    fence_says(&h, "a");
    failed(&h, 1, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(&h, "send 1 undo; send 2 undo; released 1; control 1 check");
    status_is(&h, 1, "committed");
    expect(&h, "");
    ok(&h, 2, "ROLLBACK PREPARED");
    expect(&h, "released 2; torn, committed 1; answer rolled back; done");
    assert_string_equal(h.torn, "s1");
    close_it(&h);
}

static void unproven_row_is_no_decision(void **state)
{
    (void)state;
    struct harness h;
    static const char *const wrong[] = {"", NULL, "010102030405060708090a0b0c0d0e0f"};
    decide_lost(&h);
    for (size_t i = 0; i < 3; i++) {
        fence_proves(&h, "c", wrong[i]);
        expect(&h, "");
        wait_for_timer(&h);
        expect(&h, "control 0 fence");
    }
    fence_says(&h, "c");
    expect(&h, "send 1 commit; send 2 commit");
    ok(&h, 1, "COMMIT PREPARED");
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "released 1; released 2; answer committed; done");
    close_it(&h);
}

static void prepared_without_an_id_is_no_vote(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    expect(&h, "send 1 prepare; send 2 prepare");
    struct txn_reply r = {.kind = TXN_REPLY_OK, .tag = "PREPARE TRANSACTION", .txn_status = 'I'};
    coordinator_reply(h.c, 1, &r);
    expect(&h, "drop 1; send 0 rollback");
    ok(&h, 2, "PREPARE TRANSACTION");
    ok(&h, 0, "ROLLBACK");
    ok(&h, 2, "ROLLBACK PREPARED");
    expect(&h, "send 2 undo; released 0; released 2; answer rolled back; done");
    close_it(&h);
}

/* Decided; s1 is gone when it is to be committed. */
static void gone_at_apply(struct harness *h)
{
    open_three(h);
    prepare_all(h);
    ok(h, 0, "COMMIT");
    ok(h, 2, "COMMIT PREPARED");
    failed(h, 1, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(h, "released 0; send 1 commit; send 2 commit; released 2; released 1; control 1 check");
}

static void gone_and_committed_is_applied(void **state)
{
    (void)state;
    struct harness h;
    gone_at_apply(&h);
    status_is(&h, 1, "committed");
    expect(&h, "answer committed; done");
    assert_true(h.result.applied_everywhere);
    assert_string_equal(h.torn, "");
    close_it(&h);
}

static void gone_and_rolled_back_is_torn(void **state)
{
    (void)state;
    struct harness h;
    gone_at_apply(&h);
    status_is(&h, 1, "aborted");
    expect(&h, "torn, not committed 1; answer committed; done");
    assert_false(h.result.applied_everywhere);
    assert_string_equal(h.torn, "s1");
    assert_string_equal(h.unapplied, "");
    close_it(&h);
}

static void gone_and_not_known_is_asked_again_and_then_left_to_the_resolver(void **state)
{
    (void)state;
    struct harness h;
    gone_at_apply(&h);
    status_is(&h, 1, NULL);
    wait_for_timer(&h);
    expect(&h, "control 1 check");
    status_is(&h, 1, "in progress");
    wait_for_timer(&h);
    expect(&h, "control 1 check");
    while (h.answers == 0) {
        control_lost(&h, 1);
        wait_for_timer(&h);
    }
    assert_string_equal(h.unapplied, "s1");
    assert_string_equal(h.torn, "");
    buf_clear(&h.actions);
    status_is(&h, 1, "aborted"); /* the last answer counts, too late for the client */
    expect(&h, "torn, not committed 1; done");
    close_it(&h);
}

static void gone_and_committed_when_it_is_to_be_rolled_back_is_torn(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    failed(&h, 0, "23503", 'I');
    failed(&h, 1, SQLSTATE_UNDEFINED_OBJECT, 'I');
    ok(&h, 2, "ROLLBACK PREPARED");
    expect(&h, "released 0; send 1 undo; send 2 undo; released 1; control 1 check; released 2");
    status_is(&h, 1, "committed");
    expect(&h, "torn, committed 1; answer rolled back; done");
    assert_string_equal(h.error.sqlstate, "23503");
    assert_string_equal(h.torn, "s1");
    close_it(&h);
}

static void fence_without_anything_prepared_proves_nothing(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    fence_says(&h, "a");
    failed(&h, 1, SQLSTATE_UNDEFINED_OBJECT, 'I');
    failed(&h, 2, SQLSTATE_UNDEFINED_OBJECT, 'I');
    expect(&h, "send 1 undo; send 2 undo; released 1; control 1 check; released 2; control 2 check");
    status_is(&h, 1, "committed");
    status_is(&h, 2, "committed");
    expect(&h, "answer unknown; done");
    assert_string_equal(h.torn, "");
    assert_string_equal(h.error.sqlstate, SQLSTATE_OUTCOME_UNKNOWN);
    assert_non_null(strstr(h.error.detail, TXID));
    close_it(&h);
}

static void fence_is_tried_until_the_decider_answers(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    control_failed(&h, 0, "55P03");
    expect(&h, "");
    wait_for_timer(&h);
    expect(&h, "control 0 fence");
    control_lost(&h, 0);
    wait_for_timer(&h);
    expect(&h, "control 0 fence");
    fence_says(&h, NULL); /* collected between insert and read */
    wait_for_timer(&h);
    expect(&h, "control 0 fence");
    fence_says(&h, "c");
    expect(&h, "send 1 commit; send 2 commit");
    ok(&h, 1, "COMMIT PREPARED");
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "released 1; released 2; answer committed; done");
    close_it(&h);
}

static void unreachable_decider_leaves_the_outcome_unknown(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    uint64_t began = h.now_us;
    int attempts = 1;
    while (h.answers == 0) {
        control_lost(&h, 0);
        wait_for_timer(&h);
        attempts++;
    }
    assert_true(h.now_us - began >= 10000 && h.now_us - began < 12000);
    assert_true(attempts > 8);
    assert_string_equal(h.error.sqlstate, SQLSTATE_OUTCOME_UNKNOWN);
    assert_non_null(strstr(h.error.detail, TXID));
    assert_int_equal(h.dones, 1);
    close_it(&h);
}

static void hung_fence_does_not_hold_up_the_answer(void **state)
{
    (void)state;
    struct harness h;
    decide_lost(&h);
    wait_for_timer(&h);
    expect(&h, "released 1; released 2; answer unknown");
    control_lost(&h, 0);
    expect(&h, "done");
    close_it(&h);
}

static void failed_apply_is_retried_by_the_control_role(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    ok(&h, 0, "COMMIT");
    expect(&h, "released 0; send 1 commit; send 2 commit");
    failed(&h, 1, "42501", 'I');
    expect(&h, "released 1; control 1 commit");
    lost(&h, 2);
    expect(&h, "drop 2; control 2 commit");
    control_failed(&h, 1, "57P03");
    expect(&h, "");
    control_failed(&h, 2, SQLSTATE_UNDEFINED_OBJECT); /* the lost one had arrived */
    expect(&h, "control 2 check");
    status_is(&h, 2, "committed");
    expect(&h, "");
    wait_for_timer(&h);
    expect(&h, "control 1 commit");
    control_ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "answer committed; done");
    assert_true(h.result.applied_everywhere);
    close_it(&h);
}

static void unreachable_participant_gets_commit_with_a_warning(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    ok(&h, 0, "COMMIT");
    expect(&h, "released 0; send 1 commit; send 2 commit");
    lost(&h, 1);
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "drop 1; control 1 commit; released 2");
    while (h.answers == 0) {
        control_lost(&h, 1);
        wait_for_timer(&h);
    }
    assert_int_equal(h.result.outcome, TXN_COMMITTED);
    assert_false(h.result.applied_everywhere);
    assert_string_equal(h.unapplied, "s1");
    close_it(&h);
}

static void hung_apply_is_dropped_and_control_replies_are_awaited(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    ok(&h, 0, "COMMIT");
    lost(&h, 1);
    expect(&h, "released 0; send 1 commit; send 2 commit; drop 1; control 1 commit");
    wait_for_timer(&h);
    expect(&h, "drop 2; answer committed");
    assert_string_equal(h.unapplied, "s1, s2");
    assert_int_equal(h.dones, 0);
    control_ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "done");
    close_it(&h);
}

static void failed_undo_does_not_delay_the_answer(void **state)
{
    (void)state;
    struct harness h;
    open_three(&h);
    prepare_all(&h);
    failed(&h, 0, "23503", 'I');
    expect(&h, "released 0; send 1 undo; send 2 undo");
    failed(&h, 1, "42501", 'I');
    ok(&h, 2, "ROLLBACK PREPARED");
    expect(&h, "released 1; control 1 undo; released 2; answer rolled back");
    control_lost(&h, 1);
    wait_for_timer(&h);
    expect(&h, "control 1 undo");
    control_ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "done");
    close_it(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_in_three_phases),
        cmocka_unit_test(decided_acknowledgement_answers_before_applying),
        cmocka_unit_test(decider_gets_its_xid_before_anything_is_prepared),
        cmocka_unit_test(decider_without_a_transaction_aborts),
        cmocka_unit_test(deciders_are_spread_and_the_unpreparable_decides),
        cmocka_unit_test(create_refuses_before_anything_is_sent),
        cmocka_unit_test(failed_prepare_rolls_everything_back_with_the_shards_error),
        cmocka_unit_test(prepare_in_a_failed_transaction_is_no_vote),
        cmocka_unit_test(lost_prepare_is_rolled_back_and_left_to_the_resolver),
        cmocka_unit_test(hung_prepare_delays_the_answer_only_so_long),
        cmocka_unit_test(cancel_counts_only_before_the_decision),
        cmocka_unit_test(decision_refused_at_commit_rolls_back),
        cmocka_unit_test(decision_after_a_fence_is_a_serialization_failure),
        cmocka_unit_test(deferred_unique_violation_of_the_application_stays_its_own),
        cmocka_unit_test(commit_with_tag_rollback_is_rolled_back),
        cmocka_unit_test(lost_decision_that_was_made_commits),
        cmocka_unit_test(lost_decision_that_was_fenced_is_rolled_back_once_one_member_confirms),
        cmocka_unit_test(fence_without_anything_prepared_proves_nothing),
        cmocka_unit_test(fence_and_one_member_that_somebody_rolled_back_are_a_rollback),
        cmocka_unit_test(member_that_was_committed_against_a_fence_is_torn_once_that_is_certain),
        cmocka_unit_test(unproven_row_is_no_decision),
        cmocka_unit_test(prepared_without_an_id_is_no_vote),
        cmocka_unit_test(gone_and_committed_is_applied),
        cmocka_unit_test(gone_and_rolled_back_is_torn),
        cmocka_unit_test(gone_and_not_known_is_asked_again_and_then_left_to_the_resolver),
        cmocka_unit_test(gone_and_committed_when_it_is_to_be_rolled_back_is_torn),
        cmocka_unit_test(fence_is_tried_until_the_decider_answers),
        cmocka_unit_test(unreachable_decider_leaves_the_outcome_unknown),
        cmocka_unit_test(hung_fence_does_not_hold_up_the_answer),
        cmocka_unit_test(failed_apply_is_retried_by_the_control_role),
        cmocka_unit_test(unreachable_participant_gets_commit_with_a_warning),
        cmocka_unit_test(hung_apply_is_dropped_and_control_replies_are_awaited),
        cmocka_unit_test(failed_undo_does_not_delay_the_answer),
    };
    return cmocka_run_group_tests_name("txn/coordinator", tests, NULL, NULL);
}
