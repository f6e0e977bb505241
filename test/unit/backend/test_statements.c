/* backend/statements.h */
#include "backend/statements.h"

#include "base/arena.h"
#include "base/blob.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t epoch;

static void equal_texts_and_types_share_one_definition(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    const uint32_t int4[] = {23}, two[] = {23, 25};
    struct statement_def *a = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    struct statement_def *b = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    struct statement_def *untyped = statement_intern(r, epoch, slice_str("select $1"), 0, NULL);
    struct statement_def *more = statement_intern(r, epoch, slice_str("select $1"), 2, two);
    struct statement_def *empty = statement_intern(r, epoch, slice_str(""), 0, NULL);
    assert_ptr_equal(a, b);
    assert_int_equal(a->refs, 2);
    assert_ptr_not_equal(a, untyped);
    assert_ptr_not_equal(a, more);
    assert_int_not_equal(a->id, untyped->id);
    assert_true(slice_eq_str(a->sql, "select $1"));
    assert_int_equal(a->n_oids, 1);
    assert_int_equal(a->oids[0], 23);
    assert_int_equal(more->oids[1], 25);
    assert_int_equal(empty->sql.len, 0);
    char name[32];
    snprintf(name, sizeof(name), "pgunison_%llu", (unsigned long long)a->id);
    assert_string_equal(a->server_name, name);
    struct statement_def *defs[] = {a, b, untyped, more, empty};
    for (size_t i = 0; i < 5; i++)
        statement_unref(r, &defs[i]);
    statement_registry_destroy(&r);
    assert_null(r);
}

static void types_and_text_cannot_be_confused(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    const uint32_t as_text[] = {0x61616161};
    struct statement_def *a = statement_intern(r, epoch, slice_str("b"), 1, as_text);
    struct statement_def *b = statement_intern(r, epoch, slice_str("aaaab"), 0, NULL);
    assert_ptr_not_equal(a, b);
    statement_unref(r, &a);
    statement_unref(r, &b);
    statement_registry_destroy(&r);
}

static void ids_are_never_used_again(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct statement_def *a = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    uint64_t id = a->id;
    assert_int_not_equal(id, 0); /* 0 means unknown */
    statement_unref(r, &a);
    assert_null(a);
    epoch++;
    a = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    assert_int_not_equal(a->id, id);
    statement_unref(r, &a);
    statement_registry_destroy(&r);
}

static void what_was_asked_for_last_is_not_taken_for_something_else(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    const uint32_t int4[] = {23}, text[] = {25};
    char large[10000];
    struct statement_def *a = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    struct statement_def *typed = statement_intern(r, epoch, slice_str("select $1"), 1, text);
    struct statement_def *untyped = statement_intern(r, epoch, slice_str("select $1"), 0, NULL);
    assert_ptr_not_equal(a, typed);
    assert_ptr_not_equal(typed, untyped);
    statement_unref(r, &typed);
    statement_unref(r, &untyped);
    struct statement_def *again = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    assert_ptr_equal(again, a);
    epoch++; /* it stays, being held, but is not what the text means now */
    struct statement_def *renewed = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    assert_ptr_not_equal(renewed, a);
    statement_unref(r, &again);
    statement_unref(r, &a);
    uint64_t id = renewed->id;
    statement_unref(r, &renewed);
    renewed = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    assert_int_equal(renewed->id, id);
    epoch++;
    statement_unref(r, &renewed); /* the last one asked for is gone */
    renewed = statement_intern(r, epoch, slice_str("select $1"), 1, int4);
    assert_int_not_equal(renewed->id, id);
    statement_unref(r, &renewed);
    memset(large, 'x', sizeof(large)); /* not kept: gone at once, its memory used again */
    for (uint64_t before = 0, i = 0; i < 3; i++) {
        struct statement_def *d = statement_intern(r, epoch, slice_of(large, sizeof(large)), 0, NULL);
        assert_true(d->id > before);
        before = d->id;
        statement_unref(r, &d);
    }
    statement_registry_destroy(&r);
}

static void count_freed(void *extra)
{
    ++*(int *)extra;
}

