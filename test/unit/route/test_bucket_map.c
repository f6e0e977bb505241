/* route/bucket_map.h */
#include "route/bucket_map.h"
#include "route/hash.h"
#include "wire/datum.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct shard_def shard_defs[4] = {
    {.name = "s0"}, {.name = "s1"}, {.name = "s2"}, {.name = "s3"}};
static const struct shard_def *shards[4] = {&shard_defs[0], &shard_defs[1], &shard_defs[2], &shard_defs[3]};
static uint8_t bucket_shard[1024];
static struct database_def db = {
    .name = "shop", .shards = shards, .n_shards = 4, .buckets = 1024, .bucket_shard = bucket_shard};

static struct bucket_map *make(const struct table_map *t, uint32_t type_oid)
{
    struct error error = {0};
    struct bucket_map *m = bucket_map_create(&db, t, type_oid, true, &error);
    if (!m)
        fail_msg("%s", error.message);
    return m;
}

static void assert_not_made(const struct table_map *t, uint32_t type_oid, const char *sqlstate,
                            const char *words)
{
    struct error error = {0};
    assert_null(bucket_map_create(&db, t, type_oid, true, &error));
    assert_string_equal(error.sqlstate, sqlstate);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
}

/* The shard, or -1 and the error's SQLSTATE. */
static int find(const struct bucket_map *m, const char *value, char sqlstate[6])
{
    struct error error = {0};
    struct bucket_target target = {.shard = 99, .bucket = -7};
    struct slice s = value ? slice_str(value) : slice_of(NULL, 0);
    if (bucket_map_find(m, 0, 0, s, &target, &error) != STATUS_OK) {
        memcpy(sqlstate, error.sqlstate, 6);
        return -1;
    }
    return (int)target.shard;
}

static void assert_found(const struct bucket_map *m, const char *value, int shard)
{
    char sqlstate[6] = "";
    int found = find(m, value, sqlstate);
    if (found != shard)
        fail_msg("\"%s\" found on %d (%s), not on %d", value ? value : "NULL", found, sqlstate, shard);
}

static void assert_not_found(const struct bucket_map *m, const char *value, const char *wanted)
{
    char sqlstate[6] = "";
    assert_int_equal(find(m, value, sqlstate), -1);
    assert_string_equal(sqlstate, wanted);
}

static void hash_goes_through_the_bucket_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1024; i++)
        bucket_shard[i] = (uint8_t)(i % 3 + 1);
    struct table_map t = {.name = "orders", .method = TABLE_HASH, .column = "customer_id"};
    struct bucket_map *m = make(&t, OID_INT8);
    for (int64_t id = -50; id < 50; id++) {
        char text[24];
        snprintf(text, sizeof(text), "%lld", (long long)id);
        struct bucket_target target;
        struct error error;
        assert_int_equal(bucket_map_find(m, OID_INT4, 0, slice_str(text), &target, &error), STATUS_OK);
        assert_int_equal(target.bucket, (int32_t)(hash_int8_extended(id) & 1023));
        assert_int_equal(target.shard, target.bucket % 3 + 1);
    }
    assert_not_found(m, NULL, SQLSTATE_NOT_NULL_VIOLATION);
    assert_not_found(m, "x", SQLSTATE_INVALID_TEXT);
    bucket_map_unref(&m);
    assert_null(m);
    bucket_map_unref(&m);
}

/* hash_key() reads values by way of key_read(). */
static void assert_short_cut_agrees(const struct bucket_map *m, uint32_t type_oid, int16_t format,
                                    struct slice value)
{
    static const uint32_t value_oids[] = {0,        OID_UNKNOWN, OID_INT2, OID_INT4,
                                          OID_INT8, OID_OID,     OID_TEXT, OID_NUMERIC};
    for (size_t i = 0; i < sizeof(value_oids) / sizeof(value_oids[0]); i++) {
        struct bucket_target target = {0};
        struct error error;
        uint64_t hash;
        if (!bucket_map_find_integer(m, value_oids[i], format, value, &target))
            continue;
        assert_int_equal(hash_key(type_oid, value_oids[i], format, value, &hash, &error), STATUS_OK);
        assert_int_equal(target.bucket, (int32_t)(hash & 1023));
        assert_int_equal(target.shard, bucket_shard[hash & 1023]);
    }
}

