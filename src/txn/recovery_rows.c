/*
 * Rows of the decision table, and when they may go.
 *
 * A committed row is needed as long as a participant may still be prepared. Numbered observations:
 *   1. The row was seen, so it was committed, so every participant it names had been prepared before.
 *   2. Later (in the next sweep) every one of them was listed, and none has the transaction prepared.
 *   3. A transaction that was prepared and is not any more has ended; with the row there, by COMMIT PREPARED, unless
 *      somebody who may ended it by hand. So each participant is asked how it ended (VERIFYING), by the id that the row
 *      names. One that did not commit is reported, and its row stays: it is all that is known of it.
 * It cannot come back: a PREPARE is executed once, and was, before 1. So nobody needs the row to finish
 * anything. A coordinator that slept through all this and asks only now finds no row and sets a fence; it
 * then finds nothing prepared either, and knows that it does not know (coordinator_private.h, CONFIRMING).
 *
 * A fence is needed as long as a decider may still insert its row. The decider has its xid before a PREPARE
 * is sent, so before a fence for it can exist: a fence whose own xid is below the xmin of a fresh snapshot
 * has outlived it. That condition, and the age on top, stand in the SQL (decision.c), in the look and again
 * in the DELETE. A part of the transaction that turns up later is fenced anew.
 *
 * Every second sweep looks at rows, the one after it verifies and deletes them. A row that says 'c' and does not prove
 * it says nothing about anybody's transaction: nothing is asked about it.
 */
#include "recovery_private.h"

#include <stdio.h>
#include <stdlib.h>

bool rows_wanted(const struct recovery *r, const struct shard *s)
{
    return r->only[0] == '\0' && s->n_rows == 0;
}

struct sweep_query rows_query(const struct recovery *r, const struct shard *s)
{
    return (struct sweep_query){.cluster = r->cluster,
                                .shard = s->name,
                                .with_decisions = rows_wanted(r, s),
                                .after_txid = s->after_txid,
                                .collect_batch = r->options.collect_batch,
                                .fence_keep_us = r->options.fence_keep_us};
}

void rows_listed(struct recovery *r, struct shard *s, const struct txn_reply *reply)
{
    size_t seen = 0;
    const char *last = "";
    s->rows = arena_alloc(&s->row_arena, (reply->n_rows + 1) * sizeof *s->rows);
    for (size_t i = 0; i < reply->n_rows; i++) {
        const char *const *columns = reply->rows[i];
        if (strcmp(columns[SWEEP_KIND], "d") != 0)
            continue;
        seen++;
        last = columns[SWEEP_NAME];
        if (!txid_valid(slice_str(columns[SWEEP_NAME]))) {
            recovery_report(r, "shard \"%s\" has a decision row that is not pgunison's; left alone", s->name);
            continue;
        }
        struct row *row = &s->rows[s->n_rows++];
        *row = (struct row){.txid = arena_strdup(&s->row_arena, columns[SWEEP_NAME]),
                            .shards = arena_strdup(&s->row_arena, columns[SWEEP_SHARDS]),
                            .age_s = strtod(columns[SWEEP_AGE_S], NULL),
                            .committed = decision_outcome(columns[SWEEP_NAME], columns[SWEEP_OUTCOME],
                                                          columns[SWEEP_PROOF]) == 'c'};
        row->unproven = !row->committed && strcmp(columns[SWEEP_OUTCOME], "c") == 0;
        torn_row_seen(r, s, row);
    }
    /* Rows that must stay would hide those behind them if every look began at the first. */
    bool more = seen >= r->options.collect_batch;
    snprintf(s->after_txid, sizeof s->after_txid, "%s", more ? last : "");
    if (!more)
        torn_look_over(r, s);
}

/* Whether every participant that the row names was asked in this sweep. */
static bool participants_listed(struct recovery *r, const struct shard *s, const struct row *row)
{
    char cluster[GID_NAME_MAX_BYTES + 1], decider[GID_NAME_MAX_BYTES + 1];
    struct slice rest;
    if (!decision_shards_parse(slice_str(row->shards), cluster, decider, &rest)) {
        recovery_report(r, "decision row %s on shard \"%s\" names its participants as \"%s\"; left alone",
                        row->txid, s->name, row->shards);
        return false;
    }
    struct slice name;
    uint64_t xid;
    while (decision_next_participant(&rest, &name, &xid)) {
        const struct shard *participant = recovery_find_shard(r, name);
        if (!participant) {
            recovery_report(r,
                            "decision row %s on shard \"%s\" names shard \"%.*s\", which this configuration "
                            "does not have; left alone",
                            row->txid, s->name, (int)name.len, (const char *)name.data);
            return false;
        }
        if (!participant->listed)
            return false;
    }
    return true;
}

/* --- verifying -------------------------------------------------------------------------------- */

/* Calls to() for each participant that can be asked for. The row is of the right form, and its shards are known. */
static void each_verify(struct recovery *r, struct shard *decider, struct row *row,
                        void (*to)(struct shard *participant, struct verify v))
{
    char cluster[GID_NAME_MAX_BYTES + 1], name_of_decider[GID_NAME_MAX_BYTES + 1];
    struct slice rest, name;
    uint64_t xid;
    if (!decision_shards_parse(slice_str(row->shards), cluster, name_of_decider, &rest))
        return;
    while (decision_next_participant(&rest, &name, &xid))
        if (xid)
            to(recovery_find_shard(r, name), (struct verify){.decider = decider, .row = row, .xid = xid});
}

