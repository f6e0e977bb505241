/*
 * Rows of the decision table, and when they may go.
 *
 * A committed row is needed as long as a participant may still be prepared. Numbered observations:
 *   1. The row was seen, so it was committed, so every participant it names had been prepared before.
 *   2. Later (in the next sweep) every one of them was listed, and none has the transaction prepared.
 *   3. A transaction that was prepared and is not any more has ended; with the row there, by COMMIT PREPARED.
 * It cannot come back: a PREPARE is executed once, and was, before 1. So nobody needs the row to finish
 * anything. A coordinator that slept through all this and asks only now finds no row and sets a fence; it
 * then finds nothing prepared either, and knows that it does not know (coordinator_private.h, CONFIRMING).
 *
 * A fence is needed as long as a decider may still insert its row. The decider has its xid before a PREPARE
 * is sent, so before a fence for it can exist: a fence whose own xid is below the xmin of a fresh snapshot
 * has outlived it. That condition, and the age on top, stand in the SQL (decision.c), in the look and again
 * in the DELETE. A part of the transaction that turns up later is fenced anew.
 *
 * Every second sweep looks at rows, the one after it deletes them.
 */
#include "recovery_private.h"

#include <stdio.h>

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
        s->rows[s->n_rows++] = (struct row){.txid = arena_strdup(&s->row_arena, columns[SWEEP_NAME]),
                                            .shards = arena_strdup(&s->row_arena, columns[SWEEP_SHARDS])};
    }
    /* Rows that must stay would hide those behind them if every look began at the first. */
    bool more = seen >= r->options.collect_batch;
    snprintf(s->after_txid, sizeof s->after_txid, "%s", more ? last : "");
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
    while (rest.len) {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        size_t len = comma ? (size_t)(comma - rest.data) : rest.len;
        const struct shard *participant = recovery_find_shard(r, slice_of(rest.data, len));
        if (!participant) {
            recovery_report(r,
                            "decision row %s on shard \"%s\" names shard \"%.*s\", which this configuration "
                            "does not have; left alone",
                            row->txid, s->name, (int)len, (const char *)rest.data);
            return false;
        }
        if (!participant->listed)
            return false;
        rest = comma ? slice_of(comma + 1, rest.len - len - 1) : slice_of(NULL, 0);
    }
    return true;
}

bool rows_collect(struct recovery *r, struct shard *s)
{
    const char **txids = arena_alloc(r->arena, (s->n_rows + 1) * sizeof *txids);
    size_t n = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct row *row = &s->rows[i];
        if (SEEDED_BUG(BUG_ROW_COLLECTED_EARLY) ||
            (participants_listed(r, s, row) && !entries_present(r, s->name, row->txid)))
            txids[n++] = row->txid;
    }
    if (n > 0) {
        struct sweep_query q = rows_query(r, s);
        buf_clear(&r->sql);
        decision_collect_sql(&r->sql, &q, txids, n);
        s->state = SHARD_DELETING;
        r->ops->control(r->port, (unsigned)(s - r->shards), (const char *)buf_head(&r->sql));
    }
    s->n_rows = 0;
    arena_reset(&s->row_arena);
    return n > 0;
}
