/*
 * A model server's protocol: sessions that read messages and answer them, as src/backend/tcop/postgres.c does.
 *
 *     READY -> BUSY      Query or Execute: takes a while, in which a cancel hits it
 *     BUSY  -> WAITING   for another transaction's lock
 *     BUSY, WAITING -> READY   answered
 *
 * The message under way stays in the input until it is answered.
 */
#include "model.h"

#include "wire/message.h"

#include <strings.h>

enum { MAX_STATEMENTS = 64, MAX_PORTALS = 16, MAX_IN_QUERY = 64, SLOW_US = 700000, CRASHED_US = 400000 };

void (*session_fault)(struct session *s, enum fault_kind kind);

struct prepared_statement {
    char name[64];
    struct stmt *st;
    uint32_t oids[64];
    unsigned n_oids;
};

struct portal {
    char name[64];
    struct prepared_statement *of;
    struct stmt *st;
    struct value params[64];
    int16_t formats[MAX_COLS];
    struct rowset rows;
    bool ran, done;
    size_t at;
};

struct conversation {
    struct buf in, out;
    bool busy, ready; /* the message at hand is being worked on; its time has come */
    bool canceled, skip, deaf, dropping, query_open;
    enum fault_kind fault; /* of the message at hand */
    bool stepped;          /* ... has been drawn */
    struct prepared_statement statements[MAX_STATEMENTS];
    unsigned n_statements;
    struct portal portals[MAX_PORTALS];
    unsigned n_portals;
    /* a Query: its statements, and where it stands */
    struct stmt *query[MAX_IN_QUERY];
    unsigned n_query, at_query;
    /* COPY FROM STDIN */
    struct stmt *copy;
    struct buf copied;
    bool copy_by_execute, copy_ended;
};

/* --- variables -------------------------------------------------------------------------------- */

static const struct {
    const char *name, *value;
    bool reported;
} variables[] = {
    {"application_name", "", true},
    {"client_encoding", "UTF8", true},
    {"DateStyle", "ISO, MDY", true},
    {"default_transaction_read_only", "off", true},
    {"in_hot_standby", "off", true},
    {"integer_datetimes", "on", true},
    {"IntervalStyle", "postgres", true},
    {"is_superuser", "on", true},
    {"server_encoding", "UTF8", true},
    {"server_version", "15.0", true},
    {"standard_conforming_strings", "on", true},
    {"TimeZone", "UTC", true},
    {"work_mem", "4MB", false},
    {"statement_timeout", "0", false},
    {"lock_timeout", "0", false},
    {"idle_in_transaction_session_timeout", "0", false},
    {"search_path", "\"$user\", public", false},
    {"synchronous_commit", "on", false},
    {"row_security", "on", false},
    {"jit", "on", false},
    {"role", "none", false},
    {"session_authorization", "app", false},
    {"default_transaction_isolation", "read committed", false},
    {"extra_float_digits", "1", false},
};
enum { N_VARIABLES = sizeof variables / sizeof variables[0] };

const char *session_default(const char *name)
{
    for (size_t i = 0; i < N_VARIABLES; i++)
        if (strcasecmp(variables[i].name, name) == 0)
            return variables[i].value;
    return NULL;
}

bool variable_known(const char *name)
{
    return session_default(name) != NULL;
}

const char *variable_get(const struct variables *v, const char *name)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcasecmp(v->items[i].name, name) == 0)
            return v->items[i].value;
    return NULL;
}

void variable_put(struct variables *v, const char *name, const char *value)
{
    size_t i = 0;
    while (i < v->n && strcasecmp(v->items[i].name, name) != 0)
        i++;
    if (!value) {
        if (i < v->n)
            v->items[i] = v->items[--v->n];
        return;
    }
    if (i == v->n && v->n++ == MAX_VARS)
        abort();
    snprintf(v->items[i].name, sizeof v->items[i].name, "%s", name);
    snprintf(v->items[i].value, sizeof v->items[i].value, "%s", value);
}

const char *session_variable(const struct session *s, const char *name)
{
    const char *value = variable_get(&s->now, name);
    return value ? value : session_default(name);
}

/* --- output ----------------------------------------------------------------------------------- */

static void flush_out(struct session *s)
{
    struct conversation *k = s->talk;
    if (buf_len(&k->out) && !k->deaf && s->alive)
        s->out(s->arg, buf_head(&k->out), buf_len(&k->out));
    buf_clear(&k->out);
}

static void report_variables(struct session *s)
{
    for (size_t i = 0; i < N_VARIABLES; i++) {
        const char *now = session_variable(s, variables[i].name),
                   *was = variable_get(&s->reported, variables[i].name);
        if (!variables[i].reported || strcmp(now, was ? was : variables[i].value) == 0)
            continue;
        message_parameter_status(&s->talk->out, variables[i].name, now);
        variable_put(&s->reported, variables[i].name, now);
    }
}

