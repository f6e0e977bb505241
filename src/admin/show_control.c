/* What the control thread knows: shards, what is in doubt, totals. */
#include "job.h"

#include <string.h>

static const struct console_process *process_of(const struct job *job)
{
    return job->admin->process;
}

static void done(struct job *job)
{
    reply_done(&job->out, "SHOW");
    job_return(job);
}

/* --- shards ----------------------------------------------------------------------------------- */

static uint64_t buckets_on(const struct topology *t, unsigned shard)
{
    uint64_t n = 0;
    for (size_t d = 0; d < t->n_databases; d++) {
        const struct database_def *db = &t->databases[d];
        for (uint32_t b = 0; b < db->buckets; b++)
            n += db->shards[db->bucket_shard[b]]->id == shard;
    }
    return n;
}

static void shards_on_control(struct job *job)
{
    static const struct reply_column columns[] = {
        {"name", REPLY_TEXT},        {"host", REPLY_TEXT},    {"port", REPLY_TEXT},
        {"dbname", REPLY_TEXT},      {"state", REPLY_TEXT},   {"version", REPLY_TEXT},
        {"buckets", REPLY_INT},      {"prepared", REPLY_INT}, {"oldest_prepared_s", REPLY_FLOAT},
        {"latency_us", REPLY_BIGINT}};
    const struct console_process *process = process_of(job);
    const struct topology *t = &process->config(process->arg)->topology;
    struct reply_row *r = &job->row;
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (unsigned i = 0; i < t->n_shards; i++) {
        struct console_shard s;
        process->shard(process->arg, i, &s);
        row_text(r, t->shards[i].name);
        row_text(r, t->shards[i].host);
        row_text(r, t->shards[i].port);
        row_text(r, t->shards[i].dbname);
        row_text(r, s.state);
        row_text(r, s.version[0] ? s.version : NULL);
        row_unsigned(r, buckets_on(t, i));
        row_unsigned(r, s.prepared);
        row_seconds(r, s.oldest_prepared_s);
        if (s.latency_us)
            row_unsigned(r, s.latency_us);
        else
            row_text(r, NULL);
        row_end(r, &job->out);
    }
    done(job);
}

void admin_show_shards(struct job *job)
{
    job_on_control(job, shards_on_control);
}

/* --- in doubt --------------------------------------------------------------------------------- */

static void unresolved_on_control(struct job *job)
{
    static const struct reply_column columns[] = {
        {"txid", REPLY_TEXT},   {"shard", REPLY_TEXT}, {"decider", REPLY_TEXT}, {"decision", REPLY_TEXT},
        {"age_s", REPLY_FLOAT}, {"owner", REPLY_TEXT}, {"note", REPLY_TEXT}};
    const struct console_process *process = process_of(job);
    const struct recovery_entry *entries;
    size_t n = process->entries(process->arg, &entries);
    struct reply_row *r = &job->row;
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (size_t i = 0; i < n; i++) {
        row_text(r, entries[i].txid);
        row_text(r, entries[i].shard);
        row_text(r, entries[i].decider);
        row_text(r, entries[i].decision);
        row_seconds(r, entries[i].age_s);
        row_text(r, entries[i].owned ? "this proxy" : "");
        row_text(r, entries[i].note);
        row_end(r, &job->out);
    }
    done(job);
}

void admin_show_unresolved(struct job *job)
{
    job_on_control(job, unresolved_on_control);
}

/* --- totals ----------------------------------------------------------------------------------- */

static void totals_cells(struct reply_row *r, const struct totals *t)
{
    row_unsigned(r, t->transactions);
    row_unsigned(r, t->queries);
    row_unsigned(r, t->received);
    row_unsigned(r, t->sent);
    row_unsigned(r, t->transaction_us);
    row_unsigned(r, t->query_us);
    row_unsigned(r, t->wait_us);
}

static void averages_cells(struct reply_row *r, const struct averages *a)
{
    row_unsigned(r, a->transactions);
    row_unsigned(r, a->queries);
    row_unsigned(r, a->received);
    row_unsigned(r, a->sent);
    row_unsigned(r, a->transaction_us);
    row_unsigned(r, a->query_us);
    row_unsigned(r, a->wait_us);
}

