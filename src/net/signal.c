/*
 * Signals, delivered on a loop.
 *
 * The handler, which may run on any thread at any instruction, marks the signal and writes to the signal's eventfd, which the loop
 * has among its wakeups. The marks and the eventfds belong to the process and stay as long as it does: a handler that is late never
 * meets memory or a descriptor of somebody else. A mark without a watch is removed by the next watch.
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

struct loop_signal {
    struct wakeup wakeup;
    struct loop *loop;
    int signo;
    struct sigaction before;
    void (*got)(void *arg, int signo);
    void *arg;
};

/* Sequentially consistent: the mark is there when the eventfd reports. */
static atomic_bool marks[NSIG];
static atomic_int fds[NSIG]; /* 0: not opened yet */

static void handle(int signo)
{
    int saved_errno = errno;
    atomic_store(&marks[signo], true);
    wakeup_call(atomic_load(&fds[signo]));
    errno = saved_errno;
}

static void woken(struct wakeup *w)
{
    struct loop_signal *s = list_entry(w, struct loop_signal, wakeup);
    if (atomic_exchange(&marks[s->signo], false))
        s->got(s->arg, s->signo); /* may destroy s */
}

static int signal_fd(int signo)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    int fd = atomic_load(&fds[signo]);
    if (fd == 0) {
        fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (fd < 0) {
            log_error("could not prepare for signals: %m");
            abort();
        }
        atomic_store(&fds[signo], fd);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

struct loop_signal *loop_signal_create(struct loop *loop, int signo, void (*got)(void *arg, int signo),
                                       void *arg)
{
    assert(signo > 0 && signo < NSIG);
    struct loop_signal *s = xcalloc(1, sizeof(*s));
    s->wakeup = (struct wakeup){.source = {.fd = signal_fd(signo)}, .woken = woken};
    s->loop = loop;
    s->signo = signo;
    s->got = got;
    s->arg = arg;
    atomic_store(&marks[signo], false); /* of a watch that is gone */
    wakeup_watch(loop->poller, &s->wakeup);
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
    (void)source_set(s->loop->poller, &s->wakeup.source, 0);
    loop_doom(s->loop, s, NULL);
}
