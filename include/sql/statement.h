/*
 * What one SQL statement says, as far as routing needs it: a small plain-C syntax tree made from PostgreSQL's
 * own grammar. Everything lives in the arena given to sql_parse() (sql/parse.h). Names are folded as the
 * grammar folds them. Nothing is dropped in silence: an expression that has no kind of its own here is
 * SQL_EXPR_OTHER with all its parts as arguments, so that no table, function or parameter inside it can be
 * missed.
 */
#ifndef PGUNISON_SQL_STATEMENT_H
#define PGUNISON_SQL_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SQL_NO_LITERAL UINT32_MAX

struct sql_query;

enum sql_expr_kind {
    SQL_EXPR_COLUMN,  /* names: column, or qualifier..., column; whole-row references too (they look alike) */
    SQL_EXPR_STAR,    /* names: the qualifiers of t.*, none for * */
    SQL_EXPR_LITERAL, /* number: in the template; text: its value, with the sign */
    SQL_EXPR_PARAM,   /* number: of $n, from 1 */
    SQL_EXPR_NULL,
    SQL_EXPR_BOOL,     /* TRUE or FALSE; negative: FALSE */
    SQL_EXPR_CAST,     /* args[0]::type */
    SQL_EXPR_OPERATOR, /* names[last]: the operator; args: one or two */
    SQL_EXPR_AND,
    SQL_EXPR_OR,
    SQL_EXPR_NOT,
    SQL_EXPR_IN,        /* args[0] IN (args[1] ...) */
    SQL_EXPR_ANY_ARRAY, /* args[0] = ANY (args[1]) */
    SQL_EXPR_FUNCTION,  /* names, args; call */
    SQL_EXPR_SUBLINK,   /* query; args[0]: what is compared, if anything */
    SQL_EXPR_ARRAY,     /* ARRAY[args] */
    SQL_EXPR_ROW,
    SQL_EXPR_COLLATE,        /* args[0] COLLATE names */
    SQL_EXPR_DEFAULT,        /* DEFAULT as a value */
    SQL_EXPR_VALUE_FUNCTION, /* CURRENT_TIMESTAMP and its like */
    SQL_EXPR_GROUPING_SETS,  /* ROLLUP, CUBE, GROUPING SETS, () */
    SQL_EXPR_CURRENT_OF,     /* WHERE CURRENT OF cursor: names[0] */
    SQL_EXPR_OTHER           /* args: everything inside it */
};

enum sql_sublink { SQL_SUBLINK_EXISTS, SQL_SUBLINK_IN /* = ANY, IN */, SQL_SUBLINK_OTHER };

struct sql_call {
    bool star; /* count(*) */
    bool distinct, ordered, within_group, variadic, over;
    bool filter; /* the condition is the last of args */
    bool own; /* the router's: it may be a function of the application's that bears a built-in one's name */
};

struct sql_expr {
    enum sql_expr_kind kind;
    int32_t at; /* byte offset in the statement, -1: unknown */
    struct sql_expr **args;
    uint32_t n_args;
    const char **names;
    uint32_t n_names;
    uint32_t number;
    uint32_t use;  /* PARAM, SUBLINK: which one of the statement, counted from 0 */
    bool negative; /* LITERAL: a minus sign belongs to it */
    const char *text;
    uint32_t type_oid; /* CAST: of a built-in key type without modifier, 0: some other type */
    bool type_array;   /* CAST: to an array of it */
    enum sql_sublink sublink;
    struct sql_call call;
    struct sql_query *query;
};

struct sql_target {
    const char *name;       /* AS name; INSERT: column; UPDATE: column assigned; NULL: none */
    struct sql_expr *value; /* NULL in INSERT's column list */
};

struct sql_relation {
    const char *schema, *name; /* schema NULL: not qualified */
    const char *alias;         /* NULL: none */
    const char **columns;      /* alias (a, b, ...) */
    uint32_t n_columns;
    bool temporary; /* as the target of CREATE: TEMP, or schema pg_temp */
    int32_t at;
};

enum sql_from_kind {
    SQL_FROM_TABLE,    /* relation (may turn out to be a CTE); expr: TABLESAMPLE's arguments or NULL */
    SQL_FROM_QUERY,    /* query, alias in relation */
    SQL_FROM_FUNCTION, /* expr, alias in relation; also XMLTABLE and its like */
    SQL_FROM_JOIN
};
enum sql_join { SQL_JOIN_INNER, SQL_JOIN_LEFT, SQL_JOIN_RIGHT, SQL_JOIN_FULL };
struct sql_from {
    enum sql_from_kind kind;
    struct sql_relation relation;
    struct sql_query *query;
    struct sql_expr *expr;
    bool lateral;
    enum sql_join join;
    bool natural;
    struct sql_from *left, *right;
    struct sql_expr *on;
    const char **using_names;
    uint32_t n_using;
};

