/*
 * From a statement's template to its plan: the cache, and on a miss the router, with what it wants to know of
 * relations loaded through a server of the client's own.
 *
 * Plans are made with the catalogs of a scope (scope.c); when a load has brought what was missing there, the statement is
 * planned anew. A transaction that has run DDL sees its own, private catalog until it ends: what it loads may never be seen
 * by others.
 *
 * All that one planning misses is loaded before the next one, name by name: a DROP of a thousand tables is planned
 * twice, not a thousand times.
 *
 * Not responsible for: what plans mean (route), where rows of the catalog come from (backend/catalog).
 */
#include "scope.h"

#include "sql/effects.h"

#include <assert.h>
#include <stdlib.h>

/* Names that are noted at once; more are asked for again. */
#define LOADS_MAX 4096
/* Planning is tried so often, as others' DDL makes what was learned old; then with a catalog of its own. */
#define ROUNDS_MAX 4
/* ... and then a few times more: a statement of more names than are kept would be planned for ever. */
#define ROUNDS_LIMIT 16

enum load_kind { LOAD_RELATION, LOAD_FUNCTION, LOAD_OWN /* what is the application's own: no name */ };
struct load {
    char *schema, *name;
    enum load_kind kind;
    int tried; /* the last shard that had no temporary relation of that name; -1: none was asked */
};
struct load_queue {
    uint64_t statement; /* a hash of whose they are */
    size_t at, n;       /* items[at] is next, or under way */
    struct load *items;
};

void session_unplan(struct client *c, struct plan **plan)
{
    if (!*plan)
        return;
    struct plan_scope *s = (*plan)->scope;
    plan_cache_unpin(c->env->plans, *plan);
    *plan = NULL;
    scope_unref(s);
}

/* --- what the router asks --------------------------------------------------------------------- */

static struct catalog *catalog_of(struct client *c)
{
    return c->txn.catalog ? c->txn.catalog : scope_of(c)->catalog;
}

/* A number for a text: equal texts have one number, and no number is ever given to two texts. A text that was not asked
   for lately may get another number: what was planned under the first one is planned again then. */
uint64_t session_number_of(struct session_env *env, struct slice text)
{
    uint64_t id = (uint64_t)(uintptr_t)recent_get(&env->numbers, text);
    if (id)
        return id;
    id = ++env->next_context;
    recent_put(&env->numbers, text, (void *)(uintptr_t)id);
    return id;
}

/* Of search_path, role and session_authorization; 0: it has none of them. */
static uint64_t names_id(struct session_env *env, struct varset *vars)
{
    if (!vars || !vars->has_names)
        return 0;
    if (vars->names_id)
        return vars->names_id;
    static const char *const names[] = {"search_path", "role", "session_authorization"};
    struct buf key;
    buf_init(&key);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = varset_get(vars, names[i]);
        buf_u8(&key, value != NULL);
        buf_cstr(&key, value ? value : "");
    }
    vars->names_id = session_number_of(env, buf_slice(&key));
    buf_free(&key);
    return vars->names_id;
}

/* Names mean what they mean to this user under this search_path. */
static const char *name_context(struct client *c, struct buf *b)
{
    buf_clear(b);
    buf_printf(b, "%llu/%llu", (unsigned long long)c->user_id, (unsigned long long)names_id(c->env, c->vars));
    buf_u8(b, 0);
    return (const char *)buf_head(b);
}

static void want(struct client *c, const char *schema, const char *name, enum load_kind kind)
{
    struct load_queue *q = c->loads;
    if (!q)
        q = c->loads = xcalloc(1, sizeof *q);
    if (q->n == LOADS_MAX)
        return;
    if ((q->n & (q->n - 1)) == 0)
        q->items = xrealloc(q->items, (q->n ? q->n * 2 : 1) * sizeof q->items[0]);
    q->items[q->n++] =
        (struct load){.schema = xstrdup(schema), .name = xstrdup(name), .kind = kind, .tried = -1};
}

/* Until its statement is planned. Another client that plans with it meanwhile does not take it away. */
static void note_missing(struct client *c, struct relation *r)
{
    catalog_wanted_by(r, c);
    c->wants_missing = true;
}

static const struct relation *lookup(void *arg, const char *schema, const char *name)
{
    struct client *c = arg;
    struct relation *r = catalog_find(catalog_of(c), name_context(c, &c->env->scratch2), schema, name);
    if (!r) {
        want(c, schema, name, LOAD_RELATION);
        return NULL;
    }
    if (!r->placed)
        catalog_derived(r, bucket_map_place(c->db, r), bucket_map_unplace);
    if (!r->exists) {
        c->saw_missing = true;
        note_missing(c, r);
    }
    return r;
}

