/*
 * What sessions of one worker share, what all workers share, and the janitor: timeouts are found by walking
 * over the clients a few times a second, so that no timer has to be moved per statement.
 */
#include "session.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define JANITOR_PERIOD_US 250000
/* Users, roles and search paths that are numbered at a time: clients make them up. */
#define NUMBERED_TEXTS 10000

void session_shared_init(struct session_shared *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->owned_lock, NULL);
    hashmap_init(&s->owned);
    hashmap_init(&s->reported_torn);
    if (getrandom(&s->proxy_id, sizeof s->proxy_id, 0) != (ssize_t)sizeof s->proxy_id)
        abort();
    session_databases_init(&s->databases);
    budget_init(&s->budget);
    s->machine_bytes = budget_of_machine();
}

void session_shared_deinit(struct session_shared *s)
{
    session_databases_deinit(&s->databases);
    hashmap_free(&s->owned, NULL);
    hashmap_free(&s->reported_torn, NULL);
    pthread_mutex_destroy(&s->owned_lock);
}

bool session_owns_txid(struct session_shared *s, const char *txid)
{
    pthread_mutex_lock(&s->owned_lock);
    bool owned = hashmap_get(&s->owned, slice_str(txid)) != NULL;
    pthread_mutex_unlock(&s->owned_lock);
    return owned;
}

static const struct session_resolved *resolved_find(const struct session_shared *s, const char *txid)
{
    for (unsigned i = 0; i < SESSION_RESOLVED_MAX; i++)
        if (strcmp(s->resolved[i].txid, txid) == 0)
            return &s->resolved[i];
    return NULL;
}

/* Told once for each participant. */
void session_remember_resolved(struct session_shared *s, const char *txid, bool committed)
{
    pthread_mutex_lock(&s->owned_lock);
    if (!resolved_find(s, txid)) {
        struct session_resolved *r = &s->resolved[s->next_resolved++ % SESSION_RESOLVED_MAX];
        snprintf(r->txid, sizeof r->txid, "%s", txid);
        r->committed = committed;
    }
    pthread_mutex_unlock(&s->owned_lock);
}

bool session_recall_resolved(struct session_shared *s, const char *txid, bool *committed_r)
{
    pthread_mutex_lock(&s->owned_lock);
    const struct session_resolved *r = txid[0] ? resolved_find(s, txid) : NULL;
    if (r)
        *committed_r = r->committed;
    pthread_mutex_unlock(&s->owned_lock);
    return r != NULL;
}

#define REPORTED_TORN_MAX 10000

