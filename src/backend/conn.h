/* Open connections as dial makes them. Private to backend. */
#ifndef PGUNISON_BACKEND_CONN_H
#define PGUNISON_BACKEND_CONN_H

#include "backend/dial.h"
#include <libpq-fe.h>
#include <sys/socket.h>

/* Takes the PGconn over, which is connected. shard: its name. timeout_us: how long connecting to it may take; 0: no
   limit. verifies_name: sslmode is verify-full. */
struct backend_conn *backend_conn_create(PGconn *pq, const char *shard, uint64_t timeout_us,
                                         bool verifies_name);
void backend_conn_set_begun(struct backend_conn *c, const struct begun *begun); /* empty until then */

/* What a cancel request needs. */
struct cancel_target {
    struct sockaddr_storage address; /* as the connection's own */
    socklen_t address_len;           /* 0: not known */
    bool has_key;
    uint32_t pid, key;
    const char *name;    /* whom a certificate must be made out to; NULL: to anybody */
    uint64_t timeout_us; /* 0: no limit */
};
const struct cancel_target *backend_conn_cancel_target(const struct backend_conn *c);

#endif
