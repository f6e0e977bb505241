/* exec/merge.h. What the order should be comes from a sort here; test/integration/test_exec_server.py asks a
 * server. */
#include "exec/merge.h"
#include "wire/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_COLUMNS = 4 };

static const struct datum_style iso = {.iso = true};

static struct frame frame_of(const struct buf *b)
{
    struct frame f = {0};
    size_t need;
    assert_int_equal(frame_next(buf_slice(b), UINT32_MAX, &f, &need), FRAME_OK);
    return f;
}

static enum status try_describe(struct merge *m, unsigned source, int n, const uint32_t *oids,
                                const int16_t *formats, struct buf *out, struct error *error)
{
    const char *names[MAX_COLUMNS] = {"a", "b", "c", "d"};
    struct buf b;
    buf_init(&b);
    message_row_description(&b, n, names, oids, formats);
    struct frame f = frame_of(&b);
    enum status status = merge_row_description(m, source, &f, out, error);
    buf_free(&b);
    return status;
}

static void describe_as(struct merge *m, unsigned source, int n, const uint32_t *oids, struct buf *out)
{
    struct error error;
    if (try_describe(m, source, n, oids, NULL, out, &error) != STATUS_OK)
        fail_msg("%s", error.message);
}

static enum merge_flow feed(struct merge *m, unsigned source, int n, const char *const *values)
{
    struct buf b;
    struct error error;
    enum merge_flow flow;
    buf_init(&b);
    message_data_row(&b, n, values);
    struct frame f = frame_of(&b);
    if (merge_row(m, source, &f, &flow, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    buf_free(&b);
    return flow;
}

static enum merge_flow feed1(struct merge *m, unsigned source, const char *value)
{
    return feed(m, source, 1, &value);
}

static void end(struct merge *m, unsigned source)
{
    struct error error;
    assert_int_equal(merge_end(m, source, -1, &error), STATUS_OK);
}

static enum merge_progress drain(struct merge *m, struct buf *out)
{
    struct shard_set resume;
    struct error error;
    enum merge_progress p = merge_drain(m, out, SIZE_MAX, &resume, &error);
    if (p == MERGE_FAILED)
        fail_msg("%s", error.message);
    return p;
}

/* "1,a;2,NULL;" of the DataRows in out, which is emptied; other messages are dropped. */
static const char *rows(struct buf *out)
{
    static char text[4096];
    size_t at = 0;
    text[0] = '\0';
    while (buf_len(out)) {
        struct frame f = frame_of(out);
        struct slice values[MAX_COLUMNS];
        uint16_t n;
        struct error error;
        if (f.type == MSG_DATA_ROW) {
            assert_int_equal(message_read_data_row(&f, values, MAX_COLUMNS, &n, &error), STATUS_OK);
            for (int i = 0; i < n; i++)
                at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s", i ? "," : "",
                                       values[i].data ? (int)values[i].len : 4,
                                       values[i].data ? (const char *)values[i].data : "NULL");
            at += (size_t)snprintf(text + at, sizeof(text) - at, ";");
        }
        buf_consume(out, f.whole.len);
    }
    return text;
}

static struct merge *create(const struct merge_spec *spec, unsigned n, int64_t limit, int64_t offset)
{
    struct merge_options o = {
        .spec = spec, .n_sources = n, .limit = limit, .offset = offset, .style = iso, .describer = -1};
    return merge_create(&o);
}

static const uint32_t int4_1[] = {OID_INT4};
static struct merge_sort_key by_first = {.column = 0};
static const struct merge_spec unsorted;
static const struct merge_spec sorted = {.sort = &by_first, .n_sort = 1};

static void unsorted_rows_go_out_as_they_come(void **state)
{
    (void)state;
    struct merge *m = create(&unsorted, 3, -1, 0);
    struct buf out;
    buf_init(&out);
    describe_as(m, 1, 1, int4_1, &out);
    describe_as(m, 0, 1, int4_1, &out);
    feed1(m, 1, "5");
    assert_int_equal(drain(m, &out), MERGE_STARVED);
    struct frame f = frame_of(&out);
    assert_int_equal(f.type, MSG_ROW_DESCRIPTION);
    assert_string_equal(rows(&out), "5;");
    end(m, 1);
    end(m, 2);
    feed1(m, 0, "7");
    feed1(m, 0, NULL);
    end(m, 0);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), "7;NULL;");
    assert_int_equal(merge_rows_emitted(m), 3);
    merge_destroy(&m);
    assert_null(m);
    buf_free(&out);
}

