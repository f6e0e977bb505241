/*
 * What the client has been told of its variables (ParameterStatus), and what it means for reading its
 * statements and merging rows.
 */
#include "session.h"

/* Encodings in which a byte below 128 may be part of a character: the lexer would misread them. */
bool vars_encoding_is_unsafe(const char *name)
{
    static const char *const unsafe[] = {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"};
    const char *canonical = backend_encoding_name(name);
    for (size_t i = 0; canonical && i < sizeof unsafe / sizeof unsafe[0]; i++)
        if (strcmp(canonical, unsafe[i]) == 0)
            return true;
    return false;
}

enum status vars_check_readable(const struct client *c, struct slice sql, struct error *error_r)
{
    if (c->unsafe_encoding) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "this client_encoding is not supported");
        error_hint(error_r, "Use UTF8, or a single-byte encoding.");
        return STATUS_ERROR;
    }
    if (!c->nonstandard_strings || !sql.len || !memchr(sql.data, '\\', sql.len))
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "a backslash in a statement is not supported while standard_conforming_strings is off");
    error_hint(error_r,
               "SET standard_conforming_strings TO on, and write E'...' where backslashes are escapes.");
    return STATUS_ERROR;
}

/* Whether bytes outside ASCII are others for the client than in the server. With SQL_ASCII on either side nothing is
   converted. */
static bool converts(const char *client, const char *server)
{
    const char *a = backend_encoding_name(client), *b = backend_encoding_name(server);
    if (!a || !b)
        return strcasecmp(client, server) != 0;
    return strcmp(a, b) != 0 && strcmp(a, "SQL_ASCII") != 0 && strcmp(b, "SQL_ASCII") != 0;
}

void vars_apply_reported(struct client *c)
{
    const char *style = varset_get(c->reported, "DateStyle"),
               *strings = varset_get(c->reported, "standard_conforming_strings");
    const char *client = varset_get(c->reported, "client_encoding"),
               *server = varset_get(c->reported, "server_encoding");
    if (style)
        datum_style_parse(style, &c->style);
    c->nonstandard_strings = strings && strcasecmp(strings, "on") != 0;
    c->unsafe_encoding = client && vars_encoding_is_unsafe(client);
    c->transcoded = client && server && converts(client, server);
}

void vars_note_reported(struct client *c, const char *name, const char *value)
{
    struct varset *v = vars_with(c, c->reported, name, value);
    varset_unref(&c->reported);
    c->reported = v;
    vars_apply_reported(c);
}

static void keep(struct client *c, struct varset **v, const char *name, const char *value)
{
    if (varset_get(*v, name))
        return;
    struct varset *with = vars_with(c, *v, name, value);
    varset_unref(v);
    *v = with;
}

/* What a session has of its own and a client is told, and as it is folded. */
static const char *const told_names[][2] = {
    {"DateStyle", "datestyle"},
    {"IntervalStyle", "intervalstyle"},
    {"TimeZone", "timezone"},
    {"client_encoding", "client_encoding"},
    {"default_transaction_read_only", "default_transaction_read_only"}};
#define N_TOLD (sizeof told_names / sizeof told_names[0])
static const char isolation_name[] = "default_transaction_isolation";

static void keep_one(struct client *c, const char *name, const char *told, const char *has)
{
    if (!told || !has || !*has || strcmp(told, has) == 0)
        return;
    if (c->txn.state != TXN_NONE)
        keep(c, &c->txn.vars_before, name, told);
    keep(c, &c->vars_startup, name, told);
    keep(c, &c->vars, name, told);
}

/* The server began with other defaults than the session: those of a role or a database have changed since, or are others on
   this shard. A session of PostgreSQL keeps what it began with; so the session has set what its client was told then.
   What is not told (work_mem, search_path, ...) comes as it is with the server. */
void vars_keep_told(struct client *c, const struct server *s)
{
    if (!c->began || !s->begun->told)
        return;
    for (size_t i = 0; i < N_TOLD; i++)
        keep_one(c, told_names[i][1], varset_get(c->began, told_names[i][0]),
                 backend_conn_parameter(s->conn, told_names[i][0]));
    keep_one(c, isolation_name, varset_get(c->began, isolation_name), s->begun->isolation);
    c->told = s->begun->told;
}

static bool differs(const struct varset *a, const struct varset *b, const char *name)
{
    const char *x = varset_get(a, name), *y = varset_get(b, name);
    return (a && a->unknown) || (b && b->unknown) || (x && y ? strcmp(x, y) != 0 : x != y);
}

/* A statement that sets nothing cannot have led to it: the server has read its configuration anew. So others have, or
   will. The connection is closed after this, and the next one is compared (backend/defaults.h). */
static bool is_unexplained(const struct client *c, const struct link *l, const char *name)
{
    size_t i = 0;
    while (i < N_TOLD && strcmp(told_names[i][0], name) != 0)
        i++;
    if (i == N_TOLD || l->effects || l->pinned || c->set || !list_empty(&c->txn.replay) ||
        server_outstanding(l->server) == 0)
        return false;
    uint16_t tag = server_expectation(l->server, 0)->tag;
    return tag == TAG_STATEMENT || tag == TAG_SYNC ||
           (tag == TAG_VARIABLES && !differs(l->vars_before, l->server->vars, told_names[i][1]));
}

void vars_parameter_status(struct client *c, struct link *l, const struct frame *f)
{
    const char *name, *value;
    struct error e;
    if (message_read_parameter_status(f, &name, &value, &e) != STATUS_OK)
        return;
    if (is_unexplained(c, l, name))
        l->server->closes_after = true;
    if (l->vars_due && c->txn.state != TXN_NONE && !SEEDED_BUG(BUG_REPORT_FORMER))
        return; /* what the session had before its transaction; what that has set since comes behind it */
    const char *known = varset_get(c->reported, name);
    if (known && strcmp(known, value) == 0)
        return; /* every shard says so; the client hears it once */
    vars_note_reported(c, name, value);
    client_write(c, f->whole.data, f->whole.len);
}
