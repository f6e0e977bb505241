/*
 * What a name means: a relation, and where it lives; a column, and whose it is; the name that a select list's
 * entry gets.
 *
 * A name that cannot be told for sure is told as unknown. Scopes are searched outward, as the server does.
 */
#include "router_private.h"

/* --- relations -------------------------------------------------------------------------------- */

static bool is_system(const struct sql_relation *rel)
{
    if (rel->schema)
        return strcmp(rel->schema, "pg_catalog") == 0 || strcmp(rel->schema, "information_schema") == 0 ||
               strcmp(rel->schema, "pg_toast") == 0;
    return strncmp(rel->name, "pg_", 3) == 0;
}

const struct table_column *find_column(const struct table_info *info, const char *name, uint32_t *index_r)
{
    for (uint16_t i = 0; info && i < info->n_columns; i++)
        if (strcmp(info->columns[i].name, name) == 0) {
            if (index_r)
                *index_r = i;
            return &info->columns[i];
        }
    return NULL;
}

static void place_leaf(struct router *r, struct leaf *leaf)
{
    const struct table_info *info = leaf->info;
    leaf->map = info->map;
    leaf->place = PLACE_HOME;
    if (info->view_of)
        r->view = leaf;
    if (!info->exists && !r->missing)
        r->missing = leaf;
    if (!info->map || info->temporary)
        return;
    switch (info->map->method) {
    case TABLE_REFERENCE:
        leaf->place = PLACE_REFERENCE;
        return;
    case TABLE_SINGLE:
        leaf->place = PLACE_SINGLE;
        return;
    case TABLE_HASH:
    case TABLE_RANGE:
    case TABLE_LIST:
        break;
    }
    leaf->place = PLACE_KEYED;
    leaf->key = info->map->column;
    const struct table_column *column = find_column(info, leaf->key, NULL);
    leaf->key_type = column ? column->type_oid : 0;
    if (info->exists && !info->buckets && !r->map_error) {
        r->map_error = arena_alloc(r->arena, sizeof(*r->map_error));
        *r->map_error = info->map_error;
        if (!info->map_error.sqlstate[0])
            error_set(r->map_error, SQLSTATE_CONFIG, "table \"%s\" has no column \"%s\" to be sharded by",
                      info->name, leaf->key);
    }
}

struct leaf *bind_relation(struct router *r, const struct sql_relation *relation)
{
    struct leaf *leaf = arena_zalloc(r->arena, sizeof(*leaf));
    leaf->relation = relation;
    leaf->place = PLACE_HOME;
    if (r->n_leaves >= ROUTER_MAX_LEAVES) {
        r->too_many = true;
        return leaf;
    }
    if (r->n_leaves == r->cap_leaves) {
        uint32_t cap = r->cap_leaves ? r->cap_leaves * 2 : 16;
        struct leaf **grown = arena_alloc(r->arena, cap * sizeof(struct leaf *));
        if (r->n_leaves)
            memcpy(grown, r->leaves, r->n_leaves * sizeof(struct leaf *));
        r->leaves = grown;
        r->cap_leaves = cap;
    }
    r->leaves[r->n_leaves++] = leaf;
    if (is_system(relation))
        return leaf;
    leaf->info = r->in->table(r->in->arg, relation->schema ? relation->schema : "", relation->name);
    if (!leaf->info)
        r->needs_catalog = true;
    else
        place_leaf(r, leaf);
    return leaf;
}

/* --- columns ---------------------------------------------------------------------------------- */

static bool term_of_leaf(struct leaf *leaf, const char *name, struct term *term_r)
{
    const struct sql_relation *rel = leaf->relation;
    for (uint32_t i = 0; i < rel->n_columns; i++) /* t AS x (a, b) */
        if (strcmp(rel->columns[i], name) == 0) {
            if (!leaf->info || i >= leaf->info->n_columns)
                return false;
            name = leaf->info->columns[i].name;
            break;
        }
    uint32_t index;
    const struct table_column *column = find_column(leaf->info, name, &index);
    if (!column)
        return false;
    *term_r = (struct term){.leaf = leaf, .column = column->name, .type_oid = column->type_oid};
    /* Equality under a nondeterministic collation is not equality of bytes: nothing follows from it here. */
    if (hash_family_of(column->type_oid) == HASH_TEXT && column->collation_oid != 0 && !column->deterministic)
        term_r->leaf = NULL;
    return true;
}

