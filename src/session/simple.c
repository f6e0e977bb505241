/*
 * The simple query protocol: one Query message with one statement or several, one ReadyForQuery.
 *
 * Nothing of a Query runs if the grammar refuses any of it. Several statements are one transaction (unless they
 * say otherwise): they run one after the other in an implicit block on every shard they touch, and COMMIT comes
 * before the last one's CommandComplete, which is held back until then (simple_holds_tag). While they run, the
 * message stays in the input and is dispatched again for each of them. A COPY FROM STDIN among them needs what
 * comes behind the message: from there on the text is kept (c->query_rest), the message is done with, and client.c
 * goes on with the text before it looks at the next message (simple_go_on).
 */
#include "session.h"

#include <stdlib.h>

/* The Query has been answered with ReadyForQuery. A message that is still in the input is to be dropped when
 * it is dispatched again. */
static void query_finished(struct client *c)
{
    if (c->multi) {
        c->multi = false;
        c->skip_query = c->query_rest.data == NULL;
        free(c->part_ends);
        c->part_ends = NULL;
        c->n_parts = c->part = 0;
    }
}

bool simple_holds_tag(const struct client *c)
{
    return c->multi && c->part == c->n_parts && c->txn.state == TXN_IMPLICIT && !SEEDED_BUG(BUG_TAG_NOT_HELD);
}

void simple_statement_done(struct client *c, bool ok)
{
    if (c->multi && ok && c->part < c->n_parts)
        return; /* the next one: client_resume() has been called for */
    bool implicit = c->txn.state == TXN_IMPLICIT || c->txn.state == TXN_IMPLICIT_FAILED;
    query_finished(c);
    if (implicit) {
        if (!ok)
            buf_clear(&c->held);
        txn_end(c, ok, AFTER_QUERY, "COMMIT", false);
        return;
    }
    client_ready(c);
}

