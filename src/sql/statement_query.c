/* SELECT, VALUES, INSERT, UPDATE, DELETE and MERGE of libpg_query's tree as struct sql_query. */
#include "statement_private.h"

static void *new_array(struct convert *c, size_t n, size_t size)
{
    return arena_zalloc(c->arena, (n + 1) * size);
}

bool convert_is_temporary(const PgQuery__RangeVar *rv)
{
    return rv->relpersistence[0] == 't' || strcmp(rv->schemaname, "pg_temp") == 0;
}

void convert_relation(struct convert *c, const PgQuery__RangeVar *rv, struct sql_relation *relation_r)
{
    *relation_r = (struct sql_relation){.at = -1};
    if (!rv)
        return;
    relation_r->schema = convert_string(c, rv->schemaname);
    relation_r->name = arena_strdup(c->arena, rv->relname);
    relation_r->at = rv->location;
    relation_r->temporary = convert_is_temporary(rv);
    if (rv->alias) {
        relation_r->alias = convert_string(c, rv->alias->aliasname);
        relation_r->columns =
            convert_names(c, rv->alias->colnames, rv->alias->n_colnames, &relation_r->n_columns);
    }
}

static struct sql_relation *new_relation(struct convert *c, const PgQuery__RangeVar *rv)
{
    struct sql_relation *r = arena_zalloc(c->arena, sizeof(*r));
    convert_relation(c, rv, r);
    return r;
}

static void convert_alias(struct convert *c, const PgQuery__Alias *alias, struct sql_relation *relation)
{
    relation->at = -1;
    if (!alias)
        return;
    relation->alias = convert_string(c, alias->aliasname);
    relation->columns = convert_names(c, alias->colnames, alias->n_colnames, &relation->n_columns);
}

/* --- FROM ------------------------------------------------------------------------------------- */

static struct sql_from *convert_from(struct convert *c, const PgQuery__Node *node);

static void convert_join(struct convert *c, const PgQuery__JoinExpr *j, struct sql_from *f)
{
    f->kind = SQL_FROM_JOIN;
    f->join = j->jointype == PG_QUERY__JOIN_TYPE__JOIN_INNER   ? SQL_JOIN_INNER
              : j->jointype == PG_QUERY__JOIN_TYPE__JOIN_LEFT  ? SQL_JOIN_LEFT
              : j->jointype == PG_QUERY__JOIN_TYPE__JOIN_RIGHT ? SQL_JOIN_RIGHT
                                                               : SQL_JOIN_FULL;
    f->natural = j->is_natural;
    f->left = convert_from(c, j->larg);
    f->right = convert_from(c, j->rarg);
    f->on = convert_expr(c, j->quals);
    f->using_names = convert_names(c, j->using_clause, j->n_using_clause, &f->n_using);
    convert_alias(c, j->alias, &f->relation);
}

static void remember_from_function(struct convert *c, struct sql_from *f)
{
    struct sql_statement *s = c->stmt;
    s->from_functions = convert_room(c, s->from_functions, s->n_from_functions, &s->cap_from_functions);
    s->from_functions[s->n_from_functions++] = f;
}

