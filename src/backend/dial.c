/*
 * Opening a connection: resolve, then one attempt after the other.
 *
 *     RESOLVING  -> CONNECTING [resolved]    there is something to try
 *     RESOLVING  -> FAILED     [resolved]    no name could be resolved
 *     CONNECTING -> CONNECTING [attempt_failed] the next address, or the next pass (prefer-standby)
 *     CONNECTING -> FAILED     [attempt_failed] the last one, or a refusal that ends it
 *     CONNECTING -> IDENTIFYING [connected]   logged in: who is it? (conn_ask.c)
 *     IDENTIFYING -> CONNECTED  [identified]        it may be used, and no other is to be compared with it
 *     IDENTIFYING -> CONNECTING [attempt_failed, next_candidate; asked: once more]
 *     CONNECTING, IDENTIFYING -> CONNECTED [choose] the best of those that may be written to
 *     RESOLVING, CONNECTING, IDENTIFYING -> FAILED [timed_out, attempt_failed]
 *
 * true in RESOLVING:   resolve is set, pq is not
 *         CONNECTING:  pq is set and watch waits for its socket, or the deferred step is due; or poll is set, and the
 *                      connection is with a helper thread
 *         IDENTIFYING: pq is not set; ask is, and has the connection
 *         FAILED:      why is set; nothing else is under way; done() comes from the deferred step
 *         CONNECTED:   only between the last poll and done(), in one callback
 *
 * Of several hosts the one that was last used for writing is tried first, those that fell silent last. Unless that one may
 * be written to still, all are looked at, and of those that may the one with the highest timeline is used: a former
 * primary that comes back believes that it is one.
 *
 * libpq would try several hosts by itself, but its non-blocking interface has no timeout: one host that
 * swallows packets would use up the time of all. So each address is an attempt with a PGconn of its own.
 *
 * After CONNECTION_OK libpq must not hold bytes that the server sent: they would be lost to whoever reads the
 * descriptor. The server sends nothing unasked after its first ReadyForQuery but asynchronous messages;
 * PQisBusy() makes libpq work off those that came along.
 *
 * PQconnectPoll() runs on a helper thread: what SCRAM costs is for the server to say (its iterations, RFC 5802), and libpq
 * computes it without a pause. A server that asks for a billion of them would stop a worker for minutes. When a
 * dial gives up meanwhile, the thread is left to its work, and counted: a shard with ABANDONED_MAX such threads is
 * not dialled.
 *
 * Not responsible for: pooling, retrying later.
 */
#include "backend/dial.h"

#include "base/hashmap.h"
#include "base/log.h"
#include "cancel_key.h"
#include "conn.h"
#include "conn_ask.h"
#include "connect_error.h"
#include "conninfo.h"
#include "helpers.h"
#include "identity.h"
#include "resolve.h"
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of one shard. Shards whose names fall on the same counter share it. */
#define ABANDONED_MAX      2
#define ABANDONED_COUNTERS 256
static atomic_uint abandoned[ABANDONED_COUNTERS];

/* What a helper thread works on. */
struct poll_load {
    PGconn *pq;
    PostgresPollingStatusType result;
    atomic_uint *counter; /* of its shard */
    atomic_bool
        given_up; /* the dial has, and it counts there. The counter orders nothing: it is a number only */
};

enum dial_state { DIAL_RESOLVING, DIAL_CONNECTING, DIAL_IDENTIFYING, DIAL_FAILED, DIAL_CONNECTED };

/* Of several hosts: how long one may take to be logged in at, so that one that is silent does not keep us from
 * the next. */
#define ATTEMPT_US        UINT64_C(2000000)
#define ATTEMPT_SILENT_US UINT64_C(500000) /* it was silent a moment ago */

struct dial {
    struct loop *loop;
    enum dial_state state;
    struct arena arena;
    struct conninfo conninfo;
    const char *shard;
    const char *key;   /* for identity.h */
    const char *attrs; /* target_session_attrs; NULL: by the number of hosts */
    const char
        *probe_host; /* only to see whether somebody answers, at this host's address; NULL: it is no probe */
    void (*done)(void *arg, struct backend_conn *conn, const struct error *why);
    void *arg;

