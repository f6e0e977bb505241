/*
 * include/net/loop.h, stream.h, mailbox.h and tls.h over the world's queue of events: no descriptors, no threads, no clock.
 *
 *     turn:  what is due by time -> what has come for streams -> deferred work -> output -> doomed objects
 *
 * A pipe joins a stream with a peer. Bytes to the proxy wait in the pipe until they are read; bytes from it are under way
 * for a latency, no more of them than the pipe's room.
 */
#include "world.h"

#include "net/loop.h"
#include "net/mailbox.h"
#include "net/stream.h"

enum { MAX_PIPES = 512, ROOM_BYTES = 1 << 20, LENT_BYTES = 1 << 16 };

struct loop {
    uint64_t turn;
    struct list deferred, later, unsent, timers;
    struct {
        void *p;
        void (*free_p)(void *);
    } * doomed;
    size_t n_doomed, cap_doomed;
};

struct pipe {
    int fd;
    struct stream *stream; /* NULL: not there yet, or closed by the proxy */
    const struct peer_ops *ops;
    void *peer;
    struct buf unread;      /* of the proxy */
    bool ended, peer_ended; /* the end has reached the proxy; has been sent to it */
    bool closed;            /* by the proxy */
    size_t room, under_way;
    uint64_t to_proxy_at, to_peer_at; /* when what was sent last arrives: bytes do not overtake */
};

struct stream {
    struct loop *loop;
    struct pipe *pipe;
    const struct stream_events *events;
    void *owner;
    bool reading, blocked;
    bool filled; /* the last bytes that it was given were as many as fit */
    struct buf out;
    struct list_node unsent;
};

static struct pipe *pipes[MAX_PIPES];
static int n_pipes;

/* --- pipes ------------------------------------------------------------------------------------ */

struct pipe *pipe_create(const struct peer_ops *ops, void *peer)
{
    if (n_pipes == MAX_PIPES) {
        printf("too many connections in one run\n");
        abort();
    }
    struct pipe *p = xcalloc(1, sizeof *p);
    *p = (struct pipe){.fd = n_pipes, .ops = ops, .peer = peer, .room = ROOM_BYTES};
    buf_init(&p->unread);
    pipes[n_pipes++] = p;
    return p;
}

int pipe_fd(const struct pipe *p)
{
    return p->fd;
}

void pipe_narrow(struct pipe *p, size_t n)
{
    p->room = n;
}

static void pipes_free(void)
{
    for (int i = 0; i < n_pipes; i++) {
        buf_free(&pipes[i]->unread);
        free(pipes[i]);
    }
    n_pipes = 0;
}

struct parcel {
    struct pipe *pipe;
    struct slice bytes;
};

static struct parcel *parcel_of(struct pipe *p, const void *bytes, size_t n)
{
    struct parcel *x = arena_alloc(&world.arena, sizeof *x);
    uint8_t *copy = arena_alloc(&world.arena, n ? n : 1);
    if (n)
        memcpy(copy, bytes, n);
    *x = (struct parcel){p, slice_of(copy, n)};
    return x;
}

/* In the order in which it was sent. */
static void pipe_at(uint64_t *last_at, void (*run)(void *, uint64_t), struct parcel *x)
{
    uint64_t at = world.now_us + world_latency();
    if (at < *last_at)
        at = *last_at;
    *last_at = at;
    world_at(at - world.now_us, run, x, 0);
}

static void arrive_at_proxy(void *arg, uint64_t n)
{
    struct parcel *x = arg;
    (void)n;
    if (!x->pipe->closed)
        buf_slice_append(&x->pipe->unread, x->bytes);
}

static void end_at_proxy(void *arg, uint64_t n)
{
    struct parcel *x = arg;
    (void)n;
    x->pipe->ended = true;
}

void pipe_send(struct pipe *p, const void *bytes, size_t n)
{
    if (n && !p->peer_ended)
        pipe_at(&p->to_proxy_at, arrive_at_proxy, parcel_of(p, bytes, n));
}

