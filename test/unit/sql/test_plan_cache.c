/* sql/plan_cache.h. Plans are counters of their own destruction. */
#include "sql/plan_cache.h"

#include "base/arena.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct test_plan {
    int destroyed;
    int name; /* which statement it was made for */
};

static struct plan_cache *cache;
static struct template t;
static size_t empty_bytes; /* of a cache without plans: its tables */
static const struct plan_context seven = {.numbers = {7}}, eight = {.numbers = {8}};
static struct test_plan plans[2000];

static void destroy_plan(void *plan)
{
    ((struct test_plan *)plan)->destroyed++;
}

static int set_up_limited(size_t max_bytes)
{
    memset(plans, 0, sizeof(plans));
    for (int i = 0; i < 2000; i++)
        plans[i].name = i;
    template_init(&t);
    cache = plan_cache_create(max_bytes, destroy_plan);
    struct plan_cache_stats s;
    plan_cache_get_stats(cache, &s);
    empty_bytes = s.bytes;
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_limited((size_t)1 << 30);
}

static int set_up_small(void **state)
{
    (void)state;
    return set_up_limited(10000);
}

static int tear_down(void **state)
{
    (void)state;
    plan_cache_destroy(&cache);
    assert_null(cache);
    template_free(&t);
    for (int i = 0; i < 2000; i++)
        assert_in_range(plans[i].destroyed, 0, 1);
    return 0;
}

static const struct template *lexed(const char *sql)
{
    struct error error;
    assert_int_equal(template_lex(&t, slice_str(sql), &error), STATUS_OK);
    return &t;
}

static struct test_plan *get(const char *sql)
{
    return plan_cache_get(cache, lexed(sql), &seven);
}

/* As get, and lets go of it. */
static struct test_plan *peek(const char *sql)
{
    struct test_plan *p = get(sql);
    if (p)
        plan_cache_unpin(cache, p);
    return p;
}

static void put_pinning(const char *sql, struct test_plan *plan, const uint32_t *pinned, size_t n)
{
    plan_cache_put(cache, lexed(sql), &seven, pinned, n, plan, 1000);
    plan_cache_unpin(cache, plan);
}

static void put(const char *sql, struct test_plan *plan)
{
    put_pinning(sql, plan, NULL, 0);
}

static struct plan_cache_stats stats(void)
{
    struct plan_cache_stats s;
    plan_cache_get_stats(cache, &s);
    return s;
}

static void statements_of_one_template_share_a_plan(void **state)
{
    (void)state;
    assert_null(peek("SELECT a FROM t WHERE b = 1"));
    put("SELECT a FROM t WHERE b = 1", &plans[0]);
    assert_ptr_equal(peek("SELECT a FROM t WHERE b = 42"), &plans[0]);
    assert_null(peek("SELECT a FROM t WHERE b = 'x'"));
    assert_null(peek("SELECT a FROM T WHERE b = 1"));
    assert_null(peek("SELECT a FROM t WHERE b = 1; SELECT 2"));
    assert_int_equal(stats().hits, 1);
    assert_int_equal(stats().misses, 4);
    assert_int_equal(stats().entries, 1);
}

static void contexts_are_apart(void **state)
{
    (void)state;
    put("SELECT 1", &plans[0]);
    assert_null(plan_cache_get(cache, lexed("SELECT 1"), &eight));
    plan_cache_put(cache, lexed("SELECT 1"), &eight, NULL, 0, &plans[1], 10);
    assert_ptr_equal(plan_cache_get(cache, lexed("SELECT 2"), &eight), &plans[1]);
    plan_cache_unpin(cache, &plans[1]);
    plan_cache_unpin(cache, &plans[1]);
    assert_ptr_equal(peek("SELECT 2"), &plans[0]);
}

