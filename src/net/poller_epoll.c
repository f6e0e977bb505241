/*
 * The poller over epoll, for workers on Linux: one instance, level-triggered, and a timerfd for the alarm.
 *
 * The hot path is one epoll_wait() and a call for each event. A source is registered once and stays, so that there
 * is no epoll_ctl() in the steady state. Events are received EVENTS_A_TURN at most at a time and delivered one after
 * the other; whoever changes what it waits for, or goes away, meanwhile has its events among the rest changed or
 * dropped, so that no source hears of what it no longer waits for, nor a new one of what an old one waited for.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "readiness.h"
#include "syscalls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_A_TURN 256

struct epoll_poller {
    struct poller base;
    int fd;
    int n, next;         /* of the events that are being delivered; next: the first that is not yet */
    struct source alarm; /* a timerfd */
    struct epoll_event events[EVENTS_A_TURN];
};

static struct epoll_poller *own(struct poller *p)
{
    return list_entry(p, struct epoll_poller, base);
}

/* ---- sources
 * ---------------------------------------------------------------------------------------------- */

static uint32_t epoll_bits(int what)
{
    return ((what & WATCH_READ) ? EPOLLIN : 0u) | ((what & WATCH_WRITE) ? EPOLLOUT : 0u) |
           ((what & WATCH_EDGE) ? EPOLLET : 0u) | ((what & WATCH_EXCLUSIVE) ? EPOLLEXCLUSIVE : 0u);
}

/* Of the events that are still to be delivered. */
static void forget_events(struct epoll_poller *p, const struct source *s, int left)
{
    for (int i = p->next; i < p->n; i++) {
        struct epoll_event *e = &p->events[i];
        if (e->data.ptr != s)
            continue;
        if (left == 0)
            e->data.ptr = NULL;
        else
            e->events &= epoll_bits(left) | EPOLLERR | EPOLLHUP;
    }
}

static bool watch(struct poller *base, struct source *s, int what)
{
    struct epoll_poller *p = own(base);
    if (s->what & ~what)
        forget_events(p, s, what);
    int op = s->what == 0 ? EPOLL_CTL_ADD : what == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    struct epoll_event e = {.events = epoll_bits(what), .data.ptr = s};
    if (epoll_ctl(p->fd, op, s->fd, &e) != 0 && op != EPOLL_CTL_DEL) {
        int saved_errno = errno;
        log_warning("could not wait for descriptor %d: %m", s->fd);
        errno = saved_errno;
        return false;
    }
    s->what = what;
    return true;
}

/* ---- delivery
 * --------------------------------------------------------------------------------------------- */

static int what_of(const struct source *s, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        return s->what & (WATCH_READ | WATCH_WRITE);
    return ((events & EPOLLIN) ? WATCH_READ : 0) | ((events & EPOLLOUT) ? WATCH_WRITE : 0);
}

static void deliver(struct poller *base, bool wait)
{
    struct epoll_poller *p = own(base);
    int n = plain_epoll_wait(p->fd, p->events, EVENTS_A_TURN, wait ? -1 : 0);
    assert(n >= 0 || errno == EINTR);
    p->n = n > 0 ? n : 0;
    p->next = 0;
    while (p->next < p->n) {
        const struct epoll_event *e = &p->events[p->next++];
        struct source *s = e->data.ptr;
        if (!s)
            continue;
        int what = what_of(s, e->events);
        if (what)
            s->ready(base, s, what); /* may remove s */
    }
    p->n = p->next = 0;
}

/* ---- the alarm
 * --------------------------------------------------------------------------------------------- */

static void expired(struct poller *p, struct source *source, int what)
{
    (void)source;
    (void)what;
    p->alarm(p->alarm_arg);
}

static void set_alarm(struct poller *base, uint64_t at_us)
{
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(at_us / 1000000), .tv_nsec = (long)(at_us % 1000000 * 1000)}};
    if (timerfd_settime(own(base)->alarm.fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        log_warning("could not set a timer: %m");
}

/* ---- life
 * -------------------------------------------------------------------------------------------------- */

static struct poller *create(void)
{
    struct epoll_poller *p = xcalloc(1, sizeof(*p));
    p->base.kind = &poller_epoll;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    p->alarm =
        (struct source){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), .ready = expired};
    if (p->fd < 0 || p->alarm.fd < 0) {
        /* Out of descriptors or memory before anything was started: nothing can go on. */
        log_error("could not create an event loop: %m");
        abort();
    }
    if (!source_set(&p->base, &p->alarm, WATCH_READ | WATCH_EDGE))
        abort();
    return &p->base;
}

static void destroy(struct poller *base)
{
    struct epoll_poller *p = own(base);
    close(p->alarm.fd);
    close(p->fd);
    free(p);
}

const struct poller_kind poller_epoll = {.name = "epoll",
                                         .reports_edges = true,
                                         .create = create,
                                         .destroy = destroy,
                                         .deliver = deliver,
                                         .now_us = clock_monotonic_us,
                                         .set_alarm = set_alarm,
                                         .receive = readiness_receive,
                                         .send_now = readiness_send_now,
                                         .send = readiness_send,
                                         .release = readiness_release,
                                         .accept = readiness_accept,
                                         .watch = watch};
