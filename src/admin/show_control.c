/* What the control thread knows: shards, what is in doubt, totals. */
#include "shows.h"

#include <string.h>

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

static const struct answer_column shards_columns[] = {
    {"name", ANSWER_TEXT},        {"host", ANSWER_TEXT},    {"port", ANSWER_TEXT},
    {"dbname", ANSWER_TEXT},      {"state", ANSWER_TEXT},   {"version", ANSWER_TEXT},
    {"buckets", ANSWER_INT},      {"prepared", ANSWER_INT}, {"oldest_prepared_s", ANSWER_FLOAT},
    {"latency_us", ANSWER_BIGINT}};

static void fill_shards(struct question *q)
{
    const struct console_process *process = question_process(q);
    const struct topology *t = &process->config(process->arg)->topology;
    struct answer *a = &q->answer;
    for (unsigned i = 0; i < t->n_shards; i++) {
        struct console_shard s;
        process->shard(process->arg, i, &s);
        answer_text(a, t->shards[i].name);
        answer_text(a, t->shards[i].host);
        answer_text(a, t->shards[i].port);
        answer_text(a, t->shards[i].dbname);
        answer_text(a, s.state);
        answer_text(a, s.version[0] ? s.version : NULL);
        answer_unsigned(a, buckets_on(t, i));
        answer_unsigned(a, s.prepared);
        answer_seconds(a, s.oldest_prepared_s);
        answer_unsigned_or_null(a, s.latency_us);
        answer_row(a);
    }
}

/* --- in doubt --------------------------------------------------------------------------------- */

static const struct answer_column unresolved_columns[] = {
    {"txid", ANSWER_TEXT},   {"shard", ANSWER_TEXT}, {"decider", ANSWER_TEXT}, {"decision", ANSWER_TEXT},
    {"age_s", ANSWER_FLOAT}, {"owner", ANSWER_TEXT}, {"note", ANSWER_TEXT}};

static void fill_unresolved(struct question *q)
{
    const struct console_process *process = question_process(q);
    const struct recovery_entry *entries;
    size_t n = process->entries(process->arg, &entries);
    struct answer *a = &q->answer;
    for (size_t i = 0; i < n; i++) {
        answer_text(a, entries[i].txid);
        answer_text(a, entries[i].shard);
        answer_text(a, entries[i].decider);
        answer_text(a, entries[i].decision);
        answer_seconds(a, entries[i].age_s);
        answer_text(a, entries[i].owned ? "this proxy" : "");
        answer_text(a, entries[i].note);
        answer_row(a);
    }
}

/* --- totals ----------------------------------------------------------------------------------- */

static void totals_cells(struct answer *a, const struct totals *t)
{
    answer_unsigned(a, t->transactions);
    answer_unsigned(a, t->queries);
    answer_unsigned(a, t->received);
    answer_unsigned(a, t->sent);
    answer_unsigned(a, t->transaction_us);
    answer_unsigned(a, t->query_us);
    answer_unsigned(a, t->wait_us);
}

static void averages_cells(struct answer *a, const struct averages *v)
{
    answer_unsigned(a, v->transactions);
    answer_unsigned(a, v->queries);
    answer_unsigned(a, v->received);
    answer_unsigned(a, v->sent);
    answer_unsigned(a, v->transaction_us);
    answer_unsigned(a, v->query_us);
    answer_unsigned(a, v->wait_us);
}

static const struct answer_column stats_columns[] = {{"database", ANSWER_TEXT},
                                                     {"total_xact_count", ANSWER_BIGINT},
                                                     {"total_query_count", ANSWER_BIGINT},
                                                     {"total_received", ANSWER_BIGINT},
                                                     {"total_sent", ANSWER_BIGINT},
                                                     {"total_xact_time", ANSWER_BIGINT},
                                                     {"total_query_time", ANSWER_BIGINT},
                                                     {"total_wait_time", ANSWER_BIGINT},
                                                     {"avg_xact_count", ANSWER_BIGINT},
                                                     {"avg_query_count", ANSWER_BIGINT},
                                                     {"avg_recv", ANSWER_BIGINT},
                                                     {"avg_sent", ANSWER_BIGINT},
                                                     {"avg_xact_time", ANSWER_BIGINT},
                                                     {"avg_query_time", ANSWER_BIGINT},
                                                     {"avg_wait_time", ANSWER_BIGINT}};
