/*
 * Making and freeing a coordinator: who decides, and every text that it will ever send. Nothing is allocated
 * later, so memory cannot run out after the commit point.
 */
#include "coordinator_private.h"

#include <limits.h>
#include <stdlib.h>

/* SAVEPOINT fails outside a transaction block, where PREPARE would quietly prepare an empty transaction. The SELECT
   tells the id by which the transaction can be asked for when it is not prepared any more. */
#define PREPARE_PREFIX                                                                                       \
    "SAVEPOINT pgunison; SELECT pg_catalog.pg_current_xact_id(), "                                           \
    "pg_catalog.set_config('statement_timeout', '0', true); PREPARE TRANSACTION "

static enum status choose_decider(const struct coordinator_options *options,
                                  const struct txn_participant *participants, unsigned n, unsigned *decider_r,
                                  struct error *error_r)
{
    unsigned bound = UINT_MAX;
    for (unsigned p = 0; p < n; p++) {
        if (!participants[p].cannot_prepare)
            continue;
        if (bound != UINT_MAX) {
            error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                      "cannot commit a transaction that cannot be prepared on shards \"%s\" and \"%s\"",
                      participants[bound].shard, participants[p].shard);
            error_detail(
                error_r,
                "A transaction that used temporary objects, LISTEN, NOTIFY or a cursor WITH HOLD cannot "
                "be prepared; one shard may have done so, not two.");
            error_hint(
                error_r,
                "Use temporary objects on one shard only, or outside transactions that write on several.");
            return STATUS_ERROR;
        }
        bound = p;
    }
    *decider_r = bound != UINT_MAX ? bound : options->decider_hint % n;
    return STATUS_OK;
}

static const char *with_gid(struct coordinator *c, const char *command, const char *gid)
{
    size_t command_len = strlen(command), gid_len = strlen(gid);
    char *text = arena_alloc(&c->arena, command_len + gid_len + 3), *at = text + command_len;
    memcpy(text, command, command_len);
    *at++ = '\'';
    memcpy(at, gid, gid_len);
    memcpy(at + gid_len, "'", 2);
    return text;
}

static enum status prepare_texts(struct coordinator *c, struct error *error_r)
{
    const char *cluster = c->cluster;
    struct gid gid;
    char text[GID_MAX_BYTES + 1];
    if (!gid_name_valid(slice_str(cluster)) || !gid_name_valid(slice_str(c->members[c->decider].shard)) ||
        !txid_valid(slice_str(c->txid)))
        return error_set(error_r, SQLSTATE_PROGRAM_LIMIT,
                         "cluster \"%s\", shard \"%s\" and transaction \"%s\" cannot be put into a name of a "
                         "prepared transaction",
                         cluster, c->members[c->decider].shard, c->txid);
    /* they fit: they are valid */
    memcpy(gid.cluster, cluster, strlen(cluster) + 1);
    memcpy(gid.decider, c->members[c->decider].shard, strlen(c->members[c->decider].shard) + 1);
    memcpy(gid.txid, c->txid, strlen(c->txid) + 1);
    for (unsigned p = 0; p < c->n; p++) {
        struct member *m = &c->members[p];
        if (p == c->decider)
            continue;
        if (!gid_name_valid(slice_str(m->shard)))
            return error_set(error_r, SQLSTATE_PROGRAM_LIMIT,
                             "shard \"%s\" cannot be put into a name of a prepared transaction", m->shard);
        memcpy(gid.participant, m->shard, strlen(m->shard) + 1);
        if (gid_format(&gid, text, error_r))
            return STATUS_ERROR;
        m->prepare_sql = with_gid(c, PREPARE_PREFIX, text);
        m->commit_sql = with_gid(c, "COMMIT PREPARED ", text);
        m->rollback_sql = with_gid(c, "ROLLBACK PREPARED ", text);
    }
    return STATUS_OK;
}

void coordinator_shards_text(struct coordinator *c)
{
    size_t n = 0;
    for (unsigned p = 0; p < c->n; p++)
        if (p != c->decider)
            c->named[n++] =
                (struct decision_participant){.shard = c->members[p].shard, .xid = c->members[p].xid};
    buf_clear(&c->shards_text);
    decision_shards_format(&c->shards_text, c->cluster, c->members[c->decider].shard, c->named, n);
}

static void take_room(struct coordinator *c)
{
    c->named = arena_alloc(&c->arena, c->n * sizeof *c->named);
    c->names_bytes = 1;
    for (unsigned p = 0; p < c->n; p++)
        c->names_bytes += strlen(c->members[p].shard) + 2;
    size_t shards_bytes = decision_shards_bytes(strlen(c->cluster), c->names_bytes, c->n);
    buf_reserve(&c->shards_text, shards_bytes);
    buf_reserve(&c->fence_sql, decision_fence_bytes(strlen(c->txid), shards_bytes));
    c->unapplied = arena_zalloc(&c->arena, c->names_bytes);
    c->torn = arena_zalloc(&c->arena, c->names_bytes);
}

static void hex(const uint8_t *bytes, size_t n, char *to)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    *to = '\0';
}

struct coordinator *coordinator_create(const struct coordinator_options *options,
                                       const struct txn_participant *participants, unsigned n,
                                       const struct coordinator_ops *ops, void *port, struct error *error_r)
{
    TXN_ASSERT(n >= 2);
    unsigned decider;
    if (choose_decider(options, participants, n, &decider, error_r))
        return NULL;

    struct coordinator *c = xcalloc(1, sizeof *c);
    arena_init(&c->arena);
    c->state = CO_NEW;
    c->ops = ops;
    c->port = port;
    buf_init(&c->shards_text);
    buf_init(&c->fence_sql);
    c->cluster = arena_strdup(&c->arena, options->cluster);
    c->txid = arena_strdup(&c->arena, options->txid);
    hex(options->secret, sizeof options->secret, c->proof);
    c->n = n;
    c->decider = decider;
    c->assign_first = participants[decider].may_lack_xid && !SEEDED_BUG(BUG_NO_XID);
    c->ack_decided = options->ack_decided;
    c->resolve_timeout_us = options->resolve_timeout_us;
    c->retry_us = options->retry_us;
    c->apply_timeout_us = options->apply_timeout_us;
    c->members = arena_zalloc(&c->arena, n * sizeof *c->members);
    for (unsigned p = 0; p < n; p++)
        c->members[p].shard = arena_strdup(&c->arena, participants[p].shard);
    if (prepare_texts(c, error_r)) {
        coordinator_abandon(&c);
        return NULL;
    }
    take_room(c);
    coordinator_check(c);
    return c;
}

void coordinator_abandon(struct coordinator **c)
{
    if (!*c)
        return;
    buf_free(&(*c)->shards_text);
    buf_free(&(*c)->fence_sql);
    arena_free(&(*c)->arena);
    free(*c);
    *c = NULL;
}

void coordinator_destroy(struct coordinator **c)
{
    TXN_ASSERT(!*c || (*c)->state == CO_DONE || (*c)->state == CO_NEW);
    coordinator_abandon(c);
}
