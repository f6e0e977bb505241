/*
 * The SQL that a model server reads: one table shape (id int8, v int8), transactions, variables, and what the proxy itself
 * sends. A statement that is not known fails the run, unless it is the client's that is wrong on purpose ("selec").
 */
#include "model.h"

#include <ctype.h>
#include <strings.h>

/* --- words ------------------------------------------------------------------------------------ */

struct text {
    const char *at;
    bool bad;
};

static void blank(struct text *t)
{
    for (;;) {
        while (isspace((unsigned char)*t->at))
            t->at++;
        if (strncmp(t->at, "/*", 2) == 0) {
            const char *end = strstr(t->at, "*/");
            t->at = end ? end + 2 : t->at + strlen(t->at);
        } else {
            return;
        }
    }
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* Keywords, and names with their schema. */
static bool word(struct text *t, const char *w)
{
    size_t n = strlen(w);
    blank(t);
    if (strncasecmp(t->at, w, n) != 0 || (is_word(w[n - 1]) && w[n - 1] != '.' && is_word(t->at[n])))
        return false;
    t->at += n;
    return true;
}

static bool words(struct text *t, const char *a, const char *b)
{
    const char *before = t->at;
    if (word(t, a) && word(t, b))
        return true;
    t->at = before;
    return false;
}

static void need(struct text *t, const char *w)
{
    if (!word(t, w))
        t->bad = true;
}

static const char *name_of(struct text *t)
{
    blank(t);
    const char *from = t->at;
    if (*from == '"') {
        const char *end = strchr(from + 1, '"');
        if (!end)
            return t->bad = true, "";
        t->at = end + 1;
        return arena_strndup(&world.arena, from + 1, (size_t)(end - from - 1));
    }
    while (is_word(*t->at))
        t->at++;
    if (t->at == from)
        return t->bad = true, "";
    char *name = arena_strndup(&world.arena, from, (size_t)(t->at - from));
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return strncmp(name, "public.", 7) == 0 ? name + 7 : name;
}

static const char *literal(struct text *t)
{
    struct buf b;
    blank(t);
    if (*t->at != '\'')
        return NULL;
    buf_init(&b);
    for (t->at++; *t->at; t->at++) {
        if (*t->at == '\'' && t->at[1] != '\'')
            break;
        if (*t->at == '\'')
            t->at++;
        buf_u8(&b, (uint8_t)*t->at);
    }
    if (*t->at)
        t->at++;
    else
        t->bad = true;
    char *s = arena_strndup(&world.arena, buf_len(&b) ? (const char *)buf_head(&b) : "", buf_len(&b));
    buf_free(&b);
    return s;
}

static bool number(struct text *t, int64_t *i_r)
{
    char *end;
    blank(t);
    if (!isdigit((unsigned char)*t->at) && !(*t->at == '-' && isdigit((unsigned char)t->at[1])))
        return false;
    *i_r = strtoll(t->at, &end, 10);
    t->at = end;
    return true;
}

/* Where the statement ends: at a semicolon outside literals and quoted names, or with the text. */
static const char *end_of(const char *at)
{
    char quote = 0;
    for (; *at && (quote || *at != ';'); at++)
        if (quote ? *at == quote : *at == '\'' || *at == '"')
            quote = quote ? 0 : *at;
    return at;
}

/* --- expressions ------------------------------------------------------------------------------ */

static struct expr *expression(struct text *t, struct stmt *st);

static void cast(struct text *t)
{
    while (word(t, "::"))
        (void)name_of(t);
}

static struct expr *new_expr(enum expr_kind kind)
{
    struct expr *e = arena_alloc(&world.arena, sizeof *e);
    *e = (struct expr){.kind = kind};
    return e;
}

static struct expr *call(struct text *t, struct stmt *st, enum function fn)
{
    struct expr *e = new_expr(EX_FUNCTION);
    e->fn = fn;
    if (word(t, ")"))
        return e;
    do {
        if (e->n_args == 3)
            return t->bad = true, e;
        e->args[e->n_args++] = expression(t, st);
    } while (word(t, ","));
    need(t, ")");
    return e;
}

static const struct {
    const char *name;
    enum function fn;
} functions[] = {
    {"set_config(", FN_SET_CONFIG},
    {"current_setting(", FN_CURRENT_SETTING},
    {"pg_current_xact_id(", FN_XID},
    {"pg_advisory_xact_lock(", FN_LOCK},
    {"pg_advisory_xact_lock_shared(", FN_LOCK_SHARED},
    {"pg_xact_status(", FN_XACT_STATUS},
    {"pg_backend_pid(", FN_BACKEND_PID},
};

/* c0, c1, ... */
static int64_t column_number(struct text *t)
{
    int64_t i = -1;
    blank(t);
    if (*t->at != 'c')
        return t->bad = true, -1;
    t->at++;
    if (!number(t, &i))
        t->bad = true;
    return i;
}

static struct expr *aggregate(struct text *t, enum expr_kind kind)
{
    struct expr *e = new_expr(kind);
    e->i = -1;
    if (kind == EX_COUNT)
        need(t, "*");
    else if (!word(t, "v"))
        e->i = column_number(t);
    need(t, ")");
    return e;
}

static struct expr *plain_expression(struct text *t, struct stmt *st)
{
    int64_t i;
    const char *s;
    struct expr *e;
    (void)word(t, "pg_catalog.");
    if ((s = literal(t))) {
        e = new_expr(EX_TEXT);
        e->s = s;
        return e;
    }
    if (number(t, &i)) {
        e = new_expr(EX_INT);
        e->i = i;
        return e;
    }
    blank(t);
    if (*t->at == '$' && isdigit((unsigned char)t->at[1])) {
        e = new_expr(EX_PARAM);
        e->i = strtol(t->at + 1, (char **)(uintptr_t)&t->at, 10) - 1;
        if ((unsigned)e->i + 1 > st->n_params)
            st->n_params = (unsigned)e->i + 1;
        return e;
    }
    for (size_t k = 0; k < sizeof functions / sizeof functions[0]; k++) {
        const char *before = t->at;
        (void)word(t, "pg_catalog.");
        if (strncasecmp(t->at, functions[k].name, strlen(functions[k].name)) == 0) {
            t->at += strlen(functions[k].name);
            return call(t, st, functions[k].fn);
        }
        t->at = before;
    }
    if (word(t, "count("))
        return aggregate(t, EX_COUNT);
    if (word(t, "sum("))
        return aggregate(t, EX_SUM);
    if (word(t, "min("))
        return aggregate(t, EX_MIN);
    if (word(t, "max("))
        return aggregate(t, EX_MAX);
    if (word(t, "id"))
        return new_expr(EX_ID);
    if (word(t, "v"))
        return new_expr(EX_V);
    if (word(t, "null"))
        return new_expr(EX_NULL);
    if (word(t, "true") || word(t, "false")) {
        e = new_expr(EX_TEXT);
        e->s = tolower((unsigned char)t->at[-2]) == 'u' ? "true" : "false";
        return e;
    }
    t->bad = true;
    return new_expr(EX_NULL);
}

static struct expr *expression(struct text *t, struct stmt *st)
{
    struct expr *e = plain_expression(t, st);
    int64_t i = 0;
    cast(t);
    bool plus = word(t, "+"), minus = !plus && word(t, "-");
    if ((plus || minus) && !number(t, &i))
        t->bad = true;
    e->add = minus ? -i : i;
    return e;
}

/* --- statements ------------------------------------------------------------------------------- */

static void where(struct text *t, struct stmt *st)
{
    if (!word(t, "where"))
        return;
    do {
        struct cond *c = &st->conds[st->n_conds];
        if (st->n_conds++ == MAX_CONDS) {
            t->bad = true;
            return;
        }
        *c = (struct cond){.column = word(t, "id") ? 'i' : word(t, "v") ? 'v' : '?'};
        c->op = word(t, "<=")   ? 'l'
                : word(t, ">=") ? 'g'
                : word(t, "=")  ? '='
                : word(t, "<")  ? '<'
                : word(t, ">")  ? '>'
                                : 'i';
        if (c->op == 'i') {
            need(t, "in");
            need(t, "(");
            do {
                if (c->n_list == MAX_IN) {
                    t->bad = true;
                    return;
                }
                c->list[c->n_list++] = expression(t, st);
            } while (word(t, ","));
            need(t, ")");
        } else {
            c->value = expression(t, st);
        }
        if (c->column == '?')
            t->bad = true;
    } while (word(t, "and"));
}

static void items(struct text *t, struct stmt *st)
{
    if (word(t, "*")) {
        st->items[st->n_items++] = new_expr(EX_ID);
        st->items[st->n_items++] = new_expr(EX_V);
        return;
    }
    do {
        if (st->n_items == MAX_COLS) {
            t->bad = true;
            return;
        }
        struct expr *e = st->items[st->n_items++] = expression(t, st);
        if (word(t, "as"))
            e->as = name_of(t);
    } while (word(t, ","));
}

static void returning(struct text *t, struct stmt *st)
{
    if (word(t, "returning")) {
        st->returning = true;
        items(t, st);
    }
}

/* (VALUES ($1, $2), ($3, $4)) AS v(c0, c1) */
static void read_values(struct text *t, struct stmt *st)
{
    need(t, "values");
    do {
        unsigned n = 0;
        need(t, "(");
        do
            st->rows[st->n_rows][n++] = expression(t, st);
        while (word(t, ",") && n < MAX_COLS);
        need(t, ")");
        st->n_values = n;
        st->n_rows++;
    } while (word(t, ",") && st->n_rows < MAX_ROWS_IN);
    need(t, ")");
    need(t, "as");
    need(t, "v");
    need(t, "(");
    do
        (void)column_number(t);
    while (word(t, ","));
    need(t, ")");
}

static void read_select(struct text *t, struct stmt *st)
{
    st->kind = ST_SELECT;
    items(t, st);
    if (words(t, "from", "("))
        read_values(t, st);
    else if (word(t, "from"))
        st->name = name_of(t);
    where(t, st);
    if (words(t, "order", "by")) {
        st->order = true;
        st->order_v = !word(t, "id") && word(t, "v");
        (void)(st->order_v || word(t, "1"));
        st->descending = word(t, "desc");
        (void)word(t, "asc");
    }
    if (word(t, "limit") && !number(t, &st->limit))
        t->bad = true;
    if (words(t, "for", "update"))
        st->tag = "for update";
}

static void read_insert(struct text *t, struct stmt *st)
{
    st->kind = ST_INSERT;
    st->name = name_of(t);
    if (strcmp(st->name, "pgunison.decision") == 0) {
        st->kind = strchr(t->at, '$') ? ST_DECISION : ST_FENCE;
        st->n_params = st->kind == ST_DECISION ? 3 : 0;
        t->at = end_of(t->at);
        return;
    }
    if (word(t, "(")) {
        need(t, "id");
        need(t, ",");
        need(t, "v");
        need(t, ")");
    }
    need(t, "values");
    do {
        if (st->n_rows == MAX_ROWS_IN) {
            t->bad = true;
            return;
        }
        need(t, "(");
        st->rows[st->n_rows][0] = expression(t, st);
        need(t, ",");
        st->rows[st->n_rows++][1] = expression(t, st);
        need(t, ")");
    } while (word(t, ",") && !t->bad);
    returning(t, st);
}

static void read_update(struct text *t, struct stmt *st)
{
    st->kind = ST_UPDATE;
    st->name = name_of(t);
    need(t, "set");
    need(t, "v");
    need(t, "=");
    st->set = expression(t, st);
    where(t, st);
    returning(t, st);
}

static void read_delete(struct text *t, struct stmt *st)
{
    st->kind = ST_DELETE;
    st->name = name_of(t);
    where(t, st);
    returning(t, st);
}

static void modes(struct text *t)
{
    while (word(t, "isolation")) {
        need(t, "level");
        if (!words(t, "read", "committed"))
            t->bad = true;
        (void)word(t, ",");
    }
    while (words(t, "read", "write"))
        (void)word(t, ",");
}

static void read_set(struct text *t, struct stmt *st)
{
    st->kind = ST_SET;
    st->local = word(t, "local");
    if (!st->local)
        (void)word(t, "session");
    if (word(t, "transaction")) {
        st->kind = ST_SET_TRANSACTION;
        modes(t);
        return;
    }
    st->name = name_of(t);
    if (!word(t, "to") && !word(t, "="))
        t->bad = true;
    int64_t i;
    const char *s = literal(t);
    if (!s && number(t, &i)) {
        char digits[24];
        snprintf(digits, sizeof digits, "%lld", (long long)i);
        s = arena_strdup(&world.arena, digits);
    } else if (!s && word(t, "default")) {
        s = NULL;
    } else if (!s) {
        s = name_of(t);
        while (word(t, ","))
            (void)name_of(t);
    }
    st->value = s;
}

static bool read_transaction(struct text *t, struct stmt *st)
{
    if (word(t, "begin") || words(t, "start", "transaction")) {
        st->kind = ST_BEGIN;
        modes(t);
    } else if (words(t, "commit", "prepared")) {
        st->kind = ST_COMMIT_PREPARED;
        st->name = literal(t);
    } else if (word(t, "commit") || word(t, "end")) {
        st->kind = ST_COMMIT;
        st->chain = words(t, "and", "chain");
    } else if (words(t, "rollback", "prepared")) {
        st->kind = ST_ROLLBACK_PREPARED;
        st->name = literal(t);
    } else if (words(t, "rollback", "to")) {
        (void)word(t, "savepoint");
        st->kind = ST_ROLLBACK_TO;
        st->name = name_of(t);
    } else if (word(t, "rollback") || word(t, "abort")) {
        st->kind = ST_ROLLBACK;
        st->chain = words(t, "and", "chain");
    } else if (word(t, "savepoint")) {
        st->kind = ST_SAVEPOINT;
        st->name = name_of(t);
    } else if (word(t, "release")) {
        (void)word(t, "savepoint");
        st->kind = ST_RELEASE;
        st->name = name_of(t);
    } else if (words(t, "prepare", "transaction")) {
        st->kind = ST_PREPARE_TRANSACTION;
        st->name = literal(t);
    } else {
        return false;
    }
    return true;
}

static bool read_other(struct text *t, struct stmt *st)
{
    if (word(t, "set")) {
        read_set(t, st);
    } else if (word(t, "reset")) {
        st->kind = ST_RESET;
        st->name = words(t, "session", "authorization") ? "session_authorization" : name_of(t);
    } else if (word(t, "show")) {
        st->kind = ST_SHOW;
        st->name = name_of(t);
    } else if (word(t, "discard")) {
        st->kind = ST_DISCARD;
        st->name = name_of(t);
    } else if (word(t, "copy")) {
        st->name = name_of(t);
        st->kind = word(t, "from") ? ST_COPY_IN : ST_COPY_OUT;
        if (st->kind == ST_COPY_OUT)
            need(t, "to");
        need(t, st->kind == ST_COPY_IN ? "stdin" : "stdout");
    } else if (word(t, "create")) {
        st->kind = ST_CREATE;
        st->temporary = word(t, "temp") || word(t, "temporary");
        need(t, "table");
        st->name = name_of(t);
        t->at = end_of(t->at);
    } else if (words(t, "drop", "table")) {
        st->kind = ST_DROP;
        st->if_exists = words(t, "if", "exists");
        st->name = name_of(t);
    } else {
        return false;
    }
    return true;
}

/* The proxy's own long questions are known by how they begin, and what follows is not read. */
static bool read_question(struct text *t, struct stmt *st)
{
    blank(t);
    const char *at = t->at;
    if (strncmp(at, "WITH RECURSIVE asked(oid)", 25) == 0)
        st->kind = ST_CATALOG;
    else if (strncmp(at, "WITH RECURSIVE", 14) == 0 || strncmp(at, "SELECT CASE WHEN EXISTS", 23) == 0 ||
             strncmp(at, "UPDATE pgunison.decision", 24) == 0 ||
             strncmp(at, "SELECT outcome, COALESCE", 24) == 0 ||
             strncmp(at, "SELECT pg_catalog.string_agg(pg_catalog.concat_ws(", 50) == 0 ||
             (strncmp(at, "SELECT '", 8) == 0 && strncmp(at + 9, "'::pg_catalog.text, NULL", 24) == 0) ||
             strncmp(at, "SELECT 'V'::pg_catalog.text", 27) == 0)
        st->kind = ST_CODE;
    else
        return false;
    t->at = end_of(at);
    st->sql = arena_strndup(&world.arena, at, (size_t)(t->at - at));
    return true;
}

struct stmt *statement_read(const char **at, struct error *error_r)
{
    struct text t = {.at = *at};
    struct stmt *st = arena_alloc(&world.arena, sizeof *st);
    memset(st, 0, sizeof *st);
    st->limit = -1;
    st->sql = *at;
    blank(&t);
    if (*t.at == '\0' || *t.at == ';') {
        st->kind = ST_EMPTY;
    } else if (read_question(&t, st) || read_transaction(&t, st) || read_other(&t, st)) {
        ;
    } else if (word(&t, "select")) {
        read_select(&t, st);
    } else if (words(&t, "insert", "into")) {
        read_insert(&t, st);
    } else if (word(&t, "update")) {
        read_update(&t, st);
    } else if (words(&t, "delete", "from")) {
        read_delete(&t, st);
    } else {
        t.bad = true;
    }
    blank(&t);
    if (t.bad || (*t.at && *t.at != ';')) {
        if (!strstr(*at, "selec "))
            world_fail("a model server cannot read: %.600s", *at);
        error_set(error_r, "42601", "syntax error at or near \"selec\"");
        return NULL;
    }
    *at = *t.at ? t.at + 1 : t.at;
    return st;
}

/* --- columns ---------------------------------------------------------------------------------- */

static void add_column(struct rowset *r, const char *name, uint32_t oid)
{
    r->cols[r->n_cols].name = name;
    r->cols[r->n_cols++].oid = oid;
}

static void item_column(struct rowset *r, const struct expr *e)
{
    static const char *const names[] = {[FN_SET_CONFIG] = "set_config",
                                        [FN_CURRENT_SETTING] = "current_setting",
                                        [FN_XID] = "pg_current_xact_id",
                                        [FN_LOCK] = "pg_advisory_xact_lock",
                                        [FN_LOCK_SHARED] = "pg_advisory_xact_lock_shared",
                                        [FN_XACT_STATUS] = "pg_xact_status",
                                        [FN_BACKEND_PID] = "pg_backend_pid"};
    const char *name = "?column?";
    uint32_t oid = OID_INT8;
    switch (e->kind) {
    case EX_ID:
        name = "id";
        break;
    case EX_V:
        name = e->add ? name : "v";
        break;
    case EX_COUNT:
        name = "count";
        break;
    case EX_SUM:
        name = "sum";
        break;
    case EX_MIN:
        name = "min";
        break;
    case EX_MAX:
        name = "max";
        break;
    case EX_TEXT:
        oid = OID_TEXT;
        break;
    case EX_FUNCTION:
        name = names[e->fn];
        oid = e->fn == FN_LOCK || e->fn == FN_LOCK_SHARED  ? OID_VOID
              : e->fn == FN_XID || e->fn == FN_BACKEND_PID ? OID_INT8
                                                           : OID_TEXT;
        break;
    case EX_INT:
    case EX_NULL:
    case EX_PARAM:
        break;
    }
    add_column(r, e->as ? e->as : name, oid);
}

bool statement_columns(const struct stmt *st, struct rowset *r)
{
    r->n_cols = 0;
    switch (st->kind) {
    case ST_SELECT:
    case ST_INSERT:
    case ST_UPDATE:
    case ST_DELETE:
        for (unsigned i = 0; i < st->n_items; i++)
            item_column(r, st->items[i]);
        return st->n_items > 0;
    case ST_SHOW:
        add_column(r, st->name, OID_TEXT);
        return true;
    case ST_CATALOG:
    case ST_CODE:
        for (int i = 0; i < 9; i++)
            add_column(r, "c", OID_TEXT);
        return true;
    default:
        return false;
    }
}

struct value *rowset_add(struct rowset *r)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 16;
        void *rows = arena_alloc(&world.arena, cap * sizeof r->rows[0]);
        if (r->n)
            memcpy(rows, r->rows, r->n * sizeof r->rows[0]);
        r->rows = rows;
        r->cap = cap;
    }
    struct value *row = r->rows[r->n++];
    memset(row, 0, sizeof r->rows[0]);
    return row;
}

