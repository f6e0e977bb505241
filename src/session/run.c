/*
 * Running a statement on shards, and what its answers lead to.
 *
 *     one shard        bytes pass (RUN_SINGLE, RUN_PIPELINE)
 *     several shards   exec/scatter makes one answer of theirs (RUN_MULTI); if they write and
 *                      the client has opened no transaction, an implicit one is put around it,
 *                      and CommandComplete waits for its COMMIT
 *     every link       SAVEPOINT, SET ...: one text, one answer (RUN_CONTROL)
 *
 * Not responsible for: extended protocol messages (extended.c), COPY FROM STDIN (copy_in.c), ends of
 * transactions (txn.c).
 */
#include "session.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* --- errors ----------------------------------------------------------------------------------- */

void run_error_answer(struct client *c, const struct error *e, bool at_end)
{
    client_send_error(c, e);
    if (at_end)
        return;
    if (!c->simple_open && !c->sync_pending) {
        pipeline_take_back(c);
        c->skip_till_sync = !SEEDED_BUG(BUG_NOT_SKIPPED);
    }
    txn_fail(c);
}

void run_error_add_shard(struct error *e, const char *shard)
{
    size_t len = strlen(e->detail);
    snprintf(e->detail + len, sizeof e->detail - len, "%sShard: %s.", len ? " " : "", shard);
}

/* The shard's own error, unchanged but for the CONTEXT line that names the shard. */
static void forward_error(struct client *c, struct link *l, const struct frame *f)
{
    char context[GID_NAME_MAX_BYTES + 16];
    struct buf *b = client_scratch(c);
    snprintf(context, sizeof context, "shard \"%s\"", c->db->shards[l->shard]->name);
    message_error_with_context(b, f, context);
    client_send(c, b);
}

void run_shard_error(struct client *c, struct link *l, const struct frame *f)
{
    forward_error(c, l, f);
    txn_fail(c);
}

/* BEGIN or the replay failed: the statement behind it fails too; its error would say less. */
void run_preamble_error(struct client *c, struct link *l, const struct frame *f)
{
    if (c->run == RUN_ENDING) {
        txn_end_failed(c, l, f);
        return;
    }
    if (c->run == RUN_MULTI || c->run == RUN_CONTROL || c->run == RUN_COPY_IN || c->run == RUN_SINGLE ||
        c->run == RUN_PIPELINE) {
        if (!c->run_failed)
            forward_error(c, l, f);
        c->run_failed = true;
        c->preamble_failed = true;
        if (!c->simple_open && !c->sync_pending && !(c->run == RUN_PIPELINE && server_sync_due(l->server)))
            c->skip_till_sync = true;
        pipeline_void(c, l);
        txn_fail(c);
    } else if (c->run == RUN_CATALOG) {
        struct error why, bad;
        error_keep(&c->run_error, message_read_error(f, &why, &bad) == STATUS_OK ? &why : &bad);
        txn_fail(c);
    } else if (c->run == RUN_NONE && c->extended_open && !c->sync_pending && !c->skip_till_sync &&
               !SEEDED_BUG(BUG_SPREAD_UNANSWERED)) {
        /* The pipeline's first shard could not become part of a block: the message that led to it is still to come. */
        forward_error(c, l, f);
        c->skip_till_sync = true;
        txn_fail(c);
        client_resume(c);
    } else {
        txn_fail_untold(c);
    }
}

/* --- what follows a statement ----------------------------------------------------------------- */

void run_statement_done(struct client *c, bool ok)
{
    c->run = RUN_NONE;
    c->run_link = NULL;
    if (c->scatter)
        scatter_destroy(&c->scatter);
    bool catalog = c->plan && c->plan->changes_catalog;
    session_unplan(c, &c->plan);
    if (!ok && c->txn.state == TXN_NONE)
        plan_defaults_kept(c);
    if ((catalog || c->txn.defaults_changed) && c->txn.state == TXN_NONE)
        plan_txn_ended(c, true);
    if (c->simple_open)
        simple_statement_done(c, ok);
    client_resume(c);
}

