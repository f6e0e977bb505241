/* Signals, and the three ways to stop (proxy.h draws the states). */
#include "proxy.h"

#include "base/log.h"

#include <signal.h>

static bool owns_nothing(struct proxy *p)
{
    pthread_mutex_lock(&p->shared.owned_lock);
    bool nothing = p->shared.owned.count == 0;
    pthread_mutex_unlock(&p->shared.owned_lock);
    return nothing;
}

static void counted(struct census *c)
{
    struct proxy *p = c->proxy;
    bool idle = c->active == 0 && owns_nothing(p);
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
        return;
    }
    census_again(p);
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
    if (p->state == PROXY_DRAINING || p->state == PROXY_FINISHING) {
        p->census.counted = counted;
        census_start(&p->census, p);
    }
    pauses_look(p);
}

/* --- stopping --------------------------------------------------------------------------------- */

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
    atomic_store(&p->shared.draining, true); /* first: workers may accept until listening has ended */
    proxy_unlisten(p);
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
    workers_pause(&p->workers, NULL, true);
    loop_timer_start(p->look, 0);
}

void proxy_stop(struct proxy *p)
{
    if (p->state == PROXY_STOPPING)
        return;
    log_info("shutting down");
    p->state = PROXY_STOPPING;
    proxy_unlisten(p);
    loop_stop(p->loop);
}

/* --- signals ---------------------------------------------------------------------------------- */

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
        if (!proxy_pause(p, NULL, NULL, NULL, &e))
            log_warning("SIGUSR1: %s", e.message);
        break;
    case SIGUSR2:
        if (!proxy_resume(p, NULL, &e))
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
