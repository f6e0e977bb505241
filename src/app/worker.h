/*
 * One worker thread: a loop, its clients, its pools. Private to app.
 *
 * Made and taken apart on the main thread, while its own does not run; in between everything belongs to its
 * own thread, and others reach it by messages.
 */
#ifndef PGUNISON_APP_WORKER_H
#define PGUNISON_APP_WORKER_H

#include "net/listener.h"
#include "session/client.h"
#include "session/env.h"
#include <pthread.h>

struct worker {
    unsigned index;
    pthread_t thread;
    bool started;
    struct loop *loop;
    struct mailbox *mailbox;
    struct session_env env;
    const struct workers *all;
    atomic_uint on_the_way; /* clients handed over and not yet taken in */
    struct mail stop_mail;
    struct loop_timer *stop_timer; /* own thread, while stopping */
    uint64_t stop_by_us;
    bool stopping; /* own thread */
    bool quiet;    /* after the thread's end: nothing was under way, so it can be taken apart */
};

struct workers {
    struct worker *items;
    unsigned n;
};

/* n workers, not yet running. pool_manager and control are opened under config. */
void workers_create(struct workers *w, unsigned n, enum loop_poller poller, struct config *config,
                    struct session_shared *shared, struct pool_limits *limits);
/* Before workers_start(): what worker i offers its clients. */
void worker_set_tls(struct worker *w, struct tls_context *tls);
void worker_set_console(struct worker *w, const struct console_ops *console);
enum status workers_start(struct workers *w, struct error *error_r) MUST_CHECK;

/* The descriptor goes to the worker with the fewest clients; among these to `here`, the calling thread's own (NULL: it has
   none). It has been counted in shared->clients. */
void workers_accept(struct workers *w, struct worker *here, int fd, const struct peer_address *peer);
/* From any thread. */
void workers_cancel(const struct workers *w, uint32_t pid, uint32_t secret);
/* tls: one context for each worker, or NULLs; taken over. */
void workers_reconfigure(struct workers *w, struct config *config, struct tls_context **tls);

/* Ends all clients with 57P01, waits up to grace_us until nothing is under way, ends the threads. True: all
 * of them were quiet. */
bool workers_stop(struct workers *w, uint64_t grace_us);
/* Only when workers_stop() was true, or workers were never started. */
void workers_destroy(struct workers *w);

/* Pools of a database (NULL: of all) serve only transactions that hold a server already; or all again. */
void workers_pause(struct workers *w, const char *database, bool on);

/* Own thread: servers in use, of one database, or NULL. */
unsigned worker_active_servers(struct worker *w, const char *database);

#endif
