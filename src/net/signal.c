/*
 * Signals, delivered on a loop.
 *
 * The handler, which may run on any thread at any instruction, marks the signal and writes to an eventfd that all
 * loops with signals have registered, edge-triggered; each loop then looks at those of its own. The marks and the
 * eventfd belong to the process and stay as long as it does: a handler that is late never meets memory or a descriptor of
 * somebody else.
 */
#include "base/arena.h"
#include "base/log.h"
#include "loop_private.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct loop_signal {
    struct list_node node; /* of loop->signals */
    struct loop *loop;
    int signo;
    struct sigaction before;
    void (*got)(void *arg, int signo);
    void *arg;
};

/* Sequentially consistent: the mark is there when the eventfd reports. */
static atomic_bool marks[NSIG];
static int marked_fd;

static void handle(int signo)
{
    int saved_errno = errno;
    atomic_store(&marks[signo], true);
    uint64_t one = 1;
    ssize_t n = write(marked_fd, &one, sizeof(one));
    (void)n;
    errno = saved_errno;
}

/* A callback may destroy any signal's watch and create others. */
static struct loop_signal *next_marked(struct loop *loop)
{
    list_foreach(&loop->signals, n, next)
    {
        struct loop_signal *s = list_entry(n, struct loop_signal, node);
        if (atomic_exchange(&marks[s->signo], false))
            return s;
    }
    return NULL;
}

static void caught(struct source *source, int what)
{
    (void)what;
    struct loop *loop = list_entry(source, struct loop, caught);
    struct loop_signal *s;
    while ((s = next_marked(loop)) != NULL)
        s->got(s->arg, s->signo);
}

static void open_marked_fd(void)
{
    marked_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (marked_fd < 0) {
        log_error("could not prepare for signals: %m");
        abort();
    }
}

struct loop_signal *loop_signal_create(struct loop *loop, int signo, void (*got)(void *arg, int signo),
                                       void *arg)
{
    assert(signo > 0 && signo < NSIG);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_marked_fd);

    struct loop_signal *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->signo = signo;
    s->got = got;
    s->arg = arg;
    list_push_back(&loop->signals, &s->node);
    atomic_store(&marks[signo], false); /* of a watch that is gone */
    if (loop->caught.what == 0) {
        loop->caught = (struct source){.fd = marked_fd, .ready = caught};
        source_set(loop, &loop->caught, WATCH_READ | WATCH_EDGE);
    }
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(signo, &action, &s->before); /* fails for SIGKILL and SIGSTOP only */
    return s;
}

void loop_signal_destroy(struct loop_signal **sig)
{
    struct loop_signal *s = *sig;
    if (!s)
        return;
    *sig = NULL;
    sigaction(s->signo, &s->before, NULL);
    list_remove(&s->loop->signals, &s->node);
    if (list_empty(&s->loop->signals))
        source_set(s->loop, &s->loop->caught, 0);
    loop_doom(s->loop, s, NULL);
}
