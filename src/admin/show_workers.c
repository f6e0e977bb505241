/* What has to be asked of every worker: its clients, pools and servers. Rows are added, or summed up, as the
 * job goes round. */
#include "job.h"

#include "base/arena.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void finish(struct job *job)
{
    reply_done(&job->out, "SHOW");
    job_answer(job);
}

/* --- clients ---------------------------------------------------------------------------------- */

struct view { /* of one worker: what its rows are made with */
    struct job *job;
    uint64_t now_us, wall_us;
};

static struct view view_of(struct job *job, struct session_env *env)
{
    return (struct view){.job = job, .now_us = loop_now_us(env->loop), .wall_us = clock_wall_us()};
}

static uint64_t wall_of(const struct view *v, uint64_t loop_us)
{
    return v->wall_us - (v->now_us - loop_us);
}

static const struct reply_column socket_columns[] = {
    {"type", REPLY_TEXT},         {"user", REPLY_TEXT},      {"database", REPLY_TEXT},
    {"state", REPLY_TEXT},        {"addr", REPLY_TEXT},      {"port", REPLY_INT},
    {"local_addr", REPLY_TEXT},   {"local_port", REPLY_INT}, {"connect_time", REPLY_TEXT},
    {"request_time", REPLY_TEXT}, {"wait", REPLY_INT},       {"wait_us", REPLY_INT},
    {"close_needed", REPLY_INT},  {"ptr", REPLY_TEXT},       {"link", REPLY_TEXT},
    {"remote_pid", REPLY_INT},    {"tls", REPLY_TEXT},       {"application_name", REPLY_TEXT},
    {"shard", REPLY_TEXT},        {"memory", REPLY_BIGINT}};

static void client_row(void *arg, const struct client_info *c)
{
    struct view *v = arg;
    struct reply_row *r = &v->job->row;
    char id[16];
    uint64_t waited_us =
        c->waiting && c->request_us && v->now_us > c->request_us ? v->now_us - c->request_us : 0;
    snprintf(id, sizeof id, "%u", c->pid);
    row_text(r, "C");
    row_text(r, c->user ? c->user : "(nouser)");
    row_text(r, c->database ? c->database : "(nodb)");
    row_text(r, c->state);
    row_text(r, c->host);
    row_int(r, c->port);
    row_text(r, ""); /* one address for all of them: SHOW CONFIG has it */
    row_int(r, 0);
    row_time(r, wall_of(v, c->connected_us));
    if (c->request_us)
        row_time(r, wall_of(v, c->request_us));
    else
        row_text(r, NULL);
    row_unsigned(r, waited_us / 1000000);
    row_unsigned(r, waited_us % 1000000);
    row_int(r, 0);
    row_text(r, id);
    row_text(r, c->shards);
    row_int(r, 0);
    row_text(r, c->tls ? "TLS" : "");
    row_text(r, c->application_name ? c->application_name : "");
    row_text(r, c->shards);
    row_unsigned(r, c->memory_bytes);
    row_end(r, &v->job->out);
}

static void visit_clients(struct job *job, struct session_env *env)
{
    struct view v = view_of(job, env);
    client_each(env, client_row, &v);
}

void admin_show_clients(struct job *job)
{
    reply_columns(&job->out, REPLY_COLUMNS(socket_columns));
    job_round(job, visit_clients, finish);
}

static void transaction_row(void *arg, const struct client_info *c)
{
    struct view *v = arg;
    struct reply_row *r = &v->job->row;
    char who[256];
    bool two_phase = c->txid && c->txid[0];
    if (!c->in_transaction && !two_phase)
        return;
    snprintf(who, sizeof who, "%s@%s %s:%d pid %u", c->user ? c->user : "", c->database ? c->database : "",
             c->host, c->port, c->pid);
    row_text(r, two_phase ? c->txid : NULL);
    row_text(r, who);
    row_text(r, c->txn_state);
    row_text(r, c->shards);
    row_text(r, c->writers);
    if (c->transaction_us)
        row_unsigned(r, (v->now_us - c->transaction_us) / 1000);
    else
        row_text(r, NULL);
    if (c->request_us)
        row_unsigned(r, (v->now_us - c->request_us) / 1000);
    else
        row_text(r, NULL);
    row_end(r, &v->job->out);
}

static void visit_transactions(struct job *job, struct session_env *env)
{
    struct view v = view_of(job, env);
    client_each(env, transaction_row, &v);
}

void admin_show_transactions(struct job *job)
{
    static const struct reply_column columns[] = {{"txid", REPLY_TEXT},          {"client", REPLY_TEXT},
                                                  {"state", REPLY_TEXT},         {"shards", REPLY_TEXT},
                                                  {"writers", REPLY_TEXT},       {"age_ms", REPLY_BIGINT},
                                                  {"statement_ms", REPLY_BIGINT}};
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    job_round(job, visit_transactions, finish);
}

/* --- servers ---------------------------------------------------------------------------------- */

