/*
 * ns per statement and GB/s of template_lex() (lexing and hashing), of a plan cache hit and of
 * route_resolve().
 *
 * make bench BENCH='--suite lex'
 *
 * Instructions: `lex_bench PIECE ROUNDS` does one piece (lex, hit, route, or one of the long texts) so many
 * times and nothing else; under valgrind --tool=callgrind the difference of two runs, divided by the difference of their rounds, is
 * its cost.
 */
#include "route/bucket_map.h"
#include "route/router.h"
#include "sql/plan_cache.h"
#include "wire/datum.h"
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
    const struct plan_context context = {.numbers = {1}};
    struct plan_cache *cache = plan_cache_create(1 << 20, NULL);
    template_init(&t);
    if (template_lex(&t, sql, &error) != STATUS_OK)
        die(&error);
    plan_cache_put(cache, &t, &context, NULL, 0, &plan, sizeof(plan));
    uint64_t from = cpu_us();
    for (uint64_t i = 0; i < rounds; i++) {
        if (template_lex(&t, sql, &error) != STATUS_OK)
            die(&error);
        void *found = plan_cache_get(cache, &t, &context);
        sink += (uint64_t)(uintptr_t)found;
        plan_cache_unpin(cache, found);
    }
    report(what, cpu_us() - from, rounds, sql.len);
    plan_cache_unpin(cache, &plan);
    plan_cache_destroy(&cache);
    template_free(&t);
}

/* ---- pieces: the statement of pgbench -S --------------------------------------------------------------- */

static const char select_one[] = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";

static void lex_rounds(uint64_t rounds)
{
    struct template t;
    struct error error;
    template_init(&t);
    for (uint64_t i = 0; i < rounds; i++) {
        if (template_lex(&t, slice_str(select_one), &error) != STATUS_OK)
            die(&error);
        sink += t.hash;
    }
    template_free(&t);
}

static void hit_rounds(uint64_t rounds)
{
    struct template t;
    struct error error;
    int plan = 0;
    const struct plan_context context = {.numbers = {1}};
    struct plan_cache *cache = plan_cache_create(1 << 20, NULL);
    template_init(&t);
    if (template_lex(&t, slice_str(select_one), &error) != STATUS_OK)
        die(&error);
    plan_cache_put(cache, &t, &context, NULL, 0, &plan, sizeof(plan));
    plan_cache_unpin(cache, &plan);
    for (uint64_t i = 0; i < rounds; i++) {
        void *found = plan_cache_get(cache, &t, &context);
        sink += (uint64_t)(uintptr_t)found;
        plan_cache_unpin(cache, found);
    }
    plan_cache_destroy(&cache);
    template_free(&t);
}

/* Routes aid = 12345 by a hash map of 1024 buckets on four shards. */
static void route_rounds(uint64_t rounds)
{
    uint8_t bucket_shard[1024];
    struct table_map table = {.name = "pgbench_accounts", .column = "aid", .method = TABLE_HASH};
    struct database_def db = {.name = "bench", .n_shards = 4, .buckets = 1024, .bucket_shard = bucket_shard};
    struct key_ref key = {.source = KEY_LITERAL};
    struct template t;
    struct error error;
    struct shard_set shards;
    int32_t bucket;
    for (size_t i = 0; i < sizeof(bucket_shard); i++)
        bucket_shard[i] = (uint8_t)(i / 256);
    struct bucket_map *map = bucket_map_create(&db, &table, OID_INT4, true, &error);
    template_init(&t);
    if (!map || template_lex(&t, slice_str(select_one), &error) != STATUS_OK)
        die(&error);
    struct plan plan = {.kind = PLAN_SCATTER, .map = map, .keys = &key, .n_keys = 1};
    for (uint64_t i = 0; i < rounds; i++) {
        if (route_resolve(&plan, &db, &t, NULL, &shards, &bucket, NULL, &error) != STATUS_OK)
            die(&error);
        sink += (uint64_t)bucket + shards.w[0];
    }
    bucket_map_destroy(&map);
    template_free(&t);
}

static const struct piece {
    const char *name;
    void (*run)(uint64_t rounds);
} pieces[] = {{"lex", lex_rounds}, {"hit", hit_rounds}, {"route", route_rounds}};

static void time_pieces(void)
{
    const uint64_t rounds = 5000000;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        uint64_t from = cpu_us();
        pieces[i].run(rounds);
        report(pieces[i].name, cpu_us() - from, rounds, sizeof(select_one) - 1);
    }
}

/* ---- long texts ---------------------------------------------------------------------------------------- */

