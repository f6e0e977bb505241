/*
 * The resolver against three scripted shards. Queries are compared as text: "0 list; 1 list; 2 list"; a test
 * answers each shard's outstanding query and looks what comes next.
 */
#include "txn/recovery.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TXID                            "00c0ffee-1-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZE"
#define TXID2                           "00c0ffee-2-Xfur7t8xi_M8CSfEPXYw9RuC81F0AwE1T6PX_FHwEy4"
#define SECRET                          "000102030405060708090a0b0c0d0e0f"
#define SECRET2                         "0102030405060708090a0b0c0d0e0f10"
#define OLDER                           "00112233445566778899aabbccddeeff-1" /* of earlier versions */
#define GID(decider, txid, participant) "pgunison/main/" decider "/" txid "/" participant

struct harness {
    struct recovery *r;
    struct buf actions, log;
    char sql[3][4096];
    const char *owned;
    int sweeps;
    const char *const *rows[8]; /* of the reply being built */
    const char *cells[8][6];
    size_t n_rows;
};

static void note(struct harness *h, const char *fmt, unsigned s, const char *text)
{
    if (buf_len(&h->actions))
        buf_str(&h->actions, "; ");
    buf_printf(&h->actions, fmt, s, text);
}

static void op_control(void *port, unsigned s, const char *sql)
{
    struct harness *h = port;
    const char *kind = sql;
    if (strstr(sql, "pg_prepared_xacts"))
        kind = strstr(sql, "FROM pgunison.decision") ? "list" : "bare list";
    else if (strstr(sql, "ON CONFLICT"))
        kind = strstr(sql, "SELECT txid, outcome") ? "fences" : strstr(sql, TXID2) ? "fence 2" : "fence";
    else if (strncmp(sql, "COMMIT PREPARED '", 17) == 0)
        kind = "commit";
    else if (strncmp(sql, "ROLLBACK PREPARED '", 19) == 0)
        kind = "undo";
    else if (strstr(sql, "DELETE FROM pgunison.decision"))
        kind = "delete";
    else if (strncmp(sql, "SELECT pg_catalog.pg_xact_status(", 33) == 0)
        kind = "check";
    else if (strstr(sql, "pg_xact_status("))
        kind = "verify";
    snprintf(h->sql[s], sizeof h->sql[s], "%s", sql);
    note(h, "%u %s", s, kind);
}
static void op_helper(void *port, unsigned s, unsigned helper, const char *sql)
{
    struct harness *h = port;
    assert_int_equal(s, 1);
    note(h, strncmp(sql, "COMMIT PREPARED '", 17) == 0 ? "helper %u commit" : "helper %u undo", helper, "");
}
static bool op_owned(void *port, const char *txid)
{
    struct harness *h = port;
    return h->owned && strcmp(h->owned, txid) == 0;
}
static uint64_t op_now(void *port)
{
    (void)port;
    return 0;
}
static void op_log(void *port, const char *text)
{
    struct harness *h = port;
    buf_printf(&h->log, "%s\n", text);
}
static void op_resolved(void *port, const char *txid, const char *shard, bool committed)
{
    struct harness *h = port;
    assert_true(strcmp(txid, TXID) == 0 || strcmp(txid, TXID2) == 0 || strcmp(txid, OLDER) == 0);
    note(h, committed ? "resolved %.0u%s committed" : "resolved %.0u%s aborted", 0, shard);
}
static void op_torn(void *port, const char *txid, const char *shard, bool suspected, const char *text)
{
    struct harness *h = port;
    assert_true(strstr(text, txid) && strstr(text, shard));
    note(h, suspected ? "suspects %.0u%s" : "torn %.0u%s", 0, shard);
}
static void op_sweep_done(void *port)
{
    struct harness *h = port;
    h->sweeps++;
    note(h, "done%.0u%s", 0, "");
}

static const struct recovery_ops ops = {.control = op_control,
                                        .helper = op_helper,
                                        .owned = op_owned,
                                        .now_us = op_now,
                                        .log = op_log,
                                        .torn = op_torn,
                                        .resolved = op_resolved,
                                        .sweep_done = op_sweep_done};