static void equal_hashes_do_not_make_equal_templates(void **state)
{
    (void)state;
    put("SELECT a FROM t", &plans[0]);
    uint64_t hash = t.hash;
    lexed("SELECT b FROM t");
    t.hash = hash;
    assert_null(plan_cache_get(cache, &t, &seven));
    plan_cache_put(cache, &t, &seven, NULL, 0, &plans[1], 10);
    assert_ptr_equal(plan_cache_get(cache, &t, &seven), &plans[1]);
    plan_cache_unpin(cache, &plans[1]);
    plan_cache_unpin(cache, &plans[1]);
    assert_ptr_equal(peek("SELECT a FROM t"), &plans[0]);
}

/* Every part of the context is compared, whatever a hash of it says. */
static void contexts_are_compared_in_full(void **state)
{
    (void)state;
    const uint32_t types[] = {23, 25}, others[] = {23, 26};
    const struct plan_context made = {
        .numbers = {1, 2, 3, 4}, .hint = slice_str("shard=s1"), .types = types, .n_types = 2};
    plan_cache_put(cache, lexed("SELECT 1"), &made, NULL, 0, &plans[0], 10);
    plan_cache_unpin(cache, &plans[0]);
    struct plan_context asked = made;
    assert_ptr_equal(plan_cache_get(cache, lexed("SELECT 1"), &asked), &plans[0]);
    plan_cache_unpin(cache, &plans[0]);
    for (int i = 0; i < PLAN_CONTEXT_NUMBERS; i++) {
        asked = made;
        asked.numbers[i]++;
        assert_null(plan_cache_get(cache, lexed("SELECT 1"), &asked));
    }
    asked = made;
    asked.hint = slice_str("shard=s2");
    assert_null(plan_cache_get(cache, lexed("SELECT 1"), &asked));
    asked.hint = slice_of(NULL, 0);
    assert_null(plan_cache_get(cache, lexed("SELECT 1"), &asked));
    asked = made;
    asked.types = others;
    assert_null(plan_cache_get(cache, lexed("SELECT 1"), &asked));
    asked.n_types = 1;
    assert_null(plan_cache_get(cache, lexed("SELECT 1"), &asked));
    asked = made; /* the same bytes, cut elsewhere */
    asked.hint = slice_of("shard=s1\x17\0\0\0", 12);
    asked.types = types + 1;
    asked.n_types = 1;
    assert_null(plan_cache_get(cache, lexed("SELECT 1"), &asked));
}

/* The limit is for what the heap gives, not for what was asked of it. */
static void the_limit_is_what_the_cache_takes(void **state)
{
    (void)state;
    char sql[64];
    const size_t limit = (size_t)1 << 20;
    struct mallinfo2 before = mallinfo2();
    if (before.uordblks == 0)
        skip(); /* a sanitizer's heap, which does not say */
    struct plan_cache *own = plan_cache_create(limit, free);
    for (int i = 0; i < 60000; i++) {
        snprintf(sql, sizeof(sql), "SELECT a%d FROM t", i);
        void *plan = malloc(300);
        plan_cache_put(own, lexed(sql), &seven, NULL, 0, plan, heap_bytes(300));
        plan_cache_unpin(own, plan);
    }
    size_t taken = mallinfo2().uordblks - before.uordblks;
    struct plan_cache_stats s;
    plan_cache_get_stats(own, &s);
    assert_true(s.evictions > 0);
    assert_in_range(taken, s.bytes * 95 / 100, limit + limit / 20);
    plan_cache_limit(own, limit / 4);
    assert_true(mallinfo2().uordblks - before.uordblks <= limit / 4 + limit / 20);
    plan_cache_destroy(&own);
}

