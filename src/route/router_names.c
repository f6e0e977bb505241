/*
 * What a name means: a relation, and where it lives; a column, and whose it is; the name that a select list's
 * entry gets.
 *
 * A name whose meaning is not certain counts as unknown. Scopes are searched outward, as the server does.
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

bool names_have(const char **names, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (names[i] && strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void place_leaf(struct router *r, struct leaf *leaf)
{
    const struct relation *info = leaf->info;
    leaf->map = info->map;
    leaf->place = PLACE_HOME;
    if (info->view_of)
        r->view = leaf;
    if (!info->exists && !r->missing)
        r->missing = leaf;
    if (!info->map)
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
    const struct relation_column *column = relation_column(info, leaf->key, NULL);
    leaf->key_type = column ? column->type_oid : 0;
    if (info->exists && !info->buckets && !r->map_error) {
        r->map_error = arena_alloc(r->arena, sizeof(*r->map_error));
        if (info->map_error)
            *r->map_error = *info->map_error;
        else
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
        r->too_many = true; /* also while something else is still to be loaded */
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
    leaf->info = r->in->relation(r->in->arg, relation->schema ? relation->schema : "", relation->name);
    if (!leaf->info)
        r->needs_catalog = true;
    else
        place_leaf(r, leaf);
    return leaf;
}

/* --- columns ---------------------------------------------------------------------------------- */

struct term term_of_column(const struct leaf *leaf, uint32_t index)
{
    const struct relation_column *column = &leaf->info->columns[index];
    struct term term = {.leaf = leaf, .column = column->name, .type_oid = column->type_oid};
    /* Equality under a nondeterministic collation is not equality of bytes: nothing follows from it here. */
    if (hash_family_of(column->type_oid) == HASH_TEXT && column->collation_oid != 0 && !column->deterministic)
        term.leaf = NULL;
    return term;
}

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
    if (!relation_column(leaf->info, name, &index))
        return false;
    *term_r = term_of_column(leaf, index);
    return true;
}

