/*
 * Statements by kind: transaction control, variables, cursors, prepared statements and the like here, queries
 * in statement_query.c, COPY in statement_copy.c, DDL in statement_create.c and statement_alter.c. What to do
 * about a statement is not decided here but in src/route.
 */
#include "statement_private.h"
#include <strings.h>

enum { CURSOR_OPTION_HOLD = 0x0020 }; /* src/include/nodes/parsenodes.h */

static void set_kind(struct sql_statement *stmt, enum sql_statement_kind kind, const char *command)
{
    stmt->kind = kind;
    stmt->command = command;
}

static void refuse(struct sql_statement *stmt, const char *command, const char *message, const char *hint)
{
    set_kind(stmt, SQL_STMT_REFUSED, command);
    stmt->message = message;
    stmt->hint = hint;
}

/* --- transactions ----------------------------------------------------------------------------- */

/* Value of an option: a string or integer constant as text. */
static const char *option_text(struct convert *c, const PgQuery__DefElem *d)
{
    if (!d->arg)
        return "";
    if (d->arg->node_case == PG_QUERY__NODE__NODE_STRING)
        return arena_strdup(c->arena, d->arg->string->sval);
    struct sql_expr *e = convert_expr(c, d->arg);
    return e && e->text ? e->text : "";
}

static void convert_modes(struct convert *c, PgQuery__Node **options, size_t n, struct sql_modes *m)
{
    static const char *const levels[] = {"read uncommitted", "read committed", "repeatable read",
                                         "serializable"};
    *m = (struct sql_modes){-1, -1, -1};
    for (size_t i = 0; i < n; i++) {
        if (options[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM)
            continue;
        const PgQuery__DefElem *d = options[i]->def_elem;
        const char *text = option_text(c, d);
        if (strcmp(d->defname, "transaction_isolation") == 0) {
            for (int l = 0; l < 4; l++)
                if (strcasecmp(text, levels[l]) == 0)
                    m->isolation = l;
        } else if (strcmp(d->defname, "transaction_read_only") == 0) {
            m->read_only = strcmp(text, "0") != 0;
        } else if (strcmp(d->defname, "transaction_deferrable") == 0) {
            m->deferrable = strcmp(text, "0") != 0;
        }
    }
}

static void convert_transaction(struct convert *c, const PgQuery__TransactionStmt *t,
                                struct sql_statement *stmt)
{
    stmt->name = convert_string(c, t->savepoint_name);
    stmt->chain = t->chain;
    convert_modes(c, t->options, t->n_options, &stmt->modes);
    switch (t->kind) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
        set_kind(stmt, SQL_STMT_BEGIN, "BEGIN");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
        set_kind(stmt, SQL_STMT_BEGIN, "START TRANSACTION");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT:
        set_kind(stmt, SQL_STMT_COMMIT, "COMMIT");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK:
        set_kind(stmt, SQL_STMT_ROLLBACK, "ROLLBACK");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
        set_kind(stmt, SQL_STMT_SAVEPOINT, "SAVEPOINT");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
        set_kind(stmt, SQL_STMT_RELEASE, "RELEASE");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO:
        set_kind(stmt, SQL_STMT_ROLLBACK_TO, "ROLLBACK");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED:
        set_kind(stmt, SQL_STMT_PREPARED_TRANSACTION, "COMMIT PREPARED");
        break;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_PREPARED:
        set_kind(stmt, SQL_STMT_PREPARED_TRANSACTION, "ROLLBACK PREPARED");
        break;
    default:
        set_kind(stmt, SQL_STMT_PREPARED_TRANSACTION, "PREPARE TRANSACTION");
        break;
    }
    if (stmt->kind == SQL_STMT_PREPARED_TRANSACTION)
        stmt->name = convert_string(c, t->gid);
}

/* --- variables -------------------------------------------------------------------------------- */

/* SET transaction_isolation = ... and its like are SET TRANSACTION by another name, whose values only the server can
   read in all their spellings; the level is needed here as well. */
static void convert_set_mode(struct sql_statement *stmt)
{
    static const char *const levels[] = {"read uncommitted", "read committed", "repeatable read",
                                         "serializable"};
    if (strcmp(stmt->name, "transaction_isolation") != 0 &&
        strcmp(stmt->name, "transaction_read_only") != 0 && strcmp(stmt->name, "transaction_deferrable") != 0)
        return;
    stmt->modes = (struct sql_modes){-1, -1, -1};
    for (int l = 0; l < 4 && stmt->value && stmt->name[12] == 'i'; l++)
        if (strcasecmp(stmt->value, levels[l]) == 0)
            stmt->modes.isolation = l;
    stmt->kind = SQL_STMT_SET_TRANSACTION;
    stmt->name = NULL;
}

