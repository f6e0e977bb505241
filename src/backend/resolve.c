/*
 * Name resolution without blocking the loop.
 *
 * The hosts of a definition are looked up side by side, and their addresses stand in the order of the definition. Numeric addresses
 * and socket directories are known at once; names are asked of net/dns.
 *
 * Not responsible for: caching (each connection asks anew, so a changed address is used at once).
 */
#include "resolve.h"

#include "base/arena.h"
#include "net/dns.h"
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct host {
    struct resolve *resolve;
    char *name, *port;
    struct targets found;
    struct dns_query *query; /* NULL: nothing is asked */
};

struct resolve {
    struct loop *loop;
    struct host *hosts;
    size_t n_hosts, asked;
    struct deferred immediate; /* when nothing has to be asked */
    void (*done)(void *arg, struct targets *targets);
    void *arg;
};

/* Set before there are threads. */
static struct dns *dns;

void resolve_init(struct dns *process_dns)
{
    dns = process_dns;
}

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

/* libpq's way with what is no name. False: it is one. */
static bool add_numeric(struct host *h)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    char numeric[NI_MAXHOST];
    if (getaddrinfo(h->name, NULL, &hints, &found) != 0)
        return false;
    if (getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof(numeric), NULL, 0, NI_NUMERICHOST) ==
        0)
        add_target(&h->found, h->name, numeric, h->port);
    freeaddrinfo(found);
    return true;
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

/* Appends what was found for one host; the last reason stands. */
static void take(struct targets *all, struct targets *found)
{
    if (found->count) {
        all->items = xrealloc(all->items, (all->count + found->count) * sizeof(struct target));
        memcpy(all->items + all->count, found->items, found->count * sizeof(struct target));
        all->count += found->count;
    }
    if (found->why[0])
        memcpy(all->why, found->why, sizeof(all->why));
    free(found->items); /* their strings are in all */
    *found = (struct targets){0};
}

static void report(void *arg)
{
    struct resolve *r = arg;
    struct targets all = {.hosts = r->n_hosts};
    for (size_t i = 0; i < r->n_hosts; i++)
        take(&all, &r->hosts[i].found);
    void (*done)(void *, struct targets *) = r->done;
    void *done_arg = r->arg;
    resolve_cancel(&r);
    done(done_arg, &all);
}

static void answered(void *arg, const struct dns_answer *answer)
{
    struct host *h = arg;
    struct resolve *r = h->resolve;
    h->query = NULL;
    for (int i = 0; i < answer->n; i++)
        add_target(&h->found, h->name, answer->addresses[i], h->port);
    if (answer->n == 0)
        snprintf(h->found.why, sizeof(h->found.why),
                 "could not translate host name \"%.100s\" to address: %s", h->name, answer->why);
    assert(r->asked > 0);
    if (--r->asked == 0)
        report(r);
}

static void look_up(struct host *h)
{
    struct resolve *r = h->resolve;
    if (!h->port) {
        snprintf(h->found.why, sizeof(h->found.why), "there are more hosts than ports");
    } else if (is_socket_directory(h->name)) {
        add_target(&h->found, h->name, NULL, h->port);
    } else if (!add_numeric(h)) {
        assert(dns);
        h->query = dns_ask(dns, r->loop, h->name, answered, h);
        r->asked++;
    }
}

struct resolve *resolve_start(struct loop *loop, const char *host, const char *port,
                              void (*done)(void *arg, struct targets *targets), void *arg)
{
    struct resolve *r = xcalloc(1, sizeof(*r));
    *r = (struct resolve){.loop = loop, .done = done, .arg = arg};
    r->immediate = (struct deferred){.run = report, .arg = r};
    bool one_port = !port || !strchr(port, ',');
    char *name;
    for (size_t i = 0; (name = member(host ? host : "", i)); i++) {
        r->hosts = xrealloc(r->hosts, (i + 1) * sizeof(struct host));
        r->hosts[i] =
            (struct host){.resolve = r, .name = name, .port = member(port ? port : "", one_port ? 0 : i)};
        r->n_hosts = i + 1;
    }
    for (size_t i = 0; i < r->n_hosts; i++)
        look_up(&r->hosts[i]);
    if (r->asked == 0)
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
    for (size_t i = 0; i < r->n_hosts; i++) {
        struct host *h = &r->hosts[i];
        dns_forget(&h->query);
        targets_free(&h->found);
        free(h->name);
        free(h->port);
    }
    free(r->hosts);
    loop_doom(r->loop, r, NULL);
}