static void open_with_helpers(struct harness *h, unsigned helpers)
{
    static const char *const names[] = {"s0", "s1", "s2"};
    struct recovery_options o = {.cluster = "main",
                                 .resolve_after_us = 5000000,
                                 .fence_keep_us = 86400000000,
                                 .collect_batch = 3,
                                 .helpers = helpers,
                                 .helpers_from = 1};
    *h = (struct harness){0};
    buf_init(&h->actions);
    buf_init(&h->log);
    h->r = recovery_create(&o, names, 3, &ops, h);
}
static void open_it(struct harness *h)
{
    open_with_helpers(h, 0);
}
static void close_it(struct harness *h)
{
    recovery_destroy(&h->r);
    assert_null(h->r);
    buf_free(&h->actions);
    buf_free(&h->log);
}

#define expect(h, text) expect_at(h, text, __FILE__, __LINE__)
static void expect_at(struct harness *h, const char *text, const char *file, int line)
{
    buf_u8(&h->actions, 0);
    _assert_string_equal((const char *)buf_head(&h->actions), text, file, line);
    buf_clear(&h->actions);
}
static bool logged(struct harness *h, const char *text)
{
    buf_u8(&h->log, 0);
    bool found = strstr((const char *)buf_head(&h->log), text) != NULL;
    buf_clear(&h->log);
    return found;
}

static void row(struct harness *h, const char *kind, const char *name, const char *outcome, const char *proof,
                const char *shards, const char *age)
{
    const char *cells[6] = {kind, name, outcome, proof, shards, age};
    memcpy(h->cells[h->n_rows], cells, sizeof cells);
    h->rows[h->n_rows] = h->cells[h->n_rows];
    h->n_rows++;
}
static void prepared(struct harness *h, const char *gid, const char *age)
{
    row(h, "p", gid, "1001", "5000000000", "", age);
}
static void decision(struct harness *h, const char *txid, const char *outcome, const char *shards)
{
    const char *proof = strcmp(txid, TXID) == 0 ? SECRET : SECRET2;
    row(h, "d", txid, outcome, outcome[0] == 'c' ? proof : "", shards, "7");
}
/* Answers shard s's listing with the rows named since the last one. */
static void lists(struct harness *h, unsigned s)
{
    struct txn_reply r = {.kind = TXN_REPLY_OK,
                          .tag = "SELECT",
                          .txn_status = 'I',
                          .n_rows = h->n_rows,
                          .n_columns = 6,
                          .rows = h->rows};
    h->n_rows = 0;
    recovery_reply(h->r, s, &r);
}
static void proves(struct harness *h, unsigned s, const char *text, const char *proof)
{
    const char *cells[] = {text, proof};
    const char *const *rows[] = {cells};
    struct txn_reply r = {.kind = TXN_REPLY_OK,
                          .tag = "SELECT 1",
                          .txn_status = 'I',
                          .n_rows = 1,
                          .n_columns = 2,
                          .rows = rows};
    recovery_reply(h->r, s, &r);
}
/* Of TXID. */
static void outcome(struct harness *h, unsigned s, const char *text)
{
    proves(h, s, text, text && strcmp(text, "c") == 0 ? SECRET : "");
}
/* To the question how a transaction ended. NULL: too long ago. */
static void status_is(struct harness *h, unsigned s, const char *status)
{
    const char *cells[] = {status};
    const char *const *rows[] = {cells};
    struct txn_reply r = {.kind = TXN_REPLY_OK,
                          .tag = "SELECT 1",
                          .txn_status = 'I',
                          .n_rows = 1,
                          .n_columns = 1,
                          .rows = rows};
    recovery_reply(h->r, s, &r);
}
/* To the question which did not commit. */
static void uncommitted(struct harness *h, unsigned s, const char *xid, const char *status)
{
    const char *cells[] = {xid, status};
    const char *const *rows[] = {cells};
    struct txn_reply r = {.kind = TXN_REPLY_OK,
                          .tag = "SELECT",
                          .txn_status = 'I',
                          .n_rows = xid ? 1 : 0,
                          .n_columns = 2,
                          .rows = rows};
    recovery_reply(h->r, s, &r);
}
/* Of two transactions, asked about in one message. NULL: there is no row. */
static void outcomes(struct harness *h, unsigned s, const char *first, const char *second)
{
    const char *one[] = {TXID, first, first && *first == 'c' ? SECRET : ""},
               *two[] = {TXID2, second, second && *second == 'c' ? SECRET2 : ""};
    const char *const *rows[2];
    struct txn_reply r = {
        .kind = TXN_REPLY_OK, .tag = "SELECT 2", .txn_status = 'I', .n_columns = 3, .rows = rows};
    if (second) /* in any order */
        rows[r.n_rows++] = two;
    if (first)
        rows[r.n_rows++] = one;
    recovery_reply(h->r, s, &r);
}
static void ok(struct harness *h, unsigned s, const char *tag)
{
    struct txn_reply r = {.kind = TXN_REPLY_OK, .tag = tag, .txn_status = 'I'};
    recovery_reply(h->r, s, &r);
}
static void failed(struct harness *h, unsigned s, const char *sqlstate)
{
    struct error e;
    error_set(&e, sqlstate, "shard said %s", sqlstate);
    struct txn_reply r = {.kind = TXN_REPLY_ERROR, .error = &e, .txn_status = 'I'};
    recovery_reply(h->r, s, &r);
}
static void lost(struct harness *h, unsigned s)
{
    struct txn_reply r = {.kind = TXN_REPLY_LOST};
    recovery_reply(h->r, s, &r);
}
static void sweep(struct harness *h)
{
    assert_true(recovery_sweep(h->r, NULL));
    assert_true(recovery_sweeping(h->r));
}
static const struct recovery_entry *only_entry(struct harness *h)
{
    const struct recovery_entry *entries;
    assert_int_equal(recovery_entries(h->r, &entries), 1);
    return entries;
}

