/* Names of transactions: what is formatted parses to the same, and nothing else is taken for ours. */
#include "txn/gid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PROOF  "vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZE"
#define SECRET "000102030405060708090a0b0c0d0e0f"
#define TXID   "00c0ffee-1f-" PROOF
#define OLDER  "00112233445566778899aabbccddeeff-1f" /* of earlier versions */

static struct gid sample(void)
{
    return (struct gid){.cluster = "main", .decider = "s0", .txid = TXID, .participant = "s1"};
}

static const uint8_t secret[TXID_SECRET_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void txid_is_proxy_counter_and_hash_of_a_secret(void **state)
{
    (void)state;
    char txid[TXID_MAX_BYTES + 1];
    txid_make(0xc0ffee, 0x1f, secret, txid);
    assert_string_equal(txid, TXID);
    txid_make(0, 0, secret, txid);
    assert_string_equal(txid, "00000000-0-" PROOF);
    txid_make(UINT32_MAX, TXID_COUNTER_MAX, secret, txid);
    assert_string_equal(txid, "ffffffff-ffffffffffffff-" PROOF);
    assert_int_equal(strlen(txid), TXID_MAX_BYTES);
    assert_true(txid_valid(slice_str(txid)));
    txid_make(1, UINT64_MAX, secret, txid);
    assert_string_equal(txid, "00000001-ffffffffffffff-" PROOF);
    txid_make(1, TXID_COUNTER_MAX + 1, secret, txid);
    assert_string_equal(txid, "00000001-0-" PROOF);
}

/* Each digit of 64 is met. */
static void proofs_of_any_secret_are_valid(void **state)
{
    (void)state;
    bool seen[128] = {false};
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t any[TXID_SECRET_BYTES] = {(uint8_t)i, (uint8_t)(i >> 8)};
        char txid[TXID_MAX_BYTES + 1], hex[2 * TXID_SECRET_BYTES + 1];
        txid_make(i, i, any, txid);
        assert_true(txid_valid(slice_str(txid)));
        assert_false(txid_without_proof(slice_str(txid)));
        for (unsigned k = 0; k < TXID_SECRET_BYTES; k++)
            snprintf(hex + 2 * k, 3, "%02x", any[k]);
        assert_true(txid_proven(slice_str(txid), slice_str(hex)));
        hex[7] = hex[7] == '0' ? '1' : '0';
        assert_false(txid_proven(slice_str(txid), slice_str(hex)));
        for (const char *c = txid + strlen(txid) - TXID_PROOF_BYTES; *c; c++)
            seen[(unsigned char)*c] = true;
    }
    for (const char *c = "AZaz09-_"; *c; c++)
        assert_true(seen[(unsigned char)*c]);
}

static void txid_of_another_form_is_invalid(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "-",
        "00112233445566778899aabbccddeeff",
        "00112233445566778899aabbccddeeff-",
        "00112233445566778899aabbccddeeff-01",
        "00112233445566778899AABBCCDDEEFF-1",
        "00112233445566778899aabbccddeef-11",
        "00112233445566778899aabbccddeeff-g",
        "00112233445566778899aabbccddeeff-1'",
        "00112233445566778899aabbccddeeff-10000000000000000",
        PROOF,
        "-" PROOF,
        "1f-" PROOF,
        "00c0ffee-" PROOF,
        "00c0ffee--" PROOF,
        "00c0ffee-01-" PROOF,
        "00c0ffee-1f" PROOF,
        "0c0ffee-1f-" PROOF,
        "00C0FFEE-1f-" PROOF,
        "00c0ffee-1f-x" PROOF,
        "00c0ffee-100000000000000-" PROOF,
        "00c0ffee-1f-vkXLJgW/Nr695oSEGijw/UPGmFCj3OX+26aZKO46iZE",
        "00c0ffee-1f-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZF", /* odd bits */
        "00c0ffee-1f-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZ="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(txid_valid(slice_str(bad[i])));
        assert_false(txid_proven(slice_str(bad[i]), slice_str(SECRET)));
    }
    assert_true(txid_valid(slice_str("00112233445566778899aabbccddeeff-0")));
}