    struct resolve *resolve;
    struct targets targets;
    size_t *order;             /* of targets: in which they are tried */
    size_t attempt, attempts;  /* attempts = addresses * passes */
    struct backend_conn *best; /* a candidate for writing, while others are still to be looked at */
    struct identity best_identity;
    char best_place[128];
    const char *user;
    struct begun begun;  /* of this attempt */
    uint64_t timeout_us; /* of the whole; 0: none */
    uint64_t deadline_us;
    struct loop_timer *timer;

    struct conn_ask *ask;
    bool asked_again; /* this attempt is the second one at its place */
    PGconn *pq;
    struct errand *poll; /* NULL: the connection is not with a helper thread */
    struct poll_load *load;
    atomic_uint *counter; /* of the shard, in abandoned[] */
    struct loop_watch *watch;
    struct deferred step;
    struct error why; /* of the last attempt */
};

static void dial_set_state(struct dial *d, enum dial_state to)
{
    static const unsigned legal[] = {
        [DIAL_RESOLVING] = 1u << DIAL_CONNECTING | 1u << DIAL_FAILED,
        [DIAL_CONNECTING] =
            1u << DIAL_CONNECTING | 1u << DIAL_IDENTIFYING | 1u << DIAL_FAILED | 1u << DIAL_CONNECTED,
        [DIAL_IDENTIFYING] = 1u << DIAL_CONNECTING | 1u << DIAL_FAILED | 1u << DIAL_CONNECTED,
    };
    assert(d->state < DIAL_FAILED && (legal[d->state] >> to) & 1);
    d->state = to;
}

/* --- the helper thread ------------------------------------------------------------------------ */

static void run_poll(void *arg)
{
    struct poll_load *load = arg;
    load->result = PQconnectPoll(load->pq);
}

static void free_load(void *arg)
{
    struct poll_load *load = arg;
    if (load->pq)
        PQfinish(load->pq);
    if (atomic_load_explicit(&load->given_up, memory_order_relaxed))
        atomic_fetch_sub_explicit(load->counter, 1, memory_order_relaxed);
    free(load);
}

static const struct errand_kind poll_kind = {.helpers = HELPER_DIAL, .run = run_poll, .free_load = free_load};

/* The connection goes, now or when the thread that has it is through. */
static void drop_connection(struct dial *d)
{
    if (d->poll) {
        atomic_fetch_add_explicit(d->counter, 1, memory_order_relaxed);
        atomic_store_explicit(&d->load->given_up, true, memory_order_relaxed);
        errand_forget(&d->poll);
        d->load = NULL;
    }
    if (d->pq)
        PQfinish(d->pq);
    d->pq = NULL;
    conn_ask_cancel(&d->ask);
}

