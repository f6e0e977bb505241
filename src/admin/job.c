/*
 * How a job goes from thread to thread (job.h), and how it ends.
 *
 * Invariant: a job is in its home's list from its first step to its end, whoever holds its letter. Once the
 * admin is closed, no letter is passed on any more: whoever holds a job drops it, and admin_destroy() frees
 * it by its list.
 */
#include "job.h"

#include "base/arena.h"
#include "wire/message.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static void post(struct job *job, struct mailbox *to, void (*deliver)(struct letter *letter, void *receiver))
{
    if (atomic_load(&job->admin->closed))
        return;
    job->letter.deliver = deliver;
    mailbox_post(to, &job->letter);
}

static struct mailbox *home_mailbox(const struct job *job)
{
    return job->admin->workers[job->home].mailbox;
}

static struct job *job_of(struct letter *letter)
{
    struct job *job = list_entry(letter, struct job, letter);
    return atomic_load(&job->admin->closed) ? NULL : job;
}

static void next_deliver(struct letter *letter, void *receiver)
{
    struct job *job = job_of(letter);
    (void)receiver;
    if (job)
        job->next(job);
}

static void visit_deliver(struct letter *letter, void *receiver)
{
    struct job *job = job_of(letter);
    (void)receiver;
    if (!job)
        return;
    job->visit(job, job->admin->workers[job->at].env);
    job->at++;
    if (job->at < job->admin->n)
        post(job, job->admin->workers[job->at].mailbox, visit_deliver);
    else
        post(job, home_mailbox(job), next_deliver);
}

void job_round(struct job *job, void (*visit)(struct job *job, struct session_env *env),
               void (*next)(struct job *job))
{
    job->visit = visit;
    job->next = next;
    job->at = 0;
    post(job, job->admin->workers[0].mailbox, visit_deliver);
}

void job_on_control(struct job *job, void (*run)(struct job *job))
{
    job->next = run;
    post(job, job->admin->control, next_deliver);
}

static void answer_deliver(struct letter *letter, void *receiver)
{
    struct job *job = job_of(letter);
    (void)receiver;
    if (job)
        job_answer(job);
}

void job_return(struct job *job)
{
    post(job, home_mailbox(job), answer_deliver);
}

static void job_free(struct job *job)
{
    if (job->free_data)
        job->free_data(job->data);
    buf_free(&job->out);
    free(job);
}

void job_answer(struct job *job)
{
    if (job->client)
        client_console_reply(job->client, buf_slice(&job->out));
    list_remove(&job->admin->homes[job->home].jobs, &job->node);
    job_free(job);
}

void job_fail(struct job *job, const struct error *e)
{
    reply_error(&job->out, e);
}

/* --- the console as sessions see it ----------------------------------------------------------- */

static void begin(struct job *job);

static void run(void *arg, struct client *c, struct slice sql)
{
    struct home *home = arg;
    struct error e;
    struct job *job = xcalloc(1, sizeof *job);
    job->admin = home->admin;
    job->home = home->worker;
    job->client = c;
    buf_init(&job->out);
    list_push_back(&home->jobs, &job->node);
    if (command_parse(sql, &job->command, &e) != STATUS_OK) {
        job_fail(job, &e);
        job_answer(job);
    } else if (command_needs_admin(job->command.kind) && !client_is_admin(c)) {
        (void)error_set(&e, "42501", "permission denied: the command is for admin_users");
        job_fail(job, &e);
        job_answer(job);
    } else {
        begin(job);
    }
}

static void gone(void *arg, struct client *c)
{
    struct home *home = arg;
    list_foreach(&home->jobs, node, next)
    {
        struct job *job = list_entry(node, struct job, node);
        if (job->client == c)
            job->client = NULL;
    }
}

static void refuse(struct job *job)
{
    struct error e;
    char name[sizeof job->command.arg];
    snprintf(name, sizeof name, "%s", job->command.arg);
    for (char *p = name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    (void)error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "%s is not supported yet", name);
    job_fail(job, &e);
    job_answer(job);
}

static void answer_nothing(struct job *job)
{
    message_empty(&job->out, MSG_EMPTY_QUERY);
    job_answer(job);
}

