/*
 * From accept to the first ReadyForQuery: startup packet, TLS, cancel requests, authentication, and the
 * welcome: the parameters that the home shard reports, which the first client of a user has to wait for and
 * the worker then remembers.
 */
#include "session.h"

#include "base/log.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

/* fold: names of parameters do not differ by case; those of users do, as in PostgreSQL. */
static bool in_list(const char *list, const char *name, bool fold)
{
    size_t n = strlen(name);
    while (list && *list) {
        while (*list == ',' || isspace((unsigned char)*list))
            list++;
        size_t len = strcspn(list, ", \t");
        if (len == n && (fold ? strncasecmp(list, name, n) : strncmp(list, name, n)) == 0)
            return true;
        list += len;
    }
    return false;
}

static enum status check_database(struct client *c, struct error *error_r)
{
    if (c->console) {
        if (!c->admin && !in_list(c->config->settings.stats_users, c->user, false))
            return error_set(error_r, SQLSTATE_INVALID_AUTHORIZATION, "user \"%s\" may not use the console",
                             c->user);
        return STATUS_OK;
    }
    c->db = topology_database(&c->config->topology, c->database);
    if (!c->db)
        return error_set(error_r, SQLSTATE_UNKNOWN_DATABASE, "database \"%s\" does not exist", c->database);
    if (session_database_is(&c->env->shared->databases, DATABASE_DISABLED, c->database)) {
        c->db = NULL;
        return error_set(error_r, "57P03", "database \"%s\" is disabled", c->database);
    }
    return STATUS_OK;
}

/* --- the welcome ------------------------------------------------------------------------------ */

static const char *const reported_names[] = {
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
};

static const char isolation_name[] = "default_transaction_isolation"; /* reported to us only */

static struct slice welcome_key(struct client *c, struct buf *b)
{
    buf_clear(b);
    buf_cstr(b, c->database);
    buf_str(b, c->user);
    return buf_slice(b);
}

struct welcome {
    struct varset *reported; /* and the isolation level, which clients are not told */
    uint32_t told;
};

static void free_welcome(void *p)
{
    struct welcome *w = p;
    varset_unref(&w->reported);
    free(w);
}

void login_forget_welcomes(struct session_env *env)
{
    hashmap_free(&env->welcomes, free_welcome);
    hashmap_init(&env->welcomes);
    env->welcomes_version = defaults_version();
}

static struct welcome *welcome_find(struct client *c)
{
    if (c->env->welcomes_version != defaults_version())
        login_forget_welcomes(c->env);
    return hashmap_get(&c->env->welcomes, welcome_key(c, &c->env->scratch2));
}

static void welcome_add(struct client *c, struct welcome *w, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    struct varset *with = vars_with(c, w->reported, name, value);
    varset_unref(&w->reported);
    w->reported = with;
}

static struct welcome *welcome_remember(struct client *c, struct server *s)
{
    struct welcome *w = xcalloc(1, sizeof *w);
    w->reported = varset_empty();
    w->told = s->begun->told;
    for (size_t i = 0; i < sizeof reported_names / sizeof reported_names[0]; i++)
        welcome_add(c, w, reported_names[i], backend_conn_parameter(s->conn, reported_names[i]));
    welcome_add(c, w, isolation_name, s->begun->isolation);
    struct welcome *old = hashmap_put(&c->env->welcomes, welcome_key(c, &c->env->scratch2), w);
    if (old)
        free_welcome(old);
    return w;
}

/* What the client's own startup packet changes of it. */
static void report_startup(struct client *c, struct startup_param *params, size_t n)
{
    static const char *const settable[] = {"application_name", "client_encoding", "DateStyle",
                                           "IntervalStyle", "TimeZone"};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < sizeof settable / sizeof settable[0]; j++)
            if (strcasecmp(params[i].name, settable[j]) == 0 && j < 2)
                vars_note_reported(c, settable[j], params[i].value);
}

static void welcome_send(struct client *c)
{
    struct buf *b = client_scratch(c);
    for (size_t i = 0; c->reported && i < c->reported->n; i++)
        if (strcmp(c->reported->vars[i].name, isolation_name) != 0)
            message_parameter_status(b, c->reported->vars[i].name, c->reported->vars[i].value);
    cancel_register(c);
    message_backend_key(b, c->pid, c->secret);
    client_send(c, b);
    c->state = CLIENT_READY;
    c->run = RUN_NONE;
    if (c->config->settings.log_connections)
        log_info("client %s:%d pid %u user \"%s\" database \"%s\" connected", c->peer.host, c->peer.port,
                 c->pid, c->user, c->database);
    client_ready(c);
    client_resume(c);
}

