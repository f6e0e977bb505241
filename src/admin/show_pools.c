/*
 * Sums over all workers: POOLS, LISTS, DATABASES. The pools of one user, database and shard are one row, whatever
 * workers they are on.
 */
#include "shows.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

struct pool_sum {
    char *user, *database, *shard;
    unsigned active, idle, opening, waiting;
    uint64_t oldest_wait_us;
};
struct pool_sums {
    struct pool_sum *items;
    size_t n, cap;
    unsigned clients, logins;
};

static void sums_free(void *p)
{
    struct pool_sums *sums = p;
    for (size_t i = 0; i < sums->n; i++) {
        free(sums->items[i].user);
        free(sums->items[i].database);
        free(sums->items[i].shard);
    }
    free(sums->items);
    free(sums);
}

static struct pool_sum *sum_for(struct pool_sums *sums, const struct pool_stats *p)
{
    for (size_t i = 0; i < sums->n; i++) {
        struct pool_sum *s = &sums->items[i];
        if (strcmp(s->user, p->user) == 0 && strcmp(s->database, p->database) == 0 &&
            strcmp(s->shard, p->shard) == 0)
            return s;
    }
    if (sums->n == sums->cap) {
        sums->cap = sums->cap ? sums->cap * 2 : 16;
        sums->items = xrealloc(sums->items, sums->cap * sizeof *sums->items);
    }
    struct pool_sum *s = &sums->items[sums->n++];
    *s = (struct pool_sum){
        .user = xstrdup(p->user), .database = xstrdup(p->database), .shard = xstrdup(p->shard)};
    return s;
}

static void add_pool(void *arg, const struct pool_stats *p)
{
    struct pool_sum *s = sum_for(arg, p);
    s->active += p->active;
    s->idle += p->idle;
    s->opening += p->opening;
    s->waiting += p->waiting;
    if (p->oldest_wait_us > s->oldest_wait_us)
        s->oldest_wait_us = p->oldest_wait_us;
}

static void add_client(void *arg, const struct client_info *c)
{
    struct pool_sums *sums = arg;
    sums->clients++;
    if (!c->pid)
        sums->logins++; /* has not got its key yet */
}

static void visit_pools(struct question *q, struct session_env *env)
{
    struct pool_sums *sums = question_data(q, sizeof *sums, sums_free);
    pool_manager_each(env->pools, add_pool, sums);
    client_each(env, add_client, sums);
}

static int compare_sums(const void *a, const void *b)
{
    const struct pool_sum *pa = a, *pb = b;
    int c = strcmp(pa->database, pb->database);
    if (c == 0)
        c = strcmp(pa->user, pb->user);
    return c ? c : strcmp(pa->shard, pb->shard);
}

static const char *pool_mode_name(int mode)
{
    switch ((enum pool_mode)mode) {
    case POOL_SESSION:
        return "session";
    case POOL_TRANSACTION:
        return "transaction";
    case POOL_STATEMENT:
        return "statement";
    }
    return "?";
}

static int mode_of(const struct config *config, const struct database_def *db)
{
    return db && db->pool_mode >= 0 ? db->pool_mode : config->settings.pool_mode;
}

static const struct answer_column pools_columns[] = {{"database", ANSWER_TEXT},
                                                     {"user", ANSWER_TEXT},
                                                     {"cl_active", ANSWER_INT},
                                                     {"cl_waiting", ANSWER_INT},
                                                     {"cl_active_cancel_req", ANSWER_INT},
                                                     {"cl_waiting_cancel_req", ANSWER_INT},
                                                     {"sv_active", ANSWER_INT},
                                                     {"sv_active_cancel", ANSWER_INT},
                                                     {"sv_being_canceled", ANSWER_INT},
                                                     {"sv_idle", ANSWER_INT},
                                                     {"sv_used", ANSWER_INT},
                                                     {"sv_tested", ANSWER_INT},
                                                     {"sv_login", ANSWER_INT},
                                                     {"maxwait", ANSWER_INT},
                                                     {"maxwait_us", ANSWER_INT},
                                                     {"pool_mode", ANSWER_TEXT},
                                                     {"shard", ANSWER_TEXT}};

static void fill_pools(struct question *q)
{
    struct pool_sums *sums = q->data;
    struct answer *a = &q->answer;
    const struct config *config = question_env(q)->config;
    if (sums->n)
        qsort(sums->items, sums->n, sizeof *sums->items, compare_sums);
    for (size_t i = 0; i < sums->n; i++) {
        const struct pool_sum *s = &sums->items[i];
        answer_text(a, s->database);
        answer_text(a, s->user);
        answer_unsigned(a, s->active); /* a server in use is in use by one client */
        answer_unsigned(a, s->waiting);
        answer_int(a, 0);
        answer_int(a, 0);
        answer_unsigned(a, s->active);
        answer_int(a, 0);
        answer_int(a, 0);
        answer_unsigned(a, s->idle);
        answer_int(a, 0);
        answer_int(a, 0);
        answer_unsigned(a, s->opening);
        answer_unsigned(a, s->oldest_wait_us / 1000000);
        answer_unsigned(a, s->oldest_wait_us % 1000000);
        answer_text(a, pool_mode_name(mode_of(config, topology_database(&config->topology, s->database))));
        answer_text(a, s->shard);
        answer_row(a);
    }
}

