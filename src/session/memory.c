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
 *     given back  what was freed to the heap, which keeps it otherwise, by malloc_trim(), when the sum has fallen by
 *                 much, and once a second at most
 *
 * A client that grew to one and a half of its limit without being asked (rows of shards, variables) is ended by the
 * janitor.
 *
 * Each worker tells how large its largest client is: at once where a client asks for more (memory_admits), lest others,
 * by what was seen of it before it grew, pass for the largest and are refused or ended; of what grew without being
 * asked, and of who has shrunk, within a quarter of a second, the janitor's period. Two workers end one client each only
 * if both were told of as the largest within that time. Nobody is ended
 *     whose COMMIT is under way: how it ends must be told
 *     while those who were ended, and wait for their shards, account for what is too much
 *     who has so little that it would not help: what is too much is not clients'
 * Who is ended while a write outside a transaction is under way hears that its outcome is not known.
 *
 * Not accounted: the parser's own memory while it reads a statement, libpq's and OpenSSL's of connections.
 */
#include "session.h"

#include "base/log.h"

#include <malloc.h>
#include <stdlib.h>

/* The sum has fallen by so much from its peak: what comes and goes by less is the heap's to keep. */
#define TRIM_BYTES ((size_t)8 << 20)
/* So many texts have gone: what survived among them, to be found again soon, would keep their pages. */
#define TRIM_TEXTS     ((size_t)16384)
#define TRIM_PERIOD_US UINT64_C(1000000)
/* A fall that was under way when memory was given back goes on: of the rest such a part is enough. */
#define TRIM_REST       16
#define LOOK_AGAIN_US   UINT64_C(10000) /* memory_admits() hurries the janitor no more often */
#define EVICT_PERIOD_US UINT64_C(1000000)
/* Nobody is ended for less, nor for less than this part of what is too much: it would not help. */
#define OFFENDER_BYTES ((size_t)64 * 1024)
#define OFFENDER_PART  8
#define WARN_PERIOD_US UINT64_C(60000000)
#define IDLE_LOOK_US   UINT64_C(2000000)
#define REGISTRY_DERIVED                                                                                     \
    4 /* what was read out of prepared statements may take this part of plan_cache_bytes */

/* --- one client ------------------------------------------------------------------------------- */

static size_t text_bytes(const struct client *c)
{
    const struct client_statement *unnamed = &c->unnamed_statement;
    return (c->names ? c->names->text_bytes : 0) + (unnamed->def ? unnamed->text_bytes : 0);
}