static void sorted_row_waits_for_every_live_source(void **state)
{
    (void)state;
    struct merge *m = create(&sorted, 3, -1, 0);
    struct buf out;
    buf_init(&out);
    for (unsigned i = 0; i < 3; i++)
        describe_as(m, i, 1, int4_1, &out);
    feed1(m, 0, "10");
    feed1(m, 1, "9");
    assert_int_equal(drain(m, &out), MERGE_STARVED);
    assert_string_equal(rows(&out), "");
    feed1(m, 2, "8");
    assert_int_equal(drain(m, &out), MERGE_STARVED);
    assert_string_equal(rows(&out), "8;");
    end(m, 2);
    assert_int_equal(drain(m, &out), MERGE_STARVED);
    assert_string_equal(rows(&out), "9;");
    end(m, 1);
    end(m, 0);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), "10;");
    merge_destroy(&m);
    buf_free(&out);
}

static void keys_nulls_and_directions(void **state)
{
    (void)state;
    struct merge_sort_key keys[] = {{.column = 1, .descending = true, .nulls_first = false},
                                    {.column = 0, .nulls_first = true}};
    struct merge_spec spec = {.sort = keys, .n_sort = 2};
    const uint32_t oids[] = {OID_INT4, OID_NUMERIC};
    const char *shard0[][2] = {{NULL, "10"}, {"2", "10"}, {"1", "9.5"}, {"7", NULL}};
    const char *shard1[][2] = {{NULL, "11"}, {"1", "10.0"}, {"3", "10"}, {NULL, NULL}, {"8", NULL}};
    struct merge *m = create(&spec, 2, -1, 0);
    struct buf out;
    buf_init(&out);
    describe_as(m, 0, 2, oids, &out);
    describe_as(m, 1, 2, oids, &out);
    for (size_t i = 0; i < 4; i++)
        feed(m, 0, 2, shard0[i]);
    for (size_t i = 0; i < 5; i++)
        feed(m, 1, 2, shard1[i]);
    end(m, 0);
    end(m, 1);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), "NULL,11;NULL,10;1,10.0;2,10;3,10;1,9.5;NULL,NULL;7,NULL;8,NULL;");
    merge_destroy(&m);
    buf_free(&out);
}

static void ties_keep_the_order_of_sources(void **state)
{
    (void)state;
    const uint32_t oids[] = {OID_INT4, OID_TEXT};
    struct merge *m = create(&sorted, 3, -1, 0);
    struct buf out;
    buf_init(&out);
    for (unsigned i = 0; i < 3; i++)
        describe_as(m, i, 2, oids, &out);
    for (unsigned i = 3; i-- > 0;) {
        char tag[2] = {(char)('a' + i), 0};
        const char *row[] = {"1", tag};
        feed(m, i, 2, row);
        feed(m, i, 2, row);
        end(m, i);
    }
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), "1,a;1,a;1,b;1,b;1,c;1,c;");
    merge_destroy(&m);
    buf_free(&out);
}

static int compare_ints(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

/* Random rows on 1 .. 256 sources, fed in random order, drained at random moments. */
static void random_streams_come_out_sorted(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 60; round++) {
        unsigned n = round % 3 == 0 ? 256 : 1 + (unsigned)rand() % 20;
        enum { TOTAL = 600 };
        int *values[256] = {0}, counts[256] = {0}, at[256] = {0}, all[TOTAL];
        for (unsigned i = 0; i < n; i++)
            values[i] = malloc(TOTAL * sizeof(int));
        for (int i = 0; i < TOTAL; i++) {
            unsigned s = (unsigned)rand() % n;
            all[i] = values[s][counts[s]++] = rand() % 300 - 150;
        }
        qsort(all, TOTAL, sizeof(int), compare_ints);
        int64_t limit = round % 4 ? -1 : rand() % (TOTAL + 100), offset = round % 5 ? 0 : rand() % TOTAL;
        struct merge *m = create(&sorted, n, limit, offset);
        struct buf out;
        buf_init(&out);
        unsigned ended = 0;
        int64_t next = offset;
        enum merge_progress p = MERGE_STARVED;
        for (unsigned i = 0; i < n; i++) {
            qsort(values[i], (size_t)counts[i], sizeof(int), compare_ints);
            describe_as(m, i, 1, int4_1, &out);
        }
        while (p != MERGE_DONE) {
            unsigned s = (unsigned)rand() % n;
            char text[16];
            if (at[s] < counts[s]) {
                snprintf(text, sizeof(text), "%d", values[s][at[s]++]);
                feed1(m, s, text);
            } else if (at[s] == counts[s]) {
                end(m, s);
                at[s]++;
                ended++;
            }
            if (rand() % 4 && ended < n)
                continue;
            p = drain(m, &out);
            for (char *token = strtok((char *)(uintptr_t)rows(&out), ";"); token; token = strtok(NULL, ";"))
                assert_int_equal(atoi(token), all[next++]);
        }
        int64_t wanted = TOTAL - offset;
        if (limit >= 0 && limit < wanted)
            wanted = limit;
        assert_int_equal(merge_rows_emitted(m), wanted);
        assert_int_equal(next - offset, wanted);
        merge_destroy(&m);
        buf_free(&out);
        for (unsigned i = 0; i < n; i++)
            free(values[i]);
    }
}