static void convert_set(struct convert *c, const PgQuery__VariableSetStmt *v, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_SET, "SET");
    char *name = arena_strdup(c->arena, v->name);
    for (char *p = name; *p; p++) /* variables' names ignore case, also quoted ones */
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    stmt->name = name;
    stmt->local = v->is_local;
    switch (v->kind) {
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
        stmt->value_default = true;
        convert_set_mode(stmt);
        return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
        set_kind(stmt, SQL_STMT_RESET, "RESET");
        stmt->value_default = true;
        convert_set_mode(stmt);
        return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
        set_kind(stmt, SQL_STMT_RESET_ALL, "RESET");
        stmt->name = NULL;
        return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI:
        stmt->name = NULL;
        stmt->modes = (struct sql_modes){-1, -1, -1};
        if (strcmp(v->name, "TRANSACTION SNAPSHOT") == 0) {
            set_kind(stmt, SQL_STMT_SET_TRANSACTION, "SET");
            stmt->message = "SET TRANSACTION SNAPSHOT is not supported";
            stmt->hint = "Use REPEATABLE READ: such a transaction reads one cut of all shards.";
            return;
        }
        convert_modes(c, v->args, v->n_args, &stmt->modes);
        if (strcmp(v->name, "TRANSACTION") == 0)
            set_kind(stmt, SQL_STMT_SET_TRANSACTION, "SET"); /* else SESSION CHARACTERISTICS */
        return;
    default:
        break;
    }
    if (v->n_args == 1) {
        struct sql_expr *e = convert_expr(c, v->args[0]);
        stmt->value = e && e->kind == SQL_EXPR_LITERAL ? e->text : NULL;
    }
    convert_set_mode(stmt);
}

static void convert_discard(const PgQuery__DiscardStmt *d, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_DISCARD, "DISCARD");
    stmt->name = d->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL         ? "ALL"
                 : d->target == PG_QUERY__DISCARD_MODE__DISCARD_PLANS     ? "PLANS"
                 : d->target == PG_QUERY__DISCARD_MODE__DISCARD_SEQUENCES ? "SEQUENCES"
                                                                          : "TEMP";
}

static void convert_constraints(const PgQuery__ConstraintsSetStmt *s, struct sql_statement *stmt)
{
    if (s->n_constraints > 0) { /* not every shard need have them */
        stmt->message = "SET CONSTRAINTS with names is not supported";
        stmt->hint = "Use SET CONSTRAINTS ALL.";
    }
    /* Like SET TRANSACTION it must hold on every shard that the transaction ever joins. */
    set_kind(stmt, SQL_STMT_SET_TRANSACTION, "SET CONSTRAINTS");
    stmt->modes = (struct sql_modes){-1, -1, -1};
}

/* --- cursors, prepared statements, EXPLAIN ---------------------------------------------------- */

/* The whole-statement facts (functions, parameters) are gathered in c->stmt, the outermost statement. */
static struct sql_statement *convert_inner(struct convert *c, const PgQuery__Node *node)
{
    struct sql_statement *inner = arena_zalloc(c->arena, sizeof(*inner));
    inner->command = "";
    if (node)
        convert_statement(c, node, inner);
    return inner;
}

static bool option_on(struct convert *c, const PgQuery__DefElem *d)
{
    const char *text = option_text(c, d);
    return strcasecmp(text, "false") != 0 && strcasecmp(text, "off") != 0 && strcmp(text, "0") != 0;
}

static void convert_explain(struct convert *c, const PgQuery__ExplainStmt *e, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EXPLAIN, "EXPLAIN");
    for (size_t i = 0; i < e->n_options; i++) {
        if (e->options[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM)
            continue;
        const PgQuery__DefElem *d = e->options[i]->def_elem;
        if (strcmp(d->defname, "route") == 0 && option_on(c, d))
            stmt->explain_route = true;
        if (strcmp(d->defname, "analyze") == 0 && option_on(c, d))
            stmt->explain_analyze = true;
    }
    stmt->inner = convert_inner(c, e->query);
}

static void convert_declare(struct convert *c, const PgQuery__DeclareCursorStmt *d,
                            struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_DECLARE, "DECLARE CURSOR");
    stmt->name = convert_string(c, d->portalname);
    stmt->hold = (d->options & CURSOR_OPTION_HOLD) != 0;
    stmt->inner = convert_inner(c, d->query);
}

static void convert_named(struct convert *c, struct sql_statement *stmt, enum sql_statement_kind kind,
                          const char *command, const char *name)
{
    set_kind(stmt, kind, command);
    stmt->name = convert_string(c, name);
}

