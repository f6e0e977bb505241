/* backend/asker.h, against a real server */
#include "../loop_of_test.h"
#include "backend/asker.h"
#include "pool_fixture.h"

static struct pg_fixture pg;
static struct loop *loop;
static struct config *config;
static struct asker *asker;

struct answer {
    int calls;
    bool ok, lost;
    struct error why;
    char tag[32], txn_status;
    size_t n_rows, n_columns;
    char cells[4][32]; /* the first row */
    const char *next;  /* asked from within done() */
    int *order, *n_order, number;
};
static int expected;

static void answered(void *arg, const struct rows *r)
{
    struct answer *a = arg;
    a->calls++;
    a->ok = r->ok;
    a->lost = r->lost;
    if (r->error)
        a->why = *r->error;
    snprintf(a->tag, sizeof(a->tag), "%s", r->tag ? r->tag : "");
    a->txn_status = r->txn_status;
    a->n_rows = r->n_rows;
    a->n_columns = r->n_columns;
    for (size_t j = 0; r->n_rows > 0 && j < r->n_columns && j < 4; j++)
        snprintf(a->cells[j], sizeof(a->cells[j]), "%s", rows_text(r, 0, j) ? rows_text(r, 0, j) : "NULL");
    if (a->order)
        a->order[(*a->n_order)++] = a->number;
    if (a->next) {
        const char *sql = a->next;
        a->next = NULL;
        asker_query(asker, &config->topology.shards[0], sql, 10000000, answered, a);
        return;
    }
    if (--expected == 0)
        loop_stop(loop);
}

static void run_answers(int n)
{
    expected = n;
    run_loop(loop);
}

static void post(struct answer *a, const char *sql, uint64_t timeout_us)
{
    asker_query(asker, &config->topology.shards[0], sql, timeout_us, answered, a);
    assert_int_equal(a->calls, 0); /* never from inside */
}

static struct answer ask(const char *sql)
{
    struct answer a = {0};
    post(&a, sql, 10000000);
    run_answers(1);
    assert_int_equal(a.calls, 1);
    return a;
}

static int open_asker(void **state)
{
    (void)state;
    loop = worker_loop_create();
    config = pool_config(&pg, "", "");
    asker = asker_create(loop, config);
    return 0;
}

static int close_asker(void **state)
{
    (void)state;
    asker_destroy(&asker);
    loop_destroy(&loop);
    config_unref(&config);
    return 0;
}

static void rows_tags_and_nulls(void **state)
{
    (void)state;
    struct answer a = ask("SELECT 1, NULL, 'x' UNION ALL SELECT 2, '', 'y' ORDER BY 1");
    assert_true(a.ok && !a.lost);
    assert_int_equal(a.n_rows, 2);
    assert_int_equal(a.n_columns, 3);
    assert_string_equal(a.cells[0], "1");
    assert_string_equal(a.cells[1], "NULL");
    assert_string_equal(a.cells[2], "x");
    assert_string_equal(a.tag, "SELECT 2");
    assert_int_equal(a.txn_status, 'I');
    a = ask("SELECT 1 WHERE false");
    assert_true(a.ok);
    assert_int_equal(a.n_rows, 0);
    assert_int_equal(a.n_columns, 1);
    a = ask("");
    assert_true(a.ok);
    assert_string_equal(a.tag, "");
}

static void several_statements_are_one_message(void **state)
{
    (void)state;
    struct answer a = ask("SELECT 1; CREATE TEMP TABLE t (x int); SELECT 7; INSERT INTO t VALUES (1), (2)");
    assert_true(a.ok);
    assert_string_equal(a.tag, "INSERT 0 2");
    assert_string_equal(a.cells[0], "7"); /* rows of the last that returned any */
    a = ask("SELECT 1; SELECT 1/0; SELECT 2");
    assert_false(a.ok || a.lost);
    assert_string_equal(a.why.sqlstate, "22012");
    assert_string_equal(a.why.message, "division by zero");
    assert_int_equal(a.n_rows, 0);
    assert_int_equal(a.txn_status, 'I');
    assert_string_equal(ask("SELECT count(*) FROM t").cells[0], "2"); /* the same connection still */
}

