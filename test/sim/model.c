/*
 * A model of PostgreSQL, as far as src/txn can tell: it reads the very statements that are sent, and fails a
 * run on one that it does not know. Written from PostgreSQL's documentation of transactions, prepared
 * transactions, ON CONFLICT and system functions, and compared by hand with a server.
 *
 * A message is executed statement by statement; it may wait in the middle, for the inserter of a row with the
 * same key or in its commit, and then goes on where it stood. Several statements in one message outside a
 * transaction block are one transaction.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum result { RESULT_OK, RESULT_ERROR, RESULT_WAIT };

static struct model_shard *shard_of(const struct conn *c)
{
    return &c->w->shards[c->shard];
}

static enum result fail(struct conn *c, const char *sqlstate, const char *message)
{
    c->building->txn.kind = TXN_REPLY_ERROR;
    c->building->txn.error = &c->building->error;
    error_set(&c->building->error, sqlstate, "%s", message);
    return RESULT_ERROR;
}

static enum result done(struct conn *c, const char *tag)
{
    c->building->txn.tag = tag;
    return RESULT_OK;
}

/* --- transactions ----------------------------------------------------------------------------- */

static void assign_xid(struct conn *c)
{
    if (c->xid == 0)
        c->xid = shard_of(c)->next_xid++;
}

/* Whoever waited for this transaction looks again. */
static void wake(struct world *w, unsigned shard, uint64_t xid)
{
    for (struct conn *c = w->conns; c; c = c->next)
        if (c->shard == shard && c->alive && c->wait == WAIT_LOCK && c->wait_xid == xid)
            world_at(w, 1, (struct event){.kind = EVENT_RESUME, .conn = c, .generation = c->wait_generation});
}

static void note_committed(struct model_shard *s, uint64_t xid)
{
    if (xid == 0)
        return;
    size_t at = (size_t)(xid - FIRST_XID);
    while (at >= s->committed_cap) {
        s->committed = xrealloc(s->committed, (s->committed_cap + 256) * sizeof *s->committed);
        memset(s->committed + s->committed_cap, 0, 256 * sizeof *s->committed);
        s->committed_cap += 256;
    }
    s->committed[at] = true;
}

static void take_back_update(struct decision_row *row)
{
    row->outcome = 'c';
    memcpy(row->proof, row->old_proof, sizeof row->proof);
    row->xid = row->old_xid;
    row->committed = true;
}

static void end_transaction(struct conn *c, bool commit)
{
    struct model_shard *s = shard_of(c);
    uint64_t xid = c->xid;
    for (size_t i = 0; i < s->n_rows && xid; i++) {
        if (s->rows[i].xid != xid || s->rows[i].committed)
            continue;
        if (commit)
            s->rows[i].committed = true;
        else if (s->rows[i].updated)
            take_back_update(&s->rows[i]);
        else
            s->rows[i--] = s->rows[--s->n_rows];
    }
    bool app = c->app;
    if (commit)
        note_committed(s, xid);
    c->xid = 0;
    c->app = false;
    c->status = 'I';
    c->implicit = false;
    c->lock_timeout_us = 0;
    if (app)
        world_part(c->txn, c->part, commit ? PART_COMMITTED : PART_ABORTED);
    if (xid)
        wake(c->w, c->shard, xid);
}

/* pg_snapshot_xmin(pg_current_snapshot()): the lowest xid in progress, prepared ones included. */
static uint64_t snapshot_xmin(const struct world *w, unsigned shard)
{
    const struct model_shard *s = &w->shards[shard];
    uint64_t xmin = s->next_xid;
    for (const struct conn *c = w->conns; c; c = c->next)
        if (c->shard == shard && c->alive && c->xid && c->xid < xmin)
            xmin = c->xid;
    for (size_t i = 0; i < s->n_prepared; i++)
        if (s->prepared[i].xid < xmin)
            xmin = s->prepared[i].xid;
    return xmin;
}

