/*
 * The catalogs that plans are made with.
 *
 * The environment has a scope for each database: its catalog, as those sessions see it that have nothing of their own. DDL
 * there, or in one that shares a shard's database with it, puts a new one in its place, and a reload new ones for all. Plans
 * in use hold on to theirs, and so does a load that is under way: its rows go to the catalog that it began with.
 *
 * A session whose servers have temporary objects has a scope of its own, as names mean to it what they mean to nobody else:
 * what it learns and plans is never another's, nor another's its own. Statements say that they make or drop such objects;
 * code that nobody can look into does not, so its server is asked (unsure) before the next statement that names a relation
 * is planned.
 *
 *   none --> stale             a statement that makes some is sent [plan_temporary_changed]; some were found there, or others
 *                              than before [scope_note_temporary, scope_found_temporary]
 *   settled --> stale          the same; the end, or a ROLLBACK TO, of the transaction in which that was
 *   stale --> settled          the next planning has a new scope [scope_renew_own]; so it has after others' DDL, and reloads
 *   any --> none               the next planning after no server has any: a look has found none (state.c), or the question
 *
 * A transaction that has run DDL, or SET LOCAL what names depend on, has a catalog to itself above either until it ends.
 */
#include "scope.h"

#include "sql/effects.h"

#include <stdlib.h>

void scope_free(struct plan_scope *s)
{
    if (s->catalog)
        catalog_destroy(&s->catalog);
    config_unref(&s->config);
    free(s);
}

/* By the database's name: they are known for as long as the process lives. */
static struct custom_names *names_of(struct session_env *env, const struct database_def *db)
{
    struct custom_names *names = hashmap_get(&env->custom_names, slice_str(db->name));
    if (names)
        return names;
    names = custom_names_create();
    hashmap_put(&env->custom_names, slice_str(db->name), names);
    return names;
}

const char *plan_custom_name(struct client *c, size_t i)
{
    return custom_name(names_of(c->env, c->db), i);
}

static struct plan_scope *scope_create(struct session_env *env, struct config *config,
                                       const struct database_def *db, uint64_t epoch)
{
    struct plan_scope *s = xcalloc(1, sizeof *s);
    s->refs = 1;
    s->config = config_ref(config);
    s->number = ++env->next_context;
    s->epoch = epoch;
    if (!db)
        return s;
    s->version = atomic_load_explicit(&env->shared->catalog_versions[db->slot], memory_order_acquire);
    s->catalog = catalog_create(db, names_of(env, db));
    return s;
}

/* --- the environment's ------------------------------------------------------------------------ */

void session_scopes_create(struct session_env *env)
{
    struct topology *t = &env->config->topology;
    env->n_scopes = t->n_databases;
    env->scopes = xcalloc(t->n_databases, sizeof *env->scopes);
    for (size_t i = 0; i < t->n_databases; i++)
        env->scopes[i] = scope_create(env, env->config, &t->databases[i], env->statement_epoch);
    env->no_scope = scope_create(env, env->config, NULL, 0);
}

void session_scopes_drop(struct session_env *env)
{
    for (size_t i = 0; i < env->n_scopes; i++)
        scope_unref(env->scopes[i]);
    free(env->scopes);
    env->scopes = NULL;
    env->n_scopes = 0;
    scope_unref(env->no_scope);
    env->no_scope = NULL;
}

void session_scopes_renew(struct session_env *env)
{
    plan_cache_clear(env->plans);
    statement_registry_forget_idle(pool_manager_statements(env->pools));
    env->statement_epoch++;
    session_scopes_drop(env);
    session_scopes_create(env);
}

void scope_renew(struct session_env *env, const struct database_def *db)
{
    const uint64_t number = db->index;
    struct plan_scope **s = &env->scopes[db->index];
    plan_cache_drop(env->plans, CONTEXT_DATABASE, &number);
    statement_registry_forget_idle(pool_manager_statements(env->pools));
    scope_unref(*s);
    *s = scope_create(env, env->config, db, ++env->statement_epoch);
}

size_t session_scope_bytes(const struct session_env *env)
{
    size_t n = 0;
    for (size_t i = 0; i < env->n_scopes; i++)
        n += catalog_bytes(env->scopes[i]->catalog);
    return n;
}

size_t session_catalog_count(const struct session_env *env)
{
    size_t n = 0;
    for (size_t i = 0; i < env->n_scopes; i++)
        n += catalog_count(env->scopes[i]->catalog);
    return n;
}

uint64_t plan_statement_epoch(struct client *c)
{
    if (!c->db)
        return 0; /* the console's */
    scope_check(c);
    return c->config == c->env->config ? c->env->scopes[c->db->index]->epoch : c->env->statement_epoch;
}

static void slots_of(const struct topology *t, const struct database_def *db, uint64_t *slots)
{
    for (size_t i = 0; i < t->n_databases; i++)
        if (topology_databases_meet(&t->databases[i], db))
            *slots |= UINT64_C(1) << t->databases[i].slot;
}

/* A worker that does not know of a database yet cannot say that it changed: session_scopes_moved(). */
void plan_catalogs_changed(struct client *c)
{
    uint64_t slots = 0;
    slots_of(&c->config->topology, c->db, &slots);
    slots_of(&c->env->config->topology, c->db, &slots);
    for (unsigned i = 0; i < DATABASE_SLOTS; i++)
        if (slots & UINT64_C(1) << i)
            atomic_fetch_add_explicit(&c->env->shared->catalog_versions[i], 1, memory_order_acq_rel);
}

