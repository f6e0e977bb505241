/*
 * The statements about variables: which names they change, what they refuse, and the text that runs. That is the
 * client's own, but where the session's startup packet stands for a server's default (RESET), and where values are
 * parameters (set_config()).
 */
#include "vars.h"

#include "base/quote.h"

#include <stdlib.h>

/* --- refusals --------------------------------------------------------------------------------- */

static bool is_word(const char *value, const char *word, size_t least)
{
    size_t n = strlen(value);
    return n >= least && n <= strlen(word) && strncasecmp(value, word, n) == 0;
}

/* As parse_bool() reads it (src/backend/utils/adt/bool.c). */
static bool says_false(const char *value)
{
    return is_word(value, "false", 1) || is_word(value, "no", 1) || is_word(value, "off", 2) ||
           strcmp(value, "0") == 0;
}

static bool value_refused(const char *name, const char *value, struct error *e)
{
    if (!value)
        return false;
    if (strcmp(name, "standard_conforming_strings") == 0 && says_false(value)) {
        error_set(e, SQLSTATE_FEATURE_NOT_SUPPORTED, "standard_conforming_strings = off is not supported");
        error_hint(e, "Write E'...' where backslashes are escapes.");
        return true;
    }
    if (strcmp(name, "client_encoding") == 0 && vars_encoding_is_unsafe(value)) {
        error_set(e, SQLSTATE_FEATURE_NOT_SUPPORTED, "client_encoding %s is not supported", value);
        error_hint(e, "Use UTF8, or a single-byte encoding.");
        return true;
    }
    return false;
}

/* --- SET, RESET ------------------------------------------------------------------------------- */

static void set_characteristics(struct set *s, const struct transaction_modes *m)
{
    if (m->isolation >= 0)
        set_add(s, "default_transaction_isolation", NULL);
    if (m->read_only >= 0)
        set_add(s, "default_transaction_read_only", NULL);
    if (m->deferrable >= 0)
        set_add(s, "default_transaction_deferrable", NULL);
}

static enum dispatch verb_set(struct client *c, struct plan *p, const struct template *t)
{
    struct error e;
    struct buf sql;
    const char *tag = strcmp(p->command, "RESET") == 0 ? "RESET" : "SET";
    if (p->name && value_refused(p->name, p->value, &e))
        return set_failed(c, &e);
    struct set *s = set_new();
    if (!p->name) {
        set_characteristics(s, &p->modes);
        return set_everywhere(c, s, t->statement, tag);
    }
    const char *startup = p->value_default ? varset_get(c->vars_startup, p->name) : NULL;
    struct set_name *x = set_add(s, p->name, p->value);
    x->local = p->local;
    x->reset = p->value_default && !startup;
    if (!startup)
        return set_everywhere(c, s, t->statement, tag);
    buf_init(&sql);
    varset_set_sql(&sql, p->name, startup, p->local);
    enum dispatch d = set_everywhere(c, s, buf_slice(&sql), tag);
    buf_free(&sql);
    return d;
}

/* --- set_config() ----------------------------------------------------------------------------- */

struct arg {
    struct buf text; /* with its NUL */
    bool null;
};

static void read_arg(const struct config_arg *a, bool boolean, const struct route_params *params,
                     struct arg *out)
{
    struct slice value = slice_of(NULL, 0);
    int16_t format = 0;
    uint32_t type;
    buf_init(&out->text);
    out->null = a->source == CONFIG_NULL;
    if (a->source == CONFIG_TEXT)
        buf_str(&out->text, a->text);
    if (a->source == CONFIG_PARAM) {
        if (params && a->param < params->n)
            params->get(params->arg, a->param, &value, &format, &type);
        out->null = value.data == NULL;
        if (value.data && boolean && format == 1 && value.len == 1)
            buf_str(&out->text, value.data[0] ? "true" : "false");
        else
            buf_slice_append(&out->text, value);
    }
    buf_u8(&out->text, 0);
}

static const char *text_of(const struct arg *a)
{
    return (const char *)buf_head(&a->text);
}

static void append_arg(struct buf *sql, const char *value)
{
    if (value)
        quote_literal(sql, slice_str(value));
    else
        buf_str(sql, "NULL");
}

