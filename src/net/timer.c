/*
 * Timers: a heap a loop, and the alarm of its poller, which is set to the first of them.
 *
 * Timers are lazy. Statements start and stop theirs all the time and almost none ever fires, so the heap is touched
 * only to make a timer fire sooner, and the alarm only when that makes it the first:
 *
 *     due_us        when the owner wants it to fire; TIMER_OFF: not at all
 *     scheduled_us  its place in the heap;           TIMER_OFF: it is not there
 *     armed_us      what the alarm is set to;        TIMER_OFF: to nothing
 *
 * Invariants: due_us == TIMER_OFF, or scheduled_us <= due_us, or the timer is in `due`. armed_us is no later than the
 * first of the heap, except while due timers are being looked at. A timer that is looked at too early schedules the rest.
 *
 * All that are due in a turn are taken out of the heap before any is fired, so that timers which start each other
 * anew do not keep the loop from its sockets.
 */
#include "base/arena.h"
#include "loop_private.h"

#include <stdlib.h>

#define TIMER_OFF UINT64_MAX

struct loop_timer {
    struct loop *loop;
    uint64_t due_us, scheduled_us;
    size_t place; /* in the heap, if scheduled */
    struct list_node in_due;
    void (*fired)(void *arg);
    void *arg;
};

/* ---- the heap
 * --------------------------------------------------------------------------------------------- */

static void put(struct timers *h, size_t place, struct loop_timer *t)
{
    h->heap[place] = t;
    t->place = place;
}

static void sift_up(struct timers *h, size_t place, struct loop_timer *t)
{
    for (; place > 0; place = (place - 1) / 2) {
        struct loop_timer *parent = h->heap[(place - 1) / 2];
        if (parent->scheduled_us <= t->scheduled_us)
            break;
        put(h, place, parent);
    }
    put(h, place, t);
}

static void sift_down(struct timers *h, size_t place, struct loop_timer *t)
{
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->heap[child + 1]->scheduled_us < h->heap[child]->scheduled_us)
            child++;
        if (t->scheduled_us <= h->heap[child]->scheduled_us)
            break;
        put(h, place, h->heap[child]);
        place = child;
    }
    put(h, place, t);
}

static void heap_add(struct timers *h, struct loop_timer *t)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->heap = xrealloc(h->heap, h->cap * sizeof(struct loop_timer *));
    }
    sift_up(h, h->n++, t);
}

static void heap_remove(struct timers *h, struct loop_timer *t)
{
    struct loop_timer *last = h->heap[--h->n];
    if (last != t) {
        if (last->scheduled_us < t->scheduled_us)
            sift_up(h, t->place, last);
        else
            sift_down(h, t->place, last);
    }
    t->scheduled_us = TIMER_OFF;
}

/* ---- the alarm
 * ------------------------------------------------------------------------------------------ */

static void arm(struct timers *h, struct poller *p)
{
    if (h->n == 0 || h->heap[0]->scheduled_us >= h->armed_us)
        return;
    h->armed_us = h->heap[0]->scheduled_us;
    p->kind->set_alarm(p, h->armed_us);
}

static void schedule(struct timers *h, struct loop_timer *t)
{
    bool is_there = t->scheduled_us != TIMER_OFF;
    t->scheduled_us = t->due_us;
    if (is_there)
        sift_up(h, t->place, t);
    else
        heap_add(h, t);
}

static void expired(void *arg)
{
    struct loop *loop = arg;
    struct timers *h = &loop->timers;
    uint64_t now_us = loop_now_us(loop);

    while (h->n > 0 && h->heap[0]->scheduled_us <= now_us) {
        struct loop_timer *t = h->heap[0];
        if (t->due_us != TIMER_OFF && t->due_us > t->scheduled_us) {
            t->scheduled_us = t->due_us; /* which may be past, too: then it has its turn behind others */
            sift_down(h, 0, t);
            continue;
        }
        heap_remove(h, t);
        list_push_back(&h->due, &t->in_due);
    }
    struct list_node *n;
    while ((n = list_pop_front(&h->due)) != NULL) {
        struct loop_timer *t = list_entry(n, struct loop_timer, in_due);
        if (t->due_us == TIMER_OFF)
            continue;
        if (t->due_us > now_us) {
            schedule(h, t);
            continue;
        }
        t->due_us = TIMER_OFF;
        t->fired(t->arg); /* may destroy t */
    }
    h->armed_us = TIMER_OFF;
    arm(h, loop->poller);
}

void timers_open(struct timers *h, struct loop *loop)
{
    *h = (struct timers){.armed_us = TIMER_OFF};
    list_init(&h->due);
    loop->poller->alarm = expired;
    loop->poller->alarm_arg = loop;
}

void timers_close(struct timers *h)
{
    free(h->heap);
}

/* ---- one timer
 * -------------------------------------------------------------------------------------------- */

struct loop_timer *loop_timer_create(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));
    t->loop = loop;
    t->due_us = t->scheduled_us = TIMER_OFF;
    t->fired = fired;
    t->arg = arg;
    return t;
}

void loop_timer_destroy(struct loop_timer **timer)
{
    struct loop_timer *t = *timer;
    if (!t)
        return;
    *timer = NULL;
    struct timers *h = &t->loop->timers;
    if (t->scheduled_us != TIMER_OFF)
        heap_remove(h, t);
    if (list_linked(&t->in_due))
        list_remove(&h->due, &t->in_due);
    loop_doom(t->loop, t, NULL);
}

void loop_timer_start(struct loop_timer *t, uint64_t after_us)
{
    struct timers *h = &t->loop->timers;
    uint64_t now_us = loop_now_us(t->loop);
    t->due_us = after_us < TIMER_OFF - 1 - now_us ? now_us + after_us : TIMER_OFF - 1;
    if (t->scheduled_us <= t->due_us || list_linked(&t->in_due))
        return; /* is looked at in time */
    schedule(h, t);
    arm(h, t->loop->poller);
}

void loop_timer_stop(struct loop_timer *t)
{
    t->due_us = TIMER_OFF;
}

bool loop_timer_pending(const struct loop_timer *t)
{
    return t->due_us != TIMER_OFF;
}
