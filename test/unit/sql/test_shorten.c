/* sql/shorten.h */
#include "sql/shorten.h"

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void append_long(struct buf *b, const char *open, const char *close)
{
    buf_str(b, open);
    for (int i = 0; i < 20000; i++)
        buf_str(b, "ab''c;--");
    buf_str(b, close);
}

static void only_long_literals_are_changed(void **state)
{
    (void)state;
    struct buf sql;
    struct template t;
    struct error e;
    struct shortened s;
    buf_init(&sql);
    template_init(&t);
    buf_str(&sql, "insert  into t /* x */ values (1, 'short', ");
    append_long(&sql, "'", "'");
    buf_str(&sql, ", ");
    append_long(&sql, "E'\\n", "'");
    buf_str(&sql, ", ");
    append_long(&sql, "$tag$", "$tag$");
    buf_str(&sql, ", ");
    append_long(&sql, "U&'", "'");
    buf_str(&sql, ", 2) returning \"Id\"");
    assert_int_equal(template_lex(&t, buf_slice(&sql), &e), STATUS_OK);
    assert_int_equal(t.n_literals, 7);
    assert_true(shorten_begin(&s, &t));
    assert_true(slice_eq(buf_slice(&s.t.text), buf_slice(&t.text)));
    assert_int_equal(s.t.n_literals, 7);
    assert_true(buf_len(&s.text) < buf_len(&sql) / 3);
    const bool changed[] = {false, false, true, true, true, false, false};
    for (uint32_t i = 0; i < 7; i++) {
        const struct literal *old = &t.literals[i], *new = &s.t.literals[i];
        assert_int_equal(shorten_changed(&s, i), changed[i]);
        assert_int_equal(old->kind, new->kind);
        assert_int_equal(old->template_at, new->template_at);
        assert_int_equal(slice_eq(slice_of(t.statement.data + old->at, old->len),
                                  slice_of(s.t.statement.data + new->at, new->len)),
                         !changed[i]);
    }
    shorten_end(&s);
    template_free(&t);
    buf_free(&sql);
}

static void what_is_short_stays(void **state)
{
    (void)state;
    struct template t;
    struct error e;
    struct shortened s;
    template_init(&t);
    assert_int_equal(template_lex(&t, slice_str("select 'a', $$b$$"), &e), STATUS_OK);
    assert_false(shorten_begin(&s, &t));
    template_free(&t);
}

/* A long statement's memory goes back, and the template can be used again. */
static void templates_shrink(void **state)
{
    (void)state;
    struct template t;
    struct error e;
    struct buf sql;
    template_init(&t);
    buf_init(&sql);
    for (int round = 0; round < 3; round++) {
        buf_clear(&sql);
        buf_str(&sql, "select a");
        for (int i = 0; i < 100000; i++)
            buf_str(&sql, round == 1 ? ", bcd" : ", 1");
        assert_int_equal(template_lex(&t, buf_slice(&sql), &e), STATUS_OK);
        assert_int_equal(t.n_literals, round == 1 ? 0 : 100000);
        assert_true(template_bytes(&t) > 200000);
        template_shrink(&t);
        assert_true(template_bytes(&t) <= 2 * heap_bytes(64 * 1024));
        assert_int_equal(template_lex(&t, slice_str("select 1, 'x'"), &e), STATUS_OK);
        assert_int_equal(t.n_literals, 2);
    }
    buf_free(&sql);
    template_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_long_literals_are_changed),
        cmocka_unit_test(what_is_short_stays),
        cmocka_unit_test(templates_shrink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
