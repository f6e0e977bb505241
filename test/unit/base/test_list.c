/* base/list.h, base/bitset.h */
#include "base/bitset.h"
#include "base/list.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int n;
    struct list_node node;
};

static void nodes_keep_their_order(void **state)
{
    (void)state;
    struct list l;
    struct item items[4] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}};
    list_init(&l);
    assert_true(list_empty(&l));
    assert_null(list_first(&l));
    assert_null(list_last(&l));
    assert_null(list_pop_front(&l));
    assert_null(list_pop_back(&l));
    list_push_back(&l, &items[2].node);
    list_push_back(&l, &items[3].node);
    list_push_front(&l, &items[0].node);
    list_insert_after(&l, &items[0].node, &items[1].node);
    assert_int_equal(l.count, 4);
    int want = 0;
    list_foreach(&l, it, next) assert_int_equal(list_entry(it, struct item, node)->n, want++);
    assert_int_equal(want, 4);
    assert_ptr_equal(list_last(&l), &items[3].node);
    for (int i = 0; i < 4; i++) {
        assert_true(list_linked(&items[i].node));
        assert_ptr_equal(list_pop_front(&l), &items[i].node);
        assert_false(list_linked(&items[i].node));
    }
    assert_true(list_empty(&l));

    for (int i = 0; i < 4; i++)
        list_push_back(&l, &items[i].node);
    for (int i = 3; i >= 0; i--) {
        assert_ptr_equal(list_pop_back(&l), &items[i].node);
        assert_false(list_linked(&items[i].node));
        assert_int_equal(l.count, i);
    }
    assert_null(list_first(&l));
}

static void foreach_may_remove_the_current_node(void **state)
{
    (void)state;
    struct list l;
    struct item items[10] = {0};
    list_init(&l);
    for (int i = 0; i < 10; i++) {
        items[i].n = i;
        list_push_back(&l, &items[i].node);
    }
    list_foreach(&l, it, next)
    {
        if (list_entry(it, struct item, node)->n % 2)
            list_remove(&l, it);
    }
    assert_int_equal(l.count, 5);
    int want = 0;
    list_foreach(&l, it, next)
    {
        assert_int_equal(list_entry(it, struct item, node)->n, want);
        want += 2;
    }
}

static void shard_sets_are_sets(void **state)
{
    (void)state;
    struct shard_set s, o;
    shard_set_clear(&s);
    assert_int_equal(shard_set_next(&s, 0), -1);
    static const unsigned members[] = {0, 63, 64, 127, 200, 255};
    for (int i = 0; i < 6; i++)
        shard_set_add(&s, members[i]);
    shard_set_add(&s, 64);
    assert_int_equal(shard_set_count(&s), 6);
    int n = 0;
    for (int i = shard_set_next(&s, 0); i >= 0; i = shard_set_next(&s, i + 1))
        assert_int_equal(i, members[n++]);
    assert_int_equal(n, 6);
    assert_int_equal(shard_set_next(&s, 256), -1);
    assert_true(shard_set_has(&s, 127));
    assert_false(shard_set_has(&s, 128));
    shard_set_clear(&o);
    shard_set_add(&o, 5);
    shard_set_union(&o, &s);
    assert_int_equal(shard_set_count(&o), 7);
    assert_false(shard_set_equal(&o, &s));
    shard_set_add(&s, 5);
    assert_true(shard_set_equal(&o, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_keep_their_order),
        cmocka_unit_test(foreach_may_remove_the_current_node),
        cmocka_unit_test(shard_sets_are_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