static void pinned_values_choose_the_plan(void **state)
{
    (void)state;
    const uint32_t limit[] = {1}, both[] = {0, 1};
    put_pinning("SELECT a FROM t WHERE b = 1 LIMIT 10", &plans[0], limit, 1);
    put_pinning("SELECT a FROM t WHERE b = 1 LIMIT 20", &plans[1], limit, 1);
    assert_ptr_equal(peek("SELECT a FROM t WHERE b = 5 LIMIT 10"), &plans[0]);
    assert_ptr_equal(peek("SELECT a FROM t WHERE b = 6 LIMIT 20"), &plans[1]);
    assert_null(peek("SELECT a FROM t WHERE b = 1 LIMIT 1"));
    assert_null(peek("SELECT a FROM t WHERE b = 1 LIMIT 010"));
    assert_null(peek("SELECT a FROM t WHERE b = 10 LIMIT 100"));
    put_pinning("SELECT a FROM t WHERE b = 3 LIMIT 30", &plans[2], both, 2);
    assert_ptr_equal(peek("SELECT a FROM t WHERE b = 3 LIMIT 30"), &plans[2]);
    assert_null(peek("SELECT a FROM t WHERE b = 33 LIMIT 0"));
    assert_null(peek("SELECT a FROM t WHERE b = 4 LIMIT 30"));
    put_pinning("SELECT a FROM t WHERE b = 33 LIMIT 0", &plans[3], both, 2);
    assert_ptr_equal(peek("SELECT a FROM t WHERE b = 33 LIMIT 0"), &plans[3]);
    assert_ptr_equal(peek("SELECT a FROM t WHERE b = 3 LIMIT 30"), &plans[2]);
    assert_int_equal(stats().entries, 4);
}

static void a_thousand_limits_find_their_plans(void **state)
{
    (void)state;
    const uint32_t limit[] = {0};
    char sql[64];
    for (int i = 0; i < 2000; i++) {
        snprintf(sql, sizeof(sql), "SELECT a FROM t LIMIT %d", i);
        put_pinning(sql, &plans[i], limit, 1);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(sql, sizeof(sql), "SELECT a FROM t LIMIT %d", i);
        assert_ptr_equal(peek(sql), &plans[i]);
    }
}

static void least_recently_used_goes_first(void **state)
{
    (void)state;
    char sql[64];
    for (int i = 0; i < 6; i++) {
        snprintf(sql, sizeof(sql), "SELECT a%d", i);
        put(sql, &plans[i]);
    }
    assert_int_equal(stats().evictions, 0);
    assert_ptr_equal(peek("SELECT a0"), &plans[0]);
    for (int i = 6; i < 100; i++) {
        snprintf(sql, sizeof(sql), "SELECT a%d", i);
        put(sql, &plans[i]);
        assert_true(stats().bytes <= 10000);
        assert_ptr_equal(peek("SELECT a0"), &plans[0]);
    }
    assert_int_equal(plans[1].destroyed, 1);
    assert_null(peek("SELECT a1"));
    assert_ptr_equal(peek("SELECT a99"), &plans[99]);
    int destroyed = 0;
    for (int i = 0; i < 100; i++)
        destroyed += plans[i].destroyed;
    assert_int_equal(destroyed, stats().evictions);
    assert_int_equal(stats().entries, 100 - destroyed);
}

static void plans_in_use_are_not_evicted(void **state)
{
    (void)state;
    char sql[64];
    put("SELECT used", &plans[0]);
    assert_ptr_equal(get("SELECT used"), &plans[0]);
    assert_ptr_equal(get("SELECT used"), &plans[0]);
    for (int i = 1; i < 100; i++) {
        snprintf(sql, sizeof(sql), "SELECT a%d", i);
        put(sql, &plans[i]);
    }
    assert_int_equal(plans[0].destroyed, 0);
    plan_cache_unpin(cache, &plans[0]);
    assert_ptr_equal(get("SELECT used"), &plans[0]);
    plan_cache_unpin(cache, &plans[0]);
    plan_cache_unpin(cache, &plans[0]);
    for (int i = 100; i < 200; i++) {
        snprintf(sql, sizeof(sql), "SELECT a%d", i);
        put(sql, &plans[i]);
    }
    assert_int_equal(plans[0].destroyed, 1);
}

