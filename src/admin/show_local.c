/* What a worker knows by itself: its configuration, and constants. */
#include "shows.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

static const struct topology *topology_of(const struct question *q)
{
    return &question_env(q)->config->topology;
}

static const struct answer_column version_columns[] = {{"version", ANSWER_TEXT}};

static void fill_version(struct question *q)
{
    answer_text(&q->answer, "pgunison " PGUNISON_VERSION);
    answer_row(&q->answer);
}

static const struct answer_column config_columns[] = {
    {"key", ANSWER_TEXT}, {"value", ANSWER_TEXT}, {"default", ANSWER_TEXT}, {"changeable", ANSWER_TEXT}};

static void fill_config(struct question *q)
{
    struct buf value;
    buf_init(&value);
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        buf_clear(&value);
        settings_value(&question_env(q)->config->settings, i, &value);
        buf_u8(&value, 0);
        answer_text(&q->answer, info->name);
        answer_text(&q->answer, (const char *)buf_head(&value));
        answer_text(&q->answer, info->default_value);
        answer_text(&q->answer, info->on_reload ? "yes" : "no");
        answer_row(&q->answer);
    }
    buf_free(&value);
}

static const struct answer_column buckets_columns[] = {
    {"database", ANSWER_TEXT}, {"first", ANSWER_INT}, {"last", ANSWER_INT}, {"shard", ANSWER_TEXT}};

static void fill_buckets(struct question *q)
{
    const struct topology *t = topology_of(q);
    for (size_t d = 0; d < t->n_databases; d++) {
        const struct database_def *db = &t->databases[d];
        for (uint32_t first = 0, next; first < db->buckets; first = next) {
            for (next = first; next < db->buckets && db->bucket_shard[next] == db->bucket_shard[first];)
                next++;
            answer_text(&q->answer, db->name);
            answer_unsigned(&q->answer, first);
            answer_unsigned(&q->answer, next - 1);
            answer_text(&q->answer, db->shards[db->bucket_shard[first]]->name);
            answer_row(&q->answer);
        }
    }
}

static int by_name(const void *a, const void *b)
{
    const struct user *const *ua = a, *const *ub = b;
    return strcmp((*ua)->name, (*ub)->name);
}

static const struct answer_column users_columns[] = {{"name", ANSWER_TEXT}, {"pool_mode", ANSWER_TEXT}};

static void fill_users(struct question *q)
{
    const struct hashmap *users = &question_env(q)->config->users.by_name;
    const struct user **sorted = xcalloc(users->count + 1, sizeof *sorted);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    size_t n = 0;
    hashmap_iter_init(users, &it);
    while (hashmap_next(users, &it, &key, &value))
        sorted[n++] = value;
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 0; i < n; i++) {
        answer_text(&q->answer, sorted[i]->name);
        answer_null(&q->answer); /* users have no pool mode of their own */
        answer_row(&q->answer);
    }
    free(sorted);
}

static void state_row(struct answer *a, const char *key, bool on)
{
    answer_text(a, key);
    answer_text(a, on ? "yes" : "no");
    answer_row(a);
}

static const struct answer_column state_columns[] = {{"key", ANSWER_TEXT}, {"value", ANSWER_TEXT}};

static void fill_state(struct question *q)
{
    bool paused = atomic_load(&q->admin->shared->paused);
    state_row(&q->answer, "active", !paused);
    state_row(&q->answer, "paused", paused);
    state_row(&q->answer, "suspended", false);
}

const struct show shows_local[] = {
    {.name = "version", .place = SHOW_HERE, SHOW_COLUMNS(version_columns), .fill = fill_version},
    {.name = "config", .place = SHOW_HERE, SHOW_COLUMNS(config_columns), .fill = fill_config},
    {.name = "buckets", .place = SHOW_HERE, SHOW_COLUMNS(buckets_columns), .fill = fill_buckets},
    {.name = "users", .place = SHOW_HERE, SHOW_COLUMNS(users_columns), .fill = fill_users},
    {.name = "state", .place = SHOW_HERE, SHOW_COLUMNS(state_columns), .fill = fill_state},
    {0},
};
