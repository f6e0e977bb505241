/* Listening sockets, TCP and Unix, and accepting from them, on one loop or on several. */
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

/* Connections wait in the backlog until an acceptor takes them. host: an address, a name, or "*" for all; may open several sockets (IPv4 and IPv6). defer_s: so many seconds a connection
   is left to the kernel until its first byte comes; 0: it is reported at once. */
struct listener *listener_create_tcp(const char *host, int port, int backlog, int defer_s,
                                     struct error *error_r) MUST_CHECK;
/* dir/.s.PGSQL.port, as libpq looks for it. mode: permission bits. A stale socket file of a dead process is
   replaced; a live one is an error. */
struct listener *listener_create_unix(const char *dir, int port, unsigned mode, int backlog,
                                      struct error *error_r) MUST_CHECK;
/* The port that was bound: of use when 0 was asked for. */
int listener_port(const struct listener *listener);
/* From now on nobody can connect, whoever waits is dropped, and the socket file is gone. Acceptors hear of nothing
   more, and are to be destroyed, each on its thread, before or after. */
void listener_close(struct listener **listener);

/* Accepts in batches until EAGAIN; accepted descriptors are non-blocking, close-on-exec and belong to accepted(). Several
   acceptors of one listener share its connections as they come to wait for them. */
struct acceptor;
struct acceptor *acceptor_create(struct loop *loop, struct listener *listener,
                                 void (*accepted)(void *arg, int fd, const struct peer_address *peer),
                                 void *arg);
void acceptor_start(struct acceptor *acceptor);
void acceptor_destroy(struct acceptor **acceptor);

#endif
