/*
 * Prepared transactions that a sweep found, and how they are brought to their end.
 *
 *   1. A shard lists a gid. From here on that text, never one put together from parts, names the transaction.
 *   2. If it is due, and no coordinator of this process is at work on it, its decider is asked, once for all
 *      its participants, and together with others that wait for the same decider. Asking is fencing: either a
 *      decision stands there, or "aborted" stands there from now on.
 *   3. The answer is carried out on each participant that listed it.
 *
 * A coordinator registers before it prepares anything; so one that owns() does not know, after the gid was
 * listed, has ended or lives elsewhere. Acting on the transaction of a living coordinator elsewhere is
 * harmless: the unique index decides once.
 *
 * Left alone, and reported: gids that name a shard which this configuration does not have, and gids found on
 * a shard other than the one they name (unless both names stand for the same database, where the other name's
 * own list has it too).
 */
#include "recovery_private.h"

#include <stdio.h>
#include <stdlib.h>

#define FOREVER_US 1e15 /* ages are what somebody's clock says */

void entries_begin(struct recovery *r)
{
    list_init(&r->doubts);
    hashmap_free(&r->doubt_of, NULL);
    hashmap_init(&r->doubt_of);
}

struct doubt_key {
    char text[GID_NAME_MAX_BYTES + TXID_MAX_BYTES + 2];
};

/* By both, so that a gid somebody made up with another decider's name cannot get into a real one's way. */
static struct doubt_key key_of(const char *decider, const char *txid)
{
    struct doubt_key key;
    snprintf(key.text, sizeof key.text, "%s/%s", decider, txid);
    return key;
}

static struct doubt *doubt_of(struct recovery *r, const struct gid *gid)
{
    struct doubt_key key = key_of(gid->decider, gid->txid);
    struct doubt *d = hashmap_get(&r->doubt_of, slice_str(key.text));
    if (d)
        return d;
    d = arena_zalloc(r->arena, sizeof *d);
    d->txid = arena_strdup(r->arena, gid->txid);
    d->decider = arena_strdup(r->arena, gid->decider);
    d->why = "";
    list_init(&d->entries);
    list_push_back(&r->doubts, &d->in_order);
    hashmap_put(&r->doubt_of, slice_str(key.text), d);
    return d;
}

bool entries_present(struct recovery *r, const char *decider, const char *txid)
{
    struct doubt_key key = key_of(decider, txid);
    return hashmap_get(&r->doubt_of, slice_str(key.text)) != NULL;
}

static bool on_its_own_shard(const struct recovery *r, const struct entry *e)
{
    return strcmp(e->gid.participant, r->shards[e->shard].name) == 0;
}

static void queue_finish(struct recovery *r, struct entry *e)
{
    struct shard *s = &r->shards[e->shard];
    if (s->state == SHARD_UNREACHABLE)
        e->note = "the shard cannot be reached";
    else
        list_push_back(&s->finishes, &e->in_queue);
}

static bool decided(const struct doubt *d)
{
    return d->decision == DECISION_COMMITTED || d->decision == DECISION_ABORTED;
}

void entries_ask(struct recovery *r, struct doubt *d)
{
    struct shard *decider = recovery_find_shard(r, slice_str(d->decider));
    TXN_ASSERT(decider && d->decision == DECISION_WAITING);
    if (decider->state == SHARD_UNREACHABLE) {
        d->decision = DECISION_UNREACHABLE;
        d->why = "the decider cannot be reached";
        return;
    }
    d->decision = DECISION_ASKING;
    list_push_back(&decider->fences, &d->in_queue);
}

/* Why an entry is not for this sweep to finish, or NULL. */
static const char *not_ours_to_finish(struct recovery *r, const struct entry *e)
{
    if (!on_its_own_shard(r, e))
        return "prepared on a shard other than the one it names";
    if (!recovery_find_shard(r, slice_str(e->gid.decider)))
        return "its decider is not a shard of this configuration";
    return NULL;
}

/* Otherwise notes when it will be. */
static bool due(struct recovery *r, const struct entry *e)
{
    double left_us = (double)r->options.resolve_after_us - e->age_s * 1e6;
    if (r->only[0] ? strcmp(r->only, e->gid.txid) == 0 : left_us <= 0)
        return true;
    uint64_t at_us = r->ops->now_us(r->port);
    if (!(left_us <= 0)) /* not a number, even */
        at_us += left_us < FOREVER_US ? (uint64_t)left_us : (uint64_t)FOREVER_US;
    if (at_us < r->next_due_us)
        r->next_due_us = at_us;
    return false;
}