/* Numeric; "unix" and 0 for Unix sockets. */
static void socket_address(int fd, bool peer, char host[INET6_ADDRSTRLEN], int *port_r)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    int rc =
        peer ? getpeername(fd, (struct sockaddr *)&a, &len) : getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(host, INET6_ADDRSTRLEN, "unix");
    *port_r = 0;
    if (rc != 0) {
        host[0] = '\0';
    } else if (a.any.ss_family == AF_INET) {
        inet_ntop(AF_INET, &a.in.sin_addr, host, INET6_ADDRSTRLEN);
        *port_r = ntohs(a.in.sin_port);
    } else if (a.any.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.in6.sin6_addr, host, INET6_ADDRSTRLEN);
        *port_r = ntohs(a.in6.sin6_port);
    }
}

static void server_row(void *arg, const struct pool_stats *pool, const struct server *s)
{
    struct view *v = arg;
    struct reply_row *r = &v->job->row;
    char addr[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN], ptr[32];
    int port, local_port;
    if (s->dead)
        return; /* its descriptor may be somebody else's */
    socket_address(backend_conn_fd(s->conn), true, addr, &port);
    socket_address(backend_conn_fd(s->conn), false, local, &local_port);
    snprintf(ptr, sizeof ptr, "%p", (const void *)s);
    row_text(r, "S");
    row_text(r, pool->user);
    row_text(r, pool->database);
    row_text(r, s->ops ? "active" : "idle");
    row_text(r, addr);
    row_int(r, port);
    row_text(r, local);
    row_int(r, local_port);
    row_time(r, wall_of(v, s->created_us));
    row_time(r, wall_of(v, s->used_us ? s->used_us : s->created_us));
    row_int(r, 0);
    row_int(r, 0);
    row_int(r, 0);
    row_text(r, ptr);
    row_text(r, "");
    row_unsigned(r, backend_conn_pid(s->conn));
    row_text(r, backend_conn_ssl(s->conn) ? "TLS" : "");
    row_text(r, "");
    row_text(r, pool->shard);
    row_text(r, NULL); /* SHOW MEM has it for all of them */
    row_end(r, &v->job->out);
}

static void visit_servers(struct job *job, struct session_env *env)
{
    struct view v = view_of(job, env);
    pool_manager_each_server(env->pools, server_row, &v);
}

void admin_show_servers(struct job *job)
{
    reply_columns(&job->out, REPLY_COLUMNS(socket_columns));
    job_round(job, visit_servers, finish);
}

/* --- pools: those of one user, database and shard are one, whatever worker they are on -------- */

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

static void visit_pools(struct job *job, struct session_env *env)
{
    pool_manager_each(env->pools, add_pool, job->data);
    client_each(env, add_client, job->data);
}

static int compare_sums(const void *a, const void *b)
{
    const struct pool_sum *pa = a, *pb = b;
    int c = strcmp(pa->database, pb->database);
    if (c == 0)
        c = strcmp(pa->user, pb->user);
    return c ? c : strcmp(pa->shard, pb->shard);
}