static void apply_welcome(struct client *c, const struct welcome *welcome)
{
    struct varset *own = c->reported;
    c->reported = varset_ref(welcome->reported);
    c->began = varset_ref(welcome->reported);
    c->told = welcome->told;
    for (size_t i = 0; own && i < own->n; i++)
        vars_note_reported(c, own->vars[i].name, own->vars[i].value);
    varset_unref(&own);
    vars_apply_reported(c);
}

/* Authenticated. DISPATCH_AGAIN while the first server is awaited. */
static enum dispatch login_welcome(struct client *c)
{
    struct error e;
    struct shard_set home;
    if (c->console) {
        vars_note_reported(c, "server_version", PGUNISON_VERSION "/pgunison");
        vars_note_reported(c, "client_encoding", "UTF8");
        vars_note_reported(c, "server_encoding", "UTF8");
        vars_note_reported(c, "DateStyle", "ISO");
        vars_note_reported(c, "TimeZone", "GMT");
        vars_note_reported(c, "standard_conforming_strings", "on");
        vars_note_reported(c, "is_superuser", "on");
        welcome_send(c);
        return DISPATCH_DONE;
    }
    assert(c->db);
    struct welcome *known = welcome_find(c);
    /* Its own variables are tried where they will be used: a bad one ends the login, as on a server. Who has asked for
       a server before another client's told what it says must still take it, and give it back. */
    if (!known || (c->vars && c->vars->n > 1) || c->n_links > 0) {
        shard_set_clear(&home);
        shard_set_add(&home, c->db->home);
        switch (links_acquire(c, &home, &e)) {
        case ACQUIRE_WAIT:
            return DISPATCH_AGAIN;
        case ACQUIRE_FAILED:
            client_fatal(c, &e);
            return DISPATCH_DONE;
        case ACQUIRE_READY:
            break;
        }
        struct link *l = link_find(c, c->db->home);
        if (!known)
            known = welcome_remember(c, l->server);
        link_put(l, true);
    }
    error_drop(&c->acquire_error); /* of a wait that was not needed any more */
    apply_welcome(c, known);
    welcome_send(c);
    return DISPATCH_DONE;
}

enum dispatch login_wait(struct client *c)
{
    return login_welcome(c);
}

static enum dispatch authenticated(struct client *c)
{
    struct error e;
    if (c->auth)
        auth_destroy(&c->auth);
    if (!c->db && check_database(c, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    const char *password = auth_server_password(c->config, c->user);
    c->password = password ? xstrdup(password) : NULL;
    c->state = CLIENT_WELCOME;
    c->vars_startup = c->vars ? varset_ref(c->vars) : NULL;
    return login_welcome(c);
}

static enum dispatch auth_result(struct client *c, enum auth_step step, struct buf *out,
                                 const struct error *e)
{
    enum dispatch d = DISPATCH_DONE;
    client_send(c, out);
    buf_free(out);
    switch (step) {
    case AUTH_MORE:
        c->state = CLIENT_AUTH;
        break;
    case AUTH_OK:
        d = authenticated(c);
        if (d == DISPATCH_AGAIN)
            d = DISPATCH_DONE; /* the password message has been dealt with; login_wait() goes on */
        break;
    case AUTH_FAILED:
        log_info("client %s:%d: login failed: %s", c->peer.host, c->peer.port, e->message);
        client_fatal(c, e);
        break;
    }
    return d;
}

enum dispatch login_password(struct client *c, const struct frame *f)
{
    struct error e;
    struct buf out;
    if (f->type != MSG_PASSWORD) {
        error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "expected password response, got message type %u",
                  (unsigned)f->type);
        client_fatal(c, &e);
        return DISPATCH_DONE;
    }
    buf_init(&out);
    enum auth_step step = auth_continue(c->auth, f, &out, &e);
    return auth_result(c, step, &out, &e);
}

/* --- the startup packet ----------------------------------------------------------------------- */

static enum status take_param(struct client *c, const char *name, const char *value, struct error *error_r)
{
    if (in_list(c->config->settings.ignore_startup_parameters, name, true))
        return STATUS_OK;
    if (strcasecmp(name, "replication") == 0 && strcmp(value, "off") != 0 && strcmp(value, "false") != 0)
        return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "replication connections are not supported");
    if (strcasecmp(name, "session_authorization") == 0)
        return STATUS_OK; /* a server goes by who has logged in */
    if (strcasecmp(name, "standard_conforming_strings") == 0 && strcasecmp(value, "on") != 0)
        return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "standard_conforming_strings = off is not supported");
    if (!vars_startup(c, name, value))
        return error_set(error_r, "22023", "startup parameter \"%.60s\" cannot be used", name);
    return STATUS_OK;
}