static void short_cut_for_integers_agrees_with_the_long_way(void **state)
{
    static const uint32_t types[] = {OID_INT2, OID_INT4, OID_INT8, OID_OID, OID_TEXT, OID_TIMESTAMP};
    static const char *const texts[] = {"",
                                        "0",
                                        "7",
                                        "007",
                                        "9999",
                                        "32767",
                                        "32768",
                                        "65535",
                                        "99999",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1_000",
                                        "0x1f",
                                        "1.0",
                                        "1e3",
                                        "12a",
                                        "999999999",
                                        "2147483647",
                                        "2147483648",
                                        "4294967295",
                                        "4294967296",
                                        "-32768",
                                        "999999999999999999",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "000000000000000000000000001"};
    struct table_map t = {.name = "t", .column = "id", .method = TABLE_HASH};
    uint64_t random = 1;
    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct bucket_map *m = make(&t, types[i]);
        for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
            assert_short_cut_agrees(m, types[i], 0, slice_str(texts[k]));
        for (int k = 0; k < 20000; k++) {
            uint8_t binary[8];
            char text[32];
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            snprintf(text, sizeof(text), "%" PRId64, (int64_t)random >> (random >> 8) % 64);
            assert_short_cut_agrees(m, types[i], 0, slice_str(text));
            memcpy(binary, &random, sizeof(binary));
            for (size_t len = 0; len <= sizeof(binary); len++)
                assert_short_cut_agrees(m, types[i], 1, slice_of(binary, len));
        }
        bucket_map_unref(&m);
    }
}

static void short_cut_for_integers_is_taken(void **state)
{
    struct table_map t = {.name = "t", .column = "id", .method = TABLE_HASH};
    struct bucket_map *m = make(&t, OID_INT4);
    struct bucket_target target;
    (void)state;
    assert_true(bucket_map_find_integer(m, 0, 0, slice_str("123456789"), &target));
    assert_true(bucket_map_find_integer(m, OID_INT8, 0, slice_str("123456789012345678"), &target));
    assert_true(bucket_map_find_integer(m, OID_INT2, 1, slice_of("\0\1", 2), &target));
    assert_true(bucket_map_find_integer(m, OID_INT4, 1, slice_of("\0\0\0\1", 4), &target));
    assert_false(bucket_map_find_integer(m, OID_INT4, 0, slice_str("1234567890"), &target));
    assert_false(bucket_map_find_integer(m, OID_INT4, 0, slice_of(NULL, 0), &target));
    assert_false(bucket_map_find_integer(m, OID_INT4, 2, slice_str("1"), &target));
    bucket_map_unref(&m);
}

static void range_takes_its_lower_bound_and_not_its_upper(void **state)
{
    (void)state;
    struct range_def ranges[] = {
        {"2026-01-01", NULL, 3}, {"2024-01-01", "2025-01-01", 1}, {"2025-01-01", "2026-01-01", 2}};
    struct table_map t = {
        .name = "events", .method = TABLE_RANGE, .column = "day", .ranges = ranges, .n_ranges = 3};
    struct bucket_map *m = make(&t, OID_DATE);
    assert_found(m, "2024-01-01", 1);
    assert_found(m, "2024-12-31", 1);
    assert_found(m, "2025-01-01", 2);
    assert_found(m, "2025-12-31", 2);
    assert_found(m, "2026-01-01", 3);
    assert_found(m, "infinity", 3);
    assert_not_found(m, "2023-12-31", "23514");
    assert_not_found(m, "-infinity", "23514");
    bucket_map_unref(&m);
}