static struct sql_from *convert_from(struct convert *c, const PgQuery__Node *node)
{
    struct sql_from *f = arena_zalloc(c->arena, sizeof(*f));
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_RANGE_VAR:
        f->kind = SQL_FROM_TABLE;
        convert_relation(c, node->range_var, &f->relation);
        return f;
    case PG_QUERY__NODE__NODE_RANGE_TABLE_SAMPLE: {
        const PgQuery__RangeTableSample *s = node->range_table_sample;
        f = convert_from(c, s->relation);
        f->expr = convert_new_expr(c, SQL_EXPR_OTHER, s->location);
        f->expr->args = convert_exprs(c, s->args, s->n_args, &f->expr->n_args);
        return f;
    }
    case PG_QUERY__NODE__NODE_RANGE_SUBSELECT:
        f->kind = SQL_FROM_QUERY;
        f->lateral = node->range_subselect->lateral;
        f->query = convert_query(c, node->range_subselect->subquery);
        convert_alias(c, node->range_subselect->alias, &f->relation);
        return f;
    case PG_QUERY__NODE__NODE_JOIN_EXPR:
        convert_join(c, node->join_expr, f);
        return f;
    case PG_QUERY__NODE__NODE_RANGE_FUNCTION:
        f->kind = SQL_FROM_FUNCTION;
        f->lateral = node->range_function->lateral;
        f->expr = convert_message(c, &node->range_function->base);
        convert_alias(c, node->range_function->alias, &f->relation);
        remember_from_function(c, f);
        return f;
    case PG_QUERY__NODE__NODE_RANGE_TABLE_FUNC:
        f->kind = SQL_FROM_FUNCTION;
        f->lateral = node->range_table_func->lateral;
        f->expr = convert_message(c, &node->range_table_func->base);
        convert_alias(c, node->range_table_func->alias, &f->relation);
        return f;
    default:
        f->kind = SQL_FROM_FUNCTION;
        f->expr = convert_expr(c, node);
        f->relation.at = -1;
        return f;
    }
}

static struct sql_from **convert_from_list(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r)
{
    struct sql_from **list = new_array(c, n, sizeof(struct sql_from *));
    for (size_t i = 0; i < n; i++)
        list[i] = convert_from(c, nodes[i]);
    *n_r = (uint32_t)n;
    return list;
}

/* --- lists ------------------------------------------------------------------------------------ */

/* a[f(x)] = value: the subscripts are walked with the value. */
static struct sql_expr *with_indirection(struct convert *c, const PgQuery__ResTarget *r,
                                         struct sql_expr *value)
{
    uint32_t n;
    struct sql_expr **parts = convert_exprs(c, r->indirection, r->n_indirection, &n);
    if (n == 0)
        return value;
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_OTHER, -1);
    e->args = parts; /* room for one more */
    e->n_args = n;
    if (value)
        e->args[e->n_args++] = value;
    return e;
}

static struct sql_target *convert_targets(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r)
{
    struct sql_target *targets = new_array(c, n, sizeof(*targets));
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->node_case != PG_QUERY__NODE__NODE_RES_TARGET) {
            targets[i].value = convert_expr(c, nodes[i]);
            continue;
        }
        const PgQuery__ResTarget *r = nodes[i]->res_target;
        targets[i].name = convert_string(c, r->name);
        /* (a, b) = (...): the source stands in the first of its targets, and is walked once. */
        if (r->val && r->val->node_case == PG_QUERY__NODE__NODE_MULTI_ASSIGN_REF) {
            const PgQuery__MultiAssignRef *m = r->val->multi_assign_ref;
            targets[i].value =
                m->colno <= 1 ? convert_message(c, &m->base) : convert_new_expr(c, SQL_EXPR_OTHER, -1);
        } else {
            targets[i].value = convert_expr(c, r->val);
        }
        targets[i].value = with_indirection(c, r, targets[i].value);
    }
    *n_r = (uint32_t)n;
    return targets;
}

static void convert_with(struct convert *c, const PgQuery__WithClause *with, struct sql_query *q)
{
    if (!with)
        return;
    q->recursive = with->recursive;
    q->ctes = new_array(c, with->n_ctes, sizeof(*q->ctes));
    for (size_t i = 0; i < with->n_ctes; i++) {
        if (with->ctes[i]->node_case != PG_QUERY__NODE__NODE_COMMON_TABLE_EXPR)
            continue;
        const PgQuery__CommonTableExpr *e = with->ctes[i]->common_table_expr;
        struct sql_cte *cte = &q->ctes[q->n_ctes++];
        cte->name = arena_strdup(c->arena, e->ctename);
        cte->columns = convert_names(c, e->aliascolnames, e->n_aliascolnames, &cte->n_columns);
        cte->query = convert_query(c, e->ctequery);
    }
}

