/*
 * CREATE: tables and indexes with what matters to sharding (keys that must be unique, foreign keys, generated
 * columns), views, and whatever lives on every shard or on the home shard only.
 */
#include "statement_private.h"
#include <strings.h>

static void set_kind(struct sql_statement *stmt, enum sql_statement_kind kind, const char *command)
{
    stmt->kind = kind;
    stmt->command = command;
    stmt->changes_catalog = true;
}

static void *new_array(struct convert *c, size_t n, size_t size)
{
    return arena_zalloc(c->arena, (n + 1) * size);
}

/* --- appending; the arrays have room for all elements of the statement ------------------------ */

void convert_reserve(struct convert *c, struct sql_statement *stmt, size_t n)
{
    stmt->relations = new_array(c, n, sizeof(*stmt->relations));
    stmt->columns = new_array(c, n, sizeof(char *));
    stmt->uniques = new_array(c, n * 8, sizeof(*stmt->uniques));
    stmt->foreigns = new_array(c, n * 8, sizeof(*stmt->foreigns));
    stmt->generated = new_array(c, n, sizeof(char *));
    stmt->altered = new_array(c, n, sizeof(char *));
    stmt->room = (uint32_t)n * 8;
}

static void add_unique(struct sql_statement *stmt, const char *what, const char **columns, uint32_t n)
{
    if (stmt->n_uniques < stmt->room)
        stmt->uniques[stmt->n_uniques++] =
            (struct sql_unique){.what = what, .columns = columns, .n_columns = n};
}

void convert_add_generated(struct sql_statement *stmt, const char *column)
{
    if (stmt->n_generated == 0 || stmt->generated[stmt->n_generated - 1] != column)
        stmt->generated[stmt->n_generated++] = column;
}

void convert_add_relation(struct convert *c, struct sql_statement *stmt, const PgQuery__RangeVar *rv)
{
    convert_relation(c, rv, &stmt->relations[stmt->n_relations++]);
}

/* --- constraints ------------------------------------------------------------------------------ */

static const char **index_columns(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r)
{
    const char **columns = new_array(c, n, sizeof(char *));
    *n_r = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        if (nodes[i]->node_case == PG_QUERY__NODE__NODE_INDEX_ELEM)
            columns[i] = convert_string(c, nodes[i]->index_elem->name);
    return columns;
}

/* EXCLUDE (a WITH =, b WITH &&): each entry is a list of an index element and an operator; only = counts as
 * equal. */
static const char **exclusion_columns(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r)
{
    const char **columns = new_array(c, n, sizeof(char *));
    *n_r = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        uint32_t n_names = 0;
        if (nodes[i]->node_case != PG_QUERY__NODE__NODE_LIST || nodes[i]->list->n_items != 2)
            continue;
        const PgQuery__Node *element = nodes[i]->list->items[0], *operator= nodes[i]->list->items[1];
        if (element->node_case != PG_QUERY__NODE__NODE_INDEX_ELEM || operator->node_case !=
                                                                     PG_QUERY__NODE__NODE_LIST)
            continue;
        const char **names = convert_names(c, operator->list->items, operator->list->n_items, &n_names);
        if (n_names > 0 && strcmp(names[n_names - 1], "=") == 0)
            columns[i] = convert_string(c, element->index_elem->name);
    }
    return columns;
}

static void add_foreign(struct convert *c, struct sql_statement *stmt, const PgQuery__Constraint *k,
                        const char *column)
{
    struct sql_foreign *f = &stmt->foreigns[stmt->n_foreigns];
    if (stmt->n_foreigns >= stmt->room)
        return;
    stmt->n_foreigns++;
    convert_relation(c, k->pktable, &f->relation);
    f->columns = convert_names(c, k->fk_attrs, k->n_fk_attrs, &f->n_columns);
    if (column && f->n_columns == 0) {
        f->columns = new_array(c, 1, sizeof(char *));
        f->columns[f->n_columns++] = column;
    }
    f->referenced = convert_names(c, k->pk_attrs, k->n_pk_attrs, &f->n_referenced);
}

