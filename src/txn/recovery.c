/*
 * The resolver: one sweep after the other over all shards.
 *
 * A sweep asks every shard one question (what is prepared there, which decision rows may go), brings what is
 * due to its end (recovery_entries.c), and deletes rows (recovery_rows.c). recovery_private.h draws the
 * states. Each shard answers one query at a time and works off its own queues; shards do not wait for one
 * another until every one of them was listed, which only the deletion of rows needs. A lost reply makes a
 * shard unreachable for the rest of the sweep: what it may have done shows in the next.
 *
 * Nothing outlives a sweep but the rows it saw, where the next look begins, and what is published. So a
 * resolver may die anywhere, and several may work on the same transactions.
 *
 * Not responsible for: when to sweep, connections, and transactions of living coordinators of this process.
 */
#include "recovery_private.h"

#include <stdio.h>
#include <stdlib.h>

static void set_state(struct recovery *r, enum sweep_state to)
{
    TXN_ASSERT((int)to == ((int)r->state + 1) % 4);
    r->state = to;
}

static bool helped(const struct shard *s)
{
    for (unsigned i = 0; i < RECOVERY_HELPERS_MAX; i++)
        if (s->helpers[i].finishing)
            return true;
    return false;
}

static void check(const struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct shard *s = &r->shards[i];
        bool busy = s->state != SHARD_FREE && s->state != SHARD_UNREACHABLE;
        TXN_ASSERT(!busy || r->state != SWEEP_IDLE);
        TXN_ASSERT((s->state == SHARD_VERIFYING) <= (r->state == SWEEP_VERIFYING));
        TXN_ASSERT((s->state == SHARD_DELETING) <= (r->state == SWEEP_COLLECTING));
        TXN_ASSERT(!list_empty(&s->asked) == (s->state == SHARD_FENCING));
        TXN_ASSERT((s->finishing != NULL) == (s->state == SHARD_FINISHING));
        TXN_ASSERT(busy || (list_empty(&s->fences) && list_empty(&s->finishes)));
        TXN_ASSERT(r->state == SWEEP_RESOLVING || !helped(s));
    }
    TXN_ASSERT(r->waking == pace_waiting(r) && (!r->waking || r->state == SWEEP_RESOLVING));
}

struct recovery *recovery_create(const struct recovery_options *options, const char *const *shards,
                                 unsigned n_shards, const struct recovery_ops *ops, void *port)
{
    TXN_ASSERT(options->spread_us == 0 || (options->tick_us > 0 && ops->wake));
    TXN_ASSERT(gid_name_valid(slice_str(options->cluster)) && options->collect_batch > 0);
    TXN_ASSERT(options->helpers == 0 ||
               (options->helpers <= RECOVERY_HELPERS_MAX && options->helpers_from > 0 && ops->helper));
    struct recovery *r = xcalloc(1, sizeof *r);
    arena_init(&r->names);
    arena_init(&r->arenas[0]);
    arena_init(&r->arenas[1]);
    r->arena = &r->arenas[0];
    r->options = *options;
    r->cluster = r->options.cluster = arena_strdup(&r->names, options->cluster);
    r->ops = ops;
    r->port = port;
    r->n = n_shards;
    r->next_due_us = UINT64_MAX;
    r->shards = arena_zalloc(&r->names, n_shards * sizeof *r->shards);
    for (unsigned i = 0; i < n_shards; i++) {
        struct shard *s = &r->shards[i];
        s->name = arena_strdup(&r->names, shards[i]);
        list_init(&s->waiting);
        list_init(&s->fences);
        list_init(&s->finishes);
        list_init(&s->asked);
        arena_init(&s->row_arena);
    }
    list_init(&r->doubts);
    list_init(&r->torn);
    hashmap_init(&r->doubt_of);
    hashmap_init(&r->reported);
    buf_init(&r->sql);
    return r;
}

void recovery_destroy(struct recovery **rr)
{
    struct recovery *r = *rr;
    if (!r)
        return;
    for (unsigned i = 0; i < r->n; i++)
        arena_free(&r->shards[i].row_arena);
    torn_free(r);
    hashmap_free(&r->doubt_of, NULL);
    hashmap_free(&r->reported, NULL);
    buf_free(&r->sql);
    arena_free(&r->arenas[0]);
    arena_free(&r->arenas[1]);
    arena_free(&r->names);
    free(r);
    *rr = NULL;
}