void pipe_end(struct pipe *p)
{
    if (p->peer_ended)
        return;
    p->peer_ended = true;
    pipe_at(&p->to_proxy_at, end_at_proxy, parcel_of(p, NULL, 0));
}

static void arrive_at_peer(void *arg, uint64_t n)
{
    struct parcel *x = arg;
    (void)n;
    x->pipe->under_way -= x->bytes.len;
    if (!x->pipe->peer_ended)
        x->pipe->ops->bytes(x->pipe->peer, x->bytes.data, x->bytes.len);
}

static void close_at_peer(void *arg, uint64_t n)
{
    struct parcel *x = arg;
    (void)n;
    if (!x->pipe->peer_ended)
        x->pipe->ops->closed(x->pipe->peer);
}

/* --- streams ---------------------------------------------------------------------------------- */

struct stream *stream_create(struct loop *loop, int fd, const struct stream_events *events, void *owner)
{
    struct stream *s = xcalloc(1, sizeof *s);
    *s = (struct stream){.loop = loop, .pipe = pipes[fd], .events = events, .owner = owner, .reading = true};
    buf_init(&s->out);
    pipes[fd]->stream = s;
    return s;
}

struct stream *stream_adopt(struct loop *loop, int fd, void *ssl, const struct stream_events *events,
                            void *owner)
{
    (void)ssl;
    return stream_create(loop, fd, events, owner);
}

void stream_destroy(struct stream **sp)
{
    struct stream *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    struct pipe *p = s->pipe;
    p->stream = NULL;
    p->closed = true;
    if (list_linked(&s->unsent))
        list_remove(&s->loop->unsent, &s->unsent);
    buf_free(&s->out);
    pipe_at(&p->to_peer_at, close_at_peer, parcel_of(p, NULL, 0));
    loop_doom(s->loop, s, NULL);
}

void stream_detach(struct stream *s)
{
    (void)s;
    abort(); /* there is one worker */
}

void stream_attach(struct stream *s, struct loop *loop, const struct stream_events *events, void *owner)
{
    (void)s;
    (void)loop;
    (void)events;
    (void)owner;
    abort();
}

void stream_start_tls(struct stream *s, struct tls_context *ctx)
{
    (void)s;
    (void)ctx;
    abort();
}

bool stream_is_tls(const struct stream *s)
{
    (void)s;
    return false;
}

int stream_fd(const struct stream *s)
{
    return s->pipe->fd;
}

void tls_context_destroy(struct tls_context **ctx)
{
    *ctx = NULL;
}

void stream_set_reading(struct stream *s, bool on)
{
    s->reading = on;
}

void stream_write(struct stream *s, const void *data, size_t len)
{
    buf_append(&s->out, data, len);
    if (buf_len(&s->out) && !list_linked(&s->unsent))
        list_push_back(&s->loop->unsent, &s->unsent);
}

enum io stream_flush(struct stream *s)
{
    struct pipe *p = s->pipe;
    size_t room = p->room - p->under_way, n = buf_len(&s->out);
    s->blocked = n > room;
    if (n > room)
        n = room;
    if (n) {
        p->under_way += n;
        pipe_at(&p->to_peer_at, arrive_at_peer, parcel_of(p, buf_head(&s->out), n));
        buf_consume(&s->out, n);
    }
    return s->blocked ? IO_AGAIN : IO_OK;
}

enum io stream_forward(struct stream *s, const void *data, size_t len)
{
    stream_write(s, data, len);
    return stream_flush(s);
}

size_t stream_queued(const struct stream *s)
{
    return buf_len(&s->out);
}

size_t stream_memory(const struct stream *s)
{
    return s->out.cap;
}

size_t stream_backlog(const struct stream *s)
{
    return s->blocked ? buf_len(&s->out) : 0;
}

/* --- the loop --------------------------------------------------------------------------------- */