/* Of a connection that nobody has used. */
static void close_unused(struct backend_conn **conn)
{
    if (*conn)
        backend_conn_set_clean(*conn, true);
    backend_conn_close(conn);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void dial_free(struct dial *d)
{
    resolve_cancel(&d->resolve);
    targets_free(&d->targets);
    loop_timer_destroy(&d->timer);
    loop_watch_destroy(&d->watch); /* before its socket closes */
    loop_undefer(d->loop, &d->step);
    drop_connection(d);
    close_unused(&d->best);
    arena_free(&d->arena);
    loop_doom(d->loop, d, NULL);
}

void dial_cancel(struct dial **d)
{
    if (*d)
        dial_free(*d);
    *d = NULL;
}

/* The dial is gone when done() is called: it may start the next one. */
static void finish(struct dial *d, struct backend_conn *conn)
{
    void (*done)(void *, struct backend_conn *, const struct error *) = d->done;
    void *arg = d->arg;
    struct error why = d->why;
    dial_free(d);
    done(arg, conn, conn ? NULL : &why);
}

static void fail(struct dial *d)
{
    dial_set_state(d, DIAL_FAILED);
    loop_watch_destroy(&d->watch);
    loop_timer_stop(d->timer);
    loop_defer(d->loop, &d->step);
}

/* --- attempts --------------------------------------------------------------------------------- */

static const char *attrs_of_attempt(const struct dial *d)
{
    if (!d->attrs)
        return d->targets.hosts > 1 ? "read-write" : NULL;
    if (strcmp(d->attrs, "prefer-standby") != 0)
        return d->attrs;
    return d->attempt < d->targets.count ? "standby" : NULL;
}

static void log_notice(void *arg, const PGresult *result)
{
    (void)arg;
    log_debug("a server said while connecting: %s", PQresultErrorMessage(result));
}

static const struct target *target_of_attempt(const struct dial *d)
{
    return &d->targets.items[d->order[d->attempt % d->targets.count]];
}

static void place_of(const struct target *t, char place_r[128])
{
    snprintf(place_r, 128, "%s port %s", t->hostaddr ? t->hostaddr : t->host, t->port ? t->port : "5432");
}

/* One place after the other shares what is left of the time. */
static uint64_t attempt_time_us(const struct dial *d)
{
    uint64_t now = loop_now_us(d->loop), left = d->deadline_us > now ? d->deadline_us - now : 0;
    uint64_t share = d->timeout_us > 0 ? left / (d->attempts - d->attempt) : UINT64_MAX, most = ATTEMPT_US;
    char place[128];
    if (d->targets.hosts <= 1)
        return share;
    place_of(target_of_attempt(d), place);
    if (identity_is_silent(place))
        most = ATTEMPT_SILENT_US;
    return share < most ? share : most;
}

static void start_attempt(struct dial *d)
{
    const struct target *target = target_of_attempt(d);
    struct conninfo info;
    if (!d->probe_host)
        defaults_begin(d->key, d->user, &d->begun);
    conninfo_with_target(&info, &d->conninfo, target, attrs_of_attempt(d));
    d->pq = PQconnectStartParams(info.keywords, info.values, 0);
    if (!d->pq)
        abort(); /* out of memory, as everywhere */
    PQsetErrorVerbosity(d->pq, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(d->pq, log_notice, NULL);
    cancel_key_watch(d->pq);
    uint64_t time_us = attempt_time_us(d);
    if (time_us != UINT64_MAX)
        loop_timer_start(d->timer, time_us);
    loop_defer(d->loop, &d->step);
}

/* A host that answers no is believed; one that cannot take connections now is as good as absent (as libpq
 * does it). */
static bool try_next(const struct dial *d)
{
    return strcmp(d->why.sqlstate, SQLSTATE_CONNECTION_FAILURE) == 0 ||
           strcmp(d->why.sqlstate, SQLSTATE_PROTOCOL_VIOLATION) == 0 || strcmp(d->why.sqlstate, "57P03") == 0;
}

static void use(struct dial *d, struct backend_conn *conn)
{
    dial_set_state(d, DIAL_CONNECTED);
    loop_watch_destroy(&d->watch);
    finish(d, conn);
}

/* All have been looked at. Meanwhile another thread may have seen a later timeline. */
static void choose(struct dial *d)
{
    struct backend_conn *conn = d->best;
    d->best = NULL;
    if (identity_accept(d->key, d->shard, d->best_place, &d->best_identity, &d->why) != STATUS_OK) {
        close_unused(&conn);
        fail(d);
        return;
    }
    identity_set_good(d->key, d->best_place);
    use(d, conn);
}

/* Why is set. */
static void attempt_failed(struct dial *d)
{
    loop_watch_destroy(&d->watch);
    loop_undefer(d->loop, &d->step);
    drop_connection(d);
    d->asked_again = false;
    d->attempt++;
    if (d->attempt == d->attempts || !try_next(d)) {
        if (d->best)
            choose(d);
        else
            fail(d);
        return;
    }
    log_debug("%s; trying the next address", d->why.message);
    dial_set_state(d, DIAL_CONNECTING);
    start_attempt(d);
}

static void socket_ready(void *arg, int what);

static void wait_for(struct dial *d, int what)
{
    if (!d->watch)
        d->watch = loop_watch_create(d->loop, PQsocket(d->pq), socket_ready, d);
    if (loop_watch_set(d->watch, what))
        return;
    (void)error_set(&d->why, SQLSTATE_NO_RESOURCES,
                    "could not connect to shard \"%s\": could not wait for its socket: %s", d->shard,
                    strerror(errno));
    attempt_failed(d);
}

/* --- who is it? ------------------------------------------------------------------------------- */

static bool wants_writable(const struct dial *d)
{
    const char *attrs = attrs_of_attempt(d);
    return attrs && (strcmp(attrs, "read-write") == 0 || strcmp(attrs, "primary") == 0);
}

/* The best so far is kept while the others are looked at. */
static void next_candidate(struct dial *d, struct backend_conn *conn, const struct identity *found,
                           const char *place)
{
    if (d->best && d->best_identity.timeline >= found->timeline) {
        log_warning("shard \"%s\": the servers at %s and %s both take writes; the former is used", d->shard,
                    d->best_place, place);
        close_unused(&conn);
    } else {
        close_unused(&d->best);
        d->best = conn;
        d->best_identity = *found;
        snprintf(d->best_place, sizeof(d->best_place), "%s", place);
    }
    d->asked_again = false;
    if (++d->attempt == d->attempts) {
        choose(d);
        return;
    }
    dial_set_state(d, DIAL_CONNECTING);
    start_attempt(d);
}

static void identified(struct dial *d, struct backend_conn *conn, const struct identity *found)
{
    char place[128];
    place_of(target_of_attempt(d), place);
    identity_set_silent(place, false);
    if (identity_accept(d->key, d->shard, place, found, &d->why) != STATUS_OK) {
        close_unused(&conn);
        attempt_failed(d);
    } else if (d->targets.hosts > 1 && wants_writable(d) && (d->best || !identity_is_good(d->key, place))) {
        next_candidate(d, conn, found, place);
    } else {
        use(d, conn);
    }
}

/* What a session has of its own, and a client is told. */
static uint64_t hash_of_told(const struct dial *d, const struct backend_conn *conn)
{
    static const char *const names[] = {"client_encoding",
                                        "DateStyle",
                                        "IntervalStyle",
                                        "TimeZone",
                                        "standard_conforming_strings",
                                        "default_transaction_read_only"};
    uint64_t hash = hash_bytes64(d->begun.isolation, strlen(d->begun.isolation));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = backend_conn_parameter(conn, names[i]);
        hash = hash * 31 + (value ? hash_bytes64(value, strlen(value)) : 1);
    }
    return hash;
}

static void read_begun(struct dial *d, struct backend_conn *conn, const struct rows *rows)
{
    const char *isolation = rows_text(rows, 0, 3), *settings = rows_text(rows, 0, 4);
    char place[128];
    place_of(target_of_attempt(d), place);
    snprintf(d->begun.isolation, sizeof d->begun.isolation, "%s", isolation ? isolation : "");
    d->begun.told = (uint32_t)(hash_of_told(d, conn) >> 32) | 1; /* never 0 */
    defaults_compare(&d->begun, place,
                     (uint64_t)d->begun.told * 31 +
                         hash_bytes64(settings ? settings : "", settings ? strlen(settings) : 0));
}

/* A server that does not let us ask is taken as it is. */
static void read_identity(struct dial *d, struct backend_conn *conn, const struct rows *rows,
                          struct identity *found_r)
{
    *found_r = (struct identity){0};
    if (!rows->ok || rows->n_rows != 1 || rows->n_columns != IDENTITY_COLUMNS) {
        log_debug("shard \"%s\" does not say who it is: %s", d->shard,
                  rows->ok ? "it answers something else" : rows->error->message);
        return;
    }
    const char *in_recovery = rows_text(rows, 0, 0), *system_id = rows_text(rows, 0, 1),
               *timeline = rows_text(rows, 0, 2);
    read_begun(d, conn, rows);
    snprintf(found_r->system_id, sizeof(found_r->system_id), "%s", system_id ? system_id : "");
    if (in_recovery && in_recovery[0] == 'f' && timeline)
        found_r->timeline = (uint32_t)strtoul(timeline, NULL, 16);
}

static void ask_failed(struct dial *d, const struct error *why)
{
    d->why = *why;
    if (strcmp(why->sqlstate, SQLSTATE_PROTOCOL_VIOLATION) != 0)
        (void)error_set(&d->why, why->sqlstate, "could not connect to shard \"%s\": %s", d->shard,
                        why->message);
    attempt_failed(d);
}

static void asked(void *arg, enum conn_asked how, struct backend_conn *conn, const struct rows *rows,
                  const struct error *why)
{
    struct dial *d = arg;
    struct identity found;
    d->ask = NULL;
    switch (how) {
    case CONN_ANSWERED:
        read_identity(d, conn, rows, &found);
        backend_conn_set_begun(conn, &d->begun);
        identified(d, conn, &found);
        return;
    case CONN_CHANGED: /* a reload, or a promotion: what the login reported is not what it is */
        if (!d->asked_again) {
            d->asked_again = true;
            dial_set_state(d, DIAL_CONNECTING);
            start_attempt(d);
            return;
        }
        break;
    case CONN_LOST:
        break;
    }
    ask_failed(d, why);
}

static void connected(struct dial *d)
{
    PGconn *pq = d->pq;
    PQsetnonblocking(pq, 1);
    cancel_key_unwatch(pq);
    (void)PQisBusy(pq);
    PQsetErrorVerbosity(pq, PQERRORS_DEFAULT);
    loop_watch_destroy(&d->watch); /* the socket is the server's to wait for */
    d->pq = NULL;
    struct backend_conn *conn =
        backend_conn_create(pq, d->shard, d->timeout_us, conninfo_verifies_name(&d->conninfo));
    dial_set_state(d, DIAL_IDENTIFYING);
    if (d->probe_host)
        use(d, conn);
    else
        d->ask = conn_ask_start(d->loop, conn, identity_sql, asked, d);
}

static void polled(void *arg)
{
    struct dial *d = arg;
    PostgresPollingStatusType result = d->load->result;
    d->pq = d->load->pq;
    d->load->pq = NULL;
    d->load = NULL;
    errand_forget(&d->poll);
    switch (result) {
    case PGRES_POLLING_READING:
        wait_for(d, WATCH_READ);
        return;
    case PGRES_POLLING_WRITING:
        wait_for(d, WATCH_WRITE);
        return;
    case PGRES_POLLING_OK:
        connected(d);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        break;
    }
    connect_error_parse(d->shard, PQerrorMessage(d->pq), &d->why);
    attempt_failed(d);
}

/* The watch goes before each poll: libpq may close the socket and open another one, maybe under the same
   number, of which the kernel's interest list would know nothing. */
static void poll_connection(struct dial *d)
{
    struct poll_load *load = xcalloc(1, sizeof *load);
    loop_watch_destroy(&d->watch);
    load->pq = d->pq;
    load->counter = d->counter;
    atomic_init(&load->given_up, false);
    d->poll = errand_start(d->loop, &poll_kind, load, polled, d, &d->why);
    if (!d->poll) {
        free(load);
        attempt_failed(d);
        return;
    }
    d->load = load;
    d->pq = NULL;
}

static void socket_ready(void *arg, int what)
{
    (void)what;
    poll_connection(arg);
}

/* At the end of the turn in which an attempt was started, or the dial failed. */
static void take_step(void *arg)
{
    struct dial *d = arg;
    if (d->state == DIAL_FAILED)
        finish(d, NULL);
    else if (PQstatus(d->pq) == CONNECTION_BAD)
        poll_connection(d); /* PQconnectStart failed: this gives its error */
    else
        wait_for(d, WATCH_WRITE); /* as if the last poll had wanted to write (libpq's manual) */
}

static void timed_out(void *arg)
{
    struct dial *d = arg;
    (void)error_set(&d->why, SQLSTATE_CONNECTION_FAILURE,
                    "could not connect to shard \"%s\": timeout expired", d->shard);
    if (d->state == DIAL_RESOLVING) {
        resolve_cancel(&d->resolve);
        error_detail(&d->why, "Its host name could not be resolved in time.");
        fail(d);
        return;
    }
    const struct target *t = target_of_attempt(d);
    char place[128];
    place_of(t, place);
    identity_set_silent(place, true);
    error_detail(&d->why, "Host \"%s\"%s%s%s did not answer in time.", t->host, t->hostaddr ? " (" : "",
                 t->hostaddr ? t->hostaddr : "", t->hostaddr ? ")" : "");
    attempt_failed(d);
}

/* --- beginning -------------------------------------------------------------------------------- */

static int rank(const struct dial *d, const struct target *t)
{
    char place[128];
    place_of(t, place);
    return identity_is_silent(place) ? 2 : identity_is_good(d->key, place) ? 0 : 1;
}

/* The good one, the others as they are written, the silent ones. */
static void set_order(struct dial *d)
{
    size_t n = 0;
    d->order = arena_alloc(&d->arena, (d->targets.count + 1) * sizeof(*d->order));
    for (int r = 0; r <= 2; r++)
        for (size_t i = 0; i < d->targets.count; i++)
            if (rank(d, &d->targets.items[i]) == r)
                d->order[n++] = i;
    if (n < d->targets.count) /* a rank has changed meanwhile */
        for (n = 0; n < d->targets.count; n++)
            d->order[n] = n;
}

static void resolved(void *arg, struct targets *targets)
{
    struct dial *d = arg;
    d->resolve = NULL;
    d->targets = *targets;
    if (d->targets.why[0] != '\0')
        log_debug("shard \"%s\": %s", d->shard, d->targets.why);
    if (d->targets.count == 0) {
        (void)error_set(&d->why, SQLSTATE_CONNECTION_FAILURE, "could not connect to shard \"%s\": %s",
                        d->shard, d->targets.why);
        fail(d);
        return;
    }
    if (d->probe_host) { /* an address was asked for, but a certificate is made out to a name */
        free(d->targets.items[0].host);
        d->targets.items[0].host = xstrdup(d->probe_host);
    }
    if (atomic_load_explicit(d->counter, memory_order_relaxed) >= ABANDONED_MAX) {
        (void)error_set(&d->why, SQLSTATE_NO_RESOURCES,
                        "could not connect to shard \"%s\": earlier logins still compute", d->shard);
        error_detail(&d->why, "The server asks for more iterations of SCRAM than can be done in time.");
        error_hint(&d->why, "Check scram_iterations, and whether this is the right server.");
        fail(d);
        return;
    }
    bool two_passes = d->attrs && strcmp(d->attrs, "prefer-standby") == 0;
    d->attempts = d->targets.count * (two_passes ? 2 : 1);
    set_order(d);
    dial_set_state(d, DIAL_CONNECTING);
    start_attempt(d);
}

struct dial *dial_start(struct loop *loop, const struct dial_params *params,
                        void (*done)(void *arg, struct backend_conn *conn, const struct error *why),
                        void *arg)
{
    const struct shard_def *shard = params->shard;
    struct dial *d = xcalloc(1, sizeof(*d));
    d->loop = loop;
    d->state = DIAL_RESOLVING;
    d->done = done;
    d->arg = arg;
    d->step = (struct deferred){.run = take_step, .arg = d};
    arena_init(&d->arena);
    conninfo_build(&d->conninfo, &d->arena, params);
    d->shard = arena_strdup(&d->arena, shard->name);
    d->counter = &abandoned[hash_bytes64(shard->name, strlen(shard->name)) % ABANDONED_COUNTERS];
    d->key = arena_printf(&d->arena, "%s\n%s\n%s\n%s", shard->name, shard->host ? shard->host : "",
                          shard->port ? shard->port : "", shard->dbname ? shard->dbname : "");
    d->user = arena_strdup(&d->arena, params->user ? params->user : "");
    if (params->probe)
        d->probe_host = arena_strdup(&d->arena, backend_conn_name(params->probe));
    if (d->probe_host)
        d->attrs = "any";
    else if (shard->target_session_attrs && *shard->target_session_attrs)
        d->attrs = arena_strdup(&d->arena, shard->target_session_attrs);
    d->timer = loop_timer_create(loop, timed_out, d);
    d->timeout_us = params->timeout_us             ? params->timeout_us
                    : shard->connect_timeout_s > 0 ? (uint64_t)shard->connect_timeout_s * 1000000
                                                   : params->settings->server_connect_timeout_us;
    d->deadline_us = loop_now_us(loop) + d->timeout_us;
    if (d->timeout_us > 0)
        loop_timer_start(d->timer, d->timeout_us);
    const struct backend_conn *place = params->probe;
    d->resolve = place ? resolve_start(loop, backend_conn_host(place), backend_conn_port(place), resolved, d)
                       : resolve_start(loop, shard->host, shard->port, resolved, d);
    return d;
}

/* --- once per process ------------------------------------------------------------------------- */

/* libpq reads defaults of its parameters from the environment: where to connect, with which certificates, what a
 * session begins with. The configuration alone says that. */
static void forget_environment(void)
{
    char name[256];
    size_t i = 0;
    while (environ[i]) {
        size_t len = strcspn(environ[i], "=");
        if (strncmp(environ[i], "PG", 2) != 0 || len >= sizeof(name)) {
            i++;
            continue;
        }
        memcpy(name, environ[i], len);
        name[len] = '\0';
        unsetenv(name); /* the next one takes its place */
    }
}

void dial_init(struct dns *dns)
{
    resolve_init(dns);
    forget_environment();
    identity_init();
    defaults_init();
    helpers_init();
}

void dial_deinit(void)
{
    helpers_deinit();
    defaults_deinit();
    identity_deinit();
}