static bool lookup_function(void *arg, const char *schema, const char *name, uint16_t *effects_r)
{
    struct client *c = arg;
    if (catalog_function(catalog_of(c), schema, name, effects_r))
        return true;
    want(c, schema, name, LOAD_FUNCTION);
    return false;
}

/* What is the application's own does not depend on search_path or role, so that most transactions with a catalog of their
   own need not ask for it again. */
static struct catalog *own_catalog(struct client *c)
{
    bool shared =
        c->txn.catalog && !c->txn.catalog_changed && !c->txn.catalog_apart && c->config == c->env->config;
    return shared ? c->env->scopes[c->db->index]->catalog : catalog_of(c);
}

static bool lookup_own(void *arg, const struct own_code **items_r, size_t *n_r)
{
    struct client *c = arg;
    if (catalog_own(own_catalog(c), items_r, n_r))
        return true;
    want(c, "", "", LOAD_OWN);
    return false;
}

/* --- loading ---------------------------------------------------------------------------------- */

static void loading_ends(struct client *c)
{
    if (c->loading_scope)
        scope_unref(c->loading_scope);
    c->loading_scope = NULL;
}

static void load_forget(struct client *c)
{
    struct load_queue *q = c->loads;
    loading_ends(c);
    c->loads = NULL;
    if (!q)
        return;
    for (size_t i = 0; i < q->n; i++) {
        free(q->items[i].schema);
        free(q->items[i].name);
    }
    free(q->items);
    free(q);
}

/* The statement is planned, or will not be. */
static void load_end(struct client *c)
{
    load_forget(c);
    if (c->wants_missing && (c->txn.catalog || c->config == c->env->config))
        catalog_forget_missing(catalog_of(c), c);
    c->wants_missing = false;
    c->load_rounds = 0;
}

static bool is_known(struct client *c, const struct load *x)
{
    const struct own_code *items;
    uint16_t effects;
    size_t n;
    switch (x->kind) {
    case LOAD_RELATION:
        return catalog_find(catalog_of(c), name_context(c, &c->env->scratch2), x->schema, x->name) != NULL;
    case LOAD_FUNCTION:
        return catalog_function(catalog_of(c), x->schema, x->name, &effects);
    case LOAD_OWN:
        return catalog_own(own_catalog(c), &items, &n);
    }
    return false;
}

/* What t waits for and is not known yet; NULL: nothing. Whoever waited may be gone, its statement with it. */
static const struct load *next_load(struct client *c, const struct template *t)
{
    struct load_queue *q = c->loads;
    if (!q)
        return NULL;
    if (q->statement == hash_bytes64(t->statement.data, t->statement.len))
        while (q->at < q->n && is_known(c, &q->items[q->at]))
            q->at++;
    else
        q->at = q->n;
    if (q->at < q->n)
        return &q->items[q->at];
    load_forget(c);
    return NULL;
}

/* The queries are long and their costs guessed high, but they read little: compiling them would take seconds. A savepoint
   gives the client's transaction its own jit back. */
static void load_sql(const struct client *c, const struct load *x, bool in_block, struct buf *sql)
{
    buf_str(sql, in_block ? "SAVEPOINT pgunison_catalog;SET LOCAL jit TO off;" : "SET LOCAL jit TO off;");
    switch (x->kind) {
    case LOAD_RELATION:
        catalog_load_sql(c->db, x->schema, x->name, sql);
        break;
    case LOAD_FUNCTION:
        catalog_function_sql(x->schema, x->name, sql);
        break;
    case LOAD_OWN:
        catalog_own_sql(sql);
        break;
    }
    if (in_block)
        buf_str(sql, ";ROLLBACK TO pgunison_catalog;RELEASE pgunison_catalog");
}

/* Temporary relations come first in every search path that does not say otherwise: shards that have some are asked before
   the one that others would ask. */
static unsigned load_shard(const struct client *c, const struct load *x)
{
    unsigned shard = x->kind == LOAD_RELATION ? catalog_load_shard(c->db, x->schema, x->name) : c->db->home;
    int temporary = x->kind == LOAD_RELATION ? scope_temporary_shard(c, x->tried, shard) : -1;
    return temporary < 0 ? shard : (unsigned)temporary;
}

