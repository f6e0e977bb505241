/*
 * A model server's data: versions of rows, transactions with savepoints, locks, what is prepared. READ COMMITTED only.
 * Written from PostgreSQL's documentation ("Concurrency Control", "Advisory Locks", PREPARE TRANSACTION).
 *
 * Whoever waits is woken whenever a transaction of the server ends, and tries its statement again: statements change
 * nothing before they know that they need not wait.
 */
#include "model.h"

static struct shard *shards[MAX_SHARDS + 1];
static unsigned n_shards;

struct shard *shard_create(const char *name)
{
    struct shard *d = xcalloc(1, sizeof *d);
    snprintf(d->name, sizeof d->name, "%s", name);
    d->up = true;
    shards[n_shards++] = d;
    return d;
}

struct shard *shard_by_name(const char *name)
{
    for (unsigned i = 0; i < n_shards; i++)
        if (strcmp(shards[i]->name, name) == 0)
            return shards[i];
    return NULL;
}

const char *shard_name(const struct shard *d)
{
    return d->name;
}

bool shard_is_up(const struct shard *d)
{
    return d->up;
}

void shards_forget(void)
{
    for (unsigned i = 0; i < n_shards; i++) {
        struct table *t, *next;
        for (t = shards[i]->tables; t; t = next) {
            next = t->next;
            free(t->rows);
            free(t);
        }
        sessions_forget(shards[i]);
        free(shards[i]->xids);
        free(shards[i]);
    }
    n_shards = 0;
}

/* --- transactions ----------------------------------------------------------------------------- */

static const struct xid *xid_of(const struct shard *d, uint64_t xid)
{
    return &d->xids[xid - FIRST_XID];
}

struct txn *xact_open(struct session *s, bool implicit)
{
    struct txn *t = arena_alloc(&world.arena, sizeof *t);
    memset(t, 0, sizeof *t);
    t->session = s;
    t->implicit = implicit;
    t->n_levels = 1;
    t->levels[0].now = s->now;
    t->levels[0].later = s->later;
    t->next = s->shard->txns;
    s->shard->txns = t;
    s->txn = t;
    return t;
}

uint64_t xact_xid(struct shard *d, struct txn *t)
{
    uint64_t *xid = &t->levels[t->n_levels - 1].xid;
    t->wrote = true;
    if (*xid)
        return *xid;
    if (d->n_xids == d->cap_xids) {
        d->cap_xids = d->cap_xids ? 2 * d->cap_xids : 64;
        d->xids = xrealloc(d->xids, d->cap_xids * sizeof *d->xids);
    }
    d->xids[d->n_xids] = (struct xid){XID_RUNNING, t, t->n_levels - 1};
    *xid = FIRST_XID + d->n_xids++;
    return *xid;
}

static void set_xids(struct shard *d, struct txn *t, unsigned from, enum xid_state state)
{
    for (size_t i = 0; i < d->n_xids; i++)
        if (d->xids[i].txn == t && d->xids[i].state == XID_RUNNING && d->xids[i].level >= from)
            d->xids[i].state = state;
}

static void unlock_all(struct shard *d, const struct txn *t)
{
    for (size_t i = 0; i < d->n_locks;)
        if (d->locks[i].txn == t)
            d->locks[i] = d->locks[--d->n_locks];
        else
            i++;
}

