/*
 * One run of a script: clients, a worker's session environment, model shards. The same script with one server instead of
 * proxy and shards is the oracle.
 *
 * Checked in every run: every client is answered; what it was told stands (client.c); at the end nothing is open, prepared or
 * locked, and idle servers are as the proxy believes. Without faults, where clients do not meet: each hears, byte for byte of what
 * matters, what the oracle says, and the rows are the same.
 */
#include "model.h"

#include "backend/pool.h"
#include "base/log.h"
#include "session/client.h"

#include <unistd.h>

enum { PATIENCE_US = 120000000, QUIET_US = 40000000 };

static struct loop *loop;
static struct session_env *env;
static struct session_shared *shared;
static struct talker *clients[MAX_CLIENTS];
static unsigned n_clients;
static const char *const tables[] = {"t1", "t2", "t3", "r1", "h1"};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

/* --- the proxy -------------------------------------------------------------------------------- */

static struct config *load_config(const struct script *s)
{
    char path[] = "/tmp/pgunison-conversation-XXXXXX";
    struct problems problems;
    int fd = mkstemp(path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f)
        abort();
    fprintf(f,
            "[pgunison]\nauth_type = any\nadmin_users = admin\nuser = nobody\ndefault_pool_size = "
            "%u\nreserve_pool_size = 0\n"
            "server_check_delay = 1h\n%s\n",
            s->pool ? s->pool : 3, s->setting ? s->setting : "");
    fprintf(f, "[database app]\nshards = s0 s1 s2\nhome = s0\nbuckets = 64\n"
               "[tables app]\nt1 = hash(id)\nt2 = hash(id)\nt3 = hash(id)\nr1 = reference\n");
    for (int i = 0; i < MAX_SHARDS; i++)
        fprintf(f, "[shard s%d]\nhost = 127.0.0.1\nport = %d\ndbname = app\nuser = app\n", i, 5501 + i);
    fclose(f);
    struct config *config = config_load(path, &problems);
    unlink(path);
    if (!config) {
        for (size_t i = 0; i < problems.count; i++)
            printf("%s\n", problems.items[i].text);
        abort();
    }
    problems_free(&problems);
    return config;
}

static void accept_pipe(struct pipe *p)
{
    struct peer_address peer = {.host = "127.0.0.1", .port = pipe_fd(p)};
    atomic_fetch_add(&shared->clients, 1);
    client_accept(env, pipe_fd(p), &peer);
}

static void route_cancel(void *arg, uint32_t pid, uint32_t secret)
{
    client_cancel(arg, pid, secret);
}

static void fault_of_client(struct session *s, enum fault_kind kind)
{
    (void)s;
    struct talker *t = clients[world.steps % n_clients];
    if (kind == CANCEL)
        talker_cancel(t);
    else
        talker_leave(t);
}

static struct pool_limits *limits;
static struct mailbox *mailbox;

static void proxy_begin(const struct script *s)
{
    static const struct script *of; /* the same for all runs of a script */
    static struct config *config;
    if (of != s) {
        if (config)
            config_unref(&config);
        config = load_config(s);
        of = s;
    }
    loop = loop_create(POLLER_EPOLL);
    shared = xcalloc(1, sizeof *shared);
    env = xcalloc(1, sizeof *env);
    session_shared_init(shared);
    session_env_init(env, loop, 0, config, shared);
    mailbox = mailbox_create(loop, NULL);
    limits = pool_limits_create();
    env->pools = pool_manager_create(loop, 0, mailbox, limits, config);
    env->control = asker_create(loop, config);
    env->route_cancel = route_cancel;
    env->route_cancel_arg = env;
    talker_accept = accept_pipe;
    session_fault = fault_of_client;
}

static void proxy_end(void)
{
    talker_accept = NULL;
    session_fault = NULL;
    asker_destroy(&env->control);
    pool_manager_destroy(&env->pools);
    mailbox_destroy(&mailbox);
    session_env_deinit(env);
    pool_limits_destroy(&limits);
    session_shared_deinit(shared);
    free(env);
    free(shared);
    loop_destroy(&loop);
}

/* --- checks ----------------------------------------------------------------------------------- */