void entries_listed(struct recovery *r, struct shard *s, const char *const *columns)
{
    const char *text = columns[SWEEP_NAME];
    double age_s = strtod(columns[SWEEP_AGE_S], NULL);
    struct gid gid;
    if (!gid_parse(slice_str(text), &gid) || strcmp(gid.cluster, r->cluster) != 0) {
        recovery_report(r,
                        "shard \"%s\" has a prepared transaction with the name \"%s\", which is not of this "
                        "cluster's form; left alone",
                        s->name, text);
        return;
    }
    struct entry *e = arena_zalloc(r->arena, sizeof *e);
    e->gid = gid;
    e->text = arena_strdup(r->arena, text);
    e->shard = (unsigned)(s - r->shards);
    e->xid = decision_whole_xid(columns[SWEEP_OUTCOME], columns[SWEEP_PROOF]);
    e->age_s = age_s;
    e->owned = r->ops->owned(r->port, gid.txid);
    e->doubt = doubt_of(r, &gid);
    list_push_back(&e->doubt->entries, &e->in_doubt);

    const char *why_not = not_ours_to_finish(r, e);
    e->note = why_not ? why_not : "";
    if (on_its_own_shard(r, e)) {
        s->now.prepared++;
        if (age_s > s->now.oldest_prepared_s)
            s->now.oldest_prepared_s = age_s;
    }
    if (why_not || e->owned)
        return;
    if (decided(e->doubt))
        queue_finish(r, e);
    else if (e->doubt->decision == DECISION_NOT_ASKED && due(r, e))
        pace_add(s, e->doubt);
}

/* --- jobs ------------------------------------------------------------------------------------- */

static bool wants_finish(const struct entry *e)
{
    return !e->over && !e->owned && e->note[0] == '\0';
}

/* The participants that are known. Others may be prepared too: they name the decider themselves. */
static const char *participants_of(struct recovery *r, const struct shard *s, const struct doubt *d)
{
    struct decision_participant *named = arena_alloc(r->arena, d->entries.count * sizeof *named);
    size_t n = 0;
    list_foreach(&d->entries, node, next)
    {
        const struct entry *e = list_entry(node, struct entry, in_doubt);
        if (on_its_own_shard(r, e))
            named[n++] = (struct decision_participant){.shard = e->gid.participant, .xid = e->xid};
    }
    struct buf shards;
    buf_init(&shards);
    decision_shards_format(&shards, r->cluster, s->name, named, n);
    const char *text = arena_strdup(r->arena, (const char *)buf_head(&shards));
    buf_free(&shards);
    return text;
}

static int by_txid(const void *a, const void *b)
{
    return strcmp((*(struct doubt *const *)a)->txid, (*(struct doubt *const *)b)->txid);
}

/* Many wait for one decider when a proxy has died: they are asked about together. */
static void send_fences(struct recovery *r, struct shard *s)
{
    struct doubt *batch[FENCE_BATCH];
    const char *txids[FENCE_BATCH], *shards[FENCE_BATCH];
    size_t n = 0, most = s->one_by_one > 0 || SEEDED_BUG(BUG_SKIP_FENCE) ? 1 : FENCE_BATCH;
    while (n < most && !list_empty(&s->fences))
        batch[n++] = list_entry(list_pop_front(&s->fences), struct doubt, in_queue);
    TXN_ASSERT(n > 0);
    s->one_by_one -= s->one_by_one > 0;
    qsort(batch, n, sizeof *batch, by_txid);
    for (size_t i = 0; i < n; i++) {
        txids[i] = batch[i]->txid;
        shards[i] = batch[i]->shards = participants_of(r, s, batch[i]);
        list_push_back(&s->asked, &batch[i]->in_queue);
    }
    buf_clear(&r->sql);
    if (SEEDED_BUG(BUG_SKIP_FENCE))
        decision_read_sql(&r->sql, txids[0]);
    else if (n == 1)
        decision_fence_sql(&r->sql, txids[0], shards[0]);
    else
        decision_fences_sql(&r->sql, txids, shards, n);
    s->state = SHARD_FENCING;
    r->ops->control(r->port, (unsigned)(s - r->shards), (const char *)buf_head(&r->sql));
}

