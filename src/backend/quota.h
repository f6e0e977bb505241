/*
 * What pools of all workers share: counts of open connections, and who waits for one. Private to backend.
 *
 * A quota counts connections: of one pool key (user, database, shard definition), of one database and shard,
 * of one user and shard. A port is how one worker's pool is reached by the others. quota.c explains why no
 * wake-up is lost.
 */
#ifndef PGUNISON_BACKEND_QUOTA_H
#define PGUNISON_BACKEND_QUOTA_H

#include "backend/pool.h"
#include <pthread.h>
#include <stdatomic.h>

enum quota_level { QUOTA_POOL, QUOTA_DATABASE, QUOTA_USER, QUOTA_LEVELS };

struct quota {
    atomic_uint used;    /* connections open or being opened */
    atomic_uint waiting; /* members that wait; changed under lock, read without */
    pthread_mutex_t lock;
    struct list members; /* under lock */
    unsigned refs;       /* under pool_limits' lock */
    struct pool_limits *limits;
    struct slice key;
};

struct port;
struct quota_member { /* under the quota's lock */
    struct list_node node;
    struct port *port;
    bool waiting;
    unsigned wanted;   /* connections waited for that nobody has promised yet */
    uint64_t since_us; /* of the oldest wait */
};

struct port {
    atomic_uint refs; /* the pool's, and one for each message on its way */
    const struct port_ops *ops;
    struct server_pool *pool; /* receiver's thread only; NULL: closed */
    struct loop *loop;
    struct mailbox *mailbox;
    struct quota *quotas[QUOTA_LEVELS];
    struct quota_member members[QUOTA_LEVELS];
    struct mail look;
    atomic_bool look_posted;
};

/* A connection on its way to another worker; its place in the quotas goes with it. */
struct parcel {
    struct mail mail;
    struct server *server;
    struct port *port; /* the receiver's */
};

/* What the pool does for the others. Both run on the port's thread, from its loop. */
struct port_ops {
    void (*look)(struct server_pool *p);                      /* something may have changed: take a turn */
    void (*receive)(struct server_pool *p, struct server *s); /* s is detached */
};

/* keys[]: of the three quotas. Joins them. */
struct port *port_create(struct pool_limits *limits, const struct port_ops *ops, struct server_pool *pool,
                         struct loop *loop, struct mailbox *mailbox, const struct slice keys[QUOTA_LEVELS]);
/* Leaves the quotas: no message is posted to it any more. Counts stay as they are. */
void port_leave(struct port *port);
void port_close(struct port **port); /* the pool goes; messages on their way are dealt with when they come */

/* Counts one connection in all quotas, if each stays within its limit (0: none). Else nothing is counted, and
 *full_r says which was full. */
bool port_take(struct port *port, const unsigned limits[QUOTA_LEVELS], enum quota_level *full_r);
void port_give(struct port *port); /* one less; wakes whoever waits */

static inline bool port_contended(const struct port *port, enum quota_level level)
{
    return atomic_load_explicit(&port->quotas[level]->waiting, memory_order_relaxed) != 0;
}
/* Marks this port as waiting for `wanted` connections. If that is news, the other members are asked to look,
   and true is returned: the caller must try to take once more, for what became free before the mark was
   visible. */
bool port_wait(struct port *port, enum quota_level level, unsigned wanted, uint64_t since_us);
void port_unwait(struct port *port, enum quota_level level);

/* Whether another member has waited since before before_us. */
bool port_has_elder(struct port *port, enum quota_level level, uint64_t before_us);
/* The same for one whose wants are not all promised; takes one of them over. */
bool port_promise(struct port *port, enum quota_level level, uint64_t before_us);
/* Sends the parcel to the member of QUOTA_POOL that waits longest. False: nobody waits. */
bool port_send(struct port *port, struct parcel *parcel);

#endif
