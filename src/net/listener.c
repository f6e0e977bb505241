/*
 * Listening sockets, and accepting from them.
 *
 * A listener holds several sockets if a name resolves to IPv4 and IPv6 addresses; they share one port. Any number of
 * loops accept from them, each through an acceptor of its own; of loops that wait, one is woken for a connection, where
 * the poller can do that. Sockets are closed when the listener and all its acceptors are gone: a descriptor that a loop still waits for
 * is never used for something else. Nobody can connect from listener_close() on.
 *
 * When descriptors run out, accepting fails while connections wait; the acceptor then rests for a moment rather than spin.
 *
 * Not responsible for: limits on clients, spreading them over workers.
 */
#include "net/listener.h"

#include "base/arena.h"
#include "base/log.h"
#include "loop_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_SOCKETS 16
#define REST_US     100000
#define COMPLAIN_US 10000000

struct listener {
    atomic_uint refs;   /* the owner's, and each acceptor's; the last one out closes the sockets */
    atomic_bool closed; /* connections that wait in the queues of the sockets are nobody's any more */
    _Atomic uint64_t complained_us; /* last, of want of descriptors, by any of its acceptors; 0: never */
    int fds[MAX_SOCKETS];
    int n_fds;
    int port;

    char *unix_path; /* NULL: TCP */
    dev_t unix_dev;  /* of the socket file that was made */
    ino_t unix_ino;
};

struct entrance {
    struct intake intake;
    struct acceptor *acceptor;
};
struct acceptor {
    struct loop *loop;
    struct listener *listener;
    void (*accepted)(void *arg, int fd, const struct peer_address *peer);
    void *arg;
    struct loop_timer *rest; /* running: resting for want of descriptors or memory */
    bool started;
    struct entrance entrances[MAX_SOCKETS]; /* one for each of the listener's */
};

static void listener_unref(struct listener *l)
{
    if (atomic_fetch_sub(&l->refs, 1) > 1)
        return;
    for (int i = 0; i < l->n_fds; i++)
        close(l->fds[i]);
    free(l->unix_path);
    free(l);
}

/* ---- accepting
 * --------------------------------------------------------------------------------------------- */

static void arm(struct acceptor *a)
{
    bool on = a->started && !loop_timer_pending(a->rest);
    for (int i = 0; i < a->listener->n_fds; i++)
        if (!a->loop->poller->kind->accept(a->loop->poller, &a->entrances[i].intake, on))
            loop_timer_start(a->rest, REST_US);
}

static void rested(void *arg)
{
    arm(arg);
}

static void describe_peer(const struct sockaddr_storage *from, struct peer_address *peer_r)
{
    memset(peer_r, 0, sizeof(*peer_r));
    switch (from->ss_family) {
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        inet_ntop(AF_INET, &in->sin_addr, peer_r->host, sizeof(peer_r->host));
        peer_r->port = ntohs(in->sin_port);
        break;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;
        inet_ntop(AF_INET6, &in->sin6_addr, peer_r->host, sizeof(peer_r->host));
        peer_r->port = ntohs(in->sin6_port);
        break;
    }
    default:
        snprintf(peer_r->host, sizeof(peer_r->host), "unix");
        peer_r->is_unix = true;
    }
}

/* Every acceptor finds the same want ten times a second. */
static bool may_complain(struct listener *l, uint64_t now_us)
{
    uint64_t last_us = atomic_load(&l->complained_us);
    return (last_us == 0 || now_us >= last_us + COMPLAIN_US) &&
           atomic_compare_exchange_strong(&l->complained_us, &last_us, now_us);
}

/* The listener is closed: what still waits in the queue of a socket is nobody's. */
static void stop(struct acceptor *a)
{
    a->started = false;
    arm(a);
}

static void accept_failed(struct intake *in, int error_number)
{
    struct acceptor *a = list_entry(in, struct entrance, intake)->acceptor;
    if (atomic_load(&a->listener->closed)) {
        stop(a);
        return;
    }
    errno = error_number;
    switch (error_number) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        if (may_complain(a->listener, loop_now_us(a->loop)))
            log_warning("could not accept a connection: %m; trying again every %d ms", REST_US / 1000);
        loop_timer_start(a->rest, REST_US);
        arm(a);
        break;
    default: /* the connection died before it was accepted (accept(2), "Error handling") */
        log_debug("could not accept a connection: %m");
    }
}

