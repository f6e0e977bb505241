/*
 * The catalogs that plans are made with: scope.c. Private to scope.c and plan.c.
 */
#ifndef PGUNISON_SESSION_SCOPE_H
#define PGUNISON_SESSION_SCOPE_H

#include "session.h"

#include "sql/effects.h"

/* Everything besides the template that a plan depends on: plan_context.numbers. */
enum { CONTEXT_DATABASE, CONTEXT_CATALOG, CONTEXT_USER, CONTEXT_NAMES, CONTEXT_SHARD };

struct plan_scope {
    unsigned refs; /* its owner's, one per plan in use, one per load under way */
    uint64_t version;
    struct config *config;
    uint64_t number;         /* CONTEXT_CATALOG: never another scope's */
    uint64_t epoch;          /* statement_intern() */
    struct catalog *catalog; /* NULL: session_env.no_scope */
};

void scope_free(struct plan_scope *s);
static inline void scope_unref(struct plan_scope *s)
{
    if (--s->refs == 0)
        scope_free(s);
}

/* What c's statements are planned in, beneath a catalog that its transaction has to itself; c runs under the environment's
   configuration. */
static inline struct plan_scope *scope_of(const struct client *c)
{
    return c->own_scope ? c->own_scope : c->env->scopes[c->db->index];
}

/* Before anything is looked up in it. */
void scope_renew(struct session_env *env, const struct database_def *db);
void scope_renew_own(struct client *c);
static inline void scope_check(struct client *c)
{
    struct session_env *env = c->env;
    if (c->config == env->config &&
        env->scopes[c->db->index]->version !=
            atomic_load_explicit(&env->shared->catalog_versions[c->db->slot], memory_order_acquire))
        scope_renew(env, c->db);
    if (c->temporary)
        scope_renew_own(c);
}

struct catalog *scope_private_catalog(struct client *c); /* a new one for its transaction */
/* The first shard above `above` that has temporary objects and is not `last`; -1: none. */
int scope_temporary_shard(const struct client *c, int above, unsigned last);
/* l's server has what nobody else may see, and nobody knew. */
void scope_found_temporary(struct link *l);
static inline bool scope_has_temporary(const struct link *l)
{
    return l->temporary || l->held & EFFECT_TEMPORARY;
}

/* One that is to be asked whether it has temporary objects, by scope_temporary_question, before names are looked up; NULL:
   none. Its answer is a text that stands for all of them, NULL for none. */
struct link *scope_unsure(struct client *c);
extern const char scope_temporary_question[];
void scope_note_temporary(struct link *l, struct slice answer);

#endif
