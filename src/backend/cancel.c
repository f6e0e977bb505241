/*
 * Cancel requests on their way. PQcancel() blocks, so it is an errand for a helper thread: a request that hangs
 * outlives whoever asked.
 *
 * Not responsible for: which request is due, and what waits for it.
 */
#include "cancel.h"

#include "base/arena.h"
#include "base/log.h"
#include "conn.h"
#include "helpers.h"
#include <stdlib.h>

/* What the helper thread needs. */
struct order {
    PGcancel *cancel;
    int pid;
};

struct cancel_request {
    struct loop *loop;
    struct errand *errand;
    struct loop_timer *timer;
    void (*done)(void *arg, bool through);
    void *arg;
};

static void run_order(void *load)
{
    struct order *o = load;
    char why[256];
    if (!PQcancel(o->cancel, why, sizeof(why)))
        log_warning("could not cancel what backend %d of a shard runs: %s", o->pid, why);
}

static void free_order(void *load)
{
    struct order *o = load;
    PQfreeCancel(o->cancel);
    free(o);
}

static const struct errand_kind cancelling = {HELPER_CANCEL, run_order, free_order};

static void report(struct cancel_request *r, bool through)
{
    void (*done)(void *, bool) = r->done;
    void *arg = r->arg;
    cancel_forget(&r);
    done(arg, through);
}

static void came_back(void *arg)
{
    report(arg, true);
}

static void timed_out(void *arg)
{
    report(arg, false);
}

struct cancel_request *cancel_send(struct loop *loop, struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg)
{
    PGconn *pq = backend_conn_pq(conn);
    struct order *o = xcalloc(1, sizeof(*o));
    *o = (struct order){.cancel = PQgetCancel(pq), .pid = PQbackendPID(pq)};
    struct cancel_request *r = xcalloc(1, sizeof(*r));
    *r = (struct cancel_request){.loop = loop, .done = done, .arg = arg};
    struct error why;
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "the connection is gone");
    if (o->cancel)
        r->errand = errand_start(loop, &cancelling, o, came_back, r, &why);
    if (!r->errand) {
        log_warning("could not cancel what backend %d of a shard runs: %s", o->pid, why.message);
        free_order(o);
        cancel_forget(&r);
        return NULL;
    }
    r->timer = loop_timer_create(loop, timed_out, r);
    loop_timer_start(r->timer, CANCEL_SECONDS * (uint64_t)1000000);
    return r;
}

void cancel_forget(struct cancel_request **rp)
{
    struct cancel_request *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    errand_forget(&r->errand);
    loop_timer_destroy(&r->timer);
    loop_doom(r->loop, r, NULL);
}
