/*
 * The console: databases pgunison and pgbouncer. A command arrives on the worker of the client that gives it. A
 * message collects its answer on the other workers or on the control thread, and comes back to the client's worker.
 *
 * What only the process knows or can do, the console does through struct console_process, always on the control
 * thread.
 */
#ifndef PGUNISON_ADMIN_CONSOLE_H
#define PGUNISON_ADMIN_CONSOLE_H

#include "session/client.h"
#include "session/env.h"
#include "txn/recovery.h"

enum console_shutdown { SHUTDOWN_NOW, SHUTDOWN_WAIT_FOR_SERVERS, SHUTDOWN_WAIT_FOR_CLIENTS };

struct console_shard { /* strings live until the control thread's next turn */
    const char *state, *version;
    unsigned prepared; /* of this cluster */
    double oldest_prepared_s;
    uint64_t latency_us; /* 0: not known */
};

struct console_process {
    struct config *(*config)(void *arg); /* no new reference */
    struct asker *(*control)(void *arg);
    /* shard: index in the topology of config() */
    void (*shard)(void *arg, unsigned shard, struct console_shard *s_r);
    size_t (*entries)(void *arg, const struct recovery_entry **entries_r);
    /* done() comes from the loop, once. ok false: not a transaction's name. txid NULL: all that are due. */
    void (*resolve)(void *arg, const char *txid, void (*done)(void *arg, bool ok), void *done_arg);
    enum status (*reload)(void *arg, struct error *error_r);
    void (*shutdown)(void *arg, enum console_shutdown mode);
    /* database NULL: all. done() when no client holds a server (of it) any more, or RESUME came. False: it
       cannot be (shutting down, paused already), error_r says why. */
    bool (*pause)(void *arg, const char *database, void (*done)(void *arg), void *done_arg,
                  struct error *error_r);
    bool (*resume)(void *arg, const char *database, struct error *error_r);
    enum status (*set)(void *arg, const char *name, const char *value, struct error *error_r);
    void *arg;
};

struct console_worker {
    struct session_env *env;
    struct mailbox *mailbox;
};

struct admin;
/* workers: copied. process lives as long as the admin. */
struct admin *admin_create(const struct console_worker *workers, unsigned n_workers,
                           struct session_shared *shared, struct loop *control_loop,
                           struct mailbox *control_mailbox, const struct console_process *process);
/* What the clients of worker i get (session_env.console). */
const struct console_ops *admin_console(struct admin *a, unsigned worker);
/* On the control thread: begins, or goes on with, the averages of SHOW STATS, under this configuration. */
void admin_reconfigure(struct admin *a, const struct config *config);
/* On the control thread: nothing is passed on to another thread from here on. To be called before the threads
 * are stopped. */
void admin_close(struct admin *a);
void admin_destroy(struct admin **a); /* when no thread runs any more */

#endif