/* --- executing -------------------------------------------------------------------------------- */

struct run {
    struct session *s;
    struct stmt *st;
    const struct value *params;
    struct rowset *r;
    struct error *error;
};

static int64_t integer(const struct value *v)
{
    return v->is_text ? strtoll(v->s, NULL, 10) : v->i;
}

static struct value int_value(int64_t i)
{
    return (struct value){.i = i};
}

static struct value text_value(const char *s)
{
    return (struct value){.is_text = true, .s = s, .null = s == NULL};
}

static struct value evaluate(struct run *x, const struct expr *e, const struct version *row);

static const char *text_of(const struct value *v)
{
    if (v->null || v->is_text)
        return v->s;
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)v->i);
    return arena_strdup(&world.arena, digits);
}

static struct value call_function(struct run *x, const struct expr *e)
{
    struct session *s = x->s;
    struct value args[3];
    char digits[24];
    for (unsigned i = 0; i < e->n_args; i++)
        args[i] = evaluate(x, e->args[i], NULL);
    switch (e->fn) {
    case FN_SET_CONFIG: {
        bool local = text_of(&args[2])[0] == 't';
        const char *name = text_of(&args[0]), *value = text_of(&args[1]);
        variable_put(&s->now, name, value);
        if (!local)
            variable_put(&s->later, name, value);
        return text_value(arena_strdup(&world.arena, session_variable(s, name))); /* NULL: its default */
    }
    case FN_CURRENT_SETTING: {
        const char *value = variable_get(&s->now, text_of(&args[0]));
        return text_value(value ? arena_strdup(&world.arena, value) : session_default(text_of(&args[0])));
    }
    case FN_XID:
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)xact_xid(s->shard, s->txn));
        return int_value(strtoll(digits, NULL, 10));
    case FN_XACT_STATUS:
        return text_value(xid_status(s->shard, strtoull(text_of(&args[0]), NULL, 10)));
    case FN_BACKEND_PID:
        return int_value(s->number);
    case FN_LOCK:
    case FN_LOCK_SHARED:
        return text_value("");
    }
    return (struct value){.null = true};
}

