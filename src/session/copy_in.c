/*
 * COPY ... FROM STDIN: the client's data on its way to one shard (as it comes) or to several (cut into rows
 * by exec/copy_split.h, each to the shard of its key).
 *
 *     STARTING   COPY has been sent; every shard answers CopyInResponse, then the client gets one
 *     DATA       the client's CopyData
 *     ENDING     CopyDone or CopyFail has been sent, or a shard has failed; every shard's
 *                ReadyForQuery is awaited
 *
 * After a failure the client's remaining data is dropped, as a server does.
 */
#include "session.h"

#include "exec/copy_split.h"

#include <stdio.h>
#include <stdlib.h>

enum copy_state { COPY_STARTING, COPY_DATA, COPY_ENDING };

/* Rows are gathered per shard into CopyData messages of about this size. */
#define COPY_BATCH_BYTES 32768

struct copy_in {
    struct client *client;
    struct plan *plan;
    enum copy_state state;
    struct copy_split *split; /* NULL: one shard, as it comes */
    unsigned due_start, due_ready;
    int64_t rows;
    bool answered_start, failed;
    bool client_done; /* CopyDone or CopyFail has come: what follows is no data of this COPY */
    struct shard_set shards;
    struct buf *batch; /* [db->n_shards] */
    bool implicit;
};

void copy_in_free(struct client *c)
{
    struct copy_in *k = c->copy;
    if (!k)
        return;
    c->copy = NULL;
    if (k->split)
        copy_split_destroy(&k->split);
    for (unsigned i = 0; k->batch && i < c->db->n_shards; i++)
        buf_free(&k->batch[i]);
    free(k->batch);
    free(k);
}

/* --- rows to shards --------------------------------------------------------------------------- */

