/*
 * The proxy's own queries: requests, and one line (asker_line.c) to each shard that was ever asked.
 *
 * Answers are given from the loop. done() may call asker_query() and asker_forget().
 *
 * Not responsible for: asking again. A query whose answer was lost may have been executed.
 */
#include "backend/asker.h"

#include "asker_private.h"
#include "base/arena.h"
#include "cancel.h"
#include <stdlib.h>

static void request_free(struct request *r)
{
    loop_timer_destroy(&r->timer);
    free(r->sql);
    free(r);
}

/* r is in no list any more. */
void request_answer(struct request *r, const struct rows *rows)
{
    if (r->done)
        r->done(r->arg, rows);
    request_free(r);
}

void request_answer_lost(struct request *r, const struct error *why)
{
    request_answer(r, &(struct rows){.lost = true, .error = why});
}

static struct line *line_to(struct asker *a, const char *shard)
{
    struct line *l = hashmap_get(&a->lines, slice_str(shard));
    if (l)
        return l;
    l = xcalloc(1, sizeof(*l));
    l->asker = a;
    l->shard = xstrdup(shard);
    line_init(l);
    hashmap_put(&a->lines, slice_str(shard), l);
    return l;
}

/* --- requests --------------------------------------------------------------------------------- */

static void timed_out(void *arg)
{
    struct request *r = arg;
    struct line *l = r->line;
    struct error why;
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" did not answer in %g s", l->shard,
                    (double)r->timeout_us / 1e6);
    if (l->running == r) {
        /* What it runs would go on without us. Nothing else will run there: nobody waits for the request. */
        server_cancel(l->server);
        line_close(l, &why);
        return;
    }
    list_remove(&l->queue, &r->node);
    /* It does not answer the line's own statements either: those that wait get another connection. */
    if (l->state == LINE_SETUP || l->state == LINE_TIDYING)
        line_close(l, &why);
    request_answer_lost(r, &why);
}

void asker_query(struct asker *a, const struct shard_def *shard, const char *sql, uint64_t timeout_us,
                 void (*done)(void *arg, const struct rows *r), void *arg)
{
    struct line *l = line_to(a, shard->name);
    struct request *r = xcalloc(1, sizeof(*r));
    *r = (struct request){.line = l, .sql = xstrdup(sql), .timeout_us = timeout_us, .done = done, .arg = arg};
    if (timeout_us > 0) {
        r->timer = loop_timer_create(a->loop, timed_out, r);
        loop_timer_start(r->timer, timeout_us);
    }
    list_push_back(&l->queue, &r->node);
    loop_defer(a->loop, &l->work);
}

/* What has been sent runs to its end; only the answer is not wanted. */
void asker_forget(struct asker *a, void *arg)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&a->lines, &it); hashmap_next(&a->lines, &it, &key, &value);) {
        struct line *l = value;
        if (l->running && l->running->arg == arg)
            l->running->done = NULL;
        list_foreach(&l->queue, node, next)
        {
            struct request *r = list_entry(node, struct request, node);
            if (r->arg != arg)
                continue;
            list_remove(&l->queue, node);
            request_free(r);
        }
    }
}

/* --- life ------------------------------------------------------------------------------------- */

struct asker *asker_create(struct loop *loop, struct config *config)
{
    struct asker *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    a->cancels = cancels_create(loop);
    a->config = config_ref(config);
    hashmap_init(&a->lines);
    return a;
}

void asker_reconfigure(struct asker *a, struct config *config)
{
    struct config *old = a->config;
    a->config = config_ref(config);
    config_unref(&old);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&a->lines, &it); hashmap_next(&a->lines, &it, &key, &value);) {
        struct line *l = value;
        l->opened_under = NULL; /* an address may come again */
        loop_defer(a->loop, &l->work);
    }
}

void asker_destroy(struct asker **ap)
{
    struct asker *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    struct error why;
    (void)error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&a->lines, &it); hashmap_next(&a->lines, &it, &key, &value);)
        line_free(value, &why);
    hashmap_free(&a->lines, NULL);
    cancels_destroy(&a->cancels);
    config_unref(&a->config);
    loop_doom(a->loop, a, NULL);
}
