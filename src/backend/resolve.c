/*
 * Name resolution without blocking the loop.
 *
 * The part that a helper thread works on (struct lookup) is shared by it and the loop, and goes with the last
 * of the two, so a lookup that hangs outlives whoever asked. Its eventfd is the wake-up; `finished` orders
 * the memory: the thread stores it after its last write to the targets, the loop reads them only after it has
 * seen it.
 *
 * Not responsible for: caching (each connection asks anew, so a changed address is used at once).
 */
#include "resolve.h"

#include "base/arena.h"
#include "base/log.h"
#include "helpers.h"
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_ADDRESSES_PER_HOST 16

struct lookup {
    struct helper_job job;
    atomic_uint refs;
    atomic_bool finished;
    int fd;
    char *host, *port;
    struct targets targets;
};

struct resolve {
    struct loop *loop;
    struct lookup *lookup;
    struct loop_watch *watch;  /* while a helper works */
    struct deferred immediate; /* else */
    void (*done)(void *arg, struct targets *targets);
    void *arg;
};

void targets_free(struct targets *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->items[i].host);
        free(t->items[i].hostaddr);
        free(t->items[i].port);
    }
    free(t->items);
    *t = (struct targets){0};
}

static void add_target(struct targets *t, const char *host, const char *hostaddr, const char *port)
{
    t->items = xrealloc(t->items, (t->count + 1) * sizeof(struct target));
    t->items[t->count++] = (struct target){.host = xstrdup(host),
                                           .hostaddr = hostaddr ? xstrdup(hostaddr) : NULL,
                                           .port = *port ? xstrdup(port) : NULL};
}

static bool is_socket_directory(const char *host)
{
    return *host == '\0' || *host == '/' || *host == '@'; /* as libpq's is_unixsock_path() */
}

/* flags AI_NUMERICHOST: never asks anybody. False: it did not work; t->why says so. */
static bool add_host(struct targets *t, const char *host, const char *port, int flags)
{
    if (is_socket_directory(host)) {
        add_target(t, host, NULL, port);
        return true;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *list = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0) {
        snprintf(t->why, sizeof(t->why), "could not translate host name \"%.100s\" to address: %s", host,
                 gai_strerror(rc));
        return false;
    }
    int n = 0;
    for (struct addrinfo *a = list; a && n < MAX_ADDRESSES_PER_HOST; a = a->ai_next) {
        char numeric[NI_MAXHOST];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, numeric, sizeof(numeric), NULL, 0, NI_NUMERICHOST) == 0) {
            add_target(t, host, numeric, port);
            n++;
        }
    }
    freeaddrinfo(list);
    return n > 0;
}

/* The i-th member of a comma-separated list, in memory of its own; NULL: there are not so many. */
static char *member(const char *text, size_t i)
{
    for (; i > 0; i--) {
        text = strchr(text, ',');
        if (!text)
            return NULL;
        text++;
    }
    size_t len = strcspn(text, ",");
    while (len > 0 && *text == ' ') {
        text++;
        len--;
    }
    while (len > 0 && text[len - 1] == ' ')
        len--;
    return xstrndup(text, len);
}

/* Fills lookup->targets. With AI_NUMERICHOST: false when a name must be looked up. */
static bool resolve_all(struct lookup *l, int flags)
{
    bool one_port = strchr(l->port, ',') == NULL;
    bool all = true;
    char *host;
    for (size_t i = 0; (host = member(l->host, i)); i++) {
        char *port = member(l->port, one_port ? 0 : i);
        if (port)
            all = add_host(&l->targets, host, port, flags) && all;
        else
            snprintf(l->targets.why, sizeof(l->targets.why), "there are more hosts than ports");
        l->targets.hosts++;
        free(port);
        free(host);
    }
    return all;
}

static void lookup_unref(struct lookup *l)
{
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (l->fd >= 0)
        close(l->fd);
    targets_free(&l->targets);
    free(l->host);
    free(l->port);
    free(l);
}

static void look_up(struct helper_job *job)
{
    struct lookup *l = list_entry(job, struct lookup, job);
    (void)resolve_all(l, 0);
    atomic_store_explicit(&l->finished, true, memory_order_release);
    uint64_t one = 1;
    ssize_t n = write(l->fd, &one, sizeof(one));
    (void)n; /* an eventfd that holds 0 takes 1 */
    lookup_unref(l);
}

static void report(struct resolve *r)
{
    struct targets targets = r->lookup->targets;
    r->lookup->targets = (struct targets){0};
    void (*done)(void *, struct targets *) = r->done;
    void *arg = r->arg;
    resolve_cancel(&r);
    done(arg, &targets);
}

static void looked_up(void *arg, int what)
{
    (void)what;
    struct resolve *r = arg;
    if (atomic_load_explicit(&r->lookup->finished, memory_order_acquire))
        report(r);
}

static void report_immediately(void *arg)
{
    report(arg);
}

struct resolve *resolve_start(struct loop *loop, const char *host, const char *port,
                              void (*done)(void *arg, struct targets *targets), void *arg)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->job.run = look_up;
    l->fd = -1;
    l->host = xstrdup(host ? host : "");
    l->port = xstrdup(port ? port : "");
    atomic_init(&l->refs, 1);
    struct resolve *r = xcalloc(1, sizeof(*r));
    *r = (struct resolve){.loop = loop, .lookup = l, .done = done, .arg = arg};
    r->immediate = (struct deferred){.run = report_immediately, .arg = r};

    if (resolve_all(l, AI_NUMERICHOST)) {
        loop_defer(loop, &r->immediate);
        return r;
    }
    targets_free(&l->targets);
    l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->fd < 0) {
        snprintf(l->targets.why, sizeof(l->targets.why), "could not look up a name: %m");
        loop_defer(loop, &r->immediate);
        return r;
    }
    r->watch = loop_watch_create(loop, l->fd, looked_up, r);
    loop_watch_set(r->watch, WATCH_READ);
    atomic_store(&l->refs, 2);
    helpers_run(HELPER_RESOLVE, &l->job);
    return r;
}

void resolve_cancel(struct resolve **rp)
{
    struct resolve *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    loop_watch_destroy(&r->watch); /* before the descriptor may close */
    loop_undefer(r->loop, &r->immediate);
    lookup_unref(r->lookup);
    loop_doom(r->loop, r, NULL);
}
