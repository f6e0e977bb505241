/* backend/varset.h */
#include "backend/varset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* A set from "name", "value", ..., NULL. */
static struct varset *set_of(const char *name, ...)
{
    struct varset *v = varset_empty();
    va_list ap;
    va_start(ap, name);
    for (; name; name = va_arg(ap, const char *)) {
        struct varset *next = varset_with(v, name, va_arg(ap, const char *));
        varset_unref(&v);
        v = next;
    }
    va_end(ap);
    return v;
}

static void append_change(void *arg, const char *name, const char *value)
{
    if (value)
        buf_printf(arg, "%s=%s;", name, value);
    else
        buf_printf(arg, "%s;", name);
}

/* expected: "name=value;" for each that is set, "name;" for each that is reset; NULL: nothing leads there. */
static void assert_diff(struct varset *from, struct varset *to, const char *expected)
{
    struct buf b;
    buf_init(&b);
    bool possible = varset_diff(from, to, NULL, append_change, &b);
    assert_int_equal(varset_diff(from, to, NULL, NULL, NULL), possible);
    buf_u8(&b, 0);
    assert_int_equal(possible, expected != NULL);
    assert_string_equal((const char *)buf_head(&b), expected ? expected : "");
    buf_free(&b);
    varset_unref(&from);
    varset_unref(&to);
}

static void assert_sql(const char *name, const char *value, bool local, const char *expected)
{
    struct buf b;
    buf_init(&b);
    varset_set_sql(&b, name, value, local);
    buf_u8(&b, 0);
    assert_string_equal((const char *)buf_head(&b), expected);
    buf_free(&b);
}

static void members_are_sorted_and_replaced(void **state)
{
    (void)state;
    struct varset *v = set_of("timezone", "'UTC'", "client_encoding", "'UTF8'", "search_path", "a, b",
                              "timezone", "'Europe/Paris'", NULL);
    assert_int_equal(v->n, 3);
    assert_string_equal(v->vars[0].name, "client_encoding");
    assert_string_equal(v->vars[1].name, "search_path");
    assert_string_equal(v->vars[2].name, "timezone");
    assert_string_equal(varset_get(v, "timezone"), "'Europe/Paris'");
    assert_null(varset_get(v, "time"));
    assert_null(varset_get(NULL, "time"));
    struct varset *less = varset_with(v, "search_path", NULL);
    assert_int_equal(less->n, 2);
    assert_null(varset_get(less, "search_path"));
    assert_string_equal(varset_get(v, "search_path"), "a, b");
    struct varset *same = varset_with(less, "not_there", NULL);
    assert_true(varset_equal(less, same));
    varset_unref(&same);
    varset_unref(&less);
    varset_unref(&v);
    assert_null(v);
}

static void equality_is_by_value_whatever_the_order_of_insertion(void **state)
{
    (void)state;
    struct varset *a = set_of("x", "1", "y", "2", NULL), *b = set_of("y", "2", "x", "1", NULL);
    struct varset *c = set_of("x", "1", "y", "3", NULL), *empty = varset_empty();
    assert_true(varset_equal(a, b));
    assert_int_equal(a->hash, b->hash);
    assert_false(varset_equal(a, c));
    assert_false(varset_equal(a, empty));
    assert_true(varset_equal(empty, NULL));
    assert_true(varset_equal(NULL, NULL));
    assert_false(varset_equal(NULL, a));
    /* "x" = "1y", "" is not "x" = "1", "y" */
    struct varset *d = set_of("ab", "c", NULL), *e = set_of("a", "bc", NULL);
    assert_false(varset_equal(d, e));
    struct varset *copy = varset_copy(a), *none = varset_copy(NULL);
    assert_ptr_not_equal(copy, a);
    assert_true(varset_equal(copy, a));
    assert_int_equal(none->n, 0);
    struct varset *sets[] = {a, b, c, d, e, empty, copy, none};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        varset_unref(&sets[i]);
}

static void references_keep_a_set_alive(void **state)
{
    (void)state;
    struct varset *a = set_of("x", "1", NULL), *b = varset_ref(a);
    varset_unref(&a);
    assert_null(a);
    assert_string_equal(varset_get(b, "x"), "1");
    varset_unref(&b);
    assert_null(varset_ref(NULL));
    varset_unref(&b);
}