static void send_data(struct client *c, unsigned shard, struct slice bytes)
{
    struct link *l = link_find(c, shard);
    uint8_t header[5] = {MSG_COPY_DATA};
    uint32_t len = (uint32_t)bytes.len + 4;
    if (!l || l->lost)
        return;
    for (int i = 0; i < 4; i++)
        header[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    server_write(l->server, header, sizeof header);
    server_write(l->server, bytes.data, bytes.len);
}

static void batch_flush(struct copy_in *k, unsigned shard)
{
    if (buf_len(&k->batch[shard]) > 0)
        send_data(k->client, shard, buf_slice(&k->batch[shard]));
    buf_clear(&k->batch[shard]);
}

static void batch_add(struct copy_in *k, unsigned shard, struct slice bytes)
{
    if (bytes.len >= BLOB_MIN_BYTES) { /* as it is, where it is */
        batch_flush(k, shard);
        send_data(k->client, shard, bytes);
        return;
    }
    buf_slice_append(&k->batch[shard], bytes);
    if (buf_len(&k->batch[shard]) >= COPY_BATCH_BYTES)
        batch_flush(k, shard);
}

static void to_every_shard(void *arg, struct slice bytes)
{
    struct copy_in *k = arg;
    for (int i = shard_set_next(&k->shards, 0); i >= 0; i = shard_set_next(&k->shards, i + 1))
        batch_add(k, (unsigned)i, bytes);
}

static enum status one_row(void *arg, const struct copy_row *row, struct error *error_r)
{
    struct copy_in *k = arg;
    struct bucket_target target;
    if (k->plan->copy.replicate) {
        to_every_shard(k, row->bytes);
        return STATUS_OK;
    }
    if (k->client->transcoded && row->key.data && run_has_high_bytes(row->key)) {
        run_transcoded_error(error_r);
        return STATUS_ERROR;
    }
    if (bucket_map_find(k->plan->map, 0, row->key_format, row->key, &target, error_r) != STATUS_OK) {
        error_detail(error_r, "COPY, line %llu.", (unsigned long long)row->line);
        return STATUS_ERROR;
    }
    batch_add(k, target.shard, row->bytes);
    return STATUS_OK;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void fail_shards(struct client *c, const char *reason)
{
    struct buf b;
    buf_init(&b);
    message_copy_fail(&b, reason);
    for (int i = shard_set_next(&c->copy->shards, 0); i >= 0; i = shard_set_next(&c->copy->shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        if (l && !l->lost && l->source_due)
            server_write(l->server, buf_head(&b), buf_len(&b));
    }
    buf_free(&b);
    c->copy->state = COPY_ENDING;
}

/* Shards that have not been sent the COPY yet do not get it any more. */
static void drop_unsent(struct client *c)
{
    unsigned n = ordered_drop(c);
    c->copy->due_ready -= n;
    c->copy->due_start -= n;
}

static void copy_fail(struct client *c, const struct error *e)
{
    if (!c->copy->failed && !c->preamble_failed) /* else it has been answered */
        run_error_answer(c, e, false);
    c->copy->failed = true;
    c->run_failed = true;
    drop_unsent(c);
    if (c->copy->state != COPY_ENDING)
        fail_shards(c, "COPY failed in the proxy");
}

static void copy_finish(struct client *c)
{
    struct copy_in *k = c->copy;
    char tag[48];
    bool ok = !k->failed, implicit = k->implicit;
    snprintf(tag, sizeof tag, "COPY %lld", (long long)k->rows);
    copy_in_free(c);
    if (c->txn.state == TXN_NONE)
        links_put_idle(c);
    if (ok) {
        bool held = implicit || simple_holds_tag(c);
        struct buf *b = held ? &c->held : client_scratch(c);
        if (held)
            buf_clear(b);
        message_command_complete(b, tag);
        if (!held)
            client_send(c, b);
    }
    if (implicit) {
        session_unplan(c, &c->plan);
        txn_end(c, ok, AFTER_QUERY, "COMMIT", false);
        return;
    }
    run_statement_done(c, ok);
}

/* --- the shards' answers ---------------------------------------------------------------------- */

static void shard_ready(struct client *c, struct link *l)
{
    struct copy_in *k = c->copy;
    l->source_due = false;
    if (c->preamble_failed && !k->failed) { /* its COPY was ignored */
        k->failed = true;
        drop_unsent(c);
        if (k->state != COPY_ENDING)
            fail_shards(c, "another shard failed");
    }
    if (l->in_txn && l->server->txn_status == 'I')
        run_transaction_vanished(c, l);
    if (--k->due_ready == 0)
        copy_finish(c);
}

void copy_in_reply(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    struct copy_in *k = c->copy;
    struct error bad;
    const char *tag;
    int64_t rows;
    if (e->tag != TAG_STATEMENT)
        return; /* an inner Sync's */
    switch (f->type) {
    case MSG_COPY_IN_RESPONSE:
        if (k->due_start > 0 && --k->due_start == 0 && !k->failed) {
            client_write(c, f->whole.data, f->whole.len);
            k->state = COPY_DATA;
            client_resume(c);
        } else if (c->ordered) {
            ordered_send(c);
        }
        return;
    case MSG_ERROR:
        if (!k->failed) {
            k->failed = true;
            if (!c->preamble_failed)
                run_shard_error(c, l, f);
            run_failed_by_shard(c);
            drop_unsent(c);
            l->source_due = false; /* its copy is over: no CopyFail */
            if (k->state != COPY_ENDING)
                fail_shards(c, "another shard failed");
            l->source_due = true;
        }
        return;
    case MSG_COMMAND_COMPLETE:
        if (k->state != COPY_ENDING) {
            server_violation(l->server, f->type, "The data has not ended.");
            return;
        }
        if (message_read_tag(f, &tag, &rows, &bad) == STATUS_OK && rows > 0)
            k->rows = k->plan->copy.replicate ? rows : k->rows + rows;
        return;
    case MSG_READY:
        shard_ready(c, l);
        return;
    case MSG_NOTICE:
        notice_of_statement(c, l, f);
        return;
    default:
        return;
    }
}

void copy_in_link_lost(struct client *c, struct link *l, const struct error *e)
{
    struct copy_in *k = c->copy;
    if (!shard_set_has(&k->shards, l->shard) || !l->source_due) {
        txn_fail_untold(c);
        return;
    }
    bool asked = !ordered_waits(c, l->shard);
    l->source_due = false;
    copy_fail(c, e);
    if (asked && k->due_start > 0)
        k->due_start--;
    k->due_ready -= asked;
    if (k->due_ready == 0)
        copy_finish(c);
}

/* --- the client's data ------------------------------------------------------------------------ */

static void data_as_it_comes(struct client *c, const struct frame *f)
{
    struct link *l = link_find(c, (unsigned)shard_set_next(&c->copy->shards, 0));
    server_write(l->server, f->whole.data, f->whole.len);
    if (f->type != MSG_COPY_DATA)
        c->copy->state = COPY_ENDING;
}

static void data_split(struct client *c, const struct frame *f)
{
    static const uint8_t done[5] = {MSG_COPY_DONE, 0, 0, 0, 4};
    struct copy_in *k = c->copy;
    struct error e;
    if (f->type == MSG_COPY_FAIL) {
        char *reason = xstrndup(f->body.data, f->body.len);
        fail_shards(c, reason); /* each answers with an error; the first is the client's */
        free(reason);
        return;
    }
    if (f->type == MSG_COPY_DATA) {
        size_t before = copy_split_memory(k->split);
        if (copy_split_feed(k->split, f->body, &e) != STATUS_OK)
            copy_fail(c, &e);
        else if (copy_split_memory(k->split) / MEMORY_BLOCK_BYTES > before / MEMORY_BLOCK_BYTES &&
                 memory_admits(c, 0, &e) != STATUS_OK) {
            copy_fail(c, &e);
            copy_split_destroy(&k->split); /* what follows is dropped */
        }
        return;
    }
    if (copy_split_finish(k->split, &e) != STATUS_OK) {
        copy_fail(c, &e);
        return;
    }
    for (int i = shard_set_next(&k->shards, 0); i >= 0; i = shard_set_next(&k->shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        batch_flush(k, (unsigned)i);
        if (l && !l->lost)
            server_write(l->server, done, sizeof done);
    }
    k->state = COPY_ENDING;
}

enum dispatch copy_in_message(struct client *c, const struct frame *f)
{
    if (c->run == RUN_PIPELINE && c->run_link &&
        !c->sync_pending) { /* COPY by the extended protocol, on one shard */
        server_write(c->run_link->server, f->whole.data, f->whole.len);
        if (f->type != MSG_COPY_DATA)
            c->copy_pass = COPY_PASS_NONE;
        return DISPATCH_DONE;
    }
    if (c->run != RUN_COPY_IN)
        return c->query_rest.data ? DISPATCH_AGAIN
                                  : DISPATCH_DONE; /* left over after a failed COPY: ignored, as
                                                                       a server does */
    switch (c->copy->state) {
    case COPY_STARTING:
        return DISPATCH_AGAIN;
    case COPY_ENDING:
        return c->copy->client_done ? DISPATCH_AGAIN : DISPATCH_DONE;
    case COPY_DATA:
        break;
    }
    for (int i = shard_set_next(&c->copy->shards, 0); i >= 0; i = shard_set_next(&c->copy->shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        if (l && !l->lost && server_backlog(l->server) >= BACKPRESSURE_BYTES)
            return DISPATCH_AGAIN; /* link_drained() resumes */
    }
    c->copy->client_done = f->type != MSG_COPY_DATA;
    if (c->copy->split)
        data_split(c, f);
    else
        data_as_it_comes(c, f);
    return DISPATCH_DONE;
}

enum dispatch copy_in_refused(struct client *c, const struct error *e)
{
    if (c->run == RUN_PIPELINE && c->copy_pass == COPY_PASS_STARTING)
        return DISPATCH_AGAIN;
    if (c->run == RUN_PIPELINE && c->copy_pass == COPY_PASS_DATA) {
        client_fatal(c, e); /* the shard takes its data, and would wait for the rest of this */
        return DISPATCH_DONE;
    }
    if (c->run != RUN_COPY_IN) /* left over after a COPY that failed: it is of no use to anybody */
        return c->query_rest.data ? DISPATCH_AGAIN : DISPATCH_DONE;
    switch (c->copy->state) {
    case COPY_STARTING:
        return DISPATCH_AGAIN;
    case COPY_ENDING:
        return c->copy->client_done ? DISPATCH_AGAIN : DISPATCH_DONE;
    case COPY_DATA:
        copy_fail(c, e);
    }
    return DISPATCH_DONE;
}

bool copy_in_takes_data(const struct client *c)
{
    return c->copy && c->copy->state != COPY_ENDING;
}

size_t copy_in_memory(const struct client *c)
{
    const struct copy_in *k = c->copy;
    size_t n = 0;
    if (!k)
        return 0;
    for (unsigned i = 0; k->batch && i < c->db->n_shards; i++)
        n += k->batch[i].cap;
    return sizeof *k + n + (k->split ? copy_split_memory(k->split) : 0);
}

bool copy_in_allows(struct client *c, uint8_t type)
{
    struct error e;
    if (c->copy && c->copy->state != COPY_DATA)
        return true; /* of what comes after it, maybe */
    switch (type) {
    case MSG_COPY_DATA:
    case MSG_COPY_DONE:
    case MSG_COPY_FAIL:
    case MSG_FLUSH:
    case MSG_SYNC:
    case MSG_TERMINATE:
        return true;
    default:
        error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "unexpected message type 0x%02X during COPY from stdin",
                  (unsigned)type);
        client_fatal(c, &e);
        return false;
    }
}

/* --- the beginning ---------------------------------------------------------------------------- */

/* Servers before 18 end CSV at a line \. of its own; later ones take it for data. Shards of both kinds cannot
 * be told the same. */
static bool csv_ends_at_marker(struct client *c, const struct shard_set *shards)
{
    bool marker = false;
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1))
        marker |= backend_conn_version(link_find(c, (unsigned)i)->server->conn) < 180000;
    return marker;
}

enum dispatch copy_in_start(struct client *c, struct plan *p, const struct template *t,
                            const struct shard_set *shards)
{
    unsigned n = shard_set_count(shards);
    struct copy_in *k = xcalloc(1, sizeof *k);
    k->client = c;
    k->plan = p;
    k->shards = *shards;
    k->due_start = k->due_ready = n;
    k->state = COPY_STARTING;
    c->copy = k;
    notice_speaker(c, shards);
    if (n > 1) {
        struct copy_split_options o = {
            .spec = &p->copy,
            .max_row_bytes = (size_t)c->config->settings.max_message_bytes,
            .csv_end_marker = csv_ends_at_marker(c, shards),
            .sink = {.row = one_row, .every_shard = to_every_shard, .arg = k},
        };
        k->split = copy_split_create(&o);
        k->batch = xcalloc(c->db->n_shards, sizeof *k->batch);
        if (c->txn.state == TXN_NONE) {
            txn_begin_implicit(c);
            k->implicit = !c->multi;
        }
    }
    c->run = RUN_COPY_IN;
    c->run_failed = c->preamble_failed = false;
    if (ordered_wanted(p, n)) {
        for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1))
            link_find(c, (unsigned)i)->source_due = true;
        ordered_create(c, shards, false);
        struct rope text;
        rope_init(&text);
        rope_add(&text, t->statement);
        ordered_put_all(c, &text);
        rope_free(&text);
        ordered_send(c);
        return DISPATCH_DONE;
    }
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1)) {
        struct link *l = link_find(c, (unsigned)i);
        link_prepare(l);
        link_mark(l, p);
        l->source_due = true;
        link_query(l, t->statement, SINK_MESSAGE, TAG_STATEMENT);
        link_expect_copy(l, p);
    }
    return DISPATCH_DONE;
}