bool session_report_torn(struct session_shared *s, const char *txid, const char *shard)
{
    char key[TXID_MAX_BYTES + GID_NAME_MAX_BYTES + 2];
    snprintf(key, sizeof key, "%s %s", txid, shard);
    pthread_mutex_lock(&s->owned_lock);
    bool first = !hashmap_get(&s->reported_torn, slice_str(key));
    if (first && s->reported_torn.count >= REPORTED_TORN_MAX) { /* rather twice than never */
        hashmap_free(&s->reported_torn, NULL);
        hashmap_init(&s->reported_torn);
    }
    if (first) {
        hashmap_put(&s->reported_torn, slice_str(key), s);
        atomic_fetch_add_explicit(&s->torn, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->owned_lock);
    return first;
}

void session_times_add(struct session_times *t, uint64_t us)
{
    int bucket = us == 0 ? 0 : 64 - __builtin_clzll(us);
    if (bucket >= TIMES_BUCKETS)
        bucket = TIMES_BUCKETS - 1;
    atomic_fetch_add_explicit(&t->n[bucket], 1, memory_order_relaxed);
}

uint64_t session_times_percentile(const struct session_times *t, unsigned percent)
{
    uint64_t n[TIMES_BUCKETS], total = 0, seen = 0;
    for (int i = 0; i < TIMES_BUCKETS; i++)
        total += n[i] = atomic_load_explicit(&t->n[i], memory_order_relaxed);
    if (total == 0)
        return 0;
    uint64_t wanted = (total * percent + 99) / 100;
    for (int i = 0; i < TIMES_BUCKETS; i++) {
        seen += n[i];
        if (seen >= wanted) /* the upper end of the bucket, interpolated within it */
            return i == 0 ? 0
                          : (UINT64_C(1) << (i - 1)) +
                                (UINT64_C(1) << (i - 1)) * (n[i] - (seen - wanted)) / n[i];
    }
    return 0;
}

static bool overdue(uint64_t now, uint64_t since, uint64_t limit)
{
    return limit != 0 && now > since && now - since > limit;
}

static void janitor_client(struct client *c, uint64_t now)
{
    const struct settings *s = &c->config->settings;
    struct error e;
    if (c->broken && !c->commit) { /* a commit's outcome must be told */
        error_set(&e, SQLSTATE_INTERNAL, "the session is in a state that it cannot be in");
        error_hint(&e, "Report what stands in the log of pgunison.");
        client_end(c, &e);
        return;
    }
    if (c->state != CLIENT_READY) {
        if (overdue(now, c->connected_us, s->client_login_timeout_us)) {
            error_set(&e, SQLSTATE_INVALID_AUTHORIZATION,
                      "client_login_timeout: the connection was not established in time");
            client_fatal(c, &e);
        }
        return;
    }
    bool running = c->run != RUN_NONE || c->multi || c->commit || c->console_waiting;
    if (c->commit)
        return; /* its outcome must be told */
    if (running) {
        if (overdue(now, c->request_us, s->query_timeout_us)) {
            error_set(&e, SQLSTATE_QUERY_CANCELED,
                      "canceling statement and closing the connection due to query_timeout");
            client_end(c, &e);
        }
    } else if (c->txn.state == TXN_NONE) {
        if (overdue(now, c->request_us, s->client_idle_timeout_us)) {
            error_set(&e, SQLSTATE_IDLE_TIMEOUT, "terminating connection due to client_idle_timeout");
            client_fatal(c, &e);
        }
        return;
    } else if (overdue(now, c->request_us, s->idle_transaction_timeout_us)) {
        error_set(&e, "25P03", "terminating connection due to idle_transaction_timeout");
        client_fatal(c, &e);
        return;
    }
    if (c->state == CLIENT_READY && c->txn.state != TXN_NONE &&
        overdue(now, c->txn.began_us, s->transaction_timeout_us)) {
        error_set(&e, "25P04", "terminating connection due to transaction_timeout");
        client_end(c, &e);
    }
}

void client_broken(struct client *c, const char *what)
{
    if (c->broken || c->state == CLIENT_CLOSING)
        return;
    log_error("client pid %u: %s: a state that cannot be; the session is closed", c->pid, what);
    c->broken = true;
    loop_timer_start(c->env->janitor, 1);
}

static void janitor(void *arg)
{
    struct session_env *env = arg;
    uint64_t now = loop_now_us(env->loop);
    struct list_node *node = list_first(&env->clients), *next;
    for (size_t left = env->clients.count; node && left > 0; left--, node = next) {
        next = node->next != &env->clients.head ? node->next : NULL;
        janitor_client(list_entry(node, struct client, node), now);
    }
    memory_look(env);
    if (atomic_load_explicit(&env->shared->draining, memory_order_relaxed))
        client_close_all(env, false);
    loop_timer_start(env->janitor, JANITOR_PERIOD_US);
}

void session_env_init(struct session_env *env, struct loop *loop, unsigned worker, struct config *config,
                      struct session_shared *shared)
{
    memset(env, 0, sizeof *env);
    env->loop = loop;
    env->worker = worker;
    env->config = config_ref(config);
    env->shared = shared;
    budget_share_init(&env->memory.share, &shared->budget, worker);
    env->plans = plan_cache_create(config->settings.plan_cache_bytes, plan_destroy);
    list_init(&env->clients);
    list_init(&env->links_free);
    hashmap_init(&env->cancel_keys);
    hashmap_init(&env->welcomes);
    hashmap_init(&env->custom_names);
    recent_init(&env->numbers, NUMBERED_TEXTS, NULL);
    env->varsets = varset_table_create();
    template_init(&env->scratch_template);
    buf_init(&env->scratch);
    buf_init(&env->scratch2);
    decide_init(env);
    session_scopes_create(env);
    env->janitor = loop_timer_create(loop, janitor, env);
    loop_timer_start(env->janitor, JANITOR_PERIOD_US);
}

void session_env_deinit(struct session_env *env)
{
    loop_timer_destroy(&env->janitor);
    plan_cache_destroy(&env->plans);
    session_scopes_drop(env);
    hashmap_free(&env->cancel_keys, NULL);
    login_forget_welcomes(env);
    hashmap_free(&env->welcomes, NULL);
    hashmap_free(&env->custom_names, custom_names_free);
    recent_clear(&env->numbers);
    varset_table_destroy(&env->varsets);
    template_free(&env->scratch_template);
    buf_free(&env->scratch);
    buf_free(&env->scratch2);
    struct list_node *n;
    while ((n = list_pop_front(&env->links_free)))
        free(list_entry(n, struct link, node));
    for (struct client_portal *p = env->portals_free, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    config_unref(&env->config);
}

void session_env_reconfigure(struct session_env *env, struct config *config, struct tls_context *tls)
{
    struct config *old = env->config;
    env->config = config_ref(config);
    if (env->tls)
        tls_context_destroy(&env->tls);
    env->tls = tls;
    session_scopes_moved(env, old);
    session_scopes_renew(env);
    login_forget_welcomes(env);
    pool_manager_reconfigure(env->pools, config);
    asker_reconfigure(env->control, config);
    config_unref(&old);
    list_foreach(&env->clients, node, next)
    {
        struct client *c = list_entry(node, struct client, node);
        if (c->state == CLIENT_READY && c->run == RUN_NONE && c->txn.state == TXN_NONE && !c->multi &&
            !c->extended_open)
            client_reconfigure(c);
    }
}
