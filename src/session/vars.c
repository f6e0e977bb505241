/*
 * Variables of the session: SET, RESET, DISCARD, across pooled servers.
 *
 * The session keeps what it has set (client.vars, SQL text of the values); every server knows what it is set
 * to (server.vars); link.c sends the difference when they meet. A SET is run on a shard at once all the same:
 * it is PostgreSQL that knows whether a value is good, and that reports what it became. Within a transaction
 * it runs on every participant, and is replayed for those that join later.
 */
#include "session.h"

#include "base/log.h"

#include <ctype.h>
#include <stdlib.h>

struct varset *vars_with(struct client *c, const struct varset *v, const char *name, const char *value)
{
    return varset_share(c->env->varsets, varset_with(v, name, value));
}

/* --- what the client has been told ------------------------------------------------------------ */

/* Encodings in which a byte below 128 may be part of a character: the lexer would misread them. */
static bool encoding_is_unsafe(const char *name)
{
    static const char *const unsafe[] = {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"};
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++)
        if (strcasecmp(name, unsafe[i]) == 0)
            return true;
    return false;
}

/* What the reported values mean for reading the client's statements and merging rows. */
void vars_apply_reported(struct client *c)
{
    const char *style = varset_get(c->reported, "DateStyle"),
               *strings = varset_get(c->reported, "standard_conforming_strings");
    const char *client = varset_get(c->reported, "client_encoding"),
               *server = varset_get(c->reported, "server_encoding");
    if (style)
        datum_style_parse(style, &c->style);
    c->nonstandard_strings = strings && strcasecmp(strings, "on") != 0;
    c->unsafe_encoding = client && encoding_is_unsafe(client);
    c->transcoded = client && server && strcasecmp(client, server) != 0;
}

void vars_note_reported(struct client *c, const char *name, const char *value)
{
    struct varset *v = vars_with(c, c->reported, name, value);
    varset_unref(&c->reported);
    c->reported = v;
    vars_apply_reported(c);
}

void vars_parameter_status(struct client *c, struct link *l, const struct frame *f)
{
    const char *name, *value;
    struct error e;
    (void)l;
    if (message_read_parameter_status(f, &name, &value, &e) != STATUS_OK)
        return;
    const char *known = varset_get(c->reported, name);
    if (known && strcmp(known, value) == 0)
        return; /* every shard says so; the client hears it once */
    vars_note_reported(c, name, value);
    client_write(c, f->whole.data, f->whole.len);
}

/* --- startup ---------------------------------------------------------------------------------- */

static bool is_list(const char *name)
{
    static const char *const lists[] = {"search_path", "temp_tablespaces", "session_preload_libraries",
                                        "local_preload_libraries"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcasecmp(name, lists[i]) == 0)
            return true;
    return false;
}

static bool name_ok(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '.')
            return false;
    return true;
}

bool vars_startup(struct client *c, const char *name, const char *value)
{
    char folded[64];
    struct buf b;
    size_t n = strlen(name);
    if (n >= sizeof folded || !name_ok(name))
        return false;
    for (size_t i = 0; i <= n; i++)
        folded[i] = (char)tolower((unsigned char)name[i]);
    buf_init(&b);
    if (is_list(folded) && *value) {
        bool quoted = false;
        for (const char *p = value; *p; p++) {
            if (*p == '"')
                quoted = !quoted;
            else if (!quoted && !isalnum((unsigned char)*p) && !strchr("_$, ", *p) &&
                     !((unsigned char)*p & 0x80)) {
                buf_free(&b);
                return false;
            }
        }
        if (quoted) {
            buf_free(&b);
            return false;
        }
        buf_str(&b, value);
    } else {
        bool backslash = strchr(value, '\\') != NULL;
        buf_str(&b, backslash ? "E'" : "'");
        for (const char *p = value; *p; p++) {
            if (*p == '\'' || *p == '\\')
                buf_u8(&b, (uint8_t)*p);
            buf_u8(&b, (uint8_t)*p);
        }
        buf_u8(&b, '\'');
    }
    buf_u8(&b, 0);
    struct varset *v = vars_with(c, c->vars, folded, (const char *)buf_head(&b));
    varset_unref(&c->vars);
    c->vars = v;
    buf_free(&b);
    return true;
}