static void list_row(struct question *q, const char *name, uint64_t items)
{
    answer_text(&q->answer, name);
    answer_unsigned(&q->answer, items);
    answer_row(&q->answer);
}

static const struct answer_column lists_columns[] = {{"list", ANSWER_TEXT}, {"items", ANSWER_INT}};

static void fill_lists(struct question *q)
{
    const struct pool_sums *sums = q->data;
    const struct config *config = question_env(q)->config;
    uint64_t used = 0, idle = 0;
    for (size_t i = 0; i < sums->n; i++) {
        used += sums->items[i].active;
        idle += sums->items[i].idle;
    }
    list_row(q, "databases", config->topology.n_databases);
    list_row(q, "users", config->users.by_name.count);
    list_row(q, "pools", sums->n);
    list_row(q, "free_clients", 0);
    list_row(q, "used_clients", sums->clients);
    list_row(q, "login_clients", sums->logins);
    list_row(q, "free_servers", idle);
    list_row(q, "used_servers", used);
    list_row(q, "dns_names", 0);
    list_row(q, "dns_zones", 0);
    list_row(q, "dns_queries", 0);
    list_row(q, "dns_pending", 0);
    list_row(q, "shards", config->topology.n_shards);
}

static void shard_names(const struct database_def *db, struct buf *b)
{
    buf_clear(b);
    for (unsigned i = 0; i < db->n_shards; i++)
        buf_printf(b, i ? " %s" : "%s", db->shards[i]->name);
    buf_u8(b, 0);
}

static void database_row(struct question *q, const struct database_def *db, struct buf *shards)
{
    const struct pool_sums *sums = q->data;
    struct session_databases *marks = &q->admin->shared->databases;
    const struct settings *s = &question_env(q)->config->settings;
    const struct shard_def *home = db->shards[db->home];
    struct answer *a = &q->answer;
    uint64_t connections = 0;
    for (size_t i = 0; i < sums->n; i++)
        if (strcmp(sums->items[i].database, db->name) == 0)
            connections += sums->items[i].active + sums->items[i].idle + sums->items[i].opening;
    shard_names(db, shards);
    answer_text(a, db->name);
    answer_text(a, home->host);
    answer_text(a, home->port);
    answer_text(a, home->dbname);
    answer_text(a, home->user);
    answer_int(a, db->pool_size >= 0 ? db->pool_size : s->default_pool_size);
    answer_int(a, s->min_pool_size);
    answer_int(a, db->reserve_pool_size >= 0 ? db->reserve_pool_size : s->reserve_pool_size);
    answer_text(a, pool_mode_name(mode_of(question_env(q)->config, db)));
    answer_int(a, db->max_db_connections ? db->max_db_connections : s->max_db_connections);
    answer_unsigned(a, connections);
    answer_int(a, atomic_load(&q->admin->shared->paused) ||
                      session_database_is(marks, DATABASE_PAUSED, db->name));
    answer_int(a, session_database_is(marks, DATABASE_DISABLED, db->name));
    answer_text(a, (const char *)buf_head(shards));
    answer_row(a);
}

/* host, port, database, force_user: of the home shard; `shards` names them all. */
static const struct answer_column databases_columns[] = {{"name", ANSWER_TEXT},
                                                         {"host", ANSWER_TEXT},
                                                         {"port", ANSWER_TEXT},
                                                         {"database", ANSWER_TEXT},
                                                         {"force_user", ANSWER_TEXT},
                                                         {"pool_size", ANSWER_INT},
                                                         {"min_pool_size", ANSWER_INT},
                                                         {"reserve_pool", ANSWER_INT},
                                                         {"pool_mode", ANSWER_TEXT},
                                                         {"max_connections", ANSWER_INT},
                                                         {"current_connections", ANSWER_INT},
                                                         {"paused", ANSWER_INT},
                                                         {"disabled", ANSWER_INT},
                                                         {"shards", ANSWER_TEXT}};

static void fill_databases(struct question *q)
{
    const struct topology *t = &question_env(q)->config->topology;
    struct buf shards;
    buf_init(&shards);
    for (size_t i = 0; i < t->n_databases; i++)
        database_row(q, &t->databases[i], &shards);
    buf_free(&shards);
}

const struct show shows_pools[] = {
    {.name = "pools",
     .place = SHOW_WORKERS,
     SHOW_COLUMNS(pools_columns),
     .visit = visit_pools,
     .fill = fill_pools},
    {.name = "lists",
     .place = SHOW_WORKERS,
     SHOW_COLUMNS(lists_columns),
     .visit = visit_pools,
     .fill = fill_lists},
    {.name = "databases",
     .place = SHOW_WORKERS,
     SHOW_COLUMNS(databases_columns),
     .visit = visit_pools,
     .fill = fill_databases},
    {0},
};
