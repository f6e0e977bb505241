/*
 * Worker threads.
 *
 *     made (main thread) -> running -> stopping -> ended -> taken apart (main thread)
 *
 * Stopping: all clients get 57P01 and are closed at once; what they leave behind on shards (a ROLLBACK, a commit
 * that has been decided) is given until stop_by_us. If it is not through by then, the thread ends all the
 * same: whatever is prepared is finished by any proxy's resolver.
 *
 * Not responsible for: when to stop, limits on clients.
 */
#include "worker.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/stack.h"
#include "net/tls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_LOOK_US 10000

struct handover {
    struct mail mail;
    int fd;
    struct peer_address peer;
};
struct cancel_mail {
    struct mail mail;
    uint32_t pid, secret;
};
struct pause_mail {
    struct mail mail;
    char *database;
    bool on;
};
struct config_mail {
    struct mail mail;
    struct config *config;
    struct tls_context *tls;
};

/* --- messages ---------------------------------------------------------------------------------- */

static void handover_deliver(struct mail *mail, void *receiver)
{
    struct handover *h = list_entry(mail, struct handover, mail);
    struct worker *w = receiver;
    if (w->stopping) {
        atomic_fetch_sub_explicit(&w->env.shared->clients, 1, memory_order_relaxed);
        close(h->fd);
    } else {
        client_accept(&w->env, h->fd, &h->peer);
    }
    atomic_fetch_sub_explicit(&w->on_the_way, 1, memory_order_relaxed);
    free(h);
}

static unsigned load_of(const struct worker *w)
{
    return atomic_load_explicit(&w->on_the_way, memory_order_relaxed) +
           atomic_load_explicit(&w->env.stats.clients, memory_order_relaxed);
}

void workers_accept(struct workers *w, struct worker *here, int fd, const struct peer_address *peer)
{
    struct worker *least = here ? here : &w->items[0];
    for (unsigned i = 0; i < w->n; i++)
        if (load_of(&w->items[i]) < load_of(least))
            least = &w->items[i];
    if (least == here) {
        client_accept(&here->env, fd, peer);
        return;
    }
    struct handover *h = xmalloc(sizeof *h);
    *h = (struct handover){.mail.deliver = handover_deliver, .fd = fd, .peer = *peer};
    atomic_fetch_add_explicit(&least->on_the_way, 1, memory_order_relaxed);
    mailbox_post(least->mailbox, &h->mail);
}

static void cancel_deliver(struct mail *mail, void *receiver)
{
    struct cancel_mail *c = list_entry(mail, struct cancel_mail, mail);
    struct worker *w = receiver;
    if (!w->stopping)
        client_cancel(&w->env, c->pid, c->secret);
    free(c);
}

void workers_cancel(const struct workers *w, uint32_t pid, uint32_t secret)
{
    unsigned i = cancel_worker_of(pid);
    if (i >= w->n)
        return; /* not one of ours; PostgreSQL is silent, too */
    struct cancel_mail *c = xmalloc(sizeof *c);
    *c = (struct cancel_mail){.mail.deliver = cancel_deliver, .pid = pid, .secret = secret};
    mailbox_post(w->items[i].mailbox, &c->mail);
}

static void route_cancel(void *arg, uint32_t pid, uint32_t secret)
{
    workers_cancel(arg, pid, secret);
}

static void pause_deliver(struct mail *mail, void *receiver)
{
    struct pause_mail *q = list_entry(mail, struct pause_mail, mail);
    struct worker *w = receiver;
    if (!w->stopping)
        pool_manager_pause(w->env.pools, q->database, q->on);
    free(q->database);
    free(q);
}

void workers_pause(struct workers *w, const char *database, bool on)
{
    for (unsigned i = 0; i < w->n; i++) {
        struct pause_mail *q = xcalloc(1, sizeof *q);
        *q = (struct pause_mail){
            .mail.deliver = pause_deliver, .database = database ? xstrdup(database) : NULL, .on = on};
        mailbox_post(w->items[i].mailbox, &q->mail);
    }
}

static void config_deliver(struct mail *mail, void *receiver)
{
    struct config_mail *c = list_entry(mail, struct config_mail, mail);
    struct worker *w = receiver;
    if (w->stopping)
        tls_context_destroy(&c->tls);
    else
        session_env_reconfigure(&w->env, c->config, c->tls);
    config_unref(&c->config);
    free(c);
}

