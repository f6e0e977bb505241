/* The first packet of a connection: it has no type byte (protocol chapter "Start-up"). */
#ifndef PGUNISON_WIRE_STARTUP_H
#define PGUNISON_WIRE_STARTUP_H

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

#define STARTUP_MAX_BYTES 10000 /* as PostgreSQL's MAX_STARTUP_PACKET_LENGTH */

enum startup_kind {
    STARTUP_PARTIAL,
    STARTUP_SSL,
    STARTUP_GSSENC,
    STARTUP_CANCEL,
    STARTUP_PACKET,
    STARTUP_BAD
};

struct startup_param {
    const char *name, *value;
};
struct startup {
    enum startup_kind kind;
    size_t used_bytes; /* to consume; 0 for PARTIAL and BAD */
    uint16_t major, minor;
    uint32_t cancel_pid, cancel_secret;
    /* STARTUP_PACKET: all parameters but user, database, options and _pq_.*, in order; strings live in the
     * arena */
    const char *user, *database, *options; /* database defaults to user; user NULL when absent */
    struct startup_param *params;
    size_t n_params;
    const char **unknown_options; /* names that begin with _pq_. */
    size_t n_unknown_options;
};

/* STARTUP_BAD fills error_r (08P01, or 0A000 for an unsupported major version). */
void startup_read(struct slice bytes, struct arena *arena, struct startup *s_r, struct error *error_r);
/* -c name=value and --name=value of the options parameter, backslash escapes as in postgres (pg_split_opts),
   - in a name read as _. Other switches are errors (42601). */
enum status startup_split_options(const char *options, struct arena *arena, struct startup_param **params_r,
                                  size_t *n_r, struct error *error_r) MUST_CHECK;
/* NegotiateProtocolVersion: the newest version that the proxy speaks (3.0, sent whole as PostgreSQL does),
   and the options it does not know. */
struct buf;
void startup_negotiate(struct buf *b, const struct startup *s);
/* What is sent to a server. */
void startup_ssl_request(struct buf *b);
void startup_cancel_request(struct buf *b, uint32_t pid, uint32_t secret);

#endif