static void send_ready(struct session *s)
{
    report_variables(s);
    message_ready(&s->talk->out, s->status);
    flush_out(s);
}

void session_notice(struct session *s, const char *sqlstate, const char *text)
{
    struct error e;
    error_set(&e, sqlstate, "%s", text);
    message_notice(&s->talk->out, strcmp(sqlstate, "00000") == 0 ? "NOTICE" : "WARNING", &e);
}

static void describe_rows(struct session *s, const struct rowset *r, const int16_t *formats)
{
    struct msg_column columns[MAX_COLS];
    for (unsigned i = 0; i < r->n_cols; i++)
        columns[i] = (struct msg_column){.name = r->cols[i].name,
                                         .type_oid = r->cols[i].oid,
                                         .type_len = r->cols[i].oid == OID_INT8   ? 8
                                                     : r->cols[i].oid == OID_VOID ? 4
                                                                                  : -1,
                                         .typmod = -1,
                                         .format = formats ? formats[i] : 0};
    message_row_description_columns(&s->talk->out, (uint16_t)r->n_cols, columns);
}

static void send_row(struct session *s, const struct rowset *r, size_t row, const int16_t *formats)
{
    struct slice values[MAX_COLS];
    uint8_t binary[MAX_COLS][8];
    char text[MAX_COLS][24];
    for (unsigned i = 0; i < r->n_cols; i++) {
        const struct value *v = &r->rows[row][i];
        if (v->null) {
            values[i] = slice_of(NULL, 0);
        } else if (v->is_text) {
            values[i] = slice_of(*v->s ? v->s : "", strlen(v->s));
        } else if (formats && formats[i] == 1) {
            store_u32(binary[i], (uint32_t)((uint64_t)v->i >> 32));
            store_u32(binary[i] + 4, (uint32_t)v->i);
            values[i] = slice_of(binary[i], 8);
        } else {
            snprintf(text[i], sizeof text[i], "%lld", (long long)v->i);
            values[i] = slice_str(text[i]);
        }
    }
    message_data_row_slices(&s->talk->out, (int)r->n_cols, values);
}

/* --- transactions ----------------------------------------------------------------------------- */

static void end_txn(struct session *s, bool commit)
{
    struct txn *t = s->txn;
    if (!t)
        return;
    s->txn = NULL;
    if (commit) {
        s->now = s->later;
    } else {
        s->now = t->levels[0].now;
        s->later = t->levels[0].later;
    }
    xact_end(s->shard, t, commit);
    s->status = 'I';
    s->talk->n_portals = 0;
}

static void need_txn(struct session *s)
{
    if (!s->txn)
        (void)xact_open(s, true);
}

/* After an error: an implicit transaction is over, a block has failed. */
static void fail_txn(struct session *s)
{
    struct txn *t = s->txn;
    if (!t)
        return;
    if (t->implicit) {
        end_txn(s, false);
        return;
    }
    if (s->status == 'E')
        return;
    s->status = 'E';
    if (t->n_levels > 1) {
        xact_rollback_to(s->shard, t, (int)t->n_levels - 1);
        return;
    }
    struct variables now = t->levels[0].now, later = t->levels[0].later;
    xact_end(s->shard, t, false); /* what it had is free; the block is an empty one from now on */
    s->now = now;
    s->later = later;
    (void)xact_open(s, false);
}

static bool ends_failed(const struct stmt *st)
{
    return st->kind == ST_COMMIT || st->kind == ST_ROLLBACK || st->kind == ST_ROLLBACK_TO ||
           st->kind == ST_PREPARE_TRANSACTION || st->kind == ST_EMPTY;
}

static enum outcome error(struct error *e, const char *sqlstate, const char *text)
{
    error_set(e, sqlstate, "%s", text);
    return FAILED;
}

static bool in_block(const struct session *s)
{
    return s->txn && !s->txn->implicit;
}

static enum outcome end_block(struct session *s, struct stmt *st, bool commit, struct error *e)
{
    if (!in_block(s) && st->chain)
        return error(e, "25P01",
                     commit ? "COMMIT AND CHAIN can only be used in transaction blocks"
                            : "ROLLBACK AND CHAIN can only be used in transaction blocks");
    if (!in_block(s))
        session_notice(s, "25P01", "there is no transaction in progress");
    bool did = commit && s->status != 'E';
    st->tag = did ? "COMMIT" : "ROLLBACK";
    if (!in_block(s) && !commit)
        st->tag = "ROLLBACK";
    end_txn(s, did);
    if (st->chain) {
        (void)xact_open(s, false);
        s->status = 'T';
    }
    return DONE;
}