static void accepted_one(struct intake *in, int fd, const struct sockaddr_storage *from)
{
    struct acceptor *a = list_entry(in, struct entrance, intake)->acceptor;
    struct peer_address peer;
    if (atomic_load(&a->listener->closed)) {
        close(fd);
        stop(a);
        return;
    }
    describe_peer(from, &peer);
    a->accepted(a->arg, fd, &peer); /* may destroy a, which lives until the turn ends */
}

struct acceptor *acceptor_create(struct loop *loop, struct listener *listener,
                                 void (*accepted)(void *arg, int fd, const struct peer_address *peer),
                                 void *arg)
{
    struct acceptor *a = xcalloc(1, sizeof(*a));
    atomic_fetch_add(&listener->refs, 1);
    a->loop = loop;
    a->listener = listener;
    a->accepted = accepted;
    a->arg = arg;
    a->rest = loop_timer_create(loop, rested, a);
    for (int i = 0; i < listener->n_fds; i++)
        a->entrances[i] = (struct entrance){
            .intake = {.source.fd = listener->fds[i], .accepted = accepted_one, .failed = accept_failed},
            .acceptor = a};
    return a;
}

void acceptor_start(struct acceptor *a)
{
    a->started = true;
    arm(a);
}

static void acceptor_free(void *arg)
{
    struct acceptor *a = arg;
    listener_unref(a->listener);
    free(a);
}

void acceptor_destroy(struct acceptor **acceptor)
{
    struct acceptor *a = *acceptor;
    if (!a)
        return;
    *acceptor = NULL;
    a->started = false;
    arm(a);
    loop_timer_destroy(&a->rest);
    loop_doom(a->loop, a, acceptor_free);
}

/* ---- opening
 * ----------------------------------------------------------------------------------------------- */

static struct listener *create(void)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    atomic_init(&l->refs, 1);
    atomic_init(&l->closed, false);
    return l;
}

static int bound_port(int fd)
{
    union {
        struct sockaddr_in6 in6;
        struct sockaddr_in in;
        struct sockaddr any;
    } a = {0};
    socklen_t len = sizeof(a);
    if (getsockname(fd, &a.any, &len) != 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

/* The descriptor, or -1 with errno. */
static int open_tcp(const struct addrinfo *ai, int port, int backlog, int defer_s)
{
    struct sockaddr_storage a;
    memcpy(&a, ai->ai_addr, ai->ai_addrlen);
    if (ai->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)&a)->sin_port = htons((uint16_t)port);

    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)); /* IPv4 has a socket of its own */
    if (defer_s > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof(defer_s));
    if (bind(fd, (struct sockaddr *)&a, ai->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
        int saved_errno = errno;
        close(fd);
        errno = saved_errno;
        return -1;
    }
    return fd;
}

/* /etc/hosts may name an address twice. */
static bool is_repeated(const struct addrinfo *first, const struct addrinfo *ai)
{
    for (; first != ai; first = first->ai_next)
        if (first->ai_addrlen == ai->ai_addrlen && memcmp(first->ai_addr, ai->ai_addr, ai->ai_addrlen) == 0)
            return true;
    return false;
}

/* A family or address that this machine does not have (IPv6, mostly) is an error only if nothing else is
 * left. */
static enum status open_all(struct listener *l, const struct addrinfo *found, const char *host, int backlog,
                            int defer_s, struct error *error_r)
{
    (void)error_set(error_r, SQLSTATE_CONFIG, "no address to listen on for \"%s\"", host);
    for (const struct addrinfo *ai = found; ai && l->n_fds < MAX_SOCKETS; ai = ai->ai_next) {
        if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) || is_repeated(found, ai))
            continue;
        int fd = open_tcp(ai, l->port, backlog, defer_s);
        if (fd >= 0) {
            l->fds[l->n_fds++] = fd;
            if (l->port == 0)
                l->port = bound_port(fd); /* the others shall have the same */
            continue;
        }
        int open_errno = errno;
        (void)error_set(error_r, SQLSTATE_CONFIG, "could not listen on \"%s\", port %d: %s", host, l->port,
                        strerror(open_errno));
        if (open_errno == EAFNOSUPPORT || open_errno == EADDRNOTAVAIL)
            continue;
        if (open_errno == EADDRINUSE)
            error_hint(error_r, "Is another pgunison or PostgreSQL running on port %d?", l->port);
        return STATUS_ERROR;
    }
    return l->n_fds ? STATUS_OK : STATUS_ERROR;
}