static struct catalog_load *load_begin(struct client *c, const struct load *x, unsigned shard)
{
    if (x->kind == LOAD_OWN)
        return catalog_load_begin_own(own_catalog(c));
    if (x->kind == LOAD_FUNCTION)
        return catalog_load_begin_function(catalog_of(c), x->schema, x->name);
    return catalog_load_begin(catalog_of(c), name_context(c, &c->env->scratch2), x->schema, x->name, shard);
}

void plan_catalog_abort(struct client *c)
{
    if (c->loading)
        catalog_load_abort(&c->loading);
    load_end(c);
}

/* Within the client's transaction, if it has one. False: not yet; client_resume() follows. */
static bool may_ask(struct client *c, struct link *l)
{
    if (l->open_pipeline && !txn_in_block(c) && c->commit)
        return false; /* commit_ack = decided: the one before is still being applied */
    if (l->open_pipeline && txn_in_block(c))
        link_sync(l);
    if (l->open_pipeline) {
        /* An implicit transaction that the server keeps until Sync: a Query in between would commit it. It
         * becomes a block first. */
        link_begin_implicit(c);
    } else {
        link_prepare(l);
    }
    return true;
}

/* The answer comes to plan_catalog_message(). */
static void ask(struct client *c, struct link *l, struct slice sql)
{
    link_query(l, sql, SINK_MESSAGE, TAG_CATALOG);
    c->run = RUN_CATALOG;
    c->run_link = l;
    error_drop(&c->run_error);
}

static enum acquire acquire_one(struct client *c, unsigned shard, struct error *error_r)
{
    struct shard_set set;
    shard_set_clear(&set);
    shard_set_add(&set, shard);
    return links_acquire(c, &set, error_r);
}

/* Runs the catalog query on the shard that is to be asked. PLAN_AGAIN, or PLAN_FAILED. */
static enum plan_result load_start(struct client *c, const struct load *x, struct error *error_r)
{
    unsigned shard = load_shard(c, x);
    switch (acquire_one(c, shard, error_r)) {
    case ACQUIRE_WAIT:
        return PLAN_AGAIN;
    case ACQUIRE_FAILED:
        load_end(c);
        return PLAN_FAILED;
    case ACQUIRE_READY:
        break;
    }
    struct link *l = link_find(c, shard);
    if (!may_ask(c, l))
        return PLAN_AGAIN;
    struct buf sql;
    buf_init(&sql);
    load_sql(c, x, l->in_txn, &sql);
    ask(c, l, buf_slice(&sql));
    buf_free(&sql);
    c->loading = load_begin(c, x, shard);
    c->loading_scope = c->txn.catalog ? c->env->no_scope : scope_of(c);
    c->loading_scope->refs++;
    return PLAN_AGAIN;
}

/* Code that nobody sees may have made, or dropped, temporary objects on l. */
static enum plan_result ask_temporary(struct client *c, struct link *l, struct error *error_r)
{
    switch (acquire_one(c, l->shard, error_r)) {
    case ACQUIRE_FAILED:
        return PLAN_FAILED;
    case ACQUIRE_READY:
        if (may_ask(c, l))
            ask(c, l, slice_str(scope_temporary_question));
        break;
    case ACQUIRE_WAIT:
        break;
    }
    return PLAN_AGAIN;
}

/* Its rows are there. What is of use to nobody is dropped, and asked for again: a temporary relation, where a catalog of
   others would take it in; what a shard knows that was asked for a temporary one and has none. */
static void load_done(struct client *c, struct link *l)
{
    struct load_queue *q = c->loads;
    if (!c->loading)
        return; /* it was asked for the temporary ones */
    bool temporary = catalog_load_is_temporary(c->loading);
    struct load *x = q && q->at < q->n ? &q->items[q->at] : NULL;
    if (temporary && !scope_has_temporary(l)) {
        state_mark(l, EFFECT_TEMPORARY);
        scope_found_temporary(l);
        catalog_load_abort(&c->loading);
    } else if (x && x->kind == LOAD_RELATION && !temporary &&
               l->shard != catalog_load_shard(c->db, x->schema, x->name)) {
        x->tried = (int)l->shard;
        catalog_load_abort(&c->loading);
    } else {
        struct relation *r = catalog_load_finish(&c->loading);
        if (r && !r->exists)
            note_missing(c, r);
    }
    loading_ends(c);
}

static enum status catalog_row(struct client *c, struct link *l, const struct slice *values, size_t n,
                               struct error *error_r)
{
    if (c->loading)
        return catalog_load_row(c->loading, values, n, error_r);
    if (n != 1)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                         "a shard answered the question for temporary objects with something else");
    scope_note_temporary(l, values[0]);
    return STATUS_OK;
}