static enum dispatch answer_error(struct client *c, const struct error *e)
{
    run_error_answer(c, e, false);
    if (c->txn.state == TXN_NONE)
        links_put_idle(c); /* servers that were acquired for it */
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

/* --- one shard -------------------------------------------------------------------------------- */

static unsigned only_shard(const struct shard_set *shards)
{
    return (unsigned)shard_set_next(shards, 0);
}

static enum dispatch run_single(struct client *c, struct plan *p, const struct template *t,
                                const struct shard_set *shards)
{
    struct link *l = link_find(c, only_shard(shards));
    if (p->verb == VERB_COPY_IN)
        return copy_in_start(c, p, t, shards);
    if (p->changes_catalog)
        plan_catalog_changed(c);
    link_prepare(l);
    link_mark(l, p);
    if (c->multi || !c->frame) {
        link_query(l, t->statement, simple_holds_tag(c) ? SINK_MESSAGE : SINK_FORWARD, TAG_STATEMENT);
    } else {
        server_write(l->server, c->frame->whole.data, c->frame->whole.len);
        server_expect(l->server, EXPECT_QUERY, SINK_FORWARD, TAG_STATEMENT, NULL);
    }
    link_expect_copy(l, p);
    c->run = RUN_SINGLE;
    c->run_link = l;
    c->run_failed = c->preamble_failed = false;
    return DISPATCH_DONE;
}

/* A cursor lives where it was declared. */
void run_note_cursor(struct client *c, const struct plan *p, const struct shard_set *shards)
{
    if (p->verb != VERB_DECLARE_CURSOR || !p->name)
        return;
    hashmap_put(&client_names(c)->cursors, slice_str(p->name), (void *)(uintptr_t)(only_shard(shards) + 1));
}

unsigned run_cursor_shard(const struct client *c, const struct plan *p)
{
    void *shard = c->names && p->name ? hashmap_get(&c->names->cursors, slice_str(p->name)) : NULL;
    return shard ? (unsigned)(uintptr_t)shard - 1
                 : c->db->home; /* the server says that there is no such cursor */
}

/* --- several shards --------------------------------------------------------------------------- */

/* Statements over several shards that write, or that the client runs in a transaction, run in a block on
 * every one of them. */
static bool run_wants_transaction(const struct client *c, const struct plan *p, unsigned n_shards)
{
    return c->txn.state == TXN_NONE && n_shards > 1 && p->writes && p->verb != VERB_PER_SHARD;
}

enum status run_multi_create(struct client *c, struct plan *p, const struct shard_set *shards,
                             const struct template *t, const struct route_params *params,
                             const struct msg_bind *bind, bool describe, struct error *error_r)
{
    struct scatter_options o = {
        .plan = p,
        .n_sources = shard_set_count(shards),
        .limit = -1,
        .offset = 0,
        .style = c->style,
        .transcoded = c->transcoded,
        .describe = describe,
        .describer = -1,
    };
    if (p->merge.has_limit && route_limit_value(&p->merge.limit, t, params, &o.limit, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (p->merge.has_offset &&
        route_limit_value(&p->merge.offset, t, params, &o.offset, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (o.offset < 0)
        o.offset = 0;
    if (bind) {
        int16_t *formats = bind->n_result_formats ? xmalloc(bind->n_result_formats * sizeof *formats) : NULL;
        o.n_result_formats = bind->n_result_formats;
        for (uint16_t i = 0; i < o.n_result_formats; i++)
            formats[i] = (int16_t)load_u16(bind->result_formats + 2 * i);
        o.result_formats = formats;
    }
    notice_speaker(c, shards);
    unsigned source = 0;
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        l->source = source;
        l->source_due = true;
        if ((unsigned)i == c->db->home)
            o.describer = (int)source;
        source++;
    }
    c->scatter = scatter_create(&o);
    free((void *)(uintptr_t)o.result_formats);
    c->control_due = o.n_sources;
    c->run = RUN_MULTI;
    c->run_failed = c->preamble_failed = c->multi_cancelled = c->multi_final = false;
    c->multi_rows_done = false;
    return STATUS_OK;
}

static void add_piece(void *arg, struct slice piece)
{
    rope_add(arg, piece);
}

/* The text for one shard of the statement. */
void run_shard_text(const struct plan *p, const struct template *t, const uint8_t *row_shards, unsigned shard,
                    struct rope *out)
{
    struct text_sink sink = {add_piece, out};
    if (p->kind == PLAN_SPLIT)
        route_split_pieces(p, t, row_shards, shard, &sink);
    else if (p->has_rewrite)
        rewrite_pieces(&p->rewrite, t, &sink);
    else
        rope_add(out, t->statement);
}

static enum dispatch run_multi(struct client *c, struct plan *p, const struct template *t,
                               const struct shard_set *shards, const uint8_t *row_shards)
{
    struct error e;
    struct rope text;
    if (p->verb == VERB_PER_SHARD && (c->txn.state != TXN_NONE || c->multi)) {
        error_set(&e, SQLSTATE_ACTIVE_TRANSACTION, "%s cannot run inside a transaction block",
                  p->command ? p->command : "the statement");
        return answer_error(c, &e);
    }
    if (p->verb == VERB_COPY_IN)
        return copy_in_start(c, p, t, shards);
    if (run_wants_transaction(c, p, shard_set_count(shards)))
        txn_begin_implicit(c);
    if (p->changes_catalog)
        plan_catalog_changed(c);
    if (run_multi_create(c, p, shards, t, NULL, NULL, true, &e) != STATUS_OK)
        return answer_error(c, &e);
    bool ordered = ordered_wanted(p, shard_set_count(shards));
    if (ordered)
        ordered_create(c, shards, false);
    rope_init(&text);
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        rope_clear(&text);
        run_shard_text(p, t, row_shards, (unsigned)i, &text);
        if (ordered && p->kind != PLAN_SPLIT) {
            ordered_put_all(c, &text);
            break;
        }
        if (ordered) {
            ordered_put(c, (unsigned)i, &text);
            continue;
        }
        link_prepare(l);
        link_mark(l, p);
        link_query_rope(l, &text, 0, text.n, SINK_MESSAGE, TAG_STATEMENT);
        link_expect_copy(l, p);
    }
    rope_free(&text);
    if (ordered)
        ordered_send(c);
    return DISPATCH_DONE;
}

static void multi_cancel_others(struct client *c)
{
    if (c->multi_cancelled || (c->plan && c->plan->verb == VERB_PER_SHARD))
        return;
    c->multi_cancelled = true;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->server && !l->lost && l->source_due && server_outstanding(l->server)) {
            server_set_reading(l->server, true);
            server_cancel(l->server);
        }
    }
}

static void multi_fail(struct client *c, const struct error *e)
{
    if (!c->run_failed)
        run_error_answer(c, e, false);
    c->run_failed = true;
    multi_cancel_others(c);
}

/* A shard is through, or lost. */
static void multi_next(struct client *c)
{
    struct error e;
    if (!c->run_failed && ordered_cancelled(c)) {
        error_set(&e, SQLSTATE_QUERY_CANCELED, "canceling statement due to user request");
        multi_fail(c, &e);
    }
    if (c->run_failed)
        c->control_due -= ordered_drop(c);
    else if (c->ordered)
        ordered_send(c);
}

static void multi_drain(struct client *c)
{
    struct shard_set resume;
    struct error e;
    bool full = false;
    size_t queued = stream_queued(c->stream);
    if (c->run_failed || c->multi_rows_done)
        return;
    if (queued >= BACKPRESSURE_BYTES) {
        client_output_full(c);
        return;
    }
    struct buf *b = client_scratch(c);
    if (scatter_drain(c->scatter, b, BACKPRESSURE_BYTES - queued, &resume, &c->multi_rows_done, &full, &e) !=
        STATUS_OK) {
        multi_fail(c, &e);
        return;
    }
    client_send(c, b);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->server && l->source_due && (shard_set_has(&resume, l->source) || c->multi_rows_done))
            server_set_reading(l->server, true);
    }
    if (full)
        client_output_full(c);
}