static void idle_sweep_costs_one_query_a_shard(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    assert_false(recovery_sweep(h.r, NULL));
    expect(&h, "0 list; 1 list; 2 list");
    lists(&h, 1);
    lists(&h, 0);
    expect(&h, "");
    lists(&h, 2);
    expect(&h, "done");
    assert_false(recovery_sweeping(h.r));
    const struct recovery_entry *entries;
    assert_int_equal(recovery_entries(h.r, &entries), 0);
    assert_true(recovery_shard_state(h.r, 1)->reachable);
    close_it(&h);
}

static void orphan_is_fenced_then_rolled_back(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6.5");
    lists(&h, 1);
    lists(&h, 0);
    expect(&h, "0 list; 1 list; 2 list; 0 fence");
    assert_non_null(strstr(h.sql[0], "'main/s0/s1:4294968297'"));
    outcome(&h, 0, "a");
    expect(&h, "1 undo");
    assert_string_equal(h.sql[1], "ROLLBACK PREPARED '" GID("s0", TXID, "s1") "'");
    lists(&h, 2);
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "resolved s1 aborted; done");
    assert_int_equal(recovery_shard_state(h.r, 1)->prepared, 1);
    assert_true(recovery_shard_state(h.r, 1)->oldest_prepared_s == 6.5);
    const struct recovery_entry *entries;
    assert_int_equal(recovery_entries(h.r, &entries), 0);
    close_it(&h);
}

static void committed_transaction_is_committed_everywhere_after_one_question(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    prepared(&h, GID("s0", TXID, "s2"), "1"); /* young, but its transaction is being asked about */
    lists(&h, 2);
    expect(&h, "0 list; 1 list; 2 list; 0 fence");
    outcome(&h, 0, "c");
    expect(&h, "1 commit; 2 commit");
    ok(&h, 2, "COMMIT PREPARED");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "resolved s2 committed; resolved s1 committed; done");
    close_it(&h);
}

static void part_listed_after_the_decision_follows_it(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    outcome(&h, 0, "c");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "0 list; 1 list; 2 list; 0 fence; 1 commit; resolved s1 committed");
    prepared(&h, GID("s0", TXID, "s2"), "6");
    lists(&h, 2);
    expect(&h, "2 commit");
    ok(&h, 2, "COMMIT PREPARED");
    expect(&h, "resolved s2 committed; done");
    close_it(&h);
}

static void young_and_owned_transactions_are_left_alone(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    h.owned = TXID2;
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "4.9");
    lists(&h, 1);
    lists(&h, 0);
    prepared(&h, GID("s0", TXID2, "s2"), "60");
    lists(&h, 2);
    expect(&h, "0 list; 1 list; 2 list; done");
    const struct recovery_entry *e;
    assert_int_equal(recovery_entries(h.r, &e), 2);
    assert_string_equal(e[0].txid, TXID);
    assert_string_equal(e[0].shard, "s1");
    assert_string_equal(e[0].decider, "s0");
    assert_string_equal(e[0].decision, "not yet asked");
    assert_string_equal(e[0].note, "");
    assert_false(e[0].owned);
    assert_true(e[1].owned);
    close_it(&h);
}

