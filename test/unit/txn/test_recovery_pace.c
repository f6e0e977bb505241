/*
 * How the resolver spreads its work over time: shard s0 decides what is prepared on s1 and s2. Shards answer at
 * once unless a test holds them; time passes only where a test says so, and from tick to tick in pass_to().
 */
#include "txn/recovery.h"

#include "base/arena.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    SHARDS = 3,
    MANY = 500,
    MS = 1000,
    SPREAD = 800 * MS,
    STEP = 2 * MS,
    TICK = 10 * MS,
    SECOND = 1000 * MS
};

struct harness {
    struct recovery *r;
    uint64_t now_us, wake_us;                                         /* wake_us: 0, or when a tick is due */
    struct buf sql[SHARDS], helper_sql[SHARDS][RECOVERY_HELPERS_MAX]; /* outstanding */
    unsigned orphans[SHARDS];                                         /* that the shard lists */
    const char *age;                                                  /* of each */
    bool held[SHARDS], all_owned, lose_finishes;
    unsigned asked, messages, most_in_message, resolved, helped, ticks, sweeps;
};

static void put(struct buf *b, const char *sql)
{
    assert_int_equal(buf_len(b), 0);
    buf_append(b, sql, strlen(sql) + 1);
}
static void op_control(void *port, unsigned s, const char *sql)
{
    struct harness *h = port;
    put(&h->sql[s], sql);
    if (!strstr(sql, "ON CONFLICT"))
        return;
    unsigned n = 0;
    for (const char *at = sql; (at = strstr(at, "('00")); at++)
        n++;
    h->messages++;
    h->asked += n;
    if (n > h->most_in_message)
        h->most_in_message = n;
}
static void op_helper(void *port, unsigned s, unsigned helper, const char *sql)
{
    struct harness *h = port;
    put(&h->helper_sql[s][helper], sql);
    h->helped++;
}
static bool op_owned(void *port, const char *txid)
{
    (void)txid;
    return ((struct harness *)port)->all_owned;
}
static uint64_t op_now(void *port)
{
    return ((struct harness *)port)->now_us;
}
static void op_wake(void *port, uint64_t after_us)
{
    struct harness *h = port;
    assert_int_equal(h->wake_us, 0);
    assert_true(after_us > 0);
    h->wake_us = h->now_us + after_us;
}
static void op_log(void *port, const char *text)
{
    (void)port;
    (void)text;
}
static void op_resolved(void *port, const char *txid, const char *shard, bool committed)
{
    (void)txid;
    (void)shard;
    assert_false(committed);
    ((struct harness *)port)->resolved++;
}
static void op_sweep_done(void *port)
{
    struct harness *h = port;
    h->sweeps++;
    assert_int_equal(h->wake_us, 0);
}

static const struct recovery_ops ops = {.control = op_control,
                                        .helper = op_helper,
                                        .owned = op_owned,
                                        .now_us = op_now,
                                        .wake = op_wake,
                                        .log = op_log,
                                        .resolved = op_resolved,
                                        .sweep_done = op_sweep_done};

static int open_it(void **state)
{
    static struct harness of_test;
    struct harness *h = &of_test;
    static const char *const names[] = {"s0", "s1", "s2"};
    struct recovery_options o = {.cluster = "main",
                                 .resolve_after_us = 5 * SECOND,
                                 .fence_keep_us = UINT64_C(86400000000),
                                 .collect_batch = 3,
                                 .helpers = RECOVERY_HELPERS_MAX,
                                 .helpers_from = 8,
                                 .spread_us = SPREAD,
                                 .step_us = STEP,
                                 .tick_us = TICK};
    *h = (struct harness){.age = "6", .now_us = 77 * SECOND};
    h->r = recovery_create(&o, names, SHARDS, &ops, h);
    *state = h;
    return 0;
}
static int close_it(void **state)
{
    struct harness *h = *state;
    recovery_destroy(&h->r);
    for (unsigned s = 0; s < SHARDS; s++) {
        buf_free(&h->sql[s]);
        for (unsigned i = 0; i < RECOVERY_HELPERS_MAX; i++)
            buf_free(&h->helper_sql[s][i]);
    }
    return 0;
}

/* --- shards ----------------------------------------------------------------------------------- */

#define TXID_FORMAT "00112233445566778899aabb%04x%04x-1"

static void answer_listing(struct harness *h, unsigned s)
{
    static char gids[MANY][128];
    static const char *cells[MANY][6];
    static const char *const *rows[MANY];
    assert_true(h->orphans[s] <= MANY);
    for (unsigned i = 0; i < h->orphans[s]; i++) {
        snprintf(gids[i], sizeof gids[i], "pgunison/main/s0/" TXID_FORMAT "/s%u", s, i, s);
        const char *row[6] = {"p", gids[i], "1001", "5000", "", h->age};
        memcpy(cells[i], row, sizeof row);
        rows[i] = cells[i];
    }
    recovery_reply(
        h->r, s,
        &(struct txn_reply){
            .tag = "SELECT", .txn_status = 'I', .n_rows = h->orphans[s], .n_columns = 6, .rows = rows});
}