/* --- statements ------------------------------------------------------------------------------- */

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The quoted literal that follows the n-th occurrence of a marker which ends in its opening quote. */
static bool literal_after(const char *sql, const char *marker, char *to, size_t size)
{
    const char *at = strstr(sql, marker);
    if (!at)
        return false;
    at += strlen(marker);
    const char *end = strchr(at, '\'');
    if (!end || (size_t)(end - at) >= size)
        return false;
    memcpy(to, at, (size_t)(end - at));
    to[end - at] = '\0';
    return true;
}

static struct decision_row *find_row(struct model_shard *s, const char *txid)
{
    for (size_t i = 0; i < s->n_rows; i++)
        if (strcmp(s->rows[i].txid, txid) == 0)
            return &s->rows[i];
    return NULL;
}

static enum result wait_for(struct conn *c, uint64_t xid)
{
    c->wait = WAIT_LOCK;
    c->wait_xid = xid;
    c->wait_generation++;
    if (c->lock_timeout_us)
        world_at(c->w, c->lock_timeout_us,
                 (struct event){.kind = EVENT_LOCK_TIMEOUT, .conn = c, .generation = c->wait_generation});
    return RESULT_WAIT;
}

/* One row of an INSERT. One that waited is executed again from its first row: those that are its own by then
 * are there. */
static enum result insert_row(struct conn *c, struct decision_row row, bool fence)
{
    struct model_shard *s = shard_of(c);
    struct decision_row *there = find_row(s, row.txid);
    if (there && !there->committed && there->xid != c->xid)
        return wait_for(c, there->xid);
    if (there)
        return fence ? RESULT_OK : fail(c, "23505", "duplicate key value violates unique constraint");
    if (s->n_rows == sizeof s->rows / sizeof *s->rows) {
        world_fail(c->w, "too many decision rows");
        return fail(c, "XX000", "model");
    }
    assign_xid(c);
    row.xid = c->xid;
    s->rows[s->n_rows++] = row;
    return RESULT_OK;
}

static enum result insert_decision(struct conn *c, const char *sql)
{
    struct decision_row row = {.at_us = c->w->now_us};
    bool fence = strstr(sql, "ON CONFLICT (txid) DO NOTHING") != NULL;
    const char *at = strstr(sql, "VALUES ('");
    if (strstr(sql, "CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN NULL") && c->xid == 0)
        return fail(c, "23502", "null value in column \"outcome\" violates not-null constraint");
    if (!at)
        world_fail(c->w, "cannot read %s", sql);
    for (; at; at = strstr(at + 1, "('")) {
        char marker[TXID_MAX_BYTES + 8];
        bool read = literal_after(at, "('", row.txid, sizeof row.txid);
        snprintf(marker, sizeof marker, "('%s', '", row.txid);
        if (!read || !literal_after(at, marker, row.shards, sizeof row.shards)) {
            world_fail(c->w, "cannot read %s", sql);
            return fail(c, "XX000", "model");
        }
        row.outcome = fence ? 'a' : 'c';
        if (!fence && !literal_after(at, "pg_catalog.decode('", row.proof, sizeof row.proof))
            world_fail(c->w, "no proof in %s", sql);
        enum result result = insert_row(c, row, fence);
        if (result != RESULT_OK)
            return result;
        if (!fence)
            break; /* what follows are no rows */
    }
    return done(c, "INSERT");
}

/* What the server's own sha256 would say. */
static bool proven(const struct decision_row *row)
{
    return row->proof[0] ? txid_proven(slice_str(row->txid), slice_str(row->proof))
                         : txid_without_proof(slice_str(row->txid));
}