static void a_plan_over_the_limit_lives_while_it_is_used(void **state)
{
    (void)state;
    plan_cache_put(cache, lexed("SELECT big"), &seven, NULL, 0, &plans[0], 50000);
    assert_int_equal(plans[0].destroyed, 0);
    assert_true(stats().bytes > 50000);
    plan_cache_unpin(cache, &plans[0]);
    assert_int_equal(plans[0].destroyed, 1);
    assert_int_equal(stats().bytes, empty_bytes);
    assert_int_equal(stats().entries, 0);
}

/* What a client makes up must not push out what others use. */
static void a_plan_that_is_not_kept_takes_nobodys_place(void **state)
{
    (void)state;
    struct plan_cache_stats before, s;
    put("select kept", &plans[0]);
    plan_cache_get_stats(cache, &before);
    for (int i = 1; i < 1000; i++) {
        plan_cache_put_once(cache, &plans[i], 100000);
        plan_cache_get_stats(cache, &s);
        assert_true(s.bytes > before.bytes + 100000);
        assert_int_equal(s.entries, 1);
        assert_int_equal(plans[i].destroyed, 0);
        if (i == 500) { /* others may come and go, and all be dropped, meanwhile */
            put("select other", &plans[1500]);
            plan_cache_clear(cache);
            put("select kept", &plans[1501]);
        }
        plan_cache_unpin(cache, &plans[i]);
        assert_int_equal(plans[i].destroyed, 1);
    }
    plan_cache_get_stats(cache, &s);
    assert_int_equal(s.bytes, before.bytes);
    assert_int_equal(s.evictions, 0);
    assert_ptr_equal(peek("select kept"), &plans[1501]);
}

static void replacing_a_plan_in_use_keeps_it_until_it_is_let_go(void **state)
{
    (void)state;
    const uint32_t limit[] = {0};
    put("SELECT 1", &plans[0]);
    assert_ptr_equal(get("SELECT 1"), &plans[0]);
    put("SELECT 1", &plans[1]);
    assert_ptr_equal(peek("SELECT 1"), &plans[1]);
    assert_int_equal(plans[0].destroyed, 0);
    plan_cache_unpin(cache, &plans[0]);
    assert_int_equal(plans[0].destroyed, 1);
    put("SELECT 1", &plans[2]);
    assert_int_equal(plans[1].destroyed, 1);
    put_pinning("SELECT a LIMIT 1", &plans[3], limit, 1);
    put_pinning("SELECT a LIMIT 1", &plans[4], limit, 1);
    assert_int_equal(plans[3].destroyed, 1);
    assert_ptr_equal(peek("SELECT a LIMIT 1"), &plans[4]);
    assert_int_equal(stats().entries, 2);
}

static void those_of_one_number_are_dropped(void **state)
{
    (void)state;
    struct template lexed;
    struct error e;
    const uint64_t number = 7;
    template_init(&lexed);
    assert_int_equal(template_lex(&lexed, slice_str("SELECT a"), &e), STATUS_OK);
    plan_cache_put(cache, &lexed, &seven, NULL, 0, &plans[0], 10);
    plan_cache_put(cache, &lexed, &eight, NULL, 0, &plans[1], 10);
    plan_cache_unpin(cache, &plans[1]);
    plan_cache_drop(cache, 0, &number); /* in use: until it is let go */
    assert_null(plan_cache_get(cache, &lexed, &seven));
    assert_ptr_equal(plan_cache_get(cache, &lexed, &eight), &plans[1]);
    plan_cache_unpin(cache, &plans[1]);
    assert_int_equal(plans[0].destroyed, 0);
    plan_cache_unpin(cache, &plans[0]);
    assert_int_equal(plans[0].destroyed, 1);
    assert_int_equal(plans[1].destroyed, 0);
    template_free(&lexed);
}