/* All shards are through: the last step of an aggregate, or the end. */
static void multi_finish(struct client *c)
{
    struct error e;
    if (c->control_due > 0)
        return;
    if (!c->run_failed && scatter_has_final(c->scatter) && !c->multi_final) {
        struct buf *b = client_scratch(c);
        struct link *l = c->multi_first;
        if (!l || l->lost) {
            error_set(&e, SQLSTATE_CONNECTION_FAILURE, "the shard that was to combine the results was lost");
            multi_fail(c, &e);
        } else if (scatter_final(c->scatter, b, &e) != STATUS_OK) {
            multi_fail(c, &e);
        } else {
            c->multi_final = true;
            server_write(l->server, buf_head(b), buf_len(b));
            server_expect(l->server, EXPECT_PARSE, SINK_DROP, TAG_FINAL, NULL);
            server_expect(l->server, EXPECT_BIND, SINK_DROP, TAG_FINAL, NULL);
            server_expect(l->server, EXPECT_DESCRIBE_PORTAL, SINK_MESSAGE, TAG_FINAL, NULL);
            server_expect(l->server, EXPECT_EXECUTE, SINK_MESSAGE, TAG_FINAL, NULL);
            server_expect(l->server, EXPECT_SYNC, SINK_MESSAGE, TAG_FINAL, NULL);
            l->server->unnamed_statement = 0;
            return;
        }
    }
    if (!c->run_failed && !scatter_has_final(c->scatter) && !c->multi_rows_done) {
        multi_drain(c);
        if (!c->run_failed && !c->multi_rows_done)
            return; /* the client is slow: goes on when its output has drained */
    }
    bool ok = !c->run_failed;
    bool implicit =
        (c->txn.state == TXN_IMPLICIT || c->txn.state == TXN_IMPLICIT_FAILED) && c->simple_open && !c->multi;
    if (ok) {
        bool held = (implicit && !SEEDED_BUG(BUG_TAG_NOT_HELD)) || simple_holds_tag(c);
        struct buf *b = held ? &c->held : client_scratch(c);
        if (held)
            buf_clear(b);
        scatter_complete(c->scatter, b);
        if (!held)
            client_send(c, b);
    }
    if (c->txn.state == TXN_NONE)
        links_put_idle(c);
    if (implicit) {
        scatter_destroy(&c->scatter);
        session_unplan(c, &c->plan);
        txn_end(c, ok, AFTER_QUERY, "COMMIT", false);
        return;
    }
    run_statement_done(c, ok);
}

