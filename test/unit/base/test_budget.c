/* Sums over owners, and who has the largest. */
#include "base/budget.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct budget budget;

static void sums_are_those_of_the_shares(void **state)
{
    struct budget_share a, b;
    (void)state;
    budget_init(&budget);
    budget_share_init(&a, &budget, 0);
    budget_share_init(&b, &budget, 7);
    assert_int_equal(budget_total(&budget), 0);
    assert_int_equal(budget_share_set(&a, BUDGET_PLANS, 100), 0);
    assert_int_equal(budget_share_set(&b, BUDGET_PLANS, 40), 0);
    assert_int_equal(budget_share_set(&b, BUDGET_BUFFERS, 7), 0);
    assert_int_equal(budget_used(&budget, BUDGET_PLANS), 140);
    assert_int_equal(budget_total(&budget), 147);
    assert_int_equal(budget_share_set(&a, BUDGET_PLANS, 30), 70); /* less by so much */
    assert_int_equal(budget_share_set(&a, BUDGET_PLANS, 30), 0);
    assert_int_equal(budget_used(&budget, BUDGET_PLANS), 70);
    budget_share_set(&a, BUDGET_PLANS, 0);
    budget_share_set(&b, BUDGET_PLANS, 0);
    budget_share_set(&b, BUDGET_BUFFERS, 0);
    assert_int_equal(budget_total(&budget), 0);
}

static void one_owner_has_the_largest(void **state)
{
    struct budget_share s[3];
    (void)state;
    budget_init(&budget);
    for (unsigned i = 0; i < 3; i++)
        budget_share_init(&s[i], &budget, i);
    assert_true(budget_share_is_largest(&s[0], 0));
    budget_share_largest(&s[0], 10);
    budget_share_largest(&s[1], 20);
    budget_share_largest(&s[2], 20);
    assert_false(budget_share_is_largest(&s[0], 10));
    assert_true(budget_share_is_largest(&s[1], 20)); /* of equal ones, the first */
    assert_false(budget_share_is_largest(&s[2], 20));
    assert_true(budget_share_is_largest(&s[2], 21));
    assert_true(budget_share_is_largest(&s[0], 21)); /* it has grown since it was last told */
}

#define ROUNDS 20000

static void *changes(void *arg)
{
    struct budget_share *s = arg;
    for (size_t i = 0; i <= ROUNDS; i++)
        budget_share_set(s, BUDGET_SESSIONS, (i * 7919) % 1000);
    budget_share_set(s, BUDGET_SESSIONS, 1 + s->owner);
    return NULL;
}

static void threads_do_not_lose_each_others(void **state)
{
    struct budget_share s[4];
    pthread_t threads[4];
    (void)state;
    budget_init(&budget);
    for (unsigned i = 0; i < 4; i++) {
        budget_share_init(&s[i], &budget, i);
        assert_int_equal(pthread_create(&threads[i], NULL, changes, &s[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(budget_used(&budget, BUDGET_SESSIONS), 1 + 2 + 3 + 4);
}

/* A difference of two readings, of the sum and of the part, could be below 0. */
static void a_sum_without_a_part(void **state)
{
    struct budget_share s[2];
    (void)state;
    budget_init(&budget);
    budget_share_init(&s[0], &budget, 0);
    budget_share_init(&s[1], &budget, 1);
    budget_share_set(&s[0], BUDGET_PLANS, 100);
    budget_share_set(&s[0], BUDGET_BUFFERS, 7);
    budget_share_set(&s[1], BUDGET_PLANS, 50);
    budget_share_set(&s[1], BUDGET_SERVERS, 3);
    assert_int_equal(budget_total(&budget), 160);
    assert_int_equal(budget_total_without(&budget, BUDGET_PLANS), 10);
    assert_int_equal(budget_total_without(&budget, BUDGET_SERVERS), 157);
    assert_int_equal(budget_share_total(&s[0]), 107);
    assert_int_equal(budget_share_total(&s[1]), 53);
}

static atomic_bool stop;

static void *plans_come_and_go(void *arg)
{
    while (!atomic_load(&stop)) {
        budget_share_set(arg, BUDGET_PLANS, 1000);
        budget_share_set(arg, BUDGET_PLANS, 0);
    }
    return NULL;
}

static void a_sum_without_what_moves_does_not_move(void **state)
{
    struct budget_share s;
    pthread_t thread;
    (void)state;
    budget_init(&budget);
    budget_share_init(&s, &budget, 0);
    budget_share_set(&s, BUDGET_BUFFERS, 5);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, plans_come_and_go, &s), 0);
    for (unsigned i = 0; i < 200000; i++)
        assert_int_equal(budget_total_without(&budget, BUDGET_PLANS), 5);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

static void what_leaves_is_told(void **state)
{
    struct budget_share s[2];
    (void)state;
    budget_init(&budget);
    budget_share_init(&s[0], &budget, 0);
    budget_share_init(&s[1], &budget, 1);
    assert_int_equal(budget_leaving(&budget), 0);
    budget_share_leaving(&s[0], 100);
    budget_share_leaving(&s[1], 20);
    assert_int_equal(budget_leaving(&budget), 120);
    budget_share_leaving(&s[0], 30);
    assert_int_equal(budget_leaving(&budget), 50);
    budget_share_leaving(&s[0], 0);
    budget_share_leaving(&s[1], 0);
    assert_int_equal(budget_leaving(&budget), 0);
}

static void the_largest_of_all(void **state)
{
    struct budget_share s[2];
    (void)state;
    budget_init(&budget);
    budget_share_init(&s[0], &budget, 0);
    budget_share_init(&s[1], &budget, BUDGET_OWNERS - 1);
    assert_int_equal(budget_largest(&budget), 0);
    budget_share_largest(&s[0], 10);
    budget_share_largest(&s[1], 20);
    assert_int_equal(budget_largest(&budget), 20);
    budget_share_largest(&s[1], 0);
    assert_int_equal(budget_largest(&budget), 10);
}

static void the_machine_has_memory(void **state)
{
    (void)state;
    assert_true(budget_of_machine() > 1 << 20);
    assert_true(budget_of_machine() < SIZE_MAX / 4 * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_shares),
        cmocka_unit_test(one_owner_has_the_largest),
        cmocka_unit_test(threads_do_not_lose_each_others),
        cmocka_unit_test(a_sum_without_a_part),
        cmocka_unit_test(a_sum_without_what_moves_does_not_move),
        cmocka_unit_test(what_leaves_is_told),
        cmocka_unit_test(the_largest_of_all),
        cmocka_unit_test(the_machine_has_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