static void ranges_of_characters_are_ranges_of_bytes(void **state)
{
    (void)state;
    struct range_def ranges[] = {{NULL, "B", 0}, {"B", "a", 1}, {"a", "\xc3\xa9", 2}};
    struct table_map t = {.name = "t", .method = TABLE_RANGE, .column = "k", .ranges = ranges, .n_ranges = 3};
    struct bucket_map *m = make(&t, OID_TEXT);
    assert_found(m, "", 0);
    assert_found(m, "A~", 0);
    assert_found(m, "B", 1);
    assert_found(m, "Z", 1);
    assert_found(m, "a", 2);
    assert_found(m, "zzz", 2);
    assert_not_found(m, "\xc3\xa9", "23514");
    bucket_map_unref(&m);
}

static void many_ranges_agree_with_a_linear_search(void **state)
{
    (void)state;
    enum { N = 57 };
    static char text[N + 1][16];
    struct range_def ranges[N];
    for (int i = 0; i <= N; i++)
        snprintf(text[i], sizeof(text[i]), "%d", i * i - 300);
    for (int i = 0; i < N; i++) /* in an odd order */
        ranges[(i * 23) % N] = (struct range_def){text[i], text[i + 1], (unsigned)i % 4};
    struct table_map t = {.name = "t", .method = TABLE_RANGE, .column = "k", .ranges = ranges, .n_ranges = N};
    struct bucket_map *m = make(&t, OID_INT4);
    for (int v = -400; v < N * N; v++) {
        char shown[16];
        snprintf(shown, sizeof(shown), "%d", v);
        int wanted = -1;
        for (int i = 0; i < N; i++)
            if (v >= i * i - 300 && v < (i + 1) * (i + 1) - 300)
                wanted = i % 4;
        if (wanted < 0)
            assert_not_found(m, shown, "23514");
        else
            assert_found(m, shown, wanted);
    }
    bucket_map_unref(&m);
}

static void bad_ranges_are_errors_with_their_place(void **state)
{
    (void)state;
    struct range_def overlap[] = {{"1", "10", 0}, {"9", "20", 1}};
    struct range_def gap[] = {{"1", "10", 0}, {"11", "20", 1}};
    struct range_def open_twice[] = {{NULL, "10", 0}, {NULL, "20", 1}};
    struct range_def open_inside[] = {{"1", NULL, 0}, {"5", "20", 1}};
    struct range_def empty[] = {{"10", "10", 0}};
    struct range_def unreadable[] = {{"one", "10", 0}};
    struct table_map t = {
        .name = "t", .method = TABLE_RANGE, .column = "k", .n_ranges = 2, .file = "x.ini", .line = 7};
    t.ranges = overlap;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG,
                    "x.ini:7: ranges of table \"t\" on shards \"s0\" and \"s1\" overlap");
    t.ranges = gap;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG, "leave a gap");
    t.ranges = open_twice;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG, "overlap");
    t.ranges = open_inside;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG, "overlap");
    t.n_ranges = 1;
    t.ranges = empty;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG, "empty range");
    t.ranges = unreadable;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG, "x.ini:7: invalid input syntax");
    t.n_ranges = 0;
    assert_not_made(&t, OID_INT4, SQLSTATE_CONFIG, "no ranges");
}

static void list_finds_values_however_they_are_spelled(void **state)
{
    (void)state;
    struct list_def lists[] = {{"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", 2},
                               {"00000000-0000-0000-0000-000000000001", 1}};
    struct table_map t = {.name = "sites", .method = TABLE_LIST, .column = "k", .lists = lists, .n_lists = 2};
    struct bucket_map *m = make(&t, OID_UUID);
    assert_found(m, "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", 2);
    assert_found(m, "00000000000000000000000000000001", 1);
    assert_not_found(m, "00000000000000000000000000000002", "23514");
    bucket_map_unref(&m);
}

static void list_default_takes_the_rest(void **state)
{
    (void)state;
    struct list_def lists[] = {{"eu", 0}, {NULL, 1}, {"uk", 2}};
    struct table_map t = {.name = "sites", .method = TABLE_LIST, .column = "k", .lists = lists, .n_lists = 3};
    struct bucket_map *m = make(&t, OID_BPCHAR);
    assert_found(m, "eu   ", 0);
    assert_found(m, "uk", 2);
    assert_found(m, "us", 1);
    assert_found(m, "", 1);
    assert_not_found(m, NULL, SQLSTATE_NOT_NULL_VIOLATION);
    bucket_map_unref(&m);
}

