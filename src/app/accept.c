/*
 * Listening, and what happens to a connection before its worker knows of it: socket options, max_client_conn.
 *
 * The main thread listens; workers accept, so that a connection need not be handed from thread to thread: the worker that
 * accepted it keeps it, unless another has fewer clients. shared->clients is counted up here and down by the session
 * (client_close), so that no more are taken in than allowed, however fast they come. Those above are answered by the main
 * thread; a few places above the limit are kept for the console.
 */
#include "proxy.h"

#include "base/arena.h"
#include "base/log.h"
#include "net/mailbox.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONSOLE_PLACES     16
#define FULL_LOG_PERIOD_US ((uint64_t)10 * 1000 * 1000)

static void set_int(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) != 0)
        log_debug("could not set socket option %d to %d: %m", option, value);
}

static void set_keepalive(int fd, const struct settings *s)
{
    if (s->tcp_keepalive) {
        set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        if (s->tcp_keepcnt)
            set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, s->tcp_keepcnt);
        if (s->tcp_keepidle)
            set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, s->tcp_keepidle);
        if (s->tcp_keepintvl)
            set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, s->tcp_keepintvl);
    }
    if (s->tcp_user_timeout)
        set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, s->tcp_user_timeout);
}

/* Counts one more client, unless there are `limit` already. */
static bool take_place(struct session_shared *shared, unsigned limit)
{
    if (atomic_fetch_add_explicit(&shared->clients, 1, memory_order_relaxed) < limit)
        return true;
    atomic_fetch_sub_explicit(&shared->clients, 1, memory_order_relaxed);
    return false;
}

/* --- a worker's acceptors --------------------------------------------------------------------- */

/* Made and taken apart with the workers. Between workers_start() and the end of its thread it is the worker's own. */
struct acceptors {
    struct proxy *proxy;
    struct worker *worker;
    struct acceptor *acceptors[MAX_LISTENERS];
    unsigned n;
    struct mail open, close;
};

struct surplus {
    struct mail mail;
    int fd;
    struct peer_address peer;
};

static void refuse(struct mail *mail, void *receiver)
{
    struct surplus *one = list_entry(mail, struct surplus, mail);
    struct proxy *p = receiver;
    uint64_t now = loop_now_us(p->loop);
    if (!p->refuser) { /* the process ends */
        close(one->fd);
        free(one);
        return;
    }
    if (p->full_logged_us == 0 || now - p->full_logged_us > FULL_LOG_PERIOD_US) {
        p->full_logged_us = now;
        log_warning("client %s:%d refused: max_client_conn (%d) connections are open", one->peer.host,
                    one->peer.port, p->config->settings.max_client_conn);
    }
    refuser_add(p->refuser, one->fd, &one->peer);
    free(one);
}

static void accepted(void *arg, int fd, const struct peer_address *peer)
{
    struct acceptors *a = arg;
    struct session_env *env = &a->worker->env;
    const struct settings *s = &env->config->settings;
    if (!peer->is_unix)
        set_keepalive(fd, s);
    if (take_place(env->shared, (unsigned)s->max_client_conn)) {
        workers_accept(&a->proxy->workers, a->worker, fd, peer);
        return;
    }
    struct surplus *one = xmalloc(sizeof *one);
    *one = (struct surplus){.mail.deliver = refuse, .fd = fd, .peer = *peer};
    mailbox_post(a->proxy->mailbox, &one->mail);
}

static void acceptors_open(struct mail *mail, void *receiver)
{
    struct acceptors *a = list_entry(mail, struct acceptors, open);
    (void)receiver;
    for (unsigned i = 0; i < a->n; i++)
        acceptor_start(a->acceptors[i]);
}

static void acceptors_close(struct mail *mail, void *receiver)
{
    struct acceptors *a = list_entry(mail, struct acceptors, close);
    (void)receiver;
    for (unsigned i = 0; i < a->n; i++)
        acceptor_destroy(&a->acceptors[i]);
    a->n = 0;
}