static void named_transaction_is_resolved_at_any_age_and_alone(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    assert_false(recovery_sweep(h.r, "'; DROP"));
    assert_true(recovery_sweep(h.r, TXID));
    expect(&h, "0 bare list; 1 bare list; 2 bare list");
    prepared(&h, GID("s0", TXID, "s1"), "0.1");
    prepared(&h, GID("s0", TXID2, "s1"), "99");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    expect(&h, "0 fence");
    outcome(&h, 0, "a");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "1 undo; resolved s1 aborted; done");
    assert_string_equal(only_entry(&h)->txid, TXID2);
    close_it(&h);
}

static void decider_that_is_committing_is_asked_again_later(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    failed(&h, 0, "55P03");
    expect(&h, "0 list; 1 list; 2 list; 0 fence; done");
    assert_string_equal(only_entry(&h)->decision, "none");
    assert_true(only_entry(&h)->note[0] != '\0');
    close_it(&h);
}

static void nothing_is_guessed_while_the_decider_is_away(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    for (int i = 0; i < 3; i++) {
        sweep(&h);
        prepared(&h, GID("s0", TXID, "s1"), "6");
        prepared(&h, GID("s2", TXID2, "s1"), "6");
        lists(&h, 1);
        lists(&h, 2);
        expect(&h, "0 list; 1 list; 2 list; 2 fence 2");
        lost(&h, 0);
        lost(&h, 2);
        expect(&h, "done");
        const struct recovery_entry *e;
        assert_int_equal(recovery_entries(h.r, &e), 2);
        assert_string_equal(e[0].decision, "unreachable");
        assert_string_equal(e[1].decision, "unreachable");
        assert_false(recovery_shard_state(h.r, 0)->reachable);
        assert_true(recovery_shard_state(h.r, 1)->reachable);
        assert_int_equal(logged(&h, TXID), i == 0); /* once, not every second */
    }
    close_it(&h);
}

/* A sweep that finds two transactions of s0's on s1, and asks about both. */
static void two_orphans(struct harness *h)
{
    sweep(h);
    prepared(h, GID("s0", TXID2, "s1"), "6");
    prepared(h, GID("s0", TXID, "s1"), "6");
    lists(h, 1);
    lists(h, 2);
    lists(h, 0);
    expect(h, "0 list; 1 list; 2 list; 0 fences");
    const char *first = strstr(h->sql[0], "('" TXID "'"), *second = strstr(h->sql[0], "('" TXID2 "'");
    assert_true(first && second && first < second); /* every resolver takes them in this order */
}

static void many_of_one_decider_are_asked_about_together(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    two_orphans(&h);
    outcomes(&h, 0, "c", "a");
    expect(&h, "1 commit");
    ok(&h, 1, "COMMIT PREPARED");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "resolved s1 committed; 1 undo; resolved s1 aborted; done");
    close_it(&h);
}

static void those_who_fail_together_are_asked_about_alone(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    two_orphans(&h);
    failed(&h, 0, "55P03");
    expect(&h, "0 fence");
    outcome(&h, 0, "a");
    failed(&h, 0, "55P03");
    expect(&h, "0 fence 2; 1 undo");
    ok(&h, 1, "ROLLBACK PREPARED");
    expect(&h, "resolved s1 aborted; done");
    assert_string_equal(only_entry(&h)->txid, TXID2);
    assert_string_equal(only_entry(&h)->decision, "none");
    two_orphans(&h); /* together again in the next sweep */
    lost(&h, 0);
    expect(&h, "done");
    const struct recovery_entry *e;
    assert_int_equal(recovery_entries(h.r, &e), 2);
    assert_string_equal(e[0].decision, "unreachable");
    assert_string_equal(e[1].decision, "unreachable");
    close_it(&h);
}

static void helpers_end_what_waits_and_the_sweep_waits_for_them(void **state)
{
    (void)state;
    struct harness h;
    open_with_helpers(&h, 1);
    two_orphans(&h);
    outcomes(&h, 0, "c", "a");
    expect(&h, "1 commit; helper 0 undo");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "resolved s1 committed");
    recovery_helper_reply(h.r, 1, 0, &(struct txn_reply){.tag = "ROLLBACK PREPARED", .txn_status = 'I'});
    expect(&h, "resolved s1 aborted; done");

    two_orphans(&h);
    outcomes(&h, 0, "c", "a");
    recovery_helper_reply(h.r, 1, 0, &(struct txn_reply){.kind = TXN_REPLY_LOST});
    expect(&h, "1 commit; helper 0 undo");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "resolved s1 committed; done");
    assert_string_equal(only_entry(&h)->txid, TXID2); /* what it did shows in the next sweep */
    assert_true(recovery_shard_state(h.r, 1)->reachable);
    close_it(&h);
}