struct sql_cte {
    const char *name;
    const char **columns;
    uint32_t n_columns;
    struct sql_query *query;
};

struct sql_sort {
    struct sql_expr *expr;
    bool descending, nulls_first, by_operator;
};

enum sql_query_kind { SQL_SELECT, SQL_VALUES, SQL_SETOP, SQL_INSERT, SQL_UPDATE, SQL_DELETE, SQL_MERGE };
enum sql_conflict { SQL_CONFLICT_NONE, SQL_CONFLICT_NOTHING, SQL_CONFLICT_UPDATE };

struct sql_row {
    struct sql_expr **values;
    uint32_t n_values;
};

struct sql_query {
    enum sql_query_kind kind;
    struct sql_cte *ctes;
    uint32_t n_ctes;
    bool recursive;
    /* SELECT's list; UPDATE's assignments; INSERT's column list. */
    struct sql_target *targets;
    uint32_t n_targets;
    bool distinct; /* DISTINCT or DISTINCT ON */
    struct sql_expr **distinct_on;
    uint32_t n_distinct_on;
    struct sql_from **from; /* SELECT; UPDATE's FROM, DELETE's USING, MERGE's source */
    uint32_t n_from;
    struct sql_expr *where; /* MERGE: the join condition */
    struct sql_expr **group;
    uint32_t n_group;
    struct sql_expr *having;
    struct sql_expr **windows; /* the WINDOW clause's expressions */
    uint32_t n_windows;
    struct sql_sort *sort;
    uint32_t n_sort;
    struct sql_expr *limit, *offset; /* NULL: none */
    bool limit_one;                  /* FETCH FIRST ROW ONLY: limit is a literal that is not written */
    bool with_ties;
    bool locks_rows;           /* FOR UPDATE, FOR SHARE ... */
    struct sql_relation *into; /* SELECT INTO */
    /* SETOP */
    struct sql_query *left, *right;
    /* VALUES */
    struct sql_row *rows;
    uint32_t n_rows;
    /* INSERT, UPDATE, DELETE, MERGE */
    struct sql_relation *relation;
    struct sql_query *source; /* INSERT: its SELECT or VALUES; NULL: DEFAULT VALUES */
    enum sql_conflict conflict;
    const char **conflict_columns; /* ON CONFLICT (...): NULL entries: expressions */
    uint32_t n_conflict_columns;
    struct sql_target *conflict_set;
    uint32_t n_conflict_set;
    struct sql_expr **others; /* ON CONFLICT's and MERGE's further expressions */
    uint32_t n_others;
    struct sql_target *returning;
    uint32_t n_returning;
};

enum sql_statement_kind {
    SQL_STMT_EMPTY,
    SQL_STMT_QUERY, /* query */
    SQL_STMT_BEGIN,
    SQL_STMT_COMMIT,
    SQL_STMT_ROLLBACK,
    SQL_STMT_SAVEPOINT,
    SQL_STMT_RELEASE,
    SQL_STMT_ROLLBACK_TO,
    SQL_STMT_PREPARED_TRANSACTION, /* PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED: name, command */
    SQL_STMT_SET_TRANSACTION,      /* also SET CONSTRAINTS; message, hint: why it is for one shard only */
    SQL_STMT_SET,                  /* name NULL: SESSION CHARACTERISTICS, modes */
    SQL_STMT_RESET,
    SQL_STMT_RESET_ALL,
    SQL_STMT_SHOW,
    SQL_STMT_DISCARD, /* name: ALL, PLANS, SEQUENCES, TEMP */
    SQL_STMT_PREPARE,
    SQL_STMT_EXECUTE,
    SQL_STMT_DEALLOCATE,
    SQL_STMT_DECLARE,
    SQL_STMT_FETCH,
    SQL_STMT_CLOSE,
    SQL_STMT_COPY,
    SQL_STMT_EXPLAIN,         /* query or another statement inside */
    SQL_STMT_CREATE_TABLE_AS, /* relations[0]: what is made; query: from what */
    SQL_STMT_LISTEN,
    SQL_STMT_NOTIFY,
    SQL_STMT_DO,           /* DO, CALL: code that could do anything */
    SQL_STMT_TABLES,       /* acts on relations, which exist */
    SQL_STMT_CREATE_TABLE, /* relations[0] */
    SQL_STMT_CREATE_VIEW,  /* relations[0], query */
    SQL_STMT_HOME,         /* acts on something that lives on the home shard only: sequences */
    SQL_STMT_EVERYWHERE, /* acts on something that every shard has its own copy of: schemas, types, functions,
                            roles ... */
    SQL_STMT_REFUSED     /* message and hint */
};