static int isolation_of(const char *value)
{
    static const char *const levels[] = {"read uncommitted", "read committed", "repeatable read",
                                         "serializable"};
    for (int i = 0; value && i < 4; i++)
        if (strcasecmp(value, levels[i]) == 0)
            return i;
    return -1;
}

/* Servers fold names of variables, and do not cut them. */
static char *folded(const char *name)
{
    char *copy = xstrdup(name);
    for (char *p = copy; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    return copy;
}

static enum status check_call(const char *name, const char *value, struct error *error_r)
{
    if (value_refused(name, value, error_r))
        return STATUS_ERROR;
    if (strncmp(name, "pgunison.", 9) != 0)
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "set_config() of %s is not supported", name);
    error_hint(error_r, "Use SET.");
    return STATUS_ERROR;
}

/* Appends the call, and notes what it sets. What is wrong with its arguments the server will say. */
static void add_call(struct client *c, const struct config_call *call, const char *name,
                     const struct arg *args, struct set *s, struct buf *sql)
{
    const char *value = args[1].null ? NULL : text_of(&args[1]);
    if (strcmp(name, "transaction_isolation") == 0) {
        s->sets_isolation = true;
        s->isolation = isolation_of(value);
    }
    const char *startup = value ? NULL : varset_get(c->vars_startup, name);
    struct set_name *x = set_add(s, name, startup ? NULL : value);
    x->reset = !value && !startup;
    x->local = !args[2].null && !says_false(text_of(&args[2]));
    buf_str(sql, s->n > 1 ? ", pg_catalog.set_config(" : "SELECT pg_catalog.set_config(");
    append_arg(sql, args[0].null ? NULL : text_of(&args[0]));
    buf_str(sql, ", ");
    append_arg(sql, startup ? startup : value);
    buf_str(sql, ", ");
    append_arg(sql, args[2].null ? NULL : text_of(&args[2]));
    buf_str(sql, ") AS ");
    quote_identifier(sql, slice_str(call->column));
}

static enum status read_call(struct client *c, const struct config_call *call,
                             const struct route_params *params, struct set *s, struct buf *sql,
                             struct error *error_r)
{
    struct arg args[3];
    read_arg(&call->name, false, params, &args[0]);
    read_arg(&call->value, false, params, &args[1]);
    read_arg(&call->local, true, params, &args[2]);
    char *name = folded(text_of(&args[0]));
    enum status status = check_call(name, args[1].null ? NULL : text_of(&args[1]), error_r);
    if (status == STATUS_OK)
        add_call(c, call, name, args, s, sql);
    free(name);
    for (int a = 0; a < 3; a++)
        buf_free(&args[a].text);
    return status;
}

static enum dispatch verb_set_config(struct client *c, const struct plan *p,
                                     const struct route_params *params)
{
    struct error e;
    struct buf sql;
    enum status status = STATUS_OK;
    struct set *s = set_new();
    s->wants_rows = true;
    buf_init(&sql);
    for (uint32_t i = 0; i < p->n_configs && status == STATUS_OK; i++)
        status = read_call(c, &p->configs[i], params, s, &sql, &e);
    enum dispatch d;
    if (status == STATUS_OK) {
        d = set_everywhere(c, s, buf_slice(&sql), "SELECT 1");
    } else {
        set_destroy(&s);
        d = set_failed(c, &e);
    }
    buf_free(&sql);
    return d;
}

/* --- RESET ALL, DISCARD ALL ------------------------------------------------------------------- */

static void append_startup(void *arg, const char *name, const char *value)
{
    struct buf *sql = arg;
    if (!value)
        return; /* reset by what stands before */
    buf_u8(sql, ';');
    varset_set_sql(sql, name, value, false);
}

/* What the session has after RESET ALL: its startup packet's values, and the role and the session authorization that
   it has now. */
static struct varset *reset_target(const struct client *c, bool identity)
{
    static const char *const kept[] = {"role", "session_authorization"};
    struct varset *v = varset_ref(c->vars_startup);
    for (int i = 0; i < 2 && !identity; i++) {
        struct varset *next = varset_with(v, kept[i], varset_get(c->vars, kept[i]));
        varset_unref(&v);
        v = next;
    }
    struct varset *all = varset_with_customs(v, c->vars);
    varset_unref(&v);
    return all;
}

