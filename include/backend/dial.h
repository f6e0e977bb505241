/*
 * Opening a connection to a shard with libpq (authentication, TLS, several hosts, target_session_attrs),
 * without ever blocking the loop: names are resolved by a resolver thread first (hostaddr is then given
 * beside host), the rest is PQconnectPoll. The connection is then taken over raw: descriptor and SSL object
 * are used directly, the PGconn only keeps them alive.
 */
#ifndef PGUNISON_BACKEND_DIAL_H
#define PGUNISON_BACKEND_DIAL_H

#include "backend/defaults.h"
#include "base/error.h"
#include "conf/settings.h"
#include "net/dns.h"
#include "net/loop.h"

struct backend_conn;
struct dial_params {
    const struct shard_def *shard;
    const struct settings *settings;  /* timeouts, server_tls_*, tcp_* */
    const char *user, *password;      /* password may be NULL */
    const char *application_name;     /* NULL: pgunison */
    const struct backend_conn *probe; /* not NULL: only to the place of this one, whoever answers there */
    uint64_t timeout_us;              /* 0: connect_timeout, server_connect_timeout */
};

/* An open connection. */
const char *backend_conn_shard(const struct backend_conn *c); /* its name */
int backend_conn_fd(const struct backend_conn *c);
void *backend_conn_ssl(const struct backend_conn *c); /* SSL * or NULL */
/* Where it leads: an address if it is known, else the host as written. */
const char *backend_conn_host(const struct backend_conn *c);
/* The host as it was written, of several the one that it leads to. */
const char *backend_conn_name(const struct backend_conn *c);
const char *backend_conn_port(const struct backend_conn *c);
uint32_t backend_conn_pid(const struct backend_conn *c);
int backend_conn_version(const struct backend_conn *c);      /* 150003 */
const char *backend_conn_user(const struct backend_conn *c); /* who logged in */
/* as reported at its start; NULL: not reported */
const char *backend_conn_parameter(const struct backend_conn *c, const char *name);
const struct begun *backend_conn_begun(const struct backend_conn *c);
/* PostgreSQL's own name of a client_encoding, as it may be spelt ("utf-8", "unicode", "latin1"); NULL: none. */
const char *backend_encoding_name(const char *name);
/* Says that nothing raw is under way in either direction. A connection is not taken for clean unless somebody
 * says so. */
void backend_conn_set_clean(struct backend_conn *c, bool clean);
/* sends Terminate only on a clean connection; never blocks */
void backend_conn_close(struct backend_conn **c);

struct dial;
/* Calls done() once, from the loop, never from inside this call: with a connection, or NULL and the error.
   server_connect_timeout bounds the whole. An authentication failure keeps its SQLSTATE and the server's
   message; not reachable is 08006 `could not connect to shard "s1": …`. Passwords never appear in messages.
 */
/* The parameters are copied; the password is kept until the end. Several hosts (and several addresses of one)
   are tried in order, each for its share of the time that is left; a refused login ends the attempt, a host
   that is not reachable, is starting up or does not have the target_session_attrs wanted does not. */
struct dial *dial_start(struct loop *loop, const struct dial_params *params,
                        void (*done)(void *arg, struct backend_conn *conn, const struct error *why),
                        void *arg);
void dial_cancel(struct dial **d); /* done() is not called any more */

/* Who is asked for names of hosts, and the helper threads. Once per process, before other threads: it drops PG* from the environment. */
void dial_init(struct dns *dns);
void dial_deinit(void);

#endif
