/*
 * Commands that do something, and the table of them at the end. An order needs admin_users, which console.c has
 * checked; SET checks for itself.
 */
#include "orders.h"

#include "question.h"

#include "base/log.h"

#include <string.h>
#include <strings.h>

static void fail_on_control(struct question *q, const struct error *e)
{
    question_fail(q, e);
    question_return(q);
}

static void done_on_control(struct question *q, const char *tag)
{
    answer_done(&q->answer, tag);
    question_return(q);
}

/* At home: answers with 3D000 and returns false if the command names a database that is not there. */
static bool database_there(struct question *q)
{
    struct error e;
    if (!q->command.arg[0] || topology_database(&question_env(q)->config->topology, q->command.arg))
        return true;
    (void)error_set(&e, SQLSTATE_UNKNOWN_DATABASE, "no such database: %s", q->command.arg);
    question_fail(q, &e);
    question_answer(q);
    return false;
}

static const char *database_of(const struct question *q) /* NULL: all */
{
    return q->command.arg[0] ? q->command.arg : NULL;
}

/* --- KILL: pauses, then ends all clients ------------------------------------------------------ */

static void visit_kill(struct question *q, struct session_env *env)
{
    client_kill_database(env, database_of(q));
}

static void answer_kill(struct question *q)
{
    answer_done(&q->answer, "KILL");
    question_answer(q);
}

/* True: it is paused now, or was before. */
static bool pause_for_kill(struct question *q, const char *database, struct error *error_r)
{
    const struct console_process *process = question_process(q);
    return session_database_is(&q->admin->shared->databases, DATABASE_PAUSED, database) ||
           process->pause(process->arg, database, NULL, NULL, error_r);
}

static void kill_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    const struct topology *t = &process->config(process->arg)->topology;
    struct error e;
    log_info("KILL %s command issued", q->command.arg);
    for (size_t i = 0; i < t->n_databases; i++) {
        bool meant = !database_of(q) || strcmp(t->databases[i].name, q->command.arg) == 0;
        if (meant && !pause_for_kill(q, t->databases[i].name, &e)) {
            fail_on_control(q, &e);
            return;
        }
    }
    question_round(q, visit_kill, answer_kill);
}

static void run_kill(struct question *q)
{
    if (database_there(q))
        question_on_control(q, kill_on_control);
}

/* --- PAUSE, RESUME ---------------------------------------------------------------------------- */

static void paused(void *arg)
{
    done_on_control(arg, "PAUSE");
}

static void pause_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    struct error e;
    if (!process->pause(process->arg, database_of(q), paused, q, &e))
        fail_on_control(q, &e);
}

static void resume_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    struct error e;
    if (process->resume(process->arg, database_of(q), &e))
        done_on_control(q, "RESUME");
    else
        fail_on_control(q, &e);
}

static void run_pause(struct question *q)
{
    if (database_there(q))
        question_on_control(q, pause_on_control);
}

static void run_resume(struct question *q)
{
    if (database_there(q))
        question_on_control(q, resume_on_control);
}

/* --- DISABLE, ENABLE, RECONNECT --------------------------------------------------------------- */

static void mark_disabled(struct question *q, bool disable)
{
    const char *name = disable ? "DISABLE" : "ENABLE";
    if (!database_there(q))
        return;
    log_info("%s %s command issued", name, q->command.arg);
    (void)session_database_mark(&q->admin->shared->databases, DATABASE_DISABLED, q->command.arg, disable);
    answer_done(&q->answer, name);
    question_answer(q);
}

static void run_disable(struct question *q)
{
    mark_disabled(q, true);
}

static void run_enable(struct question *q)
{
    mark_disabled(q, false);
}

static void visit_reconnect(struct question *q, struct session_env *env)
{
    pool_manager_reconnect(env->pools, database_of(q));
}

static void answer_reconnect(struct question *q)
{
    answer_done(&q->answer, "RECONNECT");
    question_answer(q);
}

static void run_reconnect(struct question *q)
{
    if (!database_there(q))
        return;
    log_info("RECONNECT %s command issued", q->command.arg);
    question_round(q, visit_reconnect, answer_reconnect);
}