/* Up to 1 to 8 digits, each as often as the others. */
static int short_number(int i)
{
    static const int below[] = {10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint32_t scattered = (uint32_t)i * 2654435761U;
    return (int)(scattered >> 3) % below[scattered % 8];
}

static void wide_rows(struct buf *sql)
{
    buf_str(sql, "INSERT INTO orders (id, customer, note, amount) VALUES ");
    for (int i = 0; i < 5000; i++)
        buf_printf(sql, "%s(%d, %d, 'the quick brown fox jumps over the lazy dog', %d.%02d)", i ? ", " : "",
                   i * 7919, i, i, i % 100);
}

static void long_string(struct buf *sql)
{
    buf_str(sql, "INSERT INTO files VALUES (1, '\\x");
    for (int i = 0; i < 1000000; i++)
        buf_str(sql, "0a");
    buf_str(sql, "')");
}

static void long_escape_string(struct buf *sql)
{
    buf_str(sql, "INSERT INTO files VALUES (1, E'");
    for (int i = 0; i < 100000; i++)
        buf_str(sql, "some text of a line\\n");
    buf_str(sql, "')");
}

static void digits(struct buf *sql)
{
    buf_str(sql, "SELECT * FROM orders WHERE id IN (1");
    for (int i = 0; i < 20000; i++)
        buf_printf(sql, ",%d", i * 7 % 10);
    buf_str(sql, ")");
}

static void integers(struct buf *sql)
{
    buf_str(sql, "SELECT * FROM orders WHERE id IN (1");
    for (int i = 0; i < 20000; i++)
        buf_printf(sql, ",%d", short_number(i));
    buf_str(sql, ")");
}

static void integers_and_blanks(struct buf *sql)
{
    buf_str(sql, "SELECT * FROM orders WHERE id IN (1");
    for (int i = 0; i < 20000; i++)
        buf_printf(sql, ", %d", short_number(i));
    buf_str(sql, ")");
}

static void short_strings(struct buf *sql)
{
    buf_str(sql, "SELECT * FROM orders WHERE state IN ('ab'");
    for (int i = 0; i < 20000; i++)
        buf_printf(sql, ",'%c%c'", 'a' + i % 26, 'a' + i % 25);
    buf_str(sql, ")");
}

static void short_rows(struct buf *sql)
{
    buf_str(sql, "INSERT INTO t VALUES ");
    for (int i = 0; i < 5000; i++)
        buf_printf(sql, "%s(%d, '%.*s', %d)", i ? "," : "", i * 7919 % 100003, i % 12, "abcdefghijklmnop",
                   i % 5);
}

static void rows_in_lines(struct buf *sql)
{
    buf_str(sql, "INSERT INTO t VALUES");
    for (int i = 0; i < 5000; i++)
        buf_printf(sql, "%s\n(%d, -%d.%02d, '%.*s', NULL)", i ? "," : "", short_number(i), i % 1000, i % 100,
                   i % 12, "abcdefghijklmnop");
}

static void expressions(struct buf *sql)
{
    buf_str(sql, "SELECT a.id");
    for (int i = 0; i < 500; i++)
        buf_printf(sql, ", coalesce(a.column_%d, b.other_column_%d) AS name_%d", i, i, i);
    buf_str(sql, " FROM first_table a JOIN second_table b ON a.id = b.id WHERE a.id = 42");
}

static void quoted_identifiers(struct buf *sql)
{
    buf_str(sql, "SELECT \"orders\".\"id\"");
    for (int i = 0; i < 500; i++)
        buf_printf(sql, ", \"orders\".\"column_%d\" AS \"name_%d\"", i, i);
    buf_str(sql, " FROM \"orders\" WHERE \"orders\".\"id\" = 42");
}

static const struct text {
    const char *name, *what;
    void (*make)(struct buf *sql);
} texts[] = {
    {"wide-rows", "INSERT of 5000 rows", wide_rows},
    {"string", "one long string", long_string},
    {"escape-string", "one long escape string", long_escape_string},
    {"digits", "IN list 1,2,...", digits},
    {"integers", "IN list of 1-8 digits, \",\"", integers},
    {"integers-blanks", "IN list of 1-8 digits, \", \"", integers_and_blanks},
    {"short-strings", "IN list 'ab','cd',...", short_strings},
    {"short-rows", "INSERT of 5000 short rows", short_rows},
    {"lines", "INSERT of 5000 rows in lines", rows_in_lines},
    {"expressions", "SELECT of 500 expressions", expressions},
    {"identifiers", "SELECT of 500 quoted columns", quoted_identifiers},
};
#define N_TEXTS (sizeof(texts) / sizeof(texts[0]))

static void time_texts(void)
{
    struct buf sql;
    buf_init(&sql);
    for (size_t i = 0; i < N_TEXTS; i++) {
        buf_clear(&sql);
        texts[i].make(&sql);
        lex(texts[i].what, buf_slice(&sql));
    }
    buf_free(&sql);
}

static void lex_text(const struct text *text, uint64_t rounds)
{
    struct template t;
    struct error error;
    struct buf sql;
    template_init(&t);
    buf_init(&sql);
    text->make(&sql);
    for (uint64_t i = 0; i < rounds; i++) {
        if (template_lex(&t, buf_slice(&sql), &error) != STATUS_OK)
            die(&error);
        sink += t.hash;
    }
    printf("%zu bytes\n", buf_len(&sql));
    buf_free(&sql);
    template_free(&t);
}

static int count_piece(const char *name, const char *rounds)
{
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        if (strcmp(pieces[i].name, name) == 0) {
            pieces[i].run(strtoull(rounds, NULL, 10));
            return sink == 1;
        }
    }
    for (size_t i = 0; i < N_TEXTS; i++) {
        if (strcmp(texts[i].name, name) == 0) {
            lex_text(&texts[i], strtoull(rounds, NULL, 10));
            return sink == 1;
        }
    }
    fprintf(stderr, "no piece \"%s\"\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return count_piece(argv[1], argv[2]);
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
    time_texts();
    time_pieces();
    return sink == 1;
}
