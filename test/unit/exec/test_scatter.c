/* What several shards say becomes one answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exec/scatter.h"
#include "wire/message.h"

#include <stdio.h>

static struct scatter *start(struct plan *p, enum plan_kind kind, unsigned n, bool describe)
{
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->verb = VERB_QUERY;
    struct scatter_options o = {
        .plan = p, .n_sources = n, .limit = -1, .describe = describe, .describer = -1};
    return scatter_create(&o);
}

static void feed(struct scatter *s, unsigned source, struct buf *message, struct buf *out)
{
    struct frame f = {0};
    size_t need;
    bool pause;
    struct error e;
    assert_int_equal(frame_next(buf_slice(message), UINT32_MAX, &f, &need), FRAME_OK);
    assert_int_equal(scatter_frame(s, source, &f, out, &pause, &e), STATUS_OK);
    buf_clear(message);
}

static void feed_tag(struct scatter *s, unsigned source, const char *tag, struct buf *out)
{
    struct buf b;
    buf_init(&b);
    message_command_complete(&b, tag);
    feed(s, source, &b, out);
    buf_free(&b);
}

static void feed_row(struct scatter *s, unsigned source, const char *value, struct buf *out)
{
    struct buf b;
    buf_init(&b);
    message_data_row(&b, 1, &value);
    feed(s, source, &b, out);
    buf_free(&b);
}

static void feed_columns(struct scatter *s, unsigned source, struct buf *out)
{
    const char *name = "id";
    struct buf b;
    buf_init(&b);
    message_row_description(&b, 1, &name, NULL, NULL);
    feed(s, source, &b, out);
    buf_free(&b);
}

static void assert_tag(struct scatter *s, const char *expected)
{
    struct buf b;
    struct frame f = {0};
    size_t need;
    const char *tag;
    int64_t rows;
    struct error e;
    buf_init(&b);
    scatter_complete(s, &b);
    assert_int_equal(frame_next(buf_slice(&b), UINT32_MAX, &f, &need), FRAME_OK);
    assert_int_equal(message_read_tag(&f, &tag, &rows, &e), STATUS_OK);
    assert_string_equal(tag, expected);
    buf_free(&b);
}

static bool drained(struct scatter *s, struct buf *out)
{
    struct shard_set resume;
    bool done, full;
    struct error e;
    assert_int_equal(scatter_drain(s, out, 1 << 20, &resume, &done, &full, &e), STATUS_OK);
    return done;
}

/* The types of the messages in b, in order. */
static void assert_types(struct buf *b, const char *expected)
{
    char types[64];
    size_t n = 0, need;
    struct frame f = {0};
    while (n < sizeof types - 1 && frame_next(buf_slice(b), UINT32_MAX, &f, &need) == FRAME_OK) {
        types[n++] = (char)f.type;
        buf_consume(b, f.whole.len);
    }
    types[n] = 0;
    assert_string_equal(types, expected);
}

static void counts_of_a_broadcast_write_are_added(void **state)
{
    struct plan p;
    struct buf out;
    (void)state;
    buf_init(&out);
    struct scatter *s = start(&p, PLAN_BROADCAST, 3, true);
    feed_tag(s, 0, "UPDATE 2", &out);
    assert_false(drained(s, &out));
    feed_tag(s, 2, "UPDATE 0", &out);
    feed_tag(s, 1, "UPDATE 5", &out);
    assert_true(drained(s, &out));
    assert_int_equal(buf_len(&out), 0);
    assert_tag(s, "UPDATE 7");
    scatter_destroy(&s);
    buf_free(&out);
}

static void an_insert_keeps_its_zero_oid(void **state)
{
    struct plan p;
    struct buf out;
    (void)state;
    buf_init(&out);
    struct scatter *s = start(&p, PLAN_SPLIT, 2, true);
    feed_tag(s, 0, "INSERT 0 10", &out);
    feed_tag(s, 1, "INSERT 0 1", &out);
    assert_tag(s, "INSERT 0 11");
    scatter_destroy(&s);
    buf_free(&out);
}