static void differences_become_set_and_reset(void **state)
{
    (void)state;
    assert_diff(varset_empty(), set_of("a", "1", NULL), "a=1;");
    assert_diff(NULL, set_of("a", "1", "b", "x", NULL), "a=1;b=x;");
    assert_diff(set_of("a", "1", NULL), NULL, "a;");
    assert_diff(set_of("a", "1", "b", "2", NULL), set_of("b", "2", NULL), "a;");
    assert_diff(set_of("a", "1", "c", "2", NULL), set_of("a", "9", "b", "3", NULL), "a=9;b=3;c;");
    assert_diff(set_of("a", "1", NULL), set_of("a", "1", NULL), "");
    assert_diff(NULL, NULL, "");
}

static void a_part_of_datestyle_is_set_upon_the_default(void **state)
{
    (void)state;
    assert_diff(set_of("datestyle", "SQL, DMY", NULL), set_of("datestyle", "iso", NULL),
                "datestyle;datestyle=iso;");
    assert_diff(set_of("datestyle", "SQL, DMY", NULL), set_of("datestyle", "ISO, MDY", NULL),
                "datestyle=ISO, MDY;");
}

static void the_encoding_comes_first(void **state)
{
    (void)state;
    assert_diff(NULL, set_of("application_name", "x", "client_encoding", "LATIN1", NULL),
                "client_encoding=LATIN1;application_name=x;");
    assert_diff(set_of("role", "a", "client_encoding", "LATIN1", NULL), set_of("role", "b", NULL),
                "client_encoding;role;role=b;");
}

static void custom_variables_cannot_be_taken_back(void **state)
{
    (void)state;
    assert_diff(set_of("my.x", "1", NULL), NULL, NULL);
    assert_diff(set_of("my.x", "", "a", "1", NULL), set_of("a", "1", NULL), NULL);
    assert_diff(set_of("my.x", "1", NULL), set_of("my.x", "", NULL), "my.x=;");
    assert_diff(NULL, set_of("my.x", "1", NULL), "my.x=1;");
    struct varset *has = set_of("my.x", "1", "a", "2", NULL), *wants = set_of("a", "3", NULL);
    struct varset *named = set_of("my.x", "", NULL), *with = varset_with_customs(wants, has);
    struct buf b;
    buf_init(&b);
    assert_true(varset_diff(has, wants, named, append_change, &b)); /* of the statement at hand */
    buf_u8(&b, 0);
    assert_string_equal((const char *)buf_head(&b), "a=3;");
    assert_string_equal(varset_get(with, "my.x"), "");
    assert_string_equal(varset_get(with, "a"), "3");
    buf_free(&b);
    struct varset *again = varset_with_customs(with, has), *none = varset_with_customs(NULL, wants);
    assert_ptr_equal(again, with);
    assert_null(none);
    struct varset *sets[] = {has, wants, named, with, again};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        varset_unref(&sets[i]);
}

static void what_is_unknown_equals_nothing(void **state)
{
    (void)state;
    struct varset *was = set_of("my.x", "1", "a", "2", NULL), *unknown = varset_unknown(was);
    struct varset *none = varset_unknown(NULL), *copy = varset_copy(none);
    assert_false(varset_equal(unknown, was));
    assert_false(varset_equal(none, NULL));
    assert_false(varset_equal(NULL, none));
    assert_false(varset_equal(none, copy));
    assert_string_equal(varset_get(unknown, "my.x"), ""); /* is there in any case */
    assert_null(varset_get(unknown, "a"));
    struct varset_table *t = varset_table_create();
    assert_ptr_equal(varset_share(t, none), none); /* and is not shared */
    varset_table_destroy(&t);
    struct varset *sets[] = {was, unknown, none, copy};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        varset_unref(&sets[i]);
}

static void what_analysis_depends_on_has_a_hash(void **state)
{
    (void)state;
    struct varset *a = set_of("datestyle", "ISO, DMY", "work_mem", "1MB", NULL);
    struct varset *b = set_of("datestyle", "ISO, DMY", "work_mem", "2MB", NULL);
    struct varset *c = set_of("datestyle", "ISO, MDY", NULL), *d = set_of("work_mem", "1MB", NULL);
    assert_int_equal(a->parse_hash, b->parse_hash);
    assert_int_not_equal(a->parse_hash, c->parse_hash);
    assert_int_equal(d->parse_hash, 0);
    struct varset *sets[] = {a, b, c, d};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        varset_unref(&sets[i]);
}

