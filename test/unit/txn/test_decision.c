/* The statements on the decision table: their form, and the column that says whose a row is. */
#include "../../../src/txn/decision_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TXID "00112233445566778899aabbccddeeff-1"

static void shards_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"s1", "s-2", "S_3.x"};
    char cluster[GID_NAME_MAX_BYTES + 1], decider[GID_NAME_MAX_BYTES + 1];
    struct slice participants;
    struct buf b;
    buf_init(&b);
    decision_shards_format(&b, "main", "s0", names, 3);
    assert_true(slice_eq_str(buf_slice(&b), "main/s0/s1,s-2,S_3.x"));
    assert_true(decision_shards_parse(buf_slice(&b), cluster, decider, &participants));
    assert_string_equal(cluster, "main");
    assert_string_equal(decider, "s0");
    assert_true(slice_eq_str(participants, "s1,s-2,S_3.x"));
    buf_free(&b);
}

static void shards_of_another_form_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "/",
                                      "main",
                                      "main/",
                                      "main/s0",
                                      "main/s0/",
                                      "main//s1",
                                      "/s0/s1",
                                      "main/s0/,",
                                      "main/s0/s1,",
                                      "main/s0/,s1",
                                      "main/s0/s1,,s2",
                                      "main/s0/s1/s2",
                                      "main/s0/s 1",
                                      "main/s0/s1'",
                                      "ma in/s0/s1",
                                      "main/0123456789012345678901234567890123456789x/s1"};
    char cluster[GID_NAME_MAX_BYTES + 1], decider[GID_NAME_MAX_BYTES + 1];
    struct slice participants;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(decision_shards_parse(slice_str(bad[i]), cluster, decider, &participants));
}

/* Nothing that the client has set may bend what the decision means: each name that is looked up is qualified.
 */
static void decide_is_one_message_that_ends_in_commit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    decision_decide_sql(&b, TXID, "main/s0/s1");
    const char *sql = (const char *)buf_head(&b);
    size_t len = strlen(sql);
    assert_int_equal(len, buf_len(&b));
    assert_string_equal(sql + len - strlen("; COMMIT"), "; COMMIT");
    static const char *const functions[] = {"pg_current_xact_id_if_assigned(", "current_setting(",
                                            "set_config(", "clock_timestamp("};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const char *at = strstr(sql, functions[i]);
        assert_non_null(at);
        assert_memory_equal(at - strlen("pg_catalog."), "pg_catalog.", strlen("pg_catalog."));
    }
    assert_non_null(strstr(sql, "INSERT INTO pgunison.decision "));
    assert_non_null(strstr(sql, "'" TXID "', 'main/s0/s1'"));
    assert_non_null(strstr(sql, "pg_catalog.set_config('statement_timeout', '0', true)"));
    assert_null(strstr(sql, "ON CONFLICT"));
    buf_free(&b);
}

static void decide_can_be_prepared(void **state)
{
    (void)state;
    struct buf b, expected;
    buf_init(&b);
    buf_init(&expected);
    decision_decide_sql(&b, TXID, "main/s0/s1");
    const char *values = strstr(decision_insert_sql, "$1, $2");
    assert_non_null(values);
    buf_append(&expected, decision_insert_sql, (size_t)(values - decision_insert_sql));
    buf_printf(&expected, "'" TXID "', 'main/s0/s1'%s; COMMIT", values + strlen("$1, $2"));
    assert_true(slice_eq(buf_slice(&b), buf_slice(&expected)));
    buf_free(&b);
    buf_free(&expected);
}

static void fence_yields_to_a_row_that_is_there(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    decision_fence_sql(&b, TXID, "main/s0/s1");
    const char *sql = (const char *)buf_head(&b);
    assert_non_null(strstr(sql, "'a', clock_timestamp()) ON CONFLICT (txid) DO NOTHING; SELECT outcome "));
    assert_non_null(strstr(sql, "SET LOCAL lock_timeout = '250ms'"));
    assert_null(strstr(sql, "COMMIT;")); /* one implicit transaction: an error leaves nothing open */
    buf_free(&b);
}

static void many_fences_are_one_transaction(void **state)
{
    (void)state;
    static const char *const txids[] = {"a-1", "a-2"}, *const shards[] = {"main/s0/s1", "main/s0/s1,s2"};
    struct buf b;
    buf_init(&b);
    decision_fences_sql(&b, txids, shards, 2);
    const char *sql = (const char *)buf_head(&b);
    assert_non_null(strstr(sql,
                           "VALUES ('a-1', 'main/s0/s1', 'a', clock_timestamp()), "
                           "('a-2', 'main/s0/s1,s2', 'a', clock_timestamp()) ON CONFLICT (txid) DO NOTHING; "
                           "SELECT txid, outcome FROM pgunison.decision "
                           "WHERE txid = ANY ('{a-1,a-2}'::text[])"));
    assert_non_null(strstr(sql, "SET LOCAL lock_timeout = '250ms'"));
    assert_null(strstr(sql, "COMMIT;"));
    buf_free(&b);
}

static void literals_cannot_be_left(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    decision_read_sql(&b, "x'; DROP TABLE t; --");
    assert_non_null(strstr((const char *)buf_head(&b), "txid = 'x''; DROP TABLE t; --'"));
    buf_clear(&b);
    decision_read_sql(&b, "x\\'y");
    assert_non_null(strstr((const char *)buf_head(&b), "txid = E'x\\\\''y'"));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_round_trip),
        cmocka_unit_test(shards_of_another_form_are_refused),
        cmocka_unit_test(decide_is_one_message_that_ends_in_commit),
        cmocka_unit_test(decide_can_be_prepared),
        cmocka_unit_test(fence_yields_to_a_row_that_is_there),
        cmocka_unit_test(many_fences_are_one_transaction),
        cmocka_unit_test(literals_cannot_be_left),
    };
    return cmocka_run_group_tests_name("txn/decision", tests, NULL, NULL);
}