static void where_every_shard_does_the_same_one_speaks(void **state)
{
    struct plan p;
    struct buf out;
    (void)state;
    buf_init(&out);
    struct scatter *s = start(&p, PLAN_BROADCAST, 2, true);
    p.tag_of_one = true;
    feed_columns(s, 1, &out);
    feed_row(s, 1, "7", &out);
    feed_tag(s, 1, "UPDATE 1", &out);
    feed_columns(s, 0, &out);
    feed_row(s, 0, "7", &out);
    feed_tag(s, 0, "UPDATE 1", &out);
    assert_true(drained(s, &out));
    assert_types(&out, "TD");
    assert_tag(s, "UPDATE 1");
    scatter_destroy(&s);
    buf_free(&out);
}

static void a_tag_without_a_count_stays_as_it_is(void **state)
{
    struct plan p;
    struct buf out;
    (void)state;
    buf_init(&out);
    struct scatter *s = start(&p, PLAN_BROADCAST, 2, true);
    p.tag_of_one = true;
    feed_tag(s, 1, "CREATE TABLE", &out);
    feed_tag(s, 0, "CREATE TABLE", &out);
    assert_tag(s, "CREATE TABLE");
    scatter_destroy(&s);
    buf_free(&out);
}

static void rows_of_returning_are_concatenated_under_one_description(void **state)
{
    struct plan p;
    struct buf out;
    (void)state;
    buf_init(&out);
    struct scatter *s = start(&p, PLAN_BROADCAST, 2, true);
    feed_columns(s, 0, &out);
    feed_columns(s, 1, &out);
    feed_row(s, 0, "1", &out);
    feed_row(s, 1, "2", &out);
    feed_tag(s, 0, "DELETE 1", &out);
    feed_tag(s, 1, "DELETE 1", &out);
    assert_true(drained(s, &out));
    assert_types(&out, "TDD");
    assert_tag(s, "DELETE 2");
    scatter_destroy(&s);
    buf_free(&out);
}

static void without_describe_rows_come_alone(void **state)
{
    struct plan p;
    struct buf out;
    (void)state;
    buf_init(&out);
    struct scatter *s = start(&p, PLAN_SCATTER, 2, false);
    feed_columns(s, 0, &out);
    feed_columns(s, 1, &out);
    feed_row(s, 1, "2", &out);
    feed_tag(s, 0, "SELECT 0", &out);
    feed_tag(s, 1, "SELECT 1", &out);
    assert_true(drained(s, &out));
    assert_types(&out, "D");
    assert_tag(s, "SELECT 1");
    scatter_destroy(&s);
    buf_free(&out);
}

static void a_lost_row_is_an_error(void **state)
{
    struct plan p;
    struct buf out, b;
    struct frame f = {0};
    size_t need;
    bool pause;
    struct error e;
    (void)state;
    buf_init(&out);
    buf_init(&b);
    struct scatter *s = start(&p, PLAN_SCATTER, 1, true);
    feed_columns(s, 0, &out);
    feed_row(s, 0, "1", &out);
    message_command_complete(&b, "SELECT 2");
    assert_int_equal(frame_next(buf_slice(&b), UINT32_MAX, &f, &need), FRAME_OK);
    assert_int_equal(scatter_frame(s, 0, &f, &out, &pause, &e), STATUS_ERROR);
    scatter_destroy(&s);
    buf_free(&out);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_a_broadcast_write_are_added),
        cmocka_unit_test(an_insert_keeps_its_zero_oid),
        cmocka_unit_test(where_every_shard_does_the_same_one_speaks),
        cmocka_unit_test(a_tag_without_a_count_stays_as_it_is),
        cmocka_unit_test(rows_of_returning_are_concatenated_under_one_description),
        cmocka_unit_test(without_describe_rows_come_alone),
        cmocka_unit_test(a_lost_row_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
