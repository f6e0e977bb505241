/*
 * What belongs to a turn: deferred work, doomed objects, the time, whose callback is running, and spare output buffers.
 *
 * The time is read when it is first asked for in a turn: a turn that nobody times costs no clock.
 *
 * Everybody in this folder may call this file, and it calls nobody.
 */
#include "base/arena.h"
#include "loop_private.h"
#include <assert.h>
#include <stdlib.h>

#define SPARE_BUF_BYTES     ((size_t)16 * 1024)
#define LARGEST_SPARE_BYTES ((size_t)64 * 1024)

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
void turn_free_doomed(struct loop *loop)
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

void turn_run_deferred(struct loop *loop)
{
    struct list_node *n;
    while ((n = list_pop_front(&loop->deferred)) != NULL) {
        struct deferred *d = list_entry(n, struct deferred, node);
        d->ran_in_turn = loop->turn;
        d->run(d->arg); /* may free d */
    }
}

/* ---- time and callbacks
 * ------------------------------------------------------------------------------------- */

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