static enum outcome prepare(struct session *s, struct stmt *st, struct error *e)
{
    struct txn *t = s->txn;
    if (s->status == 'E') {
        st->tag = "ROLLBACK";
        end_txn(s, false);
        return DONE;
    }
    if (!in_block(s))
        return error(e, "25P01", "PREPARE TRANSACTION can only be used in transaction blocks");
    if (t->temporary_used)
        return error(e, "0A000", "cannot PREPARE a transaction that has operated on temporary objects");
    if (prepared_find(s->shard, st->name))
        return error(e, "42710", "transaction identifier is already in use");
    snprintf(t->gid, sizeof t->gid, "%s", st->name);
    t->prepared_us = world.now_us;
    for (unsigned i = t->n_levels; i-- > 1;)
        xact_release(s->shard, t, (int)i);
    t->session = NULL;
    s->txn = NULL;
    s->now = s->later;
    s->status = 'I';
    s->talk->n_portals = 0;
    st->tag = "PREPARE TRANSACTION";
    return DONE;
}

static enum outcome end_prepared(struct session *s, struct stmt *st, struct error *e)
{
    struct txn *t = prepared_find(s->shard, st->name);
    bool commit = st->kind == ST_COMMIT_PREPARED;
    if (in_block(s))
        return error(e, "25001", "COMMIT PREPARED cannot run inside a transaction block");
    if (!t) {
        error_set(e, "42704", "prepared transaction with identifier \"%s\" does not exist", st->name);
        return FAILED;
    }
    xact_end(s->shard, t, commit);
    st->tag = commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
    return DONE;
}

static enum outcome savepoint(struct session *s, struct stmt *st, struct error *e)
{
    int level = s->txn ? xact_find_level(s->txn, st->name) : -1;
    if (!in_block(s))
        return error(e, "25P01",
                     st->kind == ST_SAVEPOINT ? "SAVEPOINT can only be used in transaction blocks"
                     : st->kind == ST_RELEASE
                         ? "RELEASE SAVEPOINT can only be used in transaction blocks"
                         : "ROLLBACK TO SAVEPOINT can only be used in transaction blocks");
    if (st->kind == ST_SAVEPOINT) {
        if (!xact_savepoint(s->txn, st->name))
            abort();
        st->tag = "SAVEPOINT";
        return DONE;
    }
    if (level < 0) {
        error_set(e, "3B001", "savepoint \"%s\" does not exist", st->name);
        return FAILED;
    }
    if (st->kind == ST_RELEASE) {
        xact_release(s->shard, s->txn, level);
        st->tag = "RELEASE";
    } else {
        xact_rollback_to(s->shard, s->txn, level);
        s->status = 'T';
        st->tag = "ROLLBACK";
    }
    return DONE;
}

/* A statement that is not about transactions runs in one. */
static enum outcome run(struct session *s, struct stmt *st, const struct value *params, struct rowset *r,
                        struct error *e)
{
    if (s->status == 'E' && !ends_failed(st))
        return error(e, "25P02",
                     "current transaction is aborted, commands ignored until end of transaction block");
    switch (st->kind) {
    case ST_BEGIN:
        if (in_block(s))
            session_notice(s, "25001", "there is already a transaction in progress");
        need_txn(s);
        s->txn->implicit = false;
        s->status = 'T';
        st->tag = "BEGIN";
        return DONE;
    case ST_COMMIT:
    case ST_ROLLBACK:
        return end_block(s, st, st->kind == ST_COMMIT, e);
    case ST_SAVEPOINT:
    case ST_RELEASE:
    case ST_ROLLBACK_TO:
        return savepoint(s, st, e);
    case ST_PREPARE_TRANSACTION:
        return prepare(s, st, e);
    case ST_COMMIT_PREPARED:
    case ST_ROLLBACK_PREPARED:
        return end_prepared(s, st, e);
    default:
        need_txn(s);
        return statement_execute(s, st, params, r, e);
    }
}

/* --- COPY ------------------------------------------------------------------------------------- */

static void copy_response(struct session *s, uint8_t type)
{
    size_t begun = message_begin(&s->talk->out, type);
    buf_u8(&s->talk->out, 0);
    buf_u16(&s->talk->out, 2);
    buf_u16(&s->talk->out, 0);
    buf_u16(&s->talk->out, 0);
    message_end(&s->talk->out, begun);
}

static enum outcome copy_out(struct session *s, struct stmt *st, struct error *e)
{
    struct table *t;
    char line[64], tag[32];
    size_t n = 0;
    need_txn(s);
    if (!(t = table_find(s, st->name))) {
        error_set(e, "42P01", "relation \"%s\" does not exist", st->name);
        return FAILED;
    }
    copy_response(s, MSG_COPY_OUT_RESPONSE);
    for (size_t i = 0; i < t->n; i++) {
        if (!row_visible(s->shard, s->txn, t->rows[i].xmin, t->rows[i].xmax))
            continue;
        size_t begun = message_begin(&s->talk->out, MSG_COPY_DATA);
        snprintf(line, sizeof line, "%lld\t%lld\n", (long long)t->rows[i].id, (long long)t->rows[i].v);
        buf_str(&s->talk->out, line);
        message_end(&s->talk->out, begun);
        n++;
    }
    message_empty(&s->talk->out, MSG_COPY_DONE);
    snprintf(tag, sizeof tag, "COPY %zu", n);
    st->tag = arena_strdup(&world.arena, tag);
    return DONE;
}

