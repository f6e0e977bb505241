/*
 * What a client's statements have left in the sessions of its servers.
 *
 * A plan says what a statement may leave or end (route/router_effects.c); a link collects that until its server could go
 * back to the pool. Then the server is asked, by one query, what is really there. The client has its answer by then; its next
 * message waits.
 *
 *     nothing                            the server goes back
 *     variables, the role                the session's own from now on: what it says to other servers, and what is
 *                                        taken back on this one for another client
 *     locks, LISTEN, temporary objects,  the link keeps its server (pinned) until a later look finds them gone
 *     prepared statements, cursors
 *
 * What cannot be asked marks the server (server.closes_after): nobody else gets it, it is closed instead. So does it when
 * statements of the proxy's own are missing: their names may stand for something else by now.
 *
 * A look that fails tells nothing: then all that was asked for counts as there, until the next one.
 *
 * Not responsible for: cleaning a server that goes back without a look, because its client is gone (backend/pool.c).
 */
#include "session.h"

#include "base/log.h"
#include "sql/effects.h"

#include <stdio.h>
#include <stdlib.h>

/* Each a SELECT of (kind, name, value). */
static const struct question {
    uint16_t effect;
    const char *sql;
} questions[] = {
    {EFFECT_LOCK, "SELECT 'L'::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text WHERE EXISTS"
                  " (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'"
                  " AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())"},
    {EFFECT_LISTEN, "SELECT 'N'::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text WHERE EXISTS"
                    " (SELECT FROM pg_catalog.pg_listening_channels())"},
    {EFFECT_TEMPORARY,
     "SELECT 'T'::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text WHERE EXISTS"
     " (SELECT FROM pg_catalog.pg_depend d WHERE d.refobjid OPERATOR(pg_catalog.=) "
     "pg_catalog.pg_my_temp_schema()"
     " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass)"},
    {EFFECT_PREPARED, "SELECT 'P'::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text WHERE EXISTS"
                      " (SELECT FROM pg_catalog.pg_prepared_statements s WHERE s.from_sql)"
                      " UNION ALL SELECT 'O', NULL, (SELECT pg_catalog.count(*)::pg_catalog.text"
                      " FROM pg_catalog.pg_prepared_statements s WHERE NOT s.from_sql)"},
    {EFFECT_CURSOR, "SELECT 'C'::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text WHERE EXISTS"
                    " (SELECT FROM pg_catalog.pg_cursors c WHERE c.is_holdable)"},
    {EFFECT_VARIABLE,
     "SELECT 'V'::pg_catalog.text, pg_catalog.lower(g.name), pg_catalog.current_setting(g.name)"
     " FROM pg_catalog.pg_settings g WHERE g.source OPERATOR(pg_catalog.=) 'session' AND g.context "
     "OPERATOR(pg_catalog.<>) 'internal'"
     " AND NOT pg_catalog.starts_with(g.name, 'transaction_')"
     " UNION ALL SELECT 'V', 'role', pg_catalog.current_setting('role')"
     " UNION ALL SELECT 'A', NULL, pg_catalog.current_setting('session_authorization')"},
};

static uint16_t effect_of_kind(char kind)
{
    switch (kind) {
    case 'L':
        return EFFECT_LOCK;
    case 'N':
        return EFFECT_LISTEN;
    case 'T':
        return EFFECT_TEMPORARY;
    case 'P':
        return EFFECT_PREPARED;
    case 'C':
        return EFFECT_CURSOR;
    default:
        return 0;
    }
}

/* --- marking ---------------------------------------------------------------------------------- */

void state_mark(struct link *l, uint16_t effects)
{
    struct server *s = l->server;
    l->effects |= effects;
    s->pinned_state |= (effects & (EFFECTS_ASKED | EFFECT_HIDDEN)) != 0;
    s->closes_after |= (effects & EFFECT_HIDDEN) != 0;
    l->kept |= (effects & EFFECT_KEPT) != 0;
    l->pinned |= l->kept;
    if (effects & (EFFECT_SEQUENCE | EFFECT_SEQUENCE_READ | EFFECT_SEQUENCE_END))
        sequences_mark(l, effects);
}

bool state_unasked(const struct link *l)
{
    return l->effects & EFFECT_VARIABLE && plan_custom_name(l->client, 0);
}

/* --- asking ----------------------------------------------------------------------------------- */