static void the_session_is_set_up(void **state)
{
    (void)state;
    struct answer a = ask("SELECT current_setting('search_path'), current_setting('application_name'), "
                          "current_setting('statement_timeout'), current_user");
    assert_string_equal(a.cells[0], "pg_catalog");
    assert_string_equal(a.cells[1], "pgunison control");
    assert_string_equal(a.cells[2], "0");
    assert_string_equal(a.cells[3], "postgres");
}

static void queries_run_one_after_another(void **state)
{
    (void)state;
    struct answer a[5] = {0};
    int order[6], n = 0;
    for (int i = 0; i < 5; i++) {
        a[i] = (struct answer){.order = order, .n_order = &n, .number = i};
        post(&a[i], i == 0 ? "SELECT pg_sleep(0.05)" : "SELECT 1", 10000000);
    }
    a[0].next = "SELECT 2"; /* asked in done(): behind those that wait */
    run_answers(5);
    static const int expected_order[] = {0, 1, 2, 3, 4, 0};
    for (int i = 0; i < n; i++)
        assert_int_equal(order[i], expected_order[i]);
    assert_int_equal(n, 6);
    assert_string_equal(
        ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgunison control'").cells[0],
        "1");
}

static void an_open_transaction_is_told_and_not_left_to_the_next(void **state)
{
    (void)state;
    struct answer a = ask("BEGIN; CREATE TABLE public.left_over (x int)");
    assert_true(a.ok);
    assert_int_equal(a.txn_status, 'T');
    a = ask("SELECT to_regclass('public.left_over')");
    assert_int_equal(a.txn_status, 'I');
    assert_string_equal(a.cells[0], "NULL");
    a = ask("BEGIN; SELECT 1/0");
    assert_int_equal(a.txn_status, 'E');
    assert_string_equal(a.why.sqlstate, "22012");
    assert_true(ask("SELECT 1").ok);
}

