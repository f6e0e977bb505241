/*
 * The extended query protocol.
 *
 * Messages for one shard pass to it, as a pipeline: as many as the client sends, answers as they come
 * (RUN_PIPELINE). pipeline.c says when those for another may follow. Whatever needs several shards at once, or the
 * proxy itself, waits until the pipeline has run dry. In this way the order of answers is the order of messages
 * without a queue of them.
 *
 * A pipeline up to Sync is one transaction. While it stays on one shard, or only reads, that is the server's own
 * implicit transaction, at no cost. When it spreads otherwise, the first shard's becomes a block after the fact
 * (link_begin_implicit), and Sync commits over all.
 *
 * Errors: everything up to Sync is skipped, here and on the shard.
 */
#include "statements.h"

#include <stdlib.h>

/* --- what many need ---------------------------------------------------------------------------- */

static enum dispatch failed(struct client *c, const struct error *e)
{
    run_error_answer(c, e, false);
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

/* An error of planning, once the answers before it are there; planning again then gives it again. */
static enum dispatch failed_in_order(struct client *c, const struct error *e)
{
    if (pipeline_drained(c))
        return failed(c, e);
    error_keep(&c->plan_error, e);
    return DISPATCH_AGAIN;
}

static bool local_verb(const struct plan *p)
{
    switch (p->verb) {
    case VERB_QUERY:
    case VERB_COPY_IN:
    case VERB_COPY_OUT:
    case VERB_DECLARE_CURSOR:
    case VERB_FETCH:
    case VERB_CLOSE_CURSOR:
    case VERB_PER_SHARD:
        return false;
    case VERB_SHOW:
        return p->name && strncmp(p->name, "pgunison.", 9) == 0;
    default:
        return true;
    }
}

static bool local_has_rows(const struct plan *p)
{
    return p->verb == VERB_SHOW || p->verb == VERB_EXPLAIN_ROUTE || p->verb == VERB_SET_CONFIG;
}

/* --- plans ------------------------------------------------------------------------------------ */

static enum plan_result plan_statement(struct client *c, struct statement_def *def, struct plan **plan_r,
                                       struct error *error_r)
{
    const struct template *t = statement_template(c, def, error_r);
    if (!t)
        return PLAN_FAILED;
    if (t->several)
        return error_set(error_r, SQLSTATE_SYNTAX_ERROR,
                         "cannot insert multiple commands into a prepared statement"),
               PLAN_FAILED;
    enum plan_result r = session_plan(c, t, def->n_oids, def->oids, plan_r, error_r);
    if (r == PLAN_AGAIN && c->run == RUN_PIPELINE)
        (void)pipeline_drained(c);
    return r;
}

struct bind_params {
    struct msg_bind_values values;
    const struct statement_def *def;
};

static void bind_get(const void *arg, uint32_t i, struct slice *value_r, int16_t *format_r,
                     uint32_t *type_oid_r)
{
    struct bind_params *b = (struct bind_params *)(uintptr_t)arg; /* it remembers where it has read */
    if (i >= b->values.m->n_params) {
        *value_r = slice_of(NULL, 0);
        *format_r = 0;
        *type_oid_r = 0;
        return;
    }
    msg_bind_values_get(&b->values, (uint16_t)i, value_r, format_r);
    *type_oid_r = i < b->def->n_oids ? b->def->oids[i] : 0;
}

/* --- Parse ------------------------------------------------------------------------------------ */

/* The message that comes next, if it is there and of this type. */
static bool next_message(const struct client *c, uint8_t type, struct frame *f_r)
{
    size_t need;
    return c->rest.len > 0 && c->rest.data[0] == type &&
           frame_next(c->rest, client_max_message(c), f_r, &need) == FRAME_OK;
}

/* Whether Bind of this statement is what comes next. */
static bool bind_follows(struct client *c, const char *name)
{
    struct frame f;
    size_t len = strlen(name) + 1;
    if (!next_message(c, MSG_BIND, &f))
        return false;
    const uint8_t *portal_end = memchr(f.body.data, 0, f.body.len);
    return portal_end && (size_t)(f.body.data + f.body.len - portal_end) > len &&
           memcmp(portal_end + 1, name, len) == 0;
}

/* Some shard that can parse the statement: one that is at hand, among those that the plan may use. */
static unsigned parsing_shard(struct client *c, const struct plan *p)
{
    struct shard_set all = p->fixed;
    if (p->verb == VERB_FETCH || p->verb == VERB_CLOSE_CURSOR)
        return run_cursor_shard(c, p);
    if (shard_set_count(&all) == 0)
        all = c->db->all_shards;
    if (c->run_link && shard_set_has(&all, c->run_link->shard))
        return c->run_link->shard;
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->server && !c->links[i]->lost && shard_set_has(&all, c->links[i]->shard))
            return c->links[i]->shard;
    return shard_set_has(&all, c->db->home) ? c->db->home : (unsigned)shard_set_next(&all, 0);
}

static enum status check_failed_state(struct client *c, const struct plan *p, struct error *error_r)
{
    if (c->txn.state == TXN_FAILED && p && p->verb != VERB_COMMIT && p->verb != VERB_PREPARE_TRANSACTION &&
        p->verb != VERB_ROLLBACK && p->verb != VERB_ROLLBACK_TO && p->verb != VERB_EMPTY)
        return txn_failed_error(c, error_r);
    return STATUS_OK;
}

