/* exec/copy_split.h. Every input is fed whole, byte by byte, and cut in two at every place. That a server
   reads the same rows: test/integration/test_exec_server.py. */
#include "exec/copy_split.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* What came out, as "all<bytes>" and "row<bytes>key<bytes or NULL>line<n>", joined. */
struct log {
    struct buf text;
    int refuse_row; /* the sink's error at this row; 0: none */
    int rows;
};

static enum status log_row(void *arg, const struct copy_row *row, struct error *error_r)
{
    struct log *log = arg;
    if (++log->rows == log->refuse_row)
        return error_set(error_r, "22003", "refused");
    buf_str(&log->text, "row<");
    buf_slice_append(&log->text, row->bytes);
    if (row->key.data) {
        buf_str(&log->text, ">key<");
        buf_slice_append(&log->text, row->key);
    }
    buf_printf(&log->text, row->key.data ? ">line %d " : "> NULL line %d ", (int)row->line);
    return STATUS_OK;
}

static void log_all(void *arg, struct slice bytes)
{
    struct log *log = arg;
    buf_str(&log->text, "all<");
    buf_slice_append(&log->text, bytes);
    buf_str(&log->text, "> ");
}

static enum status run(const struct copy_spec *spec, struct slice input, size_t first, size_t step,
                       size_t max_row, bool marker, struct log *log, struct error *error)
{
    struct copy_split_options o = {
        .spec = spec, .max_row_bytes = max_row, .csv_end_marker = marker, .sink = {log_row, log_all, log}};
    struct copy_split *s = copy_split_create(&o);
    enum status status = STATUS_OK;
    buf_clear(&log->text);
    log->rows = 0;
    for (size_t at = 0, n = first; at < input.len && status == STATUS_OK; at += n, n = step) {
        if (n > input.len - at)
            n = input.len - at;
        uint8_t *copy = malloc(n); /* so that a sanitizer sees reads beyond the chunk */
        memcpy(copy, input.data + at, n);
        status = copy_split_feed(s, slice_of(copy, n), error);
        free(copy);
    }
    if (status == STATUS_OK)
        status = copy_split_finish(s, error);
    copy_split_destroy(&s);
    return status;
}

/* wanted: the log, or an error message if it begins with '!'. */
static void check(const struct copy_spec *spec, struct slice input, bool marker, struct slice wanted)
{
    for (size_t first = 0; first <= input.len; first++) {
        struct log log = {0};
        struct error error = {0};
        size_t step = first == 0 ? 1 : input.len;
        enum status status = run(spec, input, first == 0 ? 1 : first, step, 10000, marker, &log, &error);
        if (wanted.data[0] == '!') {
            if (status == STATUS_OK)
                fail_msg("no error for %.*s", (int)input.len, (const char *)input.data);
            assert_string_equal(error.message, (const char *)wanted.data + 1);
            assert_string_equal(error.sqlstate, SQLSTATE_BAD_COPY_FORMAT);
            assert_non_null(strstr(error.detail, "COPY line "));
        } else {
            if (status != STATUS_OK)
                fail_msg("%s for %.*s", error.message, (int)input.len, (const char *)input.data);
            if (!slice_eq(buf_slice(&log.text), wanted))
                fail_msg("cut at %zu: got %.*s", first, (int)buf_len(&log.text),
                         (const char *)buf_head(&log.text));
        }
        buf_free(&log.text);
    }
}

static void check_str(const struct copy_spec *spec, const char *input, const char *wanted)
{
    check(spec, slice_str(input), true, slice_str(wanted));
}

static const struct copy_spec text = {.format = COPY_TEXT, .n_columns = 2, .key_column = 0};
static const struct copy_spec text_second = {.format = COPY_TEXT, .n_columns = 2, .key_column = 1};
static const struct copy_spec text_one = {.format = COPY_TEXT, .n_columns = 1};
static const struct copy_spec csv = {.format = COPY_CSV, .n_columns = 2, .key_column = 0};
static const struct copy_spec csv_one = {.format = COPY_CSV, .n_columns = 1};

