/*
 * What clients' sessions live in: one per worker, and one shared by all workers.
 */
#ifndef PGUNISON_SESSION_ENV_H
#define PGUNISON_SESSION_ENV_H

#include "backend/asker.h"
#include "backend/catalog.h"
#include "backend/pool.h"
#include "base/budget.h"
#include "base/recent.h"
#include "conf/config.h"
#include "net/mailbox.h"
#include "net/tls.h"
#include "sql/plan_cache.h"
#include "sql/template.h"
#include "txn/gid.h"

#include <pthread.h>

/* Counters of one worker; written by it alone, read by others (relaxed: each is a number of its own). */
struct session_stats {
    atomic_uint_fast64_t clients_total, transactions, queries, bytes_received, bytes_sent, query_us,
        transaction_us, wait_us;
    atomic_uint_fast64_t one_phase, two_phase, prepare_failed, in_doubt;
    atomic_uint clients;
};

/* A histogram of times in powers of two of a microsecond; for SHOW TWO_PHASE. */
#define TIMES_BUCKETS 32
struct session_times {
    atomic_uint_fast64_t n[TIMES_BUCKETS];
};

/* Databases by name, as operators marked them; any thread. */
enum database_mark { DATABASE_DISABLED, DATABASE_PAUSED, DATABASE_MARKS };
struct session_databases {
    pthread_mutex_t lock;
    struct hashmap marked[DATABASE_MARKS]; /* under lock */
};

/* What resolvers of this process have ended, the last ones: whoever got 08007 may ask later than the
 * decision's row is kept. */
#define SESSION_RESOLVED_MAX 1024
struct session_resolved {
    char txid[TXID_MAX_BYTES + 1]; /* "": not used yet */
    bool committed;
};

/* Shared by all workers. */
struct session_shared {
    struct budget budget; /* memory: memory.c */
    size_t machine_bytes; /* memory_limit, where it is not set */
    atomic_uint clients;  /* connected, of all workers: max_client_conn */
    /* By database_def.slot. One moves when DDL passes: catalogs and plans of that database that were made before are of no use.
       Released after the shards have committed, acquired before anything is planned. */
    atomic_uint_fast64_t catalog_versions[DATABASE_SLOTS];
    atomic_uint_fast64_t txid_counter, decider_counter;
    atomic_bool draining;        /* shutting down: no new clients, idle ones are told 57P01 */
    atomic_bool sequences_asked; /* somebody has called lastval() or currval(): sequences.c */
    atomic_bool paused;          /* all databases: for SHOW; pools are told by pool_manager_pause() */
    struct session_databases databases;
    struct session_times prepare, decide, apply;
    atomic_uint_fast64_t resolved_commit, resolved_abort;
    atomic_uint_fast64_t torn; /* participants that were seen to have ended the other way */
    uint32_t proxy_id;         /* of this process, in the names of its transactions */
    /* Transactions that a live coordinator of this process works on. Only two-phase commits come here. */
    pthread_mutex_t owned_lock;
    struct hashmap owned; /* txid -> struct client * (not to be followed by other threads) */
    struct session_resolved resolved[SESSION_RESOLVED_MAX]; /* a ring, under owned_lock, too */
    unsigned next_resolved;
    struct hashmap reported_torn; /* "<txid> <shard>" -> the map itself; under owned_lock, too */
};

void session_shared_init(struct session_shared *s);
void session_shared_deinit(struct session_shared *s);
void session_databases_init(struct session_databases *d);
void session_databases_deinit(struct session_databases *d);
/* Returns what it was before. */
bool session_database_mark(struct session_databases *d, enum database_mark mark, const char *name, bool on);
bool session_database_is(struct session_databases *d, enum database_mark mark, const char *name);
bool session_owns_txid(struct session_shared *s, const char *txid);
void session_remember_resolved(struct session_shared *s, const char *txid, bool committed);
/* False: not known here (any more). */
bool session_recall_resolved(struct session_shared *s, const char *txid, bool *committed_r);
/* False: of this one it was said before. Else it is counted. */
bool session_report_torn(struct session_shared *s, const char *txid, const char *shard);
void session_times_add(struct session_times *t, uint64_t us);
uint64_t session_times_percentile(const struct session_times *t, unsigned percent);

