/* base/hashmap.h */
#include "base/hashmap.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define N 5000

static struct slice key_of(int i, char *buf, size_t size)
{
    return slice_of(buf, (size_t)snprintf(buf, size, "key-%d", i));
}

static void put_get_replace_remove(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    int values[N];
    char k[32];
    assert_null(hashmap_get(&m, slice_str("x")));
    assert_null(hashmap_remove(&m, slice_str("x")));
    for (int i = 0; i < N; i++)
        assert_null(hashmap_put(&m, key_of(i, k, sizeof(k)), &values[i]));
    assert_int_equal(m.count, N);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(hashmap_get(&m, key_of(i, k, sizeof(k))), &values[i]);
    assert_null(hashmap_get(&m, slice_str("key-")));
    assert_ptr_equal(hashmap_put(&m, slice_str("key-7"), &values[8]), &values[7]);
    assert_ptr_equal(hashmap_get(&m, slice_str("key-7")), &values[8]);
    assert_int_equal(m.count, N);
    for (int i = 0; i < N; i += 2)
        assert_non_null(hashmap_remove(&m, key_of(i, k, sizeof(k))));
    assert_int_equal(m.count, N / 2);
    for (int i = 0; i < N; i++)
        assert_int_equal(hashmap_get(&m, key_of(i, k, sizeof(k))) != NULL, i % 2);
    hashmap_free(&m, NULL);
    assert_int_equal(m.count, 0);
}

static void keys_may_be_empty_or_hold_nuls(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    int a, b, c;
    hashmap_put(&m, slice_of(NULL, 0), &a);
    hashmap_put(&m, slice_of("\0", 1), &b);
    hashmap_put(&m, slice_of("\0\0", 2), &c);
    assert_ptr_equal(hashmap_get(&m, slice_str("")), &a);
    assert_ptr_equal(hashmap_get(&m, slice_of("\0", 1)), &b);
    assert_ptr_equal(hashmap_get(&m, slice_of("\0\0", 2)), &c);
    hashmap_free(&m, NULL);
}

static void iteration_meets_each_entry_once_and_may_remove_it(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    hashmap_iter_init(&m, &it);
    assert_false(hashmap_next(&m, &it, &key, &value));

    int seen[N] = {0};
    char k[32];
    for (int i = 0; i < N; i++)
        hashmap_put(&m, key_of(i, k, sizeof(k)), &seen[i]);
    for (hashmap_iter_init(&m, &it); hashmap_next(&m, &it, &key, &value);) {
        int *at = value;
        ++*at;
        assert_true(slice_eq(key, key_of((int)(at - seen), k, sizeof(k))));
        if ((at - seen) % 3 == 0)
            assert_ptr_equal(hashmap_remove(&m, key), at);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(hashmap_get(&m, key_of(i, k, sizeof(k))) != NULL, i % 3 != 0);
    hashmap_free(&m, NULL);
}

static void fit_follows_what_is_left(void **state)
{
    (void)state;
    struct hashmap m;
    char k[32];
    hashmap_init(&m);
    for (int i = 0; i < N; i++)
        hashmap_put(&m, key_of(i, k, sizeof(k)), &m);
    size_t most = m.n_buckets;
    for (int i = 0; i < N; i++) {
        assert_ptr_equal(hashmap_remove(&m, key_of(i, k, sizeof(k))), &m);
        hashmap_fit(&m);
        assert_true(m.n_buckets <= 8 * (m.count + 1));
        assert_true(m.count == 0 || m.n_buckets >= m.count);
        for (int j = i + 1; j < N; j += 97)
            assert_ptr_equal(hashmap_get(&m, key_of(j, k, sizeof(k))), &m);
    }
    assert_true(most >= N && m.n_buckets == 0);
    hashmap_put(&m, slice_str("usable again"), k);
    hashmap_free(&m, NULL);
}

static int freed;
static void count_free(void *p)
{
    freed++;
    free(p);
}

static void free_hands_values_to_their_destructor(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    char k[32];
    for (int i = 0; i < 100; i++)
        hashmap_put(&m, key_of(i, k, sizeof(k)), malloc(1));
    hashmap_free(&m, count_free);
    assert_int_equal(freed, 100);
    hashmap_put(&m, slice_str("usable again"), k);
    hashmap_free(&m, NULL);
}

/* Every bit of every length matters: flip each bit of a message and the hash changes; low bits are spread. */
static void hash_depends_on_each_bit_and_spreads(void **state)
{
    (void)state;
    uint8_t data[80];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len <= sizeof(data); len++) {
        uint64_t h = hash_bytes64(data, len);
        assert_true(h == hash_bytes64(data, len));
        if (len < sizeof(data))
            assert_true(h != hash_bytes64(data, len + 1));
        for (size_t bit = 0; bit < len * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1 << (bit % 8));
            assert_true(h != hash_bytes64(data, len));
            data[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        }
    }
    int bucket[256] = {0};
    char k[32];
    for (int i = 0; i < 25600; i++) {
        struct slice s = key_of(i, k, sizeof(k));
        bucket[hash_bytes64(s.data, s.len) & 255]++;
    }
    for (int i = 0; i < 256; i++)
        assert_in_range(bucket[i], 20, 250); /* expected 100, deviation 10 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_get_replace_remove),
        cmocka_unit_test(keys_may_be_empty_or_hold_nuls),
        cmocka_unit_test(iteration_meets_each_entry_once_and_may_remove_it),
        cmocka_unit_test(fit_follows_what_is_left),
        cmocka_unit_test(free_hands_values_to_their_destructor),
        cmocka_unit_test(hash_depends_on_each_bit_and_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
