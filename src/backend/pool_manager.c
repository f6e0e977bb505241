/*
 * All pools of one worker: finding and making them, what is due by time, reloads, statistics.
 *
 * A pool is found by who logs in, database and shard. It lives until the manager dies, so sessions may keep
 * pointers. When a reload changes its shard's definition it becomes stale: it leaves the map and the quotas'
 * members, its idle connections close, borrowed ones close when they come back, its waits move to the pool
 * that takes its place.
 *
 * The key of a pool's quota contains the shard's whole definition: two workers that have not yet seen the
 * same reload can never hand each other a connection to a place that the other one does not mean.
 *
 * Not responsible for: when a reload happens.
 */
#include "pool_private.h"

#include "base/arena.h"
#include "base/log.h"
#include "cancel.h"
#include <assert.h>
#include <stdlib.h>

#define TICK_US UINT64_C(1000000) /* maintenance; waits have deadlines of their own */

/* --- keys ------------------------------------------------------------------------------------- */

static void key_part(struct buf *b, const char *text)
{
    buf_cstr(b, text ? text : "");
}

/* Everything of a definition but its id. */
static void append_definition(struct buf *b, const struct shard_def *d)
{
    const char *const texts[] = {d->name,
                                 d->host,
                                 d->port,
                                 d->dbname,
                                 d->user,
                                 d->password,
                                 d->admin_user,
                                 d->admin_password,
                                 d->sslmode,
                                 d->sslrootcert,
                                 d->sslcert,
                                 d->sslkey,
                                 d->target_session_attrs};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        key_part(b, texts[i]);
    buf_printf(b, "%d %d", d->connect_timeout_s, d->pool_size);
}

static bool same_definition(const struct shard_def *x, const struct shard_def *y)
{
    struct buf a, b;
    buf_init(&a);
    buf_init(&b);
    append_definition(&a, x);
    append_definition(&b, y);
    bool same = slice_eq(buf_slice(&a), buf_slice(&b));
    buf_free(&a);
    buf_free(&b);
    return same;
}

static const char *login_of(const struct shard_def *shard, const char *user)
{
    return shard->user && shard->user[0] ? shard->user : user;
}

static void pool_key(struct buf *b, const char *login, const char *db, const char *shard)
{
    key_part(b, login);
    key_part(b, db);
    key_part(b, shard);
}

static struct port *open_port(struct server_pool *p)
{
    struct pool_manager *m = p->manager;
    struct buf keys[QUOTA_LEVELS];
    struct slice slices[QUOTA_LEVELS];
    for (int i = 0; i < QUOTA_LEVELS; i++) {
        buf_init(&keys[i]);
        buf_u8(&keys[i], (uint8_t)('0' + i));
    }
    pool_key(&keys[QUOTA_POOL], p->user, p->db_name, p->shard_name);
    append_definition(&keys[QUOTA_POOL], p->shard);
    pool_key(&keys[QUOTA_DATABASE], NULL, p->db_name, p->shard_name);
    pool_key(&keys[QUOTA_USER], p->user, NULL, p->shard_name);
    for (int i = 0; i < QUOTA_LEVELS; i++)
        slices[i] = buf_slice(&keys[i]);
    static const struct port_ops ops = {.look = pool_turn_later, .receive = pool_receive};
    struct port *port = port_create(m->limits, &ops, p, m->loop, m->mailbox, slices);
    for (int i = 0; i < QUOTA_LEVELS; i++)
        buf_free(&keys[i]);
    return port;
}

/* --- pools ------------------------------------------------------------------------------------ */

static struct server_pool *pool_create(struct pool_manager *m, const char *login,
                                       const struct database_def *db, const struct shard_def *shard)
{
    struct server_pool *p = xcalloc(1, sizeof(*p));
    p->manager = m;
    p->config = config_ref(m->config);
    p->db = db;
    p->shard = shard;
    p->user = xstrdup(login);
    p->db_name = xstrdup(db->name);
    p->shard_name = xstrdup(shard->name);
    p->waits_at = -1;
    p->no_older_us = m->reconnected_us;
    p->paused = m->paused || hashmap_get(&m->paused_databases, slice_str(db->name)) != NULL;
    p->turn = (struct deferred){.run = pool_turn, .arg = p};
    struct list *lists[] = {&p->servers, &p->idle, &p->openings, &p->tasks, &p->waits[0], &p->waits[1]};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        list_init(lists[i]);
    p->port = open_port(p);
    return p;
}

