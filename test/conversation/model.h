/* What the files of a model server share: database.c, statement.c, catalog.c, server.c. */
#ifndef PGUNISON_TEST_CONVERSATION_MODEL_H
#define PGUNISON_TEST_CONVERSATION_MODEL_H

#include "world.h"

enum { MAX_COLS = 9, MAX_LEVELS = 16, MAX_VARS = 24, FIRST_XID = 1000 };

/* --- data ------------------------------------------------------------------------------------- */

struct version {
    int64_t id, v;
    uint64_t xmin, xmax; /* xmax 0: it stands */
};

struct table {
    struct table *next;
    char name[64];
    uint64_t xmin, xmax;
    struct session *temporary; /* whose it is; NULL: everybody's */
    struct version *rows;
    size_t n, cap;
};

struct decision_row {
    char txid[160], proof[256], outcome;
    uint64_t xmin;
};

struct advisory {
    int64_t key;
    bool shared;
    struct txn *txn;
};

struct variables {
    size_t n;
    struct {
        char name[40], value[80];
    } items[MAX_VARS];
};

/* A transaction with its savepoints: level 0 is itself. */
struct txn {
    struct session *session; /* NULL: prepared */
    bool implicit;           /* ends with the message, or at Sync */
    unsigned n_levels;
    struct {
        char name[64];
        uint64_t xid; /* 0: it has not written */
        struct variables now, later;
    } levels[MAX_LEVELS];
    bool wrote, temporary_used;
    char gid[256]; /* "": not prepared */
    uint64_t prepared_us;
    struct txn *next;
};

enum xid_state { XID_RUNNING, XID_COMMITTED, XID_ABORTED };
struct xid {
    enum xid_state state;
    struct txn *txn;
    unsigned level; /* of txn, that ends it */
};

struct shard {
    char name[16];
    bool up;
    unsigned crashes;
    struct table *tables;
    struct decision_row decisions[256];
    size_t n_decisions;
    struct xid *xids; /* from FIRST_XID on */
    size_t n_xids, cap_xids;
    struct advisory locks[64];
    size_t n_locks;
    struct txn *txns; /* all that are open or prepared */
    struct session *sessions;
    unsigned n_sessions;
};

/* --- results ---------------------------------------------------------------------------------- */

enum { OID_INT8 = 20, OID_TEXT = 25, OID_VOID = 2278 };

struct value {
    bool null, is_text;
    int64_t i;
    const char *s;
};

struct rowset {
    unsigned n_cols;
    struct {
        const char *name;
        uint32_t oid;
    } cols[MAX_COLS];
    size_t n, cap;
    struct value (*rows)[MAX_COLS];
};

enum outcome { DONE, FAILED, WAITS };

/* --- statements ------------------------------------------------------------------------------- */

enum kind {
    ST_EMPTY,
    ST_SELECT,
    ST_INSERT,
    ST_UPDATE,
    ST_DELETE,
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_SAVEPOINT,
    ST_RELEASE,
    ST_ROLLBACK_TO,
    ST_SET,
    ST_SET_TRANSACTION,
    ST_RESET,
    ST_SHOW,
    ST_DISCARD,
    ST_COPY_IN,
    ST_COPY_OUT,
    ST_PREPARE_TRANSACTION,
    ST_COMMIT_PREPARED,
    ST_ROLLBACK_PREPARED,
    ST_DECISION,
    ST_CATALOG,
    ST_CODE,
    ST_FENCE,
    ST_CREATE,
    ST_DROP,
    ST_NOTHING /* done without doing anything: with its tag */
};

enum expr_kind {
    EX_ID,
    EX_V,
    EX_INT,
    EX_TEXT,
    EX_NULL,
    EX_PARAM,
    EX_COUNT,
    EX_SUM,
    EX_MIN,
    EX_MAX,
    EX_FUNCTION
};
enum function {
    FN_SET_CONFIG,
    FN_CURRENT_SETTING,
    FN_XID,
    FN_LOCK,
    FN_LOCK_SHARED,
    FN_XACT_STATUS,
    FN_BACKEND_PID
};
struct expr {
    enum expr_kind kind;
    int64_t i;     /* INT; PARAM: which, from 0 on; SUM, MIN, MAX: of which column of VALUES, -1: of v */
    const char *s; /* TEXT */
    enum function fn;
    struct expr *args[3];
    unsigned n_args;
    int64_t add; /* EX_V, EX_INT, EX_PARAM: + this */
    const char *as;
};