/* An idle server: nothing is open, and its variables are those that the proxy takes it to have. */
static void check_server(void *arg, const struct pool_stats *pool, const struct server *server)
{
    struct session *s = reach_session(backend_conn_fd(server->conn));
    unsigned *n = arg;
    (*n)++;
    if (!s || !session_alive(s))
        return; /* lost, and not noticed yet */
    if (server->ops || !session_idle(s)) {
        world_fail("a server of %s is not idle", pool->shard);
        return;
    }
    if (server->vars && server->vars->unknown)
        return;
    for (size_t i = 0; i < s->now.n; i++) {
        const char *name = s->now.items[i].name, *value = s->now.items[i].value;
        const char *believed = server->vars ? varset_get(server->vars, name) : NULL;
        if (!believed && strcmp(name, "application_name") == 0)
            continue;
        if (!believed || strcmp(believed, value) != 0)
            world_fail("a server of %s has %s = %s, which the proxy takes for %s", pool->shard, name, value,
                       believed ? believed : "not set");
    }
    for (unsigned i = 0; server->vars && i < server->vars->n; i++) {
        const char *name = server->vars->vars[i].name, *value = server->vars->vars[i].value;
        if (strcmp(name, "application_name") != 0 && strcmp(value, session_variable(s, name)) != 0)
            world_fail("a server of %s has not %s = %s, as the proxy takes it", pool->shard, name, value);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All shards' rows in order; of reference tables one copy, if all are the same. */
static const char *dump_all(const char *const *shards, unsigned n)
{
    struct buf all, sorted;
    const char *lines[4096];
    size_t n_lines = 0;
    buf_init(&all);
    buf_init(&sorted);
    for (unsigned i = 0; i < n; i++)
        shard_dump(shard_by_name(shards[i]), &all);
    char *text =
        arena_strndup(&world.arena, buf_len(&all) ? (const char *)buf_head(&all) : "", buf_len(&all));
    for (char *line = strtok(text, "\n"); line && n_lines < 4096; line = strtok(NULL, "\n"))
        lines[n_lines++] = line;
    qsort(lines, n_lines, sizeof lines[0], compare_lines);
    for (size_t i = 0; i < n_lines; i++) {
        size_t copies = 1;
        while (i + copies < n_lines && strcmp(lines[i], lines[i + copies]) == 0)
            copies++;
        bool reference = strncmp(lines[i], "r1 ", 3) == 0;
        if (copies != (reference ? n : 1))
            world_fail("the row %s is there %zu times", lines[i], copies);
        buf_printf(&sorted, "%s\n", lines[i]);
        i += copies - 1;
    }
    const char *result = arena_strndup(&world.arena, buf_len(&sorted) ? (const char *)buf_head(&sorted) : "",
                                       buf_len(&sorted));
    buf_free(&all);
    buf_free(&sorted);
    return result;
}

/* --- the oracle ------------------------------------------------------------------------------- */

struct said {
    struct talker *to;
    struct slice bytes;
};

static void oracle_said(void *arg, uint64_t n)
{
    struct said *x = arg;
    (void)n;
    talker_feed(x->to, x->bytes.data, x->bytes.len);
}

static void oracle_out(void *arg, const uint8_t *bytes, size_t n)
{
    struct said *x = arena_alloc(&world.arena, sizeof *x);
    *x = (struct said){arg, slice_of(arena_strndup(&world.arena, (const char *)bytes, n), n)};
    world_at(world_latency(), oracle_said, x, 0);
}

static void oracle_ended(void *arg)
{
    (void)arg;
}

static void run_oracle(const struct script *s, char *transcripts[MAX_CLIENTS], char **rows_r)
{
    static const char *const names[] = {"one"};
    world_begin(1, false);
    struct shard *one = shard_create("one");
    for (size_t i = 0; i < N_TABLES; i++)
        shard_create_table(one, tables[i]);
    struct loop *none = loop_create(POLLER_EPOLL);
    struct talker *each[MAX_CLIENTS];
    for (unsigned i = 0; i < s->n_clients; i++) {
        each[i] = talker_create(i, s->lines[i], false);
        talker_direct(each[i], session_create(one, "app", oracle_out, oracle_ended, each[i]));
    }
    for (unsigned i = 0; i < s->n_clients; i++)
        talker_start(each[i]);
    while (!world.failed && loop_turn(none, world.now_us + PATIENCE_US))
        ;
    for (unsigned i = 0; i < s->n_clients; i++) {
        if (!talker_done(each[i]))
            world_fail("the oracle does not answer client %u: %s", i, talker_transcript(each[i]));
        transcripts[i] = xstrdup(talker_transcript(each[i]));
    }
    if (world.failed) {
        printf("%s: %s\n", s->name, world.why);
        fflush(stdout);
        abort();
    }
    *rows_r = xstrdup(dump_all(names, 1));
    loop_destroy(&none);
    talkers_forget();
    shards_forget();
    world_end();
}

/* --- the resolver ----------------------------------------------------------------------------- */

enum { SWEEP_US = 1000000, RESOLVE_AFTER_US = 5000000 };

static bool owned(const char *txid)
{
    return session_owns_txid(shared, txid);
}

static void sweep(void *arg, uint64_t n)
{
    (void)arg;
    (void)n;
    shards_resolve(RESOLVE_AFTER_US, owned);
    world_at(SWEEP_US, sweep, NULL, 0);
}

/* --- a run ------------------------------------------------------------------------------------ */

static bool all_done(void)
{
    for (unsigned i = 0; i < n_clients; i++)
        if (!talker_done(clients[i]))
            return false;
    return true;
}

static void turn_for(uint64_t us)
{
    uint64_t until = world.now_us + us;
    while (loop_turn(loop, until))
        ;
    if (world.now_us < until)
        world.now_us = until;
}

static const char *first_difference(const char *a, const char *b)
{
    size_t i = 0, line = 0;
    static char text[800];
    while (a[i] && a[i] == b[i]) {
        if (a[i] == '\n')
            line = i + 1;
        i++;
    }
    snprintf(text, sizeof text, "\n  the oracle: %.*s\n  the proxy:  %.*s", (int)strcspn(a + line, "\n"),
             a + line, (int)strcspn(b + line, "\n"), b + line);
    return text;
}

void run_script(const struct script *s, uint64_t seed, const struct fault *faults, unsigned n_faults,
                bool by_chance, bool trace)
{
    static const char *const names[] = {"s0", "s1", "s2"};
    static const struct script *known;
    static char *expected[MAX_CLIENTS], *expected_rows;
    bool compares = n_faults == 0 && s->apart;
    if (compares && known != s) {
        for (unsigned i = 0; known && i < known->n_clients; i++)
            free(expected[i]);
        free(expected_rows);
        run_oracle(s, expected, &expected_rows);
        known = s;
    }
    world_begin(seed, trace);
    world.by_chance = by_chance;
    world.n_faults = n_faults;
    if (n_faults)
        memcpy(world.faults, faults, n_faults * sizeof *faults);
    for (int i = 0; i < MAX_SHARDS; i++) {
        struct shard *d = shard_create(names[i]);
        for (size_t k = 0; k < N_TABLES; k++)
            if (i == 0 || strcmp(tables[k], "h1") != 0)
                shard_create_table(d, tables[k]);
    }
    proxy_begin(s);
    n_clients = s->n_clients;
    for (unsigned i = 0; i < n_clients; i++) {
        clients[i] = talker_create(i, s->lines[i], true);
        accept_pipe(talker_pipe(clients[i]));
        talker_start(clients[i]);
    }
    world_at(SWEEP_US, sweep, NULL, 0);
    uint64_t until = world.now_us + PATIENCE_US;
    while (!world.failed && !all_done() && loop_turn(loop, until))
        ;
    for (unsigned i = 0; i < n_clients && !world.failed; i++)
        if (!talker_done(clients[i]))
            world_fail("client %u is not answered: %s", i, talker_transcript(clients[i]));
    world.calm = true;
    turn_for(1000000); /* whatever comes behind the answers, comes to the client, too */
    for (unsigned i = 0; i < n_clients && compares; i++)
        if (strcmp(expected[i], talker_transcript(clients[i])) != 0)
            world_fail("client %u:%s", i, first_difference(expected[i], talker_transcript(clients[i])));
    for (unsigned i = 0; i < n_clients; i++)
        talker_leave(clients[i]);
    turn_for(QUIET_US);
    unsigned servers = 0;
    pool_manager_each_server(env->pools, check_server, &servers);
    for (unsigned i = 0; i < n_clients && !world.failed; i++)
        talker_check(clients[i]);
    if (!world.failed)
        shards_check_idle();
    if (!world.failed && n_faults == 0 && servers == 0)
        world_fail("no server is left to be looked at");
    const char *rows = dump_all(names, MAX_SHARDS); /* each once, those of the reference table everywhere */
    if (compares && !world.failed && strcmp(expected_rows, rows) != 0)
        world_fail("rows:%s", first_difference(expected_rows, rows));
    client_close_all(env, true);
    turn_for(1000000);
    proxy_end();
    talkers_forget();
    shards_forget();
    reach_forget();
    world_end();
}
