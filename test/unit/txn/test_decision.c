/* The statements on the decision table: their form, and the column that says whose a row is. */
#include "../../../src/txn/decision_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TXID   "00c0ffee-1f-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZE"
#define SECRET "000102030405060708090a0b0c0d0e0f"
#define OLDER  "00112233445566778899aabbccddeeff-1" /* of earlier versions */

static void shards_round_trip(void **state)
{
    (void)state;
    static const struct decision_participant named[] = {{"s1", 7}, {"s-2", 0}, {"S_3.x", UINT64_MAX}};
    char cluster[GID_NAME_MAX_BYTES + 1], decider[GID_NAME_MAX_BYTES + 1];
    struct slice participants, name;
    uint64_t xid;
    struct buf b;
    buf_init(&b);
    decision_shards_format(&b, "main", "s0", named, 3);
    assert_true(slice_eq_str(buf_slice(&b), "main/s0/s1:7,s-2,S_3.x:18446744073709551615"));
    assert_true(decision_shards_parse(buf_slice(&b), cluster, decider, &participants));
    assert_string_equal(cluster, "main");
    assert_string_equal(decider, "s0");
    for (size_t i = 0; i < 3; i++) {
        assert_true(decision_next_participant(&participants, &name, &xid));
        assert_true(slice_eq_str(name, named[i].shard));
        assert_true(xid == named[i].xid);
    }
    assert_false(decision_next_participant(&participants, &name, &xid));
    buf_free(&b);
}

static void ids_are_made_whole(void **state)
{
    (void)state;
    static const struct {
        const char *xid, *recent;
        uint64_t whole;
    } cases[] = {
        {"7", "10", 7},
        {"10", "10", 10},
        {"12", "10", 12}, /* begun since */
        {"4294967290", "4294967300", 4294967290},
        {"3", "4294967300", 4294967299},
        {"4294967290", "8589934595", 8589934586},
        {"5", "4294967290", 4294967301},
        {"0", "10", 0},
        {"4294967296", "10", 0},
        {"", "10", 0},
        {"7", "", 0},
        {"7", "x", 0},
        {"07", "10", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(decision_whole_xid(cases[i].xid, cases[i].recent) == cases[i].whole);
}

static void only_a_row_that_proves_itself_counts(void **state)
{
    (void)state;
    assert_int_equal(decision_outcome(TXID, "c", SECRET), 'c');
    assert_int_equal(decision_outcome(TXID, "a", ""), 'a');
    assert_int_equal(decision_outcome(TXID, "a", NULL), 'a');
    assert_int_equal(decision_outcome(TXID, "c", ""), 0);
    assert_int_equal(decision_outcome(TXID, "c", NULL), 0);
    assert_int_equal(decision_outcome(TXID, "c", "010102030405060708090a0b0c0d0e0f"), 0);
    assert_int_equal(decision_outcome("00c0ffee-1f-Xfur7t8xi_M8CSfEPXYw9RuC81F0AwE1T6PX_FHwEy4", "c", SECRET),
                     0);
    assert_int_equal(decision_outcome(TXID, "x", SECRET), 0);
    assert_int_equal(decision_outcome(TXID, "cc", SECRET), 0);
    assert_int_equal(decision_outcome(TXID, "", SECRET), 0);
    assert_int_equal(decision_outcome(TXID, NULL, SECRET), 0);
    assert_int_equal(decision_outcome(OLDER, "c", ""), 'c');
    assert_int_equal(decision_outcome(OLDER, "a", ""), 'a');
    assert_int_equal(decision_outcome("made up", "c", ""), 0);
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
                                      "main/s0/:7",
                                      "main/s0/s1:",
                                      "main/s0/s1:0",
                                      "main/s0/s1:07",
                                      "main/s0/s1:-7",
                                      "main/s0/s1:7:8",
                                      "main/s0/s1:7x",
                                      "main/s0/s1:18446744073709551616",
                                      "main/s0/s1:7,",
                                      "ma in/s0/s1",
                                      "main/0123456789012345678901234567890123456789x/s1"};
    char cluster[GID_NAME_MAX_BYTES + 1], decider[GID_NAME_MAX_BYTES + 1];
    struct slice participants;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(decision_shards_parse(slice_str(bad[i]), cluster, decider, &participants));
}

/* Nothing that the client has set may bend what the decision means: each name that is looked up is qualified.
 */
static void decision_is_qualified(void **state)
{
    (void)state;
    static const char *const functions[] = {"pg_current_xact_id_if_assigned(", "current_setting(",
                                            "set_config(", "clock_timestamp(", "decode("};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const char *at = strstr(decision_insert_sql, functions[i]);
        assert_non_null(at);
        assert_memory_equal(at - strlen("pg_catalog."), "pg_catalog.", strlen("pg_catalog."));
    }
    assert_non_null(strstr(decision_insert_sql, "INSERT INTO pgunison.decision "));
    assert_non_null(strstr(decision_insert_sql, "pg_catalog.set_config('statement_timeout', '0', true)"));
    assert_null(strstr(decision_insert_sql, "ON CONFLICT"));
}