static void identities_are_left_first_and_entered_last(void **state)
{
    (void)state;
    assert_diff(set_of("role", "a", NULL), set_of("role", "b", "work_mem", "1MB", NULL),
                "role;work_mem=1MB;role=b;");
    /* the role is the same, but other settings may need the login role's rights */
    assert_diff(set_of("role", "a", NULL), set_of("role", "a", "work_mem", "1MB", NULL),
                "role;work_mem=1MB;role=a;");
    /* a new session_authorization drops the role */
    assert_diff(set_of("role", "a", NULL), set_of("role", "a", "session_authorization", "u", NULL),
                "role;session_authorization=u;role=a;");
    assert_diff(set_of("role", "a", "session_authorization", "u", NULL), NULL, "role;session_authorization;");
    assert_diff(set_of("session_authorization", "u", NULL),
                set_of("session_authorization", "u", "role", "a", NULL), "role=a;");
}

static void a_value_becomes_a_statement(void **state)
{
    (void)state;
    assert_sql("work_mem", "1MB", false, "SET \"work_mem\" TO '1MB'");
    assert_sql("work_mem", "1MB", true, "SET LOCAL \"work_mem\" TO '1MB'");
    assert_sql("work_mem", NULL, false, "RESET \"work_mem\"");
    assert_sql("work_mem", NULL, true, "SET LOCAL \"work_mem\" TO DEFAULT");
    assert_sql("user.order", "it's", false, "SET \"user.order\" TO 'it''s'");
    assert_sql("odd\"name", "\\", false, "SET \"odd\"\"name\" TO E'\\x5c'");
    assert_sql("datestyle", "ISO, DMY", false, "SET \"datestyle\" TO 'ISO, DMY'");
    assert_sql("search_path", "\"$user\", Public", false, "SET \"search_path\" TO '$user', 'public'");
    assert_sql("search_path", "\"a, \"\"b\", c", true, "SET LOCAL \"search_path\" TO 'a, \"b', 'c'");
    assert_sql("search_path", "", false, "SELECT pg_catalog.set_config('search_path', '', false)");
    assert_sql("search_path", "a,,b", true, "SELECT pg_catalog.set_config('search_path', 'a,,b', true)");
    assert_sql("search_path", "\"a", false, "SELECT pg_catalog.set_config('search_path', '\"a', false)");
}

static void shared_sets_are_one_while_in_use(void **state)
{
    (void)state;
    struct varset_table *t = varset_table_create();
    struct varset *a = varset_share(t, set_of("work_mem", "1MB", NULL));
    struct varset *b = varset_share(t, set_of("work_mem", "2MB", NULL));
    struct varset *again = varset_share(t, set_of("work_mem", "1MB", NULL));
    assert_ptr_equal(again, a);
    assert_ptr_not_equal(b, a);
    assert_int_equal(a->refs, 2);
    assert_null(varset_share(t, NULL));
    assert_ptr_equal(varset_share(t, a), a);
    assert_int_equal(a->refs, 2);
    varset_unref(&again);
    varset_unref(&a);
    /* what nobody holds is not found: this one is entered anew, and is alone */
    a = varset_share(t, set_of("work_mem", "1MB", NULL));
    assert_int_equal(a->refs, 1);
    assert_string_equal(varset_get(a, "work_mem"), "1MB");
    varset_unref(&b);
    /* a set survives its table */
    varset_table_destroy(&t);
    assert_null(t);
    assert_string_equal(varset_get(a, "work_mem"), "1MB");
    varset_unref(&a);
}

static void many_sets_are_shared(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct varset *sets[N];
    struct varset_table *t = varset_table_create();
    char value[16];
    for (int i = 0; i < N; i++) {
        snprintf(value, sizeof value, "%d", i);
        sets[i] = varset_share(t, set_of("work_mem", value, NULL));
    }
    for (int i = 0; i < N; i++) {
        snprintf(value, sizeof value, "%d", i);
        struct varset *same = varset_share(t, set_of("work_mem", value, NULL));
        assert_ptr_equal(same, sets[i]);
        varset_unref(&same);
        if (i % 2)
            varset_unref(&sets[i]);
    }
    for (int i = 0; i < N; i += 2) {
        assert_int_equal(sets[i]->refs, 1);
        varset_unref(&sets[i]);
    }
    varset_table_destroy(&t);
}