static void limit_ends_the_merge_and_drops_what_comes_after(void **state)
{
    (void)state;
    struct merge *m = create(&sorted, 2, 2, 1);
    struct buf out;
    buf_init(&out);
    describe_as(m, 0, 1, int4_1, &out);
    describe_as(m, 1, 1, int4_1, &out);
    feed1(m, 0, "1");
    feed1(m, 0, "3");
    feed1(m, 0, "5");
    feed1(m, 1, "2");
    feed1(m, 1, "4");
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), "2;3;");
    assert_int_equal(merge_queued_bytes(m), 0);
    assert_int_equal(feed1(m, 1, "6"), MERGE_READ_ON);
    assert_int_equal(merge_queued_bytes(m), 0);
    end(m, 0);
    struct error error;
    assert_int_equal(merge_end(m, 1, 3, &error), STATUS_OK);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), "");
    merge_destroy(&m);

    m = create(&unsorted, 1, 0, 0);
    assert_int_equal(drain(m, &out), MERGE_STARVED); /* the description first */
    describe_as(m, 0, 1, int4_1, &out);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    merge_destroy(&m);
    buf_free(&out);
}

static void hidden_columns_are_stripped(void **state)
{
    (void)state;
    struct merge_sort_key key = {.column = 2, .descending = true, .nulls_first = true};
    struct merge_spec spec = {.sort = &key, .n_sort = 1, .n_hidden = 2};
    const uint32_t oids[] = {OID_TEXT, OID_INT4, OID_INT4};
    const char *row0[] = {"x", "1", "1"}, *row1[] = {NULL, NULL, "2"}, *row2[] = {"", "3", NULL};
    struct merge *m = create(&spec, 3, -1, 0);
    struct buf out;
    struct error error;
    struct msg_column columns[4];
    uint16_t n;
    buf_init(&out);
    describe_as(m, 0, 3, oids, &out);
    struct frame f = frame_of(&out);
    assert_int_equal(message_read_row_description(&f, columns, 4, &n, &error), STATUS_OK);
    assert_int_equal(n, 1);
    assert_string_equal(columns[0].name, "a");
    buf_clear(&out);
    describe_as(m, 1, 3, oids, &out);
    describe_as(m, 2, 3, oids, &out);
    assert_int_equal(buf_len(&out), 0);
    feed(m, 0, 3, row0);
    feed(m, 1, 3, row1);
    feed(m, 2, 3, row2);
    for (unsigned i = 0; i < 3; i++)
        end(m, i);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), ";NULL;x;");
    merge_destroy(&m);

    struct merge_spec all_hidden = {.sort = &by_first, .n_sort = 1, .n_hidden = 1};
    m = create(&all_hidden, 1, -1, 0);
    describe_as(m, 0, 1, int4_1, &out);
    feed1(m, 0, "1");
    end(m, 0);
    assert_int_equal(drain(m, &out), MERGE_DONE);
    assert_string_equal(rows(&out), ";");
    merge_destroy(&m);
    buf_free(&out);
}

static void binary_rows_are_merged(void **state)
{
    (void)state;
    const int16_t formats[] = {1};
    const uint8_t minus_one[] = {0xff, 0xff, 0xff, 0xff}, two[] = {0, 0, 0, 2};
    struct merge *m = create(&sorted, 2, -1, 0);
    struct buf out, b;
    struct error error;
    enum merge_flow flow;
    buf_init(&out);
    buf_init(&b);
    assert_int_equal(try_describe(m, 0, 1, int4_1, formats, &out, &error), STATUS_OK);
    buf_clear(&out);
    struct slice v = slice_of(two, 4);
    message_data_row_slices(&b, 1, &v);
    struct frame f = frame_of(&b);
    assert_int_equal(merge_row(m, 0, &f, &flow, &error), STATUS_OK);
    buf_clear(&b);
    v = slice_of(minus_one, 4);
    message_data_row_slices(&b, 1, &v);
    f = frame_of(&b);
    assert_int_equal(merge_row(m, 1, &f, &flow, &error), STATUS_OK);
    assert_int_equal(drain(m, &out), MERGE_STARVED);
    assert_int_equal(buf_len(&out), f.whole.len);
    assert_memory_equal(buf_head(&out), f.whole.data, f.whole.len);
    merge_destroy(&m);
    buf_free(&out);
    buf_free(&b);
}