static void multi_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    struct error err;
    bool pause = false;
    if (e->tag == TAG_FINAL) {
        if (f->type == MSG_ERROR) {
            forward_error(c, l, f);
            run_failed_by_shard(c);
        } else if (f->type == MSG_READY) {
            multi_finish(c);
        } else if (!c->run_failed) {
            struct buf *b = client_scratch(c);
            scatter_final_frame(c->scatter, f, b);
            client_send(c, b);
        }
        return;
    }
    switch (f->type) {
    case MSG_ERROR:
        if (!c->run_failed) {
            forward_error(c, l, f);
            run_failed_by_shard(c);
        }
        multi_cancel_others(c);
        return;
    case MSG_READY:
        l->source_due = false;
        if (!c->multi_first)
            c->multi_first = l;
        c->control_due--;
        if (l->in_txn && l->server->txn_status == 'I')
            run_transaction_vanished(c, l);
        multi_next(c);
        multi_finish(c);
        return;
    case MSG_NOTICE:
        notice_of_statement(c, l, f);
        return;
    default:
        if (c->run_failed)
            return;
        if (scatter_frame(c->scatter, l->source, f, client_scratch(c), &pause, &err) != STATUS_OK) {
            if (link_violated(&err))
                server_violation(l->server, f->type, err.message);
            else
                multi_fail(c, &err);
            return;
        }
        client_send(c, &c->env->scratch);
        if (pause)
            server_set_reading(l->server, false);
        if (pause && c->ordered)
            ordered_send(c); /* it goes on only when others have rows, too */
        if (scatter_passes(c->scatter) && stream_queued(c->stream) >= BACKPRESSURE_BYTES) {
            server_set_reading(l->server, false);
            client_output_full(c);
        }
        return;
    }
}

/* The client's output has drained. */
void run_client_drained(struct client *c)
{
    if (c->run != RUN_MULTI || !c->scatter || scatter_passes(c->scatter)) {
        for (unsigned i = 0; i < c->n_links; i++)
            if (c->links[i]->server)
                server_set_reading(c->links[i]->server, true);
        return;
    }
    if (c->control_due > 0)
        multi_drain(c);
    else if (!c->multi_final)
        multi_finish(c);
}

