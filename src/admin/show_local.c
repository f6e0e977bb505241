/* What a worker knows by itself: its configuration, and constants. */
#include "job.h"

#include "base/arena.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

static const struct topology *topology_of(const struct job *job)
{
    return &job_env(job)->config->topology;
}

static void done(struct job *job)
{
    reply_done(&job->out, "SHOW");
    job_answer(job);
}

void admin_show_version(struct job *job)
{
    static const struct reply_column columns[] = {{"version", REPLY_TEXT}};
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    row_text(&job->row, "pgunison " PGUNISON_VERSION);
    row_end(&job->row, &job->out);
    done(job);
}

void admin_show_help(struct job *job)
{
    struct error e;
    (void)error_set(&e, "00000", "Console usage");
    error_detail(&e, "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION\n"
                     "\tSHOW LISTS|MEM|STATE|STATS|STATS_TOTALS|STATS_AVERAGES\n"
                     "\tSHOW SHARDS|BUCKETS|TABLES|TWO_PHASE\n"
                     "\tSHOW TRANSACTIONS|UNRESOLVED\n"
                     "\tSHOW TRANSACTION txid\n"
                     "\tRESOLVE [txid]\n"
                     "\tRELOAD\n"
                     "\tPAUSE [db]\n"
                     "\tRESUME [db]\n"
                     "\tKILL [db]\n"
                     "\tDISABLE db\n"
                     "\tENABLE db\n"
                     "\tRECONNECT [db]\n"
                     "\tSET key = value\n"
                     "\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]");
    message_notice(&job->out, "NOTICE", &e);
    done(job);
}

void admin_show_parameter(struct job *job)
{
    struct reply_column column = {job->command.arg, REPLY_TEXT};
    reply_columns(&job->out, &column, 1);
    row_text(&job->row, job->command.value);
    row_end(&job->row, &job->out);
    done(job);
}

void admin_show_config(struct job *job)
{
    static const struct reply_column columns[] = {
        {"key", REPLY_TEXT}, {"value", REPLY_TEXT}, {"default", REPLY_TEXT}, {"changeable", REPLY_TEXT}};
    struct buf value;
    buf_init(&value);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        buf_clear(&value);
        settings_value(&job_env(job)->config->settings, i, &value);
        buf_u8(&value, 0);
        row_text(&job->row, info->name);
        row_text(&job->row, (const char *)buf_head(&value));
        row_text(&job->row, info->default_value);
        row_text(&job->row, info->on_reload ? "yes" : "no");
        row_end(&job->row, &job->out);
    }
    buf_free(&value);
    done(job);
}

void admin_show_buckets(struct job *job)
{
    static const struct reply_column columns[] = {
        {"database", REPLY_TEXT}, {"first", REPLY_INT}, {"last", REPLY_INT}, {"shard", REPLY_TEXT}};
    const struct topology *t = topology_of(job);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (size_t d = 0; d < t->n_databases; d++) {
        const struct database_def *db = &t->databases[d];
        for (uint32_t first = 0, next; first < db->buckets; first = next) {
            for (next = first; next < db->buckets && db->bucket_shard[next] == db->bucket_shard[first];)
                next++;
            row_text(&job->row, db->name);
            row_unsigned(&job->row, first);
            row_unsigned(&job->row, next - 1);
            row_text(&job->row, db->shards[db->bucket_shard[first]]->name);
            row_end(&job->row, &job->out);
        }
    }
    done(job);
}

static int by_name(const void *a, const void *b)
{
    const struct user *const *ua = a, *const *ub = b;
    return strcmp((*ua)->name, (*ub)->name);
}

void admin_show_users(struct job *job)
{
    static const struct reply_column columns[] = {{"name", REPLY_TEXT}, {"pool_mode", REPLY_TEXT}};
    const struct hashmap *users = &job_env(job)->config->users.by_name;
    const struct user **sorted = xcalloc(users->count + 1, sizeof *sorted);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    size_t n = 0;
    hashmap_iter_init(users, &it);
    while (hashmap_next(users, &it, &key, &value))
        sorted[n++] = value;
    qsort(sorted, n, sizeof *sorted, by_name);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (size_t i = 0; i < n; i++) {
        row_text(&job->row, sorted[i]->name);
        row_text(&job->row, NULL); /* users have no pool mode of their own */
        row_end(&job->row, &job->out);
    }
    free(sorted);
    done(job);
}

static void state_row(struct job *job, const char *key, bool on)
{
    row_text(&job->row, key);
    row_text(&job->row, on ? "yes" : "no");
    row_end(&job->row, &job->out);
}

void admin_show_state(struct job *job)
{
    static const struct reply_column columns[] = {{"key", REPLY_TEXT}, {"value", REPLY_TEXT}};
    bool paused = atomic_load(&job->admin->shared->paused);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    state_row(job, "active", !paused);
    state_row(job, "paused", paused);
    state_row(job, "suspended", false);
    done(job);
}