static void only_the_secret_proves_a_txid(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "00",
                                      "000102030405060708090a0b0c0d0e0",
                                      "000102030405060708090A0B0C0D0E0F",
                                      "000102030405060708090a0b0c0d0e0f00",
                                      "000102030405060708090a0b0c0d0e0g",
                                      "010102030405060708090a0b0c0d0e0f",
                                      PROOF};
    assert_true(txid_proven(slice_str(TXID), slice_str(SECRET)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(txid_proven(slice_str(TXID), slice_str(bad[i])));
    assert_false(
        txid_proven(slice_str("00c0ffee-1f-Xfur7t8xi_M8CSfEPXYw9RuC81F0AwE1T6PX_FHwEy4"), slice_str(SECRET)));
}

/* Of earlier versions: still understood, and nothing proves them. */
static void older_txids_have_no_proof(void **state)
{
    (void)state;
    assert_true(txid_valid(slice_str(OLDER)));
    assert_true(txid_without_proof(slice_str(OLDER)));
    assert_false(txid_without_proof(slice_str(TXID)));
    assert_false(txid_proven(slice_str(OLDER), slice_str(SECRET)));
    struct gid g;
    assert_true(gid_parse(slice_str("pgunison/main/s0/" OLDER "/s1"), &g));
    assert_string_equal(g.txid, OLDER);
}

static void gid_round_trips(void **state)
{
    (void)state;
    struct gid g = sample(), back;
    struct error error;
    char text[GID_MAX_BYTES + 1];
    assert_int_equal(gid_format(&g, text, &error), STATUS_OK);
    assert_string_equal(text, "pgunison/main/s0/" TXID "/s1");
    assert_true(gid_parse(slice_str(text), &back));
    assert_string_equal(back.cluster, "main");
    assert_string_equal(back.decider, "s0");
    assert_string_equal(back.txid, TXID);
    assert_string_equal(back.participant, "s1");
}

static void longest_names_fit(void **state)
{
    (void)state;
    struct gid g = sample(), back;
    struct error error;
    char text[GID_MAX_BYTES + 1];
    memset(g.cluster, 'c', GID_NAME_MAX_BYTES);
    memset(g.decider, 'd', GID_NAME_MAX_BYTES);
    memset(g.participant, 'p', GID_NAME_MAX_BYTES);
    g.cluster[GID_NAME_MAX_BYTES] = g.decider[GID_NAME_MAX_BYTES] = g.participant[GID_NAME_MAX_BYTES] = '\0';
    txid_make(UINT32_MAX, UINT64_MAX, secret, g.txid);
    assert_int_equal(gid_format(&g, text, &error), STATUS_OK);
    assert_int_equal(strlen(text), GID_MAX_BYTES);
    assert_true(gid_parse(slice_str(text), &back));
}

static void names_that_need_quoting_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a/b", "a b", "a'b", "a\\b", "a,b", "\xc3\xa4"};
    char text[GID_MAX_BYTES + 1];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error = {0};
        struct gid g = sample();
        snprintf(g.cluster, sizeof g.cluster, "%s", bad[i]);
        assert_int_equal(gid_format(&g, text, &error), STATUS_ERROR);
        assert_string_equal(error.sqlstate, SQLSTATE_CONFIG);
        g = sample();
        snprintf(g.participant, sizeof g.participant, "%s", bad[i]);
        assert_int_equal(gid_format(&g, text, &error), STATUS_ERROR);
        g = sample();
        snprintf(g.decider, sizeof g.decider, "%s", bad[i]);
        assert_int_equal(gid_format(&g, text, &error), STATUS_ERROR);
    }
    struct error error;
    struct gid g = sample();
    snprintf(g.txid, sizeof g.txid, "x");
    assert_int_equal(gid_format(&g, text, &error), STATUS_ERROR);
    g = sample();
    memcpy(g.participant, g.decider, sizeof g.decider);
    assert_int_equal(gid_format(&g, text, &error), STATUS_ERROR);
}

static void foreign_prepared_transactions_are_not_ours(void **state)
{
    (void)state;
    static const char *const foreign[] = {
        "",
        "pgunison",
        "pgunison/",
        "pgunison/main/s0/" TXID,
        "pgunison/main/s0/" TXID "/",
        "pgunison/main/s0/" TXID "/s1/",
        "pgunison/main/s0/" TXID "/s1/x",
        "pgunison/main/s0/" TXID "/s0",
        "pgunison//s0/" TXID "/s1",
        "pgunison/main//" TXID "/s1",
        "pgunison/main/s0//s1",
        "pgunison/main/s0/00c0ffee-01-" PROOF "/s1",
        "pgunison/main/s0/00112233445566778899aabbccddeeff-01/s1",
        "pgunison/main/s0/00112233445566778899AABBCCDDEEFF-1/s1",
        "Pgunison/main/s0/" TXID "/s1",
        " pgunison/main/s0/" TXID "/s1",
        "pgunison/main/s0/" TXID "/s1 ",
        "pgunison/ma in/s0/" TXID "/s1",
        "pgunison/main/0123456789012345678901234567890123456789x/" TXID "/s1",
        "citus_0_1234_5_0",
    };
    struct gid g = sample();
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(gid_parse(slice_str(foreign[i]), &g));
    assert_string_equal(g.participant, "s1"); /* untouched */
    static const char nul[] = "pgunison/main/s0/" TXID "/s1\0";
    assert_false(gid_parse(slice_of(nul, sizeof nul - 1), &g));
}

/* Any single changed byte gives either a text that is not ours, or one that formats to exactly that text. */
static void parsed_text_is_reproduced_exactly(void **state)
{
    (void)state;
    struct gid g = sample();
    struct error error;
    char text[GID_MAX_BYTES + 1], again[GID_MAX_BYTES + 1];
    assert_int_equal(gid_format(&g, text, &error), STATUS_OK);
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at++) {
        char kept = text[at];
        for (int c = 0; c < 256; c++) {
            text[at] = (char)c;
            if (!gid_parse(slice_of(text, len), &g))
                continue;
            assert_int_equal(gid_format(&g, again, &error), STATUS_OK);
            assert_int_equal(strlen(again), len);
            assert_memory_equal(again, text, len);
        }
        text[at] = kept;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(txid_is_proxy_counter_and_hash_of_a_secret),
        cmocka_unit_test(proofs_of_any_secret_are_valid),
        cmocka_unit_test(txid_of_another_form_is_invalid),
        cmocka_unit_test(only_the_secret_proves_a_txid),
        cmocka_unit_test(older_txids_have_no_proof),
        cmocka_unit_test(gid_round_trips),
        cmocka_unit_test(longest_names_fit),
        cmocka_unit_test(names_that_need_quoting_are_refused),
        cmocka_unit_test(foreign_prepared_transactions_are_not_ours),
        cmocka_unit_test(parsed_text_is_reproduced_exactly),
    };
    return cmocka_run_group_tests_name("txn/gid", tests, NULL, NULL);
}
