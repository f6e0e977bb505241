/* From the host of a shard's definition to addresses. Private to backend. */
#ifndef PGUNISON_BACKEND_RESOLVE_H
#define PGUNISON_BACKEND_RESOLVE_H

#include "net/dns.h"
#include "net/loop.h"

/* Who is asked for names; to be called before there are threads. NULL: there are no names to look up. */
void resolve_init(struct dns *dns);

/* One place to try. */
struct target {
    char *host;     /* as written */
    char *hostaddr; /* numeric; NULL: host is a socket directory, or empty (libpq's default) */
    char *port;     /* NULL: the default */
};
struct targets {
    struct target *items;
    size_t count;
    size_t hosts;  /* how many hosts the definition names */
    char why[280]; /* what could not be resolved; "": nothing */
};
void targets_free(struct targets *t);

/* host, port: comma-separated lists, as libpq reads them. Calls done() once, from the loop, never from inside
   this call; the targets are the callee's then. Numeric addresses and socket directories are not asked of DNS. */
struct resolve;
struct resolve *resolve_start(struct loop *loop, const char *host, const char *port,
                              void (*done)(void *arg, struct targets *targets), void *arg);
void resolve_cancel(struct resolve **r);

#endif
