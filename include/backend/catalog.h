/*
 * The relations that the router must know (model/relation.h), loaded on demand through the client's own connection, so that
 * search_path, rights and uncommitted DDL are the client's.
 */
#ifndef PGUNISON_BACKEND_CATALOG_H
#define PGUNISON_BACKEND_CATALOG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/hashmap.h"
#include "conf/topology.h"
#include "model/relation.h"

/* Custom variables that functions of a database set. Never forgotten, as servers do not either; NULL past the end. */
struct custom_names;
struct custom_names *custom_names_create(void);
void custom_names_free(void *names);
const char *custom_name(const struct custom_names *names, size_t i);

struct catalog;
/* names: its loads add to them; theirs is the longer life. */
struct catalog *catalog_create(const struct database_def *db, struct custom_names *names);
void catalog_destroy(struct catalog **c);
void catalog_clear(struct catalog *c);
/* Entries of relations that did not exist, of those that he asked for last: others may make them at any moment. They die,
 * and what plans keep of them. */
void catalog_forget_missing(struct catalog *c, const void *wanted_by);
/* What it takes of memory. */
size_t catalog_bytes(const struct catalog *c);
/* What somebody has derived from a relation and keeps in it takes so many bytes more, and is freed with it. Once a relation. */
void catalog_derived(struct relation *r, size_t bytes, void (*free_derived)(struct relation *r));
/* Who asked for it last: catalog_forget_missing(). */
void catalog_wanted_by(struct relation *r, const void *who);
size_t catalog_count(const struct catalog *c);
/* context: what else the meaning of a name depends on (user and search_path). schema "": not qualified. NULL:
 * not loaded, or forgotten. It is there until the next catalog_load_finish(), which may forget it. */
struct relation *catalog_find(struct catalog *c, const char *context, const char *schema, const char *name);

/* False: not loaded. Effects (enum effect) of all functions of that name, in any schema if that is "". */
bool catalog_function(struct catalog *c, const char *schema, const char *name, uint16_t *effects_r);
/* False: not loaded. */
bool catalog_own(const struct catalog *c, const struct own_code **items_r, size_t *n_r);

/* Loading one relation: the SQL to run on a shard that has it, then its rows, then finish. */
/* The shard to ask (index in db->shards): the relation's own, else home. */
unsigned catalog_load_shard(const struct database_def *db, const char *schema, const char *name);
/* SQL with everything qualified by pg_catalog, one result set of text columns; relation names quoted as
 * literals. */
void catalog_load_sql(const struct database_def *db, const char *schema, const char *name, struct buf *sql);
/* The same for a function, on the home shard: NULL context. */
void catalog_function_sql(const char *schema, const char *name, struct buf *sql);
/* The same for what is the application's own. */
void catalog_own_sql(struct buf *sql);
struct catalog_load *catalog_load_begin_own(struct catalog *c);
struct catalog_load *catalog_load_begin_function(struct catalog *c, const char *schema, const char *name);
/* shard: the one that is asked; it is catalog_load_shard(), or one that has temporary objects of the session's, which is
   where a temporary relation is then. Rows come in the order of the result. Refuses (0A000) an unqualified name that might
   mean another table on another shard: a search_path with several schemas and a single(...) table of that name. */
struct catalog_load;
struct catalog_load *catalog_load_begin(struct catalog *c, const char *context, const char *schema,
                                        const char *name, unsigned shard);
enum status catalog_load_row(struct catalog_load *l, const struct slice *values, size_t n,
                             struct error *error_r) MUST_CHECK;
/* Of what has come so far: the session's own, which nobody else may see. */
bool catalog_load_is_temporary(const struct catalog_load *l);
/* stores it; if another load was first, gives that one's; of a function, of the application's own: NULL */
struct relation *catalog_load_finish(struct catalog_load **l);
void catalog_load_abort(struct catalog_load **l);

#endif
