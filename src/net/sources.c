/*
 * What wakes a loop besides streams: timers, watches of foreign descriptors, signals.
 *
 * Timers are lazy. Statements start and stop theirs all the time and almost none ever fires, so libevent's
 * heap is touched only to make a timer fire sooner:
 *
 *     due_us        when the owner wants it to fire; TIMER_OFF: not at all
 *     scheduled_us  when libevent will call us;      TIMER_OFF: not at all
 *
 * Invariant: due_us == TIMER_OFF, or scheduled_us <= due_us. A call that comes too early schedules the rest;
 * this also evens out libevent's clock, which is coarser than ours and may run up to some milliseconds
 * behind.
 */
#include "base/arena.h"
#include "loop_private.h"
#include <stdlib.h>

#define TIMER_OFF UINT64_MAX

struct loop_timer {
    struct loop *loop;
    struct event ev;
    uint64_t due_us, scheduled_us;
    void (*fired)(void *arg);
    void *arg;
};

static void schedule(struct loop_timer *t, uint64_t now_us)
{
    uint64_t after_us = t->due_us > now_us ? t->due_us - now_us : 0;
    struct timeval tv = {.tv_sec = (time_t)(after_us / 1000000),
                         .tv_usec = (suseconds_t)(after_us % 1000000)};
    t->scheduled_us = t->due_us;
    event_add(&t->ev, &tv);
}

static void timer_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_timer *t = arg;
    t->scheduled_us = TIMER_OFF;
    if (t->due_us == TIMER_OFF)
        return;
    uint64_t now_us = loop_now_us(t->loop);
    if (now_us < t->due_us) {
        schedule(t, now_us);
        return;
    }
    t->due_us = TIMER_OFF;
    t->fired(t->arg); /* may destroy t */
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));
    t->loop = loop;
    t->due_us = t->scheduled_us = TIMER_OFF;
    t->fired = fired;
    t->arg = arg;
    event_assign(&t->ev, loop->base, -1, 0, timer_event, t);
    return t;
}

void loop_timer_destroy(struct loop_timer **timer)
{
    struct loop_timer *t = *timer;
    if (!t)
        return;
    *timer = NULL;
    event_del(&t->ev);
    loop_doom(t->loop, t, NULL);
}

void loop_timer_start(struct loop_timer *t, uint64_t after_us)
{
    uint64_t now_us = loop_now_us(t->loop);
    t->due_us = after_us < TIMER_OFF - 1 - now_us ? now_us + after_us : TIMER_OFF - 1;
    if (t->scheduled_us > t->due_us)
        schedule(t, now_us);
}

void loop_timer_stop(struct loop_timer *t)
{
    t->due_us = TIMER_OFF;
}

bool loop_timer_pending(const struct loop_timer *t)
{
    return t->due_us != TIMER_OFF;
}

/* ---- watches
 * ----------------------------------------------------------------------------------------------- */

/* Reading and writing are two events: libevent changes either with one system call. */
struct loop_watch {
    struct loop *loop;
    struct event read_ev, write_ev;
    void (*ready)(void *arg, int what);
    void *arg;
};

static void watch_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct loop_watch *w = arg;
    w->ready(w->arg, (what & EV_READ) ? WATCH_READ : WATCH_WRITE); /* may destroy w */
}

struct loop_watch *loop_watch_create(struct loop *loop, int fd, void (*ready)(void *arg, int what), void *arg)
{
    struct loop_watch *w = xcalloc(1, sizeof(*w));
    w->loop = loop;
    w->ready = ready;
    w->arg = arg;
    event_assign(&w->read_ev, loop->base, fd, EV_READ | EV_PERSIST, watch_event, w);
    event_assign(&w->write_ev, loop->base, fd, EV_WRITE | EV_PERSIST, watch_event, w);
    return w;
}

void loop_watch_set(struct loop_watch *w, int what)
{
    event_del(&w->read_ev);
    event_del(&w->write_ev);
    if (what & WATCH_READ)
        event_add(&w->read_ev, NULL);
    if (what & WATCH_WRITE)
        event_add(&w->write_ev, NULL);
}

void loop_watch_destroy(struct loop_watch **watch)
{
    struct loop_watch *w = *watch;
    if (!w)
        return;
    *watch = NULL;
    loop_watch_set(w, 0);
    loop_doom(w->loop, w, NULL);
}

/* ---- signals
 * ----------------------------------------------------------------------------------------------- */

struct loop_signal {
    struct loop *loop;
    struct event ev;
    void (*got)(void *arg, int signo);
    void *arg;
};

static void signal_event(evutil_socket_t signo, short what, void *arg)
{
    (void)what;
    struct loop_signal *s = arg;
    s->got(s->arg, (int)signo); /* may destroy s */
}

struct loop_signal *loop_signal_create(struct loop *loop, int signo, void (*got)(void *arg, int signo),
                                       void *arg)
{
    struct loop_signal *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->got = got;
    s->arg = arg;
    event_assign(&s->ev, loop->base, signo, EV_SIGNAL | EV_PERSIST, signal_event, s);
    event_add(&s->ev, NULL);
    return s;
}

void loop_signal_destroy(struct loop_signal **sig)
{
    struct loop_signal *s = *sig;
    if (!s)
        return;
    *sig = NULL;
    event_del(&s->ev);
    loop_doom(s->loop, s, NULL);
}
