/*
 * The process put together and taken apart.
 *
 *     main thread: control loop, signals, resolver, checks; it listens
 *     worker 0..n-1: loop, clients, pools; they accept
 *
 * Everything is made before the first thread starts, and taken apart after the last one has ended. If
 * something is still under way then (a shard that does not answer), memory is left to the system: nothing in
 * it has to be saved.
 */
#include "proxy.h"

#include "app/process.h"
#include "base/arena.h"
#include "base/log.h"
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_US       ((uint64_t)1000 * 1000)
#define FIRST_LOOK_US  5000000
#define FILES_TO_SPARE 100

static unsigned worker_count(const struct settings *s)
{
    long n = s->workers > 0 ? s->workers : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

static void check_open_files(const struct config *config)
{
    size_t have = process_raise_open_files();
    size_t clients = (size_t)config->settings.max_client_conn;
    size_t servers = config->topology.n_shards * (size_t)config->settings.default_pool_size;
    if (have < clients + servers + FILES_TO_SPARE)
        log_warning("the limit of %zu open files is too low for max_client_conn = %zu and %zu server "
                    "connections: raise it (ulimit -n, "
                    "LimitNOFILE)",
                    have, clients, servers);
}

/* With the keys read and the ports bound, the rest is done as the user that was asked for. */
static enum status become_user(const struct options *o, const struct settings *s, struct error *error_r)
{
    if (!o->user)
        return STATUS_OK;
    if (process_become_user(o->user, error_r) != STATUS_OK)
        return STATUS_ERROR;
    log_configure(o, s);
    return STATUS_OK;
}

static enum status offer_tls(struct proxy *p, struct error *error_r)
{
    unsigned n = p->workers.n;
    struct tls_context **tls = xcalloc(n, sizeof(struct tls_context *));
    enum status status = tls_contexts_create(&p->config->settings, tls, n, error_r);
    for (unsigned i = 0; i < n; i++)
        worker_set_tls(&p->workers.items[i], tls[i]);
    free(tls);
    return status;
}

static void make_console(struct proxy *p)
{
    unsigned n = p->workers.n;
    struct console_worker *workers = xcalloc(n, sizeof *workers);
    for (unsigned i = 0; i < n; i++)
        workers[i] =
            (struct console_worker){.env = &p->workers.items[i].env, .mailbox = p->workers.items[i].mailbox};
    proxy_console_init(p);
    p->admin = admin_create(workers, n, &p->shared, p->loop, p->mailbox, &p->process);
    admin_reconfigure(p->admin, p->config);
    for (unsigned i = 0; i < n; i++)
        worker_set_console(&p->workers.items[i], admin_console(p->admin, i));
    free(workers);
}

static void say_ready(const struct proxy *p)
{
    const struct settings *s = &p->config->settings;
    const struct topology *t = &p->config->topology;
    char where[512];
    int n = 0;
    if (s->listen_addr[0])
        n = snprintf(where, sizeof where, "%s port %d", s->listen_addr, s->listen_port);
    if (s->unix_socket_dir[0] && n >= 0 && (size_t)n < sizeof where)
        snprintf(where + n, sizeof where - (size_t)n, "%s%s/.s.PGSQL.%d", n ? " and " : "",
                 s->unix_socket_dir, s->listen_port);
    log_info("pgunison " PGUNISON_VERSION
             " ready: listening on %s, %u worker%s on %s, %zu database%s, %zu shard%s",
             where, p->workers.n, p->workers.n == 1 ? "" : "s", loop_poller_name(p->options->poller),
             t->n_databases, t->n_databases == 1 ? "" : "s", t->n_shards, t->n_shards == 1 ? "" : "s");
}

static void looked(void *arg)
{
    struct proxy *p = arg;
    loop_stop(p->loop);
}

/* Before the first client every shard has been looked at, so that its decision table is there when the first
   cross-shard COMMIT needs it; but a shard that does not answer holds nobody up for long. Clients that come
   meanwhile wait in the listening socket. */
static void first_look(struct proxy *p)
{
    struct loop_timer *bound = loop_timer_create(p->loop, looked, p);
    checks_when_known(p->checks, looked, p);
    loop_timer_start(bound, FIRST_LOOK_US);
    loop_run(p->loop);
    checks_when_known(p->checks, NULL, NULL);
    loop_timer_destroy(&bound);
}

enum status proxy_create(struct proxy *p, const struct options *options, struct config *config,
                         struct error *error_r)
{
    memset(p, 0, sizeof *p);
    p->options = options;
    p->config = config_ref(config);
    session_shared_init(&p->shared);
    p->limits = pool_limits_create();
    p->loop = loop_create(POLLER_LIBEVENT);
    p->dns = dns_create(p->loop, DNS_HOSTS_PATH, DNS_RESOLV_PATH);
    dial_init(p->dns);
    p->mailbox = mailbox_create(p->loop, p);
    list_init(&p->pauses);
    p->look = loop_timer_create(p->loop, proxy_look, p);
    workers_create(&p->workers, worker_count(&config->settings), options->poller, config, &p->shared,
                   p->limits);
    if (offer_tls(p, error_r) != STATUS_OK || proxy_listen_tcp(p, error_r) != STATUS_OK ||
        become_user(options, &config->settings, error_r) != STATUS_OK ||
        proxy_listen_unix(p, error_r) != STATUS_OK)
        return STATUS_ERROR;
    check_open_files(config);
    p->control = asker_create(p->loop, config);
    p->resolver = resolver_create(p->loop, config, p->control, &p->shared);
    p->checks = checks_create(p->loop, config, p->control);
    make_console(p);
    proxy_watch_signals(p);
    if (workers_start(&p->workers, error_r) != STATUS_OK)
        return STATUS_ERROR;
    first_look(p);
    if (p->state != PROXY_RUNNING)
        return STATUS_OK;
    proxy_accept(p);
    say_ready(p);
    return STATUS_OK;
}

void proxy_run(struct proxy *p)
{
    if (p->state != PROXY_STOPPING)
        loop_run(p->loop);
}

void proxy_destroy(struct proxy *p)
{
    proxy_unlisten(p);
    if (p->admin)
        admin_close(p->admin);
    bool quiet = workers_stop(&p->workers, GRACE_US);
    if (!quiet) {
        log_info("stopped; answers of shards were still due");
        return;
    }
    for (int i = 0; i < N_SIGNALS; i++)
        loop_signal_destroy(&p->signals[i]);
    checks_destroy(&p->checks);
    resolver_destroy(&p->resolver);
    if (p->control)
        asker_destroy(&p->control);
    workers_destroy(&p->workers);
    free(p->acceptors); /* after mailboxes that may hold their messages */
    refuser_destroy(&p->refuser);
    loop_timer_destroy(&p->look);
    mailbox_destroy(&p->mailbox);
    pauses_drop(p);
    admin_destroy(&p->admin); /* after every mailbox that may hold one of its messages */
    dns_destroy(&p->dns);
    loop_destroy(&p->loop);
    pool_limits_destroy(&p->limits);
    session_shared_deinit(&p->shared);
    dial_deinit();
    config_unref(&p->config);
    log_info("stopped");
}