static const char *finish_sql(struct recovery *r, const struct entry *e)
{
    buf_clear(&r->sql);
    if (e->gone) {
        decision_status_sql((char *)buf_reserve(&r->sql, DECISION_STATUS_SQL_BYTES), e->xid);
        return (const char *)buf_head(&r->sql);
    }
    buf_printf(&r->sql, "%s PREPARED '%s'", e->doubt->decision == DECISION_COMMITTED ? "COMMIT" : "ROLLBACK",
               e->text);
    buf_u8(&r->sql, '\0');
    return (const char *)buf_head(&r->sql);
}

static void send_finish(struct recovery *r, struct shard *s, struct entry *e)
{
    s->finishing = e;
    s->state = SHARD_FINISHING;
    r->ops->control(r->port, (unsigned)(s - r->shards), finish_sql(r, e));
}

void entries_help(struct recovery *r, struct shard *s)
{
    for (unsigned i = 0; i < r->options.helpers; i++) {
        struct helper *h = &s->helpers[i];
        if (h->finishing || h->lost || s->finishes.count < r->options.helpers_from)
            continue;
        h->finishing = list_entry(list_pop_front(&s->finishes), struct entry, in_queue);
        r->ops->helper(r->port, (unsigned)(s - r->shards), i, finish_sql(r, h->finishing));
    }
}

bool entries_next_job(struct recovery *r, struct shard *s)
{
    struct list_node *node = list_pop_front(&s->finishes);
    if (node) {
        send_finish(r, s, list_entry(node, struct entry, in_queue));
        return true;
    }
    if (list_empty(&s->fences))
        return false;
    send_fences(r, s);
    return true;
}

/* What a reply to decision_fence_sql() or decision_fences_sql() says of one transaction: 'c', 'a', or 0. Rows come in
 * any order. */
static char outcome_of(const struct txn_reply *reply, const char *txid, bool together, size_t nth)
{
    if (reply->kind != TXN_REPLY_OK)
        return 0;
    if (SEEDED_BUG(BUG_SKIP_FENCE) && reply->n_rows == 0)
        return 'a';
    if (!together)
        return reply->n_rows == 1 && reply->n_columns == 2
                   ? decision_outcome(txid, reply->rows[0][0], reply->rows[0][1])
                   : 0;
    if (SEEDED_BUG(BUG_ANSWERS_IN_ORDER))
        return nth < reply->n_rows && reply->rows[nth][1] ? reply->rows[nth][1][0] : 0;
    for (size_t i = 0; i < reply->n_rows && reply->n_columns == 3; i++)
        if (reply->rows[i][0] && strcmp(reply->rows[i][0], txid) == 0)
            return decision_outcome(txid, reply->rows[i][1], reply->rows[i][2]);
    return 0;
}

static void settle(struct recovery *r, struct doubt *d, char outcome, const struct txn_reply *reply)
{
    if (outcome == 0) {
        bool busy =
            reply->kind == TXN_REPLY_ERROR && reply->error && strcmp(reply->error->sqlstate, "55P03") == 0;
        d->decision = busy ? DECISION_NONE : DECISION_UNREACHABLE;
        d->why = busy ? "the decider may be committing it just now" : recovery_reason(r, reply);
        return;
    }
    d->decision = outcome == 'c' ? DECISION_COMMITTED : DECISION_ABORTED;
    list_foreach(&d->entries, node, next)
    {
        struct entry *e = list_entry(node, struct entry, in_doubt);
        if (wants_finish(e)) /* the young ones too: decided is decided */
            queue_finish(r, e);
    }
}

void entries_fence_reply(struct recovery *r, struct shard *s, const struct txn_reply *reply)
{
    struct list_node *node;
    bool together = s->asked.count > 1;
    size_t nth = 0;
    if (together && reply->kind == TXN_REPLY_ERROR) {
        /* Nothing was written. Whose fault it was shows when each is asked about alone. */
        s->one_by_one = s->asked.count;
        while ((node = list_pop_back(&s->asked)))
            list_push_front(&s->fences, node);
        return;
    }
    while ((node = list_pop_front(&s->asked))) {
        struct doubt *d = list_entry(node, struct doubt, in_queue);
        settle(r, d, outcome_of(reply, d->txid, together, nth++), reply);
    }
}

