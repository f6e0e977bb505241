/*
 * Signals, PAUSE, and the three ways to stop (proxy.h draws the states).
 *
 * Waiting for servers to be given back is done by asking: a letter goes round the workers and comes back with
 * the number of servers that clients hold, LOOK_US after the last one. Nothing in the sessions' hot path
 * knows about it.
 */
#include "proxy.h"

#include "base/log.h"

#include <signal.h>

#define LOOK_US 50000

static bool wants_count(const struct proxy *p)
{
    return p->paused || p->state == PROXY_DRAINING || p->state == PROXY_FINISHING;
}

static bool owns_nothing(struct proxy *p)
{
    pthread_mutex_lock(&p->shared.owned_lock);
    bool nothing = p->shared.owned.count == 0;
    pthread_mutex_unlock(&p->shared.owned_lock);
    return nothing;
}

/* The count is in: on the control thread. */
static void counted(struct proxy *p)
{
    bool idle = p->census.active == 0 && owns_nothing(p);
    if (idle && p->paused) {
        void (*done)(void *) = p->paused;
        p->paused = NULL;
        log_info("paused: no client holds a server");
        done(p->paused_arg);
    }
    switch (p->state) {
    case PROXY_DRAINING:
        if (idle && atomic_load_explicit(&p->shared.clients, memory_order_relaxed) == 0) {
            log_info("all clients are gone");
            proxy_stop(p);
        }
        break;
    case PROXY_FINISHING:
        if (idle) {
            log_info("no client holds a server");
            proxy_stop(p);
        }
        break;
    case PROXY_RUNNING:
    case PROXY_STOPPING:
        break;
    }
    if (wants_count(p))
        loop_timer_start(p->look, LOOK_US);
}

static void census_deliver(struct letter *letter, void *receiver)
{
    struct census *c = list_entry(letter, struct census, letter);
    struct proxy *p = c->proxy;
    if (c->at == p->workers.n) {
        c->under_way = false;
        counted(p);
        return;
    }
    struct worker *w = receiver;
    if (w->stopping)
        return; /* nobody asks any more */
    c->active += worker_active_servers(w);
    c->at++;
    mailbox_post(c->at == p->workers.n ? p->mailbox : p->workers.items[c->at].mailbox, letter);
}

void proxy_look(void *arg)
{
    struct proxy *p = arg;
    if (p->state == PROXY_DRAINING && p->drain_by_us && loop_now_us(p->loop) >= p->drain_by_us) {
        log_warning("shutdown_wait_timeout has passed with %u clients connected",
                    atomic_load(&p->shared.clients));
        proxy_stop(p);
        return;
    }
    if (p->census.under_way || !wants_count(p))
        return;
    p->census = (struct census){.letter.deliver = census_deliver, .proxy = p, .under_way = true};
    mailbox_post(p->workers.items[0].mailbox, &p->census.letter);
}

/* --- stopping ----------------------------------------------------------------------------------------------
 */

void proxy_drain(struct proxy *p)
{
    if (p->state != PROXY_RUNNING) {
        proxy_stop(p);
        return;
    }
    uint64_t wait_us = p->config->settings.shutdown_wait_timeout_us;
    log_info("shutting down when clients' transactions have ended");
    p->state = PROXY_DRAINING;
    p->drain_by_us = wait_us ? loop_now_us(p->loop) + wait_us : 0;
    proxy_unlisten(p);
    atomic_store(&p->shared.draining, true);
    loop_timer_start(p->look, 0);
}

void proxy_finish(struct proxy *p)
{
    if (p->state != PROXY_RUNNING) {
        proxy_stop(p);
        return;
    }
    log_info("shutting down when servers are idle");
    p->state = PROXY_FINISHING;
    proxy_unlisten(p);
    atomic_store(&p->shared.paused, true);
    loop_timer_start(p->look, 0);
}

void proxy_stop(struct proxy *p)
{
    if (p->state == PROXY_STOPPING)
        return;
    log_info("shutting down");
    p->state = PROXY_STOPPING;
    p->paused = NULL;
    proxy_unlisten(p);
    loop_stop(p->loop);
}

/* --- pausing
 * ------------------------------------------------------------------------------------------------ */

bool proxy_pause(struct proxy *p, void (*done)(void *arg), void *arg, struct error *error_r)
{
    if (p->state != PROXY_RUNNING) {
        (void)error_set(error_r, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
        return false;
    }
    if (atomic_exchange(&p->shared.paused, true)) {
        (void)error_set(error_r, "55000", "already paused");
        return false;
    }
    log_info("pausing: transactions that run may end, no new ones begin");
    p->paused = done;
    p->paused_arg = arg;
    loop_timer_start(p->look, 0);
    return true;
}

bool proxy_resume(struct proxy *p, struct error *error_r)
{
    if (p->state != PROXY_RUNNING) {
        (void)error_set(error_r, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
        return false;
    }
    if (!atomic_exchange(&p->shared.paused, false)) {
        (void)error_set(error_r, "55000", "not paused");
        return false;
    }
    log_info("resumed");
    if (p->paused) { /* somebody's PAUSE still waited: it is answered, what it asked for is over */
        void (*done)(void *) = p->paused;
        p->paused = NULL;
        done(p->paused_arg);
    }
    return true;
}

/* --- signals
 * ------------------------------------------------------------------------------------------------ */

static void nothing(void *arg)
{
    (void)arg;
}

static void got_signal(void *arg, int signo)
{
    struct proxy *p = arg;
    struct error e;
    switch (signo) {
    case SIGHUP:
        log_info("got SIGHUP");
        (void)proxy_reload(p, &e); /* it has logged what is wrong */
        break;
    case SIGTERM:
        log_info("got SIGTERM");
        proxy_drain(p);
        break;
    case SIGINT:
        log_info("got SIGINT");
        proxy_finish(p);
        break;
    case SIGQUIT:
        log_info("got SIGQUIT");
        proxy_stop(p);
        break;
    case SIGUSR1:
        if (!proxy_pause(p, nothing, NULL, &e))
            log_warning("SIGUSR1: %s", e.message);
        break;
    case SIGUSR2:
        if (!proxy_resume(p, &e))
            log_warning("SIGUSR2: %s", e.message);
        break;
    default:
        break;
    }
}

void proxy_watch_signals(struct proxy *p)
{
    static const int signals[N_SIGNALS] = {SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
    for (int i = 0; i < N_SIGNALS; i++)
        p->signals[i] = loop_signal_create(p->loop, signals[i], got_signal, p);
}