static void free_pool(void *arg)
{
    struct server_pool *p = arg;
    free(p->user);
    free(p->password);
    free(p->db_name);
    free(p->shard_name);
    free(p);
}

static void pool_destroy(struct server_pool *p)
{
    struct server *s;
    for (int i = 0; i < WAIT_CLASSES; i++) {
        while (list_pop_front(&p->waits[i]))
            ; /* sessions went first; a wait left over is nobody's */
    }
    pool_forget_silence(p);
    pool_cancel_openings(p);
    pool_tasks_drop(p);
    while ((s = pool_take_idle(p)))
        pool_drop_server(p, s);
    assert(list_empty(&p->servers)); /* none may be borrowed */
    port_close(&p->port);
    loop_undefer(p->manager->loop, &p->turn);
    if (p->config)
        config_unref(&p->config);
    loop_doom(p->manager->loop, p, free_pool);
}

static void remember_password(struct server_pool *p, const char *password)
{
    if (!password || (p->password && strcmp(p->password, password) == 0))
        return;
    free(p->password);
    p->password = xstrdup(password);
    p->retry_at_us = 0; /* the old one may have been why nobody could log in */
}

static void make_stale(struct server_pool *p)
{
    p->stale = true;
    p->paused = false; /* its waits are moved, or refused */
    list_push_back(&p->manager->stale, &p->stale_node);
    port_leave(p->port);
    p->waits_at = -1;
    pool_cancel_openings(p);
    pool_turn_later(p);
}

/* The database and shard of these names under the manager's configuration, if they are there. */
static bool locate(const struct pool_manager *m, const char *db_name, const char *shard_name,
                   const struct database_def **db_r, unsigned *shard_r)
{
    *db_r = topology_database(&m->config->topology, db_name);
    for (*shard_r = 0; *db_r && *shard_r < (*db_r)->n_shards; (*shard_r)++) {
        if (strcmp((*db_r)->shards[*shard_r]->name, shard_name) == 0)
            return true;
    }
    return false;
}

/* A session may still work under an older configuration than the manager, and its db with it: what counts is
 * the names. */
struct server_pool *pool_find(struct pool_manager *m, const char *user, const char *password,
                              const struct database_def *db, unsigned shard)
{
    const struct database_def *now_db;
    unsigned now_shard;
    bool there = locate(m, db->name, db->shards[shard]->name, &now_db, &now_shard);
    const struct shard_def *def = there ? now_db->shards[now_shard] : db->shards[shard];
    const char *login = login_of(def, user);
    struct buf key;
    buf_init(&key);
    pool_key(&key, login, db->name, def->name);
    struct server_pool *p = hashmap_get(&m->pools, buf_slice(&key));
    if (!p && there) {
        p = pool_create(m, login, now_db, def);
        hashmap_put(&m->pools, buf_slice(&key), p);
        pool_wake_at(m, loop_now_us(m->loop) + TICK_US);
    } else if (!p) {
        p = pool_create(m, login, db, def);
        make_stale(p); /* refuses whoever asks it */
    }
    buf_free(&key);
    if (login == user)
        remember_password(p, password);
    return p;
}

/* --- what is due by time ---------------------------------------------------------------------- */

static void end_waits(struct server_pool *p, uint64_t now)
{
    uint64_t timeout = pool_settings(p)->query_wait_timeout_us;
    if (timeout == 0)
        return;
    struct error why;
    (void)error_set(&why, SQLSTATE_TOO_MANY_CONNECTIONS, "no connection to shard \"%s\" became free in %g s",
                    p->shard_name, (double)timeout / 1e6);
    error_hint(&why, "The pool of user \"%s\" is in use; see pool_size and query_wait_timeout.", p->user);
    if (p->last_error.sqlstate[0] != '\0')
        error_detail(&why, "%s", p->last_error.message);
    for (int i = 0; i < WAIT_CLASSES; i++) {
        struct list_node *node;
        while ((node = list_first(&p->waits[i]))) {
            struct server_wait *w = list_entry(node, struct server_wait, node);
            if (now - w->since_us < timeout)
                break;
            pool_wait_failed(w, &why);
            pool_turn_later(p);
        }
    }
}

