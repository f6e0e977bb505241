/*
 * The event loop: turns, deferred work, doomed objects, the time, and spare output buffers.
 *
 *     turn:  wait for I/O and timers, deliver them -> run deferred work -> send what was written -> free what was doomed
 *
 * Other threads reach a loop by a wakeup alone.
 *
 * The time is read when it is first asked for in a turn: a turn that nobody times costs no clock.
 *
 * Not responsible for: what waits for the kernel (poller.h), timers (timer.c), signals (signal.c), sockets (stream.c).
 */
#include "net/loop.h"

#include "base/arena.h"
#include "loop_private.h"
#include "net/mailbox.h"
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_BUF_BYTES     ((size_t)16 * 1024)
#define LARGEST_SPARE_BYTES ((size_t)64 * 1024)

static void prepare_process(void)
{
    /* A peer that is gone shows as EPIPE. OpenSSL writes without MSG_NOSIGNAL, so this has to be
     * process-wide. */
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

static void woken(struct wakeup *w)
{
    /* The turn that this causes looks at loop->stopping. */
    (void)w;
}

static const struct poller_kind *const kinds[POLLERS] = {
    [POLLER_EPOLL] = &poller_epoll, [POLLER_LIBEVENT] = &poller_libevent};

const char *loop_poller_name(enum loop_poller poller)
{
    return kinds[poller]->name;
}

enum status loop_poller_find(const char *name, enum loop_poller *poller_r, struct error *error_r)
{
    for (int i = 0; i < POLLERS; i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            *poller_r = (enum loop_poller)i;
            return STATUS_OK;
        }
    }
    return error_set(error_r, SQLSTATE_CONFIG, "poller \"%s\" is not known: there are epoll and libevent",
                     name);
}

struct loop *loop_create(enum loop_poller poller)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_process);

    struct loop *loop = xcalloc(1, sizeof(*loop));
    list_init(&loop->deferred);
    list_init(&loop->later);
    loop->turn = 1;
    list_init(&loop->unsent);
    loop->poller = kinds[poller]->create();
    timers_open(&loop->timers, loop);
    loop->wake.woken = woken;
    wakeup_open(loop->poller, &loop->wake);
    loop->mailbox = mailbox_create(loop, loop);
    return loop;
}

/* ---- doomed objects
 * ---------------------------------------------------------------------------------------- */

void loop_doom(struct loop *loop, void *p, void (*free_p)(void *))
{
    if (loop->n_doomed == loop->doomed_cap) {
        loop->doomed_cap = loop->doomed_cap ? loop->doomed_cap * 2 : 32;
        loop->doomed = xrealloc(loop->doomed, loop->doomed_cap * sizeof(*loop->doomed));
    }
    loop->doomed[loop->n_doomed++] = (struct doomed){.p = p, .free_p = free_p ? free_p : free};
}

/* A destructor may doom others, which die here too. */
static void free_doomed(struct loop *loop)
{
    for (size_t i = 0; i < loop->n_doomed; i++) {
        struct doomed d = loop->doomed[i];
        d.free_p(d.p);
    }
    loop->n_doomed = 0;
}

/* ---- deferred work
 * ----------------------------------------------------------------------------------------- */

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

static void run_deferred(struct loop *loop)
{
    struct list_node *n;
    while ((n = list_pop_front(&loop->deferred)) != NULL) {
        struct deferred *d = list_entry(n, struct deferred, node);
        d->ran_in_turn = loop->turn;
        d->run(d->arg); /* may free d */
    }
}

/* ---- turns
 * ------------------------------------------------------------------------------------------------- */

static void run_turn(struct loop *loop)
{
    loop->turn++;
    list_move_all(&loop->deferred, &loop->later);
    loop->now_us = 0;

    loop->poller->kind->deliver(loop->poller, list_empty(&loop->deferred) && list_empty(&loop->unsent));
    run_deferred(loop);
    streams_send(loop);
    free_doomed(loop);
}

/* A stop that comes before the run is kept for it. */
void loop_run(struct loop *loop)
{
    assert(!loop->in_run);
    loop->in_run = true;
    while (!atomic_load(&loop->stopping))
        run_turn(loop);
    loop->in_run = false;
    loop->now_us = 0;
    atomic_store(&loop->stopping, false);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    wakeup_call(loop->wake.source.fd);
}

void loop_destroy(struct loop **loop_p)
{
    struct loop *loop = *loop_p;
    if (!loop)
        return;
    assert(!loop->in_run);
    *loop_p = NULL;
    mailbox_destroy(&loop->mailbox);
    free_doomed(loop);
    free(loop->doomed);
    timers_close(&loop->timers);
    wakeup_close(loop->poller, &loop->wake);
    loop->poller->kind->destroy(loop->poller);
    while (loop->n_spare > 0)
        buf_free(&loop->spare[--loop->n_spare]);
    free(loop);
}

/* The time is a cache, not a part of what a const loop promises not to change. */
uint64_t loop_now_us(const struct loop *loop)
{
    if (loop->now_us != 0)
        return loop->now_us;
    uint64_t now = loop->poller->kind->now_us();
    if (loop->in_run)
        ((struct loop *)(uintptr_t)loop)->now_us = now;
    return now;
}

bool loop_call(struct loop *loop, const void *self, void (*cb)(void *arg), void *arg)
{
    assert(!loop->current); /* callbacks come from the loop, never from within each other */
    loop->current = self;
    cb(arg);
    bool alive = loop->current == self;
    loop->current = NULL;
    return alive;
}

/* ---- spare buffers
 * ----------------------------------------------------------------------------------------- */

void loop_borrow_buf(struct loop *loop, struct buf *b)
{
    assert(b->data == NULL);
    if (loop->n_spare > 0)
        *b = loop->spare[--loop->n_spare];
    else
        buf_reserve(b, SPARE_BUF_BYTES);
}

void loop_return_buf(struct loop *loop, struct buf *b)
{
    if (!b->data)
        return;
    if (b->cap > LARGEST_SPARE_BYTES || loop->n_spare >= SPARE_BUFS) {
        buf_free(b);
        return;
    }
    buf_clear(b);
    loop->spare[loop->n_spare++] = *b;
    buf_init(b);
}