static void source_ahead_is_paused_and_resumed(void **state)
{
    (void)state;
    struct merge_options o = {
        .spec = &sorted, .n_sources = 2, .limit = -1, .style = iso, .describer = -1, .queue_bytes = 200};
    struct merge *m = merge_create(&o);
    struct buf out;
    struct shard_set resume;
    struct error error;
    buf_init(&out);
    describe_as(m, 0, 1, int4_1, &out);
    describe_as(m, 1, 1, int4_1, &out);
    buf_clear(&out);
    int fed = 0;
    while (feed1(m, 0, "1") == MERGE_READ_ON)
        fed++;
    assert_in_range(fed, 1, 50);
    assert_true(merge_queued_bytes(m) >= 200 && merge_queued_bytes(m) < 250);
    assert_int_equal(merge_drain(m, &out, SIZE_MAX, &resume, &error), MERGE_STARVED);
    assert_int_equal(shard_set_count(&resume), 0);
    feed1(m, 1, "2");
    assert_int_equal(merge_drain(m, &out, 40, &resume, &error), MERGE_FULL);
    assert_in_range(buf_len(&out), 40, 60);
    assert_int_equal(shard_set_count(&resume), 0);
    buf_clear(&out);
    assert_int_equal(merge_drain(m, &out, SIZE_MAX, &resume, &error), MERGE_STARVED);
    assert_true(shard_set_has(&resume, 0));
    assert_false(shard_set_has(&resume, 1));
    merge_destroy(&m);
    buf_free(&out);
}

static enum status describe_status(const struct merge_spec *spec, uint32_t oid, bool transcoded,
                                   struct error *error)
{
    struct merge_options o = {
        .spec = spec, .n_sources = 2, .limit = -1, .style = iso, .describer = -1, .transcoded = transcoded};
    struct merge *m = merge_create(&o);
    struct buf out;
    buf_init(&out);
    enum status status = try_describe(m, 0, 1, &oid, NULL, &out, error);
    merge_destroy(&m);
    buf_free(&out);
    return status;
}

