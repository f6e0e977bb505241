/*
 * Pools of server connections, one per (user, database, shard) and worker; limits hold over all workers of
 * the process.
 *
 * Shared between workers, per (user, database, shard): a count of open connections (atomic) and which workers
 * wait (atomic); both are touched only when a connection is opened or closed, or somebody waits. A worker
 * that waits at the limit is given an idle server of another worker through its mailbox.
 */
#ifndef PGUNISON_BACKEND_POOL_H
#define PGUNISON_BACKEND_POOL_H

#include "backend/server.h"
#include "conf/config.h"
#include "net/mailbox.h"

/* One per process. */
struct pool_limits;
struct pool_limits *pool_limits_create(void);
void pool_limits_destroy(struct pool_limits **l);

/* One per worker: all its pools. To be destroyed before the mailbox, which may still bring connections of
   other workers; limits go last. */
struct pool_manager;
struct pool_manager *pool_manager_create(struct loop *loop, unsigned worker, struct mailbox *mailbox,
                                         struct pool_limits *limits, struct config *config);
/* A reload: pools of shards whose definition changed (or that are gone) close their idle connections now and
   the others when they come back; connections whose definition is the same (every field but id) stay. */
void pool_manager_reconfigure(struct pool_manager *m, struct config *config);
/* PAUSE and RESUME of one database (NULL: of all; both count on their own): clients that hold no server get
 * none, and wait. */
void pool_manager_pause(struct pool_manager *m, const char *database, bool on);
/* RECONNECT: what is open now is closed, idle connections at once, the others when they come back. database
 * NULL: all. */
void pool_manager_reconnect(struct pool_manager *m, const char *database);
void pool_manager_destroy(struct pool_manager **m); /* closes all idle connections; none may be borrowed */
struct statement_registry *pool_manager_statements(struct pool_manager *m);

/* The pool for a client's user on shard (index in db->shards) of its database. password: the client's own,
 * used when the shard has no user. */
struct server_pool *pool_find(struct pool_manager *m, const char *user, const char *password,
                              const struct database_def *db, unsigned shard);

struct server_wait {
    struct list_node node;
    struct server_pool *pool;
    uint64_t since_us;
    /* the transaction holds a server already: served before new ones, and may use the reserve */
    bool privileged;
    /* from the loop, never from inside pool_acquire */
    void (*granted)(struct server_wait *w, struct server *s);
    void (*failed)(struct server_wait *w, const struct error *why);
    void *arg;
};
/* An idle connection at once (checked: not dead, not past its lifetime), or NULL and the wait is queued: a
   connection is opened if the limits allow it. query_wait_timeout ends a wait with 53300 `no connection to
   shard "s1" became free in …`. While a shard cannot be reached, waits fail at once with the last error until
   server_login_retry has passed. */
struct server *pool_acquire(struct server_pool *p, struct server_wait *w);
void pool_cancel_wait(struct server_wait *w);
/* Gives a clean connection back (status 'I', nothing outstanding, no pinned state); it goes to the first that
 * waits. */
void pool_release(struct server *s);
/* Closes a borrowed connection: lost, in a state that nobody knows, or not worth cleaning. */
void pool_discard(struct server *s);
/* Runs server_reset_query (session pooling, pinned state), then releases. Takes the server over. */
void pool_reset_and_release(struct server *s);

/* A connection that is idle in the pool was lost: server.idle_lost. */
void pool_server_lost(struct server *s, const struct error *why);

/* For SHOW POOLS and SHOW SERVERS. */
struct pool_stats {
    const char *user, *database, *shard;
    unsigned active, idle, opening, waiting;
    uint64_t oldest_wait_us;
    const char *last_error; /* "" : none */
};
void pool_manager_each(struct pool_manager *m, void (*each)(void *arg, const struct pool_stats *stats),
                       void *arg);
void pool_manager_each_server(struct pool_manager *m,
                              void (*each)(void *arg, const struct pool_stats *pool, const struct server *s),
                              void *arg);

#endif
