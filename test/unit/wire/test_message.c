/* wire/message.h: what builders write, and that readers take it, and nothing that is cut or too long */
#include "wire/datum.h"
#include "wire/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- helpers ---------------------------------------------------------------------------------- */

static struct frame frame_of(const struct buf *b)
{
    struct frame f = {0};
    size_t need;
    assert_int_equal(frame_next(buf_slice(b), INT32_MAX, &f, &need), FRAME_OK);
    assert_int_equal(f.whole.len, buf_len(b));
    return f;
}

#define assert_bytes(b, lit)                                                                                 \
    do {                                                                                                     \
        assert_int_equal(buf_len(b), sizeof(lit) - 1);                                                       \
        assert_memory_equal(buf_head(b), lit, sizeof(lit) - 1);                                              \
    } while (0)

/* A reader of any message, its results thrown away. */
typedef enum status reader_fn(const struct frame *f, struct error *e);

static enum status read_query(const struct frame *f, struct error *e)
{
    struct slice sql;
    return message_read_query(f, &sql, e);
}
static enum status read_parse(const struct frame *f, struct error *e)
{
    struct msg_parse m;
    return message_read_parse(f, &m, e);
}
static enum status read_bind(const struct frame *f, struct error *e)
{
    struct msg_bind m;
    return message_read_bind(f, &m, e);
}
static enum status read_target(const struct frame *f, struct error *e)
{
    struct msg_target m;
    return message_read_target(f, &m, e);
}
static enum status read_execute(const struct frame *f, struct error *e)
{
    struct msg_execute m;
    return message_read_execute(f, &m, e);
}
static enum status read_error(const struct frame *f, struct error *e)
{
    struct error got;
    return message_read_error(f, &got, e);
}
static enum status read_tag(const struct frame *f, struct error *e)
{
    const char *tag;
    int64_t rows;
    return message_read_tag(f, &tag, &rows, e);
}
static enum status read_ready(const struct frame *f, struct error *e)
{
    char c;
    return message_read_ready(f, &c, e);
}
static enum status read_parameter_status(const struct frame *f, struct error *e)
{
    const char *name, *value;
    return message_read_parameter_status(f, &name, &value, e);
}
static enum status read_row_description(const struct frame *f, struct error *e)
{
    struct msg_column columns[8];
    uint16_t n;
    return message_read_row_description(f, columns, 8, &n, e);
}
static enum status read_data_row(const struct frame *f, struct error *e)
{
    struct slice values[8];
    uint16_t n;
    return message_read_data_row(f, values, 8, &n, e);
}
static enum status read_parameter_description(const struct frame *f, struct error *e)
{
    uint32_t oids[8];
    uint16_t n;
    return message_read_parameter_description(f, oids, 8, &n, e);
}

/* The message is taken whole, and refused when cut anywhere or with a byte too many. Copies are of exact
   size, for sanitizers. */