static void what_cannot_be_ordered_is_refused(void **state)
{
    (void)state;
    struct error error = {0};
    struct merge_sort_key c_key = {.column = 0, .c_collated = true}, beyond = {.column = 1};
    struct merge_spec counted = {.n_columns = 2}, c_sorted = {.sort = &c_key, .n_sort = 1},
                      bad = {.sort = &beyond, .n_sort = 1}, hidden = {.n_hidden = 2};
    assert_int_equal(describe_status(&sorted, OID_TEXT, false, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_non_null(strstr(error.hint, "COLLATE"));
    assert_int_equal(describe_status(&c_sorted, OID_TEXT, false, &error), STATUS_OK);
    assert_int_equal(describe_status(&c_sorted, OID_TEXT, true, &error), STATUS_ERROR);
    assert_non_null(strstr(error.hint, "client_encoding"));
    assert_int_equal(describe_status(&sorted, OID_INT4, true, &error), STATUS_OK);
    assert_int_equal(describe_status(&sorted, 3802 /* jsonb */, false, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_int_equal(describe_status(&unsorted, 3802, false, &error), STATUS_OK);
    assert_int_equal(describe_status(&bad, OID_INT4, false, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_INTERNAL);
    assert_int_equal(describe_status(&counted, OID_INT4, false, &error), STATUS_ERROR);
    assert_string_equal(error.message, "cached plan must not change result type");
    assert_int_equal(describe_status(&hidden, OID_INT4, false, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_INTERNAL);
}

static enum status second_description(uint32_t first_oid, uint32_t second_oid, int n_second)
{
    const char *names[] = {"a", "b"};
    const uint32_t oids[] = {second_oid, OID_INT4};
    struct merge *m = create(&unsorted, 2, -1, 0);
    struct buf b, out;
    struct error error;
    buf_init(&b);
    buf_init(&out);
    describe_as(m, 0, 1, &first_oid, &out);
    message_row_description(&b, n_second, names, oids, NULL);
    struct frame f = frame_of(&b);
    enum status status = merge_row_description(m, 1, &f, &out, &error);
    merge_destroy(&m);
    buf_free(&b);
    buf_free(&out);
    return status;
}

static void shards_must_agree_on_types(void **state)
{
    (void)state;
    assert_int_equal(second_description(OID_INT4, OID_INT4, 1), STATUS_OK);
    assert_int_equal(second_description(OID_INT4, OID_INT8, 1), STATUS_ERROR);
    assert_int_equal(second_description(OID_INT4, OID_INT4, 2), STATUS_ERROR);
    assert_int_equal(second_description(16500, 16600, 1),
                     STATUS_OK); /* an enum has another OID on each shard */
    assert_int_equal(second_description(16500, OID_INT4, 1), STATUS_ERROR);
}

static void client_gets_the_home_shards_description(void **state)
{
    (void)state;
    struct msg_column column = {.name = "id",
                                .table_oid = 16400,
                                .column_no = 1,
                                .type_oid = OID_INT4,
                                .type_len = 4,
                                .typmod = -1},
                      got;
    struct buf b, out;
    struct error error;
    uint16_t n;
    buf_init(&b);
    buf_init(&out);
    for (int describer = -1; describer <= 1; describer++) {
        struct merge_options o = {
            .spec = &unsorted, .n_sources = 2, .limit = -1, .style = iso, .describer = describer};
        struct merge *m = merge_create(&o);
        for (unsigned i = 0; i < 2; i++) {
            column.table_oid = 16400 + i;
            buf_clear(&b);
            message_row_description_columns(&b, 1, &column);
            struct frame f = frame_of(&b);
            assert_int_equal(merge_row_description(m, i, &f, &out, &error), STATUS_OK);
            if (i == 0) {
                feed1(m, 0, "1");
                assert_int_equal(drain(m, &out), MERGE_STARVED);
                assert_int_equal(buf_len(&out) == 0, describer == 1); /* no row before its description */
            }
        }
        struct frame f = frame_of(&out);
        assert_int_equal(message_read_row_description(&f, &got, 1, &n, &error), STATUS_OK);
        assert_int_equal(got.table_oid, describer < 0 ? 0 : 16400 + describer);
        assert_int_equal(got.column_no, describer < 0 ? 0 : 1);
        assert_string_equal(got.name, "id");
        drain(m, &out);
        assert_string_equal(rows(&out), "1;");
        merge_destroy(&m);
    }
    buf_free(&b);
    buf_free(&out);
}

static void lost_rows_and_bad_values_are_errors(void **state)
{
    (void)state;
    struct buf out, b;
    struct error error;
    struct shard_set resume;
    enum merge_flow flow;
    buf_init(&out);
    buf_init(&b);
    struct merge *m = create(&sorted, 2, -1, 0);
    describe_as(m, 0, 1, int4_1, &out);
    feed1(m, 0, "1");
    assert_int_equal(merge_end(m, 0, 2, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_INTERNAL);
    assert_int_equal(merge_end(m, 0, 1, &error), STATUS_OK);
    assert_int_equal(merge_end(m, 0, 1, &error), STATUS_ERROR);

    const char *two[] = {"1", "2"};
    message_data_row(&b, 2, two);
    struct frame f = frame_of(&b);
    assert_int_equal(merge_row(m, 1, &f, &flow, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
    merge_destroy(&m);

    m = create(&sorted, 2, -1, 0);
    describe_as(m, 0, 1, int4_1, &out);
    feed1(m, 0, "1");
    buf_clear(&b);
    const char *bad = "x";
    message_data_row(&b, 1, &bad);
    f = frame_of(&b);
    assert_int_equal(merge_row(m, 1, &f, &flow, &error), STATUS_ERROR);
    assert_int_equal(merge_drain(m, &out, SIZE_MAX, &resume, &error), MERGE_FAILED);
    assert_string_equal(error.sqlstate, SQLSTATE_INVALID_TEXT);
    merge_destroy(&m);
    buf_free(&out);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsorted_rows_go_out_as_they_come),
        cmocka_unit_test(sorted_row_waits_for_every_live_source),
        cmocka_unit_test(keys_nulls_and_directions),
        cmocka_unit_test(ties_keep_the_order_of_sources),
        cmocka_unit_test(random_streams_come_out_sorted),
        cmocka_unit_test(limit_ends_the_merge_and_drops_what_comes_after),
        cmocka_unit_test(hidden_columns_are_stripped),
        cmocka_unit_test(binary_rows_are_merged),
        cmocka_unit_test(source_ahead_is_paused_and_resumed),
        cmocka_unit_test(what_cannot_be_ordered_is_refused),
        cmocka_unit_test(shards_must_agree_on_types),
        cmocka_unit_test(client_gets_the_home_shards_description),
        cmocka_unit_test(lost_rows_and_bad_values_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
