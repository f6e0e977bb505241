/*
 * Quotas and ports: how the workers' pools share a limit without sharing a lock on the way of a statement.
 *
 * On that way a pool only loads `waiting` (relaxed). Everything else happens when a connection is opened or
 * closed, or when somebody waits. W is a pool that waits, M another member of the quota. Why W is not
 * forgotten:
 *
 *  1. A slot that becomes free. W: (a) marks itself waiting, (b) tries to take once more. M: (c) used--,
 *     (d) loads waiting. All four are sequentially consistent. If (d) does not see the mark, (d) is before
 *     (a) in their total order, so (c) is before (b), and (b) sees the free slot. Else M posts a message to
 *     W. A taker that has to put back what it took (the next quota was full) does (c) and (d) as well.
 *  2. A connection that is idle at M. W posts a message to every other member after it has marked itself; M
 *     looks at its idle connections when the message comes. What became idle before that is seen then. What
 *     becomes idle later is released on the thread that has received the message, hence after the mark, and
 *     the relaxed load sees it. A member that joins takes the quota's lock, which orders it likewise.
 *  3. A message that is not posted because one is on its way (look_posted). The receiver clears the flag
 *     before it looks, and both sides exchange the flag: whoever finds it set marked itself before the
 *     exchange that the receiver's clearing follows, so the receiver sees that mark.
 *  4. A connection that was promised but died on the way. Then it is closed: see 1. Promises only keep
 *     several members from serving one wait; a wait stays marked until W itself unmarks it, and each turn
 *     of W renews what it wants.
 *  5. A member that held back in favour of an elder (port_has_elder). The elder unmarks itself when it is
 *     served or gives up, and then wakes those that still wait (QUOTA_DATABASE, QUOTA_USER; at QUOTA_POOL
 *     nobody holds back a slot).
 *
 * Locks: pool_limits' before a quota's before a mailbox's.
 */
#include "quota.h"

#include "base/arena.h"
#include <assert.h>
#include <stdlib.h>

struct pool_limits {
    pthread_mutex_t lock;
    struct hashmap quotas;
};

