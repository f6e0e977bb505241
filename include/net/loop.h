/*
 * One event loop per thread, over libevent or epoll. Everything here is for the loop's own thread,
 * except loop_stop() and mailboxes (net/mailbox.h).
 *
 * One turn: deliver I/O and due timers, then run what was deferred (once each; a deferred call may defer
 * others, which run in the same turn), then send what streams were given to send, then free what was doomed. The time
 * is read once a turn.
 */
#ifndef PGUNISON_NET_LOOP_H
#define PGUNISON_NET_LOOP_H

#include "base/error.h"
#include "base/list.h"
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* What waits for the kernel, and moves bytes. Both do the same; epoll takes fewer instructions, libevent has DNS. */
enum loop_poller { POLLER_EPOLL, POLLER_LIBEVENT, POLLERS };
const char *loop_poller_name(enum loop_poller poller); /* "epoll", "libevent" */
enum status loop_poller_find(const char *name, enum loop_poller *poller_r, struct error *error_r) MUST_CHECK;

struct loop *loop_create(enum loop_poller poller);
void loop_destroy(struct loop **loop);
void loop_run(struct loop *loop);              /* until loop_stop() */
void loop_stop(struct loop *loop);             /* from any thread, and from signal watches */
uint64_t loop_now_us(const struct loop *loop); /* monotonic, of this turn */

/* Work for the end of this turn. Embedded in its owner; deferring what is already deferred does nothing. What
   has run in this turn and is deferred again runs in the next one, for which the loop does not wait: deferred
   work cannot keep the loop from its sockets. Zero it but for run and arg. */
struct deferred {
    struct list_node node;
    void (*run)(void *arg);
    void *arg;
    uint64_t ran_in_turn; /* the loop's own */
};
void loop_defer(struct loop *loop, struct deferred *d);
void loop_undefer(struct loop *loop, struct deferred *d);
/* Frees p with free() (or free_p, if given) at the end of this turn, when no callback can report on it any
 * more. */
void loop_doom(struct loop *loop, void *p, void (*free_p)(void *));

/* One-shot timers. Starting a started timer moves it. Starting later and stopping are free of system calls
   and of heap work, so a timer may be started and stopped with each statement. Never fires early by
   loop_now_us(). */
struct loop_timer;
struct loop_timer *loop_timer_create(struct loop *loop, void (*fired)(void *arg), void *arg);
void loop_timer_destroy(struct loop_timer **timer);
void loop_timer_start(struct loop_timer *timer, uint64_t after_us);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_pending(const struct loop_timer *timer);

/* Readiness of a descriptor that someone else reads and writes (libpq while it connects, helper threads).
   ready() is told what is ready, of what was waited for; errors and hang-ups count as everything. */
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
struct loop_watch;
struct loop_watch *loop_watch_create(struct loop *loop, int fd, void (*ready)(void *arg, int what),
                                     void *arg);
/* WATCH_* bits to wait for, 0: none. Registers anew each time, because libpq may have closed the socket and
   opened another one under the same number; when the number changes, another watch is needed. False, with errno: the
   kernel has no room (fs.epoll.max_user_watches, memory), and nothing will be reported; 0 cannot fail. */
bool loop_watch_set(struct loop_watch *watch, int what) MUST_CHECK;
void loop_watch_destroy(struct loop_watch **watch);

/* Signals, delivered as ordinary callbacks on this loop. */
struct loop_signal;
struct loop_signal *loop_signal_create(struct loop *loop, int signo, void (*got)(void *arg, int signo),
                                       void *arg);
void loop_signal_destroy(struct loop_signal **sig);

#endif
