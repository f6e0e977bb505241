/*
 * An open connection: the PGconn that keeps descriptor and SSL object alive.
 *
 * Whoever writes to the descriptor directly leaves libpq ignorant of what has been sent. PQfinish() would add
 * a Terminate message, which in the middle of another message would be taken for the rest of it (and might
 * make a truncated statement complete). So it may do so only on a connection that somebody vouches for
 * (backend_conn_set_clean); else the socket is shut down first, and the server sees the end of the connection
 * alone.
 */
#include "conn.h"

#include "base/arena.h"
#include "cancel_key.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

struct backend_conn {
    PGconn *pq;
    char *shard;
    bool clean;
    struct begun begun;
    struct cancel_target cancel;
};

/* As libpq found it, which may be another path than the server knows its socket by (unix_socket_directories of a container).
   0: it does not fit. A name that begins with @ is abstract. */
static socklen_t unix_address(const PGconn *pq, struct sockaddr_un *address_r)
{
    *address_r = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n =
        snprintf(address_r->sun_path, sizeof(address_r->sun_path), "%s/.s.PGSQL.%s", PQhost(pq), PQport(pq));
    if (n < 0 || (size_t)n >= sizeof(address_r->sun_path))
        return 0;
    if (address_r->sun_path[0] == '@')
        address_r->sun_path[0] = '\0';
    bool abstract = address_r->sun_path[0] == '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + !abstract);
}

struct backend_conn *backend_conn_create(PGconn *pq, const char *shard, uint64_t timeout_us,
                                         bool verifies_name)
{
    struct backend_conn *c = xcalloc(1, sizeof(*c));
    struct cancel_target *t = &c->cancel;
    c->pq = pq;
    c->shard = xstrdup(shard);
    *t = (struct cancel_target){.address_len = sizeof(t->address), .timeout_us = timeout_us};
    if (getpeername(PQsocket(pq), (struct sockaddr *)&t->address, &t->address_len) != 0)
        t->address_len = 0;
    else if (t->address.ss_family == AF_UNIX)
        t->address_len = unix_address(pq, (struct sockaddr_un *)(void *)&t->address);
    t->has_key = cancel_key_get(pq, &t->key);
    t->pid = (uint32_t)PQbackendPID(pq);
    t->name = verifies_name ? PQhost(pq) : NULL;
    return c;
}

const char *backend_conn_shard(const struct backend_conn *c)
{
    return c->shard;
}

void backend_conn_set_begun(struct backend_conn *c, const struct begun *begun)
{
    c->begun = *begun;
}

const struct cancel_target *backend_conn_cancel_target(const struct backend_conn *c)
{
    return &c->cancel;
}

const struct begun *backend_conn_begun(const struct backend_conn *c)
{
    return &c->begun;
}

int backend_conn_fd(const struct backend_conn *c)
{
    return PQsocket(c->pq);
}

void *backend_conn_ssl(const struct backend_conn *c)
{
    return PQsslInUse(c->pq) ? PQsslStruct(c->pq, "OpenSSL") : NULL;
}

const char *backend_conn_host(const struct backend_conn *c)
{
    const char *address = PQhostaddr(c->pq);
    return address && *address ? address : PQhost(c->pq);
}

const char *backend_conn_name(const struct backend_conn *c)
{
    return PQhost(c->pq);
}

const char *backend_conn_port(const struct backend_conn *c)
{
    return PQport(c->pq);
}

uint32_t backend_conn_pid(const struct backend_conn *c)
{
    return (uint32_t)PQbackendPID(c->pq);
}

int backend_conn_version(const struct backend_conn *c)
{
    return PQserverVersion(c->pq);
}

const char *backend_conn_user(const struct backend_conn *c)
{
    return PQuser(c->pq);
}

const char *backend_conn_parameter(const struct backend_conn *c, const char *name)
{
    return PQparameterStatus(c->pq, name);
}

const char *backend_encoding_name(const char *name)
{
    int encoding = pg_char_to_encoding(name); /* ignores case and all but letters and digits; knows aliases */
    return encoding < 0 ? NULL : pg_encoding_to_char(encoding);
}

void backend_conn_set_clean(struct backend_conn *c, bool clean)
{
    c->clean = clean;
}

void backend_conn_close(struct backend_conn **cp)
{
    struct backend_conn *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    if (!c->clean && PQsocket(c->pq) >= 0)
        shutdown(PQsocket(c->pq), SHUT_RDWR);
    PQfinish(c->pq); /* non-blocking since dial: it does not wait for the socket */
    free(c->shard);
    free(c);
}
