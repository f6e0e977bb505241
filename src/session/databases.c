/*
 * What operators said of databases: DISABLE, PAUSE. Names, because a RELOAD may take a database away and
 * bring it back.
 *
 * Not responsible for what follows from it: login.c refuses, pools of a paused database give nothing out
 * (backend/pool.h).
 */
#include "session/env.h"

void session_databases_init(struct session_databases *d)
{
    pthread_mutex_init(&d->lock, NULL);
    for (int i = 0; i < DATABASE_MARKS; i++)
        hashmap_init(&d->marked[i]);
}

void session_databases_deinit(struct session_databases *d)
{
    for (int i = 0; i < DATABASE_MARKS; i++)
        hashmap_free(&d->marked[i], NULL);
    pthread_mutex_destroy(&d->lock);
}

bool session_database_mark(struct session_databases *d, enum database_mark mark, const char *name, bool on)
{
    pthread_mutex_lock(&d->lock);
    void *before = on ? hashmap_put(&d->marked[mark], slice_str(name), d)
                      : hashmap_remove(&d->marked[mark], slice_str(name));
    pthread_mutex_unlock(&d->lock);
    return before != NULL;
}

bool session_database_is(struct session_databases *d, enum database_mark mark, const char *name)
{
    pthread_mutex_lock(&d->lock);
    bool is = hashmap_get(&d->marked[mark], slice_str(name)) != NULL;
    pthread_mutex_unlock(&d->lock);
    return is;
}
