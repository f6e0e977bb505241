/*
 * Helper threads, and errands: jobs that a loop waits for. A thread is started when a job finds nobody idle, up to a limit, and goes when it has had
 * nothing to do for a while. Threads are detached: one may hang in a system call for minutes, and nobody
 * waits for it.
 *
 * Invariants, under the lock: idle <= threads <= MAX_THREADS; a queued job has an idle thread on its way to
 * it, or all threads are at work, each of which looks at the queue before it rests. The state is static
 * because a thread that is left behind at exit still uses it.
 *
 * An errand's job and whoever waits share a parcel of two references. Its eventfd is the wake-up; `finished` orders the
 * memory: the thread stores it after its last write to the load, and the loop reads that only after it has seen it.
 *
 * Not responsible for: what jobs do, or the memory of those that are no errands.
 */
#include "helpers.h"

#include "base/arena.h"
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS  8
#define REST_SECONDS 10

struct helpers {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* a job was queued */
    pthread_cond_t quiet; /* a thread ended, or ran out of jobs */
    struct list jobs;
    unsigned threads, idle;
    bool ending;
};

static struct helpers helpers[HELPER_KINDS] = {
    {.lock = PTHREAD_MUTEX_INITIALIZER, .quiet = PTHREAD_COND_INITIALIZER},
};

static struct timespec seconds_from_now(time_t seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    return t;
}

static void *helper_main(void *arg)
{
    struct helpers *h = arg;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        struct list_node *node = list_pop_front(&h->jobs);
        if (node) {
            struct helper_job *job = list_entry(node, struct helper_job, node);
            pthread_mutex_unlock(&h->lock);
            job->run(job);
            pthread_mutex_lock(&h->lock);
            continue;
        }
        if (h->ending)
            break;
        h->idle++;
        struct timespec until = seconds_from_now(REST_SECONDS);
        int rc = pthread_cond_timedwait(&h->work, &h->lock, &until);
        h->idle--;
        if (rc != 0 && list_empty(&h->jobs))
            break;
    }
    h->threads--;
    pthread_cond_broadcast(&h->quiet);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* Signals are for the threads that run loops. */
static void start_thread(struct helpers *h)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int rc = pthread_create(&thread, &attr, helper_main, h);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        h->threads++;
    else
        log_error("could not start a helper thread: %s", strerror(rc));
}

void helpers_run(enum helper_kind kind, struct helper_job *job)
{
    struct helpers *h = &helpers[kind];
    pthread_mutex_lock(&h->lock);
    list_push_back(&h->jobs, &job->node);
    /* Without any thread the job would wait forever: keep trying with each that comes. */
    if (h->jobs.count > h->idle && h->threads < MAX_THREADS)
        start_thread(h);
    pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
}

void helpers_init(void)
{
    for (int i = 0; i < HELPER_KINDS; i++) {
        struct helpers *h = &helpers[i];
        pthread_mutex_lock(&h->lock);
        if (h->jobs.head.next == NULL) { /* a thread left behind by an earlier life may still be there */
            list_init(&h->jobs);
            pthread_cond_init(&h->work, NULL);
        }
        h->ending = false;
        pthread_mutex_unlock(&h->lock);
    }
}

void helpers_deinit(void)
{
    struct timespec until = seconds_from_now(1);
    for (int i = 0; i < HELPER_KINDS; i++) {
        struct helpers *h = &helpers[i];
        pthread_mutex_lock(&h->lock);
        h->ending = true;
        pthread_cond_broadcast(&h->work);
        while (h->threads > 0 && pthread_cond_timedwait(&h->quiet, &h->lock, &until) == 0)
            ;
        pthread_mutex_unlock(&h->lock);
    }
}

/* --- errands ---------------------------------------------------------------------------------- */

/* Shared by the two threads. */
struct parcel {
    struct helper_job job;
    const struct errand_kind *kind;
    void *load;
    atomic_uint refs;
    atomic_bool finished;
    int fd;
};

/* The loop's. */
struct errand {
    struct loop *loop;
    struct parcel *parcel;
    struct loop_watch *watch;
    void (*back)(void *arg);
    void *arg;
};

static void parcel_unref(struct parcel *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    close(p->fd);
    p->kind->free_load(p->load);
    free(p);
}

static void run_errand(struct helper_job *job)
{
    struct parcel *p = list_entry(job, struct parcel, job);
    p->kind->run(p->load);
    atomic_store_explicit(&p->finished, true, memory_order_release);
    uint64_t one = 1;
    ssize_t n = write(p->fd, &one, sizeof(one));
    (void)n; /* an eventfd that holds 0 takes 1 */
    parcel_unref(p);
}

static void came_back(void *arg, int what)
{
    (void)what;
    struct errand *e = arg;
    if (!atomic_load_explicit(&e->parcel->finished, memory_order_acquire))
        return;
    loop_watch_destroy(&e->watch);
    e->back(e->arg);
}

struct errand *errand_start(struct loop *loop, const struct errand_kind *kind, void *load,
                            void (*back)(void *arg), void *arg, struct error *error_r)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct errand *e = xcalloc(1, sizeof(*e));
    *e = (struct errand){.loop = loop, .back = back, .arg = arg};
    e->watch = loop_watch_create(loop, fd, came_back, e);
    if (fd < 0 || !loop_watch_set(e->watch, WATCH_READ)) {
        (void)error_set(error_r, SQLSTATE_NO_RESOURCES, "could not wait for a helper thread: %s",
                        strerror(errno));
        loop_watch_destroy(&e->watch);
        if (fd >= 0)
            close(fd);
        free(e);
        return NULL;
    }
    struct parcel *p = xcalloc(1, sizeof(*p));
    p->job.run = run_errand;
    p->kind = kind;
    p->load = load;
    p->fd = fd;
    atomic_init(&p->refs, 2);
    e->parcel = p;
    helpers_run(kind->helpers, &p->job);
    return e;
}

void errand_forget(struct errand **ep)
{
    struct errand *e = *ep;
    *ep = NULL;
    if (!e)
        return;
    loop_watch_destroy(&e->watch); /* before the descriptor may close */
    parcel_unref(e->parcel);
    loop_doom(e->loop, e, NULL);
}