/* Whoever is asked about was not decided. */
static void answer_fence(struct harness *h, unsigned s, const char *sql)
{
    static char txids[MANY][64];
    static const char *cells[MANY][3];
    static const char *const *rows[MANY];
    size_t n = 0;
    for (const char *at = sql; (at = strstr(at, "('00")); at++, n++) {
        snprintf(txids[n], sizeof txids[n], "%.34s", at + 2);
        cells[n][0] = txids[n];
        cells[n][1] = "a";
        cells[n][2] = "";
        rows[n] = cells[n];
    }
    assert_true(n > 0);
    if (n == 1)
        rows[0] = &cells[0][1];
    recovery_reply(
        h->r, s,
        &(struct txn_reply){
            .tag = "SELECT", .txn_status = 'I', .n_rows = n, .n_columns = n > 1 ? 3 : 2, .rows = rows});
}

static void answer(struct harness *h, unsigned s)
{
    char *sql = xstrdup((const char *)buf_head(&h->sql[s]));
    buf_clear(&h->sql[s]);
    if (strstr(sql, "pg_prepared_xacts"))
        answer_listing(h, s);
    else if (strstr(sql, "ON CONFLICT"))
        answer_fence(h, s, sql);
    else if (h->lose_finishes)
        recovery_reply(h->r, s, &(struct txn_reply){.kind = TXN_REPLY_LOST});
    else
        recovery_reply(h->r, s, &(struct txn_reply){.tag = "ROLLBACK PREPARED", .txn_status = 'I'});
    free(sql);
}

/* Everything that is outstanding on shards that are not held, and what comes of it. */
static void answer_all(struct harness *h)
{
    for (bool any = true; any;) {
        any = false;
        for (unsigned s = 0; s < SHARDS; s++) {
            if (!h->held[s] && buf_len(&h->sql[s])) {
                answer(h, s);
                any = true;
            }
            for (unsigned i = 0; i < RECOVERY_HELPERS_MAX; i++) {
                if (h->held[s] || !buf_len(&h->helper_sql[s][i]))
                    continue;
                buf_clear(&h->helper_sql[s][i]);
                recovery_helper_reply(h->r, s, i,
                                      &(struct txn_reply){.tag = "ROLLBACK PREPARED", .txn_status = 'I'});
                any = true;
            }
        }
    }
}

static void tick(struct harness *h)
{
    h->wake_us = 0;
    h->ticks++;
    recovery_tick(h->r);
    answer_all(h);
}
static void pass_to(struct harness *h, uint64_t to_us)
{
    while (h->wake_us && h->wake_us <= to_us) {
        h->now_us = h->wake_us;
        tick(h);
    }
    h->now_us = to_us;
}
static uint64_t begin(struct harness *h)
{
    assert_true(recovery_sweep(h->r, NULL));
    answer_all(h);
    return h->now_us;
}
static void expect_end(struct harness *h, unsigned resolved)
{
    assert_int_equal(h->resolved, resolved);
    assert_false(recovery_sweeping(h->r));
    assert_int_equal(h->wake_us, 0);
}

/* --- turns ------------------------------------------------------------------------------------ */

static void one_alone_has_its_end_at_once(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = h->orphans[2] = 1; /* of each shard */
    begin(h);
    expect_end(h, 2);
}

static void a_few_follow_one_another_closely(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = 10;
    uint64_t began = begin(h);
    assert_int_equal(h->resolved, 1);
    pass_to(h, began + TICK);
    assert_int_equal(h->resolved, 1 + TICK / STEP);
    assert_true(recovery_sweeping(h->r));
    pass_to(h, began + 2 * TICK);
    expect_end(h, 10);
}

static void many_are_spread_evenly(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = h->orphans[2] = MANY;
    uint64_t began = begin(h);
    for (unsigned tenth = 1; tenth < 10; tenth++) {
        pass_to(h, began + tenth * SPREAD / 10);
        assert_in_range(h->resolved, 2 * MANY * tenth / 10 - 20, 2 * MANY * tenth / 10 + 20);
        assert_true(recovery_sweeping(h->r));
    }
    pass_to(h, began + SPREAD);
    expect_end(h, 2 * MANY);
    assert_in_range(h->most_in_message, 2, 2 * (TICK / (SPREAD / MANY) + 1));
    assert_in_range(h->ticks, SPREAD / TICK - 1, SPREAD / TICK);
}

static void decider_that_was_slow_is_asked_about_all_that_piled_up(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = MANY;
    uint64_t began = begin(h);
    pass_to(h, began + SPREAD / 4);
    h->held[0] = true;
    unsigned before = h->resolved;
    pass_to(h, began + SPREAD);
    assert_in_range(h->resolved, before, before + 10); /* the last answer's */
    assert_int_equal(h->wake_us, 0);
    h->held[0] = false;
    h->messages = 0;
    answer_all(h); /* no time passes */
    expect_end(h, MANY);
    assert_in_range(h->messages, 1, MANY / 100);
    assert_int_equal(h->most_in_message, 100);
}