static enum outcome copy_begin(struct session *s, struct stmt *st, bool by_execute, struct error *e)
{
    struct conversation *k = s->talk;
    need_txn(s);
    if (!table_find(s, st->name)) {
        error_set(e, "42P01", "relation \"%s\" does not exist", st->name);
        return FAILED;
    }
    k->copy = st;
    k->copy_by_execute = by_execute;
    k->copy_ended = false;
    buf_clear(&k->copied);
    copy_response(s, MSG_COPY_IN_RESPONSE);
    flush_out(s);
    return WAITS; /* for data */
}

/* All of it is there: the rows as one INSERT. */
static enum outcome copy_end(struct session *s, struct error *e)
{
    struct conversation *k = s->talk;
    struct stmt *insert = arena_alloc(&world.arena, sizeof *insert);
    struct rowset none = {0};
    char *at, *text;
    char tag[32];
    memset(insert, 0, sizeof *insert);
    insert->kind = ST_INSERT;
    insert->name = k->copy->name;
    text = arena_strndup(&world.arena, buf_len(&k->copied) ? (const char *)buf_head(&k->copied) : "",
                         buf_len(&k->copied));
    for (at = text; *at && insert->n_rows < MAX_ROWS_IN; at = strchr(at, '\n') + 1) {
        long long id, v;
        if (!strchr(at, '\n') || sscanf(at, "%lld\t%lld\n", &id, &v) != 2)
            return error(e, "22P02", "invalid input syntax for type bigint");
        for (int i = 0; i < 2; i++) {
            struct expr *x = arena_alloc(&world.arena, sizeof *x);
            *x = (struct expr){.kind = EX_INT, .i = i ? v : id};
            insert->rows[insert->n_rows][i] = x;
        }
        insert->n_rows++;
    }
    enum outcome o = statement_execute(s, insert, NULL, &none, e);
    snprintf(tag, sizeof tag, "COPY %u", insert->n_rows);
    k->copy->tag = arena_strdup(&world.arena, tag);
    return o;
}

/* --- Query ------------------------------------------------------------------------------------ */

static void query_over(struct session *s)
{
    if (s->txn && s->txn->implicit)
        end_txn(s, true);
    s->talk->query_open = false;
    send_ready(s);
}

static void query_failed(struct session *s, const struct error *e)
{
    message_error(&s->talk->out, e, false);
    fail_txn(s);
    s->talk->copy = NULL;
    query_over(s);
}

static void answer_statement(struct session *s, const struct stmt *st, const struct rowset *r)
{
    if (st->kind == ST_EMPTY) {
        message_empty(&s->talk->out, MSG_EMPTY_QUERY);
        return;
    }
    if (r->n_cols)
        describe_rows(s, r, NULL);
    for (size_t i = 0; i < r->n; i++)
        send_row(s, r, i, NULL);
    message_command_complete(&s->talk->out, st->tag);
}

/* True: it is through. */
static bool query_go_on(struct session *s)
{
    struct conversation *k = s->talk;
    struct error e;
    for (; k->at_query < k->n_query; k->at_query++) {
        struct stmt *st = k->query[k->at_query];
        struct rowset r = {0};
        enum outcome o = st->kind == ST_COPY_IN && s->status != 'E'    ? copy_begin(s, st, false, &e)
                         : st->kind == ST_COPY_OUT && s->status != 'E' ? copy_out(s, st, &e)
                                                                       : run(s, st, NULL, &r, &e);
        if (o == WAITS)
            return false;
        if (o == FAILED) {
            query_failed(s, &e);
            return true;
        }
        answer_statement(s, st, &r);
    }
    query_over(s);
    return true;
}

static bool query_begin(struct session *s, const struct frame *f)
{
    struct conversation *k = s->talk;
    struct error e;
    const char *at = arena_strndup(&world.arena, (const char *)f->body.data, f->body.len);
    k->query_open = true;
    k->n_query = k->at_query = 0;
    for (unsigned i = 0; i < k->n_portals;) /* so does the unnamed portal */
        if (!k->portals[i].name[0])
            k->portals[i] = k->portals[--k->n_portals];
        else
            i++;
    for (unsigned i = 0; i < k->n_statements;) /* the unnamed statement ends */
        if (!k->statements[i].name[0])
            k->statements[i] = k->statements[--k->n_statements];
        else
            i++;
    do {
        struct stmt *st = statement_read(&at, &e);
        if (!st) {
            query_failed(s, &e);
            return true;
        }
        if (st->kind == ST_EMPTY && (k->n_query > 0 || *at))
            continue;
        if (k->n_query == MAX_IN_QUERY)
            abort();
        k->query[k->n_query++] = st;
    } while (*at);
    return query_go_on(s);
}