static enum dispatch failed(struct client *c, const struct error *e)
{
    run_error_answer(c, e, false);
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

static bool allowed_in_failed(const struct plan *p)
{
    return p->verb == VERB_COMMIT || p->verb == VERB_PREPARE_TRANSACTION || p->verb == VERB_ROLLBACK ||
           p->verb == VERB_ROLLBACK_TO || p->verb == VERB_EMPTY;
}

enum dispatch session_execute_verb(struct client *c, struct plan *p, const struct template *t,
                                   const struct route_params *params, bool *handled_r)
{
    struct error e;
    *handled_r = true;
    if (c->txn.state == TXN_FAILED && !allowed_in_failed(p)) {
        txn_failed_error(c, &e);
        return failed(c, &e);
    }
    switch (p->verb) {
    case VERB_BEGIN:
    case VERB_COMMIT:
    case VERB_PREPARE_TRANSACTION:
    case VERB_ROLLBACK:
    case VERB_SAVEPOINT:
    case VERB_RELEASE:
    case VERB_ROLLBACK_TO:
        return txn_verb(c, p, t);
    case VERB_SET:
    case VERB_SET_LOCAL:
    case VERB_SET_TRANSACTION:
    case VERB_RESET_ALL:
    case VERB_DISCARD_ALL:
    case VERB_SET_PGUNISON:
    case VERB_SET_CONFIG:
    case VERB_DEALLOCATE:
        return vars_verb(c, p, t, params);
    case VERB_SHOW:
        if (p->name && strncmp(p->name, "pgunison.", 9) == 0)
            return show_pgunison(c, p, true);
        break;
    case VERB_EMPTY: {
        struct buf *b = client_scratch(c);
        message_empty(b, MSG_EMPTY_QUERY);
        client_send(c, b);
        run_statement_done(c, true);
        return DISPATCH_DONE;
    }
    case VERB_EXPLAIN_ROUTE:
    case VERB_QUERY:
    case VERB_COPY_IN:
    case VERB_COPY_OUT:
    case VERB_DECLARE_CURSOR:
    case VERB_FETCH:
    case VERB_CLOSE_CURSOR:
    case VERB_PER_SHARD:
        break;
    }
    *handled_r = false;
    return DISPATCH_DONE;
}

/* One statement, alone or a part of the query, whose template is in the worker's scratch. DISPATCH_AGAIN has
   had no effect. */
static enum dispatch statement_lexed(struct client *c)
{
    struct template *t = &c->env->scratch_template;
    struct plan *p = NULL;
    struct error e;
    bool handled;
    switch (session_plan(c, t, 0, NULL, &p, &e)) {
    case PLAN_AGAIN:
        return DISPATCH_AGAIN;
    case PLAN_FAILED:
        return failed(c, &e);
    case PLAN_READY:
        break;
    }
    if (p->verb == VERB_EXPLAIN_ROUTE) {
        enum dispatch d = show_route(c, p, t, true);
        session_unplan(c, &p);
        return d;
    }
    enum dispatch d = session_execute_verb(c, p, t, NULL, &handled);
    if (handled) {
        session_unplan(c, &p);
        return d;
    }
    d = run_simple(c, p, t);
    if (d == DISPATCH_AGAIN)
        session_unplan(c, &p);
    return d;
}

static enum dispatch statement(struct client *c, struct slice sql)
{
    struct error e;
    if (template_lex(&c->env->scratch_template, sql, &e) != STATUS_OK)
        return failed(c, &e);
    return statement_lexed(c);
}

static enum dispatch several(struct client *c, struct slice sql)
{
    if (!c->multi) {
        struct slice *parts;
        size_t n;
        struct error e;
        if (c->commit)
            return DISPATCH_AGAIN;
        /* As a server does: nothing of it runs if any of it cannot be read. */
        if (sql_check_syntax(sql, &e) != STATUS_OK || sql_split(sql, &parts, &n, &e) != STATUS_OK)
            return failed(c, &e);
        if (n <= 1) { /* and empty ones, which do not count */
            struct slice only = n ? parts[0] : slice_of(sql.data, 0);
            free(parts);
            return statement(c, only);
        }
        c->part_ends = xmalloc(2 * n * sizeof *c->part_ends);
        for (size_t i = 0; i < n; i++) {
            c->part_ends[2 * i] = (size_t)(parts[i].data - sql.data);
            c->part_ends[2 * i + 1] = c->part_ends[2 * i] + parts[i].len;
        }
        free(parts);
        c->n_parts = n;
        c->part = 0;
        c->multi = true;
    }
    while (c->multi && c->run == RUN_NONE && c->state == CLIENT_READY) {
        size_t from = c->part_ends[2 * c->part], to = c->part_ends[2 * c->part + 1];
        if (c->txn.state == TXN_NONE)
            txn_begin_implicit(c);
        c->part++;
        if (statement(c, slice_of(sql.data + from, to - from)) == DISPATCH_AGAIN) {
            c->part--;
            return DISPATCH_AGAIN;
        }
    }
    if (c->multi && c->run == RUN_COPY_IN && !c->query_rest.data) {
        c->query_rest = slice_of((uint8_t *)xstrndup(sql.data, sql.len), sql.len);
        return DISPATCH_DONE;
    }
    if (c->multi)
        return DISPATCH_AGAIN; /* a part runs: its end resumes */
    c->skip_query = false;
    return DISPATCH_DONE;
}

void simple_go_on(struct client *c)
{
    if (c->multi && c->run == RUN_NONE)
        (void)several(c, c->query_rest);
    if (c->multi)
        return;
    free((void *)(uintptr_t)c->query_rest.data);
    c->query_rest = slice_of(NULL, 0);
}

enum dispatch simple_refused(struct client *c, const struct error *e)
{
    if (c->extended_open && c->skip_till_sync)
        return extended_skips_query(c);
    if (c->query_rest.data || c->sync_pending || c->simple_open)
        return DISPATCH_AGAIN;
    if ((c->extended_open && !extended_close_pipeline(c)) || c->run != RUN_NONE)
        return DISPATCH_AGAIN;
    client_request_begins(c);
    c->simple_open = true;
    extended_deallocate(c, "");
    return failed(c, e);
}

enum dispatch simple_query(struct client *c, const struct frame *f)
{
    struct slice sql;
    struct error e;
    if (c->skip_query) {
        c->skip_query = false;
        return DISPATCH_DONE;
    }
    if (c->extended_open && c->skip_till_sync)
        return extended_skips_query(c); /* as a server does */
    if (c->query_rest.data || c->sync_pending || c->console_waiting ||
        (c->simple_open && !c->multi && !c->simple_retry))
        return DISPATCH_AGAIN;
    if (c->extended_open && !extended_close_pipeline(c))
        return DISPATCH_AGAIN;
    if (c->run != RUN_NONE)
        return DISPATCH_AGAIN;
    if (c->multi) { /* it has been read, and is not read again for each of its parts */
        sql = slice_of(f->body.data, f->body.len - 1);
    } else if (message_read_query(f, &sql, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    if (!c->simple_open)
        client_request_begins(c);
    c->simple_open = true;
    c->simple_retry = false;
    extended_deallocate(c, ""); /* a simple query ends the unnamed statement, as on a server */
    if (c->console)
        return console_query(c, sql, false);
    if (vars_check_readable(c, sql, &e) != STATUS_OK)
        return failed(c, &e);
    if (c->multi)
        return several(c, sql);
    enum dispatch d;
    struct template *t = &c->env->scratch_template;
    if (template_lex(t, sql, &e) != STATUS_OK)
        return failed(c, &e);
    if (t->several) {
        d = several(c, sql);
    } else {
        c->frame = f;
        d = statement_lexed(c);
        c->frame = NULL;
    }
    if (d == DISPATCH_AGAIN)
        c->simple_retry = true;
    return d;
}