static void text_rows_and_keys(void **state)
{
    (void)state;
    check_str(&text, "1\tone\n22\ttwo\n", "row<1\tone\n>key<1>line 1 row<22\ttwo\n>key<22>line 2 ");
    check_str(&text_second, "1\tone\n22\t\n", "row<1\tone\n>key<one>line 1 row<22\t\n>key<>line 2 ");
    check_str(&text, "", "");
    check_str(&text_one, "\n\n", "row<\n>key<>line 1 row<\n>key<>line 2 ");
    check_str(&text, "\\N\tx\nN\tx\n\\\\N\tx\n",
              "row<\\N\tx\n> NULL line 1 row<N\tx\n>key<N>line 2 row<\\\\N\tx\n>key<\\N>line 3 ");
    struct copy_spec custom = {.format = COPY_TEXT, .n_columns = 2, .delimiter = '|', .null_string = "nil"};
    check_str(&custom, "nil|\\N\n\\nil|a\n", "row<nil|\\N\n> NULL line 1 row<\\nil|a\n>key<\nil>line 2 ");
}

static void text_escapes_are_the_servers(void **state)
{
    (void)state;
    check_str(&text_one, "a\\tb\\n\\r\\b\\f\\v\\\\\\q\n",
              "row<a\\tb\\n\\r\\b\\f\\v\\\\\\q\n>key<a\tb\n\r\b\f\v\\q>line 1 ");
    check_str(&text_one, "\\x41\\x4\\x4g\\xg\\x041\n",
              "row<\\x41\\x4\\x4g\\xg\\x041\n>key<A\004\004gxg\0041>line 1 ");
    check_str(&text_one, "\\101\\18\\1018\\7771\n", "row<\\101\\18\\1018\\7771\n>key<A\0018A8\3771>line 1 ");
    check_str(&text, "a\\\tb\tc\n", "row<a\\\tb\tc\n>key<a\tb>line 1 "); /* an escaped delimiter */
    check_str(&text_one, "a\\\nb\nc\n",
              "row<a\\\nb\n>key<a\nb>line 1 row<c\n>key<c>line 2 "); /* an escaped end of line */
    check_str(&text_one, "a\\\rb\n", "row<a\\\rb\n>key<a\rb>line 1 ");
}

static void last_row_may_lack_its_end(void **state)
{
    (void)state;
    check_str(&text, "1\ta\n2\tb", "row<1\ta\n>key<1>line 1 row<2\tb\n>key<2>line 2 ");
    check_str(&text, "1\ta\r\n2\tb", "row<1\ta\r\n>key<1>line 1 row<2\tb\r\n>key<2>line 2 ");
    check_str(&text, "1\ta\r2\tb", "row<1\ta\r>key<1>line 1 row<2\tb\r>key<2>line 2 ");
    check_str(&text, "1\ta", "row<1\ta\n>key<1>line 1 ");
    check_str(&text, "1\ta\r", "row<1\ta\r>key<1>line 1 ");
    check_str(&text_one, "a\\", "row<a\n>key<a>line 1 ");
    check_str(&text_one, "\\", "row<\n>key<>line 1 ");
    check_str(&text_one, "\\N\\", "row<\\N\n> NULL line 1 ");
    check_str(&csv_one, "\\", "row<\\\n>key<\\>line 1 ");
    check_str(&csv_one, "a\r\n\"b\r\n\"", "row<a\r\n>key<a>line 1 row<\"b\r\n\"\r\n>key<b\r\n>line 3 ");
}

static void line_ends_must_all_be_of_one_kind(void **state)
{
    (void)state;
    check_str(&text_one, "a\rb\r", "row<a\r>key<a>line 1 row<b\r>key<b>line 2 ");
    check_str(&text_one, "a\r\nb\r\n", "row<a\r\n>key<a>line 1 row<b\r\n>key<b>line 2 ");
    check_str(&text_one, "a\nb\r\n", "!literal carriage return found in data");
    check_str(&text_one, "a\r\nb\n", "!literal newline found in data");
    check_str(&text_one, "a\r\nb\rc", "!literal carriage return found in data");
    check_str(&text_one, "a\r\nb\r", "!literal carriage return found in data");
    check_str(&text_one, "a\rb\nc", "!literal newline found in data");
    check_str(&csv_one, "a\nb\r\n", "!unquoted carriage return found in data");
    check_str(&csv_one, "a\rb\n", "!unquoted newline found in data");
}