struct sql_modes { /* -1: not given */
    int isolation, read_only, deferrable;
};

/* A key that must be unique over all rows: PRIMARY KEY, UNIQUE, EXCLUDE, a unique index. */
struct sql_unique {
    const char *what;     /* "PRIMARY KEY", "UNIQUE constraint", ... */
    const char **columns; /* NULL entries: expressions */
    uint32_t n_columns;
};

/* A foreign key of the table that the statement is about. */
struct sql_foreign {
    struct sql_relation relation;       /* that it refers to */
    const char **columns, **referenced; /* n_referenced 0: the primary key */
    uint32_t n_columns, n_referenced;
};

enum sql_copy_format { SQL_COPY_TEXT, SQL_COPY_CSV, SQL_COPY_BINARY };
struct sql_copy {
    bool from, program;
    const char *filename; /* NULL: STDIN, STDOUT */
    enum sql_copy_format format;
    const char *delimiter, *quote, *escape, *null_string, *encoding; /* NULL: the default */
    bool header;
    const char **columns; /* NULL: all */
    uint32_t n_columns;
    const char **force_null, **force_not_null; /* COPY FROM, CSV */
    uint32_t n_force_null, n_force_not_null;
};

enum sql_role { SQL_ROLE_ALL, SQL_ROLE_NAMED, SQL_ROLE_CURRENT, SQL_ROLE_SESSION };

struct sql_statement {
    enum sql_statement_kind kind;
    const char *command; /* "SELECT", "CREATE TABLE", ... */
    struct sql_query *query;
    struct sql_statement *inner; /* EXPLAIN, PREPARE, DECLARE of it */
    const char *name;  /* savepoint, variable, cursor, prepared statement, channel; NULL: ALL or none */
    const char *value; /* SET: the one value as text, NULL: a list or DEFAULT */
    bool value_default, local, chain, hold, explain_route, explain_analyze;
    struct sql_modes modes;
    struct sql_copy copy;
    /* DDL and other utility statements. */
    struct sql_relation *relations;
    uint32_t n_relations;
    bool if_exists, drops, outside_transaction;
    bool of_a_part; /* maintenance that makes sense for one shard's part of the rows alone */
    bool changes_catalog;
    bool changes_defaults;     /* ALTER ROLE ... SET and its like: what sessions begin with */
    enum sql_role defaults_of; /* ... of whom */
    const char *defaults_role; /* SQL_ROLE_NAMED */
    bool is_rule;              /* CREATE RULE: rewrites statements on the relation */
    bool changes_partitions;   /* relations[1] becomes a child of relations[0] */
    /* CREATE TABLE, ALTER TABLE, CREATE INDEX. relations[0]: the table; CREATE TABLE: further ones are
     * parents, then those of LIKE. */
    uint32_t n_parents;
    bool columns_elsewhere; /* LIKE, INHERITS, OF, PARTITION OF: not all columns stand in the statement */
    const char **columns;   /* CREATE TABLE: in the statement */
    uint32_t n_columns;
    struct sql_unique *uniques;
    uint32_t n_uniques;
    struct sql_foreign *foreigns;
    uint32_t n_foreigns;
    const char **generated; /* columns with serial, identity or nextval() */
    uint32_t n_generated;
    const char **altered; /* columns dropped, renamed or retyped */
    uint32_t n_altered;
    uint32_t room;                /* private: of uniques and foreigns */
    struct sql_relation *renamed; /* the relation itself becomes this; NULL parts stay as they are */
    const char *message, *hint;   /* REFUSED */
    const char *sqlstate;
    /* Over the whole statement. */
    struct sql_expr **functions; /* every function call */
    uint32_t n_functions, cap_functions;
    /* x.name, (x).name: a column, or a call of the function of that name. COLUMN with names; OTHER: each of its names. */
    struct sql_expr **attributes;
    uint32_t n_attributes, cap_attributes;
    struct sql_from **from_functions; /* functions in FROM: the name of one may mean its bare value */
    uint32_t n_from_functions, cap_from_functions;
    bool has_value_function;
    uint32_t n_params;    /* highest $n */
    uint32_t *param_uses; /* [n_params]: how often each stands in the text */
    uint32_t n_param_exprs, n_sublinks;
};

#endif