static enum status take_startup(struct client *c, const struct startup *s, struct arena *arena,
                                struct error *error_r)
{
    struct startup_param *options = NULL;
    size_t n_options = 0;
    if (!s->user || !*s->user)
        return error_set(error_r, SQLSTATE_INVALID_AUTHORIZATION,
                         "no PostgreSQL user name specified in startup packet");
    c->user = xstrdup(s->user);
    c->user_id = session_number_of(c->env, slice_str(s->user));
    c->database = xstrdup(s->database && *s->database ? s->database : s->user);
    c->console = strcmp(c->database, "pgunison") == 0 || strcmp(c->database, "pgbouncer") == 0;
    c->admin = in_list(c->config->settings.admin_users, c->user, false);
    if (s->options && startup_split_options(s->options, arena, &options, &n_options, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (c->console)
        return STATUS_OK;
    for (size_t i = 0; i < s->n_params; i++)
        if (take_param(c, s->params[i].name, s->params[i].value, error_r) != STATUS_OK)
            return STATUS_ERROR;
    for (size_t i = 0; i < n_options; i++)
        if (take_param(c, options[i].name, options[i].value, error_r) != STATUS_OK)
            return STATUS_ERROR;
    /* Servers were opened under the proxy's name; the client's is its own, or none. */
    if (!varset_get(c->vars, "application_name")) {
        (void)vars_startup(c, "application_name", "");
        vars_note_reported(c, "application_name", "");
    }
    report_startup(c, s->params, s->n_params);
    report_startup(c, options, n_options);
    return STATUS_OK;
}

static void startup_packet(struct client *c, const struct startup *s, struct arena *arena)
{
    struct error e;
    struct buf out;
    enum client_tls_mode mode = c->config->settings.client_tls_sslmode;
    bool must = mode == TLS_REQUIRE || mode == TLS_VERIFY_CA || mode == TLS_VERIFY_FULL;
    if (must && !stream_is_tls(c->stream) && !c->peer.is_unix) {
        error_set(&e, SQLSTATE_INVALID_AUTHORIZATION, "TLS is required");
        client_fatal(c, &e);
        return;
    }
    if (atomic_load_explicit(&c->env->shared->draining, memory_order_relaxed)) {
        error_set(&e, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
        client_fatal(c, &e);
        return;
    }
    if (take_startup(c, s, arena, &e) != STATUS_OK) {
        client_fatal(c, &e);
        return;
    }
    if (s->minor > 0 || s->n_unknown_options > 0) {
        struct buf *b = client_scratch(c);
        startup_negotiate(b, s);
        client_send(c, b);
    }
    buf_init(&out);
    enum auth_step step = auth_start(c->config, c->user, &c->auth, &out, &e);
    /* Which databases there are is nobody's business before authentication; but where nothing is asked, the
     * error comes before AuthenticationOk. */
    if (step == AUTH_OK && check_database(c, &e) != STATUS_OK) {
        buf_free(&out);
        client_fatal(c, &e);
        return;
    }
    (void)auth_result(c, step, &out, &e);
}

static void cancel_packet(struct client *c, const struct startup *s)
{
    c->env->route_cancel(c->env->route_cancel_arg, s->cancel_pid, s->cancel_secret);
    client_close(c);
}

static void tls_request(struct client *c)
{
    bool offer = c->env->tls && !stream_is_tls(c->stream) && !c->peer.is_unix;
    client_write(c, offer ? "S" : "N", 1);
    if (!offer)
        return;
    if (buf_len(&c->in) >
        0) { /* bytes that were sent before the handshake, and could pass for encrypted ones */
        struct error e;
        error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "received unencrypted data after SSL request");
        client_fatal(c, &e);
        return;
    }
    c->state = CLIENT_TLS;
    stream_start_tls(c->stream, c->env->tls);
}

/* What has arrived of the beginning. DISPATCH_AGAIN: more is needed. */
enum dispatch login_read(struct client *c)
{
    struct arena arena;
    enum dispatch d = DISPATCH_DONE;
    arena_init(&arena);
    while (c->state == CLIENT_STARTUP && d == DISPATCH_DONE) {
        struct startup s;
        struct error e;
        startup_read(buf_slice(&c->in), &arena, &s, &e);
        /* The strings live in the arena, not in the input. */
        if (s.kind != STARTUP_BAD && s.kind != STARTUP_PARTIAL)
            buf_consume(&c->in, s.used_bytes);
        switch (s.kind) {
        case STARTUP_PARTIAL:
            d = DISPATCH_AGAIN;
            break;
        case STARTUP_SSL:
            tls_request(c);
            break;
        case STARTUP_GSSENC:
            client_write(c, "N", 1);
            break;
        case STARTUP_CANCEL:
            cancel_packet(c, &s);
            break;
        case STARTUP_BAD:
            client_fatal(c, &e);
            break;
        case STARTUP_PACKET:
            startup_packet(c, &s, &arena);
            break;
        }
    }
    arena_free(&arena);
    return d;
}