bool convert_calls_nextval(struct convert *c, const PgQuery__Node *expr)
{
    const struct sql_statement *s = c->stmt;
    uint32_t functions = s->n_functions, attributes = s->n_attributes;
    convert_expr(c, expr);
    for (uint32_t i = functions; i < s->n_functions; i++)
        if (s->functions[i]->n_names &&
            strcmp(s->functions[i]->names[s->functions[i]->n_names - 1], "nextval") == 0)
            return true;
    for (uint32_t i = attributes; i < s->n_attributes; i++)
        for (uint32_t k = 0; k < s->attributes[i]->n_names; k++)
            if (strcmp(s->attributes[i]->names[k], "nextval") == 0)
                return true;
    return false;
}

/* column: that the constraint is written at, NULL: it is the table's. */
void convert_constraint(struct convert *c, struct sql_statement *stmt, const PgQuery__Constraint *k,
                        const char *column)
{
    uint32_t n = 0;
    const char **columns;
    switch (k->contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
        if (k->indexname[0]) /* USING INDEX: looked at when the index was made */
            return;
        columns = convert_names(c, k->keys, k->n_keys, &n);
        if (column && n == 0) {
            columns = new_array(c, 1, sizeof(char *));
            columns[n++] = column;
        }
        add_unique(stmt,
                   k->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY ? "PRIMARY KEY" : "UNIQUE constraint",
                   columns, n);
        return;
    case PG_QUERY__CONSTR_TYPE__CONSTR_EXCLUSION:
        columns = exclusion_columns(c, k->exclusions, k->n_exclusions, &n);
        add_unique(stmt, "EXCLUDE constraint", columns, n);
        return;
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
        add_foreign(c, stmt, k, column);
        return;
    case PG_QUERY__CONSTR_TYPE__CONSTR_IDENTITY:
        convert_add_generated(stmt, column);
        return;
    case PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT:
        if (convert_calls_nextval(c, k->raw_expr))
            convert_add_generated(stmt, column);
        return;
    default:
        return;
    }
}

static bool is_serial(const PgQuery__TypeName *type)
{
    static const char *const names[] = {"serial",  "serial2",   "serial4",
                                        "serial8", "bigserial", "smallserial"};
    if (!type || type->n_names != 1 || type->names[0]->node_case != PG_QUERY__NODE__NODE_STRING)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(type->names[0]->string->sval, names[i]) == 0)
            return true;
    return false;
}

void convert_column_def(struct convert *c, struct sql_statement *stmt, const PgQuery__ColumnDef *d)
{
    const char *name = arena_strdup(c->arena, d->colname);
    stmt->columns[stmt->n_columns++] = name;
    if (is_serial(d->type_name))
        convert_add_generated(stmt, name);
    for (size_t i = 0; i < d->n_constraints; i++)
        if (d->constraints[i]->node_case == PG_QUERY__NODE__NODE_CONSTRAINT)
            convert_constraint(c, stmt, d->constraints[i]->constraint, name);
}

/* --- CREATE TABLE ----------------------------------------------------------------------------- */

