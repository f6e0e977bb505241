/* Names of transactions: what is formatted parses to the same, and nothing else is taken for ours. */
#include "txn/gid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TXID "00112233445566778899aabbccddeeff-1f"

static struct gid sample(void)
{
    return (struct gid){.cluster = "main", .decider = "s0", .txid = TXID, .participant = "s1"};
}

static void txid_is_random_bits_and_counter(void **state)
{
    (void)state;
    uint8_t random[16];
    char txid[TXID_MAX_BYTES + 1];
    for (int i = 0; i < 16; i++)
        random[i] = (uint8_t)(i * 17);
    txid_make(random, 0x1f, txid);
    assert_string_equal(txid, TXID);
    txid_make(random, 0, txid);
    assert_string_equal(txid, "00112233445566778899aabbccddeeff-0");
    txid_make(random, UINT64_MAX, txid);
    assert_string_equal(txid, "00112233445566778899aabbccddeeff-ffffffffffffffff");
    assert_true(strlen(txid) <= TXID_MAX_BYTES);
    assert_true(txid_valid(slice_str(txid)));
}

static void txid_of_another_form_is_invalid(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      "00112233445566778899aabbccddeeff",
                                      "00112233445566778899aabbccddeeff-",
                                      "00112233445566778899aabbccddeeff-01",
                                      "00112233445566778899AABBCCDDEEFF-1",
                                      "00112233445566778899aabbccddeef-11",
                                      "00112233445566778899aabbccddeeff-g",
                                      "00112233445566778899aabbccddeeff-1'",
                                      "00112233445566778899aabbccddeeff-10000000000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(txid_valid(slice_str(bad[i])));
    assert_true(txid_valid(slice_str("00112233445566778899aabbccddeeff-0")));
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
    uint8_t random[16] = {0};
    memset(g.cluster, 'c', GID_NAME_MAX_BYTES);
    memset(g.decider, 'd', GID_NAME_MAX_BYTES);
    memset(g.participant, 'p', GID_NAME_MAX_BYTES);
    g.cluster[GID_NAME_MAX_BYTES] = g.decider[GID_NAME_MAX_BYTES] = g.participant[GID_NAME_MAX_BYTES] = '\0';
    txid_make(random, UINT64_MAX, g.txid);
    assert_int_equal(gid_format(&g, text, &error), STATUS_OK);
    assert_true(strlen(text) <= GID_MAX_BYTES);
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
        cmocka_unit_test(txid_is_random_bits_and_counter),
        cmocka_unit_test(txid_of_another_form_is_invalid),
        cmocka_unit_test(gid_round_trips),
        cmocka_unit_test(longest_names_fit),
        cmocka_unit_test(names_that_need_quoting_are_refused),
        cmocka_unit_test(foreign_prepared_transactions_are_not_ours),
        cmocka_unit_test(parsed_text_is_reproduced_exactly),
    };
    return cmocka_run_group_tests_name("txn/gid", tests, NULL, NULL);
}
