/* What the files of this layer share about loops. */
#ifndef PGUNISON_NET_LOOP_PRIVATE_H
#define PGUNISON_NET_LOOP_PRIVATE_H

#include "base/buf.h"
#include "net/loop.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>

struct doomed {
    void *p;
    void (*free_p)(void *);
};

struct loop {
    struct event_base *base;
    struct event wake; /* on wake_fd, for loop_stop() */
    int wake_fd;
    atomic_bool stopping;

    bool in_run;
    uint64_t turn;   /* counts from 1 */
    uint64_t now_us; /* of this turn; 0: not read yet */

    /* A linked deferred is in `later` if it ran in this turn, else in `deferred`. */
    struct list deferred, later;
    struct doomed *doomed;
    size_t n_doomed, doomed_cap;

    /* Whose callback is running: cleared by that object's destroy or detach, so that the caller of the
       callback knows whether it may still touch the object. */
    const void *current;

    struct spare_buf *spare; /* output memory between two uses */
    size_t n_spare;
};

/* Calls cb(arg) as `self`'s callback; false when self was destroyed or detached in it. */
bool loop_call(struct loop *loop, const void *self, void (*cb)(void *arg), void *arg);
/* To be called by an object that goes away. */
static inline void loop_forget(struct loop *loop, const void *self)
{
    if (loop->current == self)
        loop->current = NULL;
}

/* Memory for an output queue, from the loop's spares; given back when the queue is empty. */
void loop_borrow_buf(struct loop *loop, struct buf *b);
void loop_return_buf(struct loop *loop, struct buf *b);

#endif
