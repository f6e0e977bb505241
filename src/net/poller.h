/*
 * The poller of a loop: what waits for the kernel, and moves bytes to and from it. Private to net.
 *
 * The seam is shaped by completions. A poller does not say that a socket can be read; it says that these bytes came. The owner does
 * not ask whether a socket can be written; it lends bytes, and hears that they were sent. So an implementation may
 * receive and send when it likes: at once (epoll, libevent), by requests to the kernel (io_uring), or not at all (a simulator).
 *
 *     channel   a connection whose bytes the poller moves        receive, send_now, send, release
 *     intake    a listening socket whose connections it accepts  accept
 *     source    a descriptor that a library reads and writes by itself (libpq while it connects, OpenSSL): here alone
 *               readiness is reported                            watch
 *     wakeup    what other threads and signal handlers call      watch, wakeup_call()
 *     alarm     the time of the first timer                      set_alarm
 *
 * Every one is embedded in its owner, which must not die before the end of the turn (loop_doom()). Reports come from
 * deliver() alone, one after the other. What was released, closed or set to wait for less hears of nothing that it no longer
 * waits for, not even of events that the kernel had reported before.
 *
 * Not responsible for: turns, timers, output queues, what becomes of an error.
 */
#ifndef PGUNISON_NET_POLLER_H
#define PGUNISON_NET_POLLER_H

#include "base/error.h"
#include "base/slice.h"
#include "net/loop.h"
#include "net/stream.h"
#include <sys/socket.h>

struct poller {
    const struct poller_kind *kind;
    void (*alarm)(void *arg); /* the time of set_alarm() has come, or nearly */
    void *alarm_arg;
};

/* ---- sources ---- */

/* Zero it but for ready and fd. */
struct source {
    /* what: WATCH_READ, WATCH_WRITE or both; errors and hang-ups are reported as whatever was waited for. The
       owner may remove the source in it, and doom itself. */
    void (*ready)(struct poller *p, struct source *source, int what);
    int fd;
    int what;     /* what is registered; 0: nothing */
    void *handle; /* the poller's */
};
/* With WATCH_READ. Edge: each change is reported once, if the poller can do that (reports_edges). Exclusive: of several loops
   that wait for the descriptor one is enough. */
enum { WATCH_EDGE = 4, WATCH_EXCLUSIVE = 8 };

/* ---- wakeups ---- */

struct wakeup {
    struct source source; /* of an eventfd */
    void (*woken)(struct wakeup *w);
};

/* ---- channels ---- */

struct channel;
struct channel_events {
    /* n > 0 bytes came. They lie where room() said, or else in memory that is lent until this returns. */
    void (*received)(struct channel *ch, const uint8_t *bytes, size_t n);
    /* No more will come; nothing is received from now on. NULL: an orderly end. */
    void (*ended)(struct channel *ch, const struct error *why);
    /* n more of the bytes of send() have been sent; `left` have not. False: the channel has been released. */
    bool (*sent)(struct channel *ch, size_t n, size_t left);
    /* The bytes of send() cannot be sent. */
    void (*broken)(struct channel *ch, const struct error *why);
    /* Where the next bytes shall land; NULL: in the poller's memory. Asked when the last ones were as many as fit there. Nothing
       else happens between this call and what it is for. */
    uint8_t *(*room)(struct channel *ch, size_t *cap_r);
};

/* Zero it but for events and source.fd, which is non-blocking. */
struct channel {
    struct source source; /* the poller's, or the owner's while it is only watched */
    const struct channel_events *events;
    struct transfer *transfer; /* the poller's: what send() was given; NULL most of the time */
    bool receiving;
    bool filled; /* the last bytes that came were as many as fit */
};

/* ---- intakes ---- */

struct intake {
    struct source source;
    /* The descriptor is non-blocking, close-on-exec, and the callee's. It may stop the intake. */
    void (*accepted)(struct intake *in, int fd, const struct sockaddr_storage *from);
    void (*failed)(struct intake *in, int error_number);
};

/* ---- the seam ---- */

/* Functions that return false have set errno: the kernel has no room (fs.epoll.max_user_watches, memory), which has been logged. It
   stays as it was before. Whatever is switched off cannot fail. No system call if nothing changes. */
struct poller_kind {
    const char *name;
    bool reports_edges;

    struct poller *(*create)(void); /* ends the process if it cannot */
    void (*destroy)(struct poller *p);
    /* Reports what has happened; waits until something does, if `wait`. */
    void (*deliver)(struct poller *p, bool wait);
    /* Monotonic. Whoever simulates sets the time. */
    uint64_t (*now_us)(void);
    /* Calls p->alarm at that time, in any case once, and not at earlier ones that were set before. */
    void (*set_alarm)(struct poller *p, uint64_t at_us);

    bool (*receive)(struct poller *p, struct channel *ch, bool on);
    /* Sends the parts one after the other, as far as that goes at once. IO_OK: all; IO_AGAIN: *sent_r bytes. The bytes are
       not needed any more when it returns. Not while a send() is under way. */
    enum io (*send_now)(struct poller *p, struct channel *ch, const struct slice *parts, int n_parts,
                        size_t *sent_r, struct error *error_r);
    /* One or two parts, which stay where they are until they have been sent or the channel is released. */
    bool (*send)(struct poller *p, struct channel *ch, const struct slice *parts, int n_parts);
    /* Nothing more is reported, and what was lent is the owner's again. The descriptor stays open. */
    void (*release)(struct poller *p, struct channel *ch);

    bool (*accept)(struct poller *p, struct intake *in, bool on);
    bool (*watch)(struct poller *p, struct source *s, int what);
};
extern const struct poller_kind poller_epoll, poller_libevent;

/* poller_libevent.c: for what libevent brings beside its loop. */
struct event_base;
struct event_base *poller_event_base(struct poller *p);

static inline bool source_set(struct poller *p, struct source *s, int what)
{
    return s->what == what || p->kind->watch(p, s, what);
}

/* For w->source.fd, an eventfd that was opened elsewhere and stays open. Ends the process if the kernel has no room. */
void wakeup_watch(struct poller *p, struct wakeup *w);
/* The same with an eventfd of its own. */
void wakeup_open(struct poller *p, struct wakeup *w);
void wakeup_close(struct poller *p, struct wakeup *w);
/* From any thread or signal handler: woken() is called, once for all calls that come before it. */
void wakeup_call(int fd);

/* Memory to receive into, of which each thread has one piece. */
#define LENT_BYTES ((size_t)64 * 1024)
extern _Thread_local uint8_t poller_lent[LENT_BYTES];

#endif
