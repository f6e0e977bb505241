/*
 * Listening sockets. One listener may hold several (a name that resolves to IPv4 and IPv6 addresses); they
 * share one port, and are paused together.
 *
 * Accepting goes on until the queue is empty, but not beyond ACCEPTS_A_TURN, so that a flood of connections
 * leaves those that are there their turn. When descriptors run out, accept() fails while the socket stays
 * readable; the listener then rests for a moment rather than spin.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_SOCKETS    16
#define ACCEPTS_A_TURN 256
#define REST_US        100000

struct listener;
struct socket_slot {
    struct listener *listener;
    struct source source;
};

struct listener {
    struct loop *loop;
    void (*accepted)(void *arg, int fd, const struct peer_address *peer);
    void *arg;
    struct loop_timer *rest; /* running: resting for want of descriptors */
    bool accepting;          /* what the owner wants */
    bool armed;
    int port;
    struct socket_slot sockets[MAX_SOCKETS];
    int n_sockets;

    char *unix_path; /* NULL: TCP */
    dev_t unix_dev;  /* the socket file that is ours to remove */
    ino_t unix_ino;
};

/* ---- accepting
 * --------------------------------------------------------------------------------------------- */

static void arm(struct listener *l)
{
    bool on = l->accepting && !loop_timer_pending(l->rest);
    if (on == l->armed)
        return;
    l->armed = on;
    for (int i = 0; i < l->n_sockets; i++)
        source_set(l->loop, &l->sockets[i].source, on ? WATCH_READ : 0);
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

static void accept_failed(struct listener *l)
{
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        log_warning("could not accept a connection: %m; trying again in %d ms", REST_US / 1000);
        loop_timer_start(l->rest, REST_US);
        arm(l);
        break;
    default: /* the connection died before it was accepted (accept(2), "Error handling") */
        log_debug("could not accept a connection: %m");
    }
}

static void on_connections(struct source *source, int what)
{
    (void)what;
    struct socket_slot *slot = list_entry(source, struct socket_slot, source);
    struct listener *l = slot->listener;
    for (int i = 0; i < ACCEPTS_A_TURN && l->armed; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        int fd = accept4(source->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return;
            accept_failed(l);
            continue;
        }
        struct peer_address peer;
        describe_peer(&from, &peer);
        l->accepted(l->arg, fd,
                    &peer); /* may pause or destroy l: then it is not armed, and lives until the turn ends */
    }
}

/* ---- opening
 * ----------------------------------------------------------------------------------------------- */

static struct listener *
create(struct loop *loop, void (*accepted)(void *arg, int fd, const struct peer_address *peer), void *arg)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    l->loop = loop;
    l->accepted = accepted;
    l->arg = arg;
    l->accepting = true;
    l->rest = loop_timer_create(loop, rested, l);
    return l;
}

static void add_socket(struct listener *l, int fd)
{
    struct socket_slot *slot = &l->sockets[l->n_sockets++];
    slot->listener = l;
    slot->source = (struct source){.fd = fd, .ready = on_connections};
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
static int open_tcp(const struct addrinfo *ai, int port, int backlog)
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
                            struct error *error_r)
{
    (void)error_set(error_r, SQLSTATE_CONFIG, "no address to listen on for \"%s\"", host);
    for (const struct addrinfo *ai = found; ai && l->n_sockets < MAX_SOCKETS; ai = ai->ai_next) {
        if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) || is_repeated(found, ai))
            continue;
        int fd = open_tcp(ai, l->port, backlog);
        if (fd >= 0) {
            add_socket(l, fd);
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
    return l->n_sockets ? STATUS_OK : STATUS_ERROR;
}

struct listener *listener_create_tcp(struct loop *loop, const char *host, int port, int backlog,
                                     void (*accepted)(void *arg, int fd, const struct peer_address *peer),
                                     void *arg, struct error *error_r)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, "0", &hints, &found);
    if (rc != 0) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "could not resolve listen address \"%s\": %s", host,
                        gai_strerror(rc));
        return NULL;
    }
    struct listener *l = create(loop, accepted, arg);
    l->port = port;
    struct error why;
    enum status opened = open_all(l, found, host, backlog, &why);
    freeaddrinfo(found);
    if (opened != STATUS_OK) {
        *error_r = why;
        listener_destroy(&l);
        return NULL;
    }
    arm(l);
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

struct listener *listener_create_unix(struct loop *loop, const char *dir, int port, unsigned mode,
                                      int backlog,
                                      void (*accepted)(void *arg, int fd, const struct peer_address *peer),
                                      void *arg, struct error *error_r)
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
    struct listener *l = create(loop, accepted, arg);
    l->port = port;
    l->unix_path = xstrdup(addr.sun_path);
    l->unix_dev = st.st_dev;
    l->unix_ino = st.st_ino;
    add_socket(l, fd);
    arm(l);
    return l;
}

/* ---- life
 * -------------------------------------------------------------------------------------------------- */

int listener_port(const struct listener *l)
{
    return l->port;
}

void listener_set_accepting(struct listener *l, bool on)
{
    l->accepting = on;
    arm(l);
}

void listener_destroy(struct listener **listener)
{
    struct listener *l = *listener;
    if (!l)
        return;
    *listener = NULL;
    listener_set_accepting(l, false);
    for (int i = 0; i < l->n_sockets; i++)
        close(l->sockets[i].source.fd);
    struct stat st;
    if (l->unix_path && lstat(l->unix_path, &st) == 0 && st.st_dev == l->unix_dev && st.st_ino == l->unix_ino)
        unlink(l->unix_path); /* else a successor has put its own there */
    free(l->unix_path);
    l->unix_path = NULL;
    loop_timer_destroy(&l->rest);
    loop_doom(l->loop, l, NULL);
}