static void convert_sort(struct convert *c, PgQuery__Node **nodes, size_t n, struct sql_query *q)
{
    q->sort = new_array(c, n, sizeof(*q->sort));
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->node_case != PG_QUERY__NODE__NODE_SORT_BY)
            continue;
        const PgQuery__SortBy *s = nodes[i]->sort_by;
        struct sql_sort *sort = &q->sort[q->n_sort++];
        sort->expr = convert_expr(c, s->node);
        sort->descending = s->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
        sort->by_operator = s->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING;
        sort->nulls_first =
            s->sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST ||
            (s->sortby_nulls != PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST && sort->descending);
    }
}

static void convert_distinct(struct convert *c, const PgQuery__SelectStmt *s, struct sql_query *q)
{
    q->distinct = s->n_distinct_clause > 0; /* plain DISTINCT: a list of one empty node */
    q->distinct_on = convert_exprs(c, s->distinct_clause, s->n_distinct_clause, &q->n_distinct_on);
}

static void convert_values(struct convert *c, const PgQuery__SelectStmt *s, struct sql_query *q)
{
    q->kind = SQL_VALUES;
    q->rows = new_array(c, s->n_values_lists, sizeof(*q->rows));
    q->n_rows = (uint32_t)s->n_values_lists;
    for (size_t i = 0; i < s->n_values_lists; i++)
        if (s->values_lists[i]->node_case == PG_QUERY__NODE__NODE_LIST)
            q->rows[i].values = convert_exprs(c, s->values_lists[i]->list->items,
                                              s->values_lists[i]->list->n_items, &q->rows[i].n_values);
}

struct sql_query *convert_select(struct convert *c, const PgQuery__SelectStmt *s)
{
    struct sql_query *q = arena_zalloc(c->arena, sizeof(*q));
    q->kind = SQL_SELECT;
    convert_with(c, s->with_clause, q);
    if (s->op != PG_QUERY__SET_OPERATION__SETOP_NONE &&
        s->op != PG_QUERY__SET_OPERATION__SET_OPERATION_UNDEFINED) {
        q->kind = SQL_SETOP;
        q->left = convert_select(c, s->larg);
        q->right = convert_select(c, s->rarg);
        q->into = q->left->into;
    } else if (s->n_values_lists > 0) {
        convert_values(c, s, q);
    }
    convert_distinct(c, s, q);
    if (s->into_clause)
        q->into = new_relation(c, s->into_clause->rel);
    q->targets = convert_targets(c, s->target_list, s->n_target_list, &q->n_targets);
    q->from = convert_from_list(c, s->from_clause, s->n_from_clause, &q->n_from);
    q->where = convert_expr(c, s->where_clause);
    q->group = convert_exprs(c, s->group_clause, s->n_group_clause, &q->n_group);
    q->having = convert_expr(c, s->having_clause);
    q->windows = convert_exprs(c, s->window_clause, s->n_window_clause, &q->n_windows);
    convert_sort(c, s->sort_clause, s->n_sort_clause, q);
    q->limit = convert_expr(c, s->limit_count);
    q->limit_one = q->limit && q->limit->kind == SQL_EXPR_LITERAL && q->limit->at < 0;
    q->offset = convert_expr(c, s->limit_offset);
    q->with_ties = s->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES;
    q->locks_rows = s->n_locking_clause > 0;
    return q;
}

/* --- writes ----------------------------------------------------------------------------------- */