/* ParseComplete is due now: by a real Parse on a shard, or, for what the proxy does itself, at once. */
static enum dispatch parse_now(struct client *c, struct client_statement *st, const char *name)
{
    struct plan *p = NULL;
    struct error e;
    enum acquire got;
    enum dispatch d = DISPATCH_DONE;
    switch (plan_statement(c, st->def, &p, &e)) {
    case PLAN_AGAIN:
        return DISPATCH_AGAIN;
    case PLAN_FAILED:
        if (pipeline_drained(c))
            statement_drop(c, name);
        return failed_in_order(c, &e);
    case PLAN_READY:
        break;
    }
    if (check_failed_state(c, p, &e) != STATUS_OK || (p->kind == PLAN_REFUSE && (e = *p->refusal, true))) {
        if (pipeline_drained(c)) {
            statement_drop(c, name);
            d = failed(c, &e);
        } else {
            d = DISPATCH_AGAIN;
        }
    } else if (local_verb(p)) {
        if (!pipeline_drained(c)) {
            d = DISPATCH_AGAIN;
        } else {
            st->acknowledged = true;
            client_send_empty(c, MSG_PARSE_COMPLETE);
        }
    } else {
        struct link *l = pipeline_target(c, parsing_shard(c, p), &got, &e);
        if (!l && got == ACQUIRE_FAILED) {
            statement_drop(c, name);
            d = failed(c, &e);
        } else if (!l || (c->run == RUN_PIPELINE && prepared_set_use(l->server->prepared, st->def) &&
                          !st->unnamed && !pipeline_drained(c))) {
            d = DISPATCH_AGAIN;
        } else if (statement_on_server(l, st)) {
            client_send_empty(c, MSG_PARSE_COMPLETE);
            if (server_outstanding(l->server))
                pipeline_on(c, l); /* of link_prepare(): to be waited for before another shard is used */
        } else {
            pipeline_on(c, l);
        }
    }
    session_unplan(c, &p);
    return d;
}

