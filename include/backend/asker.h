/*
 * Queries of the proxy's own, with the control role: the shard's admin_user, else its user, else the first of admin_users
 * with its password from auth_file. Each shard has one connection, an ordinary server (server.h), opened when needed,
 * kept while used, closed after some idle seconds. One asker per loop. For resolution, checks at start, the console: never
 * for clients' statements.
 */
#ifndef PGUNISON_BACKEND_ASKER_H
#define PGUNISON_BACKEND_ASKER_H

#include "backend/dial.h"
#include "backend/rows.h"
#include "conf/config.h"

/* What an answer may take. One that takes more is lost. */
#define ASKER_MAX_BYTES ((size_t)64 << 20)

struct asker;
struct asker *asker_create(struct loop *loop, struct config *config);
void asker_reconfigure(struct asker *a, struct config *config);
void asker_destroy(struct asker **a); /* outstanding queries are reported as lost first */
/* Queries to one shard (index in topology.shards, by definition: shard->id) run one after another. done() is
   called from the loop, once, never from inside this call; the rows are good until it returns. timeout_us bounds waiting
   and running together; then the query is cancelled, the connection closed, and the answer is lost. 0: no limit. */
void asker_query(struct asker *a, const struct shard_def *shard, const char *sql, uint64_t timeout_us,
                 void (*done)(void *arg, const struct rows *r), void *arg);
/* Drops queries of arg that have not been answered: done() is not called for them. */
void asker_forget(struct asker *a, void *arg);

#endif