void session_scopes_moved(struct session_env *env, const struct config *old)
{
    const struct topology *now = &env->config->topology;
    for (size_t i = 0; i < now->n_databases; i++) {
        const struct database_def *db = &now->databases[i],
                                  *before = topology_database(&old->topology, db->name);
        bool same = before && before->n_shards == db->n_shards;
        for (unsigned j = 0; same && j < db->n_shards; j++)
            same = strcmp(before->shards[j]->dbname, db->shards[j]->dbname) == 0;
        if (!same)
            atomic_fetch_add_explicit(&env->shared->catalog_versions[db->slot], 1, memory_order_acq_rel);
    }
}

struct catalog *scope_private_catalog(struct client *c)
{
    return catalog_create(c->db, names_of(c->env, c->db));
}

/* --- a transaction's own ---------------------------------------------------------------------- */

/* SET LOCAL search_path or ROLE, DDL, a ROLLBACK TO that takes them back: the transaction sees a catalog of
 * its own from here on. */
void plan_names_changed(struct client *c)
{
    if (c->txn.state == TXN_NONE)
        return;
    if (c->txn.catalog) { /* plans of open portals go on using it */
        c->txn.old_catalogs = xrealloc(c->txn.old_catalogs, (c->txn.n_old + 1) * sizeof(struct catalog *));
        c->txn.old_catalogs[c->txn.n_old++] = c->txn.catalog;
    }
    c->txn.catalog = scope_private_catalog(c);
    c->txn.catalog_context = ++c->env->next_context;
}

void plan_catalog_changed(struct client *c)
{
    c->txn.catalog_changed = true;
    plan_names_changed(c); /* outside a transaction: takes effect when the statement ends: plan_txn_ended() */
}

void plan_catalog_free(struct client *c)
{
    while (c->txn.n_old > 0)
        catalog_destroy(&c->txn.old_catalogs[--c->txn.n_old]);
    free(c->txn.old_catalogs);
    c->txn.old_catalogs = NULL;
    if (c->txn.catalog)
        catalog_destroy(&c->txn.catalog);
    c->txn.catalog_apart = false;
}

/* --- a session's own -------------------------------------------------------------------------- */

void plan_own_drop(struct client *c)
{
    if (c->own_scope)
        scope_unref(c->own_scope);
    c->own_scope = NULL;
}

size_t plan_own_bytes(const struct client *c)
{
    return c->own_scope ? heap_bytes(sizeof *c->own_scope) + catalog_bytes(c->own_scope->catalog) : 0;
}

static bool has_temporary(const struct client *c)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (scope_has_temporary(c->links[i]))
            return true;
    return false;
}

void scope_renew_own(struct client *c)
{
    struct session_env *env = c->env;
    struct plan_scope *s = c->own_scope;
    if (!has_temporary(c)) {
        c->temporary = c->temporary_unsure;
        c->temporary_stale = false;
        plan_own_drop(c);
        return;
    }
    uint64_t version =
        atomic_load_explicit(&env->shared->catalog_versions[c->db->slot], memory_order_acquire);
    if (s && !c->temporary_stale && s->version == version && s->config == c->config)
        return;
    plan_own_drop(c);
    c->temporary_stale = false;
    c->own_scope = scope_create(env, c->config, c->db, 0);
}

static void changed(struct link *l)
{
    struct client *c = l->client;
    l->doubtful = true;
    l->server->unnamed_statement = 0;
    c->temporary = c->temporary_stale = true;
    if (c->txn.catalog)
        plan_names_changed(c);
}

/* What a broadcast of DDL makes beside what it says, by an event trigger, is passed over: each shard would have to be asked. */
void plan_temporary_changed(struct link *l, const struct plan *p)
{
    struct client *c = l->client;
    if (p->changes_catalog && p->kind == PLAN_BROADCAST)
        return;
    c->temporary = c->temporary_unsettled = true;
    if (p->temporary) {
        l->temporary = true;
        changed(l);
    } else {
        l->temporary_unsure = c->temporary_unsure = true;
    }
}

void plan_temporary_settles(struct client *c)
{
    c->temporary_stale |= c->temporary_unsettled;
    c->temporary_unsettled = false;
}

void plan_rolled_back(struct client *c)
{
    if (c->temporary_unsettled) {
        c->temporary_stale = true;
        for (unsigned i = 0; i < c->n_links; i++)
            if (c->links[i]->effects & EFFECT_TEMPORARY)
                c->links[i]->temporary_unsure = c->temporary_unsure = true;
    }
    if (c->txn.catalog)
        plan_names_changed(c);
}

int scope_temporary_shard(const struct client *c, int above, unsigned last)
{
    int first = -1;
    for (unsigned i = 0; i < c->n_links && c->temporary; i++) {
        const struct link *l = c->links[i];
        int shard = (int)l->shard;
        if (scope_has_temporary(l) && l->shard != last && !l->lost && shard > above &&
            (first < 0 || shard < first))
            first = shard;
    }
    return first;
}

void scope_found_temporary(struct link *l)
{
    l->temporary = true;
    l->client->temporary_unsettled = true;
    changed(l);
}

/* --- what nobody sees ------------------------------------------------------------------------- */

const char scope_temporary_question[] =
    "SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', d.classid, d.objid, c.relname), ',' ORDER BY "
    "d.classid, d.objid)"
    " FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid"
    " WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass"
    " AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()";

struct link *scope_unsure(struct client *c)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->temporary_unsure && c->links[i]->server && !c->links[i]->lost)
            return c->links[i];
    c->temporary_unsure = false;
    return NULL;
}

void scope_note_temporary(struct link *l, struct slice answer)
{
    uint64_t set = answer.data ? hash_bytes64(answer.data, answer.len) | 1 : 0;
    l->temporary_unsure = false;
    if (set == l->temporary_set)
        return;
    l->temporary_set = set;
    l->temporary = set != 0;
    changed(l);
}
