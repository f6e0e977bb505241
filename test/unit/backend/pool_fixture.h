/*
 * A worker (loop, mailbox, pools) with a configuration written for the test, and clients that borrow from it.
 */
#ifndef PGUNISON_TEST_POOL_FIXTURE_H
#define PGUNISON_TEST_POOL_FIXTURE_H

#include "../loop_of_test.h"
#include "pg_fixture.h"

#include "backend/pool.h"
#include "base/log.h"
#include "wire/message.h"

/* Settings go into [pgunison], more into [shard s1]; s2 is where nobody listens. */
FIXTURE struct config *pool_config(const struct pg_fixture *pg, const char *settings, const char *shard)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/unit.ini", pg->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "[pgunison]\nauth_type = trust\n%s%s\n[database shop]\nshards = s1 "
            "s2\n[shard s1]\n%s%s\nport = %s\n"
            "dbname = postgres\n%s\n[shard s2]\nhost = 127.0.0.1\nport = 1\ndbname = postgres\n",
            strstr(settings, "server_check_query") ? "" : "server_check_query =\n", settings,
            strstr(shard, "host =") ? "" : "host = ", strstr(shard, "host =") ? "" : pg->dir, pg->port,
            shard);
    fclose(f);
    struct problems problems;
    struct config *c = config_load(path, &problems);
    for (size_t i = 0; !c && i < problems.count; i++)
        print_message("%d: %s\n", problems.items[i].line, problems.items[i].text);
    problems_free(&problems);
    assert_non_null(c);
    return c;
}

struct worker {
    struct loop *loop;
    struct mailbox *mailbox;
    struct pool_manager *manager;
    struct config *config;
    unsigned expected; /* events until the loop is stopped */
};

FIXTURE void worker_open(struct worker *w, unsigned number, struct pool_limits *limits, struct config *config)
{
    *w = (struct worker){.loop = worker_loop_create(), .config = config};
    w->mailbox = mailbox_create(w->loop, w);
    w->manager = pool_manager_create(w->loop, number, w->mailbox, limits, config);
}

FIXTURE void worker_close(struct worker *w)
{
    pool_manager_destroy(&w->manager);
    mailbox_destroy(&w->mailbox);
    loop_destroy(&w->loop);
}

FIXTURE void worker_run(struct worker *w, unsigned events)
{
    w->expected = events;
    run_loop(w->loop);
}

FIXTURE void worker_event(struct worker *w)
{
    if (w->expected > 0 && --w->expected == 0)
        loop_stop(w->loop);
}

FIXTURE struct server_pool *worker_pool(struct worker *w, const char *user, unsigned shard)
{
    return pool_find(w->manager, user, NULL, topology_database(&w->config->topology, "shop"), shard);
}

/* --- clients ---------------------------------------------------------------------------------- */

struct client {
    struct worker *worker;
    struct server_wait wait;
    struct server *server;
    struct error why; /* of a wait that failed, or of the shard */
    bool failed, lost;
    char value[64];               /* first column of the last row */
    int number, *order, *n_order; /* the order of being granted is noted there */
};

FIXTURE void client_granted(struct server_wait *w, struct server *s)
{
    struct client *c = w->arg;
    c->server = s;
    if (c->order)
        c->order[(*c->n_order)++] = c->number;
    worker_event(c->worker);
}

FIXTURE void client_failed(struct server_wait *w, const struct error *why)
{
    struct client *c = w->arg;
    c->failed = true;
    c->why = *why;
    worker_event(c->worker);
}

/* True: at once. */
FIXTURE bool client_acquire(struct client *c, struct worker *w, struct server_pool *p, bool privileged)
{
    c->worker = w;
    c->failed = false;
    c->wait = (struct server_wait){
        .privileged = privileged, .granted = client_granted, .failed = client_failed, .arg = c};
    c->server = pool_acquire(p, &c->wait);
    return c->server != NULL;
}

FIXTURE void client_forward(void *owner, struct server *s, const uint8_t *bytes, size_t len)
{
    (void)owner;
    (void)s;
    (void)bytes;
    (void)len;
}

FIXTURE void client_message(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct client *c = owner;
    struct error bad;
    (void)e;
    if (f->type == MSG_DATA_ROW) {
        struct slice value;
        uint16_t n;
        assert_int_equal(message_read_data_row(f, &value, 1, &n, &bad), STATUS_OK);
        snprintf(c->value, sizeof(c->value), "%.*s", (int)value.len, (const char *)value.data);
    } else if (f->type == MSG_ERROR) {
        assert_int_equal(message_read_error(f, &c->why, &bad), STATUS_OK);
    } else if (f->type == MSG_READY && server_outstanding(s) == 0) {
        worker_event(c->worker);
    }
}

FIXTURE void client_lost(void *owner, struct server *s, const struct error *why)
{
    struct client *c = owner;
    c->lost = true;
    c->why = *why;
    c->server = NULL;
    pool_discard(s);
    worker_event(c->worker);
}

static const struct server_owner_ops client_ops = {
    .forward = client_forward, .message = client_message, .lost = client_lost};

FIXTURE void client_send(struct client *c, const char *sql)
{
    struct buf b;
    buf_init(&b);
    message_query(&b, slice_str(sql));
    server_set_owner(c->server, &client_ops, c);
    server_expect(c->server, EXPECT_QUERY, SINK_MESSAGE, 0, NULL);
    server_write(c->server, buf_head(&b), buf_len(&b));
    buf_free(&b);
    c->value[0] = '\0';
    c->why = (struct error){0};
}

FIXTURE const char *client_query(struct client *c, const char *sql)
{
    client_send(c, sql);
    do
        worker_run(c->worker, 1); /* what happens meanwhile may be another client's */
    while (c->server && server_outstanding(c->server) > 0);
    return c->value;
}

FIXTURE void client_release(struct client *c)
{
    pool_release(c->server);
    c->server = NULL;
}

FIXTURE void stop_worker(void *arg)
{
    loop_stop(arg);
}

/* A turn or two, so that what is deferred has run. */
FIXTURE void worker_settle(struct worker *w)
{
    struct loop_timer *t = loop_timer_create(w->loop, stop_worker, w->loop);
    loop_timer_start(t, 1000);
    run_loop(w->loop);
    loop_timer_destroy(&t);
}

FIXTURE void add_stats(void *arg, const struct pool_stats *stats)
{
    struct pool_stats *sum = arg;
    if (strcmp(stats->shard, "s1") != 0)
        return;
    sum->active += stats->active;
    sum->idle += stats->idle;
    sum->opening += stats->opening;
    sum->waiting += stats->waiting;
    if (stats->last_error[0] != '\0')
        sum->last_error = stats->last_error;
}

/* Of all pools of s1. */
FIXTURE struct pool_stats worker_stats(struct worker *w)
{
    struct pool_stats stats = {.last_error = ""};
    pool_manager_each(w->manager, add_stats, &stats);
    return stats;
}

#endif