const char *state_question(size_t i)
{
    return i < sizeof questions / sizeof questions[0] ? questions[i].sql : NULL;
}

void state_custom_question(struct buf *sql, const char *name)
{
    buf_printf(sql, " UNION ALL SELECT 'X', '%s', pg_catalog.current_setting('%s', true)", name, name);
}

static void append_custom_names(struct client *c, struct buf *sql)
{
    const char *name;
    for (size_t i = 0; (name = plan_custom_name(c, i)); i++)
        state_custom_question(sql, name);
}

/* Those that the look will not mention. */
static struct varset *unasked_variables(struct client *c)
{
    unsigned n = c->vars ? c->vars->n : 0;
    struct var_change *customs = xmalloc((n + 1) * sizeof *customs);
    size_t n_customs = 0;
    for (unsigned i = 0; i < n; i++)
        if (varset_is_custom(c->vars->vars[i].name))
            customs[n_customs++] = (struct var_change){c->vars->vars[i].name, c->vars->vars[i].value, false};
    struct varset *v = varset_with_all(NULL, customs, n_customs);
    free(customs);
    return v;
}

bool state_ask(struct link *l)
{
    struct client *c = l->client;
    bool any = false;
    if (!(l->effects & EFFECTS_ASKED))
        return false;
    struct buf *sql = client_scratch(c);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        if (!(l->effects & questions[i].effect))
            continue;
        buf_printf(sql, "%s%s", any ? " UNION ALL " : "", questions[i].sql);
        any = true;
    }
    if (l->effects & EFFECT_VARIABLE) {
        append_custom_names(c, sql);
        varset_unref(&l->found_vars);
        l->found_vars = unasked_variables(c);
    }
    l->found = 0;
    l->look_failed = false;
    l->looking = true;
    c->looks++;
    link_query(l, buf_slice(sql), SINK_MESSAGE, TAG_STATE);
    return true;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void found_variable(struct link *l, const char *name, struct slice value)
{
    const char *known = varset_get(l->client->vars, name);
    char *shown = xstrndup(value.data, value.len);
    struct varset *v = varset_with(l->found_vars, name, known && vars_shown_as(known, shown) ? known : shown);
    free(shown);
    varset_unref(&l->found_vars);
    l->found_vars = v;
}

static bool is_text(struct slice value, const char *text)
{
    return value.len == strlen(text) && memcmp(value.data, text, value.len) == 0;
}

/* A function of the application's can do away with statements that the proxy prepared, and make others of their names. */
static void count_own_statements(struct server *s, struct slice count)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%.*s", (int)count.len, count.data ? (const char *)count.data : "");
    if (strtoull(digits, NULL, 10) < prepared_set_count(s->prepared))
        s->closes_after = true;
}

static void found_row(struct link *l, char kind, const char *name, struct slice value)
{
    bool is_default = false;
    switch (kind) {
    case 'V':
        is_default = strcmp(name, "role") == 0 && is_text(value, "none");
        break;
    case 'A':
        name = "session_authorization";
        is_default = is_text(value, backend_conn_user(l->server->conn));
        break;
    case 'X':
        is_default = !value.data;
        break;
    case 'O':
        count_own_statements(l->server, value);
        return;
    default:
        l->found |= effect_of_kind(kind);
        return;
    }
    if (!is_default)
        found_variable(l, name, value);
}

/* The server says what its variables are: that is what the session has set. */
static void follow_variables(struct link *l)
{
    struct client *c = l->client;
    struct varset *v = varset_share(c->env->varsets, l->found_vars);
    l->found_vars = NULL;
    bool begun = c->txn.state != TXN_NONE && varset_equal(c->vars, c->txn.vars_before);
    struct varset *has = varset_share(c->env->varsets, varset_with_customs(v, l->server->vars));
    varset_unref(&l->server->vars);
    l->server->vars = has;
    if (varset_equal(c->vars, v)) {
        varset_unref(&v);
        return;
    }
    varset_unref(&c->vars);
    c->vars = varset_ref(v);
    if (begun) { /* by COMMIT AND CHAIN */
        varset_unref(&c->txn.vars_before);
        c->txn.vars_before = varset_ref(v);
    }
    varset_unref(&v);
}