static void convert_table(struct convert *c, const PgQuery__CreateStmt *s, struct sql_statement *stmt,
                          const char *command)
{
    set_kind(stmt, SQL_STMT_CREATE_TABLE, command);
    convert_reserve(c, stmt, s->n_table_elts + s->n_constraints + s->n_inh_relations + 1);
    convert_add_relation(c, stmt, s->relation);
    stmt->if_exists = s->if_not_exists;
    for (size_t i = 0; i < s->n_inh_relations; i++)
        if (s->inh_relations[i]->node_case == PG_QUERY__NODE__NODE_RANGE_VAR)
            convert_add_relation(c, stmt, s->inh_relations[i]->range_var);
    stmt->n_parents = stmt->n_relations - 1;
    stmt->columns_elsewhere = stmt->n_parents > 0 || s->of_typename;
    for (size_t i = 0; i < s->n_table_elts; i++) {
        const PgQuery__Node *e = s->table_elts[i];
        if (e->node_case == PG_QUERY__NODE__NODE_COLUMN_DEF) {
            convert_column_def(c, stmt, e->column_def);
        } else if (e->node_case == PG_QUERY__NODE__NODE_CONSTRAINT) {
            convert_constraint(c, stmt, e->constraint, NULL);
        } else if (e->node_case == PG_QUERY__NODE__NODE_TABLE_LIKE_CLAUSE) {
            convert_add_relation(c, stmt, e->table_like_clause->relation);
            stmt->columns_elsewhere = true;
        }
    }
    for (size_t i = 0; i < s->n_constraints; i++)
        if (s->constraints[i]->node_case == PG_QUERY__NODE__NODE_CONSTRAINT)
            convert_constraint(c, stmt, s->constraints[i]->constraint, NULL);
}

static void convert_index(struct convert *c, const PgQuery__IndexStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_TABLES, "CREATE INDEX");
    convert_reserve(c, stmt, 1);
    convert_add_relation(c, stmt, s->relation);
    stmt->outside_transaction = s->concurrent;
    if (s->unique) {
        uint32_t n;
        const char **columns = index_columns(c, s->index_params, s->n_index_params, &n);
        add_unique(stmt, "unique index", columns, n);
    }
}

static void convert_view(struct convert *c, const PgQuery__ViewStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_CREATE_VIEW, "CREATE VIEW");
    convert_reserve(c, stmt, 1);
    convert_add_relation(c, stmt, s->view);
    stmt->query = convert_query(c, s->query);
}

static void convert_on_table(struct convert *c, struct sql_statement *stmt, const PgQuery__RangeVar *rv,
                             const char *command)
{
    set_kind(stmt, SQL_STMT_TABLES, command);
    convert_reserve(c, stmt, 1);
    convert_add_relation(c, stmt, rv);
}

static void convert_statistics(struct convert *c, const PgQuery__CreateStatsStmt *s,
                               struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_TABLES, "CREATE STATISTICS");
    convert_reserve(c, stmt, s->n_relations);
    for (size_t i = 0; i < s->n_relations; i++)
        if (s->relations[i]->node_case == PG_QUERY__NODE__NODE_RANGE_VAR)
            convert_add_relation(c, stmt, s->relations[i]->range_var);
}

static void convert_schema(const PgQuery__CreateSchemaStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, "CREATE SCHEMA");
    if (s->n_schema_elts == 0)
        return;
    stmt->kind = SQL_STMT_REFUSED;
    stmt->message = "CREATE SCHEMA with objects inside is not supported";
    stmt->hint = "Create the schema first, then each object.";
}

