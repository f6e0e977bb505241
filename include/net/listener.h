/* Listening sockets, TCP and Unix. Accepts in batches until EAGAIN; accepted descriptors are non-blocking,
   close-on-exec and belong to accepted(). */
#ifndef PGUNISON_NET_LISTENER_H
#define PGUNISON_NET_LISTENER_H

#include "base/error.h"
#include "net/loop.h"

struct listener;
struct peer_address {
    char host[64]; /* numeric address, or "unix" */
    int port;      /* 0 for Unix sockets */
    bool is_unix;
};

/* host: an address, a name, or "*" for all; may open several sockets (IPv4 and IPv6). */
struct listener *listener_create_tcp(struct loop *loop, const char *host, int port, int backlog,
                                     void (*accepted)(void *arg, int fd, const struct peer_address *peer),
                                     void *arg, struct error *error_r) MUST_CHECK;
/* dir/.s.PGSQL.port, as libpq looks for it. mode: permission bits. A stale socket file of a dead process is
   replaced; a live one is an error. Removed by listener_destroy(). */
struct listener *listener_create_unix(struct loop *loop, const char *dir, int port, unsigned mode,
                                      int backlog,
                                      void (*accepted)(void *arg, int fd, const struct peer_address *peer),
                                      void *arg, struct error *error_r) MUST_CHECK;
/* The port that was bound: of use when 0 was asked for. */
int listener_port(const struct listener *listener);
void listener_set_accepting(struct listener *listener, bool on);
void listener_destroy(struct listener **listener);

#endif
