/*
 * A statement that writes on several shards reaches one of them after the other, each when the one before has
 * answered, and always in the same order: the home shard, then by number.
 *
 * Why: two of them that ran everywhere at once could wait for each other in a circle, A on one shard for B and B
 * on another for A, which no single server sees. In order they cannot: who waits on a shard holds locks on it and
 * on shards before it only. So if A waits on i for B, and B on k for A, then B holds something on i, which is not
 * behind k, and A something on k, which is not behind i: i is k, and that server finds the deadlock itself. It
 * does not matter which rows, tables, triggers or shards they have in common, nor through which proxy they came. (To
 * take the first shard first, and then the others at once, would not do: where statements meet on the others alone,
 * nothing has queued them.)
 *
 * Copies of a reference table also have to stay the same. Row locks are not enough for that: what a statement finds
 * depends on its snapshot, and between its first shard and its last another may have committed. So a lock of the
 * table's name, taken on each shard in front of the statement, makes every shard see writes of it in one order.
 *
 * A source of sorted rows that is full does not end before the others have begun: then the next shard is asked at
 * once (run.c).
 *
 * Not responsible for: what answers mean (run.c, copy_in.c), statements that only read, those that are a
 * transaction of their own on each shard (VACUUM).
 */
#include "session.h"

#include <stdlib.h>

struct ordered_step {
    unsigned shard;
    size_t from, to; /* pieces of messages */
};

struct ordered {
    struct rope messages; /* a text of SQL, or whole messages up to Sync */
    bool extended, cancelled;
    unsigned n, next; /* steps, and which has not been sent yet */
    struct ordered_step steps[];
};

bool ordered_wanted(const struct plan *p, unsigned n_shards)
{
    return n_shards > 1 && p->writes && p->verb != VERB_PER_SHARD;
}

static struct ordered_step *step_of(struct ordered *o, unsigned shard)
{
    for (unsigned i = o->next; i < o->n; i++)
        if (o->steps[i].shard == shard)
            return &o->steps[i];
    return NULL;
}

void ordered_create(struct client *c, const struct shard_set *shards, bool extended)
{
    unsigned n = shard_set_count(shards);
    if (c->ordered) {
        client_broken(c, "writes in order");
        ordered_free(c);
    }
    struct ordered *o = xcalloc(1, sizeof *o + n * sizeof o->steps[0]);
    rope_init(&o->messages);
    o->extended = extended;
    if (shard_set_has(shards, c->db->home))
        o->steps[o->n++].shard = c->db->home;
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1))
        if ((unsigned)i != c->db->home)
            o->steps[o->n++].shard = (unsigned)i;
    c->ordered = o;
}

void ordered_free(struct client *c)
{
    if (!c->ordered)
        return;
    rope_free(&c->ordered->messages);
    free(c->ordered);
    c->ordered = NULL;
}

static void append(struct rope *to, const struct rope *message)
{
    for (size_t i = 0; i < message->n; i++)
        rope_add(to, rope_piece(message, i));
}

void ordered_put(struct client *c, unsigned shard, const struct rope *message)
{
    struct ordered_step *s = step_of(c->ordered, shard);
    s->from = rope_cut(&c->ordered->messages);
    append(&c->ordered->messages, message);
    s->to = c->ordered->messages.n;
}

void ordered_put_all(struct client *c, const struct rope *message)
{
    struct ordered *o = c->ordered;
    append(&o->messages, message);
    for (unsigned i = 0; i < o->n; i++)
        o->steps[i].to = o->messages.n;
}

size_t ordered_memory(const struct client *c)
{
    return c->ordered ? sizeof *c->ordered + rope_memory(&c->ordered->messages) : 0;
}

void ordered_send(struct client *c)
{
    struct ordered *o = c->ordered;
    const struct ordered_step *s = &o->steps[o->next++];
    struct link *l = link_find(c, s->shard);
    if (l->open_pipeline)
        link_sync(l);
    link_prepare(l);
    link_lock_copies(l, c->plan);
    link_mark(l, c->plan);
    l->source_due = true;
    if (!o->extended) {
        link_query_rope(l, &o->messages, s->from, s->to, SINK_MESSAGE, TAG_STATEMENT);
        link_expect_copy(l, c->plan);
    } else {
        server_set_reading(l->server, true);
        link_write_rope(l, &o->messages, s->from, s->to);
        link_expect_spread(l);
    }
    if (o->next == o->n)
        ordered_free(c);
}

bool ordered_waits(const struct client *c, unsigned shard)
{
    return c->ordered && step_of(c->ordered, shard);
}

unsigned ordered_drop(struct client *c)
{
    struct ordered *o = c->ordered;
    unsigned n = o ? o->n - o->next : 0;
    for (unsigned i = 0; i < n; i++) {
        struct link *l = link_find(c, o->steps[o->next + i].shard);
        if (l)
            l->source_due = false;
    }
    ordered_free(c);
    return n;
}

void ordered_cancel(struct client *c)
{
    if (c->ordered)
        c->ordered->cancelled = true;
}

bool ordered_cancelled(const struct client *c)
{
    return c->ordered && c->ordered->cancelled;
}