static void stats_on_control(struct job *job)
{
    static const struct reply_column both[] = {{"database", REPLY_TEXT},
                                               {"total_xact_count", REPLY_BIGINT},
                                               {"total_query_count", REPLY_BIGINT},
                                               {"total_received", REPLY_BIGINT},
                                               {"total_sent", REPLY_BIGINT},
                                               {"total_xact_time", REPLY_BIGINT},
                                               {"total_query_time", REPLY_BIGINT},
                                               {"total_wait_time", REPLY_BIGINT},
                                               {"avg_xact_count", REPLY_BIGINT},
                                               {"avg_query_count", REPLY_BIGINT},
                                               {"avg_recv", REPLY_BIGINT},
                                               {"avg_sent", REPLY_BIGINT},
                                               {"avg_xact_time", REPLY_BIGINT},
                                               {"avg_query_time", REPLY_BIGINT},
                                               {"avg_wait_time", REPLY_BIGINT}};
    static const struct reply_column one[] = {{"database", REPLY_TEXT},      {"xact_count", REPLY_BIGINT},
                                              {"query_count", REPLY_BIGINT}, {"bytes_received", REPLY_BIGINT},
                                              {"bytes_sent", REPLY_BIGINT},  {"xact_time", REPLY_BIGINT},
                                              {"query_time", REPLY_BIGINT},  {"wait_time", REPLY_BIGINT}};
    const struct console_process *process = process_of(job);
    const struct topology *t = &process->config(process->arg)->topology;
    enum command_kind kind = job->command.kind;
    struct totals totals;
    struct averages averages;
    stats_totals(job->admin->stats, &totals);
    stats_averages(job->admin->stats, &averages);
    if (kind == CMD_SHOW_STATS)
        reply_columns(&job->out, REPLY_COLUMNS(both));
    else
        reply_columns(&job->out, REPLY_COLUMNS(one));
    /* Workers count for all their databases together. */
    row_text(&job->row, t->n_databases == 1 ? t->databases[0].name : "*");
    if (kind != CMD_SHOW_STATS_AVERAGES)
        totals_cells(&job->row, &totals);
    if (kind != CMD_SHOW_STATS_TOTALS)
        averages_cells(&job->row, &averages);
    row_end(&job->row, &job->out);
    done(job);
}

void admin_show_stats(struct job *job)
{
    job_on_control(job, stats_on_control);
}

static void two_phase_on_control(struct job *job)
{
    static const struct reply_column columns[] = {{"one-phase", REPLY_BIGINT},
                                                  {"two-phase", REPLY_BIGINT},
                                                  {"prepare_failed", REPLY_BIGINT},
                                                  {"in_doubt", REPLY_BIGINT},
                                                  {"resolved_commit", REPLY_BIGINT},
                                                  {"resolved_abort", REPLY_BIGINT},
                                                  {"prepare_p50_us", REPLY_BIGINT},
                                                  {"prepare_p99_us", REPLY_BIGINT},
                                                  {"decide_p50_us", REPLY_BIGINT},
                                                  {"decide_p99_us", REPLY_BIGINT},
                                                  {"apply_p50_us", REPLY_BIGINT},
                                                  {"apply_p99_us", REPLY_BIGINT},
                                                  {"torn", REPLY_BIGINT}};
    struct session_shared *shared = job->admin->shared;
    const struct session_times *times[] = {&shared->prepare, &shared->decide, &shared->apply};
    struct reply_row *r = &job->row;
    struct totals t;
    stats_totals(job->admin->stats, &t);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    row_unsigned(r, t.one_phase);
    row_unsigned(r, t.two_phase);
    row_unsigned(r, t.prepare_failed);
    row_unsigned(r, t.in_doubt);
    row_unsigned(r, atomic_load(&shared->resolved_commit));
    row_unsigned(r, atomic_load(&shared->resolved_abort));
    for (size_t i = 0; i < 3; i++) {
        row_unsigned(r, session_times_percentile(times[i], 50));
        row_unsigned(r, session_times_percentile(times[i], 99));
    }
    row_unsigned(r, atomic_load(&shared->torn));
    row_end(r, &job->out);
    done(job);
}

void admin_show_two_phase(struct job *job)
{
    job_on_control(job, two_phase_on_control);
}
