/*
 * What a statement may leave behind in its server's session (sql/effects.h): by its kind, by the functions that it calls,
 * and by the code behind the relations that it names (views, triggers, defaults, checks, policies). What functions and
 * relations do stands in the catalog; a function that nobody knows may do anything.
 * A statement that only reads may write as well, by the same code: then its shard takes part in the commit.
 * Operators, casts and types of the application's own: router_own.c.
 */
#include "router_private.h"

#include "sql/effects.h"

static uint16_t effects_of_kind(const struct sql_statement *stmt)
{
    switch (stmt->kind) {
    case SQL_STMT_LISTEN:
        return EFFECT_LISTEN;
    case SQL_STMT_PREPARE:
    case SQL_STMT_DEALLOCATE:
        return EFFECT_PREPARED;
    case SQL_STMT_EXECUTE:
        return EFFECTS_UNSEEN; /* of another statement, which was seen before, by another plan */
    case SQL_STMT_DECLARE:
        return stmt->hold ? EFFECT_CURSOR : 0;
    case SQL_STMT_CLOSE:
        return EFFECT_CURSOR;
    case SQL_STMT_DISCARD:
        return strcmp(stmt->name, "TEMP") == 0        ? EFFECT_TEMPORARY
               : strcmp(stmt->name, "SEQUENCES") == 0 ? EFFECT_SEQUENCE_END
                                                      : 0;
    case SQL_STMT_DO:
        return strcmp(stmt->command, "DO") == 0 ? EFFECTS_UNSEEN : 0;
    case SQL_STMT_CREATE_TABLE_AS:
    case SQL_STMT_TABLES:
    case SQL_STMT_CREATE_TABLE:
    case SQL_STMT_CREATE_VIEW:
    case SQL_STMT_HOME:
    case SQL_STMT_EVERYWHERE:
        return EFFECTS_ASKED |
               EFFECT_SEQUENCE; /* temporary objects; event triggers, defaults of new columns */
    default:
        return 0;
    }
}

/* A name that is not a literal, or is one of a custom variable, which no query lists. */
static uint16_t effects_of_set_config(struct router *r, const struct sql_expr *call)
{
    const struct sql_expr *name = call->n_args ? call->args[0] : NULL;
    if (!name || name->kind != SQL_EXPR_LITERAL || !name->text || name->number == SQL_NO_LITERAL)
        return EFFECT_VARIABLE | EFFECT_HIDDEN;
    plan_pin(r, name->number);
    return strchr(name->text, '.') ? EFFECT_VARIABLE | EFFECT_HIDDEN : EFFECT_VARIABLE;
}

static uint16_t effects_of_call(struct router *r, const struct sql_expr *call)
{
    uint16_t known = call->call.own ? 0 : effects_of_builtin(function_name(call));
    if (known == EFFECT_VARIABLE)
        return effects_of_set_config(r, call);
    if (known || function_class(call) != FUNCTION_UNKNOWN)
        return known;
    if (!r->in->function || call->n_names == 0 || call->n_names > 2)
        return EFFECTS_UNSEEN;
    if (!r->in->function(r->in->arg, call->n_names == 2 ? call->names[0] : "", function_name(call), &known))
        r->needs_catalog = true;
    return known;
}

static bool is_ddl(const struct sql_statement *stmt)
{
    return effects_of_kind(stmt) == (EFFECTS_ASKED | EFFECT_SEQUENCE);
}

bool code_writes(const struct router *r)
{
    uint16_t effects = r->own_effects;
    for (uint32_t i = 0; i < r->n_leaves; i++)
        if (r->leaves[i]->info)
            effects |= r->leaves[i]->info->effects_read;
    return (effects & EFFECT_WRITES) != 0;
}

void plan_effects(struct router *r, const struct sql_statement *stmt)
{
    uint16_t effects = (uint16_t)(r->own_effects | effects_of_kind(stmt));
    if (stmt->changes_defaults) {
        effects |= EFFECT_DEFAULTS;
        r->plan->defaults_of = stmt->defaults_of;
        if (stmt->defaults_role)
            r->plan->defaults_role = arena_strdup(&r->plan->arena, stmt->defaults_role);
    }
    r->plan->names_relations = r->n_leaves > 0 || is_ddl(stmt);
    for (const struct sql_statement *s = stmt->inner; s; s = s->inner)
        effects |= effects_of_kind(s);
    plan_attributes(r);
    for (uint32_t i = 0; i < r->n_functions; i++)
        effects |= effects_of_call(r, r->functions[i]);
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        if (!leaf->info && leaf->written && leaf->relation &&
            strcmp(leaf->relation->name, "pg_settings") == 0)
            effects |= EFFECT_VARIABLE; /* by its rule */
        if (leaf->info)
            effects |= leaf->written || is_ddl(stmt) ? leaf->info->effects_written : leaf->info->effects_read;
    }
    if (r->plan->kind == PLAN_REFUSE || r->too_many)
        effects =
            EFFECTS_UNSEEN; /* it may yet run, on a shard named by hand, and not all of it was looked at */
    r->plan->effects = (uint16_t)(effects & ~(unsigned)EFFECT_WRITES);
}