static void answer_without_a_row_for_one_of_many_decides_only_the_others(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    two_orphans(&h);
    outcomes(&h, 0, NULL, "c");
    expect(&h, "1 commit");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "resolved s1 committed; done");
    assert_string_equal(only_entry(&h)->txid, TXID);
    assert_string_equal(only_entry(&h)->decision, "unreachable");
    two_orphans(&h);
    outcome(&h, 0, "c"); /* two columns: no answer to this question */
    expect(&h, "done");
    two_orphans(&h);
    outcomes(&h, 0, "x", "");
    expect(&h, "done");
    close_it(&h);
}

static void answer_that_is_no_decision_is_none(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    static const char *const odd[] = {"x", "", NULL, "ca"};
    for (size_t i = 0; i < 4; i++) {
        sweep(&h);
        prepared(&h, GID("s0", TXID, "s1"), "6");
        lists(&h, 1);
        lists(&h, 0);
        lists(&h, 2);
        outcome(&h, 0, odd[i]);
        expect(&h, "0 list; 1 list; 2 list; 0 fence; done");
        assert_string_equal(only_entry(&h)->decision, "unreachable");
    }
    close_it(&h);
}

static void gone_after_the_decision_was_somebody_elses_work(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    outcome(&h, 0, "a");
    failed(&h, 1, SQLSTATE_UNDEFINED_OBJECT);
    expect(&h, "0 list; 1 list; 2 list; 0 fence; 1 undo; 1 check");
    assert_string_equal(h.sql[1], "SELECT pg_catalog.pg_xact_status('4294968297'::pg_catalog.xid8)");
    status_is(&h, 1, "aborted");
    expect(&h, "done");
    const struct recovery_entry *entries;
    assert_int_equal(recovery_entries(h.r, &entries), 0);
    close_it(&h);
}

/* Asks s0 about s1's part, which is gone when it is to be ended as decided. */
static void gone_at(struct harness *h, const char *decided)
{
    open_it(h);
    sweep(h);
    prepared(h, GID("s0", TXID, "s1"), "6");
    lists(h, 1);
    lists(h, 0);
    lists(h, 2);
    outcome(h, 0, decided);
    failed(h, 1, SQLSTATE_UNDEFINED_OBJECT);
    buf_clear(&h->actions);
}

static void rolled_back_by_hand_after_the_decision_is_torn(void **state)
{
    (void)state;
    struct harness h;
    gone_at(&h, "c");
    status_is(&h, 1, "aborted");
    expect(&h, "torn s1; done");
    const struct recovery_entry *e = only_entry(&h);
    assert_string_equal(e->txid, TXID);
    assert_string_equal(e->shard, "s1");
    assert_string_equal(e->decider, "s0");
    assert_string_equal(e->decision, "committed");
    assert_memory_equal(e->note, "TORN", 4);
    close_it(&h);
}

static void committed_by_hand_against_a_fence_is_suspected(void **state)
{
    (void)state;
    struct harness h;
    gone_at(&h, "a");
    status_is(&h, 1, "committed");
    expect(&h, "suspects s1; done");
    close_it(&h);
    gone_at(&h, "a");
    status_is(&h, 1, NULL);
    expect(&h, "done");
    assert_true(logged(&h, "cannot be seen how"));
    close_it(&h);
    gone_at(&h, "c");
    lost(&h, 1);
    expect(&h, "done");
    assert_true(logged(&h, "cannot be seen how"));
    close_it(&h);
}

static void unproven_row_is_no_decision(void **state)
{
    (void)state;
    struct harness h;
    static const char *const wrong[] = {"", NULL, SECRET2};
    open_it(&h);
    for (size_t i = 0; i < 3; i++) {
        sweep(&h);
        prepared(&h, GID("s0", TXID, "s1"), "6");
        lists(&h, 1);
        lists(&h, 0);
        lists(&h, 2);
        proves(&h, 0, "c", wrong[i]);
        expect(&h, "0 list; 1 list; 2 list; 0 fence; done");
        assert_string_equal(only_entry(&h)->decision, "unreachable");
    }
    close_it(&h);
}