static void conclude(struct link *l)
{
    struct client *c = l->client;
    uint16_t asked = l->effects & EFFECTS_ASKED;
    if (l->look_failed) {
        l->found = asked;
        varset_unref(&l->found_vars);
    } else {
        if (asked & EFFECT_VARIABLE)
            follow_variables(l);
    }
    if (asked & EFFECT_TEMPORARY) {
        if (l->renewed || (l->found | l->held) & EFFECT_TEMPORARY)
            prepared_set_stale(l->server->prepared);
        l->temporary = l->temporary_unsure = l->doubtful = l->renewed = false;
        l->temporary_set = l->found & EFFECT_TEMPORARY ? l->temporary_set : 0;
        c->temporary |= (l->found & EFFECT_TEMPORARY) != 0;
    }
    l->effects = 0;
    l->held = (uint16_t)((l->held & ~asked) | l->found);
    l->pinned = l->held != 0 || l->kept;
    l->server->pinned_state = l->pinned;
    log_debug("client pid %u: %s shard \"%s\": kinds of state left there: 0x%x", c->pid,
              l->pinned ? "keeps its server of" : "gives back", c->db->shards[l->shard]->name,
              (unsigned)l->held);
}

static void look_ends(struct link *l)
{
    l->looking = false;
    l->client->looks--;
}

static void answered(struct link *l)
{
    struct client *c = l->client;
    look_ends(l);
    if (c->state != CLIENT_CLOSING)
        conclude(l);
    link_put(l, !l->lost);
    client_free_if_done(c);
    if (c->state == CLIENT_READY && c->looks == 0 && c->txn.state == TXN_NONE && c->config != c->env->config)
        client_reconfigure(c);
    client_resume(c);
}

void state_message(struct link *l, const struct frame *f)
{
    struct slice v[3];
    uint16_t n;
    struct error e;
    switch (f->type) {
    case MSG_ERROR:
        l->look_failed = true;
        return;
    case MSG_DATA_ROW:
        if (message_read_data_row(f, v, 3, &n, &e) != STATUS_OK || n != 3 || v[0].len != 1) {
            l->look_failed = true;
            return;
        }
        char *name = v[1].data ? xstrndup(v[1].data, v[1].len) : NULL;
        found_row(l, (char)v[0].data[0], name ? name : "", v[2]);
        free(name);
        return;
    case MSG_READY:
        answered(l);
        return;
    default:
        return;
    }
}

void state_lost(struct link *l, const struct error *why)
{
    struct client *c = l->client;
    struct error e;
    look_ends(l);
    bool relied_on =
        l->pinned || link_violated(why) || (l->effects & EFFECTS_ASKED & ~(unsigned)EFFECT_VARIABLE) != 0;
    link_lost_error(l, why, &e);
    link_put(l, false);
    if (relied_on && c->state != CLIENT_CLOSING)
        client_fatal(c, &e); /* with what the session had there */
    client_free_if_done(c);
    client_resume(c);
}

/* --- DEALLOCATE ------------------------------------------------------------------------------- */

/* The link whose server has, or may have, statements of PREPARE. */
static struct link *prepared_link(struct client *c)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->server && !c->links[i]->lost &&
            (c->links[i]->held | c->links[i]->effects) & EFFECT_PREPARED)
            return c->links[i];
    return NULL;
}

bool state_has_prepared(struct client *c)
{
    return prepared_link(c) != NULL;
}

enum dispatch state_deallocate(struct client *c, struct slice sql, bool all)
{
    struct link *l = prepared_link(c);
    struct shard_set one;
    struct error e;
    shard_set_clear(&one);
    shard_set_add(&one, l->shard);
    switch (links_acquire(c, &one, &e)) {
    case ACQUIRE_WAIT:
        return DISPATCH_AGAIN;
    case ACQUIRE_FAILED:
        run_error_answer(c, &e, false);
        run_statement_done(c, false);
        return DISPATCH_DONE;
    case ACQUIRE_READY:
        break;
    }
    if (l->open_pipeline)
        link_sync(l);
    link_prepare(l);
    state_mark(l, EFFECT_PREPARED);
    if (all)
        prepared_set_clear(l->server->prepared); /* the pool's own go, too */
    c->run_failed = c->preamble_failed = false;
    c->control_due = 1;
    c->control_tag = all ? "DEALLOCATE ALL" : "DEALLOCATE";
    c->control_done = NULL;
    link_query(l, sql, SINK_MESSAGE, TAG_CONTROL);
    c->run = RUN_CONTROL;
    return DISPATCH_DONE;
}
