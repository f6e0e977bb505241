/*
 * What lastval() and currval() answer on pooled servers.
 *
 * A server keeps it per sequence for as long as its session lasts, whoever uses the session. So a server remembers whose
 * statements last used sequences there (server.sequence_owner), and whether others' are in between (sequences_mixed); a
 * client counts its uses, and the server has the number of the last one there. Both are noted in front of statements that may use
 * sequences (EFFECT_SEQUENCE, EFFECT_SEQUENCE_READ); other statements do nothing here.
 *
 *     what is there is the client's alone,   the server answers
 *     and nothing newer is elsewhere
 *     else                                   DISCARD SEQUENCES goes in front of a statement that may read
 *
 * So nobody reads another's value, in a function neither, nor an old one of its own. A client that has asked once, and not in the transaction in which it used the sequence, keeps the server of its next
 * nextval() (pinned) until DISCARD SEQUENCES or its end: from then on it has what PostgreSQL gives. One that never asks keeps
 * nothing. Before its first question others may have come in between: it is told so (55000).
 *
 * As long as nobody in the process has asked, nextval() of many leaves a mixture, and nothing is sent. From then on
 * nextval() takes back first what others left, so that a question in the same transaction has an answer.
 */
#include "session.h"

#include "sql/effects.h"

static uint64_t owner_id(const struct client *c)
{
    return (uint64_t)c->pid << 32 | c->secret;
}

static bool is_own(const struct link *l)
{
    const struct server *s = l->server;
    return s->sequence_owner == owner_id(l->client) && !s->sequences_mixed &&
           s->sequence_use == l->client->sequence_uses;
}

/* Functions that are seen to ask count, code that nobody has looked into does not: its server is closed after it. */
static bool asks(uint16_t effects)
{
    return effects & EFFECT_SEQUENCE_READ && !(effects & EFFECT_HIDDEN);
}

/* Which of the shards is the last to use the sequence is not known. */
static bool on_several(const struct client *c)
{
    return c->run == RUN_MULTI || (c->run == RUN_COPY_IN && c->db->n_shards > 1);
}

static void expect(struct server *s, enum expect_kind kind)
{
    server_expect(s, kind, SINK_DROP, TAG_SEQUENCES, NULL);
}

/* Without Sync, so that a statement that reads is not run if this fails. The portal has a name, as the client's unnamed one
   may be waiting for its Execute. */
static void discard_in_transaction(struct link *l)
{
    static const char portal[] = "pgunison_sequences";
    struct server *s = l->server;
    struct buf b;
    buf_init(&b);
    message_parse(&b, "", slice_str("DISCARD SEQUENCES"), 0, NULL);
    size_t begun = message_begin(&b, MSG_BIND);
    buf_cstr(&b, portal);
    buf_cstr(&b, "");
    for (int i = 0; i < 3; i++)
        buf_u16(&b, 0);
    message_end(&b, begun);
    message_execute(&b, portal, 0);
    message_close(&b, 'P', portal);
    server_set_reading(s, true);
    server_write(s, buf_head(&b), buf_len(&b));
    buf_free(&b);
    expect(s, EXPECT_PARSE);
    expect(s, EXPECT_BIND);
    expect(s, EXPECT_EXECUTE);
    expect(s, EXPECT_CLOSE);
    s->unnamed_statement = 0;
}

static void discard(struct link *l, uint16_t effects)
{
    if (l->in_txn || l->open_pipeline || effects & EFFECT_SEQUENCE_READ)
        discard_in_transaction(l);
    else /* what follows may be VACUUM */
        link_query(l, slice_str("DISCARD SEQUENCES"), SINK_DROP, TAG_SEQUENCES);
    l->server->sequence_owner = 0;
    l->server->sequences_mixed = false;
}

void sequences_not_discarded(struct server *s)
{
    s->sequence_owner = UINT64_MAX;
    s->sequences_mixed = true;
}

static void keep_server(struct link *l)
{
    l->held |= EFFECT_SEQUENCE;
    l->pinned = true;
    l->server->pinned_state = true;
}

void sequences_mark(struct link *l, uint16_t effects)
{
    struct client *c = l->client;
    struct server *s = l->server;
    atomic_bool *asked = &c->env->shared->sequences_asked;
    if (effects & EFFECT_SEQUENCE_END) {
        l->held &= (uint16_t)~EFFECT_SEQUENCE;
        l->pinned = l->held != 0 || l->kept;
        return;
    }
    bool own = is_own(l);
    if (asks(effects)) {
        c->asks_sequences |= !(effects & EFFECT_SEQUENCE) && !(own && l->sequence_used);
        atomic_store_explicit(asked, true, memory_order_relaxed);
    }
    if (s->sequence_owner != 0 && !own &&
        (effects & EFFECT_SEQUENCE_READ || atomic_load_explicit(asked, memory_order_relaxed)))
        discard(l, effects);
    if (effects & EFFECT_SEQUENCE) {
        s->sequences_mixed = s->sequence_owner != 0 && !own;
        s->sequence_owner = owner_id(c);
        s->sequence_use = ++c->sequence_uses;
        c->sequence_uses += on_several(c);
        l->sequence_used = true;
    }
    if (c->asks_sequences && (own || effects & EFFECT_SEQUENCE))
        keep_server(l);
}

enum status sequences_check(const struct link *l, const struct plan *p, struct error *error_r)
{
    const struct client *c = l->client;
    if (!asks(p->effects) || p->effects & EFFECT_SEQUENCE || c->sequence_uses == 0 || is_own(l))
        return STATUS_OK;
    /* From now on it keeps its server. */
    l->client->asks_sequences = true;
    atomic_store_explicit(&c->env->shared->sequences_asked, true, memory_order_relaxed);
    (void)error_set(error_r, "55000",
                    "what this session's last use of a sequence left is not on this server connection");
    error_detail(error_r, "Others have used the connection, or this session has used another one.");
    error_hint(
        error_r,
        "Use RETURNING, or ask again after the next use of the sequence: this session keeps its server "
        "connection from then on.");
    return STATUS_ERROR;
}