/* --- RELOAD, SHUTDOWN ------------------------------------------------------------------------- */

static void reload_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    struct error e;
    log_info("RELOAD command issued");
    if (process->reload(process->arg, &e) == STATUS_OK)
        done_on_control(q, "RELOAD");
    else
        fail_on_control(q, &e);
}

static void run_reload(struct question *q)
{
    question_on_control(q, reload_on_control);
}

/* SHUTDOWN without waiting is answered by the end of the connection. */
static void shutdown_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    log_info("SHUTDOWN %s command issued", q->command.arg);
    if (!q->command.arg[0]) {
        process->shutdown(process->arg, SHUTDOWN_NOW);
        return;
    }
    done_on_control(q, "SHUTDOWN");
    process->shutdown(process->arg, strcmp(q->command.arg, "wait_for_servers") == 0
                                        ? SHUTDOWN_WAIT_FOR_SERVERS
                                        : SHUTDOWN_WAIT_FOR_CLIENTS);
}

static void run_shutdown(struct question *q)
{
    question_on_control(q, shutdown_on_control);
}

/* --- RESOLVE ---------------------------------------------------------------------------------- */

static void resolved(void *arg, bool ok)
{
    struct question *q = arg;
    struct error e;
    if (ok) {
        done_on_control(q, "RESOLVE");
        return;
    }
    (void)error_set(&e, SQLSTATE_INVALID_TEXT, "\"%s\" is not the name of a transaction", q->command.arg);
    fail_on_control(q, &e);
}

static void resolve_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    process->resolve(process->arg, q->command.arg[0] ? q->command.arg : NULL, resolved, q);
}

static void run_resolve(struct question *q)
{
    question_on_control(q, resolve_on_control);
}

/* --- SET -------------------------------------------------------------------------------------- */

static void set_on_control(struct question *q)
{
    const struct console_process *process = question_process(q);
    struct error e;
    if (process->set(process->arg, q->command.arg, q->command.value, &e) == STATUS_OK)
        done_on_control(q, "SET");
    else
        fail_on_control(q, &e);
}

void order_set(struct question *q)
{
    /* What drivers set on every connection; it has no meaning on the console. */
    static const char *const drivers[] = {"application_name", "client_encoding", "datestyle",
                                          "extra_float_digits", "timezone"};
    struct error e;
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        if (strcasecmp(q->command.arg, drivers[i]) == 0) {
            answer_done(&q->answer, "SET");
            question_answer(q);
            return;
        }
    if (q->by_admin) {
        question_on_control(q, set_on_control);
        return;
    }
    (void)error_set(&e, "42501", "permission denied: the command is for admin_users");
    question_fail(q, &e);
    question_answer(q);
}

/* --- the table -------------------------------------------------------------------------------- */

static const char *const shutdown_modes[] = {"wait_for_servers", "wait_for_clients", NULL};

static const struct order orders[] = {
    {"resolve", "[txid]", ARG_OPTIONAL, NULL, run_resolve},
    {"reload", NULL, ARG_NONE, NULL, run_reload},
    {"pause", "[db]", ARG_OPTIONAL, NULL, run_pause},
    {"resume", "[db]", ARG_OPTIONAL, NULL, run_resume},
    {"kill", "[db]", ARG_OPTIONAL, NULL, run_kill},
    {"disable", "db", ARG_REQUIRED, NULL, run_disable},
    {"enable", "db", ARG_REQUIRED, NULL, run_enable},
    {"reconnect", "[db]", ARG_OPTIONAL, NULL, run_reconnect},
    {"shutdown", "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]", ARG_OPTIONAL, shutdown_modes, run_shutdown},
    {"kill_client", NULL, ARG_REQUIRED, NULL, NULL},
    {"suspend", NULL, ARG_NONE, NULL, NULL},
    {"wait_close", NULL, ARG_OPTIONAL, NULL, NULL},
};

const struct order *order_at(size_t i)
{
    return i < sizeof orders / sizeof orders[0] ? &orders[i] : NULL;
}

const struct order *order_find(const char *name)
{
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
        if (strcasecmp(orders[i].name, name) == 0)
            return &orders[i];
    return NULL;
}