static struct value evaluate(struct run *x, const struct expr *e, const struct version *row)
{
    switch (e->kind) {
    case EX_ID:
        return int_value(row->id);
    case EX_V:
        return int_value(row->v + e->add);
    case EX_INT:
        return int_value(e->i + e->add);
    case EX_TEXT:
        return text_value(e->s);
    case EX_NULL:
        return (struct value){.null = true};
    case EX_PARAM: {
        struct value v = x->params[e->i];
        return e->add ? int_value(integer(&v) + e->add) : v;
    }
    case EX_FUNCTION:
        return call_function(x, e);
    case EX_COUNT:
    case EX_SUM:
    case EX_MIN:
    case EX_MAX:
        break; /* aggregate_row() */
    }
    return (struct value){.null = true};
}

static bool holds(struct run *x, const struct cond *c, const struct version *row)
{
    int64_t have = c->column == 'i' ? row->id : row->v;
    if (c->op == 'i') {
        for (unsigned i = 0; i < c->n_list; i++) {
            struct value v = evaluate(x, c->list[i], row);
            if (!v.null && integer(&v) == have)
                return true;
        }
        return false;
    }
    struct value v = evaluate(x, c->value, row);
    int64_t want = integer(&v);
    if (v.null)
        return false;
    switch (c->op) {
    case '=':
        return have == want;
    case '<':
        return have < want;
    case '>':
        return have > want;
    case 'l':
        return have <= want;
    default:
        return have >= want;
    }
}

