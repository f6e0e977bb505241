/*
 * SHOW TRANSACTION txid: what is known of one transaction, asked of every shard at this moment.
 *
 * Two questions a shard, one after the other: which parts of it are prepared there (P), and then the decision
 * row (D). By asking D after P: a part that is listed as prepared was so when, or before, its decision was
 * looked up; so "prepared" with a decision means "about to be applied", and "prepared" without one means in
 * doubt. A decision row may be gone by now, with all of its transaction's parts: then nothing is found, and
 * the outcome is known only if this process resolved it, lately.
 */
#include "shows.h"

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
    struct question *q;
    struct config *config; /* a reference */
    struct buf read_sql;
    unsigned due; /* shards that have not answered yet */
    unsigned n;
    struct asked shards[];
};

static void inquiry_free(void *p)
{
    struct inquiry *inquiry = p;
    buf_free(&inquiry->read_sql);
    config_unref(&inquiry->config);
    free(inquiry);
}

static const char *outcome_of(const struct inquiry *inquiry)
{
    bool prepared = false, unreachable = false;
    for (unsigned i = 0; i < inquiry->n; i++) {
        if (inquiry->shards[i].decision)
            return inquiry->shards[i].decision == 'c' ? "committed" : "aborted";
        prepared = prepared || inquiry->shards[i].prepared;
        unreachable = unreachable || !inquiry->shards[i].reachable;
    }
    if (prepared || session_owns_txid(inquiry->q->admin->shared, inquiry->q->command.arg))
        return "in doubt";
    bool committed;
    if (session_recall_resolved(inquiry->q->admin->shared, inquiry->q->command.arg, &committed))
        return committed ? "committed" : "aborted";
    return "unknown";
}

static void answer_shards(struct inquiry *inquiry)
{
    struct question *q = inquiry->q;
    const char *outcome = outcome_of(inquiry);
    for (unsigned i = 0; i < inquiry->n; i++) {
        const struct asked *a = &inquiry->shards[i];
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
        answer_text(&q->answer, q->command.arg);
        answer_text(&q->answer, outcome);
        answer_text(&q->answer, a->def->name);
        answer_text(&q->answer, state);
        if (a->prepared)
            answer_seconds(&q->answer, a->age_s);
        else
            answer_null(&q->answer);
        answer_row(&q->answer);
    }
    show_done(q);
}

static void shard_done(struct asked *a)
{
    if (--a->inquiry->due == 0)
        answer_shards(a->inquiry);
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
        a->decision = decision_outcome(a->inquiry->q->command.arg, rows_text(r, 0, 0), rows_text(r, 0, 1));
    shard_done(a);
}

static void prepared_answered(void *arg, const struct rows *r)
{
    struct asked *a = arg;
    const struct inquiry *inquiry = a->inquiry;
    const struct console_process *process = question_process(inquiry->q);
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
        if (strcmp(gid.cluster, inquiry->config->settings.cluster) == 0 &&
            strcmp(gid.txid, inquiry->q->command.arg) == 0 && strcmp(gid.participant, a->def->name) == 0) {
            a->prepared = true;
            a->age_s = age ? strtod(age, NULL) : 0;
        }
    }
    asker_query(process->control(process->arg), a->def, (const char *)buf_head(&inquiry->read_sql),
                QUERY_TIMEOUT_US, decision_answered, a);
}

static void ask_shards(struct question *q)
{
    static const char prepared_sql[] =
        "SELECT gid, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) "
        "prepared) FROM pg_catalog.pg_prepared_xacts "
        "WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database() AND pg_catalog.starts_with(gid, "
        "'pgunison/')";
    const struct console_process *process = question_process(q);
    struct config *config = process->config(process->arg);
    struct error e;
    if (!txid_valid(slice_str(q->command.arg))) {
        (void)error_set(&e, SQLSTATE_INVALID_TEXT, "\"%s\" is not the name of a transaction", q->command.arg);
        question_fail(q, &e);
        question_return(q);
        return;
    }
    unsigned n = (unsigned)config->topology.n_shards;
    struct inquiry *inquiry = xcalloc(1, sizeof *inquiry + n * sizeof inquiry->shards[0]);
    inquiry->q = q;
    inquiry->config = config_ref(config);
    inquiry->due = inquiry->n = n;
    buf_init(&inquiry->read_sql);
    decision_read_sql(&inquiry->read_sql, q->command.arg);
    q->data = inquiry;
    q->free_data = inquiry_free;
    for (unsigned i = 0; i < n; i++) {
        inquiry->shards[i] = (struct asked){.inquiry = inquiry, .def = &inquiry->config->topology.shards[i]};
        asker_query(process->control(process->arg), inquiry->shards[i].def, prepared_sql, QUERY_TIMEOUT_US,
                    prepared_answered, &inquiry->shards[i]);
    }
    if (n == 0)
        answer_shards(inquiry);
}

static const struct answer_column transaction_columns[] = {{"txid", ANSWER_TEXT},
                                                           {"outcome", ANSWER_TEXT},
                                                           {"shard", ANSWER_TEXT},
                                                           {"state", ANSWER_TEXT},
                                                           {"prepared_s", ANSWER_FLOAT}};

const struct show shows_transaction[] = {
    {.name = "transaction",
     .usage = "txid",
     .place = SHOW_SHARDS,
     SHOW_COLUMNS(transaction_columns),
     .fill = ask_shards},
    {0},
};