/* What was prepared before an upgrade. */
static void older_transactions_are_decided_without_a_proof(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", OLDER, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    proves(&h, 0, "c", "");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "0 list; 1 list; 2 list; 0 fence; 1 commit; resolved s1 committed; done");
    close_it(&h);
}

static void refused_or_lost_end_is_reported_and_tried_again(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    outcome(&h, 0, "a");
    lost(&h, 1);
    expect(&h, "0 list; 1 list; 2 list; 0 fence; 1 undo; done");
    assert_int_equal(only_entry(&h)->note[0] != '\0', true);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "7");
    prepared(&h, GID("s0", TXID2, "s1"), "7");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    outcomes(&h, 0, "a", "a");
    failed(&h, 1, "42501");
    lost(&h, 1);
    expect(&h, "0 list; 1 list; 2 list; 0 fences; 1 undo; 1 undo; done");
    const struct recovery_entry *e;
    assert_int_equal(recovery_entries(h.r, &e), 2);
    assert_string_equal(e[0].decision, "aborted");
    assert_string_equal(e[0].note, "shard said 42501");
    assert_true(e[1].note[0] != '\0');
    close_it(&h);
}

static void foreign_names_are_left_alone(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, "pgunison/main/what/ever", "6");
    prepared(&h, "pgunison/mainframe/s0/" TXID "/s1", "6");
    lists(&h, 1);
    prepared(&h, GID("s9", TXID, "s0"), "6");
    prepared(&h, GID("s1", TXID2, "s2"), "6"); /* on s0, but s2 has it not */
    lists(&h, 0);
    lists(&h, 2);
    expect(&h, "0 list; 1 list; 2 list; done");
    const struct recovery_entry *e;
    assert_int_equal(recovery_entries(h.r, &e), 2);
    assert_string_equal(e[0].decider, "s9");
    assert_true(e[0].note[0] != '\0');
    assert_true(e[1].note[0] != '\0');
    assert_true(logged(&h, "what/ever"));
    close_it(&h);
}

static void two_names_for_one_database_list_it_twice_and_finish_it_once(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 2);
    lists(&h, 0);
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    outcome(&h, 0, "a");
    failed(&h, 1, "57014");
    expect(&h, "0 list; 1 list; 2 list; 0 fence; 1 undo; done");
    assert_string_equal(only_entry(&h)->shard, "s1");
    close_it(&h);
}

/* --- rows ------------------------------------------------------------------------------------- */

/* One sweep that sees these rows on s0 and nothing else. */
static void see_rows(struct harness *h, const char *shards)
{
    sweep(h);
    decision(h, TXID, "c", shards);
    lists(h, 0);
    lists(h, 1);
    lists(h, 2);
    expect(h, "0 list; 1 list; 2 list; done");
}

static void row_goes_in_the_sweep_after_it_was_seen(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    see_rows(&h, "main/s0/s1,s2");
    sweep(&h);
    expect(&h, "0 bare list; 1 list; 2 list");
    lists(&h, 0);
    lists(&h, 1);
    lists(&h, 2);
    expect(&h, "0 delete");
    assert_non_null(strstr(h.sql[0], "ANY ('{" TXID "}'"));
    assert_non_null(strstr(h.sql[0], "starts_with(shards, 'main/s0/')"));
    ok(&h, 0, "DELETE 1");
    expect(&h, "done");
    sweep(&h);
    expect(&h, "0 list; 1 list; 2 list");
    close_it(&h);
}

/* See rows, and in the next sweep nothing prepared. */
static void verify_rows(struct harness *h, const char *shards)
{
    open_it(h);
    see_rows(h, shards);
    sweep(h);
    lists(h, 0);
    lists(h, 1);
    lists(h, 2);
}

static void row_goes_when_its_participants_are_seen_to_have_committed(void **state)
{
    (void)state;
    struct harness h;
    verify_rows(&h, "main/s0/s1:7,s2:5000000000");
    expect(&h, "0 bare list; 1 list; 2 list; 1 verify; 2 verify");
    assert_non_null(strstr(h.sql[2], "'{5000000000}'"));
    uncommitted(&h, 1, NULL, NULL);
    expect(&h, "");
    uncommitted(&h, 2, NULL, NULL);
    expect(&h, "0 delete");
    ok(&h, 0, "DELETE 1");
    expect(&h, "done");
    close_it(&h);
}