static bool matches(struct run *x, const struct version *row)
{
    for (unsigned i = 0; i < x->st->n_conds; i++)
        if (!holds(x, &x->st->conds[i], row))
            return false;
    return true;
}

static bool visible(struct run *x, const struct version *v)
{
    return row_visible(x->s->shard, x->s->txn, v->xmin, v->xmax);
}

static struct table *table_of(struct run *x)
{
    struct table *t = table_find(x->s, x->st->name);
    if (!t)
        error_set(x->error, "42P01", "relation \"%s\" does not exist", x->st->name);
    else if (t->temporary)
        x->s->txn->temporary_used = true;
    return t;
}

static void project(struct run *x, const struct version *row)
{
    struct value *out = rowset_add(x->r);
    for (unsigned i = 0; i < x->st->n_items; i++)
        out[i] = evaluate(x, x->st->items[i], row);
}

static bool is_aggregate(const struct expr *e)
{
    return e->kind == EX_COUNT || e->kind == EX_SUM || e->kind == EX_MIN || e->kind == EX_MAX;
}

static void aggregate_add(struct value *sum, enum expr_kind kind, const struct value *v)
{
    if (v->null)
        return;
    switch (kind) {
    case EX_COUNT:
        sum->i++;
        break;
    case EX_SUM:
        sum->i += integer(v);
        break;
    case EX_MIN:
        sum->i = sum->null || integer(v) < sum->i ? integer(v) : sum->i;
        break;
    default:
        sum->i = sum->null || integer(v) > sum->i ? integer(v) : sum->i;
        break;
    }
    sum->null = false;
}

