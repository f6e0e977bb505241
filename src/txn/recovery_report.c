/* What every part of a sweep uses: shards by name, and reports, each of which is logged once. */
#include "recovery_private.h"

#include <stdarg.h>
#include <stdio.h>

#define REPORTED_MAX 4096

struct shard *recovery_find_shard(struct recovery *r, struct slice name)
{
    for (unsigned i = 0; i < r->n; i++)
        if (slice_eq_str(name, r->shards[i].name))
            return &r->shards[i];
    return NULL;
}

void recovery_report(struct recovery *r, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    r->reporting = true;
    if (hashmap_get(&r->reported, slice_str(line)))
        return;
    if (r->reported.count >= REPORTED_MAX) {
        hashmap_free(&r->reported, NULL);
        hashmap_init(&r->reported);
    }
    hashmap_put(&r->reported, slice_str(line), r);
    r->ops->log(r->port, line);
}

const char *recovery_reason(struct recovery *r, const struct txn_reply *reply)
{
    if (reply->error && reply->error->message[0])
        return arena_strdup(r->arena, reply->error->message);
    return reply->kind == TXN_REPLY_LOST ? "the connection was lost" : "an answer that was not expected";
}