static void close_idle(struct server_pool *p, uint64_t now)
{
    const struct settings *settings = pool_settings(p);
    unsigned min = settings->min_pool_size > 0 ? (unsigned)settings->min_pool_size : 0;
    list_foreach(&p->idle, node, next)
    {
        struct server *s = list_entry(node, struct server, node);
        bool old = settings->server_lifetime_us > 0 && now - s->created_us >= settings->server_lifetime_us;
        bool unused = settings->server_idle_timeout_us > 0 &&
                      now - s->used_us >= settings->server_idle_timeout_us &&
                      atomic_load(&p->port->quotas[QUOTA_POOL]->used) > min;
        if (!old && !unused && !defaults_are_old(s->begun))
            continue;
        list_remove(&p->idle, node);
        pool_drop_server(p, s);
    }
}

/* The next moment at which something of this pool is due. */
static uint64_t next_due(const struct server_pool *p, uint64_t now)
{
    const struct settings *settings = pool_settings(p);
    uint64_t due = now + TICK_US, since = pool_oldest_wait_us(p);
    uint64_t silence = settings->server_silence_timeout_us / 4;
    if (silence > 0 && p->servers.count > p->idle.count && now + silence < due)
        due = now + silence;
    const uint64_t after[] = {settings->query_wait_timeout_us, settings->reserve_pool_timeout_us};
    for (int i = 0; since != UINT64_MAX && i < 2; i++) {
        if (after[i] > 0 && since + after[i] > now && since + after[i] < due)
            due = since + after[i];
    }
    if (p->retry_at_us > now && p->retry_at_us < due)
        due = p->retry_at_us;
    return due;
}

static void tick_pool(struct server_pool *p, uint64_t now)
{
    end_waits(p, now);
    pool_tasks_expire(p, now);
    pool_watch_silence(p, now);
    if (!p->stale) {
        close_idle(p, now);
        pool_fill(p);
    }
    if (pool_waiting(p) > 0)
        pool_turn_later(p); /* the reserve, or another attempt, may be due */
}

static void tick(void *arg)
{
    struct pool_manager *m = arg;
    uint64_t now = loop_now_us(m->loop), due = UINT64_MAX;
    m->timer_due_us = UINT64_MAX;
    struct hashmap_iter it;
    struct slice key;
    void *value;
    /* Waits that fail may make their owners find, and so make, pools: collect first. */
    size_t n = 0, cap = m->pools.count;
    struct server_pool **pools = xmalloc((cap + 1) * sizeof(struct server_pool *));
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);)
        pools[n++] = value;
    for (size_t i = 0; i < n; i++)
        tick_pool(pools[i], now);
    list_foreach(&m->stale, node, next) tick_pool(list_entry(node, struct server_pool, stale_node), now);
    for (size_t i = 0; i < n; i++) {
        uint64_t d = next_due(pools[i], now);
        due = d < due ? d : due;
    }
    free(pools);
    if (due != UINT64_MAX)
        pool_wake_at(m, due);
}

/* --- managers --------------------------------------------------------------------------------- */

struct pool_manager *pool_manager_create(struct loop *loop, unsigned worker, struct mailbox *mailbox,
                                         struct pool_limits *limits, struct config *config)
{
    struct pool_manager *m = xcalloc(1, sizeof(*m));
    m->loop = loop;
    m->worker = worker;
    m->mailbox = mailbox;
    m->limits = limits;
    m->config = config_ref(config);
    m->statements = statement_registry_create();
    m->cancels = cancels_create(loop);
    hashmap_init(&m->pools);
    list_init(&m->stale);
    hashmap_init(&m->paused_databases);
    m->timer = loop_timer_create(loop, tick, m);
    m->timer_due_us = UINT64_MAX;
    return m;
}

void pool_manager_destroy(struct pool_manager **mp)
{
    struct pool_manager *m = *mp;
    *mp = NULL;
    if (!m)
        return;
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);)
        pool_destroy(value);
    hashmap_free(&m->pools, NULL);
    struct list_node *node;
    while ((node = list_pop_front(&m->stale)))
        pool_destroy(list_entry(node, struct server_pool, stale_node));
    hashmap_free(&m->paused_databases, NULL);
    loop_timer_destroy(&m->timer);
    statement_registry_destroy(&m->statements);
    cancels_destroy(&m->cancels);
    config_unref(&m->config);
    loop_doom(m->loop, m, NULL);
}

struct statement_registry *pool_manager_statements(struct pool_manager *m)
{
    return m->statements;
}

/* --- reloads ---------------------------------------------------------------------------------- */

static void keep_pool(struct server_pool *p, const struct database_def *db, const struct shard_def *shard)
{
    struct config *old = p->config;
    p->config = config_ref(p->manager->config);
    p->db = db;
    p->shard = shard;
    p->compare = true;
    config_unref(&old);
    pool_turn_later(p); /* limits may be wider now */
}