void plan_catalog_message(struct client *c, struct link *l, const struct frame *f)
{
    struct error e, why;
    struct slice values[64];
    uint16_t n;
    switch (f->type) {
    case MSG_DATA_ROW:
        if (c->run_error)
            return;
        if (message_read_data_row(f, values, 64, &n, &e) == STATUS_OK &&
            catalog_row(c, l, values, n, &e) == STATUS_OK)
            return;
        if (link_violated(&e))
            server_violation(l->server, f->type, e.message);
        else
            error_keep(&c->run_error, &e);
        return;
    case MSG_ERROR:
        if (c->run_error)
            return;
        if (message_read_error(f, &why, &e) != STATUS_OK)
            why = e;
        error_keep(&c->run_error, &why);
        return;
    case MSG_READY:
        break;
    default:
        return;
    }
    c->run = RUN_NONE;
    c->run_link = NULL;
    if (l->in_txn && l->server->txn_status == 'I')
        l->lost = true; /* BEGIN failed there */
    if (error_take(&c->run_error, &why)) {
        load_end(c);
        catalog_load_abort(&c->loading);
        error_keep(&c->plan_error, &why);
        if (l->in_txn)
            txn_fail(c);
    } else {
        load_done(c, l);
    }
    if (c->txn.state == TXN_NONE && !l->pinned && !l->open_pipeline)
        link_put(l, true);
    client_resume(c);
}

/* Its name, as the shard knows it; NULL: anybody. */
static const char *role_of_defaults(const struct link *l, const struct plan *p)
{
    const char *role = p->defaults_of == SQL_ROLE_CURRENT ? varset_get(l->client->vars, "role") : NULL;
    if (p->defaults_of == SQL_ROLE_NAMED)
        return p->defaults_role;
    if (p->defaults_of == SQL_ROLE_ALL)
        return NULL;
    if (!role || strcmp(role, "none") == 0)
        role = varset_get(l->client->vars, "session_authorization");
    return role ? role : backend_conn_user(l->server->conn);
}

void plan_defaults_change(struct link *l, const struct plan *p)
{
    struct client_txn *t = &l->client->txn;
    const char *role = role_of_defaults(l, p);
    if (t->defaults_changed && (!role || !t->defaults_role || strcmp(role, t->defaults_role) != 0))
        role = NULL; /* of several */
    char *kept = role ? xstrdup(role) : NULL;
    free(t->defaults_role);
    t->defaults_role = kept;
    t->defaults_changed = true;
}

void plan_defaults_kept(struct client *c)
{
    free(c->txn.defaults_role);
    c->txn.defaults_role = NULL;
    c->txn.defaults_changed = false;
}

void plan_txn_ended(struct client *c, bool committed)
{
    plan_catalog_free(c);
    plan_temporary_settles(c);
    bool changed = c->txn.catalog_changed;
    if (c->txn.defaults_changed && committed)
        defaults_renew(c->txn.defaults_role);
    plan_defaults_kept(c);
    c->txn.catalog_changed = false;
    if (changed && committed)
        plan_catalogs_changed(c);
}

/* --- planning --------------------------------------------------------------------------------- */

bool session_allows_hints(const struct client *c)
{
    return c->db->routing_hints >= 0 ? c->db->routing_hints > 0 : c->config->settings.routing_hints;
}

static const char *shard_by_hand(const struct client *c) /* SET pgunison.shard; NULL: not set */
{
    return c->guc_pgunison ? varset_get(c->guc_pgunison, "shard") : NULL;
}

static uint64_t number_by_hand(const struct client *c)
{
    const char *shard = shard_by_hand(c);
    return shard ? (uint64_t)(topology_shard_index(c->db, shard) + 2) : 0;
}

/* On a miss of the cache. */
static enum router_result make_plan(struct client *c, const struct template *t, uint32_t n_types,
                                    const uint32_t *types, struct plan **plan_r, struct error *error_r)
{
    const char *shard = shard_by_hand(c);
    struct router_input in = {.db = c->db,
                              .relation = lookup,
                              .function = lookup_function,
                              .own = lookup_own,
                              .arg = c,
                              .n_param_types = n_types,
                              .param_types = types,
                              .client_two_phase = c->config->settings.client_two_phase,
                              .no_hints = !session_allows_hints(c)};
    struct buf routing;
    buf_init(&routing);
    if (shard) {
        buf_printf(&routing, "shard=%s", shard);
        in.routing = buf_slice(&routing);
    }
    enum router_result result = router_plan(&in, t, plan_r, error_r);
    buf_free(&routing);
    return result;
}

