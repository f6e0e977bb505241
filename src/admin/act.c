/* Commands that do something: KILL, PAUSE, RESUME, RELOAD, RESOLVE, SET, SHUTDOWN. Rights have been checked.
 */
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

/* --- KILL
 * ------------------------------------------------------------------------------------------------------ */

static void visit_kill(struct job *job, struct session_env *env)
{
    client_kill_database(env, job->command.arg[0] ? job->command.arg : NULL);
}

static void answer_kill(struct job *job)
{
    reply_done(&job->out, "KILL");
    job_answer(job);
}

void admin_kill(struct job *job)
{
    struct error e;
    if (job->command.arg[0] && !topology_database(&job_env(job)->config->topology, job->command.arg)) {
        (void)error_set(&e, SQLSTATE_UNKNOWN_DATABASE, "no such database: %s", job->command.arg);
        job_fail(job, &e);
        job_answer(job);
        return;
    }
    log_info("KILL %s command issued", job->command.arg);
    job_round(job, visit_kill, answer_kill);
}

/* --- PAUSE, RESUME
 * --------------------------------------------------------------------------------------------- */

static void paused(void *arg)
{
    done_on_control(arg, "PAUSE");
}

static void pause_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    struct error e;
    if (!process->pause(process->arg, paused, job, &e))
        fail_on_control(job, &e);
}

static void resume_on_control(struct job *job)
{
    const struct console_process *process = job->admin->process;
    struct error e;
    if (process->resume(process->arg, &e))
        done_on_control(job, "RESUME");
    else
        fail_on_control(job, &e);
}

/* All databases or none. */
static void refuse_database(struct job *job, const char *what)
{
    struct error e;
    (void)error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "%s of one database is not supported yet", what);
    error_hint(&e, "%s without a name concerns all databases.", what);
    job_fail(job, &e);
    job_answer(job);
}

void admin_pause(struct job *job)
{
    if (job->command.arg[0])
        refuse_database(job, "PAUSE");
    else
        job_on_control(job, pause_on_control);
}

void admin_resume(struct job *job)
{
    if (job->command.arg[0])
        refuse_database(job, "RESUME");
    else
        job_on_control(job, resume_on_control);
}

/* --- RELOAD, SHUTDOWN
 * ------------------------------------------------------------------------------------------ */

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

/* --- RESOLVE
 * --------------------------------------------------------------------------------------------------- */

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

/* --- SET
 * ------------------------------------------------------------------------------------------------------- */

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
    (void)error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "SET is not supported yet");
    error_hint(&e, "Change %s in the configuration file and give RELOAD.", job->command.arg);
    job_fail(job, &e);
    job_answer(job);
}
