/* Helpers of the net tests. A test that hangs dies by SIGALRM. */
#ifndef PGUNISON_TEST_NET_TEST_H
#define PGUNISON_TEST_NET_TEST_H

#include "net/loop.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Every test runs on each poller. */
static enum loop_poller poller_of_test __attribute__((unused));

#define run_on_each_poller(tests, group_setup, group_teardown)                                               \
    (run_on_poller(POLLER_EPOLL, tests, group_setup, group_teardown) +                                       \
     run_on_poller(POLLER_LIBEVENT, tests, group_setup, group_teardown))
#define run_on_poller(poller, tests, group_setup, group_teardown)                                            \
    (poller_of_test = (poller),                                                                              \
     cmocka_run_group_tests_name(loop_poller_name(poller), tests, group_setup, group_teardown))

struct countdown {
    struct loop *loop;
    struct deferred deferred;
    int left;
};

static inline void countdown_run(void *arg)
{
    struct countdown *c = arg;
    if (--c->left > 0)
        loop_defer(c->loop, &c->deferred);
    else
        loop_stop(c->loop);
}

/* Runs n turns, none of which waits. */
static inline void run_turns(struct loop *loop, int n)
{
    struct countdown c = {.loop = loop, .left = n};
    c.deferred = (struct deferred){.run = countdown_run, .arg = &c};
    loop_defer(loop, &c.deferred);
    loop_run(loop);
}

#endif
