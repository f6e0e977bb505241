/*
 * Conversations under a simulated world: clients with scripts on one side, model PostgreSQL servers on the other, and the
 * proxy's own code between them: src/session, src/backend, src/route, src/exec, src/sql and src/txn as they are. What is
 * replaced is what reaches the system: net/loop.h, net/stream.h and net/mailbox.h, and how connections to shards are opened
 * and cancelled. Everything runs on one thread from one queue of events, so a run is a function of its script, its faults
 * and its seed.
 *
 *   world.c      time, events, chance, failures
 *   net.c        the loop, streams and pipes
 *   reach.c      connections to shards, cancel requests
 *   database.c   a model server's data: row versions, transactions, locks, prepared transactions
 *   statement.c  the SQL that a model server reads
 *   catalog.c    what it answers to the proxy's questions about relations
 *   server.c     its protocol
 *   client.c     a client that follows a script, and what it may believe
 *   run.c        one run: the same script with the proxy over several shards, and with one server: the oracle
 *   scripts.c    the scripts
 *   main.c       which runs to make
 *
 * A model server reads the very statements that are sent to it, and fails the run on one that it does not know.
 */
#ifndef PGUNISON_TEST_CONVERSATION_WORLD_H
#define PGUNISON_TEST_CONVERSATION_WORLD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SHARDS = 3, MAX_CLIENTS = 4 };

/* --- faults ----------------------------------------------------------------------------------- */

/* What happens as one message of the proxy's reaches a server. */
enum fault_kind {
    FAULT_NONE,
    LOSE_BEFORE, /* the connection is lost: nothing of it is executed */
    LOSE_AFTER,  /* it is executed, and the connection is lost with its answer */
    FAIL,        /* it is answered with an error instead of being executed */
    TERMINATE,   /* the server ends the connection with a FATAL error instead */
    CRASH,       /* the whole server crashes, and comes back later: what is prepared stays */
    CANCEL,      /* the client whose connection it is asks for a cancel now */
    GONE,        /* ... or goes away */
    SLOW,        /* it takes long */
    N_FAULTS
};

struct fault {
    enum fault_kind kind;
    unsigned step; /* the step-th message that reaches a server, from 0 on */
};

/* --- the world -------------------------------------------------------------------------------- */

struct event {
    uint64_t at_us, order;
    void (*run)(void *arg, uint64_t n);
    void *arg;
    uint64_t n;
};

struct world {
    struct arena arena; /* of the run: sessions, pipes, clients */
    uint64_t now_us, order, random;
    bool by_chance;      /* latencies, sizes of reads and orders of events are drawn */
    struct event *queue; /* a heap */
    size_t n_queue, cap_queue;
    struct fault faults[2];
    unsigned n_faults, steps;
    bool trace, failed, calm; /* calm: no more faults */
    char why[1024];
};
extern struct world world;

void world_begin(uint64_t seed, bool trace);
void world_end(void);
/* After that time, as counted from now; events of one moment run in the order in which they were made. */
void world_at(uint64_t after_us, void (*run)(void *arg, uint64_t n), void *arg, uint64_t n);
bool world_next(uint64_t *at_us_r); /* when the next event is due; false: none */
struct event world_take(void);
uint64_t world_random(uint64_t below);
uint64_t world_latency(void);
void world_fail(const char *fmt, ...) PRINTF_LIKE(1, 2); /* the first one counts */
void world_trace(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The fault that comes with the message that reaches a server now. */
enum fault_kind world_step(void);
const char *fault_name(enum fault_kind kind);

/* --- net.c ------------------------------------------------------------------------------------ */

struct loop;
struct pipe;
/* The other end of a connection whose near end is a stream of the proxy's. */
struct peer_ops {
    void (*bytes)(void *peer, const uint8_t *bytes, size_t n);
    void (*closed)(void *peer); /* by the proxy, behind all that it had sent */
};

struct pipe *pipe_create(const struct peer_ops *ops, void *peer);
int pipe_fd(const struct pipe *p); /* for stream_create() and stream_adopt() */
void pipe_send(struct pipe *p, const void *bytes, size_t n);
void pipe_end(struct pipe *p);              /* an orderly end behind what was sent */
void pipe_narrow(struct pipe *p, size_t n); /* no more than n bytes are under way to the peer */
/* True: it had something to do. One turn of the loop, at the time of what is due next. */
bool loop_turn(struct loop *loop, uint64_t until_us);

/* --- servers ---------------------------------------------------------------------------------- */

struct shard; /* one model server with its data */
struct session;

struct shard *shard_create(const char *name);
struct shard *shard_by_name(const char *name); /* NULL: none */
void shards_forget(void);
const char *shard_name(const struct shard *s);
bool shard_is_up(const struct shard *s);
/* Its tables as text, in order; what is visible to everybody. Prepared transactions and open ones are told, too. */
void shard_dump(const struct shard *s, struct buf *out);
/* Whether a row of this id is there; how often. */
unsigned shard_rows(const struct shard *s, const char *table, int64_t id);
/* Ends what has been prepared for so long and belongs to no live coordinator, as a resolver does: by the decision's row on
   its decider, or a fence. */
void shards_resolve(uint64_t after_us, bool (*owned)(const char *txid));
/* Nothing is open, prepared or locked. */
void shards_check_idle(void);
void shard_create_table(struct shard *s, const char *name);

struct session *session_create(struct shard *s, const char *user,
                               void (*out)(void *arg, const uint8_t *, size_t), void (*ended)(void *arg),
                               void *arg);
void session_receive(struct session *s, const uint8_t *bytes, size_t n);
void session_close(struct session *s); /* its client is gone */
void session_cancel(struct session *s);
/* Ready for a new client: no transaction, nothing of a session's but these variables. */
const char *session_variable(const struct session *s, const char *name);
const char *session_default(const char *name); /* NULL: no such variable */
bool session_idle(const struct session *s);
bool session_alive(const struct session *s);
/* Whose connection it is now, for faults of clients. */
extern void (*session_fault)(struct session *s, enum fault_kind kind);
void shard_crash(struct shard *s);

/* reach.c */
struct session *reach_session(int fd); /* of a connection that was opened for the proxy; NULL: not one */
void reach_forget(void);

/* --- clients ---------------------------------------------------------------------------------- */

struct script {
    const char *name;
    unsigned n_clients;
    const char *const *lines[MAX_CLIENTS]; /* NULL-terminated each: client.c */
    bool apart;                            /* clients do not meet: each has what the oracle has */
    unsigned pool;                         /* pool_size; 0: 3 */
    const char *setting;                   /* a further line of [pgunison]; NULL: none */
};
extern const struct script scripts[];
extern const size_t n_scripts;

struct talker; /* a client */
struct talker *talker_create(unsigned index, const char *const *lines, bool startup);
struct pipe *talker_pipe(struct talker *t);
void talker_start(struct talker *t);
void talker_leave(struct talker *t); /* at once */
bool talker_done(const struct talker *t);
const char *talker_transcript(const struct talker *t);
void talker_cancel(struct talker *t);
void talker_feed(struct talker *t, const uint8_t *bytes, size_t n); /* from a server of its own: the oracle */
void talker_direct(struct talker *t, struct session *s);
void talker_check(struct talker *t);          /* what it was told stands in the shards' tables */
extern void (*talker_accept)(struct pipe *p); /* for cancel requests; NULL: there is nobody to send them to */
void talkers_forget(void);

/* run.c */
void run_script(const struct script *s, uint64_t seed, const struct fault *faults, unsigned n_faults,
                bool by_chance, bool trace);

#endif