static void move_waits(struct server_pool *from)
{
    const struct database_def *db;
    unsigned shard;
    if (pool_waiting(from) == 0 || !locate(from->manager, from->db_name, from->shard_name, &db, &shard))
        return; /* its turn refuses them */
    struct server_pool *to = pool_find(from->manager, from->user, from->password, db, shard);
    for (int i = 0; i < WAIT_CLASSES; i++) {
        struct list_node *node;
        while ((node = list_pop_front(&from->waits[i]))) {
            list_entry(node, struct server_wait, node)->pool = to;
            list_push_back(&to->waits[i], node);
        }
    }
    pool_turn_later(to);
}

void pool_manager_reconfigure(struct pool_manager *m, struct config *config)
{
    struct config *old = m->config;
    m->config = config_ref(config);
    struct list changed;
    list_init(&changed);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);) {
        struct server_pool *p = value;
        const struct database_def *db;
        unsigned shard;
        if (locate(m, p->db_name, p->shard_name, &db, &shard) &&
            same_definition(p->shard, db->shards[shard])) {
            keep_pool(p, db, db->shards[shard]);
            continue;
        }
        (void)hashmap_remove(&m->pools, key);
        make_stale(p);
    }
    list_foreach(&m->stale, node, next) move_waits(list_entry(node, struct server_pool, stale_node));
    config_unref(&old);
}

/* --- pausing, reconnecting -------------------------------------------------------------------- */

void pool_manager_pause(struct pool_manager *m, const char *database, bool on)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    if (!database)
        m->paused = on;
    else if (on)
        hashmap_put(&m->paused_databases, slice_str(database), m);
    else
        (void)hashmap_remove(&m->paused_databases, slice_str(database));
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);) {
        struct server_pool *p = value;
        p->paused = m->paused || hashmap_get(&m->paused_databases, slice_str(p->db_name)) != NULL;
        pool_turn_later(p); /* waits that may be served now; or a mark to be taken away */
    }
}

/* As if the definition of its shard had changed: another pool takes its place. But its quota is the same as
   before, so a worker that has not heard of it yet may still send an old connection: those are not taken
   (pool_receive). */
void pool_manager_reconnect(struct pool_manager *m, const char *database)
{
    m->reconnected_us = loop_now_us(m->loop);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);) {
        struct server_pool *p = value;
        if (database && strcmp(database, p->db_name) != 0)
            continue;
        (void)hashmap_remove(&m->pools, key);
        make_stale(p);
    }
    list_foreach(&m->stale, node, next) move_waits(list_entry(node, struct server_pool, stale_node));
}

/* --- statistics ------------------------------------------------------------------------------- */

static void stats_of(const struct server_pool *p, struct pool_stats *stats_r)
{
    uint64_t since = pool_oldest_wait_us(p);
    *stats_r = (struct pool_stats){
        .user = p->user,
        .database = p->db_name,
        .shard = p->shard_name,
        .active = (unsigned)(p->servers.count - p->idle.count - p->tasks.count),
        .idle = (unsigned)p->idle.count,
        .opening = (unsigned)p->openings.count,
        .waiting = (unsigned)(p->waits[WAIT_PRIVILEGED].count + p->waits[WAIT_ORDINARY].count),
        .oldest_wait_us = since == UINT64_MAX ? 0 : pool_now_us(p) - since,
        .last_error = p->last_error.message,
    };
}

void pool_manager_each(struct pool_manager *m, void (*each)(void *arg, const struct pool_stats *stats),
                       void *arg)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    struct pool_stats stats;
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);) {
        stats_of(value, &stats);
        each(arg, &stats);
    }
}

static void each_server_of(const struct server_pool *p,
                           void (*each)(void *arg, const struct pool_stats *pool, const struct server *s),
                           void *arg)
{
    struct pool_stats stats;
    stats_of(p, &stats);
    list_foreach(&p->servers, node, next) each(arg, &stats, list_entry(node, struct server, pool_node));
}

void pool_manager_each_server(struct pool_manager *m,
                              void (*each)(void *arg, const struct pool_stats *pool, const struct server *s),
                              void *arg)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&m->pools, &it); hashmap_next(&m->pools, &it, &key, &value);)
        each_server_of(value, each, arg);
    list_foreach(&m->stale, node, next)
        each_server_of(list_entry(node, struct server_pool, stale_node), each, arg);
}
