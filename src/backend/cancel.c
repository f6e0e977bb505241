/*
 * Cancel requests on their way. PQcancel() blocks, so a helper thread runs it. What thread and loop share is
 * freed by the later of the two: a request that hangs outlives whoever asked. Its eventfd is the wake-up;
 * `finished` orders the end of PQcancel() before the loop goes on.
 *
 * Not responsible for: which request is due, and what waits for it.
 */
#include "cancel.h"

#include "base/arena.h"
#include "base/log.h"
#include "conn.h"
#include "helpers.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct errand {
    struct helper_job job;
    atomic_uint refs;
    atomic_bool finished;
    int fd;
    PGcancel *cancel;
    int pid;
};

struct cancel_request {
    struct loop *loop;
    struct errand *errand;
    struct loop_watch *watch;
    struct loop_timer *timer;
    void (*done)(void *arg, bool through);
    void *arg;
};

static void errand_unref(struct errand *e)
{
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) > 1)
        return;
    close(e->fd);
    PQfreeCancel(e->cancel);
    free(e);
}

static void run_errand(struct helper_job *job)
{
    struct errand *e = list_entry(job, struct errand, job);
    char why[256];
    uint64_t one = 1;
    if (!PQcancel(e->cancel, why, sizeof(why)))
        log_warning("could not cancel what backend %d of a shard runs: %s", e->pid, why);
    atomic_store_explicit(&e->finished, true, memory_order_release);
    ssize_t n = write(e->fd, &one, sizeof(one));
    (void)n; /* an eventfd that holds 0 takes 1 */
    errand_unref(e);
}

static void report(struct cancel_request *r, bool through)
{
    void (*done)(void *, bool) = r->done;
    void *arg = r->arg;
    cancel_forget(&r);
    done(arg, through);
}

static void came_back(void *arg, int what)
{
    (void)what;
    struct cancel_request *r = arg;
    if (atomic_load_explicit(&r->errand->finished, memory_order_acquire))
        report(r, true);
}

static void timed_out(void *arg)
{
    report(arg, false);
}

struct cancel_request *cancel_send(struct loop *loop, struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg)
{
    PGconn *pq = backend_conn_pq(conn);
    PGcancel *cancel = PQgetCancel(pq);
    int fd = cancel ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    if (fd < 0) {
        log_warning("could not cancel what backend %d of a shard runs: %m", PQbackendPID(pq));
        PQfreeCancel(cancel);
        return NULL;
    }
    struct errand *e = xcalloc(1, sizeof(*e));
    *e = (struct errand){.fd = fd, .cancel = cancel, .pid = PQbackendPID(pq)};
    e->job.run = run_errand;
    atomic_init(&e->refs, 2);
    struct cancel_request *r = xcalloc(1, sizeof(*r));
    *r = (struct cancel_request){.loop = loop, .errand = e, .done = done, .arg = arg};
    r->watch = loop_watch_create(loop, fd, came_back, r);
    loop_watch_set(r->watch, WATCH_READ);
    r->timer = loop_timer_create(loop, timed_out, r);
    loop_timer_start(r->timer, CANCEL_SECONDS * (uint64_t)1000000);
    helpers_run(HELPER_CANCEL, &e->job);
    return r;
}

void cancel_forget(struct cancel_request **rp)
{
    struct cancel_request *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    loop_watch_destroy(&r->watch); /* before the descriptor may close */
    loop_timer_destroy(&r->timer);
    errand_unref(r->errand);
    loop_doom(r->loop, r, NULL);
}
