/* exec/copy_merge.h */
#include "exec/copy_merge.h"
#include "wire/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEADER   "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
#define ROW_A    "\0\1\0\0\0\1a"
#define ROW_B    "\0\1\377\377\377\377"
#define END      "\377\377"
#define BYTES(s) slice_of(s, sizeof(s) - 1)

static struct frame make(struct buf *b, uint8_t type, struct slice body)
{
    struct frame f = {0};
    size_t need;
    buf_clear(b);
    size_t begun = message_begin(b, type);
    buf_slice_append(b, body);
    message_end(b, begun);
    assert_int_equal(frame_next(buf_slice(b), UINT32_MAX, &f, &need), FRAME_OK);
    return f;
}

struct fixture {
    struct copy_merge *m;
    struct buf out, scratch;
    struct error error;
};

static struct fixture start(uint8_t format, bool header, unsigned n)
{
    struct copy_spec spec = {.format = format, .header = header};
    struct fixture t = {.m = copy_merge_create(&spec, n)};
    struct slice text = BYTES("\0\0\1\0\0"), binary = BYTES("\1\0\1\0\1");
    for (unsigned i = 0; i < n; i++) {
        struct frame f = make(&t.scratch, MSG_COPY_OUT_RESPONSE, format == COPY_BINARY ? binary : text);
        assert_int_equal(copy_merge_response(t.m, i, &f, &t.out, &t.error), STATUS_OK);
    }
    return t;
}

static enum status data(struct fixture *t, unsigned source, struct slice body)
{
    struct frame f = make(&t->scratch, MSG_COPY_DATA, body);
    return copy_merge_data(t->m, source, &f, &t->out, &t->error);
}

static bool done(struct fixture *t, unsigned source)
{
    bool finished = false;
    if (copy_merge_done(t->m, source, &t->out, &finished, &t->error) != STATUS_OK)
        fail_msg("%s", t->error.message);
    return finished;
}

/* The CopyDatas in out joined by '|', framed by exactly one CopyOutResponse and one CopyDone. */
static void assert_result(struct fixture *t, struct slice wanted)
{
    struct buf got;
    buf_init(&got);
    int n_response = 0, n_done = 0, n_data = 0;
    while (buf_len(&t->out)) {
        struct frame f = {0};
        size_t need;
        assert_int_equal(frame_next(buf_slice(&t->out), UINT32_MAX, &f, &need), FRAME_OK);
        assert_int_equal(n_done, 0);
        n_response += f.type == MSG_COPY_OUT_RESPONSE;
        n_done += f.type == MSG_COPY_DONE;
        if (f.type == MSG_COPY_DATA) {
            assert_int_equal(n_response, 1);
            if (n_data++)
                buf_u8(&got, '|');
            buf_slice_append(&got, f.body);
        }
        buf_consume(&t->out, f.whole.len);
    }
    assert_int_equal(n_response, 1);
    assert_int_equal(n_done, 1);
    if (!slice_eq(buf_slice(&got), wanted))
        fail_msg("got %.*s", (int)buf_len(&got), (const char *)buf_head(&got));
    buf_free(&got);
}

static void stop(struct fixture *t)
{
    copy_merge_destroy(&t->m);
    buf_free(&t->out);
    buf_free(&t->scratch);
}

static void text_rows_are_concatenated(void **state)
{
    (void)state;
    struct fixture t = start(COPY_TEXT, false, 3);
    assert_int_equal(data(&t, 1, slice_str("1\n")), STATUS_OK);
    assert_int_equal(data(&t, 0, slice_str("2\n")), STATUS_OK);
    assert_false(done(&t, 1));
    assert_false(done(&t, 2));
    assert_int_equal(data(&t, 0, slice_str("3\n")), STATUS_OK);
    assert_true(done(&t, 0));
    assert_int_equal(copy_merge_rows(t.m), 3);
    assert_result(&t, slice_str("1\n|2\n|3\n"));
    stop(&t);
}

static void header_line_comes_once_and_first(void **state)
{
    (void)state;
    struct fixture t = start(COPY_CSV, true, 2);
    assert_int_equal(data(&t, 1, slice_str("id\n")), STATUS_OK);
    assert_int_equal(data(&t, 1, slice_str("1\n")), STATUS_OK);
    assert_int_equal(data(&t, 0, slice_str("id\n")), STATUS_OK);
    assert_int_equal(data(&t, 0, slice_str("id\n")), STATUS_OK); /* a row that looks like it */
    assert_false(done(&t, 0));
    assert_true(done(&t, 1));
    assert_int_equal(copy_merge_rows(t.m), 2);
    assert_result(&t, slice_str("id\n|1\n|id\n"));
    stop(&t);

    t = start(COPY_TEXT, true, 2);
    assert_int_equal(data(&t, 0, slice_str("id\n")), STATUS_OK);
    assert_int_equal(data(&t, 1, slice_str("id\n")), STATUS_OK);
    assert_false(done(&t, 1));
    assert_true(done(&t, 0));
    assert_result(&t, slice_str("id\n"));
    stop(&t);
}

