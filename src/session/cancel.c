/*
 * Cancel requests. The key that a client is given carries its worker in the upper bits of the process id, so
 * that any worker (or the accepting thread) can pass a request on without a table that threads share.
 */
#include "session.h"

#include "base/log.h"

#include <stdlib.h>
#include <sys/random.h>

#define WORKER_SHIFT 20

static struct slice cancel_key(uint32_t pid, uint32_t secret, uint8_t key[8])
{
    for (int i = 0; i < 4; i++) {
        key[i] = (uint8_t)(pid >> (24 - 8 * i));
        key[4 + i] = (uint8_t)(secret >> (24 - 8 * i));
    }
    return slice_of(key, 8);
}

void cancel_register(struct client *c)
{
    struct session_env *env = c->env;
    uint8_t key[8];
    do {
        env->next_pid = (env->next_pid + 1) & ((1u << WORKER_SHIFT) - 1);
        c->pid = (env->worker << WORKER_SHIFT) | env->next_pid;
        if (getrandom(&c->secret, sizeof c->secret, 0) != (ssize_t)sizeof c->secret)
            abort();
    } while (env->next_pid == 0 || hashmap_get(&env->cancel_keys, cancel_key(c->pid, c->secret, key)));
    hashmap_put(&env->cancel_keys, cancel_key(c->pid, c->secret, key), c);
}

void cancel_unregister(struct client *c)
{
    uint8_t key[8];
    if (c->pid)
        hashmap_remove(&c->env->cancel_keys, cancel_key(c->pid, c->secret, key));
}

unsigned cancel_worker_of(uint32_t pid)
{
    return pid >> WORKER_SHIFT;
}

void client_cancel(struct session_env *env, uint32_t pid, uint32_t secret)
{
    uint8_t key[8];
    struct client *c = hashmap_get(&env->cancel_keys, cancel_key(pid, secret, key));
    if (!c || c->state == CLIENT_CLOSING)
        return;
    log_debug("client pid %u: cancel request", pid);
    if (c->commit && c->txn.state == TXN_ENDING) { /* else it has been answered */
        txn_commit_cancel(c);
        return;
    }
    if (c->run == RUN_ENDING)
        return; /* a COMMIT of one phase, or a ROLLBACK: it is through in a moment, and cancelling it would
                   leave it open which */
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->waiting) {
            struct error e;
            error_set(&e, SQLSTATE_QUERY_CANCELED, "canceling statement due to user request");
            pool_cancel_wait(&c->links[i]->wait);
            link_acquire_failed(c, &e);
            if (c->run != RUN_PIPELINE)
                return;
            break; /* what a pipeline has sent to other shards before runs */
        }
    link_cancel_all(c);
}
