/*
 * A client's connection, from accept to the end. Lives on one worker's loop.
 */
#ifndef PGUNISON_SESSION_CLIENT_H
#define PGUNISON_SESSION_CLIENT_H

#include "net/listener.h"
#include "session/env.h"

/* Takes the descriptor over. */
void client_accept(struct session_env *env, int fd, const struct peer_address *peer);
/* A cancel request that reached the worker of the key: unknown keys are ignored, as PostgreSQL does. */
void client_cancel(struct session_env *env, uint32_t pid, uint32_t secret);
/* Ends all idle clients (and, when `now`, the others too) with 57P01. */
void client_close_all(struct session_env *env, bool now);
/* Ends clients of one database (NULL: all) with the message, for KILL. */
void client_kill_database(struct session_env *env, const char *database);

/* For the console. Whole messages, without ReadyForQuery, which is added. */
void client_console_reply(struct client *c, struct slice messages);
bool client_is_admin(const struct client *c); /* in admin_users; else only stats_users' rights */

struct client_info {
    const char *user, *database, *state, *application_name, *host, *txn_state;
    int port;
    uint32_t pid;
    uint64_t connected_us, request_us, transaction_us; /* loop time; 0: none */
    const char *txid;                                  /* of a two-phase commit under way; else "" */
    char shards[256], writers[256];                    /* names, blank-separated */
    size_t memory_bytes; /* as of the last look at it, a quarter of a second ago at most */
    bool in_transaction, waiting, tls;
};
void client_each(struct session_env *env, void (*each)(void *arg, const struct client_info *info), void *arg);

#endif