static void row_of_a_torn_transaction_stays_and_is_shown(void **state)
{
    (void)state;
    static const char *const how[] = {"aborted", "future"};
    const struct recovery_entry *e;
    struct harness h;
    for (size_t i = 0; i < 2; i++) {
        verify_rows(&h, "main/s0/s1:7,s2:8");
        uncommitted(&h, 1, NULL, NULL);
        uncommitted(&h, 2, "8", how[i]);
        expect(&h, "0 bare list; 1 list; 2 list; 1 verify; 2 verify; torn s2; done");
        assert_string_equal(only_entry(&h)->shard, "s2");
        assert_memory_equal(only_entry(&h)->note, "TORN", 4);
        see_rows(&h, "main/s0/s1:7,s2:8"); /* still there */
        assert_string_equal(only_entry(&h)->shard, "s2");
        assert_true(only_entry(&h)->age_s == 7);
        sweep(&h);
        lists(&h, 0);
        lists(&h, 1);
        lists(&h, 2);
        uncommitted(&h, 1, NULL, NULL);
        uncommitted(&h, 2, "8", how[i]);
        sweep(&h); /* somebody has deleted the row */
        lists(&h, 0);
        lists(&h, 1);
        lists(&h, 2);
        assert_int_equal(recovery_entries(h.r, &e), 0);
        close_it(&h);
    }
}

static void row_stays_while_it_cannot_be_verified(void **state)
{
    (void)state;
    struct harness h;
    verify_rows(&h, "main/s0/s1:7");
    uncommitted(&h, 1, "7", "in progress");
    expect(&h, "0 bare list; 1 list; 2 list; 1 verify; done");
    close_it(&h);
    verify_rows(&h, "main/s0/s1:7");
    lost(&h, 1);
    expect(&h, "0 bare list; 1 list; 2 list; 1 verify; done");
    close_it(&h);
    verify_rows(&h, "main/s0/s1:7");
    failed(&h, 1, "57014");
    expect(&h, "0 bare list; 1 list; 2 list; 1 verify; done");
    close_it(&h);
    verify_rows(&h, "main/s0/s1:7"); /* too long ago: said, and gone */
    uncommitted(&h, 1, "7", "unknown");
    expect(&h, "0 bare list; 1 list; 2 list; 1 verify; 0 delete");
    assert_true(logged(&h, "too long ago"));
    ok(&h, 0, "DELETE 1");
    close_it(&h);
}

/* It decided nothing, so nobody is asked; and what stands there by then may be the real decision. */
static void unproven_row_goes_unasked(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    row(&h, "d", TXID, "c", SECRET2, "main/s0/s1:7", "1");
    lists(&h, 0);
    lists(&h, 1);
    lists(&h, 2);
    sweep(&h);
    lists(&h, 0);
    lists(&h, 1);
    lists(&h, 2);
    expect(&h, "0 list; 1 list; 2 list; done; 0 bare list; 1 list; 2 list; 0 delete");
    assert_non_null(strstr(h.sql[0], "AND outcome = 'c' AND NOT CASE WHEN proof IS NULL"));
    ok(&h, 0, "DELETE 1");
    close_it(&h);
}

static void row_stays_while_a_participant_is_prepared(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    see_rows(&h, "main/s0/s1,s2");
    sweep(&h);
    lists(&h, 0);
    lists(&h, 1);
    prepared(&h, GID("s0", TXID, "s2"), "1");
    lists(&h, 2);
    expect(&h, "0 bare list; 1 list; 2 list; done");
    close_it(&h);
}

static void row_stays_while_a_participant_cannot_be_asked(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    see_rows(&h, "main/s0/s1,s2");
    sweep(&h);
    lists(&h, 0);
    lists(&h, 1);
    lost(&h, 2);
    expect(&h, "0 bare list; 1 list; 2 list; done");
    close_it(&h);
}

static void row_with_an_unknown_participant_stays_and_is_reported(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    see_rows(&h, "main/s0/s1,s7");
    sweep(&h);
    lists(&h, 0);
    lists(&h, 1);
    lists(&h, 2);
    expect(&h, "0 bare list; 1 list; 2 list; done");
    assert_true(logged(&h, "s7"));
    see_rows(&h, "garbage");
    sweep(&h);
    lists(&h, 0);
    lists(&h, 1);
    lists(&h, 2);
    expect(&h, "0 bare list; 1 list; 2 list; done");
    assert_true(logged(&h, "garbage"));
    close_it(&h);
}

static void named_sweep_collects_nothing(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    see_rows(&h, "main/s0/s1");
    assert_true(recovery_sweep(h.r, TXID2));
    lists(&h, 0);
    lists(&h, 1);
    lists(&h, 2);
    expect(&h, "0 bare list; 1 bare list; 2 bare list; done");
    close_it(&h);
}

