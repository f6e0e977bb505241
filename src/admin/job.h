/*
 * A console command under way. Private to admin.
 *
 *     home worker --> each worker in turn --> home worker        (job_round)
 *     home worker --> control thread      --> home worker        (job_on_control)
 *
 * A job is one letter: who holds the letter owns everything in the job but `client` and `node`, which are the
 * home worker's at all times. That is why nothing here needs a lock, and why a client may go away while its
 * job is elsewhere.
 */
#ifndef PGUNISON_ADMIN_JOB_H
#define PGUNISON_ADMIN_JOB_H

#include "admin/console.h"
#include "command.h"
#include "reply.h"
#include "stats.h"

struct job {
    struct letter letter;
    struct admin *admin;
    unsigned home;
    struct list_node node; /* home->jobs */
    struct client *client; /* NULL: it has gone */
    struct command command;
    struct buf out; /* the answer so far */
    struct reply_row row;
    void (*visit)(struct job *job, struct session_env *env);
    void (*next)(struct job *job); /* job_round: at home afterwards; job_on_control: there */
    unsigned at;
    void *data;
    void (*free_data)(void *data);
};

struct home { /* one worker's side of the console */
    struct console_ops ops;
    struct admin *admin;
    unsigned worker;
    struct list jobs;
};

struct admin {
    struct console_worker *workers;
    struct home *homes;
    unsigned n;
    struct session_shared *shared;
    struct loop *control_loop;
    struct mailbox *control;
    const struct console_process *process;
    struct stats *stats; /* control thread */
    atomic_bool closed;
};

/* From any thread that has the letter: visit() on every worker's thread in turn, then next() at home, which
 * answers. */
void job_round(struct job *job, void (*visit)(struct job *job, struct session_env *env),
               void (*next)(struct job *job));
/* run() on the control thread, which then or later calls job_return(). */
void job_on_control(struct job *job, void (*run)(struct job *job));
void job_answer(struct job *job); /* at home: sends `out`, and that is the end of the job */
void job_return(struct job *job); /* elsewhere: the same, through the home worker */
void job_fail(
    struct job *job,
    const struct error *e); /* puts the error in place of the answer; job_answer or job_return follows */

static inline struct session_env *job_env(const struct job *job) /* at home */
{
    return job->admin->workers[job->home].env;
}

/* Each begins what its command asks for, at home. */
void admin_show_buckets(struct job *job);
void admin_show_clients(struct job *job);
void admin_show_config(struct job *job);
void admin_show_databases(struct job *job);
void admin_show_help(struct job *job);
void admin_show_lists(struct job *job);
void admin_show_mem(struct job *job);
void admin_show_parameter(struct job *job);
void admin_show_pools(struct job *job);
void admin_show_servers(struct job *job);
void admin_show_shards(struct job *job);
void admin_show_state(struct job *job);
void admin_show_stats(struct job *job); /* and the two others */
void admin_show_tables(struct job *job);
/* What it asks: number, type's name and type (a domain's base type) of the keys of all tables of one database, with a
   null byte. False: there are none. */
bool admin_tables_sql(const struct database_def *db, struct buf *b);
void admin_show_transaction(struct job *job);
void admin_show_transactions(struct job *job);
void admin_show_two_phase(struct job *job);
void admin_show_unresolved(struct job *job);
void admin_show_users(struct job *job);
void admin_show_version(struct job *job);
void admin_disable(struct job *job); /* and ENABLE */
void admin_kill(struct job *job);
void admin_pause(struct job *job);
void admin_reconnect(struct job *job);
void admin_reload(struct job *job);
void admin_resolve(struct job *job);
void admin_resume(struct job *job);
void admin_set(struct job *job);
void admin_shutdown(struct job *job);

#endif