/* --- extended messages ------------------------------------------------------------------------ */

static void extended_failed(struct session *s, const struct error *e)
{
    message_error(&s->talk->out, e, false);
    fail_txn(s);
    s->talk->skip = true;
    s->talk->copy = NULL;
    flush_out(s);
}

static struct prepared_statement *find_statement(struct session *s, const char *name)
{
    for (unsigned i = 0; i < s->talk->n_statements; i++)
        if (strcmp(s->talk->statements[i].name, name) == 0)
            return &s->talk->statements[i];
    return NULL;
}

static struct portal *find_portal(struct session *s, const char *name)
{
    for (unsigned i = 0; i < s->talk->n_portals; i++)
        if (strcmp(s->talk->portals[i].name, name) == 0)
            return &s->talk->portals[i];
    return NULL;
}

unsigned session_statements(const struct session *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->talk->n_statements; i++)
        n += s->talk->statements[i].name[0] != '\0';
    return n;
}

static enum outcome check_state(struct session *s, const struct stmt *st, struct error *e)
{
    if (s->status == 'E' && !ends_failed(st))
        return error(e, "25P02",
                     "current transaction is aborted, commands ignored until end of transaction block");
    return DONE;
}

static enum outcome analyse(struct session *s, const struct stmt *st, struct error *e)
{
    bool table = st->name && (st->kind == ST_SELECT || st->kind == ST_INSERT || st->kind == ST_UPDATE ||
                              st->kind == ST_DELETE);
    need_txn(s);
    if (table && !table_find(s, st->name)) {
        error_set(e, "42P01", "relation \"%s\" does not exist", st->name);
        return FAILED;
    }
    return DONE;
}

static enum outcome on_parse(struct session *s, const struct frame *f, struct error *e)
{
    struct msg_parse m;
    struct conversation *k = s->talk;
    if (message_read_parse(f, &m, e) != STATUS_OK)
        return FAILED;
    const char *at = arena_strndup(&world.arena, m.sql.data, m.sql.len);
    struct stmt *st = statement_read(&at, e);
    if (!st || check_state(s, st, e) != DONE)
        return FAILED;
    while (*at == ' ' || *at == ';')
        at++;
    if (*at)
        return error(e, "42601", "cannot insert multiple commands into a prepared statement");
    if (s->status != 'E' && analyse(s, st, e) != DONE)
        return FAILED;
    struct prepared_statement *p = find_statement(s, m.name);
    if (p && m.name[0]) {
        error_set(e, "42P05", "prepared statement \"%s\" already exists", m.name);
        return FAILED;
    }
    if (!p) {
        if (k->n_statements == MAX_STATEMENTS)
            abort();
        p = &k->statements[k->n_statements++];
    }
    *p = (struct prepared_statement){.st = st, .n_oids = st->n_params};
    snprintf(p->name, sizeof p->name, "%s", m.name);
    for (unsigned i = 0; i < st->n_params; i++) {
        uint32_t oid = i < m.n_oids ? load_u32(m.oids + 4 * i) : 0;
        p->oids[i] = oid ? oid : OID_INT8;
    }
    message_empty(&k->out, MSG_PARSE_COMPLETE);
    return DONE;
}

static struct value read_param(struct slice v, int16_t format, uint32_t oid)
{
    if (!v.data)
        return (struct value){.null = true};
    if (format == 1 && oid != OID_TEXT) {
        uint64_t i = 0;
        for (size_t k = 0; k < v.len; k++)
            i = i << 8 | v.data[k];
        return (struct value){.i = v.len == 4 ? (int32_t)i : v.len == 2 ? (int16_t)i : (int64_t)i};
    }
    char *text = arena_strndup(&world.arena, v.data, v.len);
    if (oid == OID_TEXT)
        return (struct value){.is_text = true, .s = text};
    return (struct value){.i = strtoll(text, NULL, 10)};
}

