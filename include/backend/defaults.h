/*
 * What sessions begin with: settings of the login's role and database (ALTER ROLE ... SET, ALTER DATABASE ... SET), which
 * PostgreSQL applies when a connection starts and never again. A connection that was opened before such a change has the
 * old ones, and is for nobody who comes after it.
 *
 * Each login on a shard has a generation. It moves when a statement that passes may have changed defaults, and when a
 * new connection begins with others than the one before. A connection remembers the generation of the moment
 * in which it was begun: it is used while that is still the present one. Process-wide; any thread.
 *
 * Not responsible for: postgresql.conf, of which servers that are open hear by themselves.
 */
#ifndef PGUNISON_BACKEND_DEFAULTS_H
#define PGUNISON_BACKEND_DEFAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct defaults; /* of one login on one shard; lives until defaults_deinit() */

/* What a connection began with. */
struct begun {
    struct defaults *of;    /* NULL: nobody asked */
    const atomic_uint *now; /* the generation at present */
    unsigned generation;    /* when it was begun */
    uint32_t told; /* a hash of the reported variables that a session can set, and of the isolation level */
    char isolation[32]; /* default_transaction_isolation; "": not known */
};

/* Sets of, now and generation; the rest is empty. Before the connection is opened. */
void defaults_begin(const char *shard, const char *user, struct begun *begun_r);
/* The connection began with these, of which `found` is a hash; place: of several hosts each may have defaults of its own. */
void defaults_compare(struct begun *begun, const char *place, uint64_t found);
/* Those of this user of the shards may have changed; NULL: anybody's. */
void defaults_renew(const char *user);
/* Moves whenever a generation does. */
uint64_t defaults_version(void);

static inline bool defaults_are_old(const struct begun *begun)
{
    return begun->now && atomic_load_explicit(begun->now, memory_order_acquire) != begun->generation;
}

void defaults_init(void);
void defaults_deinit(void);

#endif