static void end_marker_ends_text(void **state)
{
    (void)state;
    check_str(&text_one, "a\n\\.\nb\n\xff garbage", "row<a\n>key<a>line 1 ");
    check_str(&text_one, "\\.\r\nb\n", "");
    check_str(&text_one, "a\r\n\\.\r\n", "row<a\r\n>key<a>line 1 ");
    check_str(&text_one, "a\r\\.\rb", "row<a\r>key<a>line 1 ");
    check_str(&text_one, "a\n\\.x\n", "!end-of-copy marker corrupt");
    check_str(&text_one, "a\n\\.", "!end-of-copy marker corrupt");
    check_str(&text_one, "a\n\\.\r\n", "!end-of-copy marker does not match previous newline style");
    check_str(&text_one, "a\r\n\\.\n", "!end-of-copy marker does not match previous newline style");
    check_str(&text_one, "a\r\n\\.\r\r", "!end-of-copy marker does not match previous newline style");
    check_str(&text_one, "a\r\n\\.x", "!end-of-copy marker corrupt");
    check_str(&text_one, "a\r\\.\n", "!end-of-copy marker does not match previous newline style");
    check_str(&text_one, "ab\\.\n", "!end-of-copy marker is not alone on its line");
    check_str(&text_one, "a\\\\.\n", "row<a\\\\.\n>key<a\\.>line 1 ");
}

static void csv_quotes_hide_delimiters_and_line_ends(void **state)
{
    (void)state;
    check_str(&csv, "1,a\n\"2\",b\n", "row<1,a\n>key<1>line 1 row<\"2\",b\n>key<2>line 2 ");
    check_str(&csv, "\"a,b\",\"x\ny\"\nc,d\n",
              "row<\"a,b\",\"x\ny\"\n>key<a,b>line 1 row<c,d\n>key<c>line 2 ");
    check_str(&csv_one, "\"a\nb\"\nc\n\"d\ne\"\n",
              "row<\"a\nb\"\n>key<a\nb>line 1 row<c\n>key<c>line 2 row<\"d\ne\"\n>key<d\ne>line 4 ");
    check_str(&csv, "\"say \"\"hi\"\"\",b\n", "row<\"say \"\"hi\"\"\",b\n>key<say \"hi\">line 1 ");
    check_str(&csv, "a\"b,c\"d,e\n", "row<a\"b,c\"d,e\n>key<ab,cd>line 1 ");
    check_str(&csv_one, "\"a", "!unterminated CSV quoted field");
    check_str(&csv_one, "\"a\nb\n", "!unterminated CSV quoted field");
    struct copy_spec custom = {
        .format = COPY_CSV, .n_columns = 2, .delimiter = ';', .quote = '\'', .escape = '\\'};
    check_str(&custom, "'a\\'b;c\\\\';d\n", "row<'a\\'b;c\\\\';d\n>key<a'b;c\\>line 1 ");
    check_str(&custom, "'a\\x';d\n\\x;e\n", "row<'a\\x';d\n>key<a\\x>line 1 row<\\x;e\n>key<\\x>line 2 ");
    check_str(&custom, "'a\\\n\\'';d\n", "row<'a\\\n\\'';d\n>key<a\\\n'>line 1 ");
}

static void csv_null_is_unquoted(void **state)
{
    (void)state;
    check_str(&csv, ",a\n\"\",a\n", "row<,a\n> NULL line 1 row<\"\",a\n>key<>line 2 ");
    struct copy_spec s = csv;
    s.key_force_not_null = true;
    check_str(&s, ",a\n\"\",a\n", "row<,a\n>key<>line 1 row<\"\",a\n>key<>line 2 ");
    s = csv;
    s.key_force_null = true;
    check_str(&s, ",a\n\"\",a\n\"x\",a\n",
              "row<,a\n> NULL line 1 row<\"\",a\n> NULL line 2 row<\"x\",a\n>key<x>line 3 ");
    s.null_string = "NULL";
    check_str(&s, "NULL,a\n\"NULL\",a\n,a\n",
              "row<NULL,a\n> NULL line 1 row<\"NULL\",a\n> NULL line 2 row<,a\n>key<>line 3 ");
}