static enum outcome on_bind(struct session *s, const struct frame *f, struct error *e)
{
    struct msg_bind m;
    struct conversation *k = s->talk;
    if (message_read_bind(f, &m, e) != STATUS_OK)
        return FAILED;
    struct prepared_statement *p = find_statement(s, m.statement);
    if (!p) {
        error_set(e, "26000",
                  m.statement[0] ? "prepared statement \"%s\" does not exist"
                                 : "unnamed prepared statement does not exist",
                  m.statement);
        return FAILED;
    }
    if (check_state(s, p->st, e) != DONE)
        return FAILED;
    if (m.n_params != p->st->n_params) {
        error_set(e, "08P01",
                  "bind message supplies %u parameters, but prepared statement \"%s\" requires %u",
                  m.n_params, m.statement, p->st->n_params);
        return FAILED;
    }
    need_txn(s);
    struct portal *portal = find_portal(s, m.portal);
    if (portal && m.portal[0]) {
        error_set(e, "42P03", "cursor \"%s\" already exists", m.portal);
        return FAILED;
    }
    if (!portal) {
        if (k->n_portals == MAX_PORTALS)
            abort();
        portal = &k->portals[k->n_portals++];
    }
    memset(portal, 0, sizeof *portal);
    snprintf(portal->name, sizeof portal->name, "%s", m.portal);
    portal->st = p->st;
    portal->of = p;
    for (uint16_t i = 0; i < m.n_params; i++) {
        struct slice v;
        int16_t format;
        msg_bind_param(&m, i, &v, &format);
        portal->params[i] = read_param(v, format, p->oids[i]);
    }
    (void)statement_columns(p->st, &portal->rows);
    for (uint16_t i = 0; i < portal->rows.n_cols; i++)
        portal->formats[i] = msg_bind_result_format(&m, i);
    message_empty(&k->out, MSG_BIND_COMPLETE);
    return DONE;
}

static void describe(struct session *s, const struct stmt *st, const int16_t *formats)
{
    struct rowset r = {0};
    if (statement_columns(st, &r))
        describe_rows(s, &r, formats);
    else
        message_empty(&s->talk->out, MSG_NO_DATA);
}

static enum outcome on_describe(struct session *s, const struct frame *f, struct error *e)
{
    struct msg_target m;
    if (message_read_target(f, &m, e) != STATUS_OK)
        return FAILED;
    if (m.kind == 'P') {
        const struct portal *portal = find_portal(s, m.name);
        if (!portal) {
            error_set(e, "34000", "portal \"%s\" does not exist", m.name);
            return FAILED;
        }
        describe(s, portal->st, portal->formats);
        return DONE;
    }
    const struct prepared_statement *p = find_statement(s, m.name);
    if (!p) {
        error_set(e, "26000",
                  m.name[0] ? "prepared statement \"%s\" does not exist"
                            : "unnamed prepared statement does not exist",
                  m.name);
        return FAILED;
    }
    size_t begun = message_begin(&s->talk->out, MSG_PARAMETER_DESCRIPTION);
    buf_u16(&s->talk->out, (uint16_t)p->n_oids);
    for (unsigned i = 0; i < p->n_oids; i++)
        buf_u32(&s->talk->out, p->oids[i]);
    message_end(&s->talk->out, begun);
    describe(s, p->st, NULL);
    return DONE;
}

static enum outcome on_execute(struct session *s, const struct frame *f, struct error *e)
{
    struct msg_execute m;
    if (message_read_execute(f, &m, e) != STATUS_OK)
        return FAILED;
    struct portal *portal = find_portal(s, m.portal);
    if (!portal) {
        error_set(e, "34000", "portal \"%s\" does not exist", m.portal);
        return FAILED;
    }
    struct stmt *st = portal->st;
    if (check_state(s, st, e) != DONE)
        return FAILED;
    if (!portal->ran) {
        struct portal copy = *portal; /* the end of a transaction ends its portals */
        enum outcome o = st->kind == ST_COPY_IN    ? copy_begin(s, st, true, e)
                         : st->kind == ST_COPY_OUT ? copy_out(s, st, e)
                                                   : run(s, st, copy.params, &copy.rows, e);
        if (o != DONE)
            return o;
        if (!(portal = find_portal(s, m.portal))) {
            message_command_complete(&s->talk->out, st->tag);
            return DONE;
        }
        *portal = copy;
        portal->ran = true;
    }
    if (st->kind == ST_EMPTY) {
        message_empty(&s->talk->out, MSG_EMPTY_QUERY);
        return DONE;
    }
    uint32_t n = 0;
    for (; portal->at < portal->rows.n && (m.max_rows == 0 || n < m.max_rows); n++)
        send_row(s, &portal->rows, portal->at++, portal->formats);
    if (m.max_rows && n == m.max_rows)
        message_empty(&s->talk->out, 's');
    else
        message_command_complete(&s->talk->out, st->tag);
    return DONE;
}

static enum outcome on_close(struct session *s, const struct frame *f, struct error *e)
{
    struct msg_target m;
    struct conversation *k = s->talk;
    if (message_read_target(f, &m, e) != STATUS_OK)
        return FAILED;
    struct portal *portal = m.kind == 'P' ? find_portal(s, m.name) : NULL;
    struct prepared_statement *p = m.kind == 'S' ? find_statement(s, m.name) : NULL;
    if (portal)
        *portal = k->portals[--k->n_portals];
    if (p)
        *p = k->statements[--k->n_statements];
    message_empty(&k->out, MSG_CLOSE_COMPLETE);
    return DONE;
}

static void on_sync(struct session *s)
{
    s->talk->skip = false;
    if (s->txn && s->txn->implicit)
        end_txn(s, true);
    send_ready(s);
}