static void convert_conflict(struct convert *c, const PgQuery__OnConflictClause *o, struct sql_query *q)
{
    if (!o)
        return;
    q->conflict = o->action == PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_UPDATE ? SQL_CONFLICT_UPDATE
                                                                               : SQL_CONFLICT_NOTHING;
    q->conflict_set = convert_targets(c, o->target_list, o->n_target_list, &q->n_conflict_set);
    q->others = new_array(c, 2, sizeof(struct sql_expr *));
    struct sql_expr *where = convert_expr(c, o->where_clause);
    if (where)
        q->others[q->n_others++] = where;
    if (!o->infer)
        return;
    q->others[q->n_others++] = convert_message(c, &o->infer->base);
    q->conflict_columns = new_array(c, o->infer->n_index_elems, sizeof(char *));
    for (size_t i = 0; i < o->infer->n_index_elems; i++)
        if (o->infer->index_elems[i]->node_case == PG_QUERY__NODE__NODE_INDEX_ELEM)
            q->conflict_columns[q->n_conflict_columns++] =
                convert_string(c, o->infer->index_elems[i]->index_elem->name);
}

static struct sql_query *convert_insert(struct convert *c, const PgQuery__InsertStmt *i)
{
    struct sql_query *q = arena_zalloc(c->arena, sizeof(*q));
    q->kind = SQL_INSERT;
    convert_with(c, i->with_clause, q);
    q->relation = new_relation(c, i->relation);
    q->targets = convert_targets(c, i->cols, i->n_cols, &q->n_targets);
    q->source = i->select_stmt ? convert_query(c, i->select_stmt) : NULL;
    convert_conflict(c, i->on_conflict_clause, q);
    q->returning = convert_targets(c, i->returning_list, i->n_returning_list, &q->n_returning);
    return q;
}

static struct sql_query *convert_update(struct convert *c, const PgQuery__UpdateStmt *u)
{
    struct sql_query *q = arena_zalloc(c->arena, sizeof(*q));
    q->kind = SQL_UPDATE;
    convert_with(c, u->with_clause, q);
    q->relation = new_relation(c, u->relation);
    q->targets = convert_targets(c, u->target_list, u->n_target_list, &q->n_targets);
    q->from = convert_from_list(c, u->from_clause, u->n_from_clause, &q->n_from);
    q->where = convert_expr(c, u->where_clause);
    q->returning = convert_targets(c, u->returning_list, u->n_returning_list, &q->n_returning);
    return q;
}

static struct sql_query *convert_delete(struct convert *c, const PgQuery__DeleteStmt *d)
{
    struct sql_query *q = arena_zalloc(c->arena, sizeof(*q));
    q->kind = SQL_DELETE;
    convert_with(c, d->with_clause, q);
    q->relation = new_relation(c, d->relation);
    q->from = convert_from_list(c, d->using_clause, d->n_using_clause, &q->n_from);
    q->where = convert_expr(c, d->where_clause);
    q->returning = convert_targets(c, d->returning_list, d->n_returning_list, &q->n_returning);
    return q;
}

static struct sql_query *convert_merge(struct convert *c, const PgQuery__MergeStmt *m)
{
    struct sql_query *q = arena_zalloc(c->arena, sizeof(*q));
    q->kind = SQL_MERGE;
    convert_with(c, m->with_clause, q);
    q->relation = new_relation(c, m->relation);
    q->from = new_array(c, 1, sizeof(struct sql_from *));
    if (m->source_relation)
        q->from[q->n_from++] = convert_from(c, m->source_relation);
    q->where = convert_expr(c, m->join_condition);
    q->others = convert_exprs(c, m->merge_when_clauses, m->n_merge_when_clauses, &q->n_others);
    return q;
}

struct sql_query *convert_query(struct convert *c, const PgQuery__Node *node)
{
    if (!node)
        return NULL;
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_SELECT_STMT:
        return convert_select(c, node->select_stmt);
    case PG_QUERY__NODE__NODE_INSERT_STMT:
        return convert_insert(c, node->insert_stmt);
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
        return convert_update(c, node->update_stmt);
    case PG_QUERY__NODE__NODE_DELETE_STMT:
        return convert_delete(c, node->delete_stmt);
    case PG_QUERY__NODE__NODE_MERGE_STMT:
        return convert_merge(c, node->merge_stmt);
    default:
        return NULL;
    }
}
