/*
 * Queries of the proxy's own, as libpq runs them: with the control role (shard's admin_user, else user, else
 * the first of admin_users with its password from auth_file), on connections of their own, one per shard,
 * opened when needed, kept while used, closed after some idle seconds. One manager per loop. For resolution,
 * checks at start, the console: never for clients' statements.
 */
#ifndef PGUNISON_BACKEND_CONTROL_H
#define PGUNISON_BACKEND_CONTROL_H

#include "backend/dial.h"
#include "conf/config.h"

struct control_result {
    bool ok;                   /* every statement of the message ran */
    bool lost;                 /* no answer, and none will come; else error is the shard's own */
    const struct error *error; /* !ok */
    const char *tag;           /* ok: of the last statement */
    char txn_status;
    size_t n_rows, n_columns;       /* of the last statement that returned rows; text format */
    const char *const *const *rows; /* rows[i][j], NULL: SQL NULL */
};

struct control;
struct control *control_create(struct loop *loop, struct config *config);
void control_reconfigure(struct control *c, struct config *config);
void control_destroy(struct control **c); /* outstanding queries are reported as lost first */
/* Queries to one shard (index in topology.shards, by definition: shard->id) run one after another. done() is
   called from the loop, once, never from inside this call. timeout_us bounds waiting and running together;
   then the connection is dropped and the answer is lost. */
void control_query(struct control *c, const struct shard_def *shard, const char *sql, uint64_t timeout_us,
                   void (*done)(void *arg, const struct control_result *r), void *arg);
/* Drops queries of arg that have not been answered: done() is not called for them. */
void control_forget(struct control *c, void *arg);

#endif