static void timeouts_count_waiting_and_running(void **state)
{
    (void)state;
    struct answer slow = {0}, queued = {0}, next = {0};
    assert_true(ask("SELECT 1").ok);
    post(&slow, "SELECT pg_sleep(60)", 400000);
    post(&queued, "SELECT 1", 100000);
    post(&next, "SELECT 3", 10000000);
    run_answers(3);
    assert_true(slow.lost && queued.lost);
    assert_string_equal(slow.why.sqlstate, "08006");
    assert_string_equal(slow.why.message, "shard \"s1\" did not answer in 0.4 s");
    assert_true(next.ok);                    /* on another connection */
    PGconn *c = pg_connect(&pg, "postgres"); /* and the server works for nobody */
    for (int i = 0;
         strcmp(pg_query(c, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(6%'"),
                "0") != 0;
         i++)
        assert_true(i < 10000);
    PQfinish(c);
}

static void a_lost_connection_is_a_lost_answer(void **state)
{
    (void)state;
    struct answer victim = {0}, next = {0};
    post(&victim, "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60)", 10000000);
    post(&next, "SELECT 5", 10000000);
    run_answers(2);
    assert_true(victim.lost && !victim.ok);
    assert_string_equal(victim.why.sqlstate, "57P01");
    assert_true(next.ok);
    assert_string_equal(next.cells[0], "5");
}

static void an_answer_that_takes_too_much_is_lost(void **state)
{
    (void)state;
    struct answer a = ask("SELECT repeat('x', 1000000) FROM generate_series(1, 70)");
    assert_true(a.lost && !a.ok);
    assert_string_equal(a.why.sqlstate, "54000");
    assert_string_equal(a.why.message, "shard \"s1\": an answer takes more than 67108864 bytes");
    a = ask("SELECT repeat('x', 70000000)"); /* one message */
    assert_true(a.lost && !a.ok);
    assert_string_equal(a.why.sqlstate, "08P01");
    assert_string_equal(ask("SELECT 3").cells[0], "3"); /* on another connection */
    a = ask("SELECT repeat('x', 60000000)");
    assert_true(a.ok);
}

static void an_unreachable_shard_is_lost_with_its_reason(void **state)
{
    (void)state;
    struct answer a = {0}, b = {0};
    asker_query(asker, &config->topology.shards[1], "SELECT 1", 10000000, answered, &a);
    asker_query(asker, &config->topology.shards[1], "SELECT 1", 10000000, answered, &b);
    run_answers(2);
    assert_true(a.lost && b.lost);
    assert_string_equal(a.why.sqlstate, "08006");
    assert_non_null(strstr(a.why.message, "could not connect to shard \"s2\": "));
}

static void forgotten_queries_are_not_answered(void **state)
{
    (void)state;
    struct answer mine = {0}, other = {0}, queued = {0};
    assert_true(ask("SELECT 1").ok);
    post(&mine, "CREATE TABLE public.forgotten (x int)", 10000000);
    post(&queued, "CREATE TABLE public.never (x int)", 10000000);
    post(&other, "SELECT to_regclass('public.forgotten'), to_regclass('public.never')", 10000000);
    asker_forget(asker, &queued);
    run_answers(2);
    asker_forget(asker, &mine); /* nothing of it is left */
    assert_int_equal(queued.calls, 0);
    assert_string_equal(other.cells[0], "public.forgotten");
    assert_string_equal(other.cells[1], "NULL");
    struct answer running = {0}, last = {0};
    post(&running, "SELECT pg_sleep(0.1)", 10000000);
    post(&last, "SELECT 1", 10000000);
    struct loop_timer *t = loop_timer_create(loop, stop_worker, loop);
    loop_timer_start(t, 20000);
    run_loop(loop); /* it runs now */
    asker_forget(asker, &running);
    run_answers(1);
    loop_timer_destroy(&t);
    assert_int_equal(running.calls, 0);
    assert_true(last.ok);
}

static void copying_is_refused(void **state)
{
    (void)state;
    struct answer a = ask("COPY (SELECT 1) TO STDOUT");
    assert_false(a.ok);
    assert_true(a.lost);
    assert_string_equal(a.why.sqlstate, "08P01"); /* nothing that is asked here is answered so */
    assert_true(ask("SELECT 1").ok);
}

static void what_is_outstanding_at_the_end_is_lost(void **state)
{
    (void)state;
    struct answer running = {0}, queued = {0}, opening = {0};
    assert_true(ask("SELECT 1").ok);
    post(&running, "SELECT pg_sleep(60)", 0);
    post(&queued, "SELECT 1", 10000000);
    asker_query(asker, &config->topology.shards[1], "SELECT 1", 10000000, answered, &opening);
    struct loop_timer *t = loop_timer_create(loop, stop_worker, loop);
    loop_timer_start(t, 20000);
    run_loop(loop);
    loop_timer_destroy(&t);
    asker_destroy(&asker);
    assert_true(running.lost && queued.lost);
    assert_int_equal(running.calls, 1);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(opening.calls, 1);
}

static void a_reload_opens_anew_when_idle(void **state)
{
    (void)state;
    struct answer a = ask("SELECT pg_backend_pid()"), b = ask("SELECT pg_backend_pid()");
    assert_string_equal(a.cells[0], b.cells[0]);
    struct config *old = config;
    config = pool_config(&pg, "", "admin_user = trusted");
    asker_reconfigure(asker, config);
    config_unref(&old);
    a = ask("SELECT pg_backend_pid(), current_user");
    assert_string_not_equal(a.cells[0], b.cells[0]);
    assert_string_equal(a.cells[1], "trusted");
    old = config;
    config = pool_config(&pg, "", "user = scram\npassword = sesame");
    asker_reconfigure(asker, config);
    config_unref(&old);
    assert_string_equal(ask("SELECT current_user").cells[0], "scram");
}

static int group_setup(void **state)
{
    (void)state;
    log_set_stderr(false);
    dial_init(NULL);
    pg_start(&pg);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    dial_deinit();
    pg_stop(&pg);
    return 0;
}

#define ASKER_TEST(f) cmocka_unit_test_setup_teardown(f, open_asker, close_asker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKER_TEST(rows_tags_and_nulls),
        ASKER_TEST(several_statements_are_one_message),
        ASKER_TEST(the_session_is_set_up),
        ASKER_TEST(queries_run_one_after_another),
        ASKER_TEST(an_open_transaction_is_told_and_not_left_to_the_next),
        ASKER_TEST(timeouts_count_waiting_and_running),
        ASKER_TEST(a_lost_connection_is_a_lost_answer),
        ASKER_TEST(an_answer_that_takes_too_much_is_lost),
        ASKER_TEST(an_unreachable_shard_is_lost_with_its_reason),
        ASKER_TEST(forgotten_queries_are_not_answered),
        ASKER_TEST(copying_is_refused),
        ASKER_TEST(what_is_outstanding_at_the_end_is_lost),
        ASKER_TEST(a_reload_opens_anew_when_idle),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
