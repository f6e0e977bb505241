/* backend/varset.h */
#include "backend/varset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

static void assert_diff(struct varset *from, struct varset *to, const char *expected)
{
    struct buf sql;
    buf_init(&sql);
    varset_diff_sql(from, to, &sql);
    buf_u8(&sql, 0);
    assert_string_equal((const char *)buf_head(&sql), expected);
    buf_free(&sql);
    varset_unref(&from);
    varset_unref(&to);
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
    assert_diff(varset_empty(), set_of("a", "1", NULL), "SET a TO 1;");
    assert_diff(NULL, set_of("a", "1", "b", "'x'", NULL), "SET a TO 1;SET b TO 'x';");
    assert_diff(set_of("a", "1", NULL), NULL, "RESET a;");
    assert_diff(set_of("a", "1", "b", "2", NULL), set_of("b", "2", NULL), "RESET a;");
    assert_diff(set_of("a", "1", "c", "2", NULL), set_of("a", "9", "b", "3", NULL),
                "SET a TO 9;SET b TO 3;RESET c;");
    assert_diff(set_of("a", "1", NULL), set_of("a", "1", NULL), "");
    assert_diff(NULL, NULL, "");
}

static void custom_and_odd_names_are_quoted(void **state)
{
    (void)state;
    assert_diff(NULL, set_of("user.order", "'1'", NULL), "SET \"user.order\" TO '1';");
    assert_diff(set_of("odd\"name", "'1'", NULL), NULL, "RESET \"odd\"\"name\";");
    assert_diff(set_of("1a", "'1'", NULL), NULL, "RESET \"1a\";");
}

static void identities_are_left_first_and_entered_last(void **state)
{
    (void)state;
    assert_diff(set_of("role", "a", NULL), set_of("role", "b", "work_mem", "'1MB'", NULL),
                "RESET role;SET work_mem TO '1MB';SET role TO b;");
    /* the role is the same, but other settings may need the login role's rights */
    assert_diff(set_of("role", "a", NULL), set_of("role", "a", "work_mem", "'1MB'", NULL),
                "RESET role;SET work_mem TO '1MB';SET role TO a;");
    /* a new session_authorization drops the role */
    assert_diff(set_of("role", "a", NULL), set_of("role", "a", "session_authorization", "u", NULL),
                "RESET role;SET session_authorization TO u;SET role TO a;");
    assert_diff(set_of("role", "a", "session_authorization", "u", NULL), NULL,
                "RESET role;RESET session_authorization;");
    assert_diff(set_of("session_authorization", "u", NULL),
                set_of("session_authorization", "u", "role", "a", NULL), "SET role TO a;");
}

static void shared_sets_are_one_while_in_use(void **state)
{
    (void)state;
    struct varset_table *t = varset_table_create();
    struct varset *a = varset_share(t, set_of("work_mem", "'1MB'", NULL));
    struct varset *b = varset_share(t, set_of("work_mem", "'2MB'", NULL));
    struct varset *again = varset_share(t, set_of("work_mem", "'1MB'", NULL));
    assert_ptr_equal(again, a);
    assert_ptr_not_equal(b, a);
    assert_int_equal(a->refs, 2);
    assert_null(varset_share(t, NULL));
    assert_ptr_equal(varset_share(t, a), a);
    assert_int_equal(a->refs, 2);
    varset_unref(&again);
    varset_unref(&a);
    /* what nobody holds is not found: this one is entered anew, and is alone */
    a = varset_share(t, set_of("work_mem", "'1MB'", NULL));
    assert_int_equal(a->refs, 1);
    assert_string_equal(varset_get(a, "work_mem"), "'1MB'");
    varset_unref(&b);
    /* a set survives its table */
    varset_table_destroy(&t);
    assert_null(t);
    assert_string_equal(varset_get(a, "work_mem"), "'1MB'");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_sorted_and_replaced),
        cmocka_unit_test(equality_is_by_value_whatever_the_order_of_insertion),
        cmocka_unit_test(references_keep_a_set_alive),
        cmocka_unit_test(differences_become_set_and_reset),
        cmocka_unit_test(custom_and_odd_names_are_quoted),
        cmocka_unit_test(identities_are_left_first_and_entered_last),
        cmocka_unit_test(shared_sets_are_one_while_in_use),
        cmocka_unit_test(many_sets_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