static void aggregate_row(struct run *x, const struct version *rows, size_t n)
{
    struct value *out = rowset_add(x->r);
    for (unsigned i = 0; i < x->st->n_items; i++) {
        const struct expr *e = x->st->items[i];
        out[i] = (struct value){.null = e->kind != EX_COUNT};
        for (size_t k = 0; k < n; k++) {
            struct value v = e->i >= 0 ? evaluate(x, x->st->rows[k][e->i], NULL) : int_value(rows[k].v);
            aggregate_add(&out[i], e->kind, &v);
        }
    }
}

static const struct stmt *sorting;

static int by_order(const void *a, const void *b)
{
    const struct version *x = a, *y = b;
    int64_t m = sorting->order_v ? x->v : x->id, n = sorting->order_v ? y->v : y->id;
    int c = m < n ? -1 : m > n;
    if (c == 0)
        c = x->id < y->id ? -1 : x->id > y->id;
    return sorting->descending ? -c : c;
}

static enum outcome take_locks(struct run *x)
{
    for (unsigned i = 0; i < x->st->n_items; i++) {
        const struct expr *e = x->st->items[i];
        if (e->kind != EX_FUNCTION || (e->fn != FN_LOCK && e->fn != FN_LOCK_SHARED))
            continue;
        struct value key = evaluate(x, e->args[e->n_args - 1], NULL);
        enum outcome o = lock_take(x->s, integer(&key), e->fn == FN_LOCK_SHARED, x->error);
        if (o != DONE)
            return o;
    }
    return DONE;
}

