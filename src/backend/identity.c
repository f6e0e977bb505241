#include "identity.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/hashmap.h"
#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENT_US    UINT64_C(30000000)
#define LOG_AGAIN_US UINT64_C(60000000)

/* What the connection began with comes from itself, not from pg_db_role_setting, which may have changed since. The
 * timeline is read from the name of the WAL file at hand: the control file tells of a promotion only after the next
 * checkpoint. */
const char identity_sql[] =
    "SELECT pg_catalog.pg_is_in_recovery(), (pg_catalog.pg_control_system()).system_identifier,"
    " CASE WHEN NOT pg_catalog.pg_is_in_recovery()"
    " THEN pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END,"
    " pg_catalog.current_setting('default_transaction_isolation'),"
    " (SELECT pg_catalog.string_agg(pg_catalog.concat_ws('=', g.name, g.reset_val), ';' ORDER BY g.name)"
    " FROM pg_catalog.pg_settings g WHERE g.source OPERATOR(pg_catalog.=) ANY"
    " (ARRAY['database', 'user', 'database user']::pg_catalog.text[]))";

struct known {
    struct identity identity;
    char *good;         /* place; NULL: none */
    uint64_t logged_us; /* when a refusal was last logged */
};

static struct {
    pthread_mutex_t lock;
    struct hashmap shards; /* by key -> struct known */
    struct hashmap silent; /* by place -> uint64_t *: until when */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct known *known_of(const char *key)
{
    struct known *k = hashmap_get(&all.shards, slice_str(key));
    if (!k) {
        k = xcalloc(1, sizeof(*k));
        hashmap_put(&all.shards, slice_str(key), k);
    }
    return k;
}

static void refuse(struct known *k, const char *shard, const char *place, const struct identity *found,
                   struct error *error_r)
{
    uint64_t now = clock_monotonic_us();
    if (strcmp(found->system_id, k->identity.system_id) != 0) {
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE,
                        "could not connect to shard \"%s\": the server at %s is another one", shard, place);
        error_detail(error_r, "Its system identifier is %s; that of the shard is %s.", found->system_id,
                     k->identity.system_id);
    } else {
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE,
                        "could not connect to shard \"%s\": the server at %s was left behind by a promotion",
                        shard, place);
        error_detail(error_r, "It writes timeline %u; timeline %u of the shard was seen.", found->timeline,
                     k->identity.timeline);
    }
    error_hint(error_r, "If it is meant to be the shard from now on, restart the proxy.");
    if (k->logged_us == 0 || now - k->logged_us > LOG_AGAIN_US)
        log_error("%s: %s It is not used", error_r->message, error_r->detail);
    k->logged_us = now;
}

enum status identity_accept(const char *key, const char *shard, const char *place,
                            const struct identity *found, struct error *error_r)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&all.lock);
    struct known *k = known_of(key);
    bool other = found->system_id[0] && k->identity.system_id[0] &&
                 strcmp(found->system_id, k->identity.system_id) != 0;
    bool older = found->timeline && found->timeline < k->identity.timeline;
    if (other || older) {
        refuse(k, shard, place, found, error_r);
        status = STATUS_ERROR;
    } else {
        if (found->system_id[0])
            k->identity = (struct identity){.timeline = k->identity.timeline};
        if (found->system_id[0])
            snprintf(k->identity.system_id, sizeof(k->identity.system_id), "%s", found->system_id);
        if (found->timeline > k->identity.timeline) {
            if (k->identity.timeline)
                log_info("shard \"%s\" has timeline %u now, at %s", shard, found->timeline, place);
            k->identity.timeline = found->timeline;
        }
    }
    pthread_mutex_unlock(&all.lock);
    return status;
}

void identity_set_good(const char *key, const char *place)
{
    pthread_mutex_lock(&all.lock);
    struct known *k = known_of(key);
    if (!k->good || strcmp(k->good, place) != 0) {
        free(k->good);
        k->good = xstrdup(place);
    }
    pthread_mutex_unlock(&all.lock);
}

bool identity_is_good(const char *key, const char *place)
{
    pthread_mutex_lock(&all.lock);
    const struct known *k = hashmap_get(&all.shards, slice_str(key));
    bool good = k && k->good && strcmp(k->good, place) == 0;
    pthread_mutex_unlock(&all.lock);
    return good;
}

void identity_set_silent(const char *place, bool silent)
{
    pthread_mutex_lock(&all.lock);
    uint64_t *until = hashmap_get(&all.silent, slice_str(place));
    if (silent && !until) {
        until = xcalloc(1, sizeof(*until));
        hashmap_put(&all.silent, slice_str(place), until);
    }
    if (until)
        *until = silent ? clock_monotonic_us() + SILENT_US : 0;
    pthread_mutex_unlock(&all.lock);
}

bool identity_is_silent(const char *place)
{
    pthread_mutex_lock(&all.lock);
    const uint64_t *until = hashmap_get(&all.silent, slice_str(place));
    bool silent = until && clock_monotonic_us() < *until;
    pthread_mutex_unlock(&all.lock);
    return silent;
}

static void free_known(void *arg)
{
    struct known *k = arg;
    free(k->good);
    free(k);
}

void identity_init(void)
{
    hashmap_init(&all.shards);
    hashmap_init(&all.silent);
}

void identity_deinit(void)
{
    hashmap_free(&all.shards, free_known);
    hashmap_free(&all.silent, free);
}