static void participant_that_was_slow_is_helped_without_delay(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = MANY;
    uint64_t began = begin(h);
    pass_to(h, began + SPREAD / 4);
    assert_int_equal(h->helped, 0); /* who keeps pace needs none */
    h->held[1] = true;
    pass_to(h, began + SPREAD);
    assert_int_equal(h->asked, MANY);
    h->held[1] = false;
    answer_all(h);
    expect_end(h, MANY);
    assert_true(h->helped > MANY / 4);
}

static void tick_that_comes_late_catches_up(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = MANY;
    h->now_us = begin(h) + SPREAD / 2;
    tick(h);
    assert_in_range(h->resolved, MANY / 2, MANY / 2 + 1);
    h->now_us += 10 * SPREAD;
    tick(h);
    expect_end(h, MANY);
}

static void shard_that_lists_late_has_a_schedule_of_its_own(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = h->orphans[2] = MANY;
    h->held[2] = true;
    uint64_t began = begin(h);
    pass_to(h, began + SPREAD / 2);
    assert_in_range(h->resolved, MANY / 2 - 10, MANY / 2 + 10);
    h->held[2] = false;
    answer_all(h);
    pass_to(h, began + SPREAD);
    assert_in_range(h->resolved, MANY + MANY / 2 - 10, MANY + MANY / 2 + 10);
    pass_to(h, began + SPREAD + SPREAD / 2);
    expect_end(h, 2 * MANY);
}

static void nobody_is_forgotten_when_the_shard_goes_that_listed_them(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = MANY;
    uint64_t began = begin(h);
    pass_to(h, began + SPREAD / 2);
    unsigned resolved = h->resolved;
    h->lose_finishes = true;
    pass_to(h, began + SPREAD);
    expect_end(h, resolved);
    const struct recovery_entry *entries;
    assert_int_equal(recovery_entries(h->r, &entries), MANY - resolved);
    h->lose_finishes = false;
    pass_to(h, begin(h) + SPREAD); /* the shard lists all of them again */
    expect_end(h, resolved + MANY);
}

static void named_transaction_does_not_wait_for_others(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = MANY;
    char txid[64];
    snprintf(txid, sizeof txid, TXID_FORMAT, 1, MANY - 1);
    assert_true(recovery_sweep(h->r, txid));
    answer_all(h);
    expect_end(h, 1);
}

static void resolver_may_end_while_a_tick_is_due(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = MANY;
    pass_to(h, begin(h) + SPREAD / 2);
    assert_true(h->wake_us > 0);
}

/* --- rest ------------------------------------------------------------------------------------- */

static void expect_rest(struct harness *h, const char *age, uint64_t rest_us)
{
    h->age = age;
    begin(h);
    assert_false(recovery_sweeping(h->r));
    assert_int_equal(recovery_rest_us(h->r, SECOND), rest_us);
}

static void next_sweep_comes_when_something_falls_due(void **state)
{
    struct harness *h = *state;
    assert_int_equal(recovery_rest_us(h->r, SECOND), SECOND);
    h->orphans[1] = 2;
    expect_rest(h, "0.1", SECOND);
    expect_rest(h, "4.25", 750 * MS);
    h->now_us += 150 * MS; /* a sweep may take long */
    assert_int_equal(recovery_rest_us(h->r, SECOND), 600 * MS);
    expect_rest(h, "4.999", 100 * MS); /* others will follow: together */
    h->now_us += SECOND;
    assert_int_equal(recovery_rest_us(h->r, SECOND), 100 * MS);
    expect_rest(h, "-1e300", SECOND);
    expect_rest(h, "nan", SECOND);
    h->all_owned = true;
    expect_rest(h, "4.25", SECOND);
}

static void what_a_sweep_leaves_behind_does_not_hurry_the_next(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = 1;
    h->lose_finishes = true;
    expect_rest(h, "6", SECOND);
}

static void named_sweeps_do_not_put_off_what_is_due(void **state)
{
    struct harness *h = *state;
    h->orphans[1] = 2;
    char txid[64];
    snprintf(txid, sizeof txid, TXID_FORMAT, 1, 0);
    assert_true(recovery_sweep(h->r, txid));
    answer_all(h);
    expect_end(h, 1);
    assert_int_equal(recovery_rest_us(h->r, SECOND), 100 * MS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_it, close_it)
    const struct CMUnitTest tests[] = {
        T(one_alone_has_its_end_at_once),
        T(a_few_follow_one_another_closely),
        T(many_are_spread_evenly),
        T(decider_that_was_slow_is_asked_about_all_that_piled_up),
        T(participant_that_was_slow_is_helped_without_delay),
        T(tick_that_comes_late_catches_up),
        T(shard_that_lists_late_has_a_schedule_of_its_own),
        T(nobody_is_forgotten_when_the_shard_goes_that_listed_them),
        T(named_transaction_does_not_wait_for_others),
        T(resolver_may_end_while_a_tick_is_due),
        T(next_sweep_comes_when_something_falls_due),
        T(what_a_sweep_leaves_behind_does_not_hurry_the_next),
        T(named_sweeps_do_not_put_off_what_is_due),
    };
    return cmocka_run_group_tests_name("txn/recovery_pace", tests, NULL, NULL);
}