static enum dispatch on_parse(struct client *c, const struct frame *f)
{
    struct msg_parse m;
    struct error e;
    if (message_read_parse(f, &m, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    struct client_statement *st = c->parse_retry ? statement_find(c, m.name) : NULL;
    if (!st) {
        if (vars_check_readable(c, m.sql, &e) != STATUS_OK)
            return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
        if (*m.name && statement_find(c, m.name)) {
            error_set(&e, SQLSTATE_DUPLICATE_STATEMENT, "prepared statement \"%s\" already exists", m.name);
            return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
        }
        if (*m.name && memory_holds(c, statement_name_bytes(m.name) + m.sql.len, &e) != STATUS_OK)
            return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
        uint32_t *oids = m.n_oids ? xmalloc(m.n_oids * sizeof *oids) : NULL;
        for (uint16_t i = 0; i < m.n_oids; i++)
            oids[i] = load_u32(m.oids + 4 * i);
        st = statement_put(c, m.name, m.sql, m.n_oids, oids);
        free(oids);
    }
    c->parse_retry = false;
    if (bind_follows(c, m.name))
        return DISPATCH_DONE;
    enum dispatch d = parse_now(c, st, m.name);
    c->parse_retry = d == DISPATCH_AGAIN;
    return d;
}

/* --- Bind ------------------------------------------------------------------------------------- */

/* Appends a Bind of the same parameters to other names, and with what is to follow them. */
static void append_bind(struct rope *r, const char *portal, const char *statement, struct slice params,
                        struct slice rest)
{
    struct buf head;
    buf_init(&head);
    buf_u8(&head, MSG_BIND);
    buf_u32(&head, (uint32_t)(4 + strlen(portal) + 1 + strlen(statement) + 1 + params.len + rest.len));
    buf_cstr(&head, portal);
    buf_cstr(&head, statement);
    rope_add(r, buf_slice(&head));
    rope_add(r, params);
    rope_add(r, rest);
    buf_free(&head);
}

static void send_bind(struct link *l, struct client_statement *st, const struct msg_bind *m,
                      const struct frame *f, bool acknowledge)
{
    if (st->unnamed) {
        server_write(l->server, f->whole.data, f->whole.len);
    } else {
        struct buf *b = client_scratch(l->client);
        const char *name = statement_server_name(st);
        struct slice params = m->params_and_rest;
        size_t portal_len = strlen(m->portal) + 1, name_len = strlen(name) + 1;
        uint8_t *head = buf_reserve(b, FRAME_HEADER_BYTES + portal_len + name_len);
        head[0] = MSG_BIND;
        store_u32(head + 1, (uint32_t)(4 + portal_len + name_len + params.len));
        memcpy(head + FRAME_HEADER_BYTES, m->portal, portal_len);
        memcpy(head + FRAME_HEADER_BYTES + portal_len, name, name_len);
        buf_added(b, FRAME_HEADER_BYTES + portal_len + name_len);
        if (params.len < BLOB_MIN_BYTES)
            buf_slice_append(b, params);
        server_write(l->server, buf_head(b), buf_len(b));
        if (params.len >= BLOB_MIN_BYTES)
            server_write(l->server, params.data, params.len);
    }
    server_expect(l->server, EXPECT_BIND, acknowledge ? SINK_MESSAGE : SINK_FORWARD,
                  acknowledge ? TAG_BIND_ACK : TAG_STATEMENT, st);
}

/* Bind of what the proxy, or several shards, will run: kept until Execute. */
static enum dispatch bind_later(struct client *c, struct client_statement *st, const struct msg_bind *m,
                                const struct frame *f, struct plan *p)
{
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    struct client_portal *portal = portal_put(c, m->portal, p, st->def, NULL);
    portal->local = local_verb(p);
    portal_keep_bind(c, portal, f->whole);
    if (!st->acknowledged) {
        st->acknowledged = true;
        client_send_empty(c, MSG_PARSE_COMPLETE);
    }
    client_send_empty(c, MSG_BIND_COMPLETE);
    return DISPATCH_DONE;
}

/* Bind is refused; its Parse, if it has not been answered yet, was right. */
static enum dispatch bind_failed(struct client *c, struct client_statement *st, const struct error *e)
{
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN; /* it will be found again */
    if (!st->acknowledged) {
        st->acknowledged = true;
        client_send_empty(c, MSG_PARSE_COMPLETE);
    }
    return failed(c, e);
}

static enum dispatch bind_planned(struct client *c, struct client_statement *st, const struct msg_bind *m,
                                  const struct frame *f, struct plan *p, bool *kept_r)
{
    struct error e;
    struct shard_set shards;
    enum acquire got;
    enum dispatch d;
    struct bind_params bp = {.def = st->def};
    struct route_params params = {.n = m->n_params, .get = bind_get, .arg = &bp};
    if (check_failed_state(c, p, &e) != STATUS_OK) {
        if (!pipeline_drained(c))
            return DISPATCH_AGAIN;
        if (!st->acknowledged)
            statement_drop(c, m->statement); /* it was Parse that failed */
        return failed(c, &e);
    }
    if (local_verb(p)) {
        d = bind_later(c, st, m, f, p);
        *kept_r = d == DISPATCH_DONE;
        return d;
    }
    if (c->transcoded && run_has_high_bytes(m->params_and_rest) && p->n_keys + p->split.n_rows > 0) {
        run_transcoded_error(&e);
        return bind_failed(c, st, &e);
    }
    msg_bind_values_init(&bp.values, m);
    enum status found = run_find_shards(c, p, statement_template(c, st->def, &e), &params, &shards, NULL, &e);
    msg_bind_values_free(&bp.values);
    if (found != STATUS_OK)
        return bind_failed(c, st, &e);
    if (shard_set_count(&shards) > 1) {
        d = bind_later(c, st, m, f, p);
        *kept_r = d == DISPATCH_DONE;
        return d;
    }
    if (!pipeline_may_run_ahead(p) && !pipeline_alone(c))
        return DISPATCH_AGAIN;
    struct link *l = pipeline_target(c, (unsigned)shard_set_next(&shards, 0), &got, &e);
    if (!l)
        return got == ACQUIRE_FAILED ? bind_failed(c, st, &e) : DISPATCH_AGAIN;
    pipeline_on(c, l);
    bool acknowledge = statement_on_server(l, st);
    send_bind(l, st, m, f, acknowledge);
    run_note_cursor(c, p, &shards);
    portal_put(c, m->portal, p, st->def, l);
    l->bound = true;
    *kept_r = true;
    return DISPATCH_DONE;
}

static enum dispatch on_bind(struct client *c, const struct frame *f)
{
    struct msg_bind m;
    struct error e;
    struct plan *p = NULL;
    bool kept = false;
    if (message_read_bind(f, &m, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    struct client_statement *st = statement_find(c, m.statement);
    if (!st) {
        if (!pipeline_drained(c))
            return DISPATCH_AGAIN;
        if (*m.statement)
            error_set(&e, SQLSTATE_INVALID_STATEMENT_NAME, "prepared statement \"%s\" does not exist",
                      m.statement);
        else
            error_set(&e, SQLSTATE_INVALID_STATEMENT_NAME, "unnamed prepared statement does not exist");
        return failed(c, &e);
    }
    switch (plan_statement(c, st->def, &p, &e)) {
    case PLAN_AGAIN:
        return DISPATCH_AGAIN;
    case PLAN_FAILED:
        if (pipeline_drained(c) && !st->acknowledged)
            statement_drop(c, m.statement); /* it was Parse that failed */
        return failed_in_order(c, &e);
    case PLAN_READY:
        break;
    }
    enum dispatch d;
    if (*m.portal && memory_holds(c, portal_name_bytes(m.portal) + f->whole.len, &e) != STATUS_OK)
        d = bind_failed(c, st, &e);
    else
        d = bind_planned(c, st, &m, f, p, &kept);
    if (!kept)
        session_unplan(c, &p);
    return d;
}

/* --- Describe --------------------------------------------------------------------------------- */

/* Of set_config() alone; nothing else that the proxy runs itself has any. */
static void append_local_params(const struct plan *p, const struct statement_def *def, struct buf *b)
{
    uint32_t *types = xmalloc((p->n_params + 1) * sizeof *types);
    for (uint32_t i = 0; i < p->n_params; i++)
        types[i] = OID_TEXT;
    for (uint32_t k = 0; k < p->n_configs; k++)
        if (p->configs[k].local.source == CONFIG_PARAM && p->configs[k].local.param < p->n_params)
            types[p->configs[k].local.param] = OID_BOOL;
    buf_u16(b, (uint16_t)p->n_params);
    for (uint32_t i = 0; i < p->n_params; i++)
        buf_u32(b, i < def->n_oids && def->oids[i] ? def->oids[i] : types[i]);
    free(types);
}

static enum dispatch describe_local(struct client *c, const struct plan *p, const struct statement_def *def)
{
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    if (def) {
        struct buf *b = client_scratch(c);
        size_t begun = message_begin(b, MSG_PARAMETER_DESCRIPTION);
        append_local_params(p, def, b);
        message_end(b, begun);
        client_send(c, b);
    }
    if (local_has_rows(p))
        show_describe(c, p);
    else
        client_send_empty(c, MSG_NO_DATA);
    return DISPATCH_DONE;
}

static enum dispatch describe_statement(struct client *c, const char *name)
{
    struct error e;
    struct plan *p = NULL;
    enum acquire got;
    enum dispatch d = DISPATCH_DONE;
    struct client_statement *st = statement_find(c, name);
    if (!st) {
        error_set(&e, SQLSTATE_INVALID_STATEMENT_NAME, "prepared statement \"%s\" does not exist", name);
        return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
    }
    switch (plan_statement(c, st->def, &p, &e)) {
    case PLAN_AGAIN:
        return DISPATCH_AGAIN;
    case PLAN_FAILED:
        return failed_in_order(c, &e);
    case PLAN_READY:
        break;
    }
    if (local_verb(p)) {
        d = describe_local(c, p, st->def);
    } else {
        struct link *l = pipeline_target(c, parsing_shard(c, p), &got, &e);
        if (l) {
            struct buf b;
            pipeline_on(c, l);
            (void)statement_on_server(l, st);
            buf_init(&b);
            message_describe(&b, 'S', statement_server_name(st));
            server_write(l->server, buf_head(&b), buf_len(&b));
            server_expect(l->server, EXPECT_DESCRIBE_STATEMENT, SINK_FORWARD, TAG_STATEMENT, NULL);
            buf_free(&b);
        } else {
            d = got == ACQUIRE_FAILED ? failed(c, &e) : DISPATCH_AGAIN;
        }
    }
    session_unplan(c, &p);
    return d;
}

/* Whether what comes next runs this portal to its end, so that its rows' description may come with them. */
static bool execute_follows(struct client *c, const struct client_portal *portal, const char *name)
{
    struct frame f;
    struct msg_execute m;
    struct error e;
    return pipeline_may_run_ahead(portal->plan) && !portal->done && next_message(c, MSG_EXECUTE, &f) &&
           message_read_execute(&f, &m, &e) == STATUS_OK && m.max_rows == 0 && strcmp(m.portal, name) == 0;
}

/* The columns of a portal that several shards will run: one of them is asked, with the client's own text. */
static enum dispatch describe_spread(struct client *c, struct client_portal *portal)
{
    struct error e;
    struct msg_bind m;
    struct frame f;
    size_t need;
    enum acquire got;
    struct link *l = pipeline_target(c, parsing_shard(c, portal->plan), &got, &e);
    if (!l)
        return got == ACQUIRE_FAILED ? failed(c, &e) : DISPATCH_AGAIN;
    if (frame_next(portal->bind_message, UINT32_MAX, &f, &need) != FRAME_OK ||
        message_read_bind(&f, &m, &e) != STATUS_OK)
        return failed(c, &e);
    struct rope r;
    struct buf b;
    rope_init(&r);
    buf_init(&b);
    statement_parse(&r, "", portal->statement);
    append_bind(&r, "", "", m.params_and_rest, slice_of(NULL, 0));
    message_describe(&b, 'P', "");
    rope_add(&r, buf_slice(&b));
    pipeline_on(c, l);
    l->server->unnamed_statement = 0;
    link_write_rope(l, &r, 0, r.n);
    rope_free(&r);
    server_expect(l->server, EXPECT_PARSE, SINK_DROP, TAG_STATEMENT, NULL);
    server_expect(l->server, EXPECT_BIND, SINK_DROP, TAG_STATEMENT, NULL);
    server_expect(l->server, EXPECT_DESCRIBE_PORTAL, SINK_FORWARD, TAG_STATEMENT, NULL);
    buf_free(&b);
    return DISPATCH_DONE;
}

static enum dispatch no_portal(struct client *c, const char *name)
{
    struct error e;
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    error_set(&e, SQLSTATE_INVALID_CURSOR_NAME, "portal \"%s\" does not exist", name);
    return failed(c, &e);
}

/* Who ran it gave its plan away. */
static enum dispatch describe_spent(struct client *c)
{
    struct error e;
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "a portal that was run to its end on several shards, or by the proxy, cannot be described");
    error_hint(&e, "Send Describe before Execute.");
    return failed(c, &e);
}

static enum dispatch on_describe(struct client *c, const struct frame *f)
{
    struct msg_target m;
    struct error e;
    if (message_read_target(f, &m, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    if (m.kind == 'S')
        return describe_statement(c, m.name);
    struct client_portal *portal = portal_find(c, m.name);
    if (!portal)
        return no_portal(c, m.name);
    if (!portal->link && !portal->plan)
        return describe_spent(c);
    if (portal->local)
        return describe_local(c, portal->plan, NULL);
    if (!portal->link && execute_follows(c, portal, m.name)) {
        c->describe_due = true;
        return DISPATCH_DONE;
    }
    if (!portal->link)
        return describe_spread(c, portal);
    struct link *l = portal->link;
    if (!pipeline_turn_to(c, l))
        return DISPATCH_AGAIN;
    pipeline_on(c, l);
    server_write(l->server, f->whole.data, f->whole.len);
    server_expect(l->server, EXPECT_DESCRIBE_PORTAL, SINK_FORWARD, TAG_STATEMENT, NULL);
    return DISPATCH_DONE;
}

/* --- Execute ---------------------------------------------------------------------------------- */

/* What ran in shards' own implicit transactions, up to here, is one transaction with what follows. False: an
   earlier commit is still being applied. */
static bool pipelines_join(struct client *c)
{
    if (c->txn.state != TXN_NONE)
        return true;
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->open_pipeline && !c->links[i]->lost) {
            if (c->commit)
                return false;
            link_begin_implicit(c);
            return true;
        }
    return true;
}

static enum dispatch execute_local(struct client *c, struct client_portal *portal)
{
    struct error e;
    bool handled;
    enum dispatch d;
    struct msg_bind m;
    struct frame f;
    size_t need;
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    const struct template *t = statement_template(c, portal->statement, &e);
    if (!t || frame_next(portal->bind_message, UINT32_MAX, &f, &need) != FRAME_OK ||
        message_read_bind(&f, &m, &e) != STATUS_OK)
        return failed(c, &e);
    struct bind_params bp = {.def = portal->statement};
    struct route_params params = {.n = m.n_params, .get = bind_get, .arg = &bp};
    msg_bind_values_init(&bp.values, &m);
    struct plan *p = portal->plan; /* kept by hand: running it may forget the portal */
    portal->plan = NULL;
    struct statement_def *def = statement_ref(portal->statement);
    if (p->verb == VERB_EXPLAIN_ROUTE)
        d = show_route(c, p, t, false);
    else if (p->verb == VERB_SHOW)
        d = show_pgunison(c, p, false);
    else if (!pipelines_join(c))
        d = DISPATCH_AGAIN;
    else
        d = session_execute_verb(c, p, t, &params, &handled);
    msg_bind_values_free(&bp.values);
    statement_unref(pool_manager_statements(c->env->pools), &def);
    if (d == DISPATCH_AGAIN)
        portal->plan = p;
    else
        session_unplan(c, &p);
    return d;
}

/* One shard's messages of a statement that several run. */
static void append_spread(struct rope *r, unsigned shard, const struct client_portal *portal,
                          const struct template *t, const struct msg_bind *m, const uint8_t *row_shards)
{
    static const uint8_t binary[4] = {0, 1, 0, 1};
    const struct plan *p = portal->plan;
    struct slice params = m->params_and_rest, formats = slice_of(NULL, 0);
    struct rope text;
    struct buf rest;
    rope_init(&text);
    run_shard_text(p, t, row_shards, shard, &text);
    statement_parse_around(r, "", &text, portal->statement);
    rope_free(&text);
    if (p->merge.n_aggregates > 0) { /* partial results in binary: nothing is cut */
        params.len -= m->n_result_formats * 2u + 2u;
        formats = slice_of(binary, sizeof binary);
    }
    append_bind(r, "", "", params, formats);
    buf_init(&rest);
    message_describe(&rest, 'P', "");
    message_execute(&rest, "", 0);
    message_empty(&rest, MSG_SYNC);
    rope_add(r, buf_slice(&rest));
    buf_free(&rest);
}

static void send_spread(struct client *c, const struct shard_set *shards, const struct client_portal *portal,
                        const struct template *t, const struct msg_bind *m, const uint8_t *row_shards)
{
    bool ordered = ordered_wanted(portal->plan, shard_set_count(shards));
    struct rope r;
    rope_init(&r);
    if (ordered)
        ordered_create(c, shards, true);
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        rope_clear(&r);
        append_spread(&r, l->shard, portal, t, m, row_shards);
        if (ordered && portal->plan->kind != PLAN_SPLIT) {
            ordered_put_all(c, &r);
            break;
        }
        if (ordered) {
            ordered_put(c, l->shard, &r);
            continue;
        }
        if (l->open_pipeline)
            link_sync(l);
        link_prepare(l);
        link_mark(l, c->plan);
        link_write_rope(l, &r, 0, r.n);
        link_expect_spread(l);
    }
    rope_free(&r);
    if (ordered)
        ordered_send(c);
}

/* Parameters that a shard's rows do not mention have no type there that PostgreSQL could find out. */
static enum status check_split_types(const struct client_portal *portal, const struct msg_bind *m,
                                     struct error *error_r)
{
    bool typed = portal->statement->n_oids >= m->n_params;
    for (uint16_t i = 0; typed && i < m->n_params; i++)
        typed = portal->statement->oids[i] != 0;
    if (portal->plan->kind != PLAN_SPLIT || typed)
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "a multi-row INSERT over several shards needs the types of its parameters");
    error_hint(error_r, "Give parameter types when preparing the statement, or insert one row at a time.");
    return STATUS_ERROR;
}

/* A read of its own needs no transaction over shards: what it finds is the same with one, and it leaves nothing that an error behind
   it would have to take back. Where one snapshot is promised for all of a pipeline it does need one. */
static bool reads_alone(const struct client *c, const struct plan *p)
{
    struct error e;
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->open_pipeline && (c->links[i]->used || c->links[i]->bound) &&
            !SEEDED_BUG(BUG_READS_APART))
            return false;
    return pipeline_may_run_ahead(p) && txn_may_span(c, &e);
}

static enum dispatch execute_spread(struct client *c, struct client_portal *portal,
                                    const struct msg_execute *x)
{
    struct error e;
    struct msg_bind m;
    struct frame f;
    size_t need;
    struct shard_set shards;
    uint8_t *row_shards = NULL;
    if (!pipeline_drained(c) || c->commit)
        return DISPATCH_AGAIN;
    if (check_failed_state(c, portal->plan, &e) != STATUS_OK)
        return failed(c, &e);
    if (portal->done) {
        error_set(&e, "55000", "portal cannot be run again");
        return failed(c, &e);
    }
    if (x->max_rows > 0 && !portal->plan->writes) {
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "a row limit for Execute is not supported over several shards");
        error_hint(&e, "Fetch all rows (fetch size 0), or make the query name one value of the key.");
        return failed(c, &e);
    }
    if (portal->plan->verb == VERB_PER_SHARD || portal->plan->verb == VERB_COPY_IN ||
        portal->plan->verb == VERB_COPY_OUT) {
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "%s over several shards is not supported in the extended protocol",
                  portal->plan->command ? portal->plan->command : "this statement");
        error_hint(&e, "Send it as a simple query.");
        return failed(c, &e);
    }
    const struct template *t = statement_template(c, portal->statement, &e);
    if (!t || frame_next(portal->bind_message, UINT32_MAX, &f, &need) != FRAME_OK ||
        message_read_bind(&f, &m, &e) != STATUS_OK || check_split_types(portal, &m, &e) != STATUS_OK)
        return failed(c, &e);
    struct bind_params bp = {.def = portal->statement};
    struct route_params params = {.n = m.n_params, .get = bind_get, .arg = &bp};
    if (portal->plan->kind == PLAN_SPLIT)
        row_shards = xmalloc(portal->plan->split.n_rows ? portal->plan->split.n_rows : 1);
    msg_bind_values_init(&bp.values, &m);
    enum status s = run_find_shards(c, portal->plan, t, &params, &shards, row_shards, &e);
    msg_bind_values_free(&bp.values);
    enum acquire got = s == STATUS_OK ? links_acquire(c, &shards, &e) : ACQUIRE_FAILED;
    if (got != ACQUIRE_READY) {
        free(row_shards);
        return got == ACQUIRE_WAIT ? DISPATCH_AGAIN : failed(c, &e);
    }
    if (c->txn.state == TXN_NONE && !reads_alone(c, portal->plan))
        link_begin_implicit(c);
    c->multi_first = NULL;
    c->plan = portal->plan;
    portal->plan = NULL;
    portal->done = true;
    struct client_portal run = *portal;
    run.plan = c->plan;
    bool describe = c->describe_due;
    c->describe_due = false;
    if (c->plan->changes_catalog)
        plan_catalog_changed(c);
    if (run_multi_create(c, c->plan, &shards, t, &params, &m, describe, &e) != STATUS_OK) {
        free(row_shards);
        return failed(c, &e);
    }
    send_spread(c, &shards, &run, t, &m, row_shards);
    free(row_shards);
    return DISPATCH_DONE;
}