/* --- SET -------------------------------------------------------------------------------------- */

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && isspace((unsigned char)*p))
        p++;
    return p;
}

static const char *skip_word(const char *p, const char *end)
{
    if (p < end && *p == '"') {
        for (p++; p < end && *p != '"'; p++)
            ;
        return p < end ? p + 1 : p;
    }
    while (p < end && (isalnum((unsigned char)*p) || *p == '_' || *p == '.' || *p == '$'))
        p++;
    return p;
}

static bool word_is(const char *p, const char *q, const char *word)
{
    return (size_t)(q - p) == strlen(word) && strncasecmp(p, word, (size_t)(q - p)) == 0;
}

/* The value's SQL text in SET [SESSION] name { TO | = } value, and in the forms with words of their own:
   SET TIME ZONE value, SET NAMES value, SET ROLE value. False: another form. Comments have been refused by
   the caller. */
static bool set_value(struct slice sql, struct slice *value_r)
{
    const char *p = (const char *)sql.data, *end = p + sql.len, *q;
    p = skip_word(skip_space(p, end), end); /* SET */
    p = skip_space(p, end);
    q = skip_word(p, end);
    if (word_is(p, q, "session") || word_is(p, q, "local")) {
        const char *after = skip_space(q, end);
        if (after < end && *after != '=') {
            p = after;
            q = skip_word(p, end);
        }
    }
    const char *next = skip_space(q, end), *next_end = skip_word(next, end);
    if (word_is(p, q, "time") && word_is(next, next_end, "zone"))
        q = next_end;
    else if (!word_is(p, q, "names") && !word_is(p, q, "role")) {
        if (next < end && *next == '=')
            q = next + 1;
        else if (word_is(next, next_end, "to"))
            q = next_end;
        else
            return false;
    }
    p = skip_space(q, end);
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    *value_r = slice_of(p, (size_t)(end - p));
    return p < end;
}

/* The answer of all shards is there (run.c). */
static void set_done(struct client *c, bool ok)
{
    if (ok && c->control_has_vars) {
        varset_unref(&c->vars);
        c->vars = c->control_vars;
        c->control_vars = NULL;
        for (unsigned i = 0; i < c->n_links; i++) {
            struct link *l = c->links[i];
            if (c->txn.state != TXN_NONE || !l->server || l->shard != c->db->home)
                continue; /* in a transaction: when it ends (txn_ended); others: link_prepare() */
            varset_unref(&l->server->vars);
            l->server->vars = c->vars ? varset_ref(c->vars) : NULL;
        }
    }
    varset_unref(&c->control_vars);
    c->control_has_vars = false;
}

static enum dispatch set_failed(struct client *c, const struct error *e)
{
    varset_unref(&c->control_vars);
    c->control_has_vars = false;
    run_error_answer(c, e, false);
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

/* Runs sql on every participant (at least on the home shard), and then makes `vars` (owned; NULL with
 * !has_vars) the session's. */
static enum dispatch set_everywhere(struct client *c, struct slice sql, const char *tag, struct varset *vars,
                                    bool has_vars, bool replay)
{
    struct error e;
    bool any = false;
    varset_unref(&c->control_vars);
    c->control_vars = vars;
    c->control_has_vars = has_vars;
    for (unsigned i = 0; i < c->n_links; i++)
        any |= c->links[i]->in_txn && !c->links[i]->lost;
    if (!any) {
        struct shard_set home;
        shard_set_clear(&home);
        shard_set_add(&home, c->db->home);
        switch (links_acquire(c, &home, &e)) {
        case ACQUIRE_WAIT:
            varset_unref(&c->control_vars);
            return DISPATCH_AGAIN;
        case ACQUIRE_FAILED:
            return set_failed(c, &e);
        case ACQUIRE_READY:
            break;
        }
        link_prepare(link_find(c, c->db->home));
    }
    c->control_due = 0;
    c->control_tag = tag;
    c->control_done = set_done;
    c->run_failed = c->preamble_failed = false;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->lost || !l->server || (c->txn.state != TXN_NONE && !l->in_txn) ||
            (c->txn.state == TXN_NONE && l->shard != c->db->home))
            continue;
        if (l->open_pipeline)
            link_sync(l);
        link_query(l, sql, SINK_MESSAGE, TAG_CONTROL);
        if (c->control_due++ == 0)
            c->speaker = l->shard;
    }
    c->run = RUN_CONTROL;
    if (replay && c->txn.state != TXN_NONE)
        txn_add_replay(c, NULL, sql);
    return DISPATCH_DONE;
}

