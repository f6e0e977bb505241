/* What each worker has: clients, transactions, servers. A row each, as the question goes round. */
#include "shows.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* --- clients ---------------------------------------------------------------------------------- */

struct view { /* of one worker: what its rows are made with */
    struct question *q;
    uint64_t now_us, wall_us;
};

static struct view view_of(struct question *q, struct session_env *env)
{
    return (struct view){.q = q, .now_us = loop_now_us(env->loop), .wall_us = clock_wall_us()};
}

static uint64_t wall_of(const struct view *v, uint64_t loop_us)
{
    return v->wall_us - (v->now_us - loop_us);
}

static const struct answer_column socket_columns[] = {
    {"type", ANSWER_TEXT},         {"user", ANSWER_TEXT},      {"database", ANSWER_TEXT},
    {"state", ANSWER_TEXT},        {"addr", ANSWER_TEXT},      {"port", ANSWER_INT},
    {"local_addr", ANSWER_TEXT},   {"local_port", ANSWER_INT}, {"connect_time", ANSWER_TEXT},
    {"request_time", ANSWER_TEXT}, {"wait", ANSWER_INT},       {"wait_us", ANSWER_INT},
    {"close_needed", ANSWER_INT},  {"ptr", ANSWER_TEXT},       {"link", ANSWER_TEXT},
    {"remote_pid", ANSWER_INT},    {"tls", ANSWER_TEXT},       {"application_name", ANSWER_TEXT},
    {"shard", ANSWER_TEXT},        {"memory", ANSWER_BIGINT}};

static void client_row(void *arg, const struct client_info *c)
{
    struct view *v = arg;
    struct answer *a = &v->q->answer;
    char id[16];
    uint64_t waited_us =
        c->waiting && c->request_us && v->now_us > c->request_us ? v->now_us - c->request_us : 0;
    snprintf(id, sizeof id, "%u", c->pid);
    answer_text(a, "C");
    answer_text(a, c->user ? c->user : "(nouser)");
    answer_text(a, c->database ? c->database : "(nodb)");
    answer_text(a, c->state);
    answer_text(a, c->host);
    answer_int(a, c->port);
    answer_text(a, ""); /* one address for all of them: SHOW CONFIG has it */
    answer_int(a, 0);
    answer_time(a, wall_of(v, c->connected_us));
    if (c->request_us)
        answer_time(a, wall_of(v, c->request_us));
    else
        answer_null(a);
    answer_unsigned(a, waited_us / 1000000);
    answer_unsigned(a, waited_us % 1000000);
    answer_int(a, 0);
    answer_text(a, id);
    answer_text(a, c->shards);
    answer_int(a, 0);
    answer_text(a, c->tls ? "TLS" : "");
    answer_text(a, c->application_name ? c->application_name : "");
    answer_text(a, c->shards);
    answer_unsigned(a, c->memory_bytes);
    answer_row(a);
}

static void visit_clients(struct question *q, struct session_env *env)
{
    struct view v = view_of(q, env);
    client_each(env, client_row, &v);
}

static const struct answer_column transactions_columns[] = {
    {"txid", ANSWER_TEXT},          {"client", ANSWER_TEXT},  {"state", ANSWER_TEXT},
    {"shards", ANSWER_TEXT},        {"writers", ANSWER_TEXT}, {"age_ms", ANSWER_BIGINT},
    {"statement_ms", ANSWER_BIGINT}};

/* Since when: 0: NULL. */
static void age_ms(struct answer *a, const struct view *v, uint64_t since_us)
{
    if (since_us)
        answer_unsigned(a, (v->now_us - since_us) / 1000);
    else
        answer_null(a);
}

static void transaction_row(void *arg, const struct client_info *c)
{
    struct view *v = arg;
    struct answer *a = &v->q->answer;
    char who[256];
    bool two_phase = c->txid && c->txid[0];
    if (!c->in_transaction && !two_phase)
        return;
    snprintf(who, sizeof who, "%s@%s %s:%d pid %u", c->user ? c->user : "", c->database ? c->database : "",
             c->host, c->port, c->pid);
    answer_text(a, two_phase ? c->txid : NULL);
    answer_text(a, who);
    answer_text(a, c->txn_state);
    answer_text(a, c->shards);
    answer_text(a, c->writers);
    age_ms(a, v, c->transaction_us);
    age_ms(a, v, c->request_us);
    answer_row(a);
}

static void visit_transactions(struct question *q, struct session_env *env)
{
    struct view v = view_of(q, env);
    client_each(env, transaction_row, &v);
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
    struct answer *a = &v->q->answer;
    char addr[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN], ptr[32];
    int port, local_port;
    if (s->dead)
        return; /* its descriptor may be somebody else's */
    socket_address(backend_conn_fd(s->conn), true, addr, &port);
    socket_address(backend_conn_fd(s->conn), false, local, &local_port);
    snprintf(ptr, sizeof ptr, "%p", (const void *)s);
    answer_text(a, "S");
    answer_text(a, pool->user);
    answer_text(a, pool->database);
    answer_text(a, s->ops ? "active" : "idle");
    answer_text(a, addr);
    answer_int(a, port);
    answer_text(a, local);
    answer_int(a, local_port);
    answer_time(a, wall_of(v, s->created_us));
    answer_time(a, wall_of(v, s->used_us ? s->used_us : s->created_us));
    answer_int(a, 0);
    answer_int(a, 0);
    answer_int(a, 0);
    answer_text(a, ptr);
    answer_text(a, "");
    answer_unsigned(a, backend_conn_pid(s->conn));
    answer_text(a, backend_conn_ssl(s->conn) ? "TLS" : "");
    answer_text(a, "");
    answer_text(a, pool->shard);
    answer_null(a); /* SHOW MEM has it for all of them */
    answer_row(a);
}

static void visit_servers(struct question *q, struct session_env *env)
{
    struct view v = view_of(q, env);
    pool_manager_each_server(env->pools, server_row, &v);
}

const struct show shows_clients[] = {
    {.name = "clients", .place = SHOW_WORKERS, SHOW_COLUMNS(socket_columns), .visit = visit_clients},
    {.name = "servers", .place = SHOW_WORKERS, SHOW_COLUMNS(socket_columns), .visit = visit_servers},
    {.name = "transactions",
     .place = SHOW_WORKERS,
     SHOW_COLUMNS(transactions_columns),
     .visit = visit_transactions},
    {0},
};