static void what_nobody_holds_is_kept_for_a_while(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    int freed = 0;
    char text[32], large[10000];
    struct statement_def *a = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    uint64_t id = a->id;
    statement_set_extra(r, a, &freed, count_freed, 100);
    statement_unref(r, &a);
    a = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    assert_int_equal(a->id, id);
    assert_ptr_equal(a->extra, &freed);
    statement_unref(r, &a);
    for (int i = 0; i < 40000; i++) { /* too many since */
        snprintf(text, sizeof(text), "select %d", i + 2);
        struct statement_def *d = statement_intern(r, epoch, slice_str(text), 0, NULL);
        statement_unref(r, &d);
        assert_true(statement_registry_bytes(r) < 5 << 20);
    }
    assert_int_equal(freed, 1);
    memset(large, 'x', sizeof(large));
    a = statement_intern(r, epoch, slice_of(large, sizeof(large)), 0, NULL);
    statement_set_extra(r, a, &freed, count_freed, 100);
    statement_unref(r, &a); /* not worth it */
    assert_int_equal(freed, 2);
    a = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    statement_set_extra(r, a, &freed, count_freed, 100);
    statement_unref(r, &a);
    statement_registry_forget_idle(r);
    assert_int_equal(freed, 3);
    statement_registry_destroy(&r);
}

