/*
 * One connection to a shard, taken over raw, and the replies that are due on it.
 *
 * Whoever sends a message says what answer it expects and where that goes. Expectations form a queue:
 *
 *     sent:      Q(set a to ..)   Q(the client's)   P B D E S
 *     expected:  QUERY/DROP       QUERY/FORWARD     PARSE BIND DESCRIBE EXECUTE SYNC
 *
 * FORWARD: bytes go to the owner as they come, whole or partial messages, without being assembled; but
 * messages that somebody must look at (ErrorResponse, ReadyForQuery, ParameterStatus, NotificationResponse,
 * CopyInResponse, CopyOutResponse) are delivered whole through message(), in order.
 * MESSAGE: every message is delivered whole, a NoticeResponse too, which belongs to what is answered then. DROP: only those that somebody must look at. After ErrorResponse
 * the server skips to Sync (extended protocol): expectations up to the next SYNC are reported through
 * skipped() and forgotten.
 *
 * A server that says what cannot come now (src/backend/replies.h), or says it in a malformed way, is lost, with 08P01.
 *
 * HOLD (kind TURN) is not answered by anything: while it is at the head, what comes is kept, a bounded amount of
 * it, and handed over after server_pass(). So an owner of several servers can have them work at the same time
 * and speak in turns.
 */
#ifndef PGUNISON_BACKEND_SERVER_H
#define PGUNISON_BACKEND_SERVER_H

#include "backend/dial.h"
#include "backend/statements.h"
#include "backend/varset.h"
#include "base/buf.h"
#include "net/stream.h"
#include "wire/frame.h"

enum expect_kind {
    EXPECT_QUERY,
    EXPECT_PARSE,
    EXPECT_BIND,
    EXPECT_DESCRIBE_STATEMENT,
    EXPECT_DESCRIBE_PORTAL,
    EXPECT_EXECUTE,
    EXPECT_CLOSE,
    EXPECT_SYNC,
    EXPECT_TURN
};
enum expect_sink { SINK_FORWARD, SINK_MESSAGE, SINK_DROP, SINK_HOLD };
enum expect_copy { EXPECT_NO_COPY, EXPECT_COPY_OUT, EXPECT_COPY_IN };
struct expect {
    uint8_t kind, sink;
    uint16_t tag;        /* the owner's */
    uint8_t first_state; /* of its answer, src/backend/replies.h */
    void *arg;           /* the owner's */
};

struct server;
struct server_owner_ops {
    void (*forward)(void *owner, struct server *s, const uint8_t *bytes, size_t len);
    /* e: the expectation that f belongs to (still at the head), or NULL when none is due (asynchronous
     * messages). */
    void (*message)(void *owner, struct server *s, const struct expect *e, const struct frame *f);
    void (*skipped)(void *owner, struct server *s, const struct expect *e);
    /* what one read brought has been handed over */
    void (*end_of_read)(void *owner, struct server *s);
    /* gone; the owner must give it back with server_discard */
    void (*lost)(void *owner, struct server *s, const struct error *why);
    /* the shard does not take what is sent to it, and it was sent more; drained() follows */
    void (*behind)(void *owner, struct server *s);
    void (*drained)(void *owner, struct server *s); /* output queue empty again */
};

/* The forward of an owner that asks for nothing with SINK_FORWARD. */
void server_forward_nothing(void *owner, struct server *s, const uint8_t *bytes, size_t len);