static size_t own_bytes(const struct client *c)
{
    size_t n = heap_bytes(sizeof *c) + c->n_links * heap_bytes(sizeof(struct link)) + c->txn.replay_bytes;
    if (c->names)
        n += heap_bytes(sizeof *c->names) + c->names->bytes +
             (c->names->statements.n_buckets + c->names->portals.n_buckets) * sizeof(void *);
    if (c->vars)
        n += c->vars->bytes;
    n += plan_own_bytes(c);
    if (c->txn.catalog)
        n += catalog_bytes(c->txn.catalog);
    for (unsigned i = 0; i < c->txn.n_old; i++)
        n += sizeof(struct catalog *) + catalog_bytes(c->txn.old_catalogs[i]);
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
    struct session_memory *m = &env->memory;
    (void)budget_share_set(&m->share, part, bytes);
    size_t all = budget_share_total(&m->share);
    m->peak = all > m->peak ? all : m->peak;
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
    if (c->state == CLIENT_CLOSING) {
        m->leaving += own + buffers - c->memory_own - c->memory_buffers;
        budget_share_leaving(&m->share, m->leaving);
    }
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

void memory_leaves(struct client *c)
{
    struct session_memory *m = &c->env->memory;
    m->leaving += c->memory_own + c->memory_buffers;
    budget_share_leaving(&m->share, m->leaving);
}

void memory_left(struct client *c)
{
    look_at(c);
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
    error_detail(
        e, "The proxy's memory is above memory_limit, %zu kB, and this client takes most of it: %zu kB.",
        process_limit(env) >> 10, bytes >> 10);
    error_hint(e, "Send less at once and close statements that are not needed, or raise memory_limit.");
}

static void say_full(struct error *e, const struct session_env *env)
{
    error_set(e, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    error_detail(e, "The proxy's memory is above memory_limit, %zu kB, and no client takes much of it.",
                 process_limit(env) >> 10);
    error_hint(e, "Raise memory_limit, or let fewer clients and servers connect.");
}

/* How much is too much. Plans go before anybody is refused anything; `leaving` goes by itself. */
static size_t process_excess(const struct session_env *env, size_t more, size_t leaving)
{
    size_t used = budget_total_without(&env->shared->budget, BUDGET_PLANS) + more;
    size_t left = used > leaving ? used - leaving : 0, limit = process_limit(env);
    return left > limit ? left - limit : 0;
}

static bool helps(size_t bytes, size_t excess)
{
    return bytes >= OFFENDER_BYTES && bytes >= excess / OFFENDER_PART;
}

/* The janitor is to end who has most. */
static void hurry(struct session_env *env)
{
    uint64_t now = loop_now_us(env->loop), next = env->memory.looked_us + LOOK_AGAIN_US;
    loop_timer_start(env->janitor, next > now ? next - now : 1);
}

/* Before the janitor sees it. Without what it asks for: that may not be given. */
static void tell_of(const struct client *c)
{
    struct session_memory *m = &c->env->memory;
    size_t bytes = memory_of(c);
    if (bytes <= m->largest || txn_commits(c))
        return;
    m->largest = bytes;
    budget_share_largest(&m->share, bytes);
}

enum status memory_admits(struct client *c, size_t more, struct error *error_r)
{
    size_t limit = (size_t)c->env->config->settings.client_memory_limit;
    look_at(c);
    tell_of(c);
    publish(c->env, BUDGET_STATEMENTS, statement_registry_bytes(pool_manager_statements(c->env->pools)));
    size_t bytes = memory_of(c) + more;
    if (limit && bytes > limit) {
        say_client(error_r, c, bytes);
        return STATUS_ERROR;
    }
    size_t excess = process_excess(c->env, more, 0);
    if (excess == 0)
        return STATUS_OK;
    if (more > process_limit(c->env) || (bytes >= OFFENDER_BYTES && bytes >= c->env->memory.largest &&
                                         budget_share_is_largest(&c->env->memory.share, bytes))) {
        say_process(error_r, c->env, bytes);
        return STATUS_ERROR;
    }
    if (bytes >= OFFENDER_BYTES && !helps(budget_largest(&c->env->shared->budget), excess)) {
        say_full(error_r, c->env); /* nobody will be ended who makes room for it */
        return STATUS_ERROR;
    }
    hurry(c->env); /* somebody else has more */
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
           c->request_us + IDLE_LOOK_US < now &&
           stream_queued(c->stream) == 0; /* notifications come unasked */
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
        if (!txn_commits(c) && (!most || memory_of(c) > memory_of(most)))
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

/* What can be made again; not if it would not help. */
static void evict(struct session_env *env, uint64_t now, size_t excess)
{
    struct session_memory *m = &env->memory;
    struct budget *b = &env->shared->budget;
    struct statement_registry *texts = pool_manager_statements(env->pools);
    if (now - m->evicted_us < EVICT_PERIOD_US ||
        budget_used(b, BUDGET_PLANS) + budget_used(b, BUDGET_STATEMENTS) < excess / OFFENDER_PART)
        return;
    m->evicted_us = now;
    plan_cache_limit(env->plans, 0);
    plan_cache_limit(env->plans, (size_t)env->config->settings.plan_cache_bytes);
    statement_registry_trim(texts, 0);
    statement_registry_forget_idle(texts);
    look_at_caches(env);
}

static void end_client(struct client *c, const struct error *e)
{
    struct session_env *env = c->env;
    log_warning("client %s:%d pid %u user \"%s\" database \"%s\" is ended: it takes %zu kB", c->peer.host,
                c->peer.port, c->pid, c->user ? c->user : "", c->database ? c->database : "",
                memory_of(c) >> 10);
    client_end(c, e);
    /* What it had is gone at once, lest another one is ended for it. */
    client_drop_memory(c);
    statement_registry_forget_idle(pool_manager_statements(env->pools));
    look_at_caches(env);
}

static void end_largest(struct session_env *env, struct client *most, size_t excess, uint64_t now)
{
    struct error e;
    struct session_memory *m = &env->memory;
    size_t bytes = most ? memory_of(most) : 0;
    if (!budget_share_is_largest(&m->share, bytes))
        return;
    if (helps(bytes, excess)) {
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
        if (txn_commits(c) || memory_of(c) <= limit)
            continue;
        say_client(&e, c, memory_of(c));
        end_client(c, &e);
    }
}

static void trim(struct session_env *env, uint64_t now)
{
    struct session_memory *m = &env->memory;
    struct statement_registry *registry = pool_manager_statements(env->pools);
    size_t all = budget_share_total(&m->share), texts = statement_registry_count(registry);
    m->peak_texts = texts > m->peak_texts ? texts : m->peak_texts;
    if (now - m->trimmed_us < TRIM_PERIOD_US)
        return;
    size_t part = m->falls ? TRIM_REST : 1;
    bool texts_fell = m->peak_texts >= texts + TRIM_TEXTS / part;
    m->falls = m->peak >= all + TRIM_BYTES / part || (m->falls && texts_fell);
    if (!m->falls)
        return;
    if (texts_fell) {
        statement_registry_trim(registry, 0);
        statement_registry_forget_idle(registry);
    }
    m->peak = all;
    m->peak_texts = texts;
    m->trimmed_us = now;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* Between dispatches nobody's text is in the scratch template. A long one's parse has left free pages in the heap, too. */
static void forget_text(struct session_env *env)
{
    struct template *t = &env->scratch_template;
    size_t before = template_bytes(t);
    template_shrink(t);
    env->memory.peak += before - template_bytes(t);
}

void memory_look(struct session_env *env)
{
    struct budget *b = &env->shared->budget;
    uint64_t now = loop_now_us(env->loop);
    env->memory.looked_us = now;
    forget_text(env);
    struct client *most = look_at_clients(env);
    statement_registry_trim(pool_manager_statements(env->pools),
                            (size_t)env->config->settings.plan_cache_bytes / REGISTRY_DERIVED);
    look_at_caches(env);
    enforce_client_limit(env);
    size_t all = budget_total(b);
    if (all > process_limit(env)) {
        evict(env, now, all - process_limit(env));
        size_t excess = process_excess(env, 0, budget_leaving(b));
        if (excess > 0 && (!most || most->state != CLIENT_CLOSING))
            end_largest(env, most, excess, now);
    }
    trim(env, now);
}
