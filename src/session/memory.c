/*
 * What sessions take of memory, and what is done when it is too much.
 *
 *     measured    by walking over the clients, as the janitor does (memory_look), so that no statement pays for it; and
 *                 for one client where it is about to grow by more than a block (memory_admits)
 *     summed up   over the worker's clients in session_memory, over the workers in shared->budget
 *     refused     a message, a name, a row of COPY that does not fit: an error 53200 for the statement; the message's
 *                 bytes are dropped as they come (memory_refuse), and answered when it is its turn (memory_refused)
 *     relieved    above memory_limit every worker first gives up what can be made again: plans, texts that nobody refers
 *                 to, what was read out of texts; then the worker that has the largest client of all ends it
 *     given back  what was freed to the heap, which keeps it otherwise, by malloc_trim() once a second at most
 *
 * A client that grew to one and a half of its limit without being asked (rows of shards, variables) is ended by the
 * janitor.
 *
 * Who is largest is known to a quarter of a second, the janitor's period: each worker tells how large its largest
 * client is. Two workers end one client each only if both were told of as the largest within that time; a client whose
 * two-phase commit is under way is passed by, as its outcome must be told.
 *
 * Not accounted: the parser's own memory while it reads a statement, libpq's and OpenSSL's of connections.
 */
#include "session.h"

#include "base/log.h"

#include <malloc.h>
#include <stdlib.h>

/* Freed at once in smaller pieces than are mappings of their own. */
#define TRIM_BYTES      ((size_t)1 << 20)
/* So much in small pieces: what survived among them, to be found again soon, would keep their pages. */
#define TRIM_MANY_BYTES ((size_t)8 << 20)
#define TRIM_PERIOD_US  UINT64_C(1000000)
#define EVICT_PERIOD_US UINT64_C(1000000)
/* Nobody is ended for less: it would not help. */
#define OFFENDER_BYTES   ((size_t)64 * 1024)
#define WARN_PERIOD_US   UINT64_C(60000000)
#define IDLE_LOOK_US     UINT64_C(2000000)
#define REGISTRY_DERIVED 4 /* what was read out of prepared statements may take this part of plan_cache_bytes */

/* --- one client ------------------------------------------------------------------------------- */

static size_t text_bytes(const struct client *c)
{
    const struct statement_def *unnamed = c->unnamed_statement.def;
    return (c->names ? c->names->text_bytes : 0) + (unnamed ? statement_bytes(unnamed) : 0);
}

static size_t own_bytes(const struct client *c)
{
    size_t n = heap_bytes(sizeof *c) + c->n_links * heap_bytes(sizeof(struct link)) + c->txn.replay_bytes;
    if (c->names)
        n += heap_bytes(sizeof *c->names) + c->names->bytes +
             (c->names->statements.n_buckets + c->names->portals.n_buckets) * sizeof(void *);
    if (c->vars)
        n += c->vars->bytes;
    if (c->txn.catalog)
        n += catalog_bytes(c->txn.catalog);
    if (c->part_ends)
        n += 2 * c->n_parts * sizeof *c->part_ends;
    if (c->unnamed_portal)
        n += heap_bytes(sizeof *c->unnamed_portal);
    return n;
}

static size_t buffer_bytes(const struct client *c)
{
    /* A large message's room is there before its bytes are: what was not written to is not there. */
    size_t n = c->in_blob ? blob_share(c->in_blob) : c->in.end;
    n += c->held.cap + c->query_rest.len + ordered_memory(c) + copy_in_memory(c);
    if (c->stream)
        n += stream_memory(c->stream);
    if (c->scatter)
        n += scatter_memory(c->scatter);
    if (c->unnamed_portal)
        n += c->unnamed_portal->bind.cap + blob_share(c->unnamed_portal->bind_blob);
    for (unsigned i = 0; i < c->n_links; i++) {
        const struct server *s = c->links[i]->server;
        if (s && !s->dead)
            n += stream_memory(s->stream) + s->in.cap;
    }
    return n;
}

size_t session_client_bytes(void)
{
    return heap_bytes(sizeof(struct client));
}

size_t memory_of(const struct client *c)
{
    return c->memory_own + c->memory_buffers + text_bytes(c);
}

static void publish(struct session_env *env, enum budget_part part, size_t bytes)
{
    env->memory.freed += budget_share_set(&env->memory.share, part, bytes);
}

static void sum(struct session_env *env, enum budget_part part, size_t *sum_of, size_t before, size_t now)
{
    *sum_of += now - before;
    publish(env, part, *sum_of);
}

static void set_bytes(struct client *c, size_t own, size_t buffers)
{
    struct session_memory *m = &c->env->memory;
    if (own != c->memory_own)
        sum(c->env, BUDGET_SESSIONS, &m->sessions, c->memory_own, own);
    if (buffers != c->memory_buffers)
        sum(c->env, BUDGET_BUFFERS, &m->buffers, c->memory_buffers, buffers);
    c->memory_own = own;
    c->memory_buffers = buffers;
}

