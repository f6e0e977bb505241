/*
 * Prepared statements over pooled connections. A worker-wide registry gives each distinct (text, parameter
 * types) an id; every server keeps which ids it has prepared, the least recently used leaving when there are
 * more than max_prepared_statements. On the server a statement is called "pgunison_<id>" in decimal; two of the
 * proxy's own (session/decide.c) have names and no registry.
 */
#ifndef PGUNISON_BACKEND_STATEMENTS_H
#define PGUNISON_BACKEND_STATEMENTS_H

#include "base/hashmap.h"
#include "base/list.h"

struct statement_def { /* counted by the clients that hold it and the servers that have it prepared */
    uint64_t id;
    unsigned refs;
    void *extra; /* whatever the session layer derived from the text; freed with free_extra */
    void (*free_extra)(void *extra);
    struct slice sql;
    uint16_t n_oids;
    const uint32_t *oids;
    char server_name[32];
};
/* Definitions that nobody refers to any more are kept for a while: drivers parse the same unnamed statement
   over and over. */
struct statement_registry;
struct statement_registry *statement_registry_create(void);
void statement_registry_destroy(struct statement_registry **r);
/* Relations have changed: texts that are interned from now on are prepared anew, as a server refuses to run a
   statement whose columns have changed since it was prepared. Statements that exist stay as they are. */
void statement_registry_renew(struct statement_registry *r);
/* a new reference */
struct statement_def *statement_intern(struct statement_registry *r, struct slice sql, uint16_t n_oids,
                                       const uint32_t *oids);
struct statement_def *statement_ref(struct statement_def *d);
void statement_unref(struct statement_registry *r, struct statement_def **d);

/* What one server has prepared. */
struct prepared_set;
struct prepared_set *prepared_set_create(struct statement_registry *r, unsigned max);
void prepared_set_destroy(struct prepared_set **p);
/* true: it is there (now most recently used) */
bool prepared_set_use(struct prepared_set *p, const struct statement_def *d);
/* Adds d; when that makes too many, the least recently used leaves and its server name is written to
 * evicted_r (else ""), for a Close. */
void prepared_set_add(struct prepared_set *p, struct statement_def *d, char evicted_r[32]);
void prepared_set_remove(struct prepared_set *p, const struct statement_def *d); /* its Parse failed */
/* DISCARD ALL, DEALLOCATE ALL */
void prepared_set_clear(struct prepared_set *p);
size_t prepared_set_count(const struct prepared_set *p);
/* Moving a server to another worker: statements are interned by the new one under the same names? No: it is
 * cleared first by DEALLOCATE ALL. */

#endif
