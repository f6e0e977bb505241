/* Commands that do something. Rights have been checked, but for SET. */
#include "job.h"

#include "base/log.h"

#include <string.h>
#include <strings.h>

static void fail_on_control(struct job *job, const struct error *e)
{
    job_fail(job, e);
    job_return(job);
}

static void done_on_control(struct job *job, const char *tag)
{
    reply_done(&job->out, tag);
    job_return(job);
}

/* At home: answers with 3D000 and returns false if the command names a database that is not there. */
static bool database_there(struct job *job)
{
    struct error e;
    if (!job->command.arg[0] || topology_database(&job_env(job)->config->topology, job->command.arg))
        return true;
    (void)error_set(&e, SQLSTATE_UNKNOWN_DATABASE, "no such database: %s", job->command.arg);
    job_fail(job, &e);
    job_answer(job);
    return false;
}

static const char *database_of(const struct job *job) /* NULL: all */
{
    return job->command.arg[0] ? job->command.arg : NULL;
}

/* --- KILL: pauses, then ends all clients ------------------------------------------------------ */

static void visit_kill(struct job *job, struct session_env *env)
{
    client_kill_database(env, database_of(job));
}

static void answer_kill(struct job *job)
{
    reply_done(&job->out, "KILL");
    job_answer(job);
}

/* True: it is paused now, or was before. */
static bool pause_for_kill(struct job *job, const char *database, struct error *error_r)
{
    const struct console_process *process = job->admin->process;
    return session_database_is(&job->admin->shared->databases, DATABASE_PAUSED, database) ||
           process->pause(process->arg, database, NULL, NULL, error_r);
}

static void kill_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    const struct topology *t = &process->config(process->arg)->topology;
    struct error e;
    log_info("KILL %s command issued", job->command.arg);
    for (size_t i = 0; i < t->n_databases; i++) {
        bool meant = !database_of(job) || strcmp(t->databases[i].name, job->command.arg) == 0;
        if (meant && !pause_for_kill(job, t->databases[i].name, &e)) {
            fail_on_control(job, &e);
            return;
        }
    }
    job_round(job, visit_kill, answer_kill);
}

void admin_kill(struct job *job)
{
    if (database_there(job))
        job_on_control(job, kill_on_control);
}

/* --- PAUSE, RESUME ---------------------------------------------------------------------------- */

static void paused(void *arg)
{
    done_on_control(arg, "PAUSE");
}

static void pause_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    struct error e;
    if (!process->pause(process->arg, database_of(job), paused, job, &e))
        fail_on_control(job, &e);
}

static void resume_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    struct error e;
    if (process->resume(process->arg, database_of(job), &e))
        done_on_control(job, "RESUME");
    else
        fail_on_control(job, &e);
}

void admin_pause(struct job *job)
{
    if (database_there(job))
        job_on_control(job, pause_on_control);
}

void admin_resume(struct job *job)
{
    if (database_there(job))
        job_on_control(job, resume_on_control);
}

/* --- DISABLE, ENABLE, RECONNECT --------------------------------------------------------------- */

void admin_disable(struct job *job)
{
    bool disable = job->command.kind == CMD_DISABLE;
    if (!database_there(job))
        return;
    log_info("%s %s command issued", disable ? "DISABLE" : "ENABLE", job->command.arg);
    (void)session_database_mark(&job->admin->shared->databases, DATABASE_DISABLED, job->command.arg, disable);
    reply_done(&job->out, disable ? "DISABLE" : "ENABLE");
    job_answer(job);
}

static void visit_reconnect(struct job *job, struct session_env *env)
{
    pool_manager_reconnect(env->pools, database_of(job));
}

static void answer_reconnect(struct job *job)
{
    reply_done(&job->out, "RECONNECT");
    job_answer(job);
}

void admin_reconnect(struct job *job)
{
    if (!database_there(job))
        return;
    log_info("RECONNECT %s command issued", job->command.arg);
    job_round(job, visit_reconnect, answer_reconnect);
}

/* --- RELOAD, SHUTDOWN ------------------------------------------------------------------------- */

static void reload_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    struct error e;
    log_info("RELOAD command issued");
    if (process->reload(process->arg, &e) == STATUS_OK)
        done_on_control(job, "RELOAD");
    else
        fail_on_control(job, &e);
}

void admin_reload(struct job *job)
{
    job_on_control(job, reload_on_control);
}

/* SHUTDOWN without waiting is answered by the end of the connection. */
static void shutdown_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    log_info("SHUTDOWN %s command issued", job->command.arg);
    if (!job->command.arg[0]) {
        process->shutdown(process->arg, SHUTDOWN_NOW);
        return;
    }
    done_on_control(job, "SHUTDOWN");
    process->shutdown(process->arg, strcmp(job->command.arg, "wait_for_servers") == 0
                                        ? SHUTDOWN_WAIT_FOR_SERVERS
                                        : SHUTDOWN_WAIT_FOR_CLIENTS);
}

void admin_shutdown(struct job *job)
{
    job_on_control(job, shutdown_on_control);
}

/* --- RESOLVE ---------------------------------------------------------------------------------- */

static void resolved(void *arg, bool ok)
{
    struct job *job = arg;
    struct error e;
    if (ok) {
        done_on_control(job, "RESOLVE");
        return;
    }
    (void)error_set(&e, SQLSTATE_INVALID_TEXT, "\"%s\" is not the name of a transaction", job->command.arg);
    fail_on_control(job, &e);
}

static void resolve_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    process->resolve(process->arg, job->command.arg[0] ? job->command.arg : NULL, resolved, job);
}

void admin_resolve(struct job *job)
{
    job_on_control(job, resolve_on_control);
}

/* --- SET -------------------------------------------------------------------------------------- */

static void set_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    struct error e;
    if (process->set(process->arg, job->command.arg, job->command.value, &e) == STATUS_OK)
        done_on_control(job, "SET");
    else
        fail_on_control(job, &e);
}

void admin_set(struct job *job)
{
    /* What drivers set on every connection; it has no meaning on the console. */
    static const char *const drivers[] = {"application_name", "client_encoding", "datestyle",
                                          "extra_float_digits", "timezone"};
    struct error e;
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        if (strcasecmp(job->command.arg, drivers[i]) == 0) {
            reply_done(&job->out, "SET");
            job_answer(job);
            return;
        }
    if (client_is_admin(job->client)) {
        job_on_control(job, set_on_control);
        return;
    }
    (void)error_set(&e, "42501", "permission denied: the command is for admin_users");
    job_fail(job, &e);
    job_answer(job);
}