/* The worker that a client's process id belongs to. */
unsigned cancel_worker_of(uint32_t pid);

/* What a worker's sessions take: memory.c. */
struct session_memory {
    struct budget_share share;
    size_t sessions, buffers; /* sums over its clients, as of the last look */
    size_t largest;           /* its largest client, likewise */
    size_t leaving;           /* of those: of clients that are gone and wait for their shards */
    size_t peak;              /* the most of all that it had since malloc_trim(), as far as was seen */
    size_t peak_texts;        /* ... and of prepared statements, their number */
    bool falls;               /* it was falling at the last malloc_trim(), and has been since */
    uint64_t looked_us, trimmed_us, evicted_us, warned_us;
};

struct client;
/* The console (layer admin) as clients reach it: databases pgunison and pgbouncer. */
struct console_ops {
    /* Runs one command; answers later or at once with client_console_reply(). */
    void (*run)(void *arg, struct client *c, struct slice sql);
    void (*gone)(void *arg, struct client *c); /* the client went away with a command under way */
    void *arg;
};

/* The catalog of a database, of one topology and catalog version. Plans that are in use keep the one they were made with
 * (src/session/scope.c). */
struct plan_scope;

struct session_env {
    struct loop *loop;
    unsigned worker;
    struct config *config; /* a reference; replaced by session_env_reconfigure */
    struct session_shared *shared;
    struct session_stats stats;
    struct pool_manager *pools;
    struct asker *control;
    struct plan_cache *plans;
    struct plan_scope **scopes; /* by database_def.index */
    size_t n_scopes;
    struct plan_scope *no_scope; /* of what a transaction's own catalog was used for */
    uint64_t statement_epoch;    /* the last that was given to a database's prepared statements */
    uint64_t next_context;       /* names what plans depend on in the plan cache: catalogs, texts */
    struct hashmap custom_names; /* database -> struct custom_names */
    struct recent numbers;       /* text -> its number: session_number_of() */
    struct hashmap
        welcomes; /* "database\0user" -> struct welcome: what the home shard reported at its start */
    uint64_t welcomes_version;    /* defaults_version() of those */
    struct varset_table *varsets; /* what sessions have set, and have been told */
    struct tls_context *tls;      /* for clients; NULL: TLS is not offered */
    const struct console_ops *console;
    struct list clients;
    struct hashmap cancel_keys; /* (pid, secret) -> client */
    uint32_t next_pid;
    /* Posts a cancel request to the worker that the key belongs to. */
    void (*route_cancel)(void *arg, uint32_t pid, uint32_t secret);
    void *route_cancel_arg;
    struct list links_free;
    struct client_portal *portals_free; /* a stack */
    unsigned n_portals_free;
    struct session_memory memory;
    struct template scratch_template; /* of the statement at hand: valid within one dispatch only */
    struct buf scratch, scratch2;
    struct statement_def decide[2]; /* decide.c */
    struct loop_timer *janitor;
};

/* pools, control, tls and the rest are set by the caller before. */
void session_env_init(struct session_env *env, struct loop *loop, unsigned worker, struct config *config,
                      struct session_shared *shared);
void session_env_deinit(struct session_env *env);
/* On its thread: measures all that it has, for what others read in shared->budget to be of this moment. */
void memory_measure(struct session_env *env);
size_t session_client_bytes(void); /* of one that has just come */
size_t session_catalog_count(const struct session_env *env);
/* A reload: clients go over to it between transactions. */
void session_env_reconfigure(struct session_env *env, struct config *config, struct tls_context *tls);

#endif