struct cancels; /* cancel requests of its loop: src/backend/cancel.h */
struct server_pool;
struct server {
    struct list_node node;      /* pool's idle list, or none */
    struct list_node pool_node; /* pool's list of all its connections */
    struct loop *loop;
    struct stream *stream;
    struct backend_conn *conn;
    struct server_pool *pool;
    const struct server_owner_ops *ops; /* NULL: idle in the pool */
    void *owner;
    void (*idle_lost)(struct server *s, const struct error *why); /* the pool's: instead of lost() */
    /* replies */
    struct expect *ring;
    uint32_t ring_head, ring_count, ring_cap;
    struct buf in;       /* a partial message; empty most of the time */
    size_t forward_left; /* bytes of a message under way in FORWARD that are still to come */
    size_t drop_left;    /* the same for a message that nobody wants */
    char txn_status;     /* of the last ReadyForQuery */
    uint8_t reply_state; /* what the head's answer has come to: src/backend/replies.h */
    bool dead;           /* lost or closed: no more I/O */
    bool wrote_rows;     /* a CommandComplete told of rows written, since the owner last cleared this */
    /* session state on the server */
    struct varset *vars; /* what it is set to, besides what it was opened with */
    struct prepared_set *prepared;
    /* cancelling: ReadyForQuery is held back while a request is under way, so that it cannot hit what is
       sent after the statement that it was meant for */
    struct cancel_request *cancel;
    bool cancel_again; /* another one was asked for meanwhile */
    bool ready_held;
    bool cancel_lost;          /* one may still arrive, at any time: nobody else may meet it */
    bool pinned_state;         /* has state that only DISCARD ALL or closing removes */
    bool closes_after;         /* has state that only closing removes */
    bool sequences_mixed;      /* what lastval() and currval() answer is of several sessions */
    uint32_t sequence_use;     /* its number among those of the owner */
    uint64_t sequence_owner;   /* ... of which this was the last; 0: of none */
    const struct begun *begun; /* in conn */
    uint64_t created_us, used_us;
    /* pool_silence.c: reads that brought something, as many as there had been at the last look, and since when it owes
       an answer without having said a word */
    uint32_t heard, heard_before;
    uint64_t silent_since_us;
    uint64_t unnamed_statement; /* id of the statement_def parsed last as "", 0: unknown */
    struct cancels *cancels;
    size_t longest; /* that a message may be which is assembled, whatever its type allows */
};

struct server *server_create(struct loop *loop, struct cancels *cancels, struct backend_conn *conn,
                             struct prepared_set *prepared);
/* closes; safe inside its own callbacks (freed at the end of the turn) */
void server_destroy(struct server **s);
/* The same with a goodbye, if nothing is under way in which it could be mistaken for the rest of something. */
void server_close(struct server **s);
/* The same without closing: the connection is the caller's. The server must be quiet. */
struct backend_conn *server_give_back(struct server **s);
/* Nothing is outstanding, kept or queued. */
bool server_is_quiet(const struct server *s);
void server_set_owner(struct server *s, const struct server_owner_ops *ops, void *owner);
void server_detach(struct server *s); /* from its loop, idle only; see stream_detach */
void server_attach(struct server *s, struct loop *loop,
                   struct cancels *cancels); /* on the new loop's thread */

void server_expect(struct server *s, enum expect_kind kind, enum expect_sink sink, uint16_t tag, void *arg);
/* The QUERY or EXECUTE that was expected last is COPY TO STDOUT, or FROM STDIN: else the server may not answer so. */
void server_expect_copy(struct server *s, enum expect_copy copy);
static inline uint32_t server_outstanding(const struct server *s)
{
    return s->ring_count;
}
/* The i-th of what is outstanding. */
static inline struct expect *server_expectation(const struct server *s, uint32_t i)
{
    return &s->ring[(s->ring_head + i) & (s->ring_cap - 1)];
}
static inline bool server_holds(const struct server *s)
{
    return s->ring_count && server_expectation(s, 0)->sink == SINK_HOLD;
}
bool server_sync_due(const struct server *s); /* the answer to a Sync is among what is outstanding */
void server_unhold(struct server *s);         /* every HOLD is forgotten; server_go_on() is to follow */
void server_go_on(struct server *s);          /* reads, and hands over what was kept; no end_of_read() */
void server_pass(struct server *s);           /* the HOLD at the head is over: goes on */
void server_forget_replies(struct server *s); /* of one that is lost */
/* queues a copy; all that was written in a turn of the loop is sent at its end (net/stream.h) */
void server_write(struct server *s, const void *data, size_t len);
void server_set_reading(struct server *s, bool on);
/* Messages that are delivered whole are no longer than this, or the server is lost. */
static inline void server_set_longest(struct server *s, size_t bytes)
{
    s->longest = bytes;
}
size_t server_queued(const struct server *s);
size_t server_backlog(const struct server *s); /* what the shard does not take: see stream_backlog() */
/* Asks the shard to cancel what runs, or was just written: that leaves before the request. Its ReadyForQuery comes
   after the request is through. */
void server_cancel(struct server *s);
/* Something may have changed its variables, role or session authorization unseen (a function, DO, CALL): whoever uses
   it next, the same session too, has all set anew first, in a write of its own that is waited for. Custom variables
   that came to be unseen cannot be found nor removed: a server that may have some is to be closed. */
void server_forget_variables(struct server *s);
void server_fail(struct server *s, const struct error *why); /* as if the connection had broken */
/* The same for what its owner cannot take: a message of this type, and why, in a sentence. */
void server_violation(struct server *s, uint8_t type, const char *what);
const char *server_shard(const struct server *s); /* its name */

#endif