static void assert_members(struct varset *v, const char *expected)
{
    struct buf b;
    buf_init(&b);
    for (unsigned i = 0; i < v->n; i++)
        buf_printf(&b, "%s=%s;", v->vars[i].name, v->vars[i].value);
    buf_u8(&b, 0);
    assert_string_equal((const char *)buf_head(&b), expected);
    buf_free(&b);
    varset_unref(&v);
}

static void many_changes_are_made_at_once_in_their_order(void **state)
{
    (void)state;
    static const struct var_change changes[] = {
        {"z", "26", false},    {"role", "admin", false},
        {"my.x", "", true},    {"b", NULL, false},
        {"a", "0", true},      {"my.y", "1", false},
        {"my.y", "", true},    {"session_authorization", "u", false},
        {"role", NULL, false}, {"z", "27", false},
        {"none", NULL, false},
    };
    struct varset *v = set_of("a", "1", "b", "2", "c", "3", "my.x", "kept", NULL);
    const size_t n = sizeof(changes) / sizeof(changes[0]);
    struct varset *one_by_one = varset_ref(v), *all = varset_with_all(v, changes, n);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].if_absent && varset_get(one_by_one, changes[i].name))
            continue;
        struct varset *next = varset_with(one_by_one, changes[i].name, changes[i].value);
        varset_unref(&one_by_one);
        one_by_one = next;
    }
    assert_true(varset_equal(all, one_by_one));
    assert_int_equal(all->hash, one_by_one->hash);
    assert_int_equal(all->parse_hash, one_by_one->parse_hash);
    assert_true(all->customs && all->has_names);
    varset_unref(&one_by_one);
    assert_members(all, "a=1;c=3;my.x=kept;my.y=1;session_authorization=u;z=27;");
    assert_members(varset_with_all(v, changes, 0), "a=1;b=2;c=3;my.x=kept;");
    assert_members(varset_with_all(NULL, changes, 1), "z=26;");
    assert_members(varset_with_all(NULL, NULL, 0), "");
    varset_unref(&v);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The least of several, as others disturb caches. */
static double cost_of_many(size_t n)
{
    double least = 1e9;
    struct var_change *changes = malloc(n * sizeof *changes);
    char(*names)[32] = malloc(n * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "my.x%zu", i * 7919 % n);
        changes[i] = (struct var_change){names[i], "1", i % 2 == 0};
    }
    for (int attempt = 0; attempt < 4; attempt++) {
        double began = cpu_seconds();
        struct varset *v = varset_with_all(NULL, changes, n);
        struct varset *more = varset_with_customs(NULL, v);
        assert_int_equal(v->n, n);
        assert_int_equal(more->n, n);
        assert_true(varset_diff(v, more, NULL, NULL, NULL));
        assert_false(varset_diff(v, NULL, NULL, NULL, NULL));
        double seconds = cpu_seconds() - began;
        least = seconds < least ? seconds : least;
        varset_unref(&v);
        varset_unref(&more);
    }
    free(names);
    free(changes);
    return least;
}

static void many_changes_cost_no_more_than_they_are(void **state)
{
    (void)state;
    double few = cost_of_many(5003), many = cost_of_many(20011);
    if (many > 4 * 1.9 * few + 0.001)
        fail_msg("5003 variables: %.1f ms, 20011: %.1f ms", few * 1e3, many * 1e3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_sorted_and_replaced),
        cmocka_unit_test(equality_is_by_value_whatever_the_order_of_insertion),
        cmocka_unit_test(references_keep_a_set_alive),
        cmocka_unit_test(differences_become_set_and_reset),
        cmocka_unit_test(a_part_of_datestyle_is_set_upon_the_default),
        cmocka_unit_test(the_encoding_comes_first),
        cmocka_unit_test(custom_variables_cannot_be_taken_back),
        cmocka_unit_test(what_is_unknown_equals_nothing),
        cmocka_unit_test(what_analysis_depends_on_has_a_hash),
        cmocka_unit_test(a_value_becomes_a_statement),
        cmocka_unit_test(identities_are_left_first_and_entered_last),
        cmocka_unit_test(shared_sets_are_one_while_in_use),
        cmocka_unit_test(many_sets_are_shared),
        cmocka_unit_test(many_changes_are_made_at_once_in_their_order),
        cmocka_unit_test(many_changes_cost_no_more_than_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