static enum result fence_unproven(struct conn *c, const char *sql)
{
    struct model_shard *s = shard_of(c);
    const char *list = strstr(sql, "WHERE txid = ANY ('{"), *end = list ? strstr(list, "}'") : NULL;
    for (size_t i = 0; i < s->n_rows && end; i++) {
        struct decision_row *row = &s->rows[i];
        const char *at = strstr(list, row->txid);
        if (!at || at > end || !row->committed || row->outcome != 'c' || proven(row))
            continue;
        assign_xid(c);
        world_trace(c->w, "  the forged row %s becomes a fence", row->txid);
        memcpy(row->old_proof, row->proof, sizeof row->proof);
        row->old_xid = row->xid;
        row->outcome = 'a';
        row->proof[0] = '\0';
        row->xid = c->xid;
        row->at_us = c->w->now_us;
        row->committed = false;
        row->updated = true;
    }
    return done(c, "UPDATE");
}

static void add_row(struct conn *c, const char *const *columns, size_t n_columns)
{
    struct txn_reply *r = &c->building->txn;
    const char *const **rows = arena_alloc(&c->w->arena, (r->n_rows + 1) * sizeof *rows);
    const char **copy = arena_alloc(&c->w->arena, n_columns * sizeof *copy);
    for (size_t i = 0; i < n_columns; i++)
        copy[i] = arena_strdup(&c->w->arena, columns[i]);
    if (r->n_rows)
        memcpy(rows, r->rows, r->n_rows * sizeof *rows);
    rows[r->n_rows++] = copy;
    r->rows = rows;
    r->n_columns = n_columns;
}

static enum result assign(struct conn *c)
{
    char xid[24];
    const char *columns[] = {xid};
    assign_xid(c);
    snprintf(xid, sizeof xid, "%llu", (unsigned long long)c->xid);
    c->building->txn.n_rows = 0;
    add_row(c, columns, 1);
    return done(c, "SELECT 1");
}

static bool in_progress(const struct conn *c, uint64_t xid)
{
    const struct model_shard *s = shard_of(c);
    for (const struct conn *other = c->w->conns; other; other = other->next)
        if (other->shard == c->shard && other->alive && other->xid == xid)
            return true;
    for (size_t i = 0; i < s->n_prepared; i++)
        if (s->prepared[i].xid == xid)
            return true;
    return false;
}

static const char *status_of(const struct conn *c, uint64_t xid)
{
    const struct model_shard *s = shard_of(c);
    if (xid >= s->next_xid)
        return "future";
    if (xid - FIRST_XID < s->committed_cap && s->committed[xid - FIRST_XID])
        return "committed";
    return in_progress(c, xid) ? "in progress" : "aborted";
}

static enum result read_status(struct conn *c, const char *sql)
{
    char xid[24] = "";
    literal_after(sql, "pg_xact_status('", xid, sizeof xid);
    const char *columns[] = {status_of(c, strtoull(xid, NULL, 10))};
    add_row(c, columns, 1);
    return done(c, "SELECT");
}

static enum result list_uncommitted(struct conn *c, const char *sql)
{
    const char *at = strstr(sql, "unnest('{");
    for (at = at ? at + 9 : "}"; *at != '}'; at += *at == ',') {
        char *end, xid[24];
        uint64_t value = strtoull(at, &end, 10);
        const char *columns[] = {xid, status_of(c, value)};
        snprintf(xid, sizeof xid, "%llu", (unsigned long long)value);
        if (strcmp(columns[1], "committed") != 0)
            add_row(c, columns, 2);
        at = end;
    }
    return done(c, "SELECT");
}

static bool visible(const struct conn *c, const struct decision_row *row)
{
    return row->committed || row->xid == c->xid;
}

static enum result read_decision(struct conn *c, const char *sql)
{
    char txid[TXID_MAX_BYTES + 1] = "";
    if (!literal_after(sql, "WHERE txid = '", txid, sizeof txid))
        world_fail(c->w, "cannot read %s", sql);
    const struct decision_row *row = find_row(shard_of(c), txid);
    if (row && visible(c, row)) {
        const char outcome[2] = {row->outcome, '\0'}, *columns[] = {outcome, row->proof};
        add_row(c, columns, 2);
    }
    return done(c, "SELECT");
}

