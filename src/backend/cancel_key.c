/*
 * A line of the trace (PQTRACE_SUPPRESS_TIMESTAMPS; libpq's fe-trace.c), of which this one is looked for:
 *
 *     B <tab> length <tab> BackendKeyData <tab> space pid space key
 *
 * A parameter's value may contain a line feed and what looks like such a line. BackendKeyData comes behind the
 * parameters, so the last such line counts; and its pid must be the one that libpq has.
 *
 * The watch lives as long as the PGconn, which may end on a helper thread: libpq itself calls back when it does.
 */
#include "cancel_key.h"

#include "base/arena.h"

#include <libpq-events.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef LIBPQ_HAS_TRACE_FLAGS
#error "libpq 14 or later is needed"
#endif

struct watch {
    FILE *trace;
    char buffer[512]; /* the trace's */
    char line[64];    /* what has come of it; longer ones are not looked for */
    size_t len;
    int pid, key; /* 0: not seen */
};

static void end_line(struct watch *w)
{
    int pid, key;
    char behind;
    bool fits = w->len < sizeof w->line;
    if (fits)
        w->line[w->len] = '\0';
    w->len = 0;
    if (!fits || sscanf(w->line, "B\t%*d\tBackendKeyData\t %d %d%c", &pid, &key, &behind) != 2)
        return;
    w->pid = pid;
    w->key = key;
}

static ssize_t take_trace(void *cookie, const char *text, size_t n)
{
    struct watch *w = cookie;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            end_line(w);
        else if (w->len < sizeof w->line)
            w->line[w->len++] = text[i];
    }
    return (ssize_t)n;
}

static void watch_free(struct watch *w)
{
    if (w->trace)
        fclose(w->trace);
    explicit_bzero(w, sizeof *w); /* later versions trace passwords, too */
    free(w);
}

static int event(PGEventId id, void *info, void *arg)
{
    (void)info;
    if (id == PGEVT_CONNDESTROY)
        watch_free(arg);
    return 1;
}

void cancel_key_watch(PGconn *pq)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->trace = fopencookie(w, "w", (cookie_io_functions_t){.write = take_trace});
    if (!w->trace)
        abort(); /* out of memory, as everywhere */
    setvbuf(w->trace, w->buffer, _IOFBF, sizeof w->buffer);
    if (!PQregisterEventProc(pq, event, "cancel key", w) || !PQsetInstanceData(pq, event, w))
        abort();
    PQtrace(pq, w->trace);
    PQsetTraceFlags(pq, PQTRACE_SUPPRESS_TIMESTAMPS);
}

void cancel_key_unwatch(PGconn *pq)
{
    struct watch *w = PQinstanceData(pq, event);
    PQuntrace(pq); /* flushes */
    fclose(w->trace);
    w->trace = NULL;
    explicit_bzero(w->buffer, sizeof w->buffer);
}

bool cancel_key_get(const PGconn *pq, uint32_t *key_r)
{
    const struct watch *w = PQinstanceData(pq, event);
    *key_r = (uint32_t)w->key;
    return w->pid != 0 && w->pid == PQbackendPID(pq);
}
