/* What the files of this layer share about loops. */
#ifndef PGUNISON_NET_LOOP_PRIVATE_H
#define PGUNISON_NET_LOOP_PRIVATE_H

#include "base/buf.h"
#include "net/loop.h"
#include <stdatomic.h>
#include <sys/epoll.h>

struct doomed {
    void *p;
    void (*free_p)(void *);
};

/* A descriptor that is waited for, embedded in its owner, which must not die before the end of the turn
   (loop_doom()). Zero it but for fd and ready. */
struct source {
    /* what: WATCH_READ, WATCH_WRITE or both; errors and hang-ups are reported as whatever was waited for. The
       owner may remove the source in it, and doom itself. */
    void (*ready)(struct source *source, int what);
    int fd;
    int what; /* what is registered; 0: nothing */
};
/* With WATCH_READ. Edge: report each change once; for eventfds and timerfds, which then need not be read. Exclusive: of
   several loops that wait for the descriptor one is enough. */
enum { WATCH_EDGE = 4, WATCH_EXCLUSIVE = 8 };

#define EVENTS_A_TURN 256
#define SPARE_BUFS    64

/* poll.c: one epoll instance. */
struct poll {
    int fd;
    int n, next; /* of the events that are being delivered; next: the first that is not yet */
    struct epoll_event events[EVENTS_A_TURN];
};
void poll_open(struct poll *p); /* ends the process if it cannot */
void poll_close(struct poll *p);
/* Waits for events, if `wait`, and calls the sources that they are for. */
void poll_deliver(struct poll *p, bool wait);

/* timer.c: all timers of a loop. */
struct timers {
    struct source source;     /* of a timerfd */
    uint64_t armed_us;        /* what it is set to */
    struct loop_timer **heap; /* the one to look at next is the first */
    size_t n, cap;
    struct list due; /* those being looked at in this turn */
};
void timers_open(struct timers *t, struct loop *loop);
void timers_close(struct timers *t, struct loop *loop);

struct loop {
    struct poll poll;
    struct timers timers;
    struct source wake; /* an eventfd, for loop_stop() */
    struct list signals;
    struct source caught; /* signals; registered while there are any */
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

    struct list unsent; /* streams that were written to in this turn */

    /* Output memory between two uses. It lies apart from its addresses: whoever borrows has not to wait for it. */
    struct buf spare[SPARE_BUFS];
    size_t n_spare;
};

/* What to wait for from now on; 0: nothing, which cannot fail. No system call if nothing changes. Events that were
   received but not yet delivered and are no longer waited for are dropped. False, with errno: it stays as it was, as the
   kernel has no room (fs.epoll.max_user_watches); it has been logged. */
bool source_set(struct loop *loop, struct source *s, int what);
/* The same for a descriptor that may have been closed, and opened anew under the same number, since. False: nothing is waited for. */
bool source_register_anew(struct loop *loop, struct source *s, int what);
/* An eventfd for source->fd, registered so that each write to it calls source->ready. It is never read: each write
   is an edge, and the counter cannot overflow within the life of a machine. Ends the process if there is none. */
void source_open_wakeup(struct loop *loop, struct source *s);

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
