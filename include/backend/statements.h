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

struct statement_def {
    uint64_t id;
    unsigned refs;     /* of clients */
    unsigned prepared; /* on so many servers */
    void *extra;       /* whatever the session layer derived from the text: statement_set_extra() */
    void (*free_extra)(void *extra);
    struct slice sql;
    uint16_t n_oids;
    bool extra_used; /* since statement_registry_trim() last came by: whoever uses it sets this */
    const uint32_t *oids;
    char server_name[32];
};
/* Definitions that no client refers to any more are kept for a while: drivers parse the same unnamed statement
   over and over. Of those that servers have prepared, the number stays as long as they do, the text does not. */
struct statement_registry;
struct statement_registry *statement_registry_create(void);
void statement_registry_destroy(struct statement_registry **r);
/* What all definitions take of the heap, with what was derived from them. A text that several clients prepared is
   there once. */
size_t statement_registry_bytes(const struct statement_registry *r);
size_t statement_registry_count(const struct statement_registry *r);
/* What was derived is forgotten, until it is asked for again, where it was not used for the longest time. Nobody may
   be using any. */
void statement_registry_trim(struct statement_registry *r, size_t max_extra_bytes);
void statement_registry_forget_idle(struct statement_registry *r); /* what no client refers to */
/* epoch: of what is known of relations. When they have changed, texts that are interned are prepared anew by another one, as a
   server refuses to run a statement whose columns have changed since it was prepared; statements that exist stay as they are.
   A new reference; a long text that lies in a blob (base/blob.h) is not copied */
struct statement_def *statement_intern(struct statement_registry *r, uint64_t epoch, struct slice sql,
                                       uint16_t n_oids, const uint32_t *oids);
size_t statement_bytes(const struct statement_def *d); /* of its text, types and definition */
void statement_set_extra(struct statement_registry *r, struct statement_def *d, void *extra,
                         void (*free_extra)(void *extra), size_t bytes);
struct statement_def *statement_ref(struct statement_def *d);
void statement_unref(struct statement_registry *r, struct statement_def **d);

/* What one server has prepared. */
struct prepared_set;
struct prepared_set *prepared_set_create(struct statement_registry *r, unsigned max);
void prepared_set_destroy(struct prepared_set **p);
/* true: it is there (now most recently used) */
bool prepared_set_use(struct prepared_set *p, const struct statement_def *d);
/* A Close that goes in front of a Parse; name "": none. id not 0: prepared_set_closed() is to hear what came of it. */
struct prepared_close {
    uint64_t id;
    char name[32];
};
/* Adds d, whose Parse is to be sent. When that makes too many, the least recently used is to be closed; what the server may
   have under d's own name likewise. */
void prepared_set_add(struct prepared_set *p, struct statement_def *d, struct prepared_close close_r[2]);
void prepared_set_closed(struct prepared_set *p, uint64_t id,
                         bool answered); /* else it was skipped, or failed */
void prepared_set_remove(struct prepared_set *p,
                         const struct statement_def *d); /* its Parse failed, or was skipped */
/* Names in them may mean something else to the server by now, without its knowing: each is prepared again before it is used. */
void prepared_set_stale(struct prepared_set *p);
/* DISCARD ALL, DEALLOCATE ALL */
void prepared_set_clear(struct prepared_set *p);
size_t prepared_set_bytes(const struct prepared_set *p);
size_t prepared_set_count(const struct prepared_set *p); /* of those that are surely there */
bool prepared_set_empty(const struct prepared_set *p);   /* nor may any be */
/* Moving a server to another worker: statements are interned by the new one under the same names? No: it is
 * cleared first by DEALLOCATE ALL. */

#endif