/* Without a server that could have anything else, a session that has set nothing need not ask one. */
static enum dispatch reset_all(struct client *c, bool identity, const char *tag)
{
    struct buf sql;
    struct varset *target = reset_target(c, identity);
    if (c->n_links == 0 && varset_equal(target, c->vars)) {
        varset_unref(&target);
        client_command_complete(c, tag);
        run_statement_done(c, true);
        return DISPATCH_DONE;
    }
    struct set *s = set_new();
    s->target = target;
    buf_init(&sql);
    buf_str(&sql, identity ? "RESET SESSION AUTHORIZATION;RESET ALL" : "RESET ALL");
    struct varset *plain = varset_with(c->vars_startup, "role", NULL), *v = plain;
    if (!identity)
        v = varset_with(plain, "session_authorization", NULL);
    (void)varset_diff(NULL, identity ? c->vars_startup : v, NULL, append_startup, &sql);
    if (v != plain)
        varset_unref(&v);
    varset_unref(&plain);
    enum dispatch d = set_everywhere(c, s, buf_slice(&sql), tag);
    buf_free(&sql);
    return d;
}

/* Servers of the session's own are cleaned, and go back. After the variables: where a server must be waited for, so
   that the statement is dispatched again, nothing may have happened yet. */
static void discard_servers(struct client *c)
{
    for (unsigned i = c->n_links; i-- > 0;) {
        struct link *l = c->links[i];
        if (l->server && !l->lost && !l->coordinator_has && !l->ending && !server_outstanding(l->server))
            link_put_reset(l);
    }
}

static void discard_done(struct client *c, bool ok)
{
    set_done(c, ok);
    if (ok)
        discard_servers(c);
}

static enum dispatch discard_all(struct client *c)
{
    struct error e;
    if (c->txn.state != TXN_NONE) {
        error_set(&e, SQLSTATE_ACTIVE_TRANSACTION, "DISCARD ALL cannot run inside a transaction block");
        return set_failed(c, &e);
    }
    extended_deallocate(c, NULL);
    vars_own_reset(c);
    enum dispatch d = reset_all(c, true, "DISCARD ALL");
    if (d == DISPATCH_DONE && c->run == RUN_CONTROL)
        c->control_done = discard_done;
    return d;
}

/* --- all of them ------------------------------------------------------------------------------ */

static enum dispatch deallocate(struct client *c, const struct plan *p, const struct template *t)
{
    struct error e;
    if (p->name && !extended_has_statement(c, p->name)) {
        if (state_has_prepared(c))
            return state_deallocate(c, t->statement, false);
        error_set(&e, SQLSTATE_INVALID_STATEMENT_NAME, "prepared statement \"%s\" does not exist", p->name);
        return set_failed(c, &e);
    }
    extended_deallocate(c, p->name);
    if (!p->name && state_has_prepared(c))
        return state_deallocate(c, t->statement, true);
    client_command_complete(c, p->name ? "DEALLOCATE" : "DEALLOCATE ALL");
    run_statement_done(c, true);
    return DISPATCH_DONE;
}

enum dispatch vars_set_transaction(struct client *c, const struct transaction_modes *modes, struct slice sql,
                                   const char *tag)
{
    struct set *s = set_new();
    s->sets_isolation = modes->isolation >= 0;
    s->isolation = modes->isolation;
    return set_everywhere(c, s, sql, tag);
}

enum dispatch vars_verb(struct client *c, struct plan *p, const struct template *t,
                        const struct route_params *params)
{
    if (c->commit)
        return DISPATCH_AGAIN; /* commit_ack = decided: its links are not ours yet */
    switch (p->verb) {
    case VERB_SET_PGUNISON:
        return vars_own_set(c, p);
    case VERB_SET_CONFIG:
        return verb_set_config(c, p, params);
    case VERB_RESET_ALL:
        vars_own_reset(c);
        return reset_all(c, false, "RESET");
    case VERB_DISCARD_ALL:
        return discard_all(c);
    case VERB_DEALLOCATE:
        return deallocate(c, p, t);
    case VERB_SET_TRANSACTION:
        return vars_set_transaction(c, &p->modes, t->statement, p->command);
    default:
        return verb_set(c, p, t);
    }
}