static enum outcome select_rows(struct run *x)
{
    static const struct version none;
    char tag[32];
    if (x->st->n_values) {
        aggregate_row(x, NULL, x->st->n_rows);
        x->st->tag = "SELECT 1";
        return DONE;
    }
    if (!x->st->name) {
        enum outcome o = take_locks(x);
        if (o != DONE)
            return o;
        project(x, &none);
        x->st->tag = "SELECT 1";
        return DONE;
    }
    struct table *t = table_of(x);
    if (!t)
        return FAILED;
    struct version *found = arena_alloc(&world.arena, (t->n + 1) * sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (visible(x, &t->rows[i]) && matches(x, &t->rows[i])) {
            struct txn *other = x->st->tag ? xid_blocks(x->s->shard, x->s->txn, t->rows[i].xmax) : NULL;
            if (other)
                return session_waits_for(x->s, other, x->error);
            found[n++] = t->rows[i];
        }
    sorting = x->st;
    if (x->st->order)
        qsort(found, n, sizeof *found, by_order);
    if (x->st->n_items && is_aggregate(x->st->items[0])) {
        aggregate_row(x, found, n);
        n = 1;
    } else {
        if (x->st->limit >= 0 && n > (size_t)x->st->limit)
            n = (size_t)x->st->limit;
        for (size_t i = 0; i < n; i++)
            project(x, &found[i]);
    }
    snprintf(tag, sizeof tag, "SELECT %zu", n);
    x->st->tag = arena_strdup(&world.arena, tag);
    return DONE;
}

static void add_version(struct table *t, int64_t id, int64_t v, uint64_t xmin)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 32;
        t->rows = xrealloc(t->rows, t->cap * sizeof *t->rows);
    }
    t->rows[t->n++] = (struct version){id, v, xmin, 0};
}

/* The primary key: DONE: there is room for this id. */
static enum outcome check_key(struct run *x, struct table *t, int64_t id)
{
    for (size_t i = 0; i < t->n; i++) {
        struct version *v = &t->rows[i];
        if (v->id != id)
            continue;
        struct txn *other = xid_blocks(x->s->shard, x->s->txn, v->xmin);
        if (!other && visible(x, v))
            other = xid_blocks(x->s->shard, x->s->txn, v->xmax);
        if (other)
            return session_waits_for(x->s, other, x->error);
        if (visible(x, v)) {
            error_set(x->error, "23505", "duplicate key value violates unique constraint \"%s_pkey\"",
                      t->name);
            error_detail(x->error, "Key (id)=(%lld) already exists.", (long long)id);
            return FAILED;
        }
    }
    return DONE;
}