static void clearing_spares_plans_in_use(void **state)
{
    (void)state;
    const uint32_t limit[] = {0};
    put("SELECT a", &plans[0]);
    put_pinning("SELECT a LIMIT 1", &plans[1], limit, 1);
    put_pinning("SELECT a LIMIT 2", &plans[2], limit, 1);
    assert_ptr_equal(get("SELECT a LIMIT 2"), &plans[2]);
    plan_cache_clear(cache);
    assert_int_equal(plans[0].destroyed, 1);
    assert_int_equal(plans[1].destroyed, 1);
    assert_int_equal(plans[2].destroyed, 0);
    assert_int_equal(stats().entries, 0);
    assert_null(peek("SELECT a LIMIT 2"));
    put_pinning("SELECT a LIMIT 2", &plans[3], limit, 1);
    assert_ptr_equal(peek("SELECT a LIMIT 2"), &plans[3]);
    plan_cache_clear(cache);
    assert_int_equal(plans[2].destroyed, 0);
    plan_cache_unpin(cache, &plans[2]);
    assert_int_equal(plans[2].destroyed, 1);
    assert_int_equal(stats().bytes, empty_bytes);
}

static void hits_do_not_allocate(void **state)
{
    (void)state;
    const uint32_t limit[] = {1};
    const char *sql = "SELECT a FROM t WHERE b = 'x' LIMIT 10";
    put_pinning(sql, &plans[0], limit, 1);
    assert_ptr_equal(peek(sql), &plans[0]);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(peek(sql), &plans[0]);
    assert_int_equal(mallinfo2().uordblks, before.uordblks);
}

/* Many sessions at random: whatever is found fits the statement, nothing is destroyed while in use, and the
 * bytes add up. */
static void random_use_keeps_plans_true(void **state)
{
    (void)state;
    struct test_plan *held[16] = {0};
    uint64_t random = 1;
    int made = 0, statement_of[2000];
    char sql[64];
    for (int round = 0; round < 30000 && made < 1990; round++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int slot = (int)(random >> 33) % 16, statement = (int)(random >> 40) % 60;
        if (held[slot]) {
            assert_int_equal(held[slot]->destroyed, 0);
            plan_cache_unpin(cache, held[slot]);
            held[slot] = NULL;
        }
        if (round % 500 == 499)
            plan_cache_clear(cache);
        snprintf(sql, sizeof(sql), "SELECT a%d FROM t LIMIT %d", statement / 6, statement % 6);
        struct test_plan *p = get(sql);
        if (!p) {
            const uint32_t limit[] = {0};
            p = &plans[made];
            statement_of[made++] = statement;
            plan_cache_put(cache, &t, &seven, limit, 1, p, 500);
        }
        assert_int_equal(p->destroyed, 0);
        assert_int_equal(statement_of[p->name], statement);
        held[slot] = p;
    }
    assert_true(stats().evictions > 0 && stats().hits > 0);
    for (int i = 0; i < 16; i++)
        if (held[i])
            plan_cache_unpin(cache, held[i]);
    plan_cache_clear(cache);
    assert_int_equal(stats().bytes, empty_bytes);
    for (int i = 0; i < made; i++)
        assert_int_equal(plans[i].destroyed, 1);
}

int main(void)
{
#define TEST(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define SMALL(f) cmocka_unit_test_setup_teardown(f, set_up_small, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(statements_of_one_template_share_a_plan),
        TEST(contexts_are_apart),
        TEST(contexts_are_compared_in_full),
        TEST(the_limit_is_what_the_cache_takes),
        TEST(equal_hashes_do_not_make_equal_templates),
        TEST(pinned_values_choose_the_plan),
        TEST(a_thousand_limits_find_their_plans),
        SMALL(least_recently_used_goes_first),
        SMALL(plans_in_use_are_not_evicted),
        SMALL(a_plan_over_the_limit_lives_while_it_is_used),
        SMALL(a_plan_that_is_not_kept_takes_nobodys_place),
        TEST(replacing_a_plan_in_use_keeps_it_until_it_is_let_go),
        TEST(those_of_one_number_are_dropped),
        TEST(clearing_spares_plans_in_use),
        TEST(hits_do_not_allocate),
        SMALL(random_use_keeps_plans_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
