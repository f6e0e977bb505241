/*
 * How the proxy reaches model servers, in place of src/backend/dial.c, conn.c, cancel.c and control*.c: connections that open
 * after a latency, cancel requests, and the control role's queries.
 */
#include "world.h"

#include "backend/control.h"
#include "backend/dial.h"
#include "cancel.h"
#include "wire/message.h"

enum { MAX_CONNS = 512, CONNECT_RETRY_US = 1000 };

struct backend_conn {
    int fd;
    struct session *session;
    char user[64];
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

void *backend_conn_pq(struct backend_conn *c)
{
    (void)c;
    return NULL;
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

struct cancel_request *cancel_send(struct loop *loop, struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg)
{
    (void)loop;
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

/* --- include/backend/control.h: each query on a connection of its own --------------------------- */

struct control {
    int unused;
};

enum { MAX_ROWS = 64, MAX_COLUMNS = 8 };

struct control_ask {
    struct control_ask *next;
    struct session *session;
    struct buf in;
    bool answered;
    struct error error;
    bool failed;
    char tag[64];
    size_t n_rows, n_columns;
    const char *rows[MAX_ROWS][MAX_COLUMNS];
    void (*done)(void *arg, const struct control_result *r);
    void *arg; /* NULL done: forgotten */
};
static struct control_ask *asks;

struct control *control_create(struct loop *loop, struct config *config)
{
    (void)loop;
    (void)config;
    asks = NULL;
    return xcalloc(1, sizeof(struct control));
}

void control_reconfigure(struct control *c, struct config *config)
{
    (void)c;
    (void)config;
}

void control_destroy(struct control **c)
{
    free(*c);
    *c = NULL;
}

void control_forget(struct control *c, void *arg)
{
    (void)c;
    for (struct control_ask *a = asks; a; a = a->next)
        if (a->arg == arg)
            a->done = NULL;
}

static void answer(struct control_ask *a, bool lost, char status)
{
    const char *const *rows[MAX_ROWS];
    for (size_t i = 0; i < a->n_rows; i++)
        rows[i] = a->rows[i];
    struct control_result r = {.ok = !lost && !a->failed,
                               .lost = lost,
                               .error = lost || a->failed ? &a->error : NULL,
                               .tag = a->tag,
                               .txn_status = status,
                               .n_rows = a->n_rows,
                               .n_columns = a->n_columns,
                               .rows = rows};
    if (a->answered)
        return;
    a->answered = true;
    if (a->done)
        a->done(a->arg, &r);
    session_close(a->session);
}

static void control_row(struct control_ask *a, const struct frame *f)
{
    struct slice values[MAX_COLUMNS];
    uint16_t n;
    struct error e;
    if (message_read_data_row(f, values, MAX_COLUMNS, &n, &e) != STATUS_OK || a->n_rows == MAX_ROWS)
        abort();
    for (uint16_t i = 0; i < n; i++)
        a->rows[a->n_rows][i] =
            values[i].data ? arena_strndup(&world.arena, (const char *)values[i].data, values[i].len) : NULL;
    a->n_rows++;
    a->n_columns = n;
}

static void control_frame(struct control_ask *a, const struct frame *f)
{
    struct error e;
    const char *tag;
    int64_t rows;
    switch (f->type) {
    case MSG_ERROR:
        a->failed = true;
        (void)!message_read_error(f, &a->error, &e);
        break;
    case MSG_ROW_DESCRIPTION:
        a->n_rows = 0;
        break;
    case MSG_DATA_ROW:
        control_row(a, f);
        break;
    case MSG_COMMAND_COMPLETE:
        if (message_read_tag(f, &tag, &rows, &e) == STATUS_OK)
            snprintf(a->tag, sizeof a->tag, "%s", tag);
        break;
    case MSG_READY:
        answer(a, false, (char)f->body.data[0]);
        break;
    default:
        break;
    }
}

static void control_come(void *arg, uint64_t n)
{
    struct control_ask *a = arg;
    struct frame f;
    size_t need;
    (void)n;
    while (!a->answered && frame_next(buf_slice(&a->in), UINT32_MAX, &f, &need) == FRAME_OK) {
        control_frame(a, &f);
        buf_consume(&a->in, f.whole.len);
    }
    if (a->answered)
        buf_free(&a->in);
}

static void control_out(void *arg, const uint8_t *bytes, size_t n)
{
    struct control_ask *a = arg;
    if (a->answered)
        return;
    buf_append(&a->in, bytes, n);
    world_at(world_latency(), control_come, a, 0);
}

static void control_lost(void *arg, uint64_t n)
{
    struct control_ask *a = arg;
    (void)n;
    error_set(&a->error, SQLSTATE_CONNECTION_FAILURE, "control: no answer");
    answer(a, true, 'I');
    buf_free(&a->in);
}

static void control_ended(void *arg)
{
    world_at(world_latency(), control_lost, arg, 0);
}

static void control_send(void *arg, uint64_t n)
{
    struct control_ask *a = arg;
    const char *sql = (const char *)(uintptr_t)n;
    struct buf b;
    buf_init(&b);
    message_query(&b, slice_str(sql));
    session_receive(a->session, buf_head(&b), buf_len(&b));
    buf_free(&b);
}

void control_query(struct control *c, const struct shard_def *shard, const char *sql, uint64_t timeout_us,
                   void (*done)(void *arg, const struct control_result *r), void *arg)
{
    (void)c;
    struct shard *s = shard_by_name(shard->name);
    struct control_ask *a = arena_alloc(&world.arena, sizeof *a);
    memset(a, 0, sizeof *a);
    a->done = done;
    a->arg = arg;
    a->next = asks;
    asks = a;
    buf_init(&a->in);
    a->session = session_create(s, "control", control_out, control_ended, a);
    if (shard_is_up(s))
        world_at(3 * world_latency(), control_send, a, (uintptr_t)arena_strdup(&world.arena, sql));
    else
        world_at(3 * world_latency(), control_lost, a, 0);
    world_at(timeout_us, control_lost, a, 0);
}