static void sum_pools(struct job *job, void (*next)(struct job *job))
{
    job->data = xcalloc(1, sizeof(struct pool_sums));
    job->free_data = sums_free;
    job_round(job, visit_pools, next);
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

static void answer_pools(struct job *job)
{
    static const struct reply_column columns[] = {{"database", REPLY_TEXT},
                                                  {"user", REPLY_TEXT},
                                                  {"cl_active", REPLY_INT},
                                                  {"cl_waiting", REPLY_INT},
                                                  {"cl_active_cancel_req", REPLY_INT},
                                                  {"cl_waiting_cancel_req", REPLY_INT},
                                                  {"sv_active", REPLY_INT},
                                                  {"sv_active_cancel", REPLY_INT},
                                                  {"sv_being_canceled", REPLY_INT},
                                                  {"sv_idle", REPLY_INT},
                                                  {"sv_used", REPLY_INT},
                                                  {"sv_tested", REPLY_INT},
                                                  {"sv_login", REPLY_INT},
                                                  {"maxwait", REPLY_INT},
                                                  {"maxwait_us", REPLY_INT},
                                                  {"pool_mode", REPLY_TEXT},
                                                  {"shard", REPLY_TEXT}};
    struct pool_sums *sums = job->data;
    struct reply_row *r = &job->row;
    const struct config *config = job_env(job)->config;
    if (sums->n)
        qsort(sums->items, sums->n, sizeof *sums->items, compare_sums);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (size_t i = 0; i < sums->n; i++) {
        const struct pool_sum *s = &sums->items[i];
        row_text(r, s->database);
        row_text(r, s->user);
        row_unsigned(r, s->active); /* a server in use is in use by one client */
        row_unsigned(r, s->waiting);
        row_int(r, 0);
        row_int(r, 0);
        row_unsigned(r, s->active);
        row_int(r, 0);
        row_int(r, 0);
        row_unsigned(r, s->idle);
        row_int(r, 0);
        row_int(r, 0);
        row_unsigned(r, s->opening);
        row_unsigned(r, s->oldest_wait_us / 1000000);
        row_unsigned(r, s->oldest_wait_us % 1000000);
        row_text(r, pool_mode_name(mode_of(config, topology_database(&config->topology, s->database))));
        row_text(r, s->shard);
        row_end(r, &job->out);
    }
    finish(job);
}

void admin_show_pools(struct job *job)
{
    sum_pools(job, answer_pools);
}

static void list_row(struct job *job, const char *name, uint64_t items)
{
    row_text(&job->row, name);
    row_unsigned(&job->row, items);
    row_end(&job->row, &job->out);
}

static void answer_lists(struct job *job)
{
    static const struct reply_column columns[] = {{"list", REPLY_TEXT}, {"items", REPLY_INT}};
    const struct pool_sums *sums = job->data;
    const struct config *config = job_env(job)->config;
    uint64_t used = 0, idle = 0;
    for (size_t i = 0; i < sums->n; i++) {
        used += sums->items[i].active;
        idle += sums->items[i].idle;
    }
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    list_row(job, "databases", config->topology.n_databases);
    list_row(job, "users", config->users.by_name.count);
    list_row(job, "pools", sums->n);
    list_row(job, "free_clients", 0);
    list_row(job, "used_clients", sums->clients);
    list_row(job, "login_clients", sums->logins);
    list_row(job, "free_servers", idle);
    list_row(job, "used_servers", used);
    list_row(job, "dns_names", 0);
    list_row(job, "dns_zones", 0);
    list_row(job, "dns_queries", 0);
    list_row(job, "dns_pending", 0);
    list_row(job, "shards", config->topology.n_shards);
    finish(job);
}

void admin_show_lists(struct job *job)
{
    sum_pools(job, answer_lists);
}

static void shard_names(const struct database_def *db, struct buf *b)
{
    buf_clear(b);
    for (unsigned i = 0; i < db->n_shards; i++)
        buf_printf(b, i ? " %s" : "%s", db->shards[i]->name);
    buf_u8(b, 0);
}

static void database_row(struct job *job, const struct database_def *db, struct buf *shards)
{
    const struct pool_sums *sums = job->data;
    struct session_databases *marks = &job->admin->shared->databases;
    const struct settings *s = &job_env(job)->config->settings;
    const struct shard_def *home = db->shards[db->home];
    struct reply_row *r = &job->row;
    uint64_t connections = 0;
    for (size_t i = 0; i < sums->n; i++)
        if (strcmp(sums->items[i].database, db->name) == 0)
            connections += sums->items[i].active + sums->items[i].idle + sums->items[i].opening;
    shard_names(db, shards);
    row_text(r, db->name);
    row_text(r, home->host);
    row_text(r, home->port);
    row_text(r, home->dbname);
    row_text(r, home->user);
    row_int(r, db->pool_size >= 0 ? db->pool_size : s->default_pool_size);
    row_int(r, s->min_pool_size);
    row_int(r, db->reserve_pool_size >= 0 ? db->reserve_pool_size : s->reserve_pool_size);
    row_text(r, pool_mode_name(mode_of(job_env(job)->config, db)));
    row_int(r, db->max_db_connections ? db->max_db_connections : s->max_db_connections);
    row_unsigned(r, connections);
    row_int(r, atomic_load(&job->admin->shared->paused) ||
                   session_database_is(marks, DATABASE_PAUSED, db->name));
    row_int(r, session_database_is(marks, DATABASE_DISABLED, db->name));
    row_text(r, (const char *)buf_head(shards));
    row_end(r, &job->out);
}

static void answer_databases(struct job *job)
{
    static const struct reply_column columns[] = {{"name", REPLY_TEXT},
                                                  {"host", REPLY_TEXT},
                                                  {"port", REPLY_TEXT},
                                                  {"database", REPLY_TEXT},
                                                  {"force_user", REPLY_TEXT},
                                                  {"pool_size", REPLY_INT},
                                                  {"min_pool_size", REPLY_INT},
                                                  {"reserve_pool", REPLY_INT},
                                                  {"pool_mode", REPLY_TEXT},
                                                  {"max_connections", REPLY_INT},
                                                  {"current_connections", REPLY_INT},
                                                  {"paused", REPLY_INT},
                                                  {"disabled", REPLY_INT},
                                                  {"shards", REPLY_TEXT}};
    const struct topology *t = &job_env(job)->config->topology;
    struct buf shards;
    buf_init(&shards);
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (size_t i = 0; i < t->n_databases; i++)
        database_row(job, &t->databases[i], &shards);
    buf_free(&shards);
    finish(job);
}

/* host, port, database, force_user: of the home shard; `shards` names them all. */
void admin_show_databases(struct job *job)
{
    sum_pools(job, answer_databases);
}