static void full_batch_moves_the_next_look_on(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    for (int round = 0; round < 2; round++) {
        sweep(&h);
        assert_non_null(strstr(h.sql[0], round ? "txid > '" TXID2 "'" : "txid > ''"));
        for (int i = 0; i < 3; i++)
            decision(&h, i < 2 ? TXID : TXID2, "c", "main/s0/s7");
        lists(&h, 0);
        lists(&h, 1);
        lists(&h, 2);
        sweep(&h);
        lists(&h, 0);
        lists(&h, 1);
        lists(&h, 2);
        expect(&h, "0 list; 1 list; 2 list; done; 0 bare list; 1 list; 2 list; done");
    }
    sweep(&h);
    lists(&h, 0); /* fewer than a batch: back to the beginning */
    lists(&h, 1);
    lists(&h, 2);
    sweep(&h);
    assert_non_null(strstr(h.sql[0], "txid > ''"));
    close_it(&h);
}

static void shard_without_the_table_is_still_looked_at(void **state)
{
    (void)state;
    struct harness h;
    open_it(&h);
    sweep(&h);
    failed(&h, 1, SQLSTATE_INVALID_TEXT); /* or it is somebody else's */
    expect(&h, "0 list; 1 list; 2 list; 1 bare list");
    prepared(&h, GID("s0", TXID, "s1"), "6");
    lists(&h, 1);
    lists(&h, 0);
    lists(&h, 2);
    outcome(&h, 0, "c");
    ok(&h, 1, "COMMIT PREPARED");
    expect(&h, "0 fence; 1 commit; resolved s1 committed; done");
    assert_true(logged(&h, "cannot decide"));
    close_it(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_sweep_costs_one_query_a_shard),
        cmocka_unit_test(orphan_is_fenced_then_rolled_back),
        cmocka_unit_test(committed_transaction_is_committed_everywhere_after_one_question),
        cmocka_unit_test(part_listed_after_the_decision_follows_it),
        cmocka_unit_test(young_and_owned_transactions_are_left_alone),
        cmocka_unit_test(named_transaction_is_resolved_at_any_age_and_alone),
        cmocka_unit_test(decider_that_is_committing_is_asked_again_later),
        cmocka_unit_test(nothing_is_guessed_while_the_decider_is_away),
        cmocka_unit_test(many_of_one_decider_are_asked_about_together),
        cmocka_unit_test(those_who_fail_together_are_asked_about_alone),
        cmocka_unit_test(helpers_end_what_waits_and_the_sweep_waits_for_them),
        cmocka_unit_test(answer_without_a_row_for_one_of_many_decides_only_the_others),
        cmocka_unit_test(answer_that_is_no_decision_is_none),
        cmocka_unit_test(gone_after_the_decision_was_somebody_elses_work),
        cmocka_unit_test(rolled_back_by_hand_after_the_decision_is_torn),
        cmocka_unit_test(committed_by_hand_against_a_fence_is_suspected),
        cmocka_unit_test(unproven_row_is_no_decision),
        cmocka_unit_test(older_transactions_are_decided_without_a_proof),
        cmocka_unit_test(refused_or_lost_end_is_reported_and_tried_again),
        cmocka_unit_test(foreign_names_are_left_alone),
        cmocka_unit_test(two_names_for_one_database_list_it_twice_and_finish_it_once),
        cmocka_unit_test(row_goes_in_the_sweep_after_it_was_seen),
        cmocka_unit_test(row_goes_when_its_participants_are_seen_to_have_committed),
        cmocka_unit_test(row_of_a_torn_transaction_stays_and_is_shown),
        cmocka_unit_test(row_stays_while_it_cannot_be_verified),
        cmocka_unit_test(unproven_row_goes_unasked),
        cmocka_unit_test(row_stays_while_a_participant_is_prepared),
        cmocka_unit_test(row_stays_while_a_participant_cannot_be_asked),
        cmocka_unit_test(row_with_an_unknown_participant_stays_and_is_reported),
        cmocka_unit_test(named_sweep_collects_nothing),
        cmocka_unit_test(full_batch_moves_the_next_look_on),
        cmocka_unit_test(shard_without_the_table_is_still_looked_at),
    };
    return cmocka_run_group_tests_name("txn/recovery", tests, NULL, NULL);
}