/* 1: found (the term's leaf is NULL if nothing is known of it); 0: this node has no such column; -1: it
 * might. */
int column_of_node(const struct from_node *node, const char *name, struct term *term_r)
{
    if (node->from->kind == SQL_FROM_TABLE && node->leaf && node->leaf->place != PLACE_DERIVED)
        return term_of_leaf(node->leaf, name, term_r) ? 1 : node->leaf->info ? 0 : -1;
    bool unsure = !node->outputs_known;
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        unsure |= !node->outputs[i].name;
        if (node->outputs[i].name && strcmp(node->outputs[i].name, name) == 0) {
            *term_r = node->outputs[i].term;
            return 1;
        }
    }
    return unsure ? -1 : 0;
}

bool node_is_called(const struct from_node *node, const struct sql_expr *e)
{
    const char *qualifier = e->names[e->n_names - 2];
    const struct sql_relation *rel = &node->from->relation;
    if (rel->alias)
        return e->n_names == 2 && strcmp(rel->alias, qualifier) == 0;
    if (!rel->name || strcmp(rel->name, qualifier) != 0)
        return false;
    return e->n_names == 2 || (rel->schema && strcmp(rel->schema, e->names[e->n_names - 3]) == 0);
}

bool resolve_column(const struct router *r, const struct sql_expr *e, const struct scope *scope,
                    struct term *term_r)
{
    (void)r;
    *term_r = (struct term){0};
    if (e->kind != SQL_EXPR_COLUMN || e->n_names == 0)
        return false;
    const char *name = e->names[e->n_names - 1];
    for (; scope; scope = scope->outer) {
        for (uint32_t i = 0; i < scope->n_nodes && e->n_names > 1; i++)
            if (node_is_called(scope->nodes[i], e))
                return column_of_node(scope->nodes[i], name, term_r) == 1 && term_r->leaf;
        if (e->n_names > 1)
            continue;
        for (const struct merged_column *m = scope->merged; m; m = m->next)
            if (strcmp(m->name, name) == 0) {
                *term_r = m->term;
                return term_r->leaf != NULL;
            }
        bool unsure = scope->opaque;
        for (uint32_t i = 0; i < scope->n_nodes; i++) {
            int found = column_of_node(scope->nodes[i], name, term_r);
            if (found == 1)
                return !scope->opaque && term_r->leaf != NULL;
            unsure |= found < 0;
        }
        if (unsure)
            return false;
    }
    return false;
}

/* --- output names ----------------------------------------------------------------------------- */

/* As src/backend/parser/parse_target.c's FigureColname() does it; strength: how sure a name is, a cast's type
 * gives way to a column. */
static const char *figure_name(const struct sql_expr *e, int *strength_r)
{
    const char *name;
    *strength_r = 0;
    switch (e->kind) {
    case SQL_EXPR_COLUMN:
    case SQL_EXPR_FUNCTION:
        *strength_r = 2;
        return e->n_names ? e->names[e->n_names - 1] : NULL;
    case SQL_EXPR_COLLATE:
        return e->n_args ? figure_name(e->args[0], strength_r) : NULL;
    case SQL_EXPR_CAST:
        name = e->n_args ? figure_name(e->args[0], strength_r) : NULL;
        if (!name || *strength_r > 1)
            return name;
        *strength_r = 1;
        return e->n_names ? e->names[e->n_names - 1] : NULL;
    case SQL_EXPR_LITERAL:
    case SQL_EXPR_PARAM:
    case SQL_EXPR_NULL:
    case SQL_EXPR_OPERATOR:
    case SQL_EXPR_AND:
    case SQL_EXPR_OR:
    case SQL_EXPR_NOT:
        return "?column?";
    default: /* the server has names for these too, which do not matter enough to repeat its rules */
        return NULL;
    }
}

const char *output_name(const struct sql_expr *e)
{
    int strength;
    return figure_name(e, &strength);
}