static void make_acceptors(struct proxy *p)
{
    p->acceptors = xcalloc(p->workers.n, sizeof *p->acceptors);
    for (unsigned i = 0; i < p->workers.n; i++) {
        struct acceptors *a = &p->acceptors[i];
        *a = (struct acceptors){.proxy = p, .worker = &p->workers.items[i], .n = p->n_listeners};
        a->open.deliver = acceptors_open;
        a->close.deliver = acceptors_close;
        for (unsigned k = 0; k < a->n; k++)
            a->acceptors[k] = acceptor_create(a->worker->loop, p->listeners[k], accepted, a);
    }
}

/* --- those above the limit ---------------------------------------------------------------------- */

static bool console_asked(void *arg, int fd, const struct peer_address *peer)
{
    struct proxy *p = arg;
    if (!take_place(&p->shared, (unsigned)p->config->settings.max_client_conn + CONSOLE_PLACES))
        return false;
    workers_accept(&p->workers, NULL, fd, peer);
    return true;
}

static void cancel_asked(void *arg, uint32_t pid, uint32_t secret)
{
    struct proxy *p = arg;
    workers_cancel(&p->workers, pid, secret);
}

static const struct refuser_ops refuser_ops = {.cancel = cancel_asked, .console = console_asked};

/* --- listening ---------------------------------------------------------------------------------- */

static enum status listen_tcp(struct proxy *p, const char *list, struct error *error_r)
{
    const struct settings *s = &p->config->settings;
    char *copy = xstrdup(list), *rest = copy, *name;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && (name = strsep(&rest, ",")) != NULL) {
        name += strspn(name, " \t");
        name[strcspn(name, " \t")] = '\0';
        if (!*name)
            continue;
        if (p->n_listeners >= MAX_LISTENERS - 1) {
            status = error_set(error_r, SQLSTATE_CONFIG, "listen_addr names more than %d addresses",
                               MAX_LISTENERS - 1);
            break;
        }
        struct listener *l =
            listener_create_tcp(name, s->listen_port, s->listen_backlog, s->tcp_defer_accept, error_r);
        if (l)
            p->listeners[p->n_listeners++] = l;
        else
            status = STATUS_ERROR;
    }
    free(copy);
    return status;
}

enum status proxy_listen_tcp(struct proxy *p, struct error *error_r)
{
    p->refuser = refuser_create(p->loop, &refuser_ops, p);
    return listen_tcp(p, p->config->settings.listen_addr, error_r);
}

enum status proxy_listen_unix(struct proxy *p, struct error *error_r)
{
    const struct settings *s = &p->config->settings;
    if (s->unix_socket_dir[0]) {
        struct listener *l = listener_create_unix(s->unix_socket_dir, s->listen_port,
                                                  (unsigned)s->unix_socket_mode, s->listen_backlog, error_r);
        if (!l)
            return STATUS_ERROR;
        p->listeners[p->n_listeners++] = l;
    }
    if (p->n_listeners == 0)
        return error_set(error_r, SQLSTATE_CONFIG,
                         "nothing to listen on: listen_addr and unix_socket_dir are both empty");
    make_acceptors(p);
    return STATUS_OK;
}

void proxy_accept(struct proxy *p)
{
    for (unsigned i = 0; i < p->workers.n; i++)
        mailbox_post(p->workers.items[i].mailbox, &p->acceptors[i].open);
}

void proxy_unlisten(struct proxy *p)
{
    if (p->n_listeners == 0)
        return;
    for (unsigned i = 0; i < p->n_listeners; i++)
        listener_close(&p->listeners[i]);
    p->n_listeners = 0;
    for (unsigned i = 0; p->acceptors && i < p->workers.n; i++)
        mailbox_post(p->workers.items[i].mailbox, &p->acceptors[i].close);
}
