/*
 *     ASKED -> ANSWERED [message]      ReadyForQuery has come
 *     ASKED, ANSWERED -> over [end_of_read, lost, conn_ask_cancel]
 *
 * Between ANSWERED and the end of what one read brought the server may still say something unasked: the connection is
 * given back only if that was all of it, as whoever reads on must not begin in the middle of a message.
 *
 * Not responsible for: what is asked, time.
 */
#include "conn_ask.h"

#include "backend/server.h"
#include "base/arena.h"
#include "base/log.h"
#include "wire/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)16 << 20)

enum ask_state { ASK_ASKED, ASK_ANSWERED };

struct conn_ask {
    struct loop *loop;
    enum ask_state state;
    struct server *server;
    struct rows_sink *sink;
    bool changed; /* a variable was reported */
    void (*done)(void *arg, enum conn_asked how, struct backend_conn *conn, const struct rows *rows,
                 const struct error *why);
    void *arg;
};

/* conn NULL: it is closed. */
static void finish(struct conn_ask *a, enum conn_asked how, const struct error *why)
{
    struct rows_sink *sink = a->sink;
    struct backend_conn *conn = NULL;
    struct rows rows = {.lost = true, .error = why};
    if (how == CONN_ANSWERED) {
        rows = rows_sink_rows(sink);
        conn = server_give_back(&a->server);
    }
    a->sink = NULL;
    void (*done)(void *, enum conn_asked, struct backend_conn *, const struct rows *, const struct error *) =
        a->done;
    void *arg = a->arg;
    conn_ask_cancel(&a);
    done(arg, how, conn, &rows, why);
    rows_sink_destroy(&sink);
}

static void message(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct conn_ask *a = owner;
    struct error why;
    if (f->type == MSG_PARAMETER_STATUS)
        a->changed = true;
    if (!e)
        return;
    switch (rows_sink_take(a->sink, f, &why)) {
    case ROWS_MORE:
        return;
    case ROWS_END:
        a->state = ASK_ANSWERED;
        return;
    case ROWS_BAD:
        server_violation(s, f->type, why.message);
        return;
    }
}

static void end_of_read(void *owner, struct server *s)
{
    struct conn_ask *a = owner;
    struct error why;
    if (a->state != ASK_ANSWERED)
        return;
    if (a->changed || !server_is_quiet(s)) {
        (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" changed a setting", server_shard(s));
        finish(a, CONN_CHANGED, &why);
    } else if (s->txn_status != 'I') {
        server_violation(s, MSG_READY, "No transaction was begun.");
    } else {
        finish(a, CONN_ANSWERED, NULL);
    }
}

/* Its last words tell more than that it ended. */
static void lost(void *owner, struct server *s, const struct error *why)
{
    struct conn_ask *a = owner;
    const struct error *said = rows_sink_error(a->sink);
    struct error e = said ? *said : *why;
    (void)s;
    finish(a, CONN_LOST, &e);
}

static const struct server_owner_ops owner_ops = {
    .forward = server_forward_nothing,
    .message = message,
    .end_of_read = end_of_read,
    .lost = lost,
};

struct conn_ask *conn_ask_start(struct loop *loop, struct backend_conn *conn, const char *sql,
                                void (*done)(void *arg, enum conn_asked how, struct backend_conn *conn,
                                             const struct rows *rows, const struct error *why),
                                void *arg)
{
    struct conn_ask *a = xcalloc(1, sizeof *a);
    struct buf b;
    *a = (struct conn_ask){.loop = loop, .state = ASK_ASKED, .done = done, .arg = arg};
    a->sink = rows_sink_create(MAX_BYTES);
    a->server = server_create(loop, NULL, conn, NULL);
    server_set_owner(a->server, &owner_ops, a);
    server_set_longest(a->server, MAX_BYTES);
    buf_init(&b);
    message_query(&b, slice_str(sql));
    server_expect(a->server, EXPECT_QUERY, SINK_MESSAGE, 0, NULL);
    server_write(a->server, buf_head(&b), buf_len(&b));
    buf_free(&b);
    return a;
}

void conn_ask_cancel(struct conn_ask **ap)
{
    struct conn_ask *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    if (a->server)
        server_close(&a->server);
    rows_sink_destroy(&a->sink);
    loop_doom(a->loop, a, NULL);
}