static void fence_yields_to_a_row_that_is_there(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    decision_fence_sql(&b, TXID, "main/s0/s1");
    const char *sql = (const char *)buf_head(&b);
    assert_non_null(strstr(sql, "'a', clock_timestamp()) ON CONFLICT (txid) DO NOTHING; UPDATE "));
    assert_non_null(
        strstr(sql, "; SELECT outcome, COALESCE(encode(proof, 'hex'), '') FROM pgunison.decision"));
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
    assert_non_null(
        strstr(sql, "VALUES ('a-1', 'main/s0/s1', 'a', clock_timestamp()), "
                    "('a-2', 'main/s0/s1,s2', 'a', clock_timestamp()) ON CONFLICT (txid) DO NOTHING; "));
    assert_non_null(strstr(sql,
                           "SELECT txid, outcome, COALESCE(encode(proof, 'hex'), '') FROM pgunison.decision "
                           "WHERE txid = ANY ('{a-1,a-2}'::text[])"));
    assert_non_null(strstr(sql, "SET LOCAL lock_timeout = '250ms'"));
    assert_null(strstr(sql, "COMMIT;"));
    buf_free(&b);
}

/* A coordinator takes the room before it begins: nothing that it says after the decision may need memory. */
static void texts_fit_into_their_room(void **state)
{
    (void)state;
    char name[GID_NAME_MAX_BYTES + 1], txid[TXID_MAX_BYTES + 1];
    memset(name, 'x', GID_NAME_MAX_BYTES);
    memset(txid, 'f', TXID_MAX_BYTES);
    name[GID_NAME_MAX_BYTES] = txid[TXID_MAX_BYTES] = '\0';
    for (size_t n = 1; n <= 64; n *= 4) {
        struct decision_participant named[64];
        for (size_t i = 0; i < n; i++)
            named[i] = (struct decision_participant){.shard = name, .xid = UINT64_MAX};
        struct buf shards, fence;
        buf_init(&shards);
        buf_init(&fence);
        decision_shards_format(&shards, name, name, named, n);
        size_t room = decision_shards_bytes(strlen(name), (n + 1) * strlen(name), n);
        assert_true(strlen((const char *)buf_head(&shards)) < room);
        decision_fence_sql(&fence, txid, (const char *)buf_head(&shards));
        assert_true(strlen((const char *)buf_head(&fence)) < decision_fence_bytes(strlen(txid), room));
        buf_free(&shards);
        buf_free(&fence);
    }
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
    assert_non_null(strstr((const char *)buf_head(&b), "txid = E'x\\x5c''y'"));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_round_trip),
        cmocka_unit_test(shards_of_another_form_are_refused),
        cmocka_unit_test(ids_are_made_whole),
        cmocka_unit_test(only_a_row_that_proves_itself_counts),
        cmocka_unit_test(texts_fit_into_their_room),
        cmocka_unit_test(decision_is_qualified),
        cmocka_unit_test(fence_yields_to_a_row_that_is_there),
        cmocka_unit_test(many_fences_are_one_transaction),
        cmocka_unit_test(literals_cannot_be_left),
    };
    return cmocka_run_group_tests_name("txn/decision", tests, NULL, NULL);
}