/* --- one sweep -------------------------------------------------------------------------------- */

static void list_shard(struct recovery *r, struct shard *s, bool bare)
{
    struct sweep_query q = rows_query(r, s);
    if (bare)
        q.with_decisions = false;
    buf_clear(&r->sql);
    decision_sweep_sql(&r->sql, &q);
    s->state = SHARD_LISTING;
    r->ops->control(r->port, (unsigned)(s - r->shards), (const char *)buf_head(&r->sql));
}

static bool busy_anywhere(const struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if ((r->shards[i].state != SHARD_FREE && r->shards[i].state != SHARD_UNREACHABLE) ||
            helped(&r->shards[i]))
            return true;
    return false;
}

static void give_work(struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (r->shards[i].state == SHARD_FREE)
            (void)entries_next_job(r, &r->shards[i]);
        entries_help(r, &r->shards[i]);
    }
}

static void finish_sweep(struct recovery *r)
{
    entries_publish(r);
    for (unsigned i = 0; i < r->n; i++) {
        struct shard *s = &r->shards[i];
        s->now.reachable = s->state != SHARD_UNREACHABLE;
        s->published = s->now;
    }
    if (!r->reporting) {
        hashmap_free(&r->reported, NULL);
        hashmap_init(&r->reported);
    }
    set_state(r, SWEEP_IDLE);
    r->ops->sweep_done(r->port);
}

static void on_free_shards(struct recovery *r, bool (*send)(struct recovery *r, struct shard *s))
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->shards[i].state == SHARD_FREE)
            (void)send(r, &r->shards[i]);
}

static void advance(struct recovery *r)
{
    if (r->state == SWEEP_RESOLVING) {
        give_work(r);
        if (!busy_anywhere(r) && !pace_waiting(r)) {
            set_state(r, SWEEP_VERIFYING);
            rows_begin_verifying(r);
            on_free_shards(r, rows_verify);
        }
    }
    if (r->state == SWEEP_VERIFYING && !busy_anywhere(r)) {
        set_state(r, SWEEP_COLLECTING);
        on_free_shards(r, rows_collect);
    }
    check(r);
    if (r->state == SWEEP_COLLECTING && !busy_anywhere(r))
        finish_sweep(r);
}

bool recovery_sweep(struct recovery *r, const char *txid)
{
    if (r->state != SWEEP_IDLE || (txid && !txid_valid(slice_str(txid))))
        return false;
    set_state(r, SWEEP_RESOLVING);
    snprintf(r->only, sizeof r->only, "%s", txid ? txid : "");
    r->arena = r->arena == &r->arenas[0] ? &r->arenas[1] : &r->arenas[0];
    arena_reset(r->arena);
    r->reporting = false;
    r->next_due_us = UINT64_MAX;
    entries_begin(r);
    for (unsigned i = 0; i < r->n; i++) {
        struct shard *s = &r->shards[i];
        s->now = (struct recovery_shard){0};
        s->listed = false;
        s->one_by_one = 0;
        for (unsigned k = 0; k < RECOVERY_HELPERS_MAX; k++)
            s->helpers[k].lost = false;
        s->rows_due = s->n_rows > 0;
        list_shard(r, s, false);
    }
    if (r->n == 0)
        advance(r);
    return true;
}

bool recovery_sweeping(const struct recovery *r)
{
    return r->state != SWEEP_IDLE;
}

void recovery_tick(struct recovery *r)
{
    TXN_ASSERT(r->waking);
    pace_tick(r);
    advance(r);
}

uint64_t recovery_rest_us(const struct recovery *r, uint64_t interval_us)
{
    uint64_t now_us = r->ops->now_us(r->port), least_us = interval_us / 10;
    uint64_t left_us = r->next_due_us > now_us ? r->next_due_us - now_us : 0;
    return left_us < least_us ? least_us : left_us < interval_us ? left_us : interval_us;
}