void xact_end(struct shard *d, struct txn *t, bool commit)
{
    set_xids(d, t, 0, commit ? XID_COMMITTED : XID_ABORTED);
    unlock_all(d, t);
    for (struct txn **at = &d->txns; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    for (size_t i = 0; i < d->n_decisions;)
        if (d->decisions[i].xmin && d->xids[d->decisions[i].xmin - FIRST_XID].state == XID_ABORTED)
            d->decisions[i] = d->decisions[--d->n_decisions];
        else
            i++;
    session_wake_all(d);
}

bool xact_savepoint(struct txn *t, const char *name)
{
    if (t->n_levels == MAX_LEVELS)
        return false;
    snprintf(t->levels[t->n_levels].name, sizeof t->levels[0].name, "%s", name);
    t->levels[t->n_levels].xid = 0;
    t->levels[t->n_levels].now = t->session->now;
    t->levels[t->n_levels++].later = t->session->later;
    return true;
}

int xact_find_level(const struct txn *t, const char *name)
{
    for (int i = (int)t->n_levels - 1; i > 0; i--)
        if (strcmp(t->levels[i].name, name) == 0)
            return i;
    return -1;
}

/* The level begins anew. */
void xact_rollback_to(struct shard *d, struct txn *t, int level)
{
    set_xids(d, t, (unsigned)level, XID_ABORTED);
    t->session->now = t->levels[level].now;
    t->session->later = t->levels[level].later;
    t->levels[level].xid = 0;
    t->n_levels = (unsigned)level + 1;
    session_wake_all(d);
}

/* What it wrote belongs to the level around it from now on. */
void xact_release(struct shard *d, struct txn *t, int level)
{
    for (size_t i = 0; i < d->n_xids; i++)
        if (d->xids[i].txn == t && d->xids[i].level >= (unsigned)level)
            d->xids[i].level = (unsigned)level - 1;
    t->n_levels = (unsigned)level;
}

bool row_visible(const struct shard *d, const struct txn *t, uint64_t xmin, uint64_t xmax)
{
    const struct xid *min = xmin ? xid_of(d, xmin) : NULL, *max = xmax ? xid_of(d, xmax) : NULL;
    if (min && min->state != XID_COMMITTED && !(min->state == XID_RUNNING && min->txn == t))
        return false;
    return !max || !(max->state == XID_COMMITTED || (max->state == XID_RUNNING && max->txn == t));
}

struct txn *xid_blocks(const struct shard *d, const struct txn *t, uint64_t xid)
{
    if (xid == 0)
        return NULL;
    const struct xid *x = xid_of(d, xid);
    return x->state == XID_RUNNING && x->txn != t ? x->txn : NULL;
}

const char *xid_status(const struct shard *d, uint64_t xid)
{
    if (xid < FIRST_XID || xid >= FIRST_XID + d->n_xids)
        return "future";
    switch (xid_of(d, xid)->state) {
    case XID_RUNNING:
        return "in progress";
    case XID_COMMITTED:
        return "committed";
    case XID_ABORTED:
        return "aborted";
    }
    return "";
}

/* --- waiting ---------------------------------------------------------------------------------- */

enum outcome session_waits_for(struct session *s, struct txn *t, struct error *error_r)
{
    const struct txn *at = t;
    for (int i = 0; i < 64 && at && at->session; i++) {
        if (at->session == s) {
            error_set(error_r, "40P01", "deadlock detected");
            return FAILED;
        }
        at = at->session->waits_for;
    }
    s->waits_for = t;
    return WAITS;
}

enum outcome lock_take(struct session *s, int64_t key, bool shared, struct error *error_r)
{
    struct shard *d = s->shard;
    for (size_t i = 0; i < d->n_locks; i++)
        if (d->locks[i].key == key && d->locks[i].txn != s->txn && !(shared && d->locks[i].shared))
            return session_waits_for(s, d->locks[i].txn, error_r);
    if (d->n_locks == sizeof d->locks / sizeof d->locks[0])
        abort();
    d->locks[d->n_locks++] = (struct advisory){key, shared, s->txn};
    return DONE;
}

/* --- tables ----------------------------------------------------------------------------------- */

struct table *table_add(struct shard *d, const char *name, uint64_t xmin, struct session *temporary)
{
    struct table *t = xcalloc(1, sizeof *t), **at = &d->tables;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->xmin = xmin;
    t->temporary = temporary;
    while (*at)
        at = &(*at)->next;
    *at = t;
    return t;
}

void shard_create_table(struct shard *d, const char *name)
{
    (void)table_add(d, name, 0, NULL);
}

struct table *table_find(struct session *s, const char *name)
{
    struct table *found = NULL;
    for (struct table *t = s->shard->tables; t; t = t->next)
        if (strcmp(t->name, name) == 0 && (!t->temporary || t->temporary == s) &&
            row_visible(s->shard, s->txn, t->xmin, t->xmax) && (!found || t->temporary))
            found = t;
    return found;
}

static int by_id(const void *a, const void *b)
{
    const struct version *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : (x->v > y->v) - (x->v < y->v);
}

void shard_dump(const struct shard *d, struct buf *out)
{
    for (const struct table *t = d->tables; t; t = t->next) {
        if (t->temporary || !row_visible(d, NULL, t->xmin, t->xmax))
            continue;
        struct version *rows = xmalloc((t->n + 1) * sizeof *rows);
        size_t n = 0;
        for (size_t i = 0; i < t->n; i++)
            if (row_visible(d, NULL, t->rows[i].xmin, t->rows[i].xmax))
                rows[n++] = t->rows[i];
        qsort(rows, n, sizeof *rows, by_id);
        for (size_t i = 0; i < n; i++)
            buf_printf(out, "%s %lld %lld\n", t->name, (long long)rows[i].id, (long long)rows[i].v);
        free(rows);
    }
}

unsigned shard_rows(const struct shard *d, const char *table, int64_t id)
{
    unsigned n = 0;
    for (const struct table *t = d->tables; t; t = t->next)
        for (size_t i = 0; strcmp(t->name, table) == 0 && i < t->n; i++)
            n += t->rows[i].id == id && row_visible(d, NULL, t->rows[i].xmin, t->rows[i].xmax);
    return n;
}

/* --- what is prepared ------------------------------------------------------------------------- */

struct txn *prepared_find(struct shard *d, const char *gid)
{
    for (struct txn *t = d->txns; t; t = t->next)
        if (!t->session && strcmp(t->gid, gid) == 0)
            return t;
    return NULL;
}

/* pgunison/<cluster>/<decider>/<txid>/<shard> */
static bool gid_parts(const char *gid, char *decider, char *txid)
{
    return sscanf(gid, "pgunison/%*[^/]/%15[^/]/%159[^/]/", decider, txid) == 2;
}

/* Its decision: 'c', 'a', or 0 as long as somebody is writing one. Where there is none, a fence is put in its place. */
static char decide(struct shard *d, const char *txid)
{
    for (size_t i = 0; i < d->n_decisions; i++)
        if (strcmp(d->decisions[i].txid, txid) == 0)
            return d->decisions[i].xmin && xid_of(d, d->decisions[i].xmin)->state == XID_RUNNING
                       ? 0
                       : d->decisions[i].outcome;
    struct decision_row *row = &d->decisions[d->n_decisions++];
    *row = (struct decision_row){.outcome = 'a'};
    snprintf(row->txid, sizeof row->txid, "%s", txid);
    return 'a';
}

void shards_resolve(uint64_t after_us, bool (*owned)(const char *txid))
{
    for (unsigned i = 0; i < n_shards; i++) {
        struct txn *t, *next;
        for (t = shards[i]->txns; t; t = next) {
            char decider[16] = "", txid[160] = "";
            next = t->next;
            if (t->session || world.now_us - t->prepared_us < after_us)
                continue;
            if (!gid_parts(t->gid, decider, txid))
                continue; /* a client's own */
            struct shard *d = shard_by_name(decider);
            char outcome = !d->up || !shards[i]->up || owned(txid) ? 0 : decide(d, txid);
            if (outcome == 0)
                continue;
            world_trace("resolved: %s %s on %s", txid, outcome == 'c' ? "committed" : "rolled back",
                        shards[i]->name);
            xact_end(shards[i], t, outcome == 'c');
        }
    }
}

void shards_check_idle(void)
{
    for (unsigned i = 0; i < n_shards; i++) {
        bool prepared = false; /* by a client itself */
        for (const struct txn *t = shards[i]->txns; t; t = t->next) {
            bool own = !t->session && strncmp(t->gid, "pgunison/", 9) != 0;
            prepared |= own;
            if (!own)
                world_fail("a transaction is open on %s%s%s", shards[i]->name,
                           t->session ? "" : ": prepared as ", t->session ? "" : t->gid);
        }
        if (shards[i]->n_locks && !prepared)
            world_fail("an advisory lock is held on %s", shards[i]->name);
    }
}