/* --- one message ------------------------------------------------------------------------------ */

static void drop(struct session *s, bool told)
{
    if (!s->alive)
        return;
    if (!told)
        buf_clear(&s->talk->out);
    flush_out(s);
    s->alive = false;
    s->waits_for = NULL;
    end_txn(s, false);
    for (struct table *t = s->shard->tables; t; t = t->next)
        if (t->temporary == s)
            t->name[0] = '\0';
    s->ended(s->arg);
}

static void crash_over(void *arg, uint64_t n)
{
    (void)n;
    ((struct shard *)arg)->up = true;
}

void shard_crash(struct shard *d)
{
    d->up = false;
    d->crashes++;
    world_trace("%s crashes", d->name);
    for (struct session *s = d->sessions; s; s = s->next)
        drop(s, false);
    world_at(CRASHED_US, crash_over, d, 0);
}

static void cancel_error(struct error *e)
{
    error_set(e, "57014", "canceling statement due to user request");
}

static void copy_message(struct session *s, const struct frame *f)
{
    struct conversation *k = s->talk;
    struct error e;
    enum outcome o = WAITS;
    if (f->type == MSG_COPY_DATA && !k->copy_ended) {
        buf_slice_append(&k->copied, f->body);
        return;
    }
    if (f->type == MSG_COPY_FAIL) {
        error_set(&e, "57014", "COPY from stdin failed: %.*s", (int)f->body.len - 1,
                  (const char *)f->body.data);
        o = FAILED;
    } else if (f->type == MSG_COPY_DONE) {
        o = copy_end(s, &e);
        if (o == WAITS)
            return;
    }
    if (o == WAITS)
        return;
    if (o == FAILED) {
        if (k->copy_by_execute)
            extended_failed(s, &e);
        else
            query_failed(s, &e);
        return;
    }
    message_command_complete(&k->out, k->copy->tag);
    k->copy = NULL;
    if (!k->copy_by_execute) {
        k->at_query++;
        (void)query_go_on(s);
    }
}

/* True: the message is done with. */
static bool message(struct session *s, const struct frame *f)
{
    struct conversation *k = s->talk;
    struct error e;
    enum outcome o = DONE;
    if (k->skip && f->type != MSG_SYNC && f->type != MSG_TERMINATE)
        return true;
    if (k->copy) {
        if (f->type == MSG_COPY_DATA || f->type == MSG_COPY_DONE || f->type == MSG_COPY_FAIL) {
            copy_message(s, f);
            return !s->waits_for;
        }
        return true; /* Flush and Sync are ignored while data comes */
    }
    switch (f->type) {
    case MSG_QUERY:
        if (k->query_open ? query_go_on(s) : query_begin(s, f))
            return true;
        return k->copy != NULL;
    case MSG_PARSE:
        o = on_parse(s, f, &e);
        break;
    case MSG_BIND:
        o = on_bind(s, f, &e);
        break;
    case MSG_DESCRIBE:
        o = on_describe(s, f, &e);
        break;
    case MSG_EXECUTE:
        o = on_execute(s, f, &e);
        if (o == WAITS && k->copy)
            return true;
        break;
    case MSG_CLOSE:
        o = on_close(s, f, &e);
        break;
    case MSG_SYNC:
        on_sync(s);
        return true;
    case MSG_FLUSH:
        flush_out(s);
        return true;
    case MSG_TERMINATE:
        drop(s, true);
        return true;
    default:
        return true; /* the rest of a COPY that failed */
    }
    if (o == FAILED)
        extended_failed(s, &e);
    return o != WAITS;
}

/* An error in the message's place. */
static void refuse(struct session *s, const struct frame *f, const struct error *e)
{
    if (f->type == MSG_QUERY || (s->talk->copy && !s->talk->copy_by_execute)) {
        if (f->type == MSG_QUERY && strncasecmp((const char *)f->body.data, "commit", 7) == 0 && s->txn)
            s->txn->implicit = true; /* a COMMIT that fails ends its transaction */
        query_failed(s, e);
        return;
    }
    if (f->type == MSG_SYNC) { /* its implicit COMMIT */
        s->talk->skip = false;
        message_error(&s->talk->out, e, false);
        if (s->txn && s->txn->implicit)
            end_txn(s, false);
        else
            fail_txn(s);
        send_ready(s);
        return;
    }
    extended_failed(s, e);
}

static void go(struct session *s);

static void time_has_come(void *arg, uint64_t n)
{
    struct session *s = arg;
    (void)n;
    if (!s->alive)
        return;
    s->talk->busy = false;
    s->talk->ready = true;
    go(s);
}

static bool takes_time(uint8_t type)
{
    return type == MSG_QUERY || type == MSG_EXECUTE || type == MSG_COPY_DONE;
}

static bool is_step(uint8_t type)
{
    return type == MSG_QUERY || type == MSG_PARSE || type == MSG_BIND || type == MSG_EXECUTE ||
           type == MSG_SYNC || type == MSG_COPY_DONE;
}

