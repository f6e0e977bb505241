/*
 * The proxy's own queries: requests, and one line (control_line.c) to each shard that was ever asked.
 *
 * Answers are given from the loop. done() may call control_query() and control_forget().
 *
 * Not responsible for: asking again. A query whose answer was lost may have been executed.
 */
#include "backend/control.h"

#include "base/arena.h"
#include "cancel.h"
#include "control_private.h"
#include <stdlib.h>

static void request_free(struct request *r)
{
    loop_timer_destroy(&r->timer);
    free(r->sql);
    free(r);
}

/* r is in no list any more. */
void request_answer(struct request *r, const struct control_result *result)
{
    if (r->done)
        r->done(r->arg, result);
    request_free(r);
}

void request_answer_lost(struct request *r, const struct error *why)
{
    request_answer(r, &(struct control_result){.lost = true, .error = why});
}

static struct line *line_to(struct control *c, const char *shard)
{
    struct line *l = hashmap_get(&c->lines, slice_str(shard));
    if (l)
        return l;
    l = xcalloc(1, sizeof(*l));
    l->control = c;
    l->shard = xstrdup(shard);
    line_init(l);
    hashmap_put(&c->lines, slice_str(shard), l);
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
        struct cancel_request *cancel = cancel_send(l->control->cancels, l->conn, NULL, NULL);
        cancel_forget(&cancel);
        line_close(l, &why);
        return;
    }
    list_remove(&l->queue, &r->node);
    request_answer_lost(r, &why);
}

void control_query(struct control *c, const struct shard_def *shard, const char *sql, uint64_t timeout_us,
                   void (*done)(void *arg, const struct control_result *r), void *arg)
{
    struct line *l = line_to(c, shard->name);
    struct request *r = xcalloc(1, sizeof(*r));
    *r = (struct request){.line = l, .sql = xstrdup(sql), .timeout_us = timeout_us, .done = done, .arg = arg};
    if (timeout_us > 0) {
        r->timer = loop_timer_create(c->loop, timed_out, r);
        loop_timer_start(r->timer, timeout_us);
    }
    list_push_back(&l->queue, &r->node);
    loop_defer(c->loop, &l->work);
}

/* What has been sent runs to its end; only the answer is not wanted. */
void control_forget(struct control *c, void *arg)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->lines, &it); hashmap_next(&c->lines, &it, &key, &value);) {
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

struct control *control_create(struct loop *loop, struct config *config)
{
    struct control *c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->cancels = cancels_create(loop);
    c->config = config_ref(config);
    hashmap_init(&c->lines);
    return c;
}

void control_reconfigure(struct control *c, struct config *config)
{
    struct config *old = c->config;
    c->config = config_ref(config);
    config_unref(&old);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->lines, &it); hashmap_next(&c->lines, &it, &key, &value);) {
        struct line *l = value;
        l->opened_under = NULL; /* an address may come again */
        loop_defer(c->loop, &l->work);
    }
}

static void line_destroy(struct line *l, const struct error *why)
{
    line_close(l, why);
    line_refuse_queue(l, why);
    loop_undefer(l->control->loop, &l->work);
    loop_timer_destroy(&l->idle_timer);
    free(l->shard);
    loop_doom(l->control->loop, l, NULL);
}

void control_destroy(struct control **cp)
{
    struct control *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    struct error why;
    (void)error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->lines, &it); hashmap_next(&c->lines, &it, &key, &value);)
        line_destroy(value, &why);
    hashmap_free(&c->lines, NULL);
    cancels_destroy(&c->cancels);
    config_unref(&c->config);
    loop_doom(c->loop, c, NULL);
}