static size_t held_bytes(const struct client *c)
{
    return c->txn.replay_bytes + (c->names ? c->names->bytes + c->names->text_bytes : 0);
}

static void look_at(struct client *c)
{
    size_t blocks = held_bytes(c) / MEMORY_BLOCK_BYTES;
    if (blocks < c->held_blocks)
        c->held_blocks = (uint32_t)blocks;
    set_bytes(c, own_bytes(c), buffer_bytes(c));
}

void memory_forget(struct client *c)
{
    set_bytes(c, 0, 0);
}

/* --- limits ----------------------------------------------------------------------------------- */

static size_t process_limit(const struct session_env *env)
{
    uint64_t set = env->config->settings.memory_limit;
    return set ? (size_t)set : env->shared->machine_bytes;
}

static void say_client(struct error *e, const struct client *c, size_t bytes)
{
    error_set(e, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    error_detail(e, "This client would take %zu kB of the proxy's memory; client_memory_limit is %zu kB.",
                 bytes >> 10, (size_t)c->env->config->settings.client_memory_limit >> 10);
    error_hint(e,
               "Send less at once and close statements that are not needed, or raise client_memory_limit.");
}

static void say_process(struct error *e, const struct session_env *env, size_t bytes)
{
    error_set(e, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    error_detail(e,
                 "The proxy's memory is above memory_limit, %zu kB, and this client takes most of it: %zu kB.",
                 process_limit(env) >> 10, bytes >> 10);
    error_hint(e, "Send less at once and close statements that are not needed, or raise memory_limit.");
}

/* Plans go before anybody is refused anything. */
static bool process_full(const struct session_env *env, size_t more)
{
    struct budget *b = &env->shared->budget;
    size_t limit = process_limit(env);
    return more > limit || budget_total(b) - budget_used(b, BUDGET_PLANS) > limit - more;
}

enum status memory_admits(struct client *c, size_t more, struct error *error_r)
{
    size_t limit = (size_t)c->env->config->settings.client_memory_limit;
    look_at(c);
    publish(c->env, BUDGET_STATEMENTS, statement_registry_bytes(pool_manager_statements(c->env->pools)));
    size_t bytes = memory_of(c) + more;
    if (limit && bytes > limit) {
        say_client(error_r, c, bytes);
        return STATUS_ERROR;
    }
    if (!process_full(c->env, more))
        return STATUS_OK;
    if (more > process_limit(c->env) ||
        (bytes >= OFFENDER_BYTES && bytes >= c->env->memory.largest &&
         budget_share_is_largest(&c->env->memory.share, bytes))) {
        say_process(error_r, c->env, bytes);
        return STATUS_ERROR;
    }
    loop_timer_start(c->env->janitor, 1); /* somebody else has more */
    return STATUS_OK;
}

enum status memory_holds(struct client *c, size_t more, struct error *error_r)
{
    size_t blocks = (held_bytes(c) + more) / MEMORY_BLOCK_BYTES;
    if (blocks <= c->held_blocks)
        return STATUS_OK;
    if (memory_admits(c, more, error_r) != STATUS_OK)
        return STATUS_ERROR;
    c->held_blocks = (uint32_t)blocks;
    return STATUS_OK;
}

/* --- a message that is not taken -------------------------------------------------------------- */

struct refused {
    uint8_t type;
    struct error error;
};

void memory_refuse(struct client *c, uint8_t type, const struct error *e)
{
    c->refused = xmalloc(sizeof *c->refused);
    c->refused->type = type;
    c->refused->error = *e;
}

void memory_refused_free(struct client *c)
{
    free(c->refused);
    c->refused = NULL;
}

static enum dispatch refused(struct client *c)
{
    const struct error *e = &c->refused->error;
    uint8_t type = c->refused->type;
    if (c->looks)
        return DISPATCH_AGAIN;
    if ((c->copy || c->copy_pass == COPY_PASS_DATA) && !copy_in_allows(c, type))
        return DISPATCH_DONE;
    if (c->console) {
        client_fatal(c, e);
        return DISPATCH_DONE;
    }
    switch (type) {
    case MSG_QUERY:
        return simple_refused(c, e);
    case MSG_PARSE:
    case MSG_BIND:
    case MSG_DESCRIBE:
    case MSG_EXECUTE:
    case MSG_CLOSE:
        return extended_refused(c, e);
    case MSG_COPY_DATA:
        return copy_in_refused(c, e);
    default:
        client_fatal(c, e);
        return DISPATCH_DONE;
    }
}

enum dispatch memory_refused(struct client *c)
{
    enum dispatch d = refused(c);
    if (d == DISPATCH_DONE)
        memory_refused_free(c);
    return d;
}

/* --- the worker ------------------------------------------------------------------------------- */

static void add_server(void *arg, const struct pool_stats *pool, const struct server *s)
{
    size_t *bytes = arg;
    (void)pool;
    *bytes += heap_bytes(sizeof *s) + s->ring_cap * sizeof(struct expect);
    if (s->prepared)
        *bytes += prepared_set_bytes(s->prepared);
    if (!s->ops && !s->dead) /* else it is the client's */
        *bytes += stream_memory(s->stream) + s->in.cap;
}

static void look_at_caches(struct session_env *env)
{
    struct plan_cache_stats plans;
    size_t servers = 0;
    plan_cache_get_stats(env->plans, &plans);
    pool_manager_each_server(env->pools, add_server, &servers);
    publish(env, BUDGET_PLANS, plans.bytes);
    publish(env, BUDGET_STATEMENTS, statement_registry_bytes(pool_manager_statements(env->pools)));
    publish(env, BUDGET_CATALOGS, session_scope_bytes(env));
    publish(env, BUDGET_SERVERS, servers);
}

/* What is idle and had nothing under way when it was looked at last has not changed. */
static bool is_unchanged(const struct client *c, uint64_t now)
{
    return c->memory_own && c->memory_buffers == 0 && !c->in_request && c->txn.state == TXN_NONE &&
           c->request_us + IDLE_LOOK_US < now;
}

static struct client *look_at_clients(struct session_env *env)
{
    struct client *most = NULL;
    uint64_t now = loop_now_us(env->loop);
    list_foreach(&env->clients, node, next)
    {
        struct client *c = list_entry(node, struct client, node);
        if (!is_unchanged(c, now))
            look_at(c);
        if (!c->commit && (!most || memory_of(c) > memory_of(most)))
            most = c;
    }
    env->memory.largest = most ? memory_of(most) : 0;
    budget_share_largest(&env->memory.share, env->memory.largest);
    return most;
}

void memory_measure(struct session_env *env)
{
    list_foreach(&env->clients, node, next) look_at(list_entry(node, struct client, node));
    look_at_caches(env);
}

/* What can be made again. */
static void evict(struct session_env *env, uint64_t now)
{
    struct session_memory *m = &env->memory;
    struct statement_registry *texts = pool_manager_statements(env->pools);
    if (now - m->evicted_us < EVICT_PERIOD_US)
        return;
    m->evicted_us = now;
    m->freed += TRIM_BYTES;
    plan_cache_limit(env->plans, 0);
    plan_cache_limit(env->plans, (size_t)env->config->settings.plan_cache_bytes);
    statement_registry_trim(texts, 0);
    statement_registry_forget_idle(texts);
    look_at_caches(env);
}

static void end_client(struct client *c, const struct error *e)
{
    log_warning("client %s:%d pid %u user \"%s\" database \"%s\" is ended: it takes %zu kB", c->peer.host,
                c->peer.port, c->pid, c->user ? c->user : "", c->database ? c->database : "",
                memory_of(c) >> 10);
    link_cancel_all(c);
    client_fatal(c, e);
}

static void end_largest(struct session_env *env, struct client *most, uint64_t now)
{
    struct error e;
    struct session_memory *m = &env->memory;
    size_t bytes = most ? memory_of(most) : 0;
    if (!budget_share_is_largest(&m->share, bytes))
        return;
    if (bytes >= OFFENDER_BYTES) {
        say_process(&e, env, bytes);
        end_client(most, &e);
    } else if (!m->warned_us || now - m->warned_us >= WARN_PERIOD_US) {
        m->warned_us = now;
        log_warning("the proxy takes %zu kB, above memory_limit (%zu kB), and no client takes much of it",
                    budget_total(&env->shared->budget) >> 10, process_limit(env) >> 10);
    }
}

static void enforce_client_limit(struct session_env *env)
{
    size_t limit = (size_t)env->config->settings.client_memory_limit;
    struct error e;
    limit += limit / 2; /* a text that is on its way is counted by each who holds it */
    if (!limit || env->memory.largest <= limit)
        return;
    list_foreach(&env->clients, node, next)
    {
        struct client *c = list_entry(node, struct client, node);
        if (c->commit || memory_of(c) <= limit)
            continue;
        say_client(&e, c, memory_of(c));
        end_client(c, &e);
    }
}

static void trim(struct session_env *env, uint64_t now)
{
    struct session_memory *m = &env->memory;
    if (m->freed < TRIM_BYTES || now - m->trimmed_us < TRIM_PERIOD_US)
        return;
    if (m->freed >= TRIM_MANY_BYTES) {
        statement_registry_trim(pool_manager_statements(env->pools), 0);
        statement_registry_forget_idle(pool_manager_statements(env->pools));
    }
    m->freed = 0;
    m->trimmed_us = now;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void memory_look(struct session_env *env)
{
    uint64_t now = loop_now_us(env->loop);
    struct client *most = look_at_clients(env);
    statement_registry_trim(pool_manager_statements(env->pools),
                            (size_t)env->config->settings.plan_cache_bytes / REGISTRY_DERIVED);
    look_at_caches(env);
    enforce_client_limit(env);
    if (budget_total(&env->shared->budget) > process_limit(env)) {
        evict(env, now);
        if (process_full(env, 0) && (!most || most->state != CLIENT_CLOSING))
            end_largest(env, most, now);
    }
    trim(env, now);
}
