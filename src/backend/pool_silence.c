/*
 * Servers that owe an answer and say nothing.
 *
 * A statement may take hours; a server whose machine hangs, or that was cut off without a word, looks the same: its kernel
 * may even acknowledge what is sent to it. So, when a server has owed an answer for half of server_silence_timeout without a
 * byte of it, its place is asked whether it lets a new connection in. Whoever answers there, be it with an error, vouches for
 * all connections to the place, and they are not asked about for as long again. If nobody does in the other half, the
 * place counts as dead: all the pool's connections to it break.
 *
 *     observations, one tick apart: heard == heard_before, so nothing came in between;
 *                                   outstanding at both, so an answer was owed all the time (had it been given and
 *                                   another been owed since, something would have been heard)
 *
 * The question is one connection beyond the pool's limits, one at a time for each pool.
 *
 * Not responsible for: what clients are told (session), where the shard is then looked for (dial.c).
 */
#include "pool_private.h"

#include "base/arena.h"
#include "base/log.h"
#include "identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct silence {
    struct server_pool *pool;
    struct dial *dial;
    char *host, *port;
};

static bool is_there(const struct silence *q, const struct server *s)
{
    return strcmp(backend_conn_host(s->conn), q->host) == 0 &&
           strcmp(backend_conn_port(s->conn), q->port) == 0;
}

static void silence_free(struct silence *q)
{
    dial_cancel(&q->dial);
    free(q->host);
    free(q->port);
    free(q);
}

void pool_forget_silence(struct server_pool *p)
{
    if (p->silence)
        silence_free(p->silence);
    p->silence = NULL;
}

/* A connection that breaks may make its client give up others: those are dead then, and freed at the end of the turn only. */
static void break_connections(struct server_pool *p, const struct silence *q)
{
    struct error why;
    char place[128];
    size_t n = 0;
    struct server **found = xmalloc((p->servers.count + 1) * sizeof(struct server *));
    list_foreach(&p->servers, node, next)
    {
        struct server *s = list_entry(node, struct server, pool_node);
        if (is_there(q, s))
            found[n++] = s;
    }
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE,
                    "shard \"%s\" does not answer, and lets no new connection in", p->shard_name);
    snprintf(place, sizeof(place), "%s port %s", q->host, q->port);
    log_error("shard \"%s\": the server at %s owes answers and lets no new connection in: closing %zu "
              "connection%s to it",
              p->shard_name, place, n, n == 1 ? "" : "s");
    identity_set_silent(place, true);
    for (size_t i = 0; i < n; i++)
        server_fail(found[i], &why);
    free(found);
}

static void vouch(struct server_pool *p, const struct silence *q)
{
    uint64_t now = pool_now_us(p);
    list_foreach(&p->servers, node, next)
    {
        struct server *s = list_entry(node, struct server, pool_node);
        if (is_there(q, s))
            s->silent_since_us = now;
    }
}

static void answered(void *arg, struct backend_conn *conn, const struct error *why)
{
    struct silence *q = arg;
    struct server_pool *p = q->pool;
    q->dial = NULL;
    p->silence = NULL;
    if (conn || strcmp(why->sqlstate, SQLSTATE_CONNECTION_FAILURE) != 0)
        vouch(p, q);
    else
        break_connections(p, q);
    if (conn) {
        backend_conn_set_clean(conn, true);
        backend_conn_close(&conn);
    }
    silence_free(q);
}

static void ask(struct server_pool *p, const struct server *s)
{
    struct silence *q = xcalloc(1, sizeof(*q));
    *q = (struct silence){
        .pool = p, .host = xstrdup(backend_conn_host(s->conn)), .port = xstrdup(backend_conn_port(s->conn))};
    struct dial_params params = {
        .shard = p->shard,
        .settings = pool_settings(p),
        .user = p->user,
        .password = p->shard->user && p->shard->user[0] ? p->shard->password : p->password,
        .probe = s->conn,
        .timeout_us = pool_settings(p)->server_silence_timeout_us / 2,
    };
    log_debug("shard \"%s\": backend %u owes an answer; asking %s port %s whether it is there", p->shard_name,
              backend_conn_pid(s->conn), q->host, q->port);
    p->silence = q;
    q->dial = dial_start(p->manager->loop, &params, answered, q);
}

/* Since when it owes an answer in silence; now: it does not. */
static uint64_t silent_since(struct server *s, uint64_t now_us)
{
    if (s->dead || server_outstanding(s) == 0 || s->heard != s->heard_before || s->silent_since_us == 0)
        s->silent_since_us = now_us;
    s->heard_before = s->heard;
    return s->silent_since_us;
}

void pool_watch_silence(struct server_pool *p, uint64_t now_us)
{
    uint64_t timeout = pool_settings(p)->server_silence_timeout_us;
    const struct server *longest = NULL;
    if (timeout == 0 || !p->shard)
        return;
    list_foreach(&p->servers, node, next)
    {
        struct server *s = list_entry(node, struct server, pool_node);
        if (now_us - silent_since(s, now_us) >= timeout / 2 &&
            (!longest || s->silent_since_us < longest->silent_since_us))
            longest = s;
    }
    if (longest && !p->silence)
        ask(p, longest);
}
