/* COPY's columns and options, in the new form WITH (...) and in the old ones: the grammar makes them alike.
 */
#include "statement_private.h"
#include <strings.h>

static const char *option_string(struct convert *c, const PgQuery__Node *arg)
{
    if (!arg)
        return NULL;
    if (arg->node_case == PG_QUERY__NODE__NODE_STRING)
        return arena_strdup(c->arena, arg->string->sval);
    if (arg->node_case == PG_QUERY__NODE__NODE_INTEGER)
        return arena_printf(c->arena, "%d", arg->integer->ival);
    if (arg->node_case == PG_QUERY__NODE__NODE_BOOLEAN)
        return arg->boolean->boolval ? "true" : "false";
    return NULL;
}

static bool option_true(struct convert *c, const PgQuery__Node *arg)
{
    const char *text = option_string(c, arg);
    return !text ||
           (strcasecmp(text, "false") != 0 && strcasecmp(text, "off") != 0 && strcmp(text, "0") != 0);
}

static const char **option_list(struct convert *c, const PgQuery__Node *arg, uint32_t *n_r)
{
    *n_r = 0;
    if (!arg || arg->node_case != PG_QUERY__NODE__NODE_LIST)
        return NULL;
    return convert_names(c, arg->list->items, arg->list->n_items, n_r);
}

static void convert_option(struct convert *c, const PgQuery__DefElem *d, struct sql_copy *copy)
{
    const char *name = d->defname;
    if (strcmp(name, "format") == 0) {
        const char *format = option_string(c, d->arg);
        copy->format = format && strcmp(format, "csv") == 0      ? SQL_COPY_CSV
                       : format && strcmp(format, "binary") == 0 ? SQL_COPY_BINARY
                                                                 : SQL_COPY_TEXT;
    } else if (strcmp(name, "delimiter") == 0) {
        copy->delimiter = option_string(c, d->arg);
    } else if (strcmp(name, "quote") == 0) {
        copy->quote = option_string(c, d->arg);
    } else if (strcmp(name, "escape") == 0) {
        copy->escape = option_string(c, d->arg);
    } else if (strcmp(name, "null") == 0) {
        copy->null_string = option_string(c, d->arg);
    } else if (strcmp(name, "header") == 0) {
        copy->header = option_true(c, d->arg);
    } else if (strcmp(name, "encoding") == 0) {
        copy->encoding = option_string(c, d->arg);
    } else if (strcmp(name, "force_null") == 0) {
        copy->force_null = option_list(c, d->arg, &copy->n_force_null);
    } else if (strcmp(name, "force_not_null") == 0) {
        copy->force_not_null = option_list(c, d->arg, &copy->n_force_not_null);
    }
}

void convert_copy(struct convert *c, const PgQuery__CopyStmt *s, struct sql_statement *stmt)
{
    stmt->kind = SQL_STMT_COPY;
    stmt->command = "COPY";
    struct sql_copy *copy = &stmt->copy;
    copy->from = s->is_from;
    copy->program = s->is_program;
    copy->filename = convert_string(c, s->filename);
    if (s->n_attlist > 0)
        copy->columns = convert_names(c, s->attlist, s->n_attlist, &copy->n_columns);
    for (size_t i = 0; i < s->n_options; i++)
        if (s->options[i]->node_case == PG_QUERY__NODE__NODE_DEF_ELEM)
            convert_option(c, s->options[i]->def_elem, copy);
    (void)convert_expr(c, s->where_clause); /* for its functions */
    stmt->query = convert_query(c, s->query);
    if (s->relation) {
        stmt->relations = arena_zalloc(c->arena, sizeof(*stmt->relations));
        stmt->n_relations = 1;
        convert_relation(c, s->relation, &stmt->relations[0]);
    }
}
