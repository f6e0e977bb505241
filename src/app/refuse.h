/* Clients above max_client_conn, answered on the accepting thread. Private to app. */
#ifndef PGUNISON_APP_REFUSE_H
#define PGUNISON_APP_REFUSE_H

#include "net/listener.h"
#include <stdint.h>

struct refuser_ops {
    void (*cancel)(void *arg, uint32_t pid, uint32_t secret);
    /* Asks for the console, and nothing of what it said has been taken from the socket: takes the descriptor
       over and returns true, or leaves it to be refused. */
    bool (*console)(void *arg, int fd, const struct peer_address *peer);
};

struct refuser;
struct refuser *refuser_create(struct loop *loop, const struct refuser_ops *ops, void *arg);
void refuser_add(struct refuser *r, int fd, const struct peer_address *peer); /* takes the descriptor over */
unsigned refuser_count(const struct refuser *r);                              /* being dealt with */
void refuser_destroy(struct refuser **r);

#endif
