/*
 * SHOW TRANSACTION txid: what is known of one transaction, asked of every shard at this moment.
 *
 * Two questions a shard, one after the other: which parts of it are prepared there (P), and then the decision
 * row (D). By asking D after P: a part that is listed as prepared was so when, or before, its decision was
 * looked up; so "prepared" with a decision means "about to be applied", and "prepared" without one means in
 * doubt. A decision row may be gone by now, with all of its transaction's parts: then nothing is found, and
 * the outcome is known only if this process resolved it, lately.
 */
#include "job.h"

#include "backend/asker.h"
#include "base/arena.h"
#include "txn/decision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_TIMEOUT_US ((uint64_t)5 * 1000 * 1000)

struct inquiry;
struct asked { /* one shard */
    struct inquiry *inquiry;
    const struct shard_def *def;
    bool reachable, prepared;
    char decision; /* 'c', 'a', 0: none */
    double age_s;
    char why[128]; /* !reachable */
};

struct inquiry {
    struct job *job;
    struct config *config; /* a reference */
    struct buf read_sql;
    unsigned due; /* shards that have not answered yet */
    unsigned n;
    struct asked shards[];
};

static void inquiry_free(void *p)
{
    struct inquiry *q = p;
    buf_free(&q->read_sql);
    config_unref(&q->config);
    free(q);
}

static const char *outcome_of(const struct inquiry *q)
{
    bool prepared = false, unreachable = false;
    for (unsigned i = 0; i < q->n; i++) {
        if (q->shards[i].decision)
            return q->shards[i].decision == 'c' ? "committed" : "aborted";
        prepared = prepared || q->shards[i].prepared;
        unreachable = unreachable || !q->shards[i].reachable;
    }
    if (prepared || session_owns_txid(q->job->admin->shared, q->job->command.arg))
        return "in doubt";
    bool committed;
    if (session_recall_resolved(q->job->admin->shared, q->job->command.arg, &committed))
        return committed ? "committed" : "aborted";
    return "unknown";
}

static void answer(struct inquiry *q)
{
    static const struct reply_column columns[] = {{"txid", REPLY_TEXT},
                                                  {"outcome", REPLY_TEXT},
                                                  {"shard", REPLY_TEXT},
                                                  {"state", REPLY_TEXT},
                                                  {"prepared_s", REPLY_FLOAT}};
    struct job *job = q->job;
    const char *outcome = outcome_of(q);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (unsigned i = 0; i < q->n; i++) {
        const struct asked *a = &q->shards[i];
        char state[192];
        if (!a->reachable)
            snprintf(state, sizeof state, "unreachable: %s", a->why);
        else
            snprintf(state, sizeof state, "%s%s%s", a->prepared ? "prepared" : "",
                     a->prepared && a->decision ? ", " : "",
                     a->decision == 'c'   ? "decided: commit"
                     : a->decision == 'a' ? "decided: abort"
                     : a->prepared        ? ""
                                          : "nothing here");
        row_text(&job->row, job->command.arg);
        row_text(&job->row, outcome);
        row_text(&job->row, a->def->name);
        row_text(&job->row, state);
        if (a->prepared)
            row_seconds(&job->row, a->age_s);
        else
            row_text(&job->row, NULL);
        row_end(&job->row, &job->out);
    }
    reply_done(&job->out, "SHOW");
    job_return(job);
}

static void shard_done(struct asked *a)
{
    if (--a->inquiry->due == 0)
        answer(a->inquiry);
}

static void failed(struct asked *a, const struct rows *r)
{
    a->reachable = false;
    snprintf(a->why, sizeof a->why, "%.*s", (int)sizeof a->why - 1,
             r->error ? r->error->message : "no answer");
    shard_done(a);
}

static void decision_answered(void *arg, const struct rows *r)
{
    struct asked *a = arg;
    bool no_table = !r->ok && !r->lost && r->error &&
                    (strcmp(r->error->sqlstate, "42P01") == 0 || strcmp(r->error->sqlstate, "3F000") == 0 ||
                     strcmp(r->error->sqlstate, SQLSTATE_INVALID_TEXT) == 0);
    if (!r->ok && !no_table) {
        failed(a, r);
        return;
    }
    a->reachable = true;
    if (r->ok && r->n_rows == 1 && r->n_columns == 2)
        a->decision = decision_outcome(a->inquiry->job->command.arg, rows_text(r, 0, 0), rows_text(r, 0, 1));
    shard_done(a);
}

static void prepared_answered(void *arg, const struct rows *r)
{
    struct asked *a = arg;
    const struct inquiry *q = a->inquiry;
    if (!r->ok) {
        failed(a, r);
        return;
    }
    for (size_t i = 0; i < r->n_rows && r->n_columns == 2; i++) {
        struct gid gid;
        struct slice name = rows_value(r, i, 0);
        const char *age = rows_text(r, i, 1);
        if (!name.data || !gid_parse(name, &gid))
            continue;
        /* Two shards may be two names of one database: each has its own parts only. */
        if (strcmp(gid.cluster, q->config->settings.cluster) == 0 &&
            strcmp(gid.txid, q->job->command.arg) == 0 && strcmp(gid.participant, a->def->name) == 0) {
            a->prepared = true;
            a->age_s = age ? strtod(age, NULL) : 0;
        }
    }
    asker_query(q->job->admin->process->control(q->job->admin->process->arg), a->def,
                (const char *)buf_head(&q->read_sql), QUERY_TIMEOUT_US, decision_answered, a);
}

static void on_control(struct job *job)
{
    static const char prepared_sql[] =
        "SELECT gid, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) "
        "prepared) FROM pg_catalog.pg_prepared_xacts "
        "WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database() AND pg_catalog.starts_with(gid, "
        "'pgunison/')";
    const struct console_process *process = job->admin->process;
    struct config *config = process->config(process->arg);
    struct error e;
    if (!txid_valid(slice_str(job->command.arg))) {
        (void)error_set(&e, SQLSTATE_INVALID_TEXT, "\"%s\" is not the name of a transaction",
                        job->command.arg);
        job_fail(job, &e);
        job_return(job);
        return;
    }
    unsigned n = (unsigned)config->topology.n_shards;
    struct inquiry *q = xcalloc(1, sizeof *q + n * sizeof q->shards[0]);
    q->job = job;
    q->config = config_ref(config);
    q->due = q->n = n;
    buf_init(&q->read_sql);
    decision_read_sql(&q->read_sql, job->command.arg);
    job->data = q;
    job->free_data = inquiry_free;
    for (unsigned i = 0; i < n; i++) {
        q->shards[i] = (struct asked){.inquiry = q, .def = &q->config->topology.shards[i]};
        asker_query(process->control(process->arg), q->shards[i].def, prepared_sql, QUERY_TIMEOUT_US,
                    prepared_answered, &q->shards[i]);
    }
    if (n == 0)
        answer(q);
}

void admin_show_transaction(struct job *job)
{
    job_on_control(job, on_control);
}