static enum result read_decisions(struct conn *c, const char *sql)
{
    const struct model_shard *s = shard_of(c);
    const char *list = strstr(sql, "WHERE txid = ANY ('{");
    if (!list)
        world_fail(c->w, "cannot read %s", sql);
    for (size_t i = 0; i < s->n_rows && list; i++) {
        const char outcome[2] = {s->rows[i].outcome, '\0'},
                   *columns[] = {s->rows[i].txid, outcome, s->rows[i].proof};
        if (strstr(list, s->rows[i].txid) && visible(c, &s->rows[i]))
            add_row(c, columns, 3);
    }
    return done(c, "SELECT");
}

static bool collectable(const struct conn *c, const struct decision_row *row, const char *sql)
{
    char prefix[128] = "", keep[32] = "";
    if (!literal_after(sql, "starts_with(shards, '", prefix, sizeof prefix) ||
        !literal_after(sql, "interval '", keep, sizeof keep)) {
        world_fail(c->w, "cannot read %s", sql);
        return false;
    }
    if (!row->committed || !starts(row->shards, prefix))
        return false;
    if (row->outcome == 'a' && row->at_us + strtoull(keep, NULL, 10) >= c->w->now_us)
        return false;
    return !strstr(sql, "age(xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid)") ||
           row->xid < snapshot_xmin(c->w, c->shard);
}

static int by_txid(const void *a, const void *b)
{
    return strcmp((*(const struct decision_row *const *)a)->txid,
                  (*(const struct decision_row *const *)b)->txid);
}

static enum result list_rows(struct conn *c, const char *sql)
{
    struct model_shard *s = shard_of(c);
    char prefix[128] = "", after[TXID_MAX_BYTES + 1] = "";
    literal_after(sql, "starts_with(gid, '", prefix, sizeof prefix);
    for (size_t i = 0; i < s->n_prepared; i++) {
        char age[32], xid[24], recent[24];
        const char *columns[] = {"p", s->prepared[i].gid, xid, recent, "", age};
        snprintf(xid, sizeof xid, "%llu", (unsigned long long)s->prepared[i].xid);
        snprintf(recent, sizeof recent, "%llu", (unsigned long long)s->next_xid);
        snprintf(age, sizeof age, "%.6f", (double)(c->w->now_us - s->prepared[i].at_us) / 1e6);
        if (starts(s->prepared[i].gid, prefix))
            add_row(c, columns, 6);
    }
    const char *limit = strstr(sql, " LIMIT ");
    if (!limit)
        return done(c, "SELECT");
    const struct decision_row *found[64];
    size_t n = 0, most = strtoull(limit + 7, NULL, 10);
    literal_after(sql, "txid > '", after, sizeof after);
    for (size_t i = 0; i < s->n_rows; i++)
        if (strcmp(s->rows[i].txid, after) > 0 && collectable(c, &s->rows[i], sql))
            found[n++] = &s->rows[i];
    qsort(found, n, sizeof *found, by_txid);
    for (size_t i = 0; i < n && i < most; i++) {
        const char outcome[2] = {found[i]->outcome, '\0'},
                   *columns[] = {"d", found[i]->txid, outcome, found[i]->proof, found[i]->shards, "0"};
        add_row(c, columns, 6);
    }
    return done(c, "SELECT");
}

/* The rules of collection, checked by someone who sees all shards. */
static void check_collection(struct conn *c, const struct decision_row *row)
{
    struct world *w = c->w;
    const char *cluster = w->proxies[c->proxy].cluster;
    struct txn *t = world_find(w, row->txid);
    if (row->outcome == 'c' && !proven(row))
        return; /* nobody's decision */
    if (!starts(row->shards, cluster) || row->shards[strlen(cluster)] != '/')
        world_fail(w, "row %s of another cluster was collected", row->txid);
    for (unsigned p = 0; t && p < t->n_parts; p++) {
        if (row->outcome == 'c' && t->part[p] != PART_COMMITTED)
            world_fail(w, "decision %s was collected before part %u was committed", row->txid, p);
        if (row->outcome == 'a' && p == t->decider && t->part[p] == PART_OPEN)
            world_fail(w, "fence %s was collected while the decider is open", row->txid);
    }
}