struct loop *loop_create(enum loop_poller poller)
{
    (void)poller;
    struct loop *loop = xcalloc(1, sizeof *loop);
    loop->turn = 1;
    list_init(&loop->deferred);
    list_init(&loop->later);
    list_init(&loop->unsent);
    list_init(&loop->timers);
    return loop;
}

static void free_doomed(struct loop *loop)
{
    for (size_t i = 0; i < loop->n_doomed; i++) {
        void *p = loop->doomed[i].p;
        void (*free_p)(void *) = loop->doomed[i].free_p;
        free_p(p);
    }
    loop->n_doomed = 0;
}

void loop_destroy(struct loop **lp)
{
    free_doomed(*lp);
    free((*lp)->doomed);
    free(*lp);
    *lp = NULL;
    pipes_free();
}

uint64_t loop_now_us(const struct loop *loop)
{
    (void)loop;
    return world.now_us;
}

void loop_defer(struct loop *loop, struct deferred *d)
{
    if (!list_linked(&d->node))
        list_push_back(d->ran_in_turn == loop->turn ? &loop->later : &loop->deferred, &d->node);
}

void loop_undefer(struct loop *loop, struct deferred *d)
{
    if (list_linked(&d->node))
        list_remove(d->ran_in_turn == loop->turn ? &loop->later : &loop->deferred, &d->node);
}

void loop_doom(struct loop *loop, void *p, void (*free_p)(void *))
{
    if (loop->n_doomed == loop->cap_doomed) {
        loop->cap_doomed = loop->cap_doomed ? 2 * loop->cap_doomed : 32;
        loop->doomed = xrealloc(loop->doomed, loop->cap_doomed * sizeof *loop->doomed);
    }
    loop->doomed[loop->n_doomed].p = p;
    loop->doomed[loop->n_doomed++].free_p = free_p ? free_p : free;
}

static bool readable(const struct pipe *p)
{
    return p->stream && p->stream->reading && (buf_len(&p->unread) || p->ended);
}

/* Some of what has come, or the end. */
static void hand_over(struct stream *s)
{
    static uint8_t lent[LENT_BYTES];
    struct pipe *p = s->pipe;
    size_t n = buf_len(&p->unread), cap = 0;
    if (n == 0) {
        s->reading = false;
        s->events->ended(s->owner, NULL);
        return;
    }
    uint8_t *to = s->filled && s->events->room ? s->events->room(s->owner, &cap) : NULL;
    if (!to) {
        to = lent;
        cap = LENT_BYTES;
    }
    if (n > cap)
        n = cap;
    if (world.by_chance && world_random(6) == 0)
        n = 1 + world_random(n); /* a read may end anywhere */
    memcpy(to, buf_head(&p->unread), n);
    buf_consume(&p->unread, n);
    s->filled = n == cap;
    s->events->received(s->owner, to, n);
    memset(lent, 0xee,
           n < LENT_BYTES ? n : LENT_BYTES); /* whoever keeps a pointer to what was lent finds others there */
}

static void call_received(void)
{
    int first = n_pipes && world.by_chance ? (int)world_random((uint64_t)n_pipes) : 0, n = n_pipes;
    for (int i = 0; i < n; i++) {
        struct pipe *p = pipes[(first + i) % n];
        if (readable(p))
            hand_over(p->stream);
    }
}

/* What the peers have taken makes room. */
static void call_drained(void)
{
    for (int i = 0; i < n_pipes; i++) {
        struct stream *s = pipes[i]->stream;
        if (!s || !s->blocked || pipes[i]->under_way == pipes[i]->room)
            continue;
        if (stream_flush(s) == IO_OK && s->events->drained)
            s->events->drained(s->owner);
    }
}

static void send_output(struct loop *loop)
{
    struct list_node *node;
    while ((node = list_pop_front(&loop->unsent))) {
        struct stream *s = list_entry(node, struct stream, unsent);
        if (stream_flush(s) == IO_AGAIN && s->events->behind)
            s->events->behind(s->owner);
    }
}

