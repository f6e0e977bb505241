/*
 * ns per statement and GB/s of template_lex() (lexing and hashing) and of a plan cache hit.
 * make bench BENCH='--suite lex'
 */
#include "sql/plan_cache.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t sink; /* keeps the compiler from leaving work out */

/* Of this thread, so that neighbours on the machine count less. */
static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void die(const struct error *error)
{
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

static void report(const char *what, uint64_t us, uint64_t rounds, size_t len)
{
    double ns = (double)us * 1000 / (double)rounds;
    printf("%-34s %9zu bytes %12.1f ns %8.2f GB/s\n", what, len, ns, (double)len / ns);
}

static void lex(const char *what, struct slice sql)
{
    struct template t;
    struct error error;
    uint64_t rounds = 1 + 400000000 / (sql.len + 20) / 4;
    template_init(&t);
    for (uint64_t i = 0; i < rounds / 10 + 1; i++) /* warm up */
        if (template_lex(&t, sql, &error) != STATUS_OK)
            die(&error);
    uint64_t from = cpu_us();
    for (uint64_t i = 0; i < rounds; i++) {
        if (template_lex(&t, sql, &error) != STATUS_OK)
            die(&error);
        sink += t.hash;
    }
    report(what, cpu_us() - from, rounds, sql.len);
    template_free(&t);
}

static void hit(const char *what, struct slice sql)
{
    struct template t;
    struct error error;
    const uint64_t rounds = 2000000;
    int plan = 0;
    struct plan_cache *cache = plan_cache_create(1 << 20, NULL);
    template_init(&t);
    if (template_lex(&t, sql, &error) != STATUS_OK)
        die(&error);
    plan_cache_put(cache, &t, 1, NULL, 0, &plan, sizeof(plan));
    uint64_t from = cpu_us();
    for (uint64_t i = 0; i < rounds; i++) {
        if (template_lex(&t, sql, &error) != STATUS_OK)
            die(&error);
        void *found = plan_cache_get(cache, &t, 1);
        sink += (uint64_t)(uintptr_t)found;
        plan_cache_unpin(cache, found);
    }
    report(what, cpu_us() - from, rounds, sql.len);
    plan_cache_unpin(cache, &plan);
    plan_cache_destroy(&cache);
    template_free(&t);
}

static void long_ones(void)
{
    struct buf sql;
    buf_init(&sql);
    buf_str(&sql, "INSERT INTO orders (id, customer, note, amount) VALUES ");
    for (int i = 0; i < 5000; i++)
        buf_printf(&sql, "%s(%d, %d, 'the quick brown fox jumps over the lazy dog', %d.%02d)", i ? ", " : "",
                   i * 7919, i, i, i % 100);
    lex("INSERT of 5000 rows", buf_slice(&sql));
    buf_clear(&sql);
    buf_str(&sql, "INSERT INTO files VALUES (1, '\\x");
    for (int i = 0; i < 1000000; i++)
        buf_str(&sql, "0a");
    buf_str(&sql, "')");
    lex("one long string", buf_slice(&sql));
    buf_clear(&sql);
    buf_str(&sql, "INSERT INTO files VALUES (1, E'");
    for (int i = 0; i < 100000; i++)
        buf_str(&sql, "some text of a line\\n");
    buf_str(&sql, "')");
    lex("one long escape string", buf_slice(&sql));
    buf_clear(&sql);
    buf_str(&sql, "SELECT a.id");
    for (int i = 0; i < 500; i++)
        buf_printf(&sql, ", coalesce(a.column_%d, b.other_column_%d) AS name_%d", i, i, i);
    buf_str(&sql, " FROM first_table a JOIN second_table b ON a.id = b.id WHERE a.id = 42");
    lex("SELECT of 500 expressions", buf_slice(&sql));
    buf_free(&sql);
}

int main(void)
{
    static const char *const statements[] = {
        "BEGIN;",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 8231;",
        "UPDATE pgbench_accounts SET abalance = abalance + -4377 WHERE aid = 8231;",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (7, 1, 8231, -4377, "
        "CURRENT_TIMESTAMP);",
        "SELECT o.id, o.total FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.email = "
        "'someone@example.org'"
        " AND o.state IN ('new', 'paid') ORDER BY o.created DESC LIMIT 20",
    };
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        char what[40];
        snprintf(what, sizeof(what), "lex: %s", statements[i]);
        lex(what, slice_str(statements[i]));
        snprintf(what, sizeof(what), "lex, get: %s", statements[i]);
        hit(what, slice_str(statements[i]));
    }
    long_ones();
    return sink == 1;
}