/* --- dispatch --------------------------------------------------------------------------------- */

/* Keys are hashed as the server stores them. In another client_encoding the bytes of a key outside ASCII are
 * not those. */
bool run_has_high_bytes(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] & 0x80)
            return true;
    return false;
}

void run_transcoded_error(struct error *e)
{
    error_set(
        e, SQLSTATE_FEATURE_NOT_SUPPORTED,
        "characters outside ASCII cannot be routed when client_encoding differs from the server's encoding");
    error_hint(e, "Set client_encoding to the server's encoding.");
}

/* Which shards this execution needs: by cursor, or by the plan. */
enum status run_find_shards(struct client *c, struct plan *p, const struct template *t,
                            const struct route_params *params, struct shard_set *shards, uint8_t *row_shards,
                            struct error *error_r)
{
    int32_t bucket;
    if (p->verb == VERB_FETCH || p->verb == VERB_CLOSE_CURSOR) {
        shard_set_clear(shards);
        shard_set_add(shards, run_cursor_shard(c, p));
        return STATUS_OK;
    }
    if (p->sets_config && c->db->n_shards > 1) { /* on one, the server is asked for it afterwards: state.c */
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "set_config() within a statement cannot be followed across shards");
        error_hint(error_r, "Use SELECT set_config(...) alone, or SET.");
        return STATUS_ERROR;
    }
    if (p->kind == PLAN_REFUSE) {
        *error_r = *p->refusal;
        return STATUS_ERROR;
    }
    if (c->transcoded && p->n_keys + p->split.n_rows > 0 && run_has_high_bytes(t->statement)) {
        run_transcoded_error(error_r);
        return STATUS_ERROR;
    }
    if (route_resolve(p, c->db, t, params, shards, &bucket, row_shards, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (p->read_any_shard) {
        /* Any shard has all the rows: one that takes part already costs no more. */
        struct shard_set one;
        shard_set_clear(&one);
        for (unsigned i = 0; i < c->n_links && !shard_set_count(&one); i++)
            if (c->links[i]->server && !c->links[i]->lost && shard_set_has(shards, c->links[i]->shard))
                shard_set_add(&one, c->links[i]->shard);
        if (!shard_set_count(&one))
            shard_set_add(&one, shard_set_has(shards, c->db->home) ? c->db->home : only_shard(shards));
        *shards = one;
    }
    if (c->txn.state == TXN_NONE && shard_set_count(shards) > 1 && p->command &&
        strcmp(p->command, "LOCK TABLE") == 0) /* elsewhere the shard says so */
        return error_set(error_r, SQLSTATE_NO_ACTIVE_TRANSACTION,
                         "LOCK TABLE can only be used in transaction blocks");
    if (p->refuse_if_several && shard_set_count(shards) > 1) {
        *error_r = *p->refusal;
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

enum dispatch run_simple(struct client *c, struct plan *p, const struct template *t)
{
    struct error e;
    struct shard_set shards;
    uint8_t *row_shards = NULL;
    enum dispatch d;
    if (p->kind == PLAN_SPLIT)
        row_shards = xmalloc(p->split.n_rows ? p->split.n_rows : 1);
    if (run_find_shards(c, p, t, NULL, &shards, row_shards, &e) != STATUS_OK) {
        free(row_shards);
        session_unplan(c, &p);
        return answer_error(c, &e);
    }
    unsigned n = shard_set_count(&shards);
    if (run_wants_transaction(c, p, n) && c->commit) {
        free(row_shards);
        return DISPATCH_AGAIN;
    }
    switch (links_acquire(c, &shards, &e)) {
    case ACQUIRE_WAIT:
        free(row_shards);
        return DISPATCH_AGAIN;
    case ACQUIRE_FAILED:
        free(row_shards);
        session_unplan(c, &p);
        return answer_error(c, &e);
    case ACQUIRE_READY:
        break;
    }
    if (p->effects && n == 1 && sequences_check(link_find(c, only_shard(&shards)), p, &e) != STATUS_OK) {
        free(row_shards);
        session_unplan(c, &p);
        return answer_error(c, &e);
    }
    c->plan = p;
    run_note_cursor(c, p, &shards);
    c->multi_first = NULL;
    d = n == 1 ? run_single(c, p, t, &shards) : run_multi(c, p, t, &shards, row_shards);
    free(row_shards);
    return d;
}

/* --- answers ---------------------------------------------------------------------------------- */

void run_failed_by_shard(struct client *c)
{
    c->run_failed = true;
    txn_fail(c);
    if (!c->simple_open && !c->sync_pending)
        c->skip_till_sync = true;
}

/* ReadyForQuery says idle where a block should be: something within the statement ended the transaction. What
   it did there is done; it must not pass for part of a transaction that can still be taken back. */
void run_transaction_vanished(struct client *c, struct link *l)
{
    struct error e;
    error_set(&e, "2D000", "the statement ended the transaction on shard \"%s\"",
              c->db->shards[l->shard]->name);
    error_hint(&e, "Transaction control inside procedures cannot be combined with the proxy's transactions.");
    if (!c->run_failed)
        run_error_answer(c, &e, false);
    c->run_failed = true;
    l->lost = true;
    txn_fail(c);
}

static void single_ready(struct client *c, struct link *l)
{
    if (l->in_txn && l->server->txn_status == 'I')
        run_transaction_vanished(c, l);
    else if (!l->in_txn && l->server->txn_status != 'I') {
        struct error e;
        error_set(&e, SQLSTATE_INTERNAL, "shard \"%s\" is in a transaction that the proxy did not open",
                  c->db->shards[l->shard]->name);
        l->lost = true;
        client_fatal(c, &e);
        return;
    }
    bool ok = !c->run_failed;
    if (c->txn.state == TXN_NONE && !l->pinned)
        link_put(l, !l->lost);
    else if (c->txn.state == TXN_NONE)
        link_put(l, true);
    run_statement_done(c, ok);
}

static void control_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    if (vars_message(c, l, e, f))
        return;
    if (f->type == MSG_ERROR) {
        if (!c->run_failed)
            forward_error(c, l, f);
        run_failed_by_shard(c);
        return;
    }
    if (f->type == MSG_NOTICE) {
        notice_of_control(c, l, f);
        return;
    }
    if (f->type != MSG_READY)
        return;
    if (l->in_txn && l->server->txn_status == 'I')
        run_transaction_vanished(c, l);
    if (--c->control_due > 0)
        return;
    bool ok = !c->run_failed;
    if (c->control_done)
        c->control_done(c, ok);
    c->control_done = NULL;
    if (ok)
        client_command_complete(c, c->control_tag);
    if (c->txn.state == TXN_NONE)
        links_put_idle(c);
    run_statement_done(c, ok);
}

void run_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    if (c->state == CLIENT_CLOSING)
        return;
    if (c->run == RUN_COPY_IN) {
        copy_in_reply(c, l, e, f);
        return;
    }
    if (c->run == RUN_MULTI && (e->tag == TAG_STATEMENT || e->tag == TAG_FINAL)) {
        multi_message(c, l, e, f);
        return;
    }
    if (e->tag == TAG_CONTROL || e->tag == TAG_READ) {
        control_message(c, l, e, f);
        return;
    }
    if (e->kind != EXPECT_QUERY) {
        extended_reply(c, l, e, f);
        return;
    }
    switch (f->type) {
    case MSG_ERROR:
        if (!c->preamble_failed)
            forward_error(c, l, f);
        run_failed_by_shard(c);
        return;
    case MSG_READY:
        single_ready(c, l);
        return;
    case MSG_COMMAND_COMPLETE:
        if (e->sink == SINK_MESSAGE && simple_holds_tag(c)) {
            buf_clear(&c->held);
            buf_slice_append(&c->held, f->whole);
            return;
        }
        /* fall through */
    default: /* CopyOutResponse and the like: they pass as well */
        if (e->sink == SINK_MESSAGE)
            run_forward(c, l, f->whole.data, f->whole.len);
        else
            client_write(c, f->whole.data, f->whole.len);
        return;
    }
}

/* Small answers are collected and go out in one send at the end of the read; large ones without a copy. */
#define FORWARD_DIRECT_BYTES 16384

void run_forward(struct client *c, struct link *l, const uint8_t *bytes, size_t len)
{
    if (c->state == CLIENT_CLOSING || c->preamble_failed)
        return;
    if (len < FORWARD_DIRECT_BYTES) {
        client_write(c, bytes, len);
    } else {
        (void)stream_forward(c->stream, bytes, len); /* failure: reported by the stream */
        stats_add(&c->env->stats.bytes_sent, len);
    }
    if (stream_queued(c->stream) >= BACKPRESSURE_BYTES) {
        server_set_reading(l->server, false);
        client_output_full(c);
    }
}

void run_end_of_read(struct client *c, struct link *l)
{
    if (c->run == RUN_MULTI) {
        if (c->control_due > 0)
            multi_drain(c);
    } else if (c->run == RUN_PIPELINE) {
        pipeline_answered(c, l);
    }
}

/* --- a shard is lost -------------------------------------------------------------------------- */

static void lost_error(struct client *c, struct link *l, const struct error *why, struct error *e_r)
{
    link_lost_error(l, why, e_r);
    if (c->txn.state == TXN_NONE && !link_violated(why))
        error_detail(e_r, "%s; it is not known whether the statement took effect", why->message);
}

static unsigned control_outstanding(const struct link *l)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < server_outstanding(l->server); i++) {
        const struct expect *e = server_expectation(l->server, i);
        n += e->tag == TAG_CONTROL || e->tag == TAG_READ;
    }
    return n;
}