static enum result delete_rows(struct conn *c, const char *sql)
{
    struct model_shard *s = shard_of(c);
    const char *list = strstr(sql, "ANY ('{"), *end = list ? strstr(list, "}'") : NULL;
    if (!end) {
        world_fail(c->w, "cannot read %s", sql);
        return fail(c, "XX000", "model");
    }
    for (size_t i = 0; i < s->n_rows; i++) {
        const char *at = strstr(list, s->rows[i].txid);
        if (!at || at > end || !collectable(c, &s->rows[i], sql))
            continue;
        if (strstr(sql, "outcome = 'c' AND NOT CASE WHEN proof IS NULL") &&
            (s->rows[i].outcome != 'c' || proven(&s->rows[i])))
            continue;
        check_collection(c, &s->rows[i]);
        world_trace(c->w, "  collected %s '%c'", s->rows[i].txid, s->rows[i].outcome);
        s->rows[i--] = s->rows[--s->n_rows];
    }
    return done(c, "DELETE");
}

static enum result prepare(struct conn *c, const char *sql)
{
    struct model_shard *s = shard_of(c);
    struct prepared p = {.at_us = c->w->now_us, .txn = c->txn, .part = c->part};
    if (!literal_after(sql, "PREPARE TRANSACTION '", p.gid, sizeof p.gid) || s->n_prepared == 64) {
        world_fail(c->w, "cannot prepare %s", sql);
        return fail(c, "XX000", "model");
    }
    if (c->fault == VANISH) {
        end_transaction(c, false);
        return done(c, "ROLLBACK");
    }
    for (size_t i = 0; i < s->n_prepared; i++)
        if (strcmp(s->prepared[i].gid, p.gid) == 0)
            return fail(c, "42710", "transaction identifier is already in use");
    assign_xid(c);
    p.xid = c->xid;
    s->prepared[s->n_prepared++] = p;
    c->xid = 0; /* goes with the prepared transaction, as do its locks */
    c->app = false;
    c->status = 'I';
    world_part(p.txn, p.part, PART_PREPARED);
    return done(c, "PREPARE TRANSACTION");
}

