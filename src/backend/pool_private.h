/* What the files of the pool share. Private to backend. */
#ifndef PGUNISON_BACKEND_POOL_PRIVATE_H
#define PGUNISON_BACKEND_POOL_PRIVATE_H

#include "backend/pool.h"
#include "quota.h"

struct pool_manager {
    struct loop *loop;
    unsigned worker;
    struct mailbox *mailbox;
    struct pool_limits *limits;
    struct config *config;
    struct statement_registry *statements;
    struct cancels *cancels;
    struct hashmap pools; /* "user\0database\0shard" -> struct server_pool */
    struct list stale;
    struct loop_timer *timer;
    uint64_t timer_due_us;
    bool paused;                     /* all databases */
    struct hashmap paused_databases; /* name -> not NULL */
    uint64_t reconnected_us;         /* when connections were last to be replaced */
};

enum wait_class { WAIT_PRIVILEGED, WAIT_ORDINARY, WAIT_CLASSES };

struct server_pool {
    struct pool_manager *manager;
    struct list_node stale_node;
    bool paused;           /* only waits of clients that hold a server already are served */
    bool stale;            /* of an older configuration: closes what it has, takes nothing new */
    struct config *config; /* keeps db and shard alive; a stale pool without connections lets go of it, and
                              they are NULL */
    const struct database_def *db;
    const struct shard_def *shard;
    char *user, *password, *db_name, *shard_name; /* user: who logs in; password may be NULL */
    struct port *port;
    bool compare; /* the next idle connection gives way to a new one: has what it begins with changed? */
    uint64_t no_older_us; /* a connection made before is not taken over from another worker */
    int waits_at;         /* enum quota_level where the port is marked as waiting; -1: nowhere */

    struct list servers; /* all of them, by pool_node */
    struct list idle;    /* by node; the most recently used first */
    struct list openings;
    struct list tasks;
    unsigned returning; /* tasks whose server becomes idle here */
    struct list waits[WAIT_CLASSES];
    struct deferred turn;

    struct error last_error; /* sqlstate "": none */
    uint64_t retry_at_us;    /* no connection is opened before; 0: no failure */
    uint64_t down_since_us;  /* when connecting began to fail; 0: it has not */
    uint64_t tried_us;       /* when the attempt began that failed last */
    uint64_t logged_us;      /* when a failure was last logged */
    struct silence *silence; /* a question to a server that owes an answer, under way; NULL: none */
};

static inline const struct settings *pool_settings(const struct server_pool *p)
{
    return &p->manager->config->settings;
}
static inline uint64_t pool_now_us(const struct server_pool *p)
{
    return loop_now_us(p->manager->loop);
}
/* That may be served: while the pool is paused, ordinary waits are not there. */
static inline size_t pool_waiting(const struct server_pool *p)
{
    return p->waits[WAIT_PRIVILEGED].count + (p->paused ? 0 : p->waits[WAIT_ORDINARY].count);
}
/* pool_servers.c */
/* Who is served next, or NULL. */
struct server_wait *pool_first_wait(const struct server_pool *p);
uint64_t pool_oldest_wait_us(const struct server_pool *p); /* since when; UINT64_MAX: nobody waits */
/* The same as other workers see it: a privileged wait counts as much older than any other. */
uint64_t pool_claim_us(const struct server_pool *p);
void pool_wait_failed(struct server_wait *w, const struct error *why);
void pool_turn_later(struct server_pool *p);
void pool_wake_at(struct pool_manager *m,
                  uint64_t at_us); /* sees to what is due by time, then at the latest */
/* Nothing is under way on it: a Terminate cannot be mistaken for the rest of something. */
bool pool_is_expired(const struct server_pool *p, const struct server *s);
bool pool_needs_check(const struct server_pool *p, const struct server *s); /* idle too long to be trusted */
void pool_add_idle(struct server_pool *p, struct server *s);
struct server *pool_take_idle(struct server_pool *p); /* NULL: none; expired ones are closed */
/* Closes one that is not in the list of idle ones, and gives its place back. */
void pool_drop_server(struct server_pool *p, struct server *s);
void pool_receive(struct server_pool *p, struct server *s); /* s is detached: it comes from another worker */

/* pool_turn.c */
void pool_turn(void *arg);
void pool_cancel_openings(struct server_pool *p);
void pool_fill(struct server_pool *p); /* up to min_pool_size, one at a time */

/* pool_task.c */
enum task_kind { TASK_CHECK, TASK_RESET, TASK_MOVE };
void pool_task_start(struct server_pool *p, struct server *s, enum task_kind kind);
void pool_tasks_finish(struct server_pool *p); /* those that are done */
void pool_tasks_expire(struct server_pool *p, uint64_t now_us);
void pool_tasks_drop(struct server_pool *p);
void pool_move(struct server_pool *p, struct server *s); /* to the worker that waits for it */

/* pool_silence.c */
void pool_watch_silence(struct server_pool *p, uint64_t now_us);
void pool_forget_silence(struct server_pool *p);

#endif
