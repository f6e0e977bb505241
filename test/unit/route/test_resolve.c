/* route_resolve(), route_limit_value(): the keys of one execution. */
#include "route_fixture.h"
#include <inttypes.h>

struct binary_params {
    uint32_t n;
    struct slice values[4];
    int16_t format;
};

static void get_binary_param(const void *arg, uint32_t i, struct slice *value_r, int16_t *format_r,
                             uint32_t *type_oid_r)
{
    const struct binary_params *p = arg;
    *value_r = p->values[i];
    *format_r = p->format;
    *type_oid_r = 0;
}

static struct route_params binary(const struct binary_params *p)
{
    return (struct route_params){.n = p->n, .get = get_binary_param, .arg = p};
}

static const char *with_text(struct fixture *f, const char *const *values, uint32_t n)
{
    struct text_params p = {.n = n, .values = values};
    struct route_params params = {.n = n, .get = get_text_param, .arg = &p};
    return shards_with(f, &params);
}

static struct slice int_bytes(uint8_t *to, int64_t v, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        to[i] = (uint8_t)((uint64_t)v >> (8 * (len - 1 - i)));
    return slice_of(to, len);
}

/* A text parameter, literals of each form, and binary integers of each width agree on the shard, over many
 * values. */
static void every_form_of_a_key_finds_the_same_shard(void **state)
{
    struct fixture *f = *state;
    const char *literals[] = {"SELECT 1 FROM customers WHERE id = %" PRId64,
                              "SELECT 1 FROM customers WHERE id = '%" PRId64 "'",
                              "SELECT 1 FROM customers WHERE id = E'%" PRId64 "'",
                              "SELECT 1 FROM customers WHERE id = $x$%" PRId64 "$x$",
                              "SELECT 1 FROM customers WHERE id = ANY ('{ %" PRId64 " }')",
                              "SELECT 1 FROM customers WHERE id = '%" PRId64 "'::bigint"};
    const int64_t values[] = {0,
                              1,
                              -1,
                              7,
                              127,
                              -128,
                              32767,
                              -32768,
                              2147483647,
                              -2147483648LL,
                              4294967296LL,
                              INT64_MAX,
                              INT64_MIN + 1};
    for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
        const char *want = shard_of_int(f, values[v]);
        char sql[200], text[32];
        for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
            snprintf(sql, sizeof(sql), literals[i], values[v]);
            plan_of(f, sql);
            const char *got = shards_of(f);
            if (!got || strcmp(got, want) != 0)
                fail_msg("%s: %s, not %s", sql, got ? got : f->error.message, want);
        }
        plan_of(f, "SELECT 1 FROM customers WHERE id = $1");
        snprintf(text, sizeof(text), "%" PRId64, values[v]);
        assert_string_equal(with_text(f, (const char *const[]){text}, 1), want);
        uint8_t bytes[8];
        for (unsigned len = 2; len <= 8; len *= 2) {
            if (len < 8 &&
                (values[v] < -(INT64_C(1) << (8 * len - 1)) || values[v] >= INT64_C(1) << (8 * len - 1)))
                continue;
            struct binary_params p = {.n = 1, .values = {int_bytes(bytes, values[v], len)}, .format = 1};
            struct route_params params = binary(&p);
            assert_string_equal(shards_with(f, &params), want);
        }
    }
}

static void declared_types_decide_whether_a_parameter_pins(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t type;
        bool pins;
    } cases[] = {{0, true},        {OID_INT8, true},     {OID_INT4, true},
                 {OID_INT2, true}, {OID_NUMERIC, false}, {OID_FLOAT8, false},
                 {OID_TEXT, false}};
    f->n_types = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->types[0] = cases[i].type;
        plan_of(f, "SELECT 1 FROM customers WHERE id = $1");
        assert_int_equal(f->plan->n_keys, cases[i].pins);
    }
    f->types[0] = OID_TEXT; /* the cast reads text as the server would, but binary text is not an integer */
    plan_of(f, "SELECT 1 FROM customers WHERE id = $1::bigint");
    assert_int_equal(f->plan->n_keys, 0);
    f->types[0] = 0;
    plan_of(f, "SELECT 1 FROM customers WHERE id = $1::bigint");
    assert_int_equal(f->plan->n_keys, 1);
    plan_of(f, "SELECT 1 FROM customers WHERE id = $1::text::bigint");
    assert_int_equal(f->plan->n_keys, 0);
    f->n_types = 0;
}