static enum result finish_prepared(struct conn *c, const char *sql, bool commit)
{
    struct model_shard *s = shard_of(c);
    char gid[GID_MAX_BYTES + 1] = "";
    literal_after(sql, "PREPARED '", gid, sizeof gid);
    if (c->status != 'I' || strchr(c->sql, ';'))
        return fail(c, "25001", "cannot run inside a transaction block");
    for (size_t i = 0; i < s->n_prepared; i++) {
        if (strcmp(s->prepared[i].gid, gid) != 0)
            continue;
        struct prepared p = s->prepared[i];
        s->prepared[i] = s->prepared[--s->n_prepared];
        if (commit)
            note_committed(s, p.xid);
        world_part(p.txn, p.part, commit ? PART_COMMITTED : PART_ABORTED);
        wake(c->w, c->shard, p.xid);
        return done(c, commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
    }
    return fail(c, SQLSTATE_UNDEFINED_OBJECT, "prepared transaction does not exist");
}

/* --- others ----------------------------------------------------------------------------------- */

void model_hand(struct world *w, unsigned shard, bool commit)
{
    struct model_shard *s = NULL;
    for (unsigned i = 0; i < w->scenario.n_shards && (!s || s->n_prepared == 0); i++)
        s = &w->shards[(shard + i) % w->scenario.n_shards];
    if (!s->up || s->n_prepared == 0)
        return;
    struct prepared p = s->prepared[0];
    world_trace(w, "somebody on shard %s: %s PREPARED '%s'", s->name, commit ? "COMMIT" : "ROLLBACK", p.gid);
    s->prepared[0] = s->prepared[--s->n_prepared];
    p.txn->by_hand[p.part] = true;
    if (commit)
        note_committed(s, p.xid);
    world_part(p.txn, p.part, commit ? PART_COMMITTED : PART_ABORTED);
    wake(w, (unsigned)(s - w->shards), p.xid);
}

/* Somebody with an ordinary role, who can read every gid. */
static void forge_row(struct world *w, const struct gid *gid, char outcome)
{
    for (unsigned i = 0; i < w->scenario.n_shards; i++) {
        struct model_shard *s = &w->shards[i];
        struct decision_row row = {.outcome = outcome, .at_us = w->now_us, .committed = true};
        if (strcmp(s->name, gid->decider) != 0 || !s->up || s->n_rows == sizeof s->rows / sizeof *s->rows ||
            find_row(s, gid->txid))
            continue;
        snprintf(row.txid, sizeof row.txid, "%s", gid->txid);
        snprintf(row.shards, sizeof row.shards, "%s/%s/%s", gid->cluster, gid->decider, gid->participant);
        if (outcome == 'c' && s->next_xid % 2)
            snprintf(row.proof, sizeof row.proof, "000102030405060708090a0b0c0d0e0f");
        if (!w->scenario.no_policy && (outcome != 'c' || !proven(&row)))
            continue;
        row.xid = s->next_xid++;
        note_committed(s, row.xid);
        s->rows[s->n_rows++] = row;
        w->n_forged++;
        world_trace(w, "somebody forges '%c' for %s on shard %s", outcome, row.txid, s->name);
    }
}

void model_forge(struct world *w, char outcome)
{
    struct gid gid;
    for (unsigned i = 0; i < w->scenario.n_shards; i++)
        for (size_t k = 0; k < w->shards[i].n_prepared; k++)
            if (gid_parse(slice_str(w->shards[i].prepared[k].gid), &gid))
                forge_row(w, &gid, outcome);
}

/* A commit may take long: a synchronous standby, a deferred trigger. Until it returns, the transaction is in
 * progress. */
static bool stalls(struct conn *c)
{
    if ((c->fault != STALL && c->fault != STALL_LOST) || c->stalled_once)
        return false;
    c->stalled_once = true;
    c->wait = WAIT_STALL;
    c->wait_generation++;
    world_at(c->w, world_long(c->w),
             (struct event){.kind = EVENT_RESUME, .conn = c, .generation = c->wait_generation});
    return true;
}

static enum result commit(struct conn *c)
{
    if (c->status == 'E') {
        end_transaction(c, false);
        return done(c, "ROLLBACK");
    }
    if (stalls(c))
        return RESULT_WAIT;
    if (c->fault == FAIL_COMMIT) {
        end_transaction(c, false);
        return fail(c, "23503", "deferred constraint");
    }
    end_transaction(c, true);
    return done(c, "COMMIT");
}

static enum result set_local(struct conn *c, const char *sql)
{
    if (starts(sql, "SET LOCAL lock_timeout = '250ms'"))
        c->lock_timeout_us = 250000;
    return done(c, "SET");
}

static enum result execute(struct conn *c, const char *sql)
{
    if (strcmp(sql, "COMMIT") == 0)
        return commit(c);
    if (strcmp(sql, "ROLLBACK") == 0) {
        end_transaction(c, false);
        return done(c, "ROLLBACK");
    }
    if (c->status == 'E')
        return fail(c, SQLSTATE_IN_FAILED_TRANSACTION, "current transaction is aborted");
    if (starts(sql, "SAVEPOINT "))
        return c->implicit ? fail(c, SQLSTATE_NO_ACTIVE_TRANSACTION, "not in a block") : done(c, "SAVEPOINT");
    if (starts(sql, "SET "))
        return set_local(c, sql);
    if (c->fault == FAIL)
        return fail(c, "53100", "disk full");
    if (starts(sql, "INSERT INTO pgunison.decision "))
        return insert_decision(c, sql);
    if (starts(sql, "UPDATE pgunison.decision "))
        return fence_unproven(c, sql);
    if (starts(sql, "SELECT CASE WHEN EXISTS (SELECT FROM pg_class"))
        return done(c, "SELECT");
    if (starts(sql, "SELECT pg_catalog.pg_xact_status('"))
        return read_status(c, sql);
    if (starts(sql, "SELECT x, s FROM "))
        return list_uncommitted(c, sql);
    if (starts(sql, "SELECT outcome, "))
        return read_decision(c, sql);
    if (starts(sql, "SELECT txid, outcome, "))
        return read_decisions(c, sql);
    if (starts(sql, "SELECT 'p', gid"))
        return list_rows(c, sql);
    if (starts(sql, "DELETE FROM pgunison.decision "))
        return delete_rows(c, sql);
    if (starts(sql, "PREPARE TRANSACTION "))
        return prepare(c, sql);
    if (starts(sql, "COMMIT PREPARED ") || starts(sql, "ROLLBACK PREPARED "))
        return finish_prepared(c, sql, sql[0] == 'C');
    if (starts(sql, coordinator_assign_xid_sql))
        return assign(c);
    world_fail(c->w, "unknown statement: %s", sql);
    return fail(c, "42601", "syntax error");
}

/* --- messages --------------------------------------------------------------------------------- */

/* Copies the statement at c->at and returns where the next one begins; NULL: there is none. */
static const char *split(struct conn *c, char *to, size_t size)
{
    const char *from = c->at + strspn(c->at, " ");
    bool quoted = false;
    size_t n = 0;
    if (!*from)
        return NULL;
    while (from[n] && (quoted || from[n] != ';')) {
        if (from[n] == '\'')
            quoted = !quoted;
        n++;
    }
    if (n >= size) {
        world_fail(c->w, "statement too long");
        return NULL;
    }
    memcpy(to, from, n);
    to[n] = '\0';
    return from + n + (from[n] == ';');
}

static void message_failed(struct conn *c)
{
    if (c->implicit || c->status == 'I') {
        if (c->xid || c->implicit)
            end_transaction(c, false);
    } else if (c->status == 'T') {
        bool ends_block = starts(c->at + strspn(c->at, " "), "PREPARE TRANSACTION");
        if (ends_block)
            end_transaction(c, false);
        else
            c->status = 'E';
    }
}

void model_execute(struct conn *c)
{
    char sql[8192];
    const char *next;
    if (c->at == c->sql && c->status == 'I' && strchr(c->sql, ';')) {
        c->implicit = true;
        c->status = 'T';
    }
    while ((next = split(c, sql, sizeof sql))) {
        enum result result = execute(c, sql);
        if (result == RESULT_WAIT)
            return;
        if (result == RESULT_ERROR) {
            message_failed(c);
            break;
        }
        c->at = next;
    }
    if (c->building->txn.kind == TXN_REPLY_OK && c->implicit) {
        if (stalls(c))
            return;
        end_transaction(c, true);
    }
    c->building->txn.txn_status = c->status;
    world_answer(c);
}

void model_lock_timeout(struct conn *c)
{
    c->wait = WAIT_NONE;
    (void)fail(c, "55P03", "canceling statement due to lock timeout");
    message_failed(c);
    c->building->txn.txn_status = c->status;
    world_answer(c);
}

void model_end_session(struct conn *c)
{
    if (!c->alive)
        return;
    c->alive = false;
    c->wait = WAIT_NONE;
    c->pending = false;
    if (c->status != 'I' || c->xid)
        end_transaction(c, false);
}

void model_crash(struct world *w, unsigned shard)
{
    w->shards[shard].up = false;
    for (struct conn *c = w->conns; c; c = c->next)
        if (c->shard == shard)
            model_end_session(c);
}