struct pool_limits *pool_limits_create(void)
{
    struct pool_limits *l = xcalloc(1, sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    hashmap_init(&l->quotas);
    return l;
}

void pool_limits_destroy(struct pool_limits **l)
{
    if (!*l)
        return;
    assert((*l)->quotas.count == 0); /* managers, and their mailboxes, go first */
    hashmap_free(&(*l)->quotas, NULL);
    pthread_mutex_destroy(&(*l)->lock);
    free(*l);
    *l = NULL;
}

/* --- quotas ----------------------------------------------------------------------------------- */

static struct quota *quota_ref(struct pool_limits *limits, struct slice key)
{
    pthread_mutex_lock(&limits->lock);
    struct quota *q = hashmap_get(&limits->quotas, key);
    if (!q) {
        q = xcalloc(1, sizeof(*q));
        q->limits = limits;
        q->key = slice_of(xstrndup(key.data, key.len), key.len);
        pthread_mutex_init(&q->lock, NULL);
        list_init(&q->members);
        hashmap_put(&limits->quotas, key, q);
    }
    q->refs++;
    pthread_mutex_unlock(&limits->lock);
    return q;
}

static void quota_unref(struct quota *q)
{
    struct pool_limits *limits = q->limits;
    pthread_mutex_lock(&limits->lock);
    bool last = --q->refs == 0;
    if (last)
        hashmap_remove(&limits->quotas, q->key);
    pthread_mutex_unlock(&limits->lock);
    if (!last)
        return;
    assert(list_empty(&q->members));
    pthread_mutex_destroy(&q->lock);
    free((void *)(uintptr_t)q->key.data);
    free(q);
}

/* --- ports ------------------------------------------------------------------------------------ */

static void port_ref(struct port *port)
{
    atomic_fetch_add_explicit(&port->refs, 1, memory_order_relaxed);
}

static void port_unref(struct port *port)
{
    if (atomic_fetch_sub_explicit(&port->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < QUOTA_LEVELS; i++)
        quota_unref(port->quotas[i]);
    free(port);
}

static void look_delivered(struct mail *mail, void *receiver)
{
    (void)receiver;
    struct port *port = list_entry(mail, struct port, look);
    atomic_exchange(&port->look_posted, false);
    if (port->pool)
        port->ops->look(port->pool);
    port_unref(port);
}

/* Under the lock of a quota that the port is a member of. */
static void ask_to_look(struct port *port)
{
    if (atomic_exchange(&port->look_posted, true))
        return;
    port_ref(port);
    mailbox_post(port->mailbox, &port->look);
}

struct port *port_create(struct pool_limits *limits, const struct port_ops *ops, struct server_pool *pool,
                         struct loop *loop, struct mailbox *mailbox, const struct slice keys[QUOTA_LEVELS])
{
    struct port *port = xcalloc(1, sizeof(*port));
    atomic_init(&port->refs, 1);
    port->ops = ops;
    port->pool = pool;
    port->loop = loop;
    port->mailbox = mailbox;
    port->look.deliver = look_delivered;
    for (int i = 0; i < QUOTA_LEVELS; i++) {
        struct quota *q = port->quotas[i] = quota_ref(limits, keys[i]);
        port->members[i].port = port;
        pthread_mutex_lock(&q->lock);
        list_push_back(&q->members, &port->members[i].node);
        pthread_mutex_unlock(&q->lock);
    }
    return port;
}

void port_leave(struct port *port)
{
    for (int i = 0; i < QUOTA_LEVELS; i++) {
        struct quota *q = port->quotas[i];
        port_unwait(port, (enum quota_level)i);
        pthread_mutex_lock(&q->lock);
        if (list_linked(&port->members[i].node))
            list_remove(&q->members, &port->members[i].node);
        pthread_mutex_unlock(&q->lock);
    }
}

void port_close(struct port **port)
{
    port_leave(*port);
    (*port)->pool = NULL;
    port_unref(*port);
    *port = NULL;
}

/* --- counting --------------------------------------------------------------------------------- */

static void wake_waiting(struct quota *q, const struct port *but)
{
    if (atomic_load(&q->waiting) == 0)
        return;
    pthread_mutex_lock(&q->lock);
    list_foreach(&q->members, node, next)
    {
        struct quota_member *m = list_entry(node, struct quota_member, node);
        if (m->waiting && m->port != but)
            ask_to_look(m->port);
    }
    pthread_mutex_unlock(&q->lock);
}

static void quota_give(struct quota *q)
{
    unsigned before = atomic_fetch_sub(&q->used, 1);
    assert(before > 0);
    wake_waiting(q, NULL);
}

static bool quota_take(struct quota *q, unsigned limit)
{
    unsigned used = atomic_load(&q->used);
    do {
        if (limit > 0 && used >= limit)
            return false;
    } while (!atomic_compare_exchange_weak(&q->used, &used, used + 1));
    return true;
}

bool port_take(struct port *port, const unsigned limits[QUOTA_LEVELS], enum quota_level *full_r)
{
    for (int i = 0; i < QUOTA_LEVELS; i++) {
        if (quota_take(port->quotas[i], limits[i]))
            continue;
        *full_r = (enum quota_level)i;
        while (--i >= 0)
            quota_give(port->quotas[i]);
        return false;
    }
    return true;
}

void port_give(struct port *port)
{
    for (int i = 0; i < QUOTA_LEVELS; i++)
        quota_give(port->quotas[i]);
}

/* --- waiting ---------------------------------------------------------------------------------- */

bool port_wait(struct port *port, enum quota_level level, unsigned wanted, uint64_t since_us)
{
    struct quota *q = port->quotas[level];
    struct quota_member *self = &port->members[level];
    pthread_mutex_lock(&q->lock);
    bool news = !self->waiting || wanted > self->wanted;
    if (!self->waiting)
        atomic_fetch_add(&q->waiting, 1);
    self->waiting = true;
    self->wanted = wanted;
    self->since_us = since_us;
    if (news) {
        list_foreach(&q->members, node, next)
        {
            struct quota_member *m = list_entry(node, struct quota_member, node);
            if (m != self)
                ask_to_look(m->port);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return news;
}

void port_unwait(struct port *port, enum quota_level level)
{
    struct quota *q = port->quotas[level];
    struct quota_member *self = &port->members[level];
    pthread_mutex_lock(&q->lock);
    bool was = self->waiting;
    if (was)
        atomic_fetch_sub(&q->waiting, 1);
    self->waiting = false;
    self->wanted = 0;
    pthread_mutex_unlock(&q->lock);
    if (was && level != QUOTA_POOL)
        wake_waiting(q, port);
}

/* Under the lock. The one that waits longest, since before before_us; not `but`. */
static struct quota_member *eldest(struct quota *q, const struct port *but, uint64_t before_us,
                                   bool unpromised)
{
    struct quota_member *found = NULL;
    list_foreach(&q->members, node, next)
    {
        struct quota_member *m = list_entry(node, struct quota_member, node);
        if (!m->waiting || m->port == but || m->since_us >= before_us || (unpromised && m->wanted == 0))
            continue;
        if (!found || m->since_us < found->since_us)
            found = m;
    }
    return found;
}

bool port_has_elder(struct port *port, enum quota_level level, uint64_t before_us)
{
    struct quota *q = port->quotas[level];
    pthread_mutex_lock(&q->lock);
    bool has = eldest(q, port, before_us, false) != NULL;
    pthread_mutex_unlock(&q->lock);
    return has;
}

bool port_promise(struct port *port, enum quota_level level, uint64_t before_us)
{
    struct quota *q = port->quotas[level];
    pthread_mutex_lock(&q->lock);
    struct quota_member *m = eldest(q, port, before_us, true);
    if (m)
        m->wanted--;
    pthread_mutex_unlock(&q->lock);
    return m != NULL;
}

/* --- moving ----------------------------------------------------------------------------------- */

static void parcel_delivered(struct mail *mail, void *receiver)
{
    (void)receiver;
    struct parcel *parcel = list_entry(mail, struct parcel, mail);
    struct port *port = parcel->port;
    struct server *s = parcel->server;
    free(parcel);
    if (port->pool) {
        port->ops->receive(port->pool, s);
    } else {
        server_attach(s, port->loop, NULL); /* it dies on this thread */
        server_destroy(&s);
        port_give(port);
    }
    port_unref(port);
}

/* The lock keeps the receiver from leaving between being chosen and the posting. */
bool port_send(struct port *port, struct parcel *parcel)
{
    struct quota *q = port->quotas[QUOTA_POOL];
    pthread_mutex_lock(&q->lock);
    struct quota_member *m = eldest(q, port, UINT64_MAX, false);
    if (m) {
        port_ref(m->port);
        parcel->port = m->port;
        parcel->mail = (struct mail){.deliver = parcel_delivered};
        mailbox_post(m->port->mailbox, &parcel->mail);
    }
    pthread_mutex_unlock(&q->lock);
    return m != NULL;
}