bool leaf_has_column(const struct leaf *leaf, const char *name)
{
    return names_have(leaf->relation->columns, leaf->relation->n_columns, name) ||
           (leaf->info && relation_column(leaf->info, name, NULL));
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

/* --- scopes ----------------------------------------------------------------------------------- */

static uint64_t name_hash(uint64_t h, const char *name)
{
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

/* A block's nodes by what they are called: per name a chain, in order. */
struct callers {
    struct caller {
        const char *name; /* NULL: free */
        struct from_node *first, *last;
    } * slots;
    uint32_t n, n_slots;
};

static const char *name_of(const struct from_node *node)
{
    const struct sql_relation *rel = &node->from->relation;
    return rel->alias ? rel->alias : rel->name;
}

static struct caller *caller_of(const struct callers *c, const char *name)
{
    uint32_t slot = (uint32_t)(name_hash(0, name) >> 16) & (c->n_slots - 1);
    while (c->slots[slot].name && strcmp(c->slots[slot].name, name) != 0)
        slot = (slot + 1) & (c->n_slots - 1);
    return &c->slots[slot];
}

static void grow_callers(struct router *r, struct callers *c)
{
    struct callers grown = {.n = c->n, .n_slots = c->n_slots ? c->n_slots * 2 : 16};
    grown.slots = arena_zalloc(r->arena, grown.n_slots * sizeof(*grown.slots));
    for (uint32_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].name)
            *caller_of(&grown, c->slots[i].name) = c->slots[i];
    *c = grown;
}

static void add_caller(struct router *r, struct scope *s, struct from_node *node)
{
    const char *name = name_of(node);
    if (!s->callers)
        s->callers = arena_zalloc(r->arena, sizeof(*s->callers));
    if (!name)
        return;
    if (s->callers->n * 2 >= s->callers->n_slots)
        grow_callers(r, s->callers);
    struct caller *c = caller_of(s->callers, name);
    if (c->name) {
        c->last->next_called = node;
    } else {
        c->name = name;
        c->first = node;
        s->callers->n++;
    }
    c->last = node;
}

void scope_add(struct router *r, struct scope *s, struct from_node *node)
{
    if (s->n_nodes == s->cap_nodes) {
        uint32_t cap = s->cap_nodes ? s->cap_nodes * 2 : 8;
        struct from_node **grown = arena_alloc(r->arena, cap * sizeof(struct from_node *));
        if (s->n_nodes)
            memcpy(grown, s->nodes, s->n_nodes * sizeof(struct from_node *));
        s->nodes = grown;
        s->cap_nodes = cap;
    }
    node->position = s->n_nodes;
    s->nodes[s->n_nodes++] = node;
    add_caller(r, s, node);
}

/* The first node of a scope that a qualified name means; NULL: none. */
static const struct from_node *called_node(const struct scope *s, const struct sql_expr *e)
{
    if (!s->callers || s->callers->n == 0)
        return NULL;
    const struct from_node *node = caller_of(s->callers, e->names[e->n_names - 2])->first;
    for (; node; node = node->next_called)
        if (node->position >= s->first && node->position - s->first < s->n_nodes && node_is_called(node, e))
            return node;
    return NULL;
}

/* --- columns and their tables ------------------------------------------------------------------ */

/* 1: it is term_r (whose leaf is NULL if nothing is known of it); 0: the scope has no such column; -1: it might. */
static int column_of_scope(struct router *r, const struct scope *s, const char *name, struct term *term_r)
{
    for (const struct merged_column *m = s->merged; m != s->merged_end; m = m->next)
        if (router_spend(r, 1) || strcmp(m->name, name) == 0) {
            *term_r = m->term;
            return 1;
        }
    bool unsure = s->opaque;
    for (uint32_t i = 0; i < s->n_nodes && !router_spend(r, 1); i++) {
        int found = column_of_node(s->nodes[i], name, term_r);
        if (found == 1 && s->opaque)
            term_r->leaf = NULL;
        if (found == 1)
            return 1;
        unsure |= found < 0;
    }
    return unsure ? -1 : 0;
}

static bool find_term(struct router *r, const struct sql_expr *e, const struct scope *scope,
                      struct term *term_r)
{
    const char *name = e->names[e->n_names - 1];
    for (; scope; scope = scope->outer) {
        if (e->n_names > 1) {
            const struct from_node *node = called_node(scope, e);
            if (node)
                return column_of_node(node, name, term_r) == 1 && term_r->leaf;
            continue;
        }
        int found = column_of_scope(r, scope, name, term_r);
        if (found != 0)
            return found > 0 && term_r->leaf != NULL;
    }
    return false;
}

/* What names meant, as long as the scope stays as it is. */
struct name_memo {
    struct name_memo_entry {
        const struct sql_expr *e; /* NULL: free */
        struct term term;
        bool found;
    } * slots;
    uint32_t n, n_slots, n_nodes;
    const struct merged_column *merged;
    bool opaque;
};

static bool same_column(const struct sql_expr *a, const struct sql_expr *b)
{
    if (a->n_names != b->n_names)
        return false;
    for (uint32_t i = 0; i < a->n_names; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

static struct name_memo_entry *memo_slot(const struct name_memo *m, const struct sql_expr *e)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < e->n_names; i++)
        h = name_hash(h, e->names[i]);
    uint32_t slot = (uint32_t)(h >> 16) & (m->n_slots - 1);
    while (m->slots[slot].e && !same_column(m->slots[slot].e, e))
        slot = (slot + 1) & (m->n_slots - 1);
    return &m->slots[slot];
}

static void grow_memo(struct router *r, struct name_memo *m)
{
    struct name_memo grown = *m;
    grown.n_slots = m->n_slots ? m->n_slots * 2 : 8;
    grown.slots = arena_zalloc(r->arena, grown.n_slots * sizeof(*grown.slots));
    for (uint32_t i = 0; i < m->n_slots; i++)
        if (m->slots[i].e)
            *memo_slot(&grown, m->slots[i].e) = m->slots[i];
    *m = grown;
}

static struct name_memo *memo_of(struct router *r, struct scope *s)
{
    struct name_memo *m = s->memo;
    if (!m)
        m = s->memo = arena_zalloc(r->arena, sizeof(*m));
    if (m->n_nodes != s->n_nodes || m->merged != s->merged || m->opaque != s->opaque)
        *m = (struct name_memo){.n_nodes = s->n_nodes, .merged = s->merged, .opaque = s->opaque};
    if (m->n * 2 >= m->n_slots)
        grow_memo(r, m);
    return m;
}

bool resolve_column(struct router *r, const struct sql_expr *e, const struct scope *scope,
                    struct term *term_r)
{
    *term_r = (struct term){0};
    if (e->kind != SQL_EXPR_COLUMN || e->n_names == 0 || !scope)
        return false;
    struct name_memo *m =
        memo_of(r, (struct scope *)scope); /* what it remembers changes nothing of what it is */
    struct name_memo_entry *entry = memo_slot(m, e);
    if (!entry->e) {
        *entry = (struct name_memo_entry){.e = e};
        entry->found = find_term(r, e, scope, &entry->term);
        m->n++;
    }
    *term_r = entry->term;
    return entry->found;
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