/* Somebody else ended it. The answer to how; 'committed' and 'aborted' are for ever. */
static void gone_reply(struct recovery *r, struct shard *s, struct entry *e, const struct txn_reply *reply)
{
    bool row = reply->kind == TXN_REPLY_OK && reply->n_rows == 1 && reply->n_columns == 1;
    const char *status = row && reply->rows[0][0] ? reply->rows[0][0] : "";
    bool commit = e->doubt->decision == DECISION_COMMITTED;
    e->over = true;
    if (strcmp(status, commit ? "aborted" : "committed") == 0) {
        torn_entry(r, s, e);
    } else if (strcmp(status, commit ? "committed" : "aborted") != 0) {
        recovery_report(
            r, "transaction %s was %s; somebody else ended it on shard \"%s\", and it cannot be seen how: %s",
            e->doubt->txid, commit ? "committed" : "rolled back", s->name,
            row ? "the shard does not know its state" : recovery_reason(r, reply));
    }
}

void entries_finish_reply(struct recovery *r, struct shard *s, struct entry *e, const struct txn_reply *reply)
{
    if (e->gone) {
        gone_reply(r, s, e, reply);
        return;
    }
    bool commit = e->doubt->decision == DECISION_COMMITTED;
    if (reply->kind == TXN_REPLY_OK && reply->tag &&
        strcmp(reply->tag, commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED") == 0) {
        e->over = true;
        r->ops->resolved(r->port, e->doubt->txid, s->name, commit);
    } else if (reply->kind == TXN_REPLY_ERROR && reply->error &&
               strcmp(reply->error->sqlstate, SQLSTATE_UNDEFINED_OBJECT) == 0) {
        /* Whoever was faster did what was decided, or what he wanted. */
        if (SEEDED_BUG(BUG_GONE_IS_APPLIED)) {
            e->over = true;
            return;
        }
        e->gone = true;
        queue_finish(r, e);
    } else {
        e->note = recovery_reason(r, reply);
    }
}

void entries_shard_lost(struct shard *s)
{
    struct list_node *node;
    while ((node = list_pop_front(&s->finishes)))
        list_entry(node, struct entry, in_queue)->note =
            "the shard cannot be reached"; /* gone or not: the next sweep */
    while ((node = list_pop_front(&s->fences))) {
        struct doubt *d = list_entry(node, struct doubt, in_queue);
        d->decision = DECISION_UNREACHABLE;
        d->why = "the decider cannot be reached";
    }
}

/* --- what the sweep saw ----------------------------------------------------------------------- */

/* Two shard names may stand for one database; then each lists the other's entries too. */
static bool listed_by_its_own_shard(const struct recovery *r, const struct entry *e)
{
    list_foreach(&e->doubt->entries, node, next)
    {
        const struct entry *other = list_entry(node, struct entry, in_doubt);
        if (strcmp(other->text, e->text) == 0 && on_its_own_shard(r, other))
            return true;
    }
    return false;
}

static struct recovery_entry published(struct recovery *r, const struct entry *e)
{
    static const char *const decisions[] = {
        [DECISION_NOT_ASKED] = "not yet asked", [DECISION_WAITING] = "not yet asked",
        [DECISION_ASKING] = "not yet asked",    [DECISION_COMMITTED] = "committed",
        [DECISION_ABORTED] = "aborted",         [DECISION_NONE] = "none",
        [DECISION_UNREACHABLE] = "unreachable"};
    struct recovery_entry p = {.txid = e->doubt->txid,
                               .shard = r->shards[e->shard].name,
                               .decider = e->doubt->decider,
                               .decision = decisions[e->doubt->decision],
                               .age_s = e->age_s,
                               .owned = e->owned,
                               .note = e->note[0] || e->owned ? e->note : e->doubt->why};
    if (p.note[0])
        recovery_report(r, "transaction %s is still prepared on shard \"%s\": %s (decider \"%s\")", p.txid,
                        p.shard, p.note, p.decider);
    return p;
}

void entries_publish(struct recovery *r)
{
    size_t n = torn_publish(r, NULL), at = 0;
    list_foreach(&r->doubts, node, next) n += list_entry(node, struct doubt, in_order)->entries.count;
    r->entries = arena_alloc(r->arena, (n + 1) * sizeof *r->entries);
    list_foreach(&r->doubts, doubt_node, next_doubt)
    {
        const struct doubt *d = list_entry(doubt_node, struct doubt, in_order);
        list_foreach(&d->entries, node, next)
        {
            const struct entry *e = list_entry(node, struct entry, in_doubt);
            if (!e->over && (on_its_own_shard(r, e) || !listed_by_its_own_shard(r, e)))
                r->entries[at++] = published(r, e);
        }
    }
    r->n_entries = at + torn_publish(r, r->entries + at);
}
