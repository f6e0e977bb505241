/*
 * The catalogs that plans are made with.
 *
 * The environment has one scope: a catalog per database, as those sessions see it that have nothing of their own. DDL and
 * reloads put a new one in its place. Plans in use hold on to theirs, and so does a load that is under way: its rows go to
 * the catalog that it began with.
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
    for (size_t i = 0; i < s->n; i++)
        catalog_destroy(&s->catalogs[i]);
    config_unref(&s->config);
    free(s);
}

static struct plan_scope *scope_create(struct session_env *env, struct config *config, size_t n)
{
    struct plan_scope *s = xcalloc(1, sizeof *s + n * sizeof s->catalogs[0]);
    s->refs = 1;
    s->version = atomic_load_explicit(&env->shared->catalog_version, memory_order_acquire);
    s->config = config_ref(config);
    s->n = n;
    return s;
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

/* --- the environment's ------------------------------------------------------------------------ */

void session_scope_drop(struct session_env *env)
{
    if (env->scope)
        scope_unref(env->scope);
    env->scope = NULL;
}

void session_scope_renew(struct session_env *env)
{
    plan_cache_clear(env->plans);
    if (env->pools)
        statement_registry_renew(pool_manager_statements(env->pools));
    session_scope_drop(env);
    const struct topology *t = &env->config->topology;
    struct plan_scope *s = scope_create(env, env->config, t->n_databases);
    for (size_t i = 0; i < s->n; i++)
        s->catalogs[i] = catalog_create(&t->databases[i], names_of(env, &t->databases[i]));
    env->scope = s;
}

size_t session_scope_bytes(const struct session_env *env)
{
    size_t n = 0;
    for (size_t i = 0; i < env->scope->n; i++)
        n += catalog_bytes(env->scope->catalogs[i]);
    return n;
}

size_t session_catalog_count(const struct session_env *env)
{
    size_t n = 0;
    for (size_t i = 0; i < env->scope->n; i++)
        n += catalog_count(env->scope->catalogs[i]);
    return n;
}

/* DDL has passed since? */
void session_check_scope(struct session_env *env)
{
    if (env->scope->version != atomic_load_explicit(&env->shared->catalog_version, memory_order_acquire))
        session_scope_renew(env);
}

struct catalog *scope_catalog(const struct client *c)
{
    return c->own_scope ? c->own_scope->catalogs[0] : c->env->scope->catalogs[c->db->index];
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
    return c->own_scope ? heap_bytes(sizeof *c->own_scope) + catalog_bytes(c->own_scope->catalogs[0]) : 0;
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
    if (s && !c->temporary_stale && s->version == env->scope->version && s->config == c->config)
        return;
    plan_own_drop(c);
    c->temporary_stale = false;
    s = scope_create(env, c->config, 1);
    s->number = ++env->next_context;
    s->catalogs[0] = scope_private_catalog(c);
    c->own_scope = s;
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
