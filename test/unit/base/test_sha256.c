/* SHA-256 against NIST's example texts, and from several threads at once. */
#include "base/sha256.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool hash_is(const char *text, const char *hex)
{
    uint8_t hash[SHA256_BYTES];
    sha256((const uint8_t *)text, strlen(text), hash);
    char is[2 * SHA256_BYTES + 1];
    for (size_t i = 0; i < SHA256_BYTES; i++)
        (void)snprintf(is + 2 * i, 3, "%02x", hash[i]);
    return strcmp(is, hex) == 0;
}

static bool examples_right(void)
{
    return hash_is("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") &&
           hash_is("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") &&
           hash_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void examples(void **state)
{
    (void)state;
    assert_true(examples_right());
    assert_true(examples_right());
}

static void *many_times(void *wrong)
{
    for (int i = 0; i < 1000; i++)
        if (!examples_right())
            *(bool *)wrong = true;
    return NULL;
}

static void threads_do_not_share(void **state)
{
    (void)state;
    pthread_t threads[4];
    bool wrong[4] = {false};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_times, &wrong[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(threads_do_not_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