static size_t heap_used(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* A client's 100,000 statements: what the registry says is what the heap gave, and it all goes back. */
static void accounts_are_what_the_heap_gives(void **state)
{
    (void)state;
    enum { N = 100000 };
    if (heap_used() == 0)
        skip(); /* a sanitizer's heap, which does not say */
    struct statement_registry *r = statement_registry_create();
    struct statement_def **defs = calloc(N, sizeof *defs);
    size_t empty = statement_registry_bytes(r), before = heap_used();
    char text[1000];
    for (int i = 0; i < N; i++) {
        int len = snprintf(text, sizeof(text), "select %d from t /*%*s*/", i, i % 700, "");
        defs[i] = statement_intern(r, epoch, slice_of(text, (size_t)len), 0, NULL);
    }
    size_t taken = heap_used() - before, said = statement_registry_bytes(r) - empty;
    assert_in_range(said, taken * 97 / 100, taken * 103 / 100);
    assert_int_equal(statement_registry_count(r), N);
    for (int i = 0; i < N; i++)
        statement_unref(r, &defs[i]);
    statement_registry_forget_idle(r);
    assert_int_equal(statement_registry_bytes(r), empty);
    assert_true(heap_used() < before + 512 * 1024); /* the heap's own caches */
    free(defs);
    statement_registry_destroy(&r);
}

/* Of a long text that no client holds any more, a server that has it prepared keeps the name. */
static void servers_do_not_keep_texts(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct prepared_set *set = prepared_set_create(r, 10);
    size_t empty = statement_registry_bytes(r);
    char *large = calloc(1, 1000000);
    struct prepared_close evicted[2];
    memset(large, 'x', 1000000);
    struct statement_def *d = statement_intern(r, epoch, slice_of(large, 1000000), 0, NULL), *known = d;
    uint64_t id = d->id;
    prepared_set_add(set, d, evicted);
    assert_true(statement_registry_bytes(r) > empty + 1000000);
    statement_unref(r, &d);
    assert_true(statement_registry_bytes(r) < empty + 1000);
    assert_true(prepared_set_use(set, known));
    d = statement_intern(r, epoch, slice_of(large, 1000000), 0, NULL);
    assert_int_not_equal(d->id, id); /* prepared anew: nobody knows that it is the same */
    statement_unref(r, &d);
    prepared_set_remove(set, known);
    assert_int_equal(statement_registry_bytes(r), empty);
    prepared_set_destroy(&set);
    statement_registry_destroy(&r);
    free(large);
}

static void texts_in_a_blob_stay_there(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct buf message = {0};
    for (int i = 0; i < 1000000; i++)
        buf_u8(&message, 'y');
    struct slice sql = slice_of(buf_head(&message) + 100, 900000);
    struct blob *blob = blob_create(&message);
    struct statement_def *d = statement_intern(r, epoch, sql, 0, NULL);
    assert_ptr_equal(d->sql.data, sql.data);
    blob_unref(&blob); /* the definition has it */
    assert_int_equal(d->sql.data[899999], 'y');
    statement_unref(r, &d);
    assert_null(blob_of(sql.data, sql.len));
    statement_registry_destroy(&r);
}

/* What was derived goes where it was not used for the longest time, and can be derived again. */
static void derived_things_are_bounded(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct statement_def *d[3];
    int freed[3] = {0};
    const char *text[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        d[i] = statement_intern(r, epoch, slice_str(text[i]), 0, NULL);
        statement_set_extra(r, d[i], &freed[i], count_freed, 1000);
    }
    statement_registry_trim(r, 3000);
    assert_int_equal(freed[0] + freed[1] + freed[2], 0);
    for (int i = 0; i < 3; i++)
        d[i]->extra_used = i == 0;
    statement_registry_trim(r, 1000);
    assert_int_equal(freed[0], 0);
    assert_int_equal(freed[1] + freed[2], 2);
    assert_null(d[1]->extra);
    statement_set_extra(r, d[1], &freed[1], count_freed, 1000);
    statement_registry_trim(r, 0);
    assert_int_equal(freed[0] + freed[1] + freed[2], 4);
    for (int i = 0; i < 3; i++)
        statement_unref(r, &d[i]);
    statement_registry_destroy(&r);
}

static void least_recently_used_leaves(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct prepared_set *set = prepared_set_create(r, 2);
    struct statement_def *d[3];
    const char *text[] = {"a", "b", "c"};
    struct prepared_close evicted[2];
    for (int i = 0; i < 3; i++)
        d[i] = statement_intern(r, epoch, slice_str(text[i]), 0, NULL);
    assert_false(prepared_set_use(set, d[0]));
    prepared_set_add(set, d[0], evicted);
    assert_string_equal(evicted[0].name, "");
    prepared_set_add(set, d[1], evicted);
    assert_string_equal(evicted[0].name, "");
    assert_true(prepared_set_use(set, d[0]));
    prepared_set_add(set, d[2], evicted);
    assert_string_equal(evicted[0].name, d[1]->server_name);
    assert_int_equal(prepared_set_count(set), 2);
    assert_false(prepared_set_use(set, d[1]));
    assert_true(prepared_set_use(set, d[0]));
    assert_true(prepared_set_use(set, d[2]));
    prepared_set_add(set, d[2], evicted); /* again: nothing leaves */
    assert_string_equal(evicted[0].name, "");
    assert_int_equal(prepared_set_count(set), 2);
    prepared_set_remove(set, d[2]);
    prepared_set_remove(set, d[2]);
    assert_false(prepared_set_use(set, d[2]));
    assert_int_equal(prepared_set_count(set), 1);
    for (int i = 0; i < 3; i++)
        statement_unref(r, &d[i]);
    prepared_set_destroy(&set);
    statement_registry_destroy(&r);
}

/* What was to be closed, and was not, is closed in front of the next Parse of that name. */
static void a_close_that_was_skipped_is_sent_again(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct prepared_set *set = prepared_set_create(r, 1);
    struct statement_def *a = statement_intern(r, epoch, slice_str("a"), 0, NULL);
    struct statement_def *b = statement_intern(r, epoch, slice_str("b"), 0, NULL);
    struct prepared_close close[2];
    prepared_set_add(set, a, close);
    prepared_set_add(set, b, close); /* Close a, Parse b: both are skipped */
    assert_string_equal(close[0].name, a->server_name);
    assert_true(close[0].id == a->id && !close[1].name[0]);
    prepared_set_closed(set, a->id, false);
    prepared_set_remove(set, b);
    assert_false(prepared_set_use(set, a));
    assert_false(prepared_set_empty(set));
    assert_int_equal(prepared_set_count(set), 0);
    prepared_set_add(set, a, close); /* Close a, Parse a */
    assert_string_equal(close[0].name, a->server_name);
    assert_true(close[0].id == 0 && !close[1].name[0]);
    assert_true(prepared_set_use(set, a));
    prepared_set_add(set, b, close); /* Close a, Parse b; not answered yet: */
    prepared_set_add(set, a, close); /* Close a, Close b, Parse a */
    assert_string_equal(close[0].name, a->server_name);
    assert_string_equal(close[1].name, b->server_name);
    assert_true(close[0].id == 0 && close[1].id == b->id);
    prepared_set_closed(set, a->id, true);
    assert_true(prepared_set_use(set, a));
    prepared_set_closed(set, b->id, true);
    assert_int_equal(prepared_set_count(set), 1);
    prepared_set_remove(set, a); /* that Parse failed: there is none, or the one of before */
    assert_false(prepared_set_use(set, a) || prepared_set_empty(set));
    prepared_set_clear(set);
    prepared_set_closed(set, a->id, true);
    statement_unref(r, &a);
    statement_unref(r, &b);
    prepared_set_destroy(&set);
    statement_registry_destroy(&r);
}

/* All are prepared again before they are used, and no more than before are there. */
static void what_may_mean_something_else_is_prepared_again(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct prepared_set *set = prepared_set_create(r, 3);
    struct statement_def *d[4];
    struct prepared_close close[2];
    const char *text[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        d[i] = statement_intern(r, epoch, slice_str(text[i]), 0, NULL);
    for (int i = 0; i < 3; i++)
        prepared_set_add(set, d[i], close);
    prepared_set_stale(set);
    assert_int_equal(prepared_set_count(set), 0);
    assert_false(prepared_set_empty(set));
    for (int i = 0; i < 2; i++) {
        assert_false(prepared_set_use(set, d[i]));
        prepared_set_add(set, d[i], close);
        assert_string_equal(close[0].name, d[i]->server_name);
        assert_string_equal(close[1].name, "");
        assert_true(prepared_set_use(set, d[i]));
    }
    prepared_set_add(set, d[3], close);
    assert_string_equal(close[0].name, d[2]->server_name); /* the least recently used, whatever it means */
    prepared_set_closed(set, d[2]->id, true);
    assert_int_equal(prepared_set_count(set), 3);
    for (int i = 0; i < 4; i++)
        statement_unref(r, &d[i]);
    prepared_set_destroy(&set);
    statement_registry_destroy(&r);
}

static void a_server_keeps_what_it_has_prepared_known(void **state)
{
    (void)state;
    struct statement_registry *r = statement_registry_create();
    struct prepared_set *set = prepared_set_create(r, 0); /* never less than one */
    struct statement_def *d = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    uint64_t id = d->id;
    struct prepared_close evicted[2];
    prepared_set_add(set, d, evicted);
    assert_string_equal(evicted[0].name, "");
    statement_unref(r, &d);
    d = statement_intern(r, epoch, slice_str("select 1"), 0, NULL);
    assert_int_equal(d->id, id);
    assert_true(prepared_set_use(set, d));
    prepared_set_clear(set);
    assert_int_equal(prepared_set_count(set), 0);
    assert_int_equal(d->refs, 1);
    statement_unref(r, &d);
    prepared_set_destroy(&set);
    assert_null(set);
    statement_registry_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_and_types_share_one_definition),
        cmocka_unit_test(types_and_text_cannot_be_confused),
        cmocka_unit_test(ids_are_never_used_again),
        cmocka_unit_test(what_was_asked_for_last_is_not_taken_for_something_else),
        cmocka_unit_test(what_nobody_holds_is_kept_for_a_while),
        cmocka_unit_test(accounts_are_what_the_heap_gives),
        cmocka_unit_test(servers_do_not_keep_texts),
        cmocka_unit_test(texts_in_a_blob_stay_there),
        cmocka_unit_test(derived_things_are_bounded),
        cmocka_unit_test(least_recently_used_leaves),
        cmocka_unit_test(a_close_that_was_skipped_is_sent_again),
        cmocka_unit_test(what_may_mean_something_else_is_prepared_again),
        cmocka_unit_test(a_server_keeps_what_it_has_prepared_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