static void bad_lists_are_errors(void **state)
{
    (void)state;
    struct list_def twice[] = {{"1", 0}, {"01", 1}};
    struct list_def defaults[] = {{NULL, 0}, {NULL, 0}};
    struct table_map t = {.name = "t", .method = TABLE_LIST, .column = "k", .lists = twice, .n_lists = 2};
    assert_not_made(&t, OID_INT8, SQLSTATE_CONFIG, "listed for shard");
    t.lists = defaults;
    assert_not_made(&t, OID_INT8, SQLSTATE_CONFIG, "two DEFAULTs");
}

static void keys_that_cannot_be_placed_are_refused(void **state)
{
    (void)state;
    struct table_map t = {.name = "t", .method = TABLE_HASH, .column = "k"};
    struct error error = {0};
    assert_not_made(&t, OID_NUMERIC, SQLSTATE_FEATURE_NOT_SUPPORTED, "cannot be the type of a sharding key");
    assert_null(bucket_map_create(&db, &t, OID_TEXT, false, &error));
    assert_string_equal(error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    t.method = TABLE_REFERENCE;
    assert_not_made(&t, OID_INT4, SQLSTATE_INTERNAL, "no sharding key");
}

static void single_needs_no_value(void **state)
{
    (void)state;
    struct table_map t = {.name = "audit", .method = TABLE_SINGLE, .single_shard = 2};
    struct bucket_map *m = make(&t, 0);
    assert_found(m, NULL, 2);
    assert_found(m, "anything", 2);
    bucket_map_unref(&m);
}

static void values_are_placed_as_the_column_stores_them(void **state)
{
    (void)state;
    struct list_def lists[] = {{"2026-01-01 00:00:01", 1}, {"1999-12-31 23:59:59", 2}, {NULL, 0}};
    struct table_map t = {.name = "t", .method = TABLE_LIST, .column = "k", .lists = lists, .n_lists = 3};
    struct bucket_map *m = make(&t, OID_TIMESTAMP);
    assert_found(m, "2026-01-01 00:00:00.6", 0);
    bucket_map_set_typmod(m, 0);
    assert_found(m, "2026-01-01 00:00:00.6", 1);
    assert_found(m, "2026-01-01 00:00:00.5", 1);
    assert_found(m, "2026-01-01 00:00:00.499999", 0);
    assert_found(m, "1999-12-31 23:59:59.4", 2);
    assert_found(m, "1999-12-31 23:59:59.5", 2); /* half goes away from 2000-01-01 */
    assert_found(m, "1999-12-31 23:59:58.5", 0);
    assert_found(m, "infinity", 0);
    bucket_map_unref(&m);

    t.method = TABLE_HASH;
    m = make(&t, OID_VARCHAR);
    bucket_map_set_typmod(m, 4 + 3);
    assert_not_found(m, "abc ", SQLSTATE_FEATURE_NOT_SUPPORTED);
    char sqlstate[6];
    assert_true(find(m, "ab ", sqlstate) >= 0);
    assert_true(find(m, "abcdef", sqlstate) >= 0);
    bucket_map_unref(&m);
}

static struct relation placed(const struct table_map *t, struct relation r)
{
    r.schema = "public";
    r.name = "orders";
    r.map = t;
    size_t bytes = bucket_map_place(&db, &r);
    assert_true(r.placed);
    assert_int_equal(bytes > 0, r.buckets || r.map_error);
    return r;
}

static void a_relation_is_placed_by_its_key(void **state)
{
    (void)state;
    struct relation_column columns[] = {
        {.name = "day", .type_oid = OID_TIMESTAMP, .typmod = 0, .deterministic = true},
        {.name = "id", .type_oid = OID_INT8, .typmod = -1, .deterministic = true}};
    struct table_map by_id = {.name = "orders", .method = TABLE_HASH, .column = "id"};
    struct relation table = {.exists = true, .relkind = 'r', .columns = columns, .n_columns = 2};
    struct relation r = placed(&by_id, table);
    assert_found(r.buckets, "5", find(r.buckets, "+5", (char[6]){0}));
    assert_null(r.map_error);
    bucket_map_unplace(&r);
    /* as the column stores it: timestamp(0) rounds */
    struct range_def halves[] = {{.upper = "2025-01-02", .shard = 1}, {.lower = "2025-01-02", .shard = 2}};
    struct table_map by_day = {
        .name = "orders", .method = TABLE_RANGE, .column = "day", .ranges = halves, .n_ranges = 2};
    r = placed(&by_day, table);
    assert_found(r.buckets, "2025-01-01 23:59:59.4", 1);
    assert_found(r.buckets, "2025-01-01 23:59:59.6", 2);
    bucket_map_unplace(&r);
}

static void a_relation_without_its_key_says_so(void **state)
{
    (void)state;
    struct relation_column column = {.name = "n", .type_oid = OID_INT8, .typmod = -1, .deterministic = true};
    struct table_map by_id = {.name = "orders", .method = TABLE_HASH, .column = "id"};
    struct relation r =
        placed(&by_id, (struct relation){.exists = true, .relkind = 'r', .columns = &column, .n_columns = 1});
    assert_null(r.buckets);
    assert_string_equal(r.map_error->sqlstate, SQLSTATE_CONFIG);
    assert_string_equal(r.map_error->message,
                        "table \"orders\" has no column \"id\", by which it is to be sharded");
    bucket_map_unplace(&r);
    assert_true(!r.placed && !r.map_error);
    /* a key that cannot be one has an error of its own */
    struct relation_column key = {.name = "id", .type_oid = OID_TEXT, .typmod = -1};
    r = placed(&by_id, (struct relation){.exists = true, .relkind = 'r', .columns = &key, .n_columns = 1});
    assert_null(r.buckets);
    assert_non_null(strstr(r.map_error->message, "collation"));
    bucket_map_unplace(&r);
}

static void what_has_no_rows_by_a_key_is_placed_without(void **state)
{
    (void)state;
    struct table_map by_id = {.name = "orders", .method = TABLE_HASH, .column = "id"};
    struct table_map single = {.name = "orders", .method = TABLE_SINGLE, .single_shard = 2};
    const struct relation nothing[] = {
        placed(&by_id, (struct relation){0}),                              /* is to come */
        placed(&by_id, (struct relation){.exists = true, .relkind = 'i'}), /* an index on an expression */
        placed(&single, (struct relation){.exists = true, .relkind = 'r'}),
        placed(NULL, (struct relation){.exists = true, .relkind = 'r'}),
    };
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        assert_null(nothing[i].buckets);
        assert_null(nothing[i].map_error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_goes_through_the_bucket_table),
        cmocka_unit_test(short_cut_for_integers_agrees_with_the_long_way),
        cmocka_unit_test(short_cut_for_integers_is_taken),
        cmocka_unit_test(range_takes_its_lower_bound_and_not_its_upper),
        cmocka_unit_test(ranges_of_characters_are_ranges_of_bytes),
        cmocka_unit_test(many_ranges_agree_with_a_linear_search),
        cmocka_unit_test(bad_ranges_are_errors_with_their_place),
        cmocka_unit_test(list_finds_values_however_they_are_spelled),
        cmocka_unit_test(list_default_takes_the_rest),
        cmocka_unit_test(bad_lists_are_errors),
        cmocka_unit_test(keys_that_cannot_be_placed_are_refused),
        cmocka_unit_test(single_needs_no_value),
        cmocka_unit_test(values_are_placed_as_the_column_stores_them),
        cmocka_unit_test(a_relation_is_placed_by_its_key),
        cmocka_unit_test(a_relation_without_its_key_says_so),
        cmocka_unit_test(what_has_no_rows_by_a_key_is_placed_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