/* False: it waits for its time, or is lost. */
static bool draw_fault(struct session *s, const struct frame *f)
{
    struct conversation *k = s->talk;
    if (k->stepped)
        return true;
    k->stepped = true;
    k->fault = session_fault && is_step(f->type) ? world_step() : FAULT_NONE;
    world_trace("%s session %u <- %c %.*s", s->shard->name, s->number, f->type,
                f->type == MSG_QUERY || f->type == MSG_PARSE ? (int)(f->body.len < 110 ? f->body.len : 110)
                                                             : 0,
                (const char *)f->body.data +
                    (f->type == MSG_PARSE ? strnlen((const char *)f->body.data, f->body.len) + 1 : 0));
    switch (k->fault) {
    case LOSE_BEFORE:
        drop(s, false);
        return false;
    case LOSE_AFTER:
        k->deaf = true;
        break;
    case CRASH:
        shard_crash(s->shard);
        return false;
    case TERMINATE: {
        struct error e;
        error_set(&e, "57P01", "terminating connection due to administrator command");
        message_error(&k->out, &e, true);
        drop(s, true);
        return false;
    }
    case CANCEL:
    case GONE:
        session_fault(s, k->fault);
        break;
    default:
        break;
    }
    return s->alive;
}

static bool handle(struct session *s, const struct frame *f)
{
    struct conversation *k = s->talk;
    struct error e;
    if (!draw_fault(s, f))
        return false;
    if (takes_time(f->type) && !k->ready && !k->skip) {
        k->busy = true;
        k->canceled = false;
        world_at(k->fault == SLOW ? SLOW_US : world_latency(), time_has_come, s, 0);
        return false;
    }
    bool canceled = k->canceled && takes_time(f->type) && !k->skip;
    if (canceled || (k->fault == FAIL && !k->skip)) {
        k->canceled = false;
        if (canceled)
            cancel_error(&e);
        else
            error_set(&e, "53100", "could not extend file: No space left on device");
        s->waits_for = NULL;
        refuse(s, f, &e);
        return true;
    }
    return message(s, f);
}

static void go(struct session *s)
{
    struct conversation *k = s->talk;
    struct frame f;
    size_t need;
    while (s->alive && !k->busy && !s->waits_for &&
           frame_next(buf_slice(&k->in), UINT32_MAX, &f, &need) == FRAME_OK) {
        if (!handle(s, &f))
            break;
        if (!s->alive)
            return;
        k->ready = k->stepped = false;
        if (k->deaf) {
            drop(s, false);
            return;
        }
        buf_consume(&k->in, f.whole.len);
    }
}

/* --- sessions --------------------------------------------------------------------------------- */

struct session *session_create(struct shard *d, const char *user,
                               void (*out)(void *arg, const uint8_t *, size_t), void (*ended)(void *arg),
                               void *arg)
{
    struct session *s = arena_alloc(&world.arena, sizeof *s);
    memset(s, 0, sizeof *s);
    s->shard = d;
    s->number = ++d->n_sessions;
    snprintf(s->user, sizeof s->user, "%s", user);
    s->out = out;
    s->ended = ended;
    s->arg = arg;
    s->alive = true;
    s->status = 'I';
    s->talk = xcalloc(1, sizeof *s->talk);
    s->next = d->sessions;
    d->sessions = s;
    return s;
}

void session_receive(struct session *s, const uint8_t *bytes, size_t n)
{
    if (!s->alive)
        return;
    buf_append(&s->talk->in, bytes, n);
    go(s);
}

void session_close(struct session *s)
{
    drop(s, false);
}

void session_cancel(struct session *s)
{
    struct conversation *k = s->talk;
    if (!s->alive)
        return;
    if (k->busy) {
        k->canceled = true;
    } else if (s->waits_for) {
        s->waits_for = NULL;
        k->canceled = true;
        k->ready = true;
        go(s);
    }
}

bool session_idle(const struct session *s)
{
    return s->alive && s->status == 'I' && !s->txn && buf_len(&s->talk->in) == 0;
}

bool session_alive(const struct session *s)
{
    return s->alive;
}

static void woken(void *arg, uint64_t n)
{
    struct session *s = arg;
    (void)n;
    if (!s->alive || !s->waits_for)
        return;
    s->waits_for = NULL;
    s->talk->ready = true;
    go(s);
}

void session_wake_all(struct shard *d)
{
    for (struct session *s = d->sessions; s; s = s->next)
        if (s->alive && s->waits_for)
            world_at(1, woken, s, 0);
}

void sessions_forget(struct shard *d)
{
    for (struct session *s = d->sessions; s; s = s->next) {
        buf_free(&s->talk->in);
        buf_free(&s->talk->out);
        buf_free(&s->talk->copied);
        free(s->talk);
    }
}
