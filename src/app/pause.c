/*
 * Waiting until clients hold no server, and PAUSE and RESUME.
 *
 * It is done by asking: a message (census) goes round the workers and comes back with the number of servers in
 * use; if there are any, another one goes LOOK_US later. Nothing in the sessions' hot path knows about it. A
 * message of pool_manager_pause() is posted to each worker before the first census, so what is counted cannot
 * grow again.
 */
#include "proxy.h"

#include "base/arena.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_US 50000

struct pause { /* one PAUSE that is not yet answered */
    struct list_node node;
    struct census census;
    char *database; /* NULL: all */
    void (*done)(void *arg);
    void *arg;
    bool over; /* RESUME came meanwhile */
};

/* --- census ----------------------------------------------------------------------------------- */

static void census_deliver(struct mail *mail, void *receiver)
{
    struct census *c = list_entry(mail, struct census, mail);
    struct proxy *p = c->proxy;
    if (c->at == p->workers.n) {
        c->under_way = false;
        c->counted(c);
        return;
    }
    struct worker *w = receiver;
    if (w->stopping)
        return; /* nobody asks any more */
    c->active += worker_active_servers(w, c->database);
    c->at++;
    mailbox_post(c->at == p->workers.n ? p->mailbox : p->workers.items[c->at].mailbox, mail);
}

void census_start(struct census *c, struct proxy *p)
{
    if (c->under_way)
        return;
    c->mail = (struct mail){.deliver = census_deliver};
    c->proxy = p;
    c->at = c->active = 0;
    c->under_way = true;
    mailbox_post(p->workers.items[0].mailbox, &c->mail);
}

void census_again(struct proxy *p)
{
    if (!loop_timer_pending(p->look))
        loop_timer_start(p->look, LOOK_US);
}

/* --- PAUSE ------------------------------------------------------------------------------------ */

static void pause_end(struct pause *q)
{
    list_remove(&q->census.proxy->pauses, &q->node);
    if (q->done)
        q->done(q->arg);
    free(q->database);
    free(q);
}

static void pause_counted(struct census *c)
{
    struct pause *q = list_entry(c, struct pause, census);
    if (c->active > 0 && !q->over) {
        census_again(c->proxy);
        return;
    }
    if (!q->over)
        log_info("paused %s: no client holds a server", q->database ? q->database : "all databases");
    pause_end(q);
}

void pauses_look(struct proxy *p)
{
    list_foreach(&p->pauses, node, next) census_start(&list_entry(node, struct pause, node)->census, p);
}

void pauses_drop(struct proxy *p)
{
    struct list_node *node;
    while ((node = list_pop_front(&p->pauses))) {
        struct pause *q = list_entry(node, struct pause, node);
        free(q->database);
        free(q);
    }
}

static bool same_database(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Marks the database (NULL: all); returns what it was before. */
static bool mark(struct proxy *p, const char *database, bool on)
{
    return database ? session_database_mark(&p->shared.databases, DATABASE_PAUSED, database, on)
                    : atomic_exchange(&p->shared.paused, on);
}

bool proxy_pause(struct proxy *p, const char *database, void (*done)(void *arg), void *arg,
                 struct error *error_r)
{
    enum status status = STATUS_OK;
    if (p->state != PROXY_RUNNING)
        status = error_set(error_r, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
    else if (database && !topology_database(&p->config->topology, database))
        status = error_set(error_r, SQLSTATE_UNKNOWN_DATABASE, "no such database: %s", database);
    else if (atomic_load(&p->shared.paused) || mark(p, database, true))
        status = error_set(error_r, "55000", "already paused");
    if (status != STATUS_OK)
        return false;
    log_info("pausing %s: transactions that run may end, no new ones begin",
             database ? database : "all databases");
    workers_pause(&p->workers, database, true);
    struct pause *q = xcalloc(1, sizeof *q);
    q->database = database ? xstrdup(database) : NULL;
    q->census.database = q->database;
    q->census.counted = pause_counted;
    q->done = done;
    q->arg = arg;
    list_push_back(&p->pauses, &q->node);
    census_start(&q->census, p);
    return true;
}

bool proxy_resume(struct proxy *p, const char *database, struct error *error_r)
{
    enum status status = STATUS_OK;
    if (p->state != PROXY_RUNNING)
        status = error_set(error_r, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
    else if (!mark(p, database, false))
        status = database ? error_set(error_r, "55000", "database %s is not paused", database)
                          : error_set(error_r, "55000", "not paused");
    if (status != STATUS_OK)
        return false;
    log_info("resuming %s", database ? database : "all databases");
    workers_pause(&p->workers, database, false);
    /* A PAUSE that still waits is answered: what it asked for is over. */
    list_foreach(&p->pauses, node, next)
    {
        struct pause *q = list_entry(node, struct pause, node);
        if (!same_database(q->database, database))
            continue;
        q->over = true;
        if (!q->census.under_way)
            pause_end(q);
    }
    return true;
}
