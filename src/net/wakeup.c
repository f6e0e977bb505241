/*
 * Wakeups: eventfds that other threads and signal handlers write to.
 *
 * A poller that reports edges hears of each write, and the counter is never read: it cannot overflow within the life of a machine.
 * Else it is read before woken() is called, so that a call which comes meanwhile is reported again.
 */
#include "base/list.h"
#include "base/log.h"
#include "poller.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void wakeup_ready(struct poller *p, struct source *source, int what)
{
    (void)what;
    struct wakeup *w = list_entry(source, struct wakeup, source);
    if (!p->kind->reports_edges) {
        uint64_t calls;
        ssize_t n = read(source->fd, &calls, sizeof(calls));
        (void)n; /* of several loops that share it another one may have been faster */
    }
    w->woken(w);
}

void wakeup_watch(struct poller *p, struct wakeup *w)
{
    w->source.ready = wakeup_ready;
    if (!source_set(p, &w->source, WATCH_READ | WATCH_EDGE))
        abort(); /* it has been logged; nothing can go on */
}

void wakeup_open(struct poller *p, struct wakeup *w)
{
    w->source.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->source.fd < 0) {
        log_error("could not create an eventfd: %m");
        abort();
    }
    wakeup_watch(p, w);
}

void wakeup_close(struct poller *p, struct wakeup *w)
{
    (void)source_set(p, &w->source, 0);
    close(w->source.fd);
}

void wakeup_call(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    (void)n; /* the counter never comes near its end */
}