static bool same_word(struct slice v, const char *a, const char *b)
{
    char word[16];
    if (v.len >= 2 && v.data[0] == '\'' && v.data[v.len - 1] == '\'')
        v = slice_of(v.data + 1, v.len - 2);
    if (v.len >= sizeof word)
        return false;
    memcpy(word, v.data, v.len);
    word[v.len] = 0;
    return strcasecmp(word, a) == 0 || strcasecmp(word, b) == 0;
}

/* These are modes of the transaction at hand, not variables to be kept. */
static bool name_refused(const char *name, struct error *e)
{
    if (strncmp(name, "transaction_", 12) != 0 || strcmp(name, "transaction_timeout") == 0)
        return false;
    error_set(e, SQLSTATE_FEATURE_NOT_SUPPORTED, "%s cannot be set by its name", name);
    error_hint(e, "Use SET TRANSACTION.");
    return true;
}

static bool value_refused(const char *name, struct slice value, struct error *e)
{
    if (strcmp(name, "standard_conforming_strings") == 0 &&
        (same_word(value, "off", "false") || same_word(value, "no", "0"))) {
        error_set(e, SQLSTATE_FEATURE_NOT_SUPPORTED, "standard_conforming_strings = off is not supported");
        error_hint(e, "Write E'...' where backslashes are escapes.");
        return true;
    }
    if (strcmp(name, "client_encoding") == 0) {
        char text[32];
        size_t quote = value.len >= 2 && (value.data[0] == '\'' || value.data[0] == '"');
        size_t n = value.len - 2 * quote;
        if (n < sizeof text) {
            memcpy(text, value.data + quote, n);
            text[n] = 0;
            if (encoding_is_unsafe(text)) {
                error_set(e, SQLSTATE_FEATURE_NOT_SUPPORTED, "client_encoding %s is not supported", text);
                error_hint(e, "Use UTF8, or a single-byte encoding.");
                return true;
            }
        }
    }
    return false;
}

static enum dispatch verb_set(struct client *c, struct plan *p, const struct template *t)
{
    struct error e;
    struct slice value;
    struct buf b;
    const char *reset = varset_get(c->vars_startup, p->name);
    if (name_refused(p->name, &e))
        return set_failed(c, &e);
    if (p->verb == VERB_SET_LOCAL) {
        if (strcmp(p->name, "search_path") == 0 || strcmp(p->name, "role") == 0)
            plan_names_changed(c);
        return set_everywhere(c, t->statement, "SET", NULL, false, true);
    }
    if (p->value_default) {
        struct varset *target = vars_with(c, c->vars, p->name, reset);
        buf_init(&b);
        varset_diff_sql(c->vars, target, &b);
        if (buf_len(&b) == 0) /* it was not set; PostgreSQL knows whether there is such a variable */
            buf_slice_append(&b, t->statement);
        const char *text =
            skip_space((const char *)t->statement.data, (const char *)t->statement.data + t->statement.len);
        enum dispatch d = set_everywhere(c, buf_slice(&b), *text == 'R' || *text == 'r' ? "RESET" : "SET",
                                         target, true, true);
        buf_free(&b);
        return d;
    }
    if (!set_value(t->statement, &value)) {
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "this form of SET is not supported");
        error_hint(&e, "Write SET name TO value.");
        return set_failed(c, &e);
    }
    if (value_refused(p->name, value, &e))
        return set_failed(c, &e);
    char *text = xstrndup(value.data, value.len);
    struct varset *target = vars_with(c, c->vars, p->name, text);
    free(text);
    return set_everywhere(c, t->statement, "SET", target, true, true);
}

static enum dispatch answer(struct client *c, const char *tag)
{
    client_command_complete(c, tag);
    run_statement_done(c, true);
    return DISPATCH_DONE;
}