enum { MAX_CONDS = 4, MAX_IN = 32, MAX_ROWS_IN = 64 };
struct cond {
    char column; /* 'i', 'v' */
    char op;     /* = < > l (<=) g (>=) i (IN) */
    struct expr *value;
    struct expr *list[MAX_IN];
    unsigned n_list;
};

struct stmt {
    enum kind kind;
    const char *sql, *name; /* name: table, savepoint, variable, gid */
    const char *tag;
    struct expr *items[MAX_COLS];
    unsigned n_items;
    struct cond conds[MAX_CONDS];
    unsigned n_conds;
    bool order, descending, order_v, chain, local, returning, if_exists, temporary, several_levels;
    int64_t limit; /* -1: none */
    struct expr *set;
    struct expr *rows[MAX_ROWS_IN][MAX_COLS]; /* of VALUES */
    unsigned n_values;                        /* FROM (VALUES ...): how many columns */
    unsigned n_rows, n_params;
    const char *value; /* SET; NULL: DEFAULT */
};

/* Reads one statement from *at on, up to its semicolon; NULL: a syntax error. */
struct stmt *statement_read(const char **at, struct error *error_r);
/* What columns it will have; false: none. */
bool statement_columns(const struct stmt *st, struct rowset *r);
enum outcome statement_execute(struct session *s, struct stmt *st, const struct value *params,
                               struct rowset *r, struct error *error_r);
bool catalog_answer(struct session *s, const struct stmt *st, struct rowset *r);

struct value *rowset_add(struct rowset *r);

/* --- database.c ------------------------------------------------------------------------------- */

struct txn *xact_open(struct session *s, bool implicit);
uint64_t xact_xid(struct shard *d, struct txn *t); /* assigns one to its present level */
void xact_end(struct shard *d, struct txn *t, bool commit);
bool xact_savepoint(struct txn *t, const char *name);
int xact_find_level(const struct txn *t, const char *name); /* -1: none */
void xact_rollback_to(struct shard *d, struct txn *t, int level);
void xact_release(struct shard *d, struct txn *t, int level);
struct table *table_find(struct session *s, const char *name);
struct table *table_add(struct shard *d, const char *name, uint64_t xmin, struct session *temporary);
bool row_visible(const struct shard *d, const struct txn *t, uint64_t xmin, uint64_t xmax);
/* Somebody else's, and not ended: whom to wait for. */
struct txn *xid_blocks(const struct shard *d, const struct txn *t, uint64_t xid);
enum outcome lock_take(struct session *s, int64_t key, bool shared, struct error *error_r);
/* The caller goes on once somebody has ended; FAILED: a deadlock. */
enum outcome session_waits_for(struct session *s, struct txn *t, struct error *error_r);
struct txn *prepared_find(struct shard *d, const char *gid);
const char *xid_status(const struct shard *d, uint64_t xid);

/* --- server.c --------------------------------------------------------------------------------- */

struct session {
    struct session *next;
    struct shard *shard;
    unsigned number;
    char user[64];
    void (*out)(void *arg, const uint8_t *bytes, size_t n);
    void (*ended)(void *arg);
    void *arg;
    bool alive;
    char status; /* I T E */
    struct txn *txn;
    struct variables now, later; /* outside a transaction they are the same */
    struct variables reported;
    struct txn *waits_for;
    struct conversation *talk; /* server.c's own */
};
void session_wake_all(struct shard *d);
void sessions_forget(struct shard *d);
unsigned session_statements(const struct session *s); /* that have a name */
void session_notice(struct session *s, const char *sqlstate, const char *text);
void session_end_block(struct session *s, bool commit);
bool variable_known(const char *name);
const char *variable_get(const struct variables *v, const char *name); /* NULL: not set */
void variable_put(struct variables *v, const char *name, const char *value);

#endif