struct loop_timer {
    struct loop *loop;
    struct list_node node;
    uint64_t due_us; /* UINT64_MAX: not started */
    void (*fired)(void *arg);
    void *arg;
};

static struct loop_timer *first_timer(struct loop *loop)
{
    struct loop_timer *first = NULL;
    list_foreach(&loop->timers, node, next)
    {
        struct loop_timer *t = list_entry(node, struct loop_timer, node);
        if (t->due_us != UINT64_MAX && (!first || t->due_us < first->due_us))
            first = t;
    }
    return first;
}

static bool busy_now(const struct loop *loop)
{
    if (!list_empty(&loop->later) || !list_empty(&loop->deferred) || !list_empty(&loop->unsent))
        return true;
    for (int i = 0; i < n_pipes; i++)
        if (readable(pipes[i]))
            return true;
    return false;
}

static void run_due(struct loop *loop)
{
    uint64_t at, last = world.order;
    while (world_next(&at) && at <= world.now_us && world.queue[0].order < last) {
        struct event e = world_take();
        e.run(e.arg, e.n);
    }
    struct loop_timer *t;
    while ((t = first_timer(loop)) && t->due_us <= world.now_us) {
        t->due_us = UINT64_MAX;
        t->fired(t->arg);
    }
}

bool loop_turn(struct loop *loop, uint64_t until_us)
{
    uint64_t at = UINT64_MAX, due;
    struct loop_timer *t = first_timer(loop);
    if (world_next(&due))
        at = due;
    if (t && t->due_us < at)
        at = t->due_us;
    if (busy_now(loop))
        at = world.now_us;
    if (at > until_us)
        return false;
    if (at > world.now_us)
        world.now_us = at;
    loop->turn++;
    list_move_all(&loop->deferred, &loop->later);
    run_due(loop);
    call_received();
    call_drained();
    struct list_node *node;
    while ((node = list_pop_front(&loop->deferred))) {
        struct deferred *d = list_entry(node, struct deferred, node);
        d->ran_in_turn = loop->turn;
        d->run(d->arg);
    }
    send_output(loop);
    free_doomed(loop);
    return true;
}

/* --- timers ----------------------------------------------------------------------------------- */

struct loop_timer *loop_timer_create(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    struct loop_timer *t = xcalloc(1, sizeof *t);
    *t = (struct loop_timer){.loop = loop, .due_us = UINT64_MAX, .fired = fired, .arg = arg};
    list_push_back(&loop->timers, &t->node);
    return t;
}

void loop_timer_destroy(struct loop_timer **tp)
{
    struct loop_timer *t = *tp;
    if (!t)
        return;
    *tp = NULL;
    list_remove(&t->loop->timers, &t->node);
    loop_doom(t->loop, t, NULL);
}

void loop_timer_start(struct loop_timer *t, uint64_t after_us)
{
    t->due_us = world.now_us + after_us;
}

void loop_timer_stop(struct loop_timer *t)
{
    t->due_us = UINT64_MAX;
}

bool loop_timer_pending(const struct loop_timer *t)
{
    return t->due_us != UINT64_MAX;
}

/* --- mailboxes: there is one thread, whose messages to itself come in another turn ------------- */

struct mailbox {
    void *receiver;
};

struct mailbox *mailbox_create(struct loop *loop, void *receiver)
{
    (void)loop;
    struct mailbox *m = xcalloc(1, sizeof *m);
    m->receiver = receiver;
    return m;
}

struct post {
    struct mailbox *mailbox;
    struct mail *mail;
};

static void deliver(void *arg, uint64_t n)
{
    struct post *x = arg;
    (void)n;
    x->mail->deliver(x->mail, x->mailbox->receiver);
}

void mailbox_post(struct mailbox *m, struct mail *mail)
{
    struct post *x = arena_alloc(&world.arena, sizeof *x);
    *x = (struct post){m, mail};
    world_at(0, deliver, x, 0);
}

void mailbox_destroy(struct mailbox **m)
{
    free(*m);
    *m = NULL;
}