static enum dispatch reset_all(struct client *c, const char *tag)
{
    struct buf b;
    enum dispatch d;
    buf_init(&b);
    varset_diff_sql(c->vars, c->vars_startup, &b);
    if (buf_len(&b) == 0)
        d = answer(c, tag);
    else
        d = set_everywhere(c, buf_slice(&b), tag, c->vars_startup ? varset_ref(c->vars_startup) : NULL, true,
                           true);
    buf_free(&b);
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
    varset_unref(&c->guc_pgunison);
    if (varset_equal(c->vars, c->vars_startup)) {
        discard_servers(c);
        return answer(c, "DISCARD ALL");
    }
    enum dispatch d = reset_all(c, "DISCARD ALL");
    if (d == DISPATCH_DONE && c->run == RUN_CONTROL)
        c->control_done = discard_done;
    return d;
}

/* --- routing by hand -------------------------------------------------------------------------- */

void vars_restore_local(struct client *c)
{
    if (!c->guc_local)
        return;
    varset_unref(&c->guc_pgunison);
    c->guc_pgunison = c->guc_before;
    c->guc_before = NULL;
    c->guc_local = false;
}

static enum dispatch set_pgunison(struct client *c, struct plan *p)
{
    struct error e;
    const char *name = strncmp(p->name, "pgunison.", 9) == 0 ? p->name + 9 : p->name;
    if (strcmp(name, "shard") != 0) {
        error_set(&e, SQLSTATE_UNDEFINED_OBJECT, "unrecognized configuration parameter \"pgunison.%s\"",
                  name);
        error_hint(&e, "pgunison.shard can be set.");
        return set_failed(c, &e);
    }
    const char *value = p->value && *p->value ? p->value : NULL;
    if (value && !session_allows_hints(c)) {
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "routing by hand is turned off");
        error_hint(&e, "routing_hints = on in the proxy's configuration allows it.");
        return set_failed(c, &e);
    }
    if (value && topology_shard_index(c->db, value) < 0) {
        error_set(&e, SQLSTATE_UNDEFINED_OBJECT, "shard \"%s\" does not exist", value);
        return set_failed(c, &e);
    }
    if (p->local && c->txn.state == TXN_NONE) {
        error_set(&e, SQLSTATE_NO_ACTIVE_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
        client_send_warning(c, &e);
        return answer(c, "SET");
    }
    if (p->local && !c->guc_local) {
        c->guc_before = c->guc_pgunison ? varset_ref(c->guc_pgunison) : NULL;
        c->guc_local = true;
    }
    struct varset *v = vars_with(c, c->guc_pgunison, name, value);
    varset_unref(&c->guc_pgunison);
    c->guc_pgunison = v;
    return answer(c, "SET");
}

enum dispatch vars_set_transaction(struct client *c, const struct transaction_modes *modes, struct slice sql,
                                   const char *tag)
{
    if (c->txn.state != TXN_NONE && modes->isolation >= 0)
        c->txn.modes.isolation =
            modes->isolation; /* for BEGIN on shards that join; the replay says it again */
    return set_everywhere(c, sql, tag, NULL, false, true);
}

enum dispatch vars_verb(struct client *c, struct plan *p, const struct template *t)
{
    if (c->commit)
        return DISPATCH_AGAIN; /* commit_ack = decided: its links are not ours yet */
    switch (p->verb) {
    case VERB_SET_PGUNISON:
        return set_pgunison(c, p);
    case VERB_RESET_ALL:
        return reset_all(c, "RESET");
    case VERB_DISCARD_ALL:
        return discard_all(c);
    case VERB_DEALLOCATE:
        if (p->name && !extended_has_statement(c, p->name) && state_has_prepared(c))
            return state_deallocate(c, t->statement, false);
        if (p->name && !extended_has_statement(c, p->name)) {
            struct error e;
            error_set(&e, SQLSTATE_INVALID_STATEMENT_NAME, "prepared statement \"%s\" does not exist",
                      p->name);
            return set_failed(c, &e);
        }
        extended_deallocate(c, p->name);
        if (!p->name && state_has_prepared(c))
            return state_deallocate(c, t->statement, true);
        return answer(c, p->name ? "DEALLOCATE" : "DEALLOCATE ALL");
    case VERB_SET_TRANSACTION:
        return vars_set_transaction(c, &p->modes, t->statement, "SET");
    default:
        return verb_set(c, p, t);
    }
}