static void binary_header_and_trailer_come_once(void **state)
{
    (void)state;
    struct fixture t = start(COPY_BINARY, false, 3);
    assert_int_equal(data(&t, 2, BYTES(HEADER END)), STATUS_OK); /* an empty shard */
    assert_false(done(&t, 2));
    assert_int_equal(data(&t, 0, BYTES(HEADER ROW_A)), STATUS_OK);
    assert_int_equal(data(&t, 1, BYTES(HEADER ROW_B)), STATUS_OK);
    assert_int_equal(data(&t, 1, BYTES(ROW_A ROW_A)), STATUS_OK);
    assert_int_equal(data(&t, 1, BYTES(ROW_B END)), STATUS_OK);
    assert_int_equal(data(&t, 0, BYTES(END)), STATUS_OK);
    assert_false(done(&t, 0));
    assert_true(done(&t, 1));
    assert_int_equal(copy_merge_rows(t.m), 5);
    assert_result(&t, BYTES(HEADER ROW_A "|" ROW_B "|" ROW_A ROW_A "|" ROW_B "|" END));
    stop(&t);

    t = start(COPY_BINARY, false, 2);
    assert_int_equal(data(&t, 0, BYTES(HEADER END)), STATUS_OK);
    assert_int_equal(data(&t, 1, BYTES(HEADER END)), STATUS_OK);
    assert_false(done(&t, 0));
    assert_true(done(&t, 1));
    assert_result(&t, BYTES(HEADER END));
    stop(&t);
}

static void streams_that_disagree_or_break_off_are_errors(void **state)
{
    (void)state;
    struct fixture t = start(COPY_TEXT, false, 2);
    bool finished;
    struct frame f = make(&t.scratch, MSG_COPY_OUT_RESPONSE, BYTES("\0\0\1\0\0"));
    assert_int_equal(copy_merge_response(t.m, 0, &f, &t.out, &t.error), STATUS_ERROR);
    assert_false(done(&t, 0));
    assert_int_equal(data(&t, 0, slice_str("1\n")), STATUS_ERROR);
    assert_int_equal(copy_merge_done(t.m, 0, &t.out, &finished, &t.error), STATUS_ERROR);
    stop(&t);

    struct copy_spec spec = {.format = COPY_TEXT};
    t.m = copy_merge_create(&spec, 2);
    f = make(&t.scratch, MSG_COPY_OUT_RESPONSE, BYTES("\0\0\1\0\0"));
    assert_int_equal(copy_merge_response(t.m, 0, &f, &t.out, &t.error), STATUS_OK);
    f = make(&t.scratch, MSG_COPY_OUT_RESPONSE, BYTES("\0\0\2\0\0\0\0"));
    assert_int_equal(copy_merge_response(t.m, 1, &f, &t.out, &t.error), STATUS_ERROR);
    assert_string_equal(t.error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    stop(&t);

    t = start(COPY_CSV, true, 2);
    assert_int_equal(data(&t, 0, slice_str("id\n")), STATUS_OK);
    assert_int_equal(data(&t, 1, slice_str("key\n")), STATUS_ERROR);
    stop(&t);

    t = start(COPY_BINARY, false, 1);
    assert_int_equal(data(&t, 0, BYTES("PGCOPX\n\377\r\n\0\0\0\0\0\0\0\0\0")), STATUS_ERROR);
    stop(&t);
    const struct slice bad[] = {BYTES(HEADER "\0\1\0\0\0\2a"), BYTES(HEADER END ROW_A), BYTES(HEADER "\0"),
                                BYTES("PGCOPY")};
    for (size_t i = 0; i < 4; i++) {
        t = start(COPY_BINARY, false, 1);
        assert_int_equal(data(&t, 0, bad[i]), STATUS_ERROR);
        stop(&t);
    }
    t = start(COPY_BINARY, false, 1);
    assert_int_equal(data(&t, 0, BYTES(HEADER ROW_A)), STATUS_OK);
    assert_int_equal(copy_merge_done(t.m, 0, &t.out, &finished, &t.error),
                     STATUS_ERROR); /* no trailer: cut off */
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_rows_are_concatenated),
        cmocka_unit_test(header_line_comes_once_and_first),
        cmocka_unit_test(binary_header_and_trailer_come_once),
        cmocka_unit_test(streams_that_disagree_or_break_off_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
