/* Watches: readiness of descriptors that somebody else reads and writes. */
#include "base/arena.h"
#include "loop_private.h"

struct loop_watch {
    struct source source;
    struct loop *loop;
    void (*ready)(void *arg, int what);
    void *arg;
};

static void watch_ready(struct poller *p, struct source *s, int what)
{
    (void)p;
    struct loop_watch *w = list_entry(s, struct loop_watch, source);
    w->ready(w->arg, what); /* may destroy w */
}

struct loop_watch *loop_watch_create(struct loop *loop, int fd, void (*ready)(void *arg, int what), void *arg)
{
    struct loop_watch *w = xcalloc(1, sizeof(*w));
    w->source = (struct source){.fd = fd, .ready = watch_ready};
    w->loop = loop;
    w->ready = ready;
    w->arg = arg;
    return w;
}

/* The descriptor may have been closed, and opened anew under the same number, since. */
bool loop_watch_set(struct loop_watch *w, int what)
{
    (void)source_set(w->loop->poller, &w->source, 0);
    return source_set(w->loop->poller, &w->source, what);
}

void loop_watch_destroy(struct loop_watch **watch)
{
    struct loop_watch *w = *watch;
    if (!w)
        return;
    *watch = NULL;
    (void)source_set(w->loop->poller, &w->source, 0);
    loop_doom(w->loop, w, NULL);
}