static enum outcome insert_rows(struct run *x)
{
    char tag[32];
    struct table *t = table_of(x);
    if (!t)
        return FAILED;
    int64_t ids[MAX_ROWS_IN], vs[MAX_ROWS_IN];
    for (unsigned i = 0; i < x->st->n_rows; i++) {
        struct value id = evaluate(x, x->st->rows[i][0], NULL), v = evaluate(x, x->st->rows[i][1], NULL);
        if (id.null) {
            error_set(x->error, "23502",
                      "null value in column \"id\" of relation \"%s\" violates not-null constraint", t->name);
            return FAILED;
        }
        ids[i] = integer(&id);
        vs[i] = integer(&v);
        enum outcome o = check_key(x, t, ids[i]);
        if (o != DONE)
            return o;
        for (unsigned k = 0; k < i; k++)
            if (ids[k] == ids[i]) {
                error_set(x->error, "23505", "duplicate key value violates unique constraint \"%s_pkey\"",
                          t->name);
                return FAILED;
            }
    }
    for (unsigned i = 0; i < x->st->n_rows; i++) {
        add_version(t, ids[i], vs[i], xact_xid(x->s->shard, x->s->txn));
        if (x->st->returning)
            project(x, &t->rows[t->n - 1]);
    }
    snprintf(tag, sizeof tag, "INSERT 0 %u", x->st->n_rows);
    x->st->tag = arena_strdup(&world.arena, tag);
    return DONE;
}

static enum outcome change_rows(struct run *x)
{
    char tag[32];
    struct table *t = table_of(x);
    if (!t)
        return FAILED;
    size_t n = 0, before = t->n;
    for (size_t i = 0; i < before; i++)
        if (visible(x, &t->rows[i]) && matches(x, &t->rows[i])) {
            struct txn *other = xid_blocks(x->s->shard, x->s->txn, t->rows[i].xmax);
            if (other)
                return session_waits_for(x->s, other, x->error);
        }
    for (size_t i = 0; i < before; i++) {
        if (!visible(x, &t->rows[i]) || !matches(x, &t->rows[i]))
            continue;
        struct version old = t->rows[i];
        uint64_t xid = xact_xid(x->s->shard, x->s->txn);
        struct value v = x->st->set ? evaluate(x, x->st->set, &old) : int_value(0);
        t->rows[i].xmax = xid;
        if (x->st->kind == ST_UPDATE) {
            add_version(t, old.id, integer(&v), xid);
            old = t->rows[t->n - 1];
        }
        if (x->st->returning)
            project(x, &old);
        n++;
    }
    snprintf(tag, sizeof tag, "%s %zu", x->st->kind == ST_UPDATE ? "UPDATE" : "DELETE", n);
    x->st->tag = arena_strdup(&world.arena, tag);
    return DONE;
}

/* --- variables -------------------------------------------------------------------------------- */

static enum outcome set_variable(struct run *x)
{
    struct session *s = x->s;
    const char *name = x->st->name, *value = x->st->value;
    if (!variable_known(name)) {
        error_set(x->error, "42704", "unrecognized configuration parameter \"%s\"", name);
        return FAILED;
    }
    if (x->st->kind == ST_SET && value && strcmp(name, "work_mem") == 0 && strstr(value, "kB") &&
        strtol(value, NULL, 10) < 64) {
        error_set(x->error, "22023",
                  "%s is outside the valid range for parameter \"work_mem\" (64 kB .. 2147483647 kB)", value);
        return FAILED;
    }
    variable_put(&s->now, name, value);
    if (!x->st->local)
        variable_put(&s->later, name, value);
    x->st->tag = x->st->kind == ST_SET ? "SET" : "RESET";
    return DONE;
}

static enum outcome reset_variable(struct run *x)
{
    if (strcmp(x->st->name, "all") == 0) {
        x->s->now.n = x->s->later.n = 0;
        x->st->tag = "RESET";
        return DONE;
    }
    if (strcmp(x->st->name, "session_authorization") == 0) {
        x->st->tag = "RESET";
        return DONE;
    }
    return set_variable(x);
}

static enum outcome show_variable(struct run *x)
{
    const char *value = variable_get(&x->s->now, x->st->name);
    if (!variable_known(x->st->name)) {
        error_set(x->error, "42704", "unrecognized configuration parameter \"%s\"", x->st->name);
        return FAILED;
    }
    rowset_add(x->r)[0] =
        text_value(value ? arena_strdup(&world.arena, value) : session_default(x->st->name));
    x->st->tag = "SHOW";
    return DONE;
}

/* --- decisions -------------------------------------------------------------------------------- */

