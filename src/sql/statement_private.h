/* Inside src/sql only: from libpg_query's protobuf tree to include/sql/statement.h. */
#ifndef PGUNISON_SQL_STATEMENT_PRIVATE_H
#define PGUNISON_SQL_STATEMENT_PRIVATE_H

#include "sql/parse.h"
#include <pg_query/pg_query.pb-c.h>

struct convert {
    struct arena *arena;
    const struct template *t;
    struct sql_statement *stmt;
    uint32_t cap_params; /* room in stmt->param_uses */
};

/* parse.c: the deepest nesting, and what one level of it takes of the stack, in the parser and the walkers over its trees. */
#define SQL_MAX_NESTING 10000
#ifdef __SANITIZE_ADDRESS__
#define SQL_STACK_PER_LEVEL ((size_t)16 * 1024)
#else
#define SQL_STACK_PER_LEVEL ((size_t)5 * 1024)
#endif

/* statement_expr.c. NULL node: NULL. */
struct sql_expr *convert_expr(struct convert *c, const PgQuery__Node *node);
void convert_call(struct convert *c, const PgQuery__FuncCall *f); /* CALL: among the statement's functions */
struct sql_expr **convert_exprs(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r);
struct sql_expr *convert_new_expr(struct convert *c, enum sql_expr_kind kind, int32_t at);
struct sql_expr *convert_message(struct convert *c,
                                 const ProtobufCMessage *message); /* OTHER: everything inside */
const char *convert_string(struct convert *c, const char *s);      /* "" becomes NULL */
/* The Strings of a list; other nodes are left out. */
const char **convert_names(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r);
/* A list that holds n of cap pointers, with room for one more. */
void *convert_room(struct convert *c, void *list, uint32_t n, uint32_t *cap);

/* statement_query.c */
struct sql_query *
convert_query(struct convert *c,
              const PgQuery__Node *node); /* NULL: not SELECT, INSERT, UPDATE, DELETE, MERGE */
struct sql_query *convert_select(struct convert *c, const PgQuery__SelectStmt *s);
void convert_relation(struct convert *c, const PgQuery__RangeVar *rv, struct sql_relation *relation_r);
bool convert_is_temporary(const PgQuery__RangeVar *rv); /* by its own words */

/* statement_create.c: lists of a CREATE TABLE or ALTER TABLE of n parts. */
void convert_reserve(struct convert *c, struct sql_statement *stmt, size_t n);
void convert_add_relation(struct convert *c, struct sql_statement *stmt, const PgQuery__RangeVar *rv);
void convert_add_generated(struct sql_statement *stmt, const char *column);
void convert_constraint(struct convert *c, struct sql_statement *stmt, const PgQuery__Constraint *k,
                        const char *column);
void convert_column_def(struct convert *c, struct sql_statement *stmt, const PgQuery__ColumnDef *d);

bool convert_calls_nextval(struct convert *c, const PgQuery__Node *expr);

/* statement.c, statement_create.c, statement_alter.c, statement_copy.c. False: not a statement of this file.
 */
void convert_statement(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt);
bool convert_create(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt);
bool convert_alter(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt);
void convert_copy(struct convert *c, const PgQuery__CopyStmt *copy, struct sql_statement *stmt);

#endif