static enum dispatch on_execute(struct client *c, const struct frame *f)
{
    struct msg_execute m;
    struct error e;
    if (message_read_execute(f, &m, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    struct client_portal *portal = portal_find(c, m.portal);
    if (!portal || (!portal->plan && !portal->done))
        return no_portal(c, m.portal);
    if (portal->local && portal->plan)
        return execute_local(c, portal);
    if (!portal->link)
        return execute_spread(c, portal, &m);
    if (!portal->plan)
        return no_portal(c, m.portal);
    struct link *l = portal->link;
    if (__builtin_expect(check_failed_state(c, portal->plan, &e) != STATUS_OK, 0))
        return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
    if ((!pipeline_may_run_ahead(portal->plan) && !pipeline_alone(c)) || !pipeline_turn_to(c, l))
        return DISPATCH_AGAIN;
    if (portal->plan->verb == VERB_COPY_IN && portal->plan->kind != PLAN_SINGLE && portal->plan->table) {
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "COPY FROM STDIN into a sharded table is not supported in the extended protocol");
        error_hint(&e, "Send it as a simple query.");
        return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
    }
    if (portal->plan->effects && sequences_check(l, portal->plan, &e) != STATUS_OK)
        return pipeline_drained(c) ? failed(c, &e) : DISPATCH_AGAIN;
    if (portal->plan->changes_catalog)
        plan_catalog_changed(c);
    link_mark(l, portal->plan);
    pipeline_on(c, l);
    server_write(l->server, f->whole.data, f->whole.len);
    server_expect(l->server, EXPECT_EXECUTE, SINK_FORWARD, TAG_STATEMENT, NULL);
    link_expect_copy(l, portal->plan);
    if (portal->plan->verb == VERB_COPY_IN)
        c->copy_pass = COPY_PASS_STARTING;
    return DISPATCH_DONE;
}

/* --- Close, Flush, Sync ----------------------------------------------------------------------- */

static enum dispatch on_close(struct client *c, const struct frame *f)
{
    struct msg_target m;
    struct error e;
    if (message_read_target(f, &m, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    if (m.kind == 'P') {
        struct client_portal *portal = portal_find(c, m.name);
        if (portal && portal->link && pipeline_turn_to(c, portal->link)) {
            struct link *l = portal->link;
            pipeline_on(c, l);
            server_write(l->server, f->whole.data, f->whole.len);
            server_expect(l->server, EXPECT_CLOSE, SINK_FORWARD, TAG_STATEMENT, NULL);
            portal_drop(c, m.name);
            return DISPATCH_DONE;
        }
    }
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    if (m.kind == 'P')
        portal_drop(c, m.name);
    else
        statement_drop(c, m.name); /* servers keep theirs: other clients may use it */
    client_send_empty(c, MSG_CLOSE_COMPLETE);
    return DISPATCH_DONE;
}

/* Sync and Flush have no body. */
static enum dispatch has_body(struct client *c)
{
    struct error e;
    if (!pipeline_drained(c))
        return DISPATCH_AGAIN;
    error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "invalid message format");
    return failed(c, &e);
}

static enum dispatch on_flush(struct client *c)
{
    if (c->run == RUN_PIPELINE && !c->sync_pending)
        (void)pipeline_drained(c);
    else if (c->run == RUN_NONE)
        pipeline_flush(c);
    return DISPATCH_DONE;
}

/* All of the cycle has been answered. */
static void end_cycle(struct client *c)
{
    c->sync_pending = false;
    c->skip_till_sync = false;
    c->extended_open = false;
    c->run = RUN_NONE;
    c->run_link = NULL;
    c->order = ORDER_ONE;
    c->copy_pass = COPY_PASS_NONE;
    if (c->txn.state == TXN_NONE) {
        extended_forget_portals(c);
        if (c->run_failed)
            plan_defaults_kept(c);
        plan_txn_ended(c, true);
        links_put_idle(c);
    }
    client_ready(c);
    client_resume(c);
}

/* What waited when an error made it void. */
static void forget_skipped(struct client *c)
{
    statements_drop_unanswered(c);
    c->parse_retry = false;
    error_drop(&c->plan_error);
    error_drop(&c->acquire_error);
}

static enum dispatch on_sync(struct client *c)
{
    static const uint8_t sync[5] = {MSG_SYNC, 0, 0, 0, 4};
    if (c->run != RUN_NONE && c->run != RUN_PIPELINE)
        return DISPATCH_AGAIN;
    if (c->skip_till_sync)
        forget_skipped(c);
    if (c->txn.state == TXN_IMPLICIT || c->txn.state == TXN_IMPLICIT_FAILED) {
        if (!pipeline_drained(c) || c->commit)
            return DISPATCH_AGAIN;
        c->sync_pending = true;
        txn_end(c, !c->skip_till_sync, AFTER_SYNC, "COMMIT", false);
        return DISPATCH_DONE;
    }
    c->control_due = 0;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->open_pipeline || (l->lost && !pipeline_owes(l)))
            continue;
        server_write(l->server, sync, sizeof sync);
        server_expect(l->server, EXPECT_SYNC, SINK_MESSAGE, TAG_SYNC, NULL);
        l->open_pipeline = l->flush_sent = false;
        c->control_due++;
    }
    if (c->control_due == 0) {
        end_cycle(c);
        return DISPATCH_DONE;
    }
    c->sync_pending = true;
    c->run = RUN_PIPELINE;
    return DISPATCH_DONE;
}