static_assert(CONTEXT_SHARD + 1 == PLAN_CONTEXT_NUMBERS, "one number for each");

static uint64_t catalog_number(const struct client *c)
{
    return c->txn.catalog ? c->txn.catalog_context : scope_of(c)->number;
}

static struct plan_context plan_context(struct client *c, struct slice hint, uint32_t n_types,
                                        const uint32_t *types)
{
    return (struct plan_context){
        .numbers = {c->db->index, catalog_number(c), c->user_id, names_id(c->env, c->vars),
                    c->guc_pgunison ? number_by_hand(c) : 0},
        .hint = hint,
        .types = types,
        .n_types = n_types,
    };
}

static bool txn_has_failed(const struct client *c)
{
    return c->txn.state == TXN_FAILED || c->txn.state == TXN_IMPLICIT_FAILED;
}

static enum plan_result load_or_fail(struct client *c, const struct load *x, struct error *error_r)
{
    if (!txn_has_failed(c))
        return load_start(c, x, error_r);
    load_forget(c);
    return txn_failed_error(c, error_r), PLAN_FAILED;
}

/* Until the statement, or its transaction, ends: as if it had been planned before the DDL of others. */
static void plan_apart(struct client *c)
{
    c->txn.catalog = scope_private_catalog(c);
    c->txn.catalog_context = ++c->env->next_context;
    c->txn.catalog_apart = true;
}

enum plan_result session_plan(struct client *c, const struct template *t, uint32_t n_types,
                              const uint32_t *types, struct plan **plan_r, struct error *error_r)
{
    struct session_env *env = c->env;
    if (error_take(&c->plan_error, error_r))
        return PLAN_FAILED;
    scope_check(c);
    /* A transaction that began before a reload goes on under its topology: with a private catalog, so that
     * nobody else's plan is taken. */
    if (c->config != env->config && !c->txn.catalog) {
        c->txn.catalog = scope_private_catalog(c);
        c->txn.catalog_context = ++env->next_context;
    }
    struct plan_context context = plan_context(c, t->hint, n_types, types);
    struct plan *p = plan_cache_get(env->plans, t, &context);
    if (__builtin_expect(c->temporary_unsure, 0) && (!p || p->names_relations) && !txn_has_failed(c)) {
        if (p)
            plan_cache_unpin(env->plans, p);
        if (c->run != RUN_NONE)
            return PLAN_AGAIN;
        struct link *l = scope_unsure(c);
        return l ? ask_temporary(c, l, error_r) : session_plan(c, t, n_types, types, plan_r, error_r);
    }
    if (!p) {
        if (c->run != RUN_NONE)
            return PLAN_AGAIN; /* a miss may need the catalog, and that a server that is not busy */
        const struct load *missing = next_load(c, t);
        if (missing)
            return load_or_fail(c, missing, error_r);
        c->saw_missing = false;
        enum router_result result = make_plan(c, t, n_types, types, &p, error_r);
        if (result == ROUTER_NEEDS_CATALOG && c->loads) {
            if (++c->load_rounds == ROUNDS_MAX && !c->txn.catalog)
                plan_apart(c);
            if (c->load_rounds == ROUNDS_LIMIT) {
                load_end(c);
                error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "the statement uses too many names");
                error_hint(error_r, "Split it into several statements.");
                return PLAN_FAILED;
            }
            c->loads->statement = hash_bytes64(t->statement.data, t->statement.len);
            return load_or_fail(c, &c->loads->items[0], error_r);
        }
        if (result != ROUTER_OK) {
            load_end(c);
            return PLAN_FAILED;
        }
        size_t bytes = arena_bytes(&p->arena) + heap_bytes(sizeof *p);
        /* A relation that does not exist may be made by others at any moment: neither the plan nor the
         * knowledge is kept. */
        if (c->saw_missing)
            plan_cache_put_once(env->plans, p, bytes);
        else
            plan_cache_put(env->plans, t, &context, p->pinned, p->n_pinned, p, bytes);
        load_end(c);
        p->scope = c->txn.catalog ? env->no_scope : scope_of(c);
    }
    struct plan_scope *scope = p->scope;
    scope
        ->refs++; /* a plan that was found in the cache is of a scope that is there: its number is part of the context */
    *plan_r = p;
    return PLAN_READY;
}