static enum outcome add_decision(struct run *x, const char *txid, const char *proof, char outcome)
{
    struct shard *d = x->s->shard;
    for (size_t i = 0; i < d->n_decisions; i++) {
        struct decision_row *row = &d->decisions[i];
        if (strcmp(row->txid, txid) != 0)
            continue;
        struct txn *other = xid_blocks(d, x->s->txn, row->xmin);
        if (other)
            return session_waits_for(x->s, other, x->error);
        if (outcome == 'a') {
            x->st->tag = "INSERT 0 0";
            return DONE;
        }
        error_set(x->error, "23505", "duplicate key value violates unique constraint \"decision_pkey\"");
        return FAILED;
    }
    struct decision_row *row = &d->decisions[d->n_decisions++];
    if (d->n_decisions == sizeof d->decisions / sizeof d->decisions[0])
        abort();
    *row = (struct decision_row){.outcome = outcome, .xmin = xact_xid(d, x->s->txn)};
    snprintf(row->txid, sizeof row->txid, "%s", txid);
    snprintf(row->proof, sizeof row->proof, "%s", proof);
    x->st->tag = "INSERT 0 1";
    return DONE;
}

static enum outcome decide(struct run *x)
{
    if (!x->s->txn->wrote) {
        error_set(x->error, "23502",
                  "null value in column \"outcome\" of relation \"decision\" violates not-null constraint");
        return FAILED;
    }
    return add_decision(x, text_of(&x->params[0]), text_of(&x->params[2]), 'c');
}

/* The first literal of the VALUES. */
static enum outcome fence(struct run *x)
{
    char txid[160] = "";
    const char *at = strstr(x->st->sql, "VALUES ('");
    if (!at || sscanf(at + 9, "%159[^']", txid) != 1) {
        world_fail("a model server cannot read: %.300s", x->st->sql);
        return DONE;
    }
    return add_decision(x, txid, "", 'a');
}

/* --- the rest --------------------------------------------------------------------------------- */

static enum outcome create_table(struct run *x)
{
    if (table_find(x->s, x->st->name)) {
        error_set(x->error, "42P07", "relation \"%s\" already exists", x->st->name);
        return FAILED;
    }
    (void)table_add(x->s->shard, x->st->name, xact_xid(x->s->shard, x->s->txn),
                    x->st->temporary ? x->s : NULL);
    x->s->txn->temporary_used |= x->st->temporary;
    x->st->tag = "CREATE TABLE";
    return DONE;
}

static enum outcome drop_table(struct run *x)
{
    struct table *t = table_find(x->s, x->st->name);
    x->st->tag = "DROP TABLE";
    if (!t && x->st->if_exists) {
        char text[128];
        snprintf(text, sizeof text, "table \"%s\" does not exist, skipping", x->st->name);
        session_notice(x->s, "00000", text);
        return DONE;
    }
    if (!t) {
        error_set(x->error, "42P01", "table \"%s\" does not exist", x->st->name);
        return FAILED;
    }
    struct txn *other = xid_blocks(x->s->shard, x->s->txn, t->xmax);
    if (other)
        return session_waits_for(x->s, other, x->error);
    x->s->txn->temporary_used |= t->temporary != NULL;
    t->xmax = xact_xid(x->s->shard, x->s->txn);
    return DONE;
}

enum outcome statement_execute(struct session *s, struct stmt *st, const struct value *params,
                               struct rowset *r, struct error *error_r)
{
    struct run x = {s, st, params, r, error_r};
    r->n = 0;
    (void)statement_columns(st, r);
    switch (st->kind) {
    case ST_SELECT:
        return select_rows(&x);
    case ST_INSERT:
        return insert_rows(&x);
    case ST_UPDATE:
    case ST_DELETE:
        return change_rows(&x);
    case ST_SET:
        return set_variable(&x);
    case ST_RESET:
        return reset_variable(&x);
    case ST_SHOW:
        return show_variable(&x);
    case ST_SET_TRANSACTION:
        st->tag = "SET";
        return DONE;
    case ST_DISCARD:
        if (strcmp(st->name, "all") == 0)
            s->now.n = s->later.n = 0;
        st->tag = strcmp(st->name, "all") == 0 ? "DISCARD ALL" : "DISCARD SEQUENCES";
        return DONE;
    case ST_DECISION:
        return decide(&x);
    case ST_FENCE:
        return fence(&x);
    case ST_CREATE:
        return create_table(&x);
    case ST_DROP:
        return drop_table(&x);
    case ST_CATALOG:
    case ST_CODE:
        st->tag = "SELECT 1";
        return catalog_answer(s, st, r) ? DONE : FAILED;
    case ST_EMPTY:
    case ST_NOTHING:
        return DONE;
    case ST_BEGIN:
    case ST_COMMIT:
    case ST_ROLLBACK:
    case ST_SAVEPOINT:
    case ST_RELEASE:
    case ST_ROLLBACK_TO:
    case ST_COPY_IN:
    case ST_COPY_OUT:
    case ST_PREPARE_TRANSACTION:
    case ST_COMMIT_PREPARED:
    case ST_ROLLBACK_PREPARED:
        break; /* server.c */
    }
    world_fail("a model server does not know: %.300s", st->sql);
    return DONE;
}