static const struct answer_column one_stats_columns[] = {
    {"database", ANSWER_TEXT},         {"xact_count", ANSWER_BIGINT}, {"query_count", ANSWER_BIGINT},
    {"bytes_received", ANSWER_BIGINT}, {"bytes_sent", ANSWER_BIGINT}, {"xact_time", ANSWER_BIGINT},
    {"query_time", ANSWER_BIGINT},     {"wait_time", ANSWER_BIGINT}};

/* Workers count for all their databases together. */
static void stats_row(struct question *q, bool with_totals, bool with_averages)
{
    const struct console_process *process = question_process(q);
    const struct topology *t = &process->config(process->arg)->topology;
    struct totals totals;
    struct averages averages;
    stats_totals(q->admin->stats, &totals);
    stats_averages(q->admin->stats, &averages);
    answer_text(&q->answer, t->n_databases == 1 ? t->databases[0].name : "*");
    if (with_totals)
        totals_cells(&q->answer, &totals);
    if (with_averages)
        averages_cells(&q->answer, &averages);
    answer_row(&q->answer);
}

static void fill_stats(struct question *q)
{
    stats_row(q, true, true);
}

static void fill_stats_totals(struct question *q)
{
    stats_row(q, true, false);
}

static void fill_stats_averages(struct question *q)
{
    stats_row(q, false, true);
}

/* --- two-phase commits ------------------------------------------------------------------------ */

static const struct answer_column two_phase_columns[] = {{"one-phase", ANSWER_BIGINT},
                                                         {"two-phase", ANSWER_BIGINT},
                                                         {"prepare_failed", ANSWER_BIGINT},
                                                         {"in_doubt", ANSWER_BIGINT},
                                                         {"resolved_commit", ANSWER_BIGINT},
                                                         {"resolved_abort", ANSWER_BIGINT},
                                                         {"prepare_p50_us", ANSWER_BIGINT},
                                                         {"prepare_p99_us", ANSWER_BIGINT},
                                                         {"decide_p50_us", ANSWER_BIGINT},
                                                         {"decide_p99_us", ANSWER_BIGINT},
                                                         {"apply_p50_us", ANSWER_BIGINT},
                                                         {"apply_p99_us", ANSWER_BIGINT},
                                                         {"torn", ANSWER_BIGINT}};

static void fill_two_phase(struct question *q)
{
    struct session_shared *shared = q->admin->shared;
    const struct session_times *times[] = {&shared->prepare, &shared->decide, &shared->apply};
    struct answer *a = &q->answer;
    struct totals t;
    stats_totals(q->admin->stats, &t);
    answer_unsigned(a, t.one_phase);
    answer_unsigned(a, t.two_phase);
    answer_unsigned(a, t.prepare_failed);
    answer_unsigned(a, t.in_doubt);
    answer_unsigned(a, atomic_load(&shared->resolved_commit));
    answer_unsigned(a, atomic_load(&shared->resolved_abort));
    for (size_t i = 0; i < 3; i++) {
        answer_unsigned(a, session_times_percentile(times[i], 50));
        answer_unsigned(a, session_times_percentile(times[i], 99));
    }
    answer_unsigned(a, atomic_load(&shared->torn));
    answer_row(a);
}

const struct show shows_control[] = {
    {.name = "stats", .place = SHOW_CONTROL, SHOW_COLUMNS(stats_columns), .fill = fill_stats},
    {.name = "stats_totals",
     .place = SHOW_CONTROL,
     SHOW_COLUMNS(one_stats_columns),
     .fill = fill_stats_totals},
    {.name = "stats_averages",
     .place = SHOW_CONTROL,
     SHOW_COLUMNS(one_stats_columns),
     .fill = fill_stats_averages},
    {.name = "shards", .place = SHOW_CONTROL, SHOW_COLUMNS(shards_columns), .fill = fill_shards},
    {.name = "two_phase", .place = SHOW_CONTROL, SHOW_COLUMNS(two_phase_columns), .fill = fill_two_phase},
    {.name = "unresolved", .place = SHOW_CONTROL, SHOW_COLUMNS(unresolved_columns), .fill = fill_unresolved},
    {0},
};