void workers_reconfigure(struct workers *w, struct config *config, struct tls_context **tls)
{
    for (unsigned i = 0; i < w->n; i++) {
        struct config_mail *c = xmalloc(sizeof *c);
        *c =
            (struct config_mail){.mail.deliver = config_deliver, .config = config_ref(config), .tls = tls[i]};
        tls[i] = NULL;
        mailbox_post(w->items[i].mailbox, &c->mail);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

struct active {
    const char *database; /* NULL: of all */
    unsigned servers;
};

static void count_active(void *arg, const struct pool_stats *stats, const struct server *server)
{
    struct active *a = arg;
    if (server->ops && (!a->database || strcmp(a->database, stats->database) == 0))
        a->servers++; /* somebody's: a client's, or a check's */
}

unsigned worker_active_servers(struct worker *w, const char *database)
{
    struct active a = {.database = database};
    pool_manager_each_server(w->env.pools, count_active, &a);
    return a.servers;
}

static void stop_look(void *arg)
{
    struct worker *w = arg;
    w->quiet = worker_active_servers(w, NULL) == 0 && list_empty(&w->env.clients);
    if (w->quiet || loop_now_us(w->loop) >= w->stop_by_us)
        loop_stop(w->loop);
    else
        loop_timer_start(w->stop_timer, STOP_LOOK_US);
}

static void stop_deliver(struct mail *mail, void *receiver)
{
    struct worker *w = receiver;
    (void)mail;
    w->stopping = true;
    client_close_all(&w->env, true);
    loop_timer_start(w->stop_timer, STOP_LOOK_US);
}

bool workers_stop(struct workers *w, uint64_t grace_us)
{
    bool quiet = true;
    for (unsigned i = 0; i < w->n; i++) {
        struct worker *one = &w->items[i];
        if (!one->started)
            continue;
        one->stop_by_us = clock_monotonic_us() + grace_us;
        one->stop_mail.deliver = stop_deliver;
        mailbox_post(one->mailbox, &one->stop_mail);
    }
    for (unsigned i = 0; i < w->n; i++) {
        struct worker *one = &w->items[i];
        if (!one->started)
            continue;
        pthread_join(one->thread, NULL);
        one->started = false;
        quiet = quiet && one->quiet;
    }
    return quiet;
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "worker %u", w->index);
    pthread_setname_np(pthread_self(), name);
    loop_run(w->loop);
    return NULL;
}

void workers_create(struct workers *w, unsigned n, enum loop_poller poller, struct config *config,
                    struct session_shared *shared, struct pool_limits *limits)
{
    w->items = xcalloc(n, sizeof *w->items);
    w->n = n;
    for (unsigned i = 0; i < n; i++) {
        struct worker *one = &w->items[i];
        one->index = i;
        one->all = w;
        one->loop = loop_create(poller);
        one->mailbox = mailbox_create(one->loop, one);
        one->stop_timer = loop_timer_create(one->loop, stop_look, one);
        session_env_init(&one->env, one->loop, i, config, shared);
        one->env.pools = pool_manager_create(one->loop, i, one->mailbox, limits, config);
        one->env.control = asker_create(one->loop, config);
        one->env.route_cancel = route_cancel;
        one->env.route_cancel_arg = w;
    }
}

void worker_set_tls(struct worker *w, struct tls_context *tls)
{
    w->env.tls = tls;
}

void worker_set_console(struct worker *w, const struct console_ops *console)
{
    w->env.console = console;
}

enum status workers_start(struct workers *w, struct error *error_r)
{
    sigset_t all, before;
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc == 0) /* not the limit of whoever started the process, which may be small */
        rc = pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    for (unsigned i = 0; i < w->n && rc == 0; i++) {
        rc = pthread_create(&w->items[i].thread, &attr, worker_main, &w->items[i]);
        w->items[i].started = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? STATUS_OK
                   : error_set(error_r, SQLSTATE_INTERNAL, "could not start a thread: %s", strerror(rc));
}

void workers_destroy(struct workers *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        w->items[i].stopping = true; /* for messages that are still in mailboxes */
        asker_destroy(&w->items[i].env.control);
        pool_manager_destroy(&w->items[i].env.pools);
    }
    for (unsigned i = 0; i < w->n; i++)
        mailbox_destroy(&w->items[i].mailbox);
    for (unsigned i = 0; i < w->n; i++) {
        struct worker *one = &w->items[i];
        session_env_deinit(&one->env);
        tls_context_destroy(&one->env.tls);
        loop_timer_destroy(&one->stop_timer);
        loop_destroy(&one->loop);
    }
    free(w->items);
    *w = (struct workers){0};
}