struct listener *listener_create_tcp(const char *host, int port, int backlog, int defer_s,
                                     struct error *error_r)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, "0", &hints, &found);
    if (rc != 0) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "could not resolve listen address \"%s\": %s", host,
                        gai_strerror(rc));
        return NULL;
    }
    struct listener *l = create();
    l->port = port;
    struct error why;
    enum status opened = open_all(l, found, host, backlog, defer_s, &why);
    freeaddrinfo(found);
    if (opened != STATUS_OK) {
        *error_r = why;
        listener_unref(l);
        return NULL;
    }
    return l;
}

/* ---- Unix sockets
 * ------------------------------------------------------------------------------------------ */

/* Removes the socket file of a dead process. STATUS_ERROR: something is there that must stay. */
static enum status make_way(const struct sockaddr_un *addr, struct error *error_r)
{
    struct stat st;
    if (lstat(addr->sun_path, &st) != 0) {
        if (errno == ENOENT)
            return STATUS_OK;
        return error_set(error_r, SQLSTATE_CONFIG, "could not look at \"%s\": %m", addr->sun_path);
    }
    if (!S_ISSOCK(st.st_mode))
        return error_set(error_r, SQLSTATE_CONFIG, "\"%s\" is in the way and is not a socket",
                         addr->sun_path);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not create a Unix socket: %m");
    int rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
    int connect_errno = errno;
    close(fd);
    if (rc != 0 && connect_errno == ENOENT)
        return STATUS_OK;
    if (rc == 0 || connect_errno != ECONNREFUSED) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "socket \"%s\" is in use", addr->sun_path);
        error_hint(error_r, "Is another pgunison or PostgreSQL running there?");
        return STATUS_ERROR;
    }
    if (unlink(addr->sun_path) != 0 && errno != ENOENT)
        return error_set(error_r, SQLSTATE_CONFIG, "could not remove stale socket \"%s\": %m",
                         addr->sun_path);
    return STATUS_OK;
}

struct listener *listener_create_unix(const char *dir, int port, unsigned mode, int backlog,
                                      struct error *error_r)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/.s.PGSQL.%d", dir, port);
    if (len < 0 || (size_t)len >= sizeof(addr.sun_path)) {
        (void)error_set(error_r, SQLSTATE_CONFIG,
                        "Unix socket directory \"%s\" is too long (at most %zu bytes)", dir,
                        sizeof(addr.sun_path) - sizeof("/.s.PGSQL.65535"));
        return NULL;
    }
    if (make_way(&addr, error_r) != STATUS_OK)
        return NULL;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "could not create a Unix socket: %m");
        return NULL;
    }
    /* On Linux the file is made with the mode that the socket has, less the umask: never, not for a moment,
       with more rights than asked for; chmod() then gives those that the umask took. */
    fchmod(fd, (mode_t)mode);
    struct stat st;
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "could not bind \"%s\": %m", addr.sun_path);
        close(fd);
        return NULL;
    }
    if (chmod(addr.sun_path, (mode_t)mode) != 0 || lstat(addr.sun_path, &st) != 0 ||
        listen(fd, backlog) != 0) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "could not listen on \"%s\": %m", addr.sun_path);
        unlink(addr.sun_path);
        close(fd);
        return NULL;
    }
    struct listener *l = create();
    l->port = port;
    l->unix_path = xstrdup(addr.sun_path);
    l->unix_dev = st.st_dev;
    l->unix_ino = st.st_ino;
    l->fds[l->n_fds++] = fd;
    return l;
}

/* ---- life
 * -------------------------------------------------------------------------------------------------- */

int listener_port(const struct listener *l)
{
    return l->port;
}

void listener_close(struct listener **listener)
{
    struct listener *l = *listener;
    if (!l)
        return;
    *listener = NULL;
    atomic_store(&l->closed, true);
    for (int i = 0; i < l->n_fds; i++)
        shutdown(l->fds[i], SHUT_RDWR); /* at once, although acceptors may hold the descriptors for a while */
    struct stat st;
    if (l->unix_path && lstat(l->unix_path, &st) == 0 && st.st_dev == l->unix_dev && st.st_ino == l->unix_ino)
        unlink(l->unix_path); /* else a successor has put its own there */
    listener_unref(l);
}
