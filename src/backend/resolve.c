/*
 * Name resolution without blocking the loop.
 *
 * What must be asked for is an errand of a helper thread, which works on a struct lookup: one that hangs outlives
 * whoever asked.
 *
 * Not responsible for: caching (each connection asks anew, so a changed address is used at once).
 */
#include "resolve.h"

#include "base/arena.h"
#include "helpers.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ADDRESSES_PER_HOST 16

struct lookup {
    char *host, *port;
    struct targets targets;
};

struct resolve {
    struct loop *loop;
    struct lookup *lookup;     /* the errand's while there is one, but for what errand_start() allows */
    struct errand *errand;     /* while a helper works */
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

static void free_lookup(void *load)
{
    struct lookup *l = load;
    targets_free(&l->targets);
    free(l->host);
    free(l->port);
    free(l);
}

static void look_up(void *load)
{
    (void)resolve_all(load, 0);
}

static const struct errand_kind looking_up = {HELPER_RESOLVE, look_up, free_lookup};

static void report(void *arg)
{
    struct resolve *r = arg;
    struct targets targets = r->lookup->targets;
    r->lookup->targets = (struct targets){0};
    void (*done)(void *, struct targets *) = r->done;
    void *done_arg = r->arg;
    resolve_cancel(&r);
    done(done_arg, &targets);
}

struct resolve *resolve_start(struct loop *loop, const char *host, const char *port,
                              void (*done)(void *arg, struct targets *targets), void *arg)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->host = xstrdup(host ? host : "");
    l->port = xstrdup(port ? port : "");
    struct resolve *r = xcalloc(1, sizeof(*r));
    *r = (struct resolve){.loop = loop, .lookup = l, .done = done, .arg = arg};
    r->immediate = (struct deferred){.run = report, .arg = r};

    bool must_ask = !resolve_all(l, AI_NUMERICHOST);
    struct error why;
    if (must_ask) {
        targets_free(&l->targets);
        r->errand = errand_start(loop, &looking_up, l, report, r, &why);
        if (!r->errand)
            snprintf(l->targets.why, sizeof(l->targets.why), "could not look up a name: %.150s", why.message);
    }
    if (!r->errand)
        loop_defer(loop, &r->immediate);
    return r;
}

void resolve_cancel(struct resolve **rp)
{
    struct resolve *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    loop_undefer(r->loop, &r->immediate);
    if (r->errand)
        errand_forget(&r->errand); /* frees the lookup */
    else
        free_lookup(r->lookup);
    loop_doom(r->loop, r, NULL);
}