static void count(struct shard *participant, struct verify v)
{
    (void)v;
    participant->n_verifies++;
}

static void add(struct shard *participant, struct verify v)
{
    participant->verifies[participant->n_verifies++] = v;
}

static void each_row(struct recovery *r, void (*to)(struct shard *participant, struct verify v))
{
    for (unsigned i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->shards[i].n_rows && r->shards[i].rows_due; k++)
            if (r->shards[i].rows[k].may_go && r->shards[i].rows[k].committed)
                each_verify(r, &r->shards[i], &r->shards[i].rows[k], to);
}

/* s cannot be asked. */
static void keep_all(struct shard *s)
{
    for (size_t i = 0; i < s->n_verifies; i++)
        s->verifies[i].row->may_go = false;
}

void rows_begin_verifying(struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct shard *s = &r->shards[i];
        s->n_verifies = 0;
        s->rows_due = s->rows_due && r->only[0] == '\0' && s->state == SHARD_FREE;
        for (size_t k = 0; k < s->n_rows && s->rows_due; k++) {
            struct row *row = &s->rows[k];
            row->may_go = SEEDED_BUG(BUG_ROW_COLLECTED_EARLY) ||
                          (participants_listed(r, s, row) && !entries_present(r, s->name, row->txid));
        }
    }
    if (SEEDED_BUG(BUG_ROW_COLLECTED_EARLY) || SEEDED_BUG(BUG_GONE_IS_APPLIED))
        return;
    each_row(r, count);
    for (unsigned i = 0; i < r->n; i++) {
        r->shards[i].verifies = arena_alloc(r->arena, (r->shards[i].n_verifies + 1) * sizeof(struct verify));
        r->shards[i].n_verifies = 0;
    }
    each_row(r, add);
    for (unsigned i = 0; i < r->n; i++)
        if (r->shards[i].state != SHARD_FREE)
            keep_all(&r->shards[i]);
}

bool rows_verify(struct recovery *r, struct shard *s)
{
    if (s->n_verifies == 0)
        return false;
    uint64_t *xids = arena_alloc(r->arena, s->n_verifies * sizeof *xids);
    for (size_t i = 0; i < s->n_verifies; i++)
        xids[i] = s->verifies[i].xid;
    buf_clear(&r->sql);
    decision_uncommitted_sql(&r->sql, xids, s->n_verifies);
    s->state = SHARD_VERIFYING;
    r->ops->control(r->port, (unsigned)(s - r->shards), (const char *)buf_head(&r->sql));
    return true;
}

static void not_committed(struct recovery *r, struct shard *s, const struct verify *v, const char *status)
{
    if (strcmp(status, "unknown") == 0) {
        recovery_report(r,
                        "transaction %s was committed too long ago to see that shard \"%s\" did so, too; its "
                        "decision goes",
                        v->row->txid, s->name);
        return;
    }
    v->row->may_go = false;
    if (strcmp(status, "aborted") == 0)
        torn_found(r, v->decider, v->row, s, "rolled its part back");
    else if (strcmp(status, "future") == 0)
        torn_found(r, v->decider, v->row, s, "has lost its part");
}

void rows_verify_reply(struct recovery *r, struct shard *s, const struct txn_reply *reply)
{
    bool understood = reply->kind == TXN_REPLY_OK && (reply->n_rows == 0 || reply->n_columns == 2);
    if (!understood)
        recovery_report(r, "cannot see on shard \"%s\" how transactions ended: %s", s->name,
                        recovery_reason(r, reply));
    if (!understood)
        keep_all(s);
    for (size_t k = 0; k < reply->n_rows && understood; k++) {
        uint64_t xid = 0;
        if (!reply->rows[k][0] || !reply->rows[k][1] || !decision_xid_parse(reply->rows[k][0], &xid))
            continue;
        for (size_t i = 0; i < s->n_verifies; i++)
            if (s->verifies[i].xid == xid)
                not_committed(r, s, &s->verifies[i], reply->rows[k][1]);
    }
}

/* --- deleting --------------------------------------------------------------------------------- */

/* Those that may go. */
static const char **txids_of(struct recovery *r, const struct shard *s, bool unproven, size_t *n_r)
{
    const char **txids = arena_alloc(r->arena, (s->n_rows + 1) * sizeof *txids);
    *n_r = 0;
    for (size_t i = 0; i < s->n_rows; i++)
        if (s->rows[i].may_go && s->rows[i].unproven == unproven)
            txids[(*n_r)++] = s->rows[i].txid;
    return txids;
}

bool rows_collect(struct recovery *r, struct shard *s)
{
    size_t n, n_unproven;
    if (!s->rows_due)
        return false;
    const char **txids = txids_of(r, s, false, &n), **unproven = txids_of(r, s, true, &n_unproven);
    if (n + n_unproven > 0) {
        struct sweep_query q = rows_query(r, s);
        buf_clear(&r->sql);
        decision_collect_sql(&r->sql, &q, txids, n, unproven, n_unproven);
        s->state = SHARD_DELETING;
        r->ops->control(r->port, (unsigned)(s - r->shards), (const char *)buf_head(&r->sql));
    }
    s->n_rows = 0;
    arena_reset(&s->row_arena);
    return n + n_unproven > 0;
}
