/*
 * Planning grows no faster than the statement, and what cannot be planned so is refused with 54000 or 54001.
 *
 * Each statement is planned in a process of its own, so that a stack that overflows fails one case, and memory can be read from
 * the kernel. CPU time is compared, not the clock's: four times the statement may take 4 x 1.9 times as long, where anything
 * quadratic takes 16 times. test/integration/test_growth.py does the same end to end.
 */
#include "growth_shapes.h"
#include "route_fixture.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

struct cost {
    double seconds;
    long kilobytes;
    bool planned; /* false: an error, or refused with a limit */
    char sqlstate[6];
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void no_value(const void *arg, uint32_t i, struct slice *value_r, int16_t *format_r, uint32_t *type_r)
{
    (void)arg;
    (void)i;
    *value_r = slice_str("7");
    *format_r = 0;
    *type_r = 0;
}

/* Plans, and reads the keys, as an execution would. */
static void run(struct fixture *f, const char *sql, struct cost *c)
{
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double began = cpu_seconds();
    enum router_result result = plan_result(f, sql);
    const struct error *e = result == ROUTER_OK ? f->plan->refusal : &f->error;
    c->planned = result == ROUTER_OK && !(f->plan->kind == PLAN_REFUSE && strncmp(e->sqlstate, "54", 2) == 0);
    if (e)
        memcpy(c->sqlstate, e->sqlstate, sizeof(c->sqlstate));
    if (result == ROUTER_OK && f->plan->kind != PLAN_REFUSE) {
        struct route_params params = {.n = 65535, .get = no_value};
        struct shard_set shards;
        int32_t bucket;
        uint8_t *rows = malloc(f->plan->split.n_rows + 1U);
        (void)!route_resolve(f->plan, &f->db, &f->t, &params, &shards, &bucket,
                             f->plan->kind == PLAN_SPLIT ? rows : NULL, &f->error);
        free(rows);
    }
    c->seconds = cpu_seconds() - began;
    getrusage(RUSAGE_SELF, &after);
    c->kilobytes = after.ru_maxrss - before.ru_maxrss;
}

/* In a process of its own; false: it died. */
static bool measure(struct fixture *f, const char *sql, struct cost *c)
{
    struct cost *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        run(f, sql, shared);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *c = *shared;
    munmap(shared, sizeof(*shared));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Of four times as much, against four times the cost: twice as much would be the square's. A sanitizer's own bookkeeping,
   which depends on how much memory there is, comes on top. */
static const double tolerance = SANITIZED ? 2.9 : 1.9;

static void grows_linearly(struct fixture *f, const struct growth_shape *shape)
{
    uint32_t most = shape->most < 8000 ? shape->most : 8000;
    char *small = growth_statement(shape, most / 4), *large = growth_statement(shape, most / 4 * 4);
    struct cost a = {0}, b = {0}, c;
    for (int attempt = 0; attempt < 4; attempt++) { /* the least of several: others disturb caches */
        if (!measure(f, small, &c) || !c.planned)
            fail_msg("%s: %u items: %s", shape->name, most / 4, c.sqlstate);
        a.seconds = attempt == 0 || c.seconds < a.seconds ? c.seconds : a.seconds;
        a.kilobytes = c.kilobytes;
        if (!measure(f, large, &c) || !c.planned)
            fail_msg("%s: %u items: %s", shape->name, most, c.sqlstate);
        b.seconds = attempt == 0 || c.seconds < b.seconds ? c.seconds : b.seconds;
        b.kilobytes = c.kilobytes;
        if (b.seconds < 4 * tolerance * a.seconds + 0.001)
            break;
    }
    if (b.seconds >= 4 * tolerance * a.seconds + 0.001)
        fail_msg("%s: %.1f ms for %u items, %.1f ms for %u", shape->name, a.seconds * 1e3, most / 4,
                 b.seconds * 1e3, most);
    if (!SANITIZED && b.kilobytes > 5 * a.kilobytes + 2048)
        fail_msg("%s: %ld kB for %u items, %ld kB for %u", shape->name, a.kilobytes, most / 4, b.kilobytes,
                 most);
    free(small);
    free(large);
}

static void planning_grows_with_the_statement(void **state)
{
    for (size_t i = 0; i < N_GROWTH_SHAPES; i++)
        grows_linearly(*state, &growth_shapes[i]);
}

/* As many items as the protocol has parameters, and more: a second of a CPU, and 100 to 200 bytes of memory a byte of text. */
static void large_statements_are_bounded(void **state)
{
    static const char *const names[] = {
        "or of literals",       "or of parameters",          "and of parameters", "in parameters",
        "insert of parameters", "select list of parameters", "a copy of a query", "set"};
    struct cost c;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
        for (size_t i = 0; i < N_GROWTH_SHAPES; i++) {
            if (strcmp(growth_shapes[i].name, names[n]) != 0)
                continue;
            char *sql = growth_statement(&growth_shapes[i], 65535);
            if (!measure(*state, sql, &c) || !c.planned)
                fail_msg("%s: 65535 items: %s", names[n], c.sqlstate);
            if (!SANITIZED && (c.seconds > 10 || c.kilobytes > 200 * 1024))
                fail_msg("%s: 65535 items: %.1f s, %ld kB", names[n], c.seconds, c.kilobytes);
            free(sql);
        }
}

/* --- nothing overflows the stack ---------------------------------------------------------------- */

struct deep {
    const char *prefix, *middle, *between, *suffix, *end;
};

static char *deep_statement(const struct deep *d, uint32_t n)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    fputs(d->prefix, f);
    for (uint32_t i = 1; i <= n; i++)
        growth_item(f, d->middle, i);
    growth_item(f, d->between, n);
    for (uint32_t i = 0; i < n; i++)
        fputs(d->suffix, f);
    growth_item(f, d->end, n);
    fclose(f);
    return text;
}

struct in_thread {
    struct fixture *f;
    const char *sql;
    struct cost cost;
};

static void *run_in_thread(void *arg)
{
    struct in_thread *t = arg;
    run(t->f, t->sql, &t->cost);
    return NULL;
}

/* On a stack of this size; false: the process died. */
static bool survives(struct fixture *f, const char *sql, size_t stack_bytes)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct in_thread t = {.f = f, .sql = sql};
        pthread_attr_t attr;
        pthread_t thread;
        alarm(60);
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, stack_bytes);
        if (pthread_create(&thread, &attr, run_in_thread, &t) != 0)
            _exit(2);
        pthread_join(thread, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void no_statement_overflows_the_stack(void **state)
{
    static const struct deep deep[] = {
        {"select ", "t.or + ", "1", "", " from customers t"},
        {"select ", "t.a + t.from + t.where + ", "1", "", " from customers t"},
        {"select ", "- t.or ", "", "", " from customers t"},
        {"select ", "case when t.end then ", "1", " end", " from customers t"},
        {"select ", "case when a or b and ", "1", " then 1 end", " from customers t"},
        {"select 1 from customers t where a ", "is distinct from not a ", "", "", ""},
        {"select 1 from customers t where a ", "between 1 and not a ", "", "", ""},
        {"select ", "(", "1", ")", ""},
        {"select ", "(", "1", "+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1)",
         ""},
        {"select ", "lower(", "name", "||'x'||'y'||'z'||'x'||'y'||'z'||'x'||'y'||'z'||'x'||'y'||'z')",
         " from customers"},
        {"select ", "lower(", "name", "::text::text::text::text::text::text::text::text::text::text)",
         " from customers"},
        {"select ", "not ", "true", "", ""},
        {"select 1", " + 1", "", "", ""},
        {"select 1", " union select 1", "", "", ""},
        {"", "(select 1 union ", "select 1", ")", ""},
        {"select * from ", "(select * from ", "customers", ") x", ""},
        {"select ", "array[", "1", "]", ""},
        {"select ", "row(", "1", ")", ""},
        {"select 1 where ", "1 in (select 1 where ", "true", ")", ""},
        {"select 1 where ", "true and (false or ", "true", ")", ""},
        {"select 1 from customers a", " join customers b on true", "", "", ""},
        {"select 1 from customers a", " right join customers b on true", "", "", ""},
        {"select 1 from customers a", " join customers b", "", " on true", ""},
        {"", "with a as (", "select 1", ") select 1", ""},
        {"with c0 as (select 1 as id)", ", c@ as (select * from c?)", "", "", " select * from c@"},
        {"with c0 as (select 1 as id)",
         ", c@ as (select 1 where exists (select 1 where exists (select * from c?)))", "", "",
         " select * from c@"},
        {"with recursive c0 as (select 1 as id)", ", c@ as (select * from c?)", "", "", " select * from c@"},
        {"create function f() returns int begin atomic select ", "(", "1", ")", "; end"},
    };
    static const uint32_t sizes[] = {1000, 2400, 9000};
    static const size_t stacks[] = {1024 * 1024, 64 * 1024 * 1024};
    for (size_t i = 0; i < sizeof(deep) / sizeof(deep[0]); i++)
        for (size_t n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
            char *sql = deep_statement(&deep[i], sizes[n]);
            for (size_t s = 0; s < sizeof(stacks) / sizeof(stacks[0]); s++)
                if (!survives(*state, sql, stacks[s]))
                    fail_msg("%u times \"%s\" on a stack of %zu bytes", sizes[n], deep[i].middle, stacks[s]);
            free(sql);
        }
}

/* --- what cannot be linear is refused ------------------------------------------------------------ */

static void refused(struct fixture *f, const char *sql, const char *sqlstate)
{
    struct cost c;
    if (!measure(f, sql, &c))
        fail_msg("dead: %.100s", sql);
    assert_false(c.planned);
    assert_string_equal(c.sqlstate, sqlstate);
    if (!SANITIZED)
        assert_true(c.seconds < 5);
}

static void what_cannot_be_linear_has_a_limit(void **state)
{
    static const struct deep doubling = {
        "with c0 as (select 1 as id)", ", c@ as (select a.id from c? a, c? b)", "", "", " select * from c@"};
    static const struct deep tables = {"select 1 from customers t", ", customers t@", "", "", ""};
    static const struct deep dropped = {"drop table customers", ", customers", "", "", ""};
    static const struct deep again = {"with c as (select 1 where 1 = 1", " or 1 = 1", ") select 1 from c",
                                      ", c", ""};
    static const struct deep *const all[] = {&doubling, &tables, &dropped};
    static const uint32_t sizes[] = {60, 1000, 1000};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char *sql = deep_statement(all[i], sizes[i]);
        refused(*state, sql, "54000");
        assert_non_null(plan_of(*state, sql)->refusal);
        assert_string_not_equal(((struct fixture *)*state)->plan->refusal->hint, "");
        free(sql);
    }
    char *sql = deep_statement(&again, 9000);
    refused(*state, sql, "54000");
    free(sql);
    static const struct deep wide[] = {
        {"select id from customers order by 1", ", 1", "", "", ""},
        {"select id from customers order by parent", ", parent + @", "", "", ""},
        {"select sum(id)", ", avg(id)", "", "", " from customers"}};
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        sql = deep_statement(&wide[i], 1664);
        refused(*state, sql, "54000");
        free(sql);
        sql = deep_statement(&wide[i], 70000);
        refused(*state, sql, "54000");
        free(sql);
    }
    static const struct deep sums = {"select 1", " + 1", "", "", ""};
    sql = deep_statement(&sums, 50000);
    refused(*state, sql, "54001");
    free(sql);
}