static void assert_strict(const struct buf *b, reader_fn *read)
{
    struct frame whole = frame_of(b);
    struct error e;
    assert_int_equal(read(&whole, &e), STATUS_OK);
    for (size_t n = 0; n <= whole.body.len + 1; n++) {
        if (n == whole.body.len)
            continue;
        uint8_t *copy = malloc(n ? n : 1);
        memset(copy, 0, n);
        memcpy(copy, whole.body.data, n < whole.body.len ? n : whole.body.len);
        struct frame f = {.type = whole.type, .body = slice_of(copy, n), .whole = slice_of(copy, n)};
        e = (struct error){.sqlstate = ""};
        assert_int_equal(read(&f, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, "08P01");
        free(copy);
    }
    struct frame null_body = {.type = whole.type, .body = slice_of(NULL, 0)};
    assert_int_equal(read(&null_body, &e), STATUS_ERROR);
}

static struct frame raw(struct buf *b, uint8_t type, const void *body, size_t len)
{
    buf_clear(b);
    size_t begun = message_begin(b, type);
    buf_append(b, body, len);
    message_end(b, begun);
    return frame_of(b);
}
#define RAW(b, type, lit) raw((b), (type), (lit), sizeof(lit) - 1)

/* --- backend messages, built ------------------------------------------------------------------ */

static void small_backend_messages(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    message_ready(&b, 'T');
    assert_bytes(&b, "Z\0\0\0\5T");
    buf_clear(&b);
    message_command_complete(&b, "SELECT 3");
    assert_bytes(&b, "C\0\0\0\15SELECT 3\0");
    buf_clear(&b);
    message_parameter_status(&b, "a", "bc");
    assert_bytes(&b, "S\0\0\0\11a\0bc\0");
    buf_clear(&b);
    message_backend_key(&b, 1, 0xfffffffe);
    assert_bytes(&b, "K\0\0\0\14\0\0\0\1\xff\xff\xff\xfe");
    buf_clear(&b);
    message_empty(&b, MSG_PARSE_COMPLETE);
    message_empty(&b, MSG_BIND_COMPLETE); /* messages follow each other in one buffer */
    assert_bytes(&b, "1\0\0\0\4"
                     "2\0\0\0\4");
    buf_consume(&b, 5);
    message_ready(&b, 'I'); /* after the read end has moved */
    assert_bytes(&b, "2\0\0\0\4Z\0\0\0\5I");
    buf_free(&b);
}

static void error_carries_its_fields(void **state)
{
    (void)state;
    struct error e, got, unused;
    struct buf b;
    buf_init(&b);
    error_set(&e, "0A000", "no");
    message_error(&b, &e, false);
    assert_bytes(&b, "E\0\0\0\36SERROR\0VERROR\0C0A000\0Mno\0\0");
    assert_strict(&b, read_error);

    buf_clear(&b);
    error_detail(&e, "why");
    error_hint(&e, "what to do");
    message_error(&b, &e, true);
    struct frame f = frame_of(&b);
    assert_memory_equal(f.body.data, "SFATAL\0VFATAL\0", 14);
    assert_int_equal(message_read_error(&f, &got, &unused), STATUS_OK);
    assert_string_equal(got.sqlstate, "0A000");
    assert_string_equal(got.message, "no");
    assert_string_equal(got.detail, "why");
    assert_string_equal(got.hint, "what to do");

    buf_clear(&b);
    message_notice(&b, "WARNING", &e);
    f = frame_of(&b);
    assert_int_equal(f.type, 'N');
    assert_memory_equal(f.body.data, "SWARNING\0VWARNING\0", 18);
    buf_free(&b);
}

static void long_error_is_cut_between_characters(void **state)
{
    (void)state;
    struct buf b, body;
    struct error got, unused;
    buf_init(&b);
    buf_init(&body);
    for (int lead = 0; lead < 3; lead++) {
        buf_clear(&body);
        buf_append(&body, "SERROR\0C22012\0M", 15);
        for (int i = 0; i < lead; i++)
            buf_str(&body, "x");
        for (int i = 0; i < 200; i++)
            buf_str(&body, "\u20ac"); /* three bytes */
        buf_append(&body, "\0", 2);
        struct frame f = raw(&b, 'E', buf_head(&body), buf_len(&body));
        assert_int_equal(message_read_error(&f, &got, &unused), STATUS_OK);
        assert_int_equal((strlen(got.message) - lead) % 3, 0);
        assert_true(strlen(got.message) > sizeof(got.message) - 4);
    }
    buf_free(&b);
    buf_free(&body);
}

static void error_without_a_sqlstate_is_refused(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    buf_init(&b);
    struct frame f = RAW(&b, 'E', "SERROR\0Mno\0\0");
    assert_int_equal(read_error(&f, &e), STATUS_ERROR);
    f = RAW(&b, 'E', "SERROR\0C1234\0Mno\0\0");
    assert_int_equal(read_error(&f, &e), STATUS_ERROR);
    buf_free(&b);
}

static void context_is_added_to_an_error(void **state)
{
    (void)state;
    struct buf in, out;
    buf_init(&in);
    buf_init(&out);
    struct frame f = RAW(&in, 'E', "SERROR\0C22012\0Mno\0\0");
    message_error_with_context(&out, &f, "shard s1");
    struct frame g = frame_of(&out);
    assert_int_equal(g.type, 'E');
    static const char added[] = "SERROR\0C22012\0Mno\0Wshard s1\0";
    assert_int_equal(g.body.len, sizeof(added));
    assert_memory_equal(g.body.data, added, sizeof(added));

    buf_clear(&out);
    f = RAW(&in, 'N', "C22012\0Wline 1\0Mno\0\0");
    message_error_with_context(&out, &f, "shard s1");
    g = frame_of(&out);
    static const char appended[] = "C22012\0Wline 1\nshard s1\0Mno\0";
    assert_int_equal(g.type, 'N');
    assert_int_equal(g.body.len, sizeof(appended));
    assert_memory_equal(g.body.data, appended, sizeof(appended));

    /* What is not well-formed goes through as it is. */
    buf_clear(&out);
    f = RAW(&in, 'E', "SERROR\0Mno");
    message_error_with_context(&out, &f, "shard s1");
    assert_int_equal(buf_len(&out), f.whole.len);
    assert_memory_equal(buf_head(&out), f.whole.data, f.whole.len);
    buf_free(&in);
    buf_free(&out);
}

static void row_description_makes_the_round_trip(void **state)
{
    (void)state;
    const char *const names[] = {"a", "", "long name"};
    const uint32_t oids[] = {OID_INT4, OID_TEXT, OID_UUID};
    const int16_t formats[] = {1, 0, 0};
    struct msg_column c[8];
    struct error e;
    struct buf b, again;
    uint16_t n;
    buf_init(&b);
    buf_init(&again);
    message_row_description(&b, 3, names, oids, formats);
    assert_strict(&b, read_row_description);
    struct frame f = frame_of(&b);
    assert_int_equal(message_read_row_description(&f, c, 8, &n, &e), STATUS_OK);
    assert_int_equal(n, 3);
    assert_string_equal(c[0].name, "a");
    assert_int_equal(c[0].type_oid, OID_INT4);
    assert_int_equal(c[0].type_len, 4);
    assert_int_equal(c[0].typmod, -1);
    assert_int_equal(c[0].format, 1);
    assert_int_equal(c[1].type_len, -1);
    assert_string_equal(c[2].name, "long name");
    assert_int_equal(c[2].type_len, 16);
    message_row_description_columns(&again, n, c);
    assert_int_equal(buf_len(&again), buf_len(&b));
    assert_memory_equal(buf_head(&again), buf_head(&b), buf_len(&b));

    assert_int_equal(message_read_row_description(&f, c, 2, &n, &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, "54000");

    buf_clear(&b);
    message_row_description(&b, 1, names, NULL, NULL);
    assert_bytes(&b, "T\0\0\0\32\0\1a\0\0\0\0\0\0\0\0\0\0\31\xff\xff\xff\xff\xff\xff\0\0");
    buf_free(&b);
    buf_free(&again);
}

static void data_row_makes_the_round_trip(void **state)
{
    (void)state;
    const char *const values[] = {"x", NULL, ""};
    struct slice got[8];
    struct error e;
    struct buf b, again;
    uint16_t n;
    buf_init(&b);
    buf_init(&again);
    message_data_row(&b, 3, values);
    assert_bytes(&b, "D\0\0\0\23\0\3\0\0\0\1x\xff\xff\xff\xff\0\0\0\0");
    assert_strict(&b, read_data_row);
    struct frame f = frame_of(&b);
    assert_int_equal(message_read_data_row(&f, got, 8, &n, &e), STATUS_OK);
    assert_int_equal(n, 3);
    assert_true(slice_eq_str(got[0], "x"));
    assert_null(got[1].data);
    assert_non_null(got[2].data);
    assert_int_equal(got[2].len, 0);
    message_data_row_slices(&again, 3, got);
    assert_memory_equal(buf_head(&again), buf_head(&b), buf_len(&b));
    assert_int_equal(message_read_data_row(&f, got, 2, &n, &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, "54000");

    /* Lengths that are negative, or reach beyond the message. */
    f = RAW(&b, 'D', "\0\1\xff\xff\xff\xfe");
    assert_int_equal(read_data_row(&f, &e), STATUS_ERROR);
    f = RAW(&b, 'D', "\0\1\x7f\xff\xff\xffx");
    assert_int_equal(read_data_row(&f, &e), STATUS_ERROR);
    f = RAW(&b, 'D', "\0\0");
    assert_int_equal(read_data_row(&f, &e), STATUS_OK);
    buf_free(&b);
    buf_free(&again);
}

static void tags_give_their_counts(void **state)
{
    (void)state;
    static const struct {
        const char *tag;
        int64_t rows;
    } tags[] = {{"INSERT 0 5", 5},
                {"SELECT 0", 0},
                {"UPDATE 12", 12},
                {"CREATE TABLE", -1},
                {"BEGIN", -1},
                {"", -1},
                {"PREPARE TRANSACTION", -1},
                {"COPY ", -1},
                {"MOVE 1x", -1},
                {"SELECT 9223372036854775807", INT64_MAX}};
    struct buf b;
    struct error e;
    buf_init(&b);
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        const char *tag;
        int64_t rows;
        buf_clear(&b);
        message_command_complete(&b, tags[i].tag);
        struct frame f = frame_of(&b);
        assert_int_equal(message_read_tag(&f, &tag, &rows, &e), STATUS_OK);
        assert_string_equal(tag, tags[i].tag);
        assert_true(rows == tags[i].rows);
    }
    assert_strict(&b, read_tag);
    struct frame f = RAW(&b, 'C', "SELECT 9223372036854775808\0");
    assert_int_equal(read_tag(&f, &e), STATUS_ERROR);
    buf_free(&b);
}

static void ready_parameter_status_and_description(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    char c;
    const char *name, *value;
    uint32_t oids[2];
    uint16_t n;
    buf_init(&b);
    message_ready(&b, 'E');
    struct frame f = frame_of(&b);
    assert_int_equal(message_read_ready(&f, &c, &e), STATUS_OK);
    assert_int_equal(c, 'E');
    assert_strict(&b, read_ready);
    f = RAW(&b, 'Z', "X");
    assert_int_equal(message_read_ready(&f, &c, &e), STATUS_ERROR);

    buf_clear(&b);
    message_parameter_status(&b, "DateStyle", "ISO, MDY");
    f = frame_of(&b);
    assert_int_equal(message_read_parameter_status(&f, &name, &value, &e), STATUS_OK);
    assert_string_equal(name, "DateStyle");
    assert_string_equal(value, "ISO, MDY");
    assert_strict(&b, read_parameter_status);

    f = RAW(&b, 't', "\0\2\0\0\0\27\0\0\1\0");
    assert_int_equal(message_read_parameter_description(&f, oids, 2, &n, &e), STATUS_OK);
    assert_int_equal(n, 2);
    assert_int_equal(oids[0], 23);
    assert_int_equal(oids[1], 256);
    assert_strict(&b, read_parameter_description);
    assert_int_equal(message_read_parameter_description(&f, oids, 1, &n, &e), STATUS_ERROR);
    buf_free(&b);
}

/* --- frontend messages ------------------------------------------------------------------------ */

static void query_makes_the_round_trip(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    struct slice sql;
    buf_init(&b);
    message_query(&b, slice_str("SELECT 1"));
    struct frame f = frame_of(&b);
    assert_int_equal(message_read_query(&f, &sql, &e), STATUS_OK);
    assert_true(slice_eq_str(sql, "SELECT 1"));
    assert_strict(&b, read_query);
    /* The server would run what comes before the first NUL: the proxy must not route by more than that. */
    f = RAW(&b, 'Q', "SELECT 1\0; DROP TABLE t\0");
    assert_int_equal(message_read_query(&f, &sql, &e), STATUS_ERROR);
    f = RAW(&b, 'Q', "\0");
    assert_int_equal(message_read_query(&f, &sql, &e), STATUS_OK);
    assert_int_equal(sql.len, 0);
    buf_free(&b);
}

static void parse_makes_the_round_trip(void **state)
{
    (void)state;
    const uint32_t oids[] = {23, 0};
    struct buf b;
    struct error e;
    struct msg_parse m;
    buf_init(&b);
    message_parse(&b, "st", slice_str("SELECT $1"), 2, oids);
    assert_bytes(&b, "P\0\0\0\33st\0SELECT $1\0\0\2\0\0\0\27\0\0\0\0");
    struct frame f = frame_of(&b);
    assert_int_equal(message_read_parse(&f, &m, &e), STATUS_OK);
    assert_string_equal(m.name, "st");
    assert_true(slice_eq_str(m.sql, "SELECT $1"));
    assert_int_equal(m.n_oids, 2);
    assert_int_equal(load_u32(m.oids), 23);
    assert_strict(&b, read_parse);
    buf_free(&b);
}

static void describe_close_and_execute(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    struct msg_target t;
    struct msg_execute x;
    buf_init(&b);
    message_describe(&b, 'S', "st");
    assert_bytes(&b, "D\0\0\0\10Sst\0");
    struct frame f = frame_of(&b);
    assert_int_equal(message_read_target(&f, &t, &e), STATUS_OK);
    assert_int_equal(t.kind, 'S');
    assert_string_equal(t.name, "st");
    assert_strict(&b, read_target);
    buf_clear(&b);
    message_close(&b, 'P', "");
    assert_strict(&b, read_target);
    f = RAW(&b, 'C', "Xst\0");
    assert_int_equal(message_read_target(&f, &t, &e), STATUS_ERROR);
    assert_string_equal(e.message, "invalid CLOSE message subtype 88");

    buf_clear(&b);
    message_execute(&b, "p", 7);
    assert_strict(&b, read_execute);
    f = frame_of(&b);
    assert_int_equal(message_read_execute(&f, &x, &e), STATUS_OK);
    assert_string_equal(x.portal, "p");
    assert_int_equal(x.max_rows, 7);
    f = RAW(&b, 'E', "\0\xff\xff\xff\xff");
    assert_int_equal(message_read_execute(&f, &x, &e), STATUS_OK);
    assert_int_equal(x.max_rows, 0); /* a negative number is "all" to the server */

    buf_clear(&b);
    message_copy_fail(&b, "stop");
    assert_bytes(&b, "f\0\0\0\11stop\0");
    buf_free(&b);
}

static void bind_gives_its_parameters(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    struct msg_bind m;
    struct slice v;
    int16_t format;
    buf_init(&b);
    struct frame f = RAW(&b, 'B',
                         "po\0st\0"
                         "\0\3\0\0\0\1\0\1"
                         "\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"
                         "\0\2\0\1\0\0");
    assert_strict(&b, read_bind);
    assert_int_equal(message_read_bind(&f, &m, &e), STATUS_OK);
    assert_string_equal(m.portal, "po");
    assert_string_equal(m.statement, "st");
    assert_int_equal(m.n_params, 3);
    assert_int_equal(m.params_and_rest.len, f.body.len - 6);
    assert_ptr_equal(m.params_and_rest.data, f.body.data + 6);
    msg_bind_param(&m, 0, &v, &format);
    assert_true(slice_eq_str(v, "ab"));
    assert_int_equal(format, 0);
    msg_bind_param(&m, 1, &v, &format);
    assert_null(v.data);
    assert_int_equal(format, 1);
    msg_bind_param(&m, 2, &v, &format);
    assert_non_null(v.data);
    assert_int_equal(v.len, 0);
    assert_int_equal(format, 1);
    assert_int_equal(msg_bind_result_format(&m, 0), 1);
    assert_int_equal(msg_bind_result_format(&m, 1), 0);
    assert_int_equal(msg_bind_result_format(&m, 9), 0);
    buf_free(&b);
}

static void bind_formats_none_and_one(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    struct msg_bind m;
    struct slice v;
    int16_t format;
    buf_init(&b);
    struct frame f = RAW(&b, 'B', "\0\0\0\0\0\2\0\0\0\1a\0\0\0\1b\0\0");
    assert_int_equal(message_read_bind(&f, &m, &e), STATUS_OK);
    msg_bind_param(&m, 1, &v, &format);
    assert_true(slice_eq_str(v, "b"));
    assert_int_equal(format, 0);
    assert_int_equal(msg_bind_result_format(&m, 3), 0);
    f = RAW(&b, 'B', "\0\0\0\1\0\1\0\2\0\0\0\1a\0\0\0\1b\0\1\0\1");
    assert_int_equal(message_read_bind(&f, &m, &e), STATUS_OK);
    msg_bind_param(&m, 1, &v, &format);
    assert_int_equal(format, 1);
    assert_int_equal(msg_bind_result_format(&m, 3), 1);
    buf_free(&b);
}

static void bind_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    buf_init(&b);
    /* two formats, one parameter */
    struct frame f = RAW(&b, 'B', "\0\0\0\2\0\0\0\0\0\1\0\0\0\1a\0\0");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    assert_string_equal(e.message, "bind message has 2 parameter formats but 1 parameters");
    /* a format that does not exist */
    f = RAW(&b, 'B', "\0\0\0\1\0\2\0\1\0\0\0\1a\0\0");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    assert_string_equal(e.message, "unsupported format code: 2");
    f = RAW(&b, 'B', "\0\0\0\0\0\0\0\1\xff\xff");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    assert_string_equal(e.message, "unsupported format code: -1");
    /* a parameter's length that is negative, or reaches beyond the message */
    f = RAW(&b, 'B', "\0\0\0\0\0\1\xff\xff\xff\xfe\0\0");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    f = RAW(&b, 'B', "\0\0\0\0\0\1\0\0\0\3\0\0");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    /* counts that announce more than there is */
    f = RAW(&b, 'B', "\0\0\0\0\xff\xff\0\0");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    f = RAW(&b, 'B', "\0\0\xff\xff\0\0\0\0");
    assert_int_equal(read_bind(&f, &e), STATUS_ERROR);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_backend_messages),
        cmocka_unit_test(error_carries_its_fields),
        cmocka_unit_test(long_error_is_cut_between_characters),
        cmocka_unit_test(error_without_a_sqlstate_is_refused),
        cmocka_unit_test(context_is_added_to_an_error),
        cmocka_unit_test(row_description_makes_the_round_trip),
        cmocka_unit_test(data_row_makes_the_round_trip),
        cmocka_unit_test(tags_give_their_counts),
        cmocka_unit_test(ready_parameter_status_and_description),
        cmocka_unit_test(query_makes_the_round_trip),
        cmocka_unit_test(parse_makes_the_round_trip),
        cmocka_unit_test(describe_close_and_execute),
        cmocka_unit_test(bind_gives_its_parameters),
        cmocka_unit_test(bind_formats_none_and_one),
        cmocka_unit_test(bind_that_contradicts_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