/* A simple Query after extended messages without Sync: what they did stands as it would after one. */
bool extended_close_pipeline(struct client *c)
{
    bool flushed = c->run_link && c->run_link->flush_sent;
    if (!pipeline_drained(c)) {
        c->query_flushes |= !flushed && c->run_link && c->run_link->flush_sent;
        return false;
    }
    if (!pipelines_join(c))
        return false;
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->open_pipeline)
            link_sync(c->links[i]);
    c->extended_open = false;
    return true;
}

enum dispatch extended_skips_query(struct client *c)
{
    return c->query_syncs ? on_sync(c) : DISPATCH_DONE;
}

static inline void begin_cycle(struct client *c)
{
    c->extended_open = true;
    c->reads_only = c->config->settings.pipeline_ahead;
    c->run_failed = c->query_flushes = c->query_syncs = c->describe_due = false;
    client_request_begins(c);
}

enum dispatch extended_refused(struct client *c, const struct error *e)
{
    if (c->sync_pending || c->simple_open || c->multi)
        return DISPATCH_AGAIN;
    if (c->skip_till_sync)
        return DISPATCH_DONE;
    if (!c->extended_open)
        begin_cycle(c);
    return pipeline_drained(c) ? failed(c, e) : DISPATCH_AGAIN;
}