/* --- answers stay right -------------------------------------------------------------------------- */

static void found_shards(struct fixture *f, const char *sql, struct shard_set *shards_r)
{
    int32_t bucket;
    struct plan *p = plan_of(f, sql);
    assert_int_not_equal(p->kind, PLAN_REFUSE);
    assert_true(p->n_keys > 0);
    assert_int_equal(route_resolve(p, &f->db, &f->t, NULL, shards_r, &bucket, NULL, &f->error), STATUS_OK);
}

/* ids [from, from + n) whose shard is not `never`, in several ways of saying so; all must find what one by one finds. */
static void many_terms_find_what_few_find(void **state)
{
    struct fixture *f = *state;
    static const char *const ways[][4] = {
        {"select * from customers where ", "id = %u", " or ", ""},
        {"select * from customers where (", "(id = %u and flag)", " or ", ")"},
        {"select * from customers where ", "(flag and (parent = 1 and id = %u))", " or ", ""},
        {"select * from customers where ", "id in (%u)", " or ", ""},
        {"select * from customers where ", "(id, parent) = (%u, 1)", " or ", ""},
        {"select * from customers where id in (", "%u", ", ", ")"},
        {"select * from customers where id = any (array[", "%u", ", ", "])"},
        {"select * from customers where id = any ('{", "%u", ",", "}')"},
        {"select c.* from customers c join orders o on c.id = o.customer_id where ", "o.customer_id = %u",
         " or ", ""},
        {"select * from (select id, name from customers) x where ", "x.id = %u", " or ", ""},
        {"with x as (select id as k from customers) select * from x where ", "k = %u", " or ", ""},
        {"select * from customers where id = 1 or (id in (", "%u", ", ", ") or id = 1)"}};
    for (unsigned never = 0; never < 4; never++)
        for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
            struct shard_set wanted, got;
            char *text = NULL;
            size_t len = 0;
            uint32_t found = 0;
            FILE *out = open_memstream(&text, &len);
            fputs(ways[w][0], out);
            found_shards(f, "select * from customers where id = 1", &wanted);
            shard_set_clear(&wanted);
            if (strstr(ways[w][0], "id = 1"))
                found_shards(f, "select * from customers where id = 1", &wanted);
            for (uint32_t id = 1; found < 300; id++) {
                char one[100];
                struct shard_set s;
                snprintf(one, sizeof(one), "select * from customers where id = %u", id);
                found_shards(f, one, &s);
                if (shard_set_has(&s, never) || shard_set_has(&s, (never + 1) % 4))
                    continue;
                shard_set_union(&wanted, &s);
                fprintf(out, found++ ? "%s" : "", ways[w][2]);
                fprintf(out, ways[w][1], id);
            }
            fputs(ways[w][3], out);
            fclose(out);
            found_shards(f, text, &got);
            assert_true(shard_set_equal(&got, &wanted));
            assert_false(shard_set_equal(&got, &f->db.all_shards));
            free(text);
        }
}