/* False: it is not for the statement to deal with. */
static bool multi_lost(struct client *c, struct link *l, const struct error *e)
{
    if (l->source_due) {
        l->source_due = false;
        if (!ordered_waits(c, l->shard))
            c->control_due--;
        multi_fail(c, e);
        multi_next(c);
        multi_finish(c);
        return true;
    }
    if (c->multi_final && c->multi_first == l) {
        multi_fail(c, e);
        multi_finish(c);
        return true;
    }
    return !l->in_txn && !link_keeps_server(l); /* it has answered: nothing of it is needed any more */
}

void run_link_lost(struct client *c, struct link *l, const struct error *why)
{
    struct error e;
    bool torn = l->server->forward_left != 0;
    lost_error(c, l, why, &e);
    if (torn) { /* half a message has gone to the client: nothing sensible can follow it */
        client_fatal_torn(c, &e);
        return;
    }
    switch (c->run) {
    case RUN_ENDING:
        txn_link_lost(c, l, why);
        return;
    case RUN_MULTI:
        if (multi_lost(c, l, &e))
            return;
        break;
    case RUN_CONTROL:
        if (server_outstanding(l->server)) {
            if (!c->run_failed)
                run_error_answer(c, &e, false);
            c->run_failed = true;
            c->control_due -= control_outstanding(l);
            if (c->control_due == 0) {
                if (c->control_done)
                    c->control_done(c, false);
                c->control_done = NULL;
                if (c->txn.state == TXN_NONE)
                    links_put_idle(c);
                run_statement_done(c, false);
            }
            return;
        }
        break;
    case RUN_COPY_IN:
        copy_in_link_lost(c, l, &e);
        return;
    case RUN_CATALOG:
        if (c->run_link == l) {
            plan_catalog_abort(c);
            c->run = RUN_NONE;
            c->run_link = NULL;
            error_keep(&c->plan_error, &e);
            txn_fail(c);
            if (c->txn.state == TXN_NONE)
                link_put(l, false);
            client_resume(c);
            return;
        }
        break;
    case RUN_SINGLE:
        if (c->run_link == l) {
            if (!c->run_failed) /* else it has been answered with the shard's own error */
                run_error_answer(c, &e, false);
            if (c->txn.state == TXN_NONE)
                link_put(l, false);
            run_statement_done(c, false);
            return;
        }
        break;
    case RUN_PIPELINE:
        if (pipeline_lost(c, l, &e))
            return;
        break;
    case RUN_NONE:
    case RUN_LOGIN:
        break;
    }
    /* Idle: behind an error that ended the pipeline, within a transaction that is now lost, or with state of the session that is. */
    if (!l->in_txn && l->open_pipeline && c->skip_till_sync && !link_keeps_server(l)) {
        extended_forget_portals(c);
        link_put(l, false);
    } else if (l->in_txn) {
        extended_forget_portals(c);
        txn_fail_untold(c);
    } else {
        client_fatal(c, &e);
    }
}