/* $1 may have become a float8 by its other use; eight bytes of that would look like a bigint. */
static void untyped_parameter_with_other_uses_is_not_read_in_binary(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[8];
    struct binary_params p = {.n = 1, .values = {int_bytes(bytes, 7, 8)}, .format = 1};
    struct route_params params = binary(&p);
    plan_of(f, "SELECT 1 FROM customers WHERE id = $1 AND credit > $1");
    assert_true(f->plan->keys[0].untyped);
    assert_null(shards_with(f, &params));
    assert_string_equal(f->error.sqlstate, "0A000");
    assert_string_equal(with_text(f, (const char *const[]){"7"}, 1), shard_of_int(f, 7));
    /* Uses as the key again, or a cast, are no doubt. */
    plan_of(f, "SELECT 1 FROM customers c JOIN orders o ON o.customer_id = $1 WHERE c.id = $1");
    assert_string_equal(shards_with(f, &params), shard_of_int(f, 7));
    f->types[0] = OID_INT8;
    f->n_types = 1;
    plan_of(f, "SELECT 1 FROM customers WHERE id = $1 AND credit > $1");
    assert_string_equal(shards_with(f, &params), shard_of_int(f, 7));
    f->n_types = 0;
}

static void arrays_are_read_in_text_and_binary(void **state)
{
    struct fixture *f = *state;
    int64_t other = key_elsewhere(f, 7);
    char text[100], want[16];
    plan_of(f, "SELECT 1 FROM customers WHERE id = ANY ($1)");
    assert_int_equal(f->plan->kind, PLAN_SCATTER);
    const char *a = shard_of_int(f, 7), *b = shard_of_int(f, other);
    snprintf(want, sizeof(want), "%s %s", strcmp(a, b) < 0 ? a : b, strcmp(a, b) < 0 ? b : a);
    const char *const forms[] = {"{7,%d}",     "{ 7 , %d }",   "{\"7\",\"%d\"}", "{7,NULL,%d}",
                                 "{{7},{%d}}", "[0:1]={7,%d}", "{7,\\%d}"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        snprintf(text, sizeof(text), forms[i], (int)other);
        const char *got = with_text(f, (const char *const[]){text}, 1);
        if (!got || strcmp(got, want) != 0)
            fail_msg("%s: %s", text, got ? got : f->error.message);
    }
    assert_string_equal(with_text(f, (const char *const[]){"{}"}, 1), "s0");
    assert_string_equal(with_text(f, (const char *const[]){NULL}, 1), "s0");
    assert_string_equal(with_text(f, (const char *const[]){"{NULL}"}, 1), "s0");
    const char *const broken[] = {"",    "7",     "{7",         "{7,",  "{\"7}", "{7}}",
                                  "{x}", "{7 8}", "{\"NULL\"}", "{7\\", "[0:1]", "{7}8"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (with_text(f, (const char *const[]){broken[i]}, 1))
            fail_msg("%s was read", broken[i]);
    /* binary: int4 elements, one of them NULL */
    uint8_t array[12 + 8 + 8 + 4 + 8] = {0};
    struct slice part = int_bytes(array, 1, 4);
    int_bytes(array + 4, 1, 4);
    int_bytes(array + 8, OID_INT4, 4);
    int_bytes(array + 12, 3, 4);
    int_bytes(array + 16, 1, 4);
    int_bytes(array + 20, 4, 4);
    int_bytes(array + 24, 7, 4);
    int_bytes(array + 28, -1, 4);
    int_bytes(array + 32, 4, 4);
    int_bytes(array + 36, other, 4);
    (void)part;
    struct binary_params p = {.n = 1, .values = {slice_of(array, sizeof(array))}, .format = 1};
    struct route_params params = binary(&p);
    assert_string_equal(shards_with(f, &params), want);
    for (size_t len = 0; len < sizeof(array); len++) {
        uint8_t *cut = malloc(len ? len : 1); /* its own allocation: reading beyond it would be seen */
        memcpy(cut, array, len);
        p.values[0] = slice_of(cut, len);
        if (shards_with(f, &params) && len != 20 && len != 28 && len != 32)
            fail_msg("%zu bytes were read", len);
        free(cut);
    }
}

static void values_that_cannot_be_read_are_errors(void **state)
{
    struct fixture *f = *state;
    plan_of(f, "SELECT 1 FROM customers WHERE id = $1");
    assert_null(with_text(f, (const char *const[]){"x"}, 1));
    assert_string_equal(f->error.sqlstate, "22P02");
    assert_null(with_text(f, (const char *const[]){"7.0"}, 1));
    assert_null(with_text(f, NULL, 0));
    assert_string_equal(f->error.sqlstate, "08P01");
    uint8_t bytes[8] = {0};
    struct binary_params p = {.n = 1, .values = {slice_of(bytes, 3)}, .format = 1};
    struct route_params params = binary(&p);
    assert_null(shards_with(f, &params));
    assert_string_equal(f->error.sqlstate, "22P03");
    plan_of(f, "SELECT 1 FROM customers WHERE id = 'x'");
    assert_null(shards_of(f));
    assert_string_equal(f->error.sqlstate, "22P02");
}

static void strings_with_escapes_are_unescaped(void **state)
{
    struct fixture *f = *state;
    char want[4];
    plan_of(f, "SELECT 1 FROM tags WHERE tag = $1");
    strcpy(want, with_text(f, (const char *const[]){"it's\n"}, 1));
    const char *const texts[] = {
        "SELECT 1 FROM tags WHERE tag = 'it''s\n'", "SELECT 1 FROM tags WHERE tag = E'it\\'s\\n'",
        "SELECT 1 FROM tags WHERE tag = $$it's\n$$", "SELECT 1 FROM tags WHERE tag = 'it''s\n'::text"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        plan_of(f, texts[i]);
        assert_string_equal(shards_of(f), want);
    }
    /* What has no plain value does not pin. */
    plan_of(f, "SELECT 1 FROM tags WHERE tag = U&'x'");
    assert_int_equal(f->plan->n_keys, 0);
}

static void bucket_is_told_when_there_is_one(void **state)
{
    struct fixture *f = *state;
    struct shard_set set;
    int32_t bucket;
    plan_of(f, "SELECT 1 FROM customers WHERE id = 7");
    assert_int_equal(route_resolve(f->plan, &f->db, &f->t, NULL, &set, &bucket, NULL, &f->error), STATUS_OK);
    assert_int_equal(bucket, hash_int8_extended(7) & (N_BUCKETS - 1));
    plan_of(f, "SELECT 1 FROM customers WHERE id IN (7, 7)");
    assert_int_equal(route_resolve(f->plan, &f->db, &f->t, NULL, &set, &bucket, NULL, &f->error), STATUS_OK);
    assert_int_equal(bucket, hash_int8_extended(7) & (N_BUCKETS - 1));
    plan_of(f, "SELECT 1 FROM customers WHERE id IN (7, 8, 9, 10)");
    assert_int_equal(route_resolve(f->plan, &f->db, &f->t, NULL, &set, &bucket, NULL, &f->error), STATUS_OK);
    assert_int_equal(bucket, -1);
    plan_of(f, "SELECT 1 FROM customers WHERE id = NULL");
    assert_int_equal(route_resolve(f->plan, &f->db, &f->t, NULL, &set, &bucket, NULL, &f->error), STATUS_OK);
    assert_int_equal(bucket, -1);
}

static void limit_values(void **state)
{
    struct fixture *f = *state;
    int64_t v;
    const char *const values[] = {"5", NULL, "-1", "x"};
    struct text_params text = {.n = 4, .values = values};
    struct route_params params = {.n = 4, .get = get_text_param, .arg = &text};
    struct key_ref ref = {.source = KEY_PARAM, .type_oid = OID_INT8};
    template_lex(&f->t, slice_str("SELECT 12, '34'"), &f->error) == STATUS_OK ? (void)0 : fail();
    assert_int_equal(route_limit_value(&ref, &f->t, &params, &v, &f->error), STATUS_OK);
    assert_int_equal(v, 5);
    ref.index = 1;
    assert_int_equal(route_limit_value(&ref, &f->t, &params, &v, &f->error), STATUS_OK);
    assert_int_equal(v, -1);
    ref.index = 2;
    assert_int_equal(route_limit_value(&ref, &f->t, &params, &v, &f->error), STATUS_ERROR);
    assert_string_equal(f->error.sqlstate, "2201W");
    ref.index = 3;
    assert_int_equal(route_limit_value(&ref, &f->t, &params, &v, &f->error), STATUS_ERROR);
    ref = (struct key_ref){.source = KEY_LITERAL, .index = 1};
    assert_int_equal(route_limit_value(&ref, &f->t, NULL, &v, &f->error), STATUS_OK);
    assert_int_equal(v, 34);
    ref = (struct key_ref){.source = KEY_LITERAL, .index = 0, .negate = true};
    assert_int_equal(route_limit_value(&ref, &f->t, NULL, &v, &f->error), STATUS_ERROR);
    uint8_t bytes[8];
    for (unsigned len = 2; len <= 8; len *= 2) {
        struct binary_params p = {.n = 1, .values = {int_bytes(bytes, 77, len)}, .format = 1};
        struct route_params b = binary(&p);
        ref = (struct key_ref){.source = KEY_PARAM, .type_oid = OID_INT8};
        assert_int_equal(route_limit_value(&ref, &f->t, &b, &v, &f->error), STATUS_OK);
        assert_int_equal(v, 77);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_form_of_a_key_finds_the_same_shard),
        TEST(declared_types_decide_whether_a_parameter_pins),
        TEST(untyped_parameter_with_other_uses_is_not_read_in_binary),
        TEST(arrays_are_read_in_text_and_binary),
        TEST(values_that_cannot_be_read_are_errors),
        TEST(strings_with_escapes_are_unescaped),
        TEST(bucket_is_told_when_there_is_one),
        TEST(limit_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
