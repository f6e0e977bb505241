/* What the files of this layer share about loops. */
#ifndef PGUNISON_NET_LOOP_PRIVATE_H
#define PGUNISON_NET_LOOP_PRIVATE_H

#include "base/buf.h"
#include "net/loop.h"
#include "poller.h"
#include <stdatomic.h>

struct doomed {
    void *p;
    void (*free_p)(void *);
};

#define SPARE_BUFS 64

/* timer.c: all timers of a loop. */
struct timers {
    uint64_t armed_us;        /* what the poller's alarm is set to */
    struct loop_timer **heap; /* the one to look at next is the first */
    size_t n, cap;
    struct list due; /* those being looked at in this turn */
};
void timers_open(struct timers *t, struct loop *loop);
void timers_close(struct timers *t);

struct loop {
    struct poller *poller;
    struct timers timers;
    struct wakeup wake; /* for loop_stop() */
    atomic_bool stopping;

    bool in_run;
    uint64_t turn;   /* counts from 1 */
    uint64_t now_us; /* of this turn; 0: not read yet, and outside of a run */

    /* A linked deferred is in `later` if it ran in this turn, else in `deferred`. */
    struct list deferred, later;
    struct doomed *doomed;
    size_t n_doomed, doomed_cap;

    /* Whose callback is running: cleared by that object's destroy or detach, so that the caller of the
       callback knows whether it may still touch the object. */
    const void *current;

    struct mailbox *mailbox; /* for messages of this layer's own */

    struct list unsent; /* streams that were written to in this turn */

    /* Output memory between two uses. It lies apart from its addresses: whoever borrows has not to wait for it. */
    struct buf spare[SPARE_BUFS];
    size_t n_spare;
};

/* turn.c */
void turn_run_deferred(struct loop *loop);
void turn_free_doomed(struct loop *loop);

/* Calls cb(arg) as `self`'s callback; false when self was destroyed or detached in it. */
bool loop_call(struct loop *loop, const void *self, void (*cb)(void *arg), void *arg);
/* To be called by an object that goes away. */
static inline void loop_forget(struct loop *loop, const void *self)
{
    if (loop->current == self)
        loop->current = NULL;
}

/* stream.c: sends what was written in this turn. */
void streams_send(struct loop *loop);

/* Memory for an output queue, from the loop's spares; given back when the queue is empty. */
void loop_borrow_buf(struct loop *loop, struct buf *b);
void loop_return_buf(struct loop *loop, struct buf *b);

#endif