static void end_marker_ends_csv_only_on_a_line_of_its_own(void **state)
{
    (void)state;
    check_str(&csv_one, "a\n\\.\nb\n", "row<a\n>key<a>line 1 ");
    check_str(&csv_one, "a\r\n\\.\r\nb\r\n", "row<a\r\n>key<a>line 1 ");
    check_str(&csv_one, "\\.\r\n", "");
    check_str(&csv_one, "a\n\\.b\nc\\.\n",
              "row<a\n>key<a>line 1 row<\\.b\n>key<\\.b>line 2 row<c\\.\n>key<c\\.>line 3 ");
    check_str(&csv_one, "\\.\"x\ny\"\n", "row<\\.\"x\ny\"\n>key<\\.x\ny>line 1 ");
    check_str(&csv_one, "a\r\n\\.b\r\n", "row<a\r\n>key<a>line 1 row<\\.b\r\n>key<\\.b>line 2 ");
    check_str(&csv_one, "a\r\n\\.\rb\r\n", "!unquoted carriage return found in data");
    check_str(&csv_one, "a\r\n\\.\n", "!unquoted newline found in data");
    check_str(&csv_one, "a\n\\.\r", "!end-of-copy marker does not match previous newline style");
    check_str(&csv_one, "a\n\\.", "!end-of-copy marker corrupt");
    check_str(&csv_one, "\\a\n\\\n", "row<\\a\n>key<\\a>line 1 row<\\\n>key<\\>line 2 ");
    check(&csv_one, slice_str("a\n\\.\nb\n"), false,
          slice_str("row<a\n>key<a>line 1 row<\\.\n>key<\\.>line 2 row<b\n>key<b>line 3 "));
    check(&csv_one, slice_str("a\n\\."), false, slice_str("row<a\n>key<a>line 1 row<\\.\n>key<\\.>line 2 "));
}

static void header_line_goes_to_every_shard(void **state)
{
    (void)state;
    struct copy_spec s = csv;
    s.header = true;
    check_str(&s, "id,\"na\nme\"\n1,a\n", "all<id,\"na\nme\"\n> row<1,a\n>key<1>line 2 ");
    check_str(&s, "id", "all<id\n> ");
    check_str(&s, "id,\"x", "!unterminated CSV quoted field");
    check_str(&s, "", "");
    check_str(&s, "\\.\n", "");
    s.format = COPY_TEXT;
    check_str(&s, "id\tname\r\n1\ta\r\n", "all<id\tname\r\n> row<1\ta\r\n>key<1>line 2 ");
}

static void fields_are_counted(void **state)
{
    (void)state;
    check_str(&text, "1\ta\n2\n", "!missing data for column 2 of 2");
    check_str(&text_second, "1\ta\tb\n", "!extra data after last expected column");
    check_str(&text, "\n", "!missing data for column 2 of 2");
    check_str(&csv, "1\n", "!missing data for column 2 of 2");
    check_str(&csv, "1,2,\n", "!extra data after last expected column");
}

static void replicated_rows_have_no_key(void **state)
{
    (void)state;
    struct copy_spec s = csv;
    s.replicate = true;
    check_str(&s, "1,2,3\n\"a\nb\"\n", "row<1,2,3\n> NULL line 1 row<\"a\nb\"\n> NULL line 3 ");
}

#define HEADER   "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\3ext"
#define BYTES(s) slice_of(s, sizeof(s) - 1)

static void binary_tuples(void **state)
{
    (void)state;
    struct copy_spec s = {.format = COPY_BINARY, .n_columns = 2, .key_column = 1};
#define ROW1 "\0\2\0\0\0\1x\0\0\0\3key"
#define ROW2 "\0\2\0\0\0\0\377\377\377\377"
#define ROW3 "\0\2\377\377\377\377\0\0\0\0"
#define WANTED                                                                                               \
    "all<" HEADER "> row<" ROW1 ">key<key>line 1 row<" ROW2 "> NULL line 2 row<" ROW3                        \
    ">key<>line 3 all<\377\377> "
    check(&s, BYTES(HEADER ROW1 ROW2 ROW3 "\377\377"), true, BYTES(WANTED));
    check(&s, BYTES(HEADER ROW1 ROW2 ROW3), true, BYTES(WANTED)); /* the trailer may be missing */
    check(&s, BYTES(HEADER "\377\377"), true, BYTES("all<" HEADER "> all<\377\377> "));
    check(&s, BYTES(HEADER ROW1 "\377\377x"), true, slice_str("!received copy data after EOF marker"));
    check(&s, BYTES(HEADER ROW1 "\0"), true, slice_str("!unexpected EOF in COPY data"));
    check(&s, BYTES(HEADER "\0\2\0\0\0\1x\0\0\0\3ke"), true, slice_str("!unexpected EOF in COPY data"));
    check(&s, BYTES(HEADER "\0\3\0\0\0\1x"), true, slice_str("!row field count is 3, expected 2"));
    check(&s, BYTES(HEADER "\377\376\0\0\0\1x"), true, slice_str("!row field count is -2, expected 2"));
    check(&s, BYTES(HEADER "\0\2\377\377\377\376x"), true, slice_str("!invalid field size"));
    check(&s, BYTES("PGCOPY\n\377\r\r\0\0\0\0\0\0\0\0\0\0"), true,
          slice_str("!COPY file signature not recognized"));
    check(&s, BYTES("PGC"), true, slice_str("!COPY file signature not recognized"));
    check(&s, BYTES(""), true, slice_str("!COPY file signature not recognized"));
    check(&s, BYTES("PGCOPY\n\377\r\n\0\0\1\0\0\0\0\0\0\0"), true,
          slice_str("!invalid COPY file header (WITH OIDS)"));
    check(&s, BYTES("PGCOPY\n\377\r\n\0\0\2\0\0\0\0\0\0\0"), true,
          slice_str("!unrecognized critical flags in COPY file header"));
    check(&s, BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\377\0\0\0\0"), true,
          slice_str("!invalid COPY file header (missing length)"));
}

