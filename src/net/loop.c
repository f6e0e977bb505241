/*
 * The event loop: what it is made of, and its turns.
 *
 *     turn:  wait for I/O and timers, deliver them -> run deferred work -> send what was written -> free what was doomed
 *
 * Other threads reach a loop by a wakeup alone.
 *
 * Not responsible for: what belongs to a turn (turn.c), what waits for the kernel (poller.h), timers (timer.c), signals (signal.c),
 * sockets (stream.c).
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

/* ---- turns
 * ------------------------------------------------------------------------------------------------- */

static void run_turn(struct loop *loop)
{
    loop->turn++;
    list_move_all(&loop->deferred, &loop->later);
    loop->now_us = 0;

    loop->poller->kind->deliver(loop->poller, list_empty(&loop->deferred) && list_empty(&loop->unsent));
    turn_run_deferred(loop);
    streams_send(loop);
    turn_free_doomed(loop);
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
    turn_free_doomed(loop);
    free(loop->doomed);
    timers_close(&loop->timers);
    wakeup_close(loop->poller, &loop->wake);
    loop->poller->kind->destroy(loop->poller);
    while (loop->n_spare > 0)
        buf_free(&loop->spare[--loop->n_spare]);
    free(loop);
}
