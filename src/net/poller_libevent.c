/*
 * The poller over libevent, for the control thread and for every platform.
 *
 * Events are persistent and level-triggered, and stay registered; a source has two, so that waiting for one thing more is one
 * change. The base has no locks, as each loop belongs to one thread, and does not cache the time, as the loop does. All timers are
 * behind one event of the base (timer.c). EPOLLEXCLUSIVE is unknown here: of several loops that wait for connections all are woken,
 * and those that come late find none.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "readiness.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdlib.h>

struct libevent_poller {
    struct poller base;
    struct event_base *events;
    struct event *alarm;
};

/* A source's, while it waits for anything. */
struct registration {
    struct poller *poller;
    struct source *source;
    struct event read, write;
};

static struct libevent_poller *own(struct poller *p)
{
    return list_entry(p, struct libevent_poller, base);
}

/* ---- sources
 * ---------------------------------------------------------------------------------------------- */

static void readable(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    struct registration *r = arg;
    r->source->ready(r->poller, r->source, WATCH_READ); /* may free r */
}

static void writable(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    struct registration *r = arg;
    r->source->ready(r->poller, r->source, WATCH_WRITE); /* may free r */
}

static struct registration *registration_create(struct poller *p, struct source *s)
{
    struct registration *r = xmalloc(sizeof(*r));
    r->poller = p;
    r->source = s;
    event_assign(&r->read, own(p)->events, s->fd, EV_READ | EV_PERSIST, readable, r);
    event_assign(&r->write, own(p)->events, s->fd, EV_WRITE | EV_PERSIST, writable, r);
    return r;
}

/* An event that is active already, but not delivered yet, is taken back when it is removed. */
static bool set(struct event *event, bool is_on, bool on)
{
    if (is_on == on)
        return true;
    return (on ? event_add(event, NULL) : event_del(event)) == 0 || !on;
}

static bool watch(struct poller *p, struct source *s, int what)
{
    if (!s->handle)
        s->handle = registration_create(p, s);
    struct registration *r = s->handle;
    bool read_before = s->what & WATCH_READ, write_before = s->what & WATCH_WRITE;
    bool read = what & WATCH_READ, write = what & WATCH_WRITE;
    bool done = set(&r->read, read_before, read);
    if (done && !set(&r->write, write_before, write)) {
        done = false;
        int saved_errno = errno;
        set(&r->read, read, read_before);
        errno = saved_errno;
    }
    if (done)
        s->what = what;
    else
        log_warning("could not wait for descriptor %d", s->fd);
    if (s->what == 0) {
        int saved_errno = errno;
        free(r);
        s->handle = NULL;
        errno = saved_errno;
    }
    return done;
}

/* ---- delivery
 * --------------------------------------------------------------------------------------------- */

static void deliver(struct poller *p, bool wait)
{
    if (event_base_loop(own(p)->events, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK)) < 0) {
        log_error("could not wait for events: %m");
        abort();
    }
}

static void expired(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    struct poller *p = arg;
    p->alarm(p->alarm_arg);
}

/* The base reads a clock of ticks, which may be a few milliseconds behind: whoever is called looks at the time. */
static void set_alarm(struct poller *p, uint64_t at_us)
{
    uint64_t now_us = clock_monotonic_us(), in_us = at_us > now_us ? at_us - now_us : 0;
    struct timeval in = {.tv_sec = (time_t)(in_us / 1000000), .tv_usec = (suseconds_t)(in_us % 1000000)};
    if (event_add(own(p)->alarm, &in) != 0)
        log_warning("could not set a timer: %m");
}

/* ---- life
 * -------------------------------------------------------------------------------------------------- */

static void log_event(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN)
        log_warning("libevent: %s", message);
    else
        log_debug("libevent: %s", message);
}

static void prepare_library(void)
{
    event_set_log_callback(log_event);
}

static struct event_base *base_create(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

static struct poller *create(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_library);
    struct libevent_poller *p = xcalloc(1, sizeof(*p));
    p->base.kind = &poller_libevent;
    p->events = base_create();
    p->alarm = p->events ? evtimer_new(p->events, expired, &p->base) : NULL;
    if (!p->alarm) {
        /* Out of descriptors or memory before anything was started: nothing can go on. */
        log_error("could not create an event loop: %m");
        abort();
    }
    return &p->base;
}

static void destroy(struct poller *base)
{
    struct libevent_poller *p = own(base);
    event_free(p->alarm);
    event_base_free(p->events);
    free(p);
}

struct event_base *poller_event_base(struct poller *p)
{
    assert(p->kind == &poller_libevent);
    return own(p)->events;
}

const struct poller_kind poller_libevent = {.name = "libevent",
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