static void long_rows_are_refused(void **state)
{
    (void)state;
    struct log log = {0};
    struct error error = {0};
    char long_line[600];
    memset(long_line, 'x', sizeof(long_line));
    for (size_t step = 1; step < 600; step += 37) {
        assert_int_equal(run(&text_one, slice_of(long_line, 600), step, step, 500, true, &log, &error),
                         STATUS_ERROR);
        assert_string_equal(error.sqlstate, SQLSTATE_PROGRAM_LIMIT);
    }
    long_line[499] = '\n';
    assert_int_equal(run(&text_one, slice_of(long_line, 500), 10, 10, 500, true, &log, &error), STATUS_OK);
    struct copy_spec s = {.format = COPY_BINARY, .n_columns = 1};
    struct slice huge = BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\177\377\377\377x");
    assert_int_equal(run(&s, huge, 100, 100, 500, true, &log, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_PROGRAM_LIMIT);
    buf_free(&log.text);
}

static void errors_of_the_sink_come_through_with_the_line(void **state)
{
    (void)state;
    struct log log = {.refuse_row = 2};
    struct error error = {0};
    assert_int_equal(run(&text_one, slice_str("a\nb\nc\n"), 100, 100, 500, true, &log, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, "22003");
    assert_string_equal(error.detail, "COPY line 2.");
    buf_free(&log.text);
}

/* Whoever goes on all the same gets an error each time. */
static void what_comes_behind_the_end_is_refused(void **state)
{
    (void)state;
    for (int end = 0; end < 2; end++) {
        struct log log = {.refuse_row = end == 0 ? 1 : 0};
        struct error error = {0};
        struct copy_split_options o = {.spec = &text_one,
                                       .max_row_bytes = 500,
                                       .csv_end_marker = true,
                                       .sink = {log_row, log_all, &log}};
        struct copy_split *s = copy_split_create(&o);
        enum status status = copy_split_feed(s, slice_str("a\n"), &error);
        if (end == 1)
            status = copy_split_finish(s, &error);
        assert_int_equal(status, end == 0 ? STATUS_ERROR : STATUS_OK);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(copy_split_feed(s, slice_str("b\n"), &error), STATUS_ERROR);
            assert_string_equal(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
            assert_int_equal(copy_split_finish(s, &error), STATUS_ERROR);
            assert_string_equal(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
        }
        assert_int_equal(log.rows, 1);
        copy_split_destroy(&s);
        buf_free(&log.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_rows_and_keys),
        cmocka_unit_test(text_escapes_are_the_servers),
        cmocka_unit_test(last_row_may_lack_its_end),
        cmocka_unit_test(line_ends_must_all_be_of_one_kind),
        cmocka_unit_test(end_marker_ends_text),
        cmocka_unit_test(csv_quotes_hide_delimiters_and_line_ends),
        cmocka_unit_test(csv_null_is_unquoted),
        cmocka_unit_test(end_marker_ends_csv_only_on_a_line_of_its_own),
        cmocka_unit_test(header_line_goes_to_every_shard),
        cmocka_unit_test(fields_are_counted),
        cmocka_unit_test(replicated_rows_have_no_key),
        cmocka_unit_test(binary_tuples),
        cmocka_unit_test(long_rows_are_refused),
        cmocka_unit_test(errors_of_the_sink_come_through_with_the_line),
        cmocka_unit_test(what_comes_behind_the_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
