/* What the console wants to know of clients. */
#include "session.h"

#include <stdio.h>

static const char *txn_name(const struct client *c)
{
    switch (c->txn.state) {
    case TXN_NONE:
        return "none";
    case TXN_OPEN:
        return "open";
    case TXN_FAILED:
        return "failed";
    case TXN_IMPLICIT:
    case TXN_IMPLICIT_FAILED:
        return "implicit";
    case TXN_ENDING:
        return c->commit ? txn_commit_state(c) : c->committing ? "committing" : "rolling back";
    }
    return "";
}

static const char *client_state_name(const struct client *c, bool waiting)
{
    if (c->state != CLIENT_READY)
        return "login";
    if (waiting)
        return "waiting";
    return c->n_links > 0 || c->run != RUN_NONE ? "active" : "idle";
}

static void append_name(char *list, size_t size, const char *name)
{
    size_t n = strlen(list);
    snprintf(list + n, size - n, "%s%s", n ? " " : "", name);
}

/* The application name as reported: what the client set, or what the server says by default. */
static const char *application_name(const struct client *c)
{
    const char *name = varset_get(c->reported, "application_name");
    return name ? name : "";
}

void client_each(struct session_env *env, void (*each)(void *arg, const struct client_info *info), void *arg)
{
    list_foreach(&env->clients, node, next)
    {
        struct client *c = list_entry(node, struct client, node);
        struct client_info info = {
            .user = c->user ? c->user : "",
            .database = c->database ? c->database : "",
            .application_name = application_name(c),
            .host = c->peer.host,
            .port = c->peer.port,
            .pid = c->pid,
            .connected_us = c->connected_us,
            .request_us = c->request_us,
            .transaction_us = c->txn.state != TXN_NONE ? c->txn.began_us : 0,
            .txid = c->commit ? txn_commit_txid(c) : "",
            .txn_state = txn_name(c),
            .memory_bytes = memory_of(c),
            .in_transaction = c->txn.state != TXN_NONE,
            .tls = stream_is_tls(c->stream),
        };
        for (unsigned i = 0; i < c->n_links; i++) {
            const struct link *l = c->links[i];
            info.waiting |= l->waiting;
            if (!l->in_txn)
                continue;
            append_name(info.shards, sizeof info.shards, c->db->shards[l->shard]->name);
            if (l->writer)
                append_name(info.writers, sizeof info.writers, c->db->shards[l->shard]->name);
        }
        info.state = client_state_name(c, info.waiting);
        each(arg, &info);
    }
}