/* Each shard has its own copy; outside: not in a transaction block. */
static const struct {
    PgQuery__Node__NodeCase node;
    const char *command;
    bool outside;
} everywhere[] = {
    {PG_QUERY__NODE__NODE_DEFINE_STMT, "CREATE",
     false}, /* aggregates, operators, types, collations, text search */
    {PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT, "CREATE FUNCTION", false},
    {PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT, "CREATE DOMAIN", false},
    {PG_QUERY__NODE__NODE_CREATEDB_STMT, "CREATE DATABASE", true},
    {PG_QUERY__NODE__NODE_CREATE_PLANG_STMT, "CREATE LANGUAGE", false},
    {PG_QUERY__NODE__NODE_CREATE_ROLE_STMT, "CREATE ROLE", false},
    {PG_QUERY__NODE__NODE_CREATE_CONVERSION_STMT, "CREATE CONVERSION", false},
    {PG_QUERY__NODE__NODE_CREATE_CAST_STMT, "CREATE CAST", false},
    {PG_QUERY__NODE__NODE_CREATE_OP_CLASS_STMT, "CREATE OPERATOR CLASS", false},
    {PG_QUERY__NODE__NODE_CREATE_OP_FAMILY_STMT, "CREATE OPERATOR FAMILY", false},
    {PG_QUERY__NODE__NODE_CREATE_TABLE_SPACE_STMT, "CREATE TABLESPACE", true},
    {PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT, "CREATE TYPE", false},
    {PG_QUERY__NODE__NODE_CREATE_ENUM_STMT, "CREATE TYPE", false},
    {PG_QUERY__NODE__NODE_CREATE_RANGE_STMT, "CREATE TYPE", false},
    {PG_QUERY__NODE__NODE_CREATE_FDW_STMT, "CREATE FOREIGN DATA WRAPPER", false},
    {PG_QUERY__NODE__NODE_CREATE_FOREIGN_SERVER_STMT, "CREATE SERVER", false},
    {PG_QUERY__NODE__NODE_CREATE_USER_MAPPING_STMT, "CREATE USER MAPPING", false},
    {PG_QUERY__NODE__NODE_CREATE_EXTENSION_STMT, "CREATE EXTENSION", false},
    {PG_QUERY__NODE__NODE_CREATE_EVENT_TRIG_STMT, "CREATE EVENT TRIGGER", false},
    {PG_QUERY__NODE__NODE_CREATE_TRANSFORM_STMT, "CREATE TRANSFORM", false},
    {PG_QUERY__NODE__NODE_CREATE_AM_STMT, "CREATE ACCESS METHOD", false},
    {PG_QUERY__NODE__NODE_CREATE_PUBLICATION_STMT, "CREATE PUBLICATION", false},
    {PG_QUERY__NODE__NODE_CREATE_SUBSCRIPTION_STMT, "CREATE SUBSCRIPTION", true},
};

bool convert_create(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_CREATE_STMT:
        convert_table(c, node->create_stmt, stmt, "CREATE TABLE");
        return true;
    case PG_QUERY__NODE__NODE_CREATE_FOREIGN_TABLE_STMT:
        convert_table(c, node->create_foreign_table_stmt->base_stmt, stmt, "CREATE FOREIGN TABLE");
        return true;
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        convert_index(c, node->index_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_VIEW_STMT:
        convert_view(c, node->view_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
        convert_on_table(c, stmt, node->create_trig_stmt->relation, "CREATE TRIGGER");
        return true;
    case PG_QUERY__NODE__NODE_RULE_STMT:
        convert_on_table(c, stmt, node->rule_stmt->relation, "CREATE RULE");
        stmt->is_rule = true;
        return true;
    case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
        convert_on_table(c, stmt, node->create_policy_stmt->table, "CREATE POLICY");
        return true;
    case PG_QUERY__NODE__NODE_CREATE_STATS_STMT:
        convert_statistics(c, node->create_stats_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
        set_kind(stmt, SQL_STMT_HOME, "CREATE SEQUENCE");
        stmt->changes_catalog = !convert_is_temporary(node->create_seq_stmt->sequence);
        return true;
    case PG_QUERY__NODE__NODE_IMPORT_FOREIGN_SCHEMA_STMT:
        set_kind(stmt, SQL_STMT_HOME, "IMPORT FOREIGN SCHEMA");
        return true;
    case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
        convert_schema(node->create_schema_stmt, stmt);
        return true;
    default:
        break;
    }
    for (size_t i = 0; i < sizeof(everywhere) / sizeof(everywhere[0]); i++)
        if (everywhere[i].node == node->node_case) {
            set_kind(stmt, SQL_STMT_EVERYWHERE, everywhere[i].command);
            stmt->outside_transaction = everywhere[i].outside;
            return true;
        }
    return false;
}
