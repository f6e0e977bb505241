/* What the console asks of the process (admin/console.h), all on the control thread. */
#include "proxy.h"

static struct config *port_config(void *arg)
{
    struct proxy *p = arg;
    return p->config;
}

static struct asker *port_control(void *arg)
{
    struct proxy *p = arg;
    return p->control;
}

static void port_shard(void *arg, unsigned shard, struct console_shard *s_r)
{
    struct proxy *p = arg;
    const struct check_report *r = checks_shard(p->checks, shard);
    const struct recovery_shard *prepared = resolver_shard(p->resolver, shard);
    *s_r = (struct console_shard){
        .state = check_state_name(r ? r->state : CHECK_UNKNOWN),
        .version = r ? r->version : "",
        .latency_us = r ? r->latency_us : 0,
        .prepared = prepared ? prepared->prepared : 0,
        .oldest_prepared_s = prepared ? prepared->oldest_prepared_s : 0,
    };
}

static size_t port_entries(void *arg, const struct recovery_entry **entries_r)
{
    struct proxy *p = arg;
    return resolver_entries(p->resolver, entries_r);
}

static void port_resolve(void *arg, const char *txid, void (*done)(void *arg, bool ok), void *done_arg)
{
    struct proxy *p = arg;
    resolver_request(p->resolver, txid, done, done_arg);
}

static enum status port_reload(void *arg, struct error *error_r)
{
    return proxy_reload(arg, error_r);
}

static void port_shutdown(void *arg, enum console_shutdown mode)
{
    struct proxy *p = arg;
    switch (mode) {
    case SHUTDOWN_NOW:
        proxy_stop(p);
        break;
    case SHUTDOWN_WAIT_FOR_SERVERS:
        proxy_finish(p);
        break;
    case SHUTDOWN_WAIT_FOR_CLIENTS:
        proxy_drain(p);
        break;
    }
}

static bool port_pause(void *arg, const char *database, void (*done)(void *arg), void *done_arg,
                       struct error *error_r)
{
    return proxy_pause(arg, database, done, done_arg, error_r);
}

static bool port_resume(void *arg, const char *database, struct error *error_r)
{
    return proxy_resume(arg, database, error_r);
}

static enum status port_set(void *arg, const char *name, const char *value, struct error *error_r)
{
    return proxy_set(arg, name, value, error_r);
}

void proxy_console_init(struct proxy *p)
{
    p->process = (struct console_process){
        .config = port_config,
        .control = port_control,
        .shard = port_shard,
        .entries = port_entries,
        .resolve = port_resolve,
        .reload = port_reload,
        .shutdown = port_shutdown,
        .pause = port_pause,
        .resume = port_resume,
        .set = port_set,
        .arg = p,
    };
}