static void convert_create_as(struct convert *c, const PgQuery__CreateTableAsStmt *a,
                              struct sql_statement *stmt)
{
    bool matview = a->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW;
    set_kind(stmt, SQL_STMT_CREATE_TABLE_AS, matview ? "CREATE MATERIALIZED VIEW" : "CREATE TABLE AS");
    stmt->changes_catalog = true;
    stmt->relations = arena_zalloc(c->arena, sizeof(*stmt->relations));
    stmt->n_relations = 1;
    convert_relation(c, a->into ? a->into->rel : NULL, &stmt->relations[0]);
    if (a->query && a->query->node_case == PG_QUERY__NODE__NODE_EXECUTE_STMT) {
        refuse(stmt, stmt->command, "CREATE TABLE AS EXECUTE is not supported", "Write the query itself.");
        return;
    }
    stmt->query = convert_query(c, a->query);
}

static const char *query_command(const struct sql_query *q)
{
    switch (q->kind) {
    case SQL_INSERT:
        return "INSERT";
    case SQL_UPDATE:
        return "UPDATE";
    case SQL_DELETE:
        return "DELETE";
    case SQL_MERGE:
        return "MERGE";
    default:
        return "SELECT";
    }
}

static void convert_query_statement(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    stmt->query = convert_query(c, node);
    set_kind(stmt, SQL_STMT_QUERY, query_command(stmt->query));
    if (!stmt->query->into)
        return;
    set_kind(stmt, SQL_STMT_CREATE_TABLE_AS, "SELECT INTO");
    stmt->changes_catalog = true;
    stmt->relations = stmt->query->into;
    stmt->n_relations = 1;
}

void convert_statement(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_SELECT_STMT:
    case PG_QUERY__NODE__NODE_INSERT_STMT:
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
    case PG_QUERY__NODE__NODE_DELETE_STMT:
    case PG_QUERY__NODE__NODE_MERGE_STMT:
        convert_query_statement(c, node, stmt);
        return;
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
        convert_transaction(c, node->transaction_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
        convert_set(c, node->variable_set_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
        convert_named(c, stmt, SQL_STMT_SHOW, "SHOW", node->variable_show_stmt->name);
        return;
    case PG_QUERY__NODE__NODE_DISCARD_STMT:
        convert_discard(node->discard_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
        convert_constraints(node->constraints_set_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
        convert_explain(c, node->explain_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT:
        convert_declare(c, node->declare_cursor_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_FETCH_STMT:
        convert_named(c, stmt, SQL_STMT_FETCH, node->fetch_stmt->ismove ? "MOVE" : "FETCH",
                      node->fetch_stmt->portalname);
        return;
    case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
        convert_named(c, stmt, SQL_STMT_CLOSE, "CLOSE CURSOR", node->close_portal_stmt->portalname);
        return;
    case PG_QUERY__NODE__NODE_PREPARE_STMT:
        convert_named(c, stmt, SQL_STMT_PREPARE, "PREPARE", node->prepare_stmt->name);
        stmt->inner = convert_inner(c, node->prepare_stmt->query);
        return;
    case PG_QUERY__NODE__NODE_EXECUTE_STMT:
        convert_named(c, stmt, SQL_STMT_EXECUTE, "EXECUTE", node->execute_stmt->name);
        return;
    case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
        convert_named(c, stmt, SQL_STMT_DEALLOCATE, "DEALLOCATE", node->deallocate_stmt->name);
        return;
    case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
        convert_create_as(c, node->create_table_as_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_COPY_STMT:
        convert_copy(c, node->copy_stmt, stmt);
        return;
    case PG_QUERY__NODE__NODE_LISTEN_STMT:
        convert_named(c, stmt, SQL_STMT_LISTEN, "LISTEN", node->listen_stmt->conditionname);
        return;
    case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
        convert_named(c, stmt, SQL_STMT_LISTEN, "UNLISTEN", node->unlisten_stmt->conditionname);
        return;
    case PG_QUERY__NODE__NODE_NOTIFY_STMT:
        convert_named(c, stmt, SQL_STMT_NOTIFY, "NOTIFY", node->notify_stmt->conditionname);
        return;
    case PG_QUERY__NODE__NODE_DO_STMT:
        set_kind(stmt, SQL_STMT_DO, "DO");
        return;
    case PG_QUERY__NODE__NODE_CALL_STMT:
        set_kind(stmt, SQL_STMT_DO, "CALL");
        convert_call(c, node->call_stmt->funccall);
        return;
    default:
        break;
    }
    if (!convert_create(c, node, stmt) && !convert_alter(c, node, stmt))
        refuse(stmt, "?", "this kind of statement is not supported", "Run it on the shards directly.");
}