static void the_shortest_list_is_taken_and_all_branches_count(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        plan_of(f, "select * from customers where (id = 1 or id = 2 or id = 3) and (id = 4 or id = 5)")
            ->n_keys,
        2);
    assert_int_equal(f->plan->keys[0].index, 3);
    assert_int_equal(plan_of(f, "select * from customers where id = 1 or parent = 2")->n_keys, 0);
    assert_int_equal(plan_of(f, "select * from customers where id = 1 or id = 2 or flag")->n_keys, 0);
    assert_int_equal(
        plan_of(f, "select * from customers where id = 1 or (id = 2 and parent = 3) or id in (4, 5)")->n_keys,
        4);
    assert_int_equal(plan_of(f, "select * from customers where (id = 1 and id = 2) or id = 3")->n_keys, 2);
    /* An outer join's condition says nothing of the rows that are kept. */
    assert_int_equal(
        plan_of(f, "select * from customers c left join orders o on c.id = o.customer_id and c.id = 1")
            ->n_keys,
        0);
    assert_int_equal(
        plan_of(f, "select * from customers c join orders o on c.id = o.customer_id and c.id = 1")->n_keys,
        1);
    assert_int_equal(
        plan_of(f, "select * from orders o right join customers c on c.id = o.customer_id where c.id = 1")
            ->n_keys,
        1);
    assert_int_equal(
        plan_of(f, "select * from customers c full join orders o on c.id = o.customer_id and c.id = 1")->kind,
        PLAN_SCATTER);
    assert_int_equal(
        plan_of(f, "select * from (select id a, id b from customers where id = 7 limit 1) x join orders o on "
                   "x.b = o.customer_id")
            ->kind,
        PLAN_SINGLE);
    assert_int_equal(f->plan->n_keys, 1);
}

/* AddressSanitizer's frames are three times as large. */
static void enlarge_stack(void)
{
#ifdef __SANITIZE_ADDRESS__
    const rlim_t bytes = (rlim_t)32 * 1024 * 1024;
    (void)setrlimit(RLIMIT_STACK, &(struct rlimit){bytes, bytes});
#endif
}

int main(void)
{
    enlarge_stack();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(planning_grows_with_the_statement, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(large_statements_are_bounded, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(no_statement_overflows_the_stack, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_linear_has_a_limit, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(many_terms_find_what_few_find, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_shortest_list_is_taken_and_all_branches_count, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
