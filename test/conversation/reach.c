/*
 * How the proxy reaches model servers, in place of src/backend/dial.c, conn.c and cancel.c: connections that open after a
 * latency, and cancel requests.
 */
#include "world.h"

#include "backend/dial.h"
#include "cancel.h"

enum { MAX_CONNS = 512 };

struct backend_conn {
    int fd;
    struct session *session;
    char user[64], shard[16];
    struct begun begun;
};

static struct {
    int fd;
    struct session *session;
} opened[MAX_CONNS];
static size_t n_opened;

void reach_forget(void)
{
    n_opened = 0;
}

struct session *reach_session(int fd)
{
    for (size_t i = 0; i < n_opened; i++)
        if (opened[i].fd == fd)
            return opened[i].session;
    return NULL;
}

/* --- a server's end of a connection ------------------------------------------------------------ */

struct far_end {
    struct pipe *pipe;
    struct session *session;
};

static void far_bytes(void *peer, const uint8_t *bytes, size_t n)
{
    session_receive(((struct far_end *)peer)->session, bytes, n);
}

static void far_closed(void *peer)
{
    session_close(((struct far_end *)peer)->session);
}

static const struct peer_ops far_ops = {far_bytes, far_closed};

static void far_out(void *arg, const uint8_t *bytes, size_t n)
{
    pipe_send(((struct far_end *)arg)->pipe, bytes, n);
}

static void far_ended(void *arg)
{
    pipe_end(((struct far_end *)arg)->pipe);
}

static struct backend_conn *open_conn(struct shard *shard, const char *user)
{
    struct far_end *end = arena_alloc(&world.arena, sizeof *end);
    end->pipe = pipe_create(&far_ops, end);
    end->session = session_create(shard, user, far_out, far_ended, end);
    struct backend_conn *c = xcalloc(1, sizeof *c);
    c->fd = pipe_fd(end->pipe);
    c->session = end->session;
    snprintf(c->user, sizeof c->user, "%s", user);
    snprintf(c->shard, sizeof c->shard, "%s", shard_name(shard));
    c->begun = (struct begun){.told = 1};
    snprintf(c->begun.isolation, sizeof c->begun.isolation, "read committed");
    if (n_opened == MAX_CONNS)
        abort();
    opened[n_opened].fd = c->fd;
    opened[n_opened++].session = c->session;
    return c;
}

/* --- include/backend/dial.h ------------------------------------------------------------------- */

int backend_conn_fd(const struct backend_conn *c)
{
    return c->fd;
}

void *backend_conn_ssl(const struct backend_conn *c)
{
    (void)c;
    return NULL;
}

const char *backend_conn_host(const struct backend_conn *c)
{
    (void)c;
    return "model";
}

const char *backend_conn_name(const struct backend_conn *c)
{
    (void)c;
    return "model";
}

const char *backend_conn_port(const struct backend_conn *c)
{
    (void)c;
    return "5432";
}

uint32_t backend_conn_pid(const struct backend_conn *c)
{
    return (uint32_t)c->fd;
}

int backend_conn_version(const struct backend_conn *c)
{
    (void)c;
    return 150000;
}

const char *backend_conn_user(const struct backend_conn *c)
{
    return c->user;
}

const char *backend_conn_parameter(const struct backend_conn *c, const char *name)
{
    if (strcmp(name, "application_name") == 0)
        return "pgunison";
    if (strcmp(name, "session_authorization") == 0)
        return c->user;
    return session_default(name);
}

const struct begun *backend_conn_begun(const struct backend_conn *c)
{
    return &c->begun;
}

const char *backend_encoding_name(const char *name)
{
    return strcasecmp(name, "utf8") == 0 ? "UTF8" : NULL;
}

const char *backend_conn_shard(const struct backend_conn *c)
{
    return c->shard;
}

void backend_conn_set_clean(struct backend_conn *c, bool clean)
{
    (void)c;
    (void)clean;
}

void backend_conn_close(struct backend_conn **c)
{
    free(*c);
    *c = NULL;
}

struct dial {
    char shard[64], user[64];
    bool forgotten;
    void (*done)(void *arg, struct backend_conn *conn, const struct error *why);
    void *arg;
};

static void dial_done(void *arg, uint64_t n)
{
    struct dial *d = arg;
    struct shard *shard = shard_by_name(d->shard);
    struct error why;
    (void)n;
    if (d->forgotten)
        return;
    if (shard && shard_is_up(shard)) {
        d->done(d->arg, open_conn(shard, d->user), NULL);
        return;
    }
    error_set(&why, SQLSTATE_CONNECTION_FAILURE, "could not connect to shard \"%s\"", d->shard);
    d->done(d->arg, NULL, &why);
}

struct dial *dial_start(struct loop *loop, const struct dial_params *params,
                        void (*done)(void *arg, struct backend_conn *conn, const struct error *why),
                        void *arg)
{
    (void)loop;
    struct dial *d = arena_alloc(&world.arena, sizeof *d);
    *d = (struct dial){.done = done, .arg = arg};
    snprintf(d->shard, sizeof d->shard, "%s", params->shard->name);
    snprintf(d->user, sizeof d->user, "%s", params->user);
    world_at(2 * world_latency(), dial_done, d, 0);
    return d;
}

void dial_cancel(struct dial **d)
{
    if (*d)
        (*d)->forgotten = true;
    *d = NULL;
}

void dial_init(struct dns *dns)
{
    (void)dns;
}

void dial_deinit(void)
{
}

/* --- src/backend/cancel.h --------------------------------------------------------------------- */

struct cancel_request {
    struct session *session;
    void (*done)(void *arg, bool through);
    void *arg;
};

static void cancel_through(void *arg, uint64_t n)
{
    struct cancel_request *r = arg;
    (void)n;
    if (r->done)
        r->done(r->arg, true);
}

static void cancel_arrives(void *arg, uint64_t n)
{
    struct cancel_request *r = arg;
    (void)n;
    session_cancel(r->session);
    world_at(world_latency(), cancel_through, r, 0);
}

struct cancels {
    int unused;
};

struct cancels *cancels_create(struct loop *loop)
{
    (void)loop;
    return xcalloc(1, sizeof(struct cancels));
}

void cancels_destroy(struct cancels **c)
{
    free(*c);
    *c = NULL;
}

struct cancel_request *cancel_send(struct cancels *c, const struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg)
{
    (void)c;
    struct cancel_request *r = arena_alloc(&world.arena, sizeof *r);
    *r = (struct cancel_request){conn->session, done, arg};
    world_at(2 * world_latency(), cancel_arrives, r, 0);
    return r;
}

void cancel_forget(struct cancel_request **r)
{
    if (*r)
        (*r)->done = NULL;
    *r = NULL;
}
