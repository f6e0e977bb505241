/* Routing by hand: the comment "pgunison: shard=s1" or "pgunison: key=42" in a statement, or the session's
 * pgunison.shard and pgunison.key. */
#include "router_private.h"
#include <ctype.h>

struct hint {
    struct slice name, value;
};

static struct slice trim(struct slice s)
{
    while (s.len && isspace(s.data[0]))
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len && isspace(s.data[s.len - 1]))
        s.len--;
    return s;
}

static struct hint read_hint(const struct router *r)
{
    static const char prefix[] = "pgunison:";
    struct slice s = trim(r->t->hint.len ? r->t->hint : r->in->routing);
    struct hint h = {0};
    if (s.len >= sizeof(prefix) - 1 && memcmp(s.data, prefix, sizeof(prefix) - 1) == 0)
        s = trim(slice_of(s.data + sizeof(prefix) - 1, s.len - (sizeof(prefix) - 1)));
    const uint8_t *equals = s.len ? memchr(s.data, '=', s.len) : NULL;
    if (!equals) {
        h.name = s;
        return h;
    }
    h.name = trim(slice_of(s.data, (size_t)(equals - s.data)));
    h.value = trim(slice_of(equals + 1, s.len - (size_t)(equals - s.data) - 1));
    if (h.value.len >= 2 && (h.value.data[0] == '\'' || h.value.data[0] == '"') &&
        h.value.data[h.value.len - 1] == h.value.data[0])
        h.value = slice_of(h.value.data + 1, h.value.len - 2);
    return h;
}

bool has_hint(const struct router *r)
{
    return trim(r->t->hint).len > 0 || trim(r->in->routing).len > 0;
}

static void plan_shard(struct router *r, struct slice name)
{
    const struct database_def *db = r->in->db;
    struct shard_set shards;
    shard_set_clear(&shards);
    for (unsigned i = 0; i < db->n_shards; i++)
        if (slice_eq_str(name, db->shards[i]->name))
            shard_set_add(&shards, i);
    if (shard_set_count(&shards) == 0) {
        plan_refuse(r, SQLSTATE_UNDEFINED_OBJECT, "SHOW SHARDS on the console lists them.",
                    "shard \"%.*s\" does not exist in database \"%s\"", (int)name.len,
                    (const char *)name.data, db->name);
        return;
    }
    plan_single(r, &shards);
    r->plan->why = "routed by hand";
}

static void plan_key(struct router *r, struct slice value)
{
    struct shard_set shards;
    struct bucket_target target;
    struct error e;
    shard_set_clear(&shards);
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        if (leaf->place != PLACE_KEYED || !leaf->info->buckets)
            continue;
        if (bucket_map_find(leaf->info->buckets, 0, 0, value, &target, &e) != STATUS_OK) {
            r->plan->kind = PLAN_REFUSE;
            r->plan->refusal = keep_copy(r, &e, sizeof(e));
            return;
        }
        shard_set_add(&shards, target.shard);
    }
    if (shard_set_count(&shards) != 1) {
        plan_refuse(
            r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Use shard=NAME instead.",
            "routing by key=... needs sharded tables in the statement that keep this key on one shard");
        return;
    }
    plan_single(r, &shards);
    r->plan->why = "routed by hand";
}

bool plan_by_hint(struct router *r)
{
    if (!has_hint(r))
        return false;
    struct hint h = read_hint(r);
    if (slice_eq_str(h.name, "shard") && h.value.len > 0)
        plan_shard(r, h.value);
    else if (slice_eq_str(h.name, "key") && h.value.data)
        plan_key(r, h.value);
    else
        plan_refuse(r, SQLSTATE_SYNTAX_ERROR, "Write shard=NAME or key=VALUE.",
                    "routing hint \"%.*s\" cannot be read", (int)h.name.len, (const char *)h.name.data);
    return true;
}
