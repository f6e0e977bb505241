/* Loops as a worker has them: on what PGUNISON_POLLER says, or epoll. */
#ifndef PGUNISON_TEST_LOOP_OF_TEST_H
#define PGUNISON_TEST_LOOP_OF_TEST_H

#include "net/loop.h"
#include <stdlib.h>

static inline struct loop *worker_loop_create(void)
{
    const char *name = getenv("PGUNISON_POLLER");
    enum loop_poller poller;
    struct error e;
    if (loop_poller_find(name ? name : "epoll", &poller, &e) != STATUS_OK)
        abort();
    return loop_create(poller);
}

#endif