/* True: *d_r is what becomes of the message. */
static __attribute__((noinline)) bool takes_no_message(struct client *c, const struct frame *f,
                                                       enum dispatch *d_r)
{
    if (c->sync_pending || c->console_waiting || ((c->simple_open || c->multi) && c->run != RUN_COPY_IN))
        *d_r = DISPATCH_AGAIN;
    else if (c->run == RUN_COPY_IN)
        *d_r = DISPATCH_DONE; /* Sync and Flush are ignored while copying in (protocol chapter, "COPY
                                 Operations") */
    else if (c->copy_pass != COPY_PASS_NONE)
        *d_r = c->copy_pass == COPY_PASS_STARTING ? DISPATCH_AGAIN : DISPATCH_DONE;
    else if (c->console)
        *d_r = console_extended(c, f);
    else if (c->skip_till_sync && f->type != MSG_SYNC)
        *d_r = DISPATCH_DONE;
    else
        return false;
    return true;
}

enum dispatch extended_message(struct client *c, const struct frame *f)
{
    /* Together: hardly any message meets one of them. */
    if (c->sync_pending | c->console_waiting | c->simple_open | c->multi | c->console | c->skip_till_sync |
        (c->run == RUN_COPY_IN) | (c->copy_pass != COPY_PASS_NONE)) {
        enum dispatch d = DISPATCH_DONE;
        if (takes_no_message(c, f, &d))
            return d;
    }
    if (!c->extended_open)
        begin_cycle(c);
    switch (f->type) {
    case MSG_PARSE:
        return on_parse(c, f);
    case MSG_BIND:
        return on_bind(c, f);
    case MSG_DESCRIBE:
        return on_describe(c, f);
    case MSG_EXECUTE:
        return on_execute(c, f);
    case MSG_CLOSE:
        return on_close(c, f);
    case MSG_FLUSH:
        return f->body.len > 0 ? has_body(c) : on_flush(c);
    default:
        if (f->body.len > 0 && !c->skip_till_sync && has_body(c) == DISPATCH_AGAIN)
            return DISPATCH_AGAIN;
        return on_sync(c);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Somebody changed a relation behind the proxy's back: what was prepared before is of no use to anybody. (The
   message is not translated by servers whose lc_messages is English; others' clients see the error once
   more.) */
static void note_stale_plan(struct client *c, const struct frame *f)
{
    struct error e, bad;
    if (message_read_error(f, &e, &bad) == STATUS_OK && strcmp(e.sqlstate, "0A000") == 0 &&
        strncmp(e.message, "cached plan must not", 20) == 0)
        plan_catalogs_changed(c);
}

static void pipeline_error(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    bool sync_due = server_sync_due(l->server);
    if ((c->run_failed || c->skip_till_sync) && !c->preamble_failed) { /* it has ended in an error already */
        extended_parse_skipped(c, l, e);
        return;
    }
    if (e->tag == TAG_BIND_ACK)
        client_send_empty(c, MSG_PARSE_COMPLETE); /* Parse had been right */
    if (!c->preamble_failed)
        run_shard_error(c, l, f);
    else
        txn_fail(c);
    note_stale_plan(c, f);
    c->run_failed = true;
    c->copy_pass = COPY_PASS_NONE;
    pipeline_void(c, l);
    if (e->tag != TAG_BIND_ACK)
        extended_parse_skipped(c, l, e);
    if (!sync_due)
        c->skip_till_sync = true;
}

void extended_reply(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    switch (f->type) {
    case MSG_ERROR:
        pipeline_error(c, l, e, f);
        return;
    case MSG_BIND_COMPLETE:
        if (e->tag == TAG_BIND_ACK)
            client_send_empty(c, MSG_PARSE_COMPLETE);
        client_write(c, f->whole.data, f->whole.len);
        return;
    case MSG_READY:
        if (e->tag != TAG_SYNC)
            return;
        if (l->in_txn && l->server->txn_status == 'I')
            run_transaction_vanished(c, l);
        if (--c->control_due == 0)
            end_cycle(c);
        return;
    case MSG_COPY_IN_RESPONSE:
        if (c->copy_pass == COPY_PASS_STARTING) /* else the client has sent all of its data already */
            c->copy_pass = COPY_PASS_DATA;
        client_write(c, f->whole.data, f->whole.len);
        client_resume(c);
        return;
    default: /* CopyOutResponse: passes; copy data of a single shard passes too */
        client_write(c, f->whole.data, f->whole.len);
        return;
    }
}

void extended_link_lost(struct client *c, struct link *l, const struct error *e)
{
    struct server *s = l->server;
    bool sync_due = server_sync_due(s);
    if (!c->run_failed && !c->skip_till_sync)
        run_error_answer(c, e, false);
    c->run_failed = true;
    pipeline_void(c, l);
    for (uint32_t i = 0; i < server_outstanding(s); i++)
        extended_parse_skipped(c, l, server_expectation(s, i));
    server_forget_replies(s);
    l->open_pipeline = false;
    c->copy_pass = COPY_PASS_NONE;
    extended_forget_portals(c);
    if (c->txn.state == TXN_NONE)
        link_put(l, false);
    if (sync_due)
        c->control_due--;
    if (c->sync_pending) {
        if (c->control_due == 0)
            end_cycle(c);
        return;
    }
    if (c->order == ORDER_VOID)
        return; /* others are still to be drained */
    c->run = RUN_NONE;
    c->run_link = NULL;
    client_resume(c);
}