static void begin(struct job *job)
{
    switch (job->command.kind) {
    case CMD_EMPTY:
        answer_nothing(job);
        break;
    case CMD_SHOW_BUCKETS:
        admin_show_buckets(job);
        break;
    case CMD_SHOW_CLIENTS:
        admin_show_clients(job);
        break;
    case CMD_SHOW_CONFIG:
        admin_show_config(job);
        break;
    case CMD_SHOW_DATABASES:
        admin_show_databases(job);
        break;
    case CMD_SHOW_HELP:
        admin_show_help(job);
        break;
    case CMD_SHOW_LISTS:
        admin_show_lists(job);
        break;
    case CMD_SHOW_MEM:
        admin_show_mem(job);
        break;
    case CMD_SHOW_POOLS:
        admin_show_pools(job);
        break;
    case CMD_SHOW_SERVERS:
        admin_show_servers(job);
        break;
    case CMD_SHOW_SHARDS:
        admin_show_shards(job);
        break;
    case CMD_SHOW_STATE:
        admin_show_state(job);
        break;
    case CMD_SHOW_STATS:
    case CMD_SHOW_STATS_AVERAGES:
    case CMD_SHOW_STATS_TOTALS:
        admin_show_stats(job);
        break;
    case CMD_SHOW_TABLES:
        admin_show_tables(job);
        break;
    case CMD_SHOW_TRANSACTION:
        admin_show_transaction(job);
        break;
    case CMD_SHOW_TRANSACTIONS:
        admin_show_transactions(job);
        break;
    case CMD_SHOW_TWO_PHASE:
        admin_show_two_phase(job);
        break;
    case CMD_SHOW_UNRESOLVED:
        admin_show_unresolved(job);
        break;
    case CMD_SHOW_USERS:
        admin_show_users(job);
        break;
    case CMD_SHOW_VERSION:
        admin_show_version(job);
        break;
    case CMD_SHOW_PARAMETER:
        admin_show_parameter(job);
        break;
    case CMD_DISABLE:
    case CMD_ENABLE:
        admin_disable(job);
        break;
    case CMD_KILL:
        admin_kill(job);
        break;
    case CMD_PAUSE:
        admin_pause(job);
        break;
    case CMD_RECONNECT:
        admin_reconnect(job);
        break;
    case CMD_RELOAD:
        admin_reload(job);
        break;
    case CMD_RESOLVE:
        admin_resolve(job);
        break;
    case CMD_RESUME:
        admin_resume(job);
        break;
    case CMD_SET:
        admin_set(job);
        break;
    case CMD_SHUTDOWN:
        admin_shutdown(job);
        break;
    case CMD_NOT_YET:
        refuse(job);
        break;
    }
}

/* --- life ------------------------------------------------------------------------------------- */

struct admin *admin_create(const struct console_worker *workers, unsigned n_workers,
                           struct session_shared *shared, struct loop *control_loop,
                           struct mailbox *control_mailbox, const struct console_process *process)
{
    struct admin *a = xcalloc(1, sizeof *a);
    a->workers = xcalloc(n_workers, sizeof *a->workers);
    memcpy(a->workers, workers, n_workers * sizeof *workers);
    a->homes = xcalloc(n_workers, sizeof *a->homes);
    a->n = n_workers;
    a->shared = shared;
    a->control_loop = control_loop;
    a->control = control_mailbox;
    a->process = process;
    for (unsigned i = 0; i < n_workers; i++) {
        struct home *home = &a->homes[i];
        *home = (struct home){.admin = a, .worker = i, .ops = {.run = run, .gone = gone, .arg = home}};
        list_init(&home->jobs);
    }
    a->stats = stats_create(control_loop, a->workers, n_workers);
    return a;
}

const struct console_ops *admin_console(struct admin *a, unsigned worker)
{
    return &a->homes[worker].ops;
}

void admin_reconfigure(struct admin *a, const struct config *config)
{
    stats_reconfigure(a->stats, config->settings.stats_period_us, config->settings.log_stats);
}

void admin_close(struct admin *a)
{
    atomic_store(&a->closed, true);
}

void admin_destroy(struct admin **aa)
{
    struct admin *a = *aa;
    if (!a)
        return;
    *aa = NULL;
    struct list_node *node;
    for (unsigned i = 0; i < a->n; i++)
        while ((node = list_pop_front(&a->homes[i].jobs)))
            job_free(list_entry(node, struct job, node));
    stats_destroy(&a->stats);
    free(a->homes);
    free(a->workers);
    free(a);
}
