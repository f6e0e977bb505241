/*
 * Readiness: one epoll instance a loop, level-triggered, and the sources that are registered there.
 *
 * The hot path is one epoll_wait() and a call for each event. A source is registered once and stays, so that there
 * is no epoll_ctl() in the steady state. Events are received EVENTS_A_TURN at most at a time and delivered one after
 * the other; whoever changes what it waits for, or goes away, meanwhile has its events among the rest changed or
 * dropped, so that no source hears of what it no longer waits for, nor a new one of what an old one waited for.
 *
 * Not responsible for: when sources die (loop_doom()), and what else there is in a turn.
 */
#include "base/arena.h"
#include "base/log.h"
#include "loop_private.h"
#include "syscalls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void poll_open(struct poll *p)
{
    p->n = p->next = 0;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0) {
        /* Out of descriptors or memory before anything was started: nothing can go on. */
        log_error("could not create an event loop: %m");
        abort();
    }
}

void poll_close(struct poll *p)
{
    close(p->fd);
}

/* ---- sources
 * ---------------------------------------------------------------------------------------------- */

static uint32_t epoll_bits(int what)
{
    return ((what & WATCH_READ) ? EPOLLIN : 0u) | ((what & WATCH_WRITE) ? EPOLLOUT : 0u) |
           ((what & WATCH_EDGE) ? EPOLLET : 0u) | ((what & WATCH_EXCLUSIVE) ? EPOLLEXCLUSIVE : 0u);
}

/* Of the events that are still to be delivered. */
static void forget_events(struct poll *p, const struct source *s, int left)
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

static bool set(struct poll *p, struct source *s, int what)
{
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

bool source_set(struct loop *loop, struct source *s, int what)
{
    if (s->what == what)
        return true;
    if (s->what & ~what)
        forget_events(&loop->poll, s, what);
    return set(&loop->poll, s, what);
}

bool source_register_anew(struct loop *loop, struct source *s, int what)
{
    source_set(loop, s, 0);
    return source_set(loop, s, what);
}

void source_open_wakeup(struct loop *loop, struct source *s)
{
    s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->fd < 0) {
        log_error("could not create an eventfd: %m"); /* as poll_open() */
        abort();
    }
    if (!source_set(loop, s, WATCH_READ | WATCH_EDGE))
        abort();
}

/* ---- delivery
 * --------------------------------------------------------------------------------------------- */

static int what_of(const struct source *s, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        return s->what & (WATCH_READ | WATCH_WRITE);
    return ((events & EPOLLIN) ? WATCH_READ : 0) | ((events & EPOLLOUT) ? WATCH_WRITE : 0);
}

void poll_deliver(struct poll *p, bool wait)
{
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
            s->ready(s, what); /* may remove s */
    }
    p->n = p->next = 0;
}

/* ---- watches
 * ---------------------------------------------------------------------------------------------- */

struct loop_watch {
    struct source source;
    struct loop *loop;
    void (*ready)(void *arg, int what);
    void *arg;
};

static void watch_ready(struct source *s, int what)
{
    struct loop_watch *w = list_entry(s, struct loop_watch, source);
    w->ready(w->arg, what); /* may destroy w */
}

struct loop_watch *loop_watch_create(struct loop *loop, int fd, void (*ready)(void *arg, int what), void *arg)
{
    struct loop_watch *w = xcalloc(1, sizeof(*w));
    w->source = (struct source){.fd = fd, .ready = watch_ready};
    w->loop = loop;
    w->ready = ready;
    w->arg = arg;
    return w;
}

bool loop_watch_set(struct loop_watch *w, int what)
{
    return source_register_anew(w->loop, &w->source, what);
}

void loop_watch_destroy(struct loop_watch **watch)
{
    struct loop_watch *w = *watch;
    if (!w)
        return;
    *watch = NULL;
    source_set(w->loop, &w->source, 0);
    loop_doom(w->loop, w, NULL);
}