/* The table is missing, or not for this role: what is prepared can be seen all the same. */
static bool about_the_table(const struct txn_reply *reply)
{
    return reply->kind == TXN_REPLY_ERROR && reply->error &&
           (strcmp(reply->error->sqlstate, SQLSTATE_INVALID_TEXT) == 0 || /* not ours, or not there */
            strcmp(reply->error->sqlstate, "42703") == 0 ||               /* of an earlier version */
            strcmp(reply->error->sqlstate, "42P01") == 0 || strcmp(reply->error->sqlstate, "42501") == 0);
}

static void listed(struct recovery *r, struct shard *s, const struct txn_reply *reply)
{
    bool rows = rows_wanted(r, s) && !s->bare;
    s->state = SHARD_FREE;
    if (rows && about_the_table(reply)) {
        recovery_report(r, "shard \"%s\" cannot decide transactions: %s", s->name, recovery_reason(r, reply));
        s->bare = true;
        list_shard(r, s, true);
        return;
    }
    s->bare = false;
    if (reply->kind != TXN_REPLY_OK || (reply->n_rows > 0 && reply->n_columns != SWEEP_COLUMNS)) {
        recovery_report(r, "cannot look for prepared transactions on shard \"%s\": %s", s->name,
                        recovery_reason(r, reply));
        return;
    }
    for (size_t i = 0; i < reply->n_rows; i++)
        for (size_t k = 0; k < SWEEP_COLUMNS; k++)
            if (!reply->rows[i][k]) {
                recovery_report(r, "shard \"%s\" answered NULL for a prepared transaction", s->name);
                return;
            }
    s->listed = true;
    for (size_t i = 0; i < reply->n_rows; i++)
        if (strcmp(reply->rows[i][SWEEP_KIND], "p") == 0)
            entries_listed(r, s, reply->rows[i]);
    pace_begin(r, s);
    if (rows)
        rows_listed(r, s, reply);
}

void recovery_reply(struct recovery *r, unsigned i, const struct txn_reply *reply)
{
    TXN_ASSERT(i < r->n);
    struct shard *s = &r->shards[i];
    enum shard_state was = s->state;
    struct entry *finished;
    if (was != SHARD_LISTING)
        s->state = SHARD_FREE;
    switch (was) {
    case SHARD_LISTING:
        listed(r, s, reply);
        break;
    case SHARD_FENCING:
        entries_fence_reply(r, s, reply);
        break;
    case SHARD_FINISHING:
        finished = s->finishing;
        s->finishing = NULL;
        entries_finish_reply(r, s, finished, reply);
        break;
    case SHARD_VERIFYING:
        rows_verify_reply(r, s, reply);
        break;
    case SHARD_DELETING:
        if (reply->kind != TXN_REPLY_OK)
            recovery_report(r, "cannot delete decision rows on shard \"%s\": %s", s->name,
                            recovery_reason(r, reply));
        break;
    case SHARD_FREE:
    case SHARD_UNREACHABLE:
        TXN_ASSERT(!"reply without a query");
    }
    if (reply->kind == TXN_REPLY_LOST) {
        s->state = SHARD_UNREACHABLE;
        entries_shard_lost(s);
    }
    advance(r);
}

/* A helper that is lost leaves its shard as it is: the others go on. */
void recovery_helper_reply(struct recovery *r, unsigned i, unsigned helper, const struct txn_reply *reply)
{
    TXN_ASSERT(i < r->n && helper < r->options.helpers && r->shards[i].helpers[helper].finishing);
    struct helper *h = &r->shards[i].helpers[helper];
    struct entry *finished = h->finishing;
    h->finishing = NULL;
    h->lost = reply->kind == TXN_REPLY_LOST;
    entries_finish_reply(r, &r->shards[i], finished, reply);
    advance(r);
}

size_t recovery_entries(const struct recovery *r, const struct recovery_entry **entries_r)
{
    *entries_r = r->entries;
    return r->n_entries;
}

const struct recovery_shard *recovery_shard_state(const struct recovery *r, unsigned s)
{
    TXN_ASSERT(s < r->n);
    return &r->shards[s].published;
}
