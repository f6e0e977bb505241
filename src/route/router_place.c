/* Where the relations of a statement live, and the keys of its plan. */
#include "router_private.h"

const char *leaf_name(const struct leaf *leaf)
{
    return leaf->relation && leaf->relation->name ? leaf->relation->name : "?";
}

void table_shards(const struct database_def *db, const struct table_map *map, struct shard_set *shards_r)
{
    shard_set_clear(shards_r);
    if (!map) {
        shard_set_add(shards_r, db->home);
        return;
    }
    switch (map->method) {
    case TABLE_REFERENCE:
        *shards_r = db->all_shards;
        return;
    case TABLE_SINGLE:
        shard_set_add(shards_r, map->single_shard);
        return;
    case TABLE_HASH:
        for (uint32_t i = 0; i < db->buckets; i++)
            shard_set_add(shards_r, db->bucket_shard[i]);
        return;
    case TABLE_RANGE:
        for (size_t i = 0; i < map->n_ranges; i++)
            shard_set_add(shards_r, map->ranges[i].shard);
        return;
    case TABLE_LIST:
        for (size_t i = 0; i < map->n_lists; i++)
            shard_set_add(shards_r, map->lists[i].shard);
        return;
    }
}

/* --- relations ------------------------------------------------------------------------------------- */

bool plan_obstacles(struct router *r)
{
    static const char hint_view[] = "Write the view's query instead, with the key in WHERE.";
    if (plan_beyond_limits(r))
        return true;
    if (r->missing) { /* the server says it in its own words */
        struct shard_set shards, first;
        table_shards(r->in->db, r->missing->info->map, &shards);
        shard_set_clear(&first);
        int s = shard_set_next(&shards, 0);
        shard_set_add(&first, s < 0 ? r->in->db->home : (unsigned)s);
        plan_single(r, &first);
        return true;
    }
    if (r->map_error) {
        r->plan->kind = PLAN_REFUSE;
        r->plan->refusal = keep_copy(r, r->map_error, sizeof(*r->map_error));
        return true;
    }
    if (r->view && shard_set_count(&r->in->db->all_shards) > 1) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, hint_view,
                    "view \"%s\" reads the sharded table \"%s\"", leaf_name(r->view), r->view->info->view_of);
        return true;
    }
    for (uint32_t i = 0; i < r->n_leaves && shard_set_count(&r->in->db->all_shards) > 1; i++) {
        const struct leaf *leaf = r->leaves[i];
        if (!leaf->written || !leaf->info || !leaf->info->view_of_reference)
            continue;
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Write to the table itself.",
                    "view \"%s\" writes to the reference table \"%s\"", leaf_name(leaf),
                    leaf->info->view_of_reference);
        return true;
    }
    return false;
}

void take_census(const struct router *r, struct census *c_r)
{
    *c_r = (struct census){0};
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        switch (leaf->place) {
        case PLACE_KEYED:
            c_r->keyed++;
            c_r->a_keyed = c_r->a_keyed ? c_r->a_keyed : leaf;
            break;
        case PLACE_REFERENCE:
            c_r->reference++;
            c_r->a_reference = leaf;
            c_r->reference_written += leaf->written;
            break;
        case PLACE_HOME:
            shard_set_add(&c_r->fixed, r->in->db->home);
            c_r->a_fixed = leaf;
            break;
        case PLACE_SINGLE:
            shard_set_add(&c_r->fixed, leaf->map->single_shard);
            c_r->a_fixed = leaf;
            break;
        case PLACE_DERIVED:
            break;
        }
    }
}

/* --- keys ------------------------------------------------------------------------------------------ */

/* Number of a bucket map among the plan's; tables hashed by one family of types share the first one's. */
static bool map_number(struct router *r, const struct leaf *leaf, uint8_t *number_r)
{
    struct plan *p = r->plan;
    if (!p->map) {
        p->map = bucket_map_ref(leaf->info->buckets);
        p->table = leaf->map;
        r->first_keyed = leaf;
    }
    *number_r = 0;
    if (leaf->info->buckets == p->map ||
        (leaves_agree(leaf, r->first_keyed) && leaf->map->method == TABLE_HASH))
        return true;
    for (uint8_t i = 0; i < p->n_more_maps; i++)
        if (p->more_maps[i] == leaf->info->buckets) {
            *number_r = (uint8_t)(i + 1);
            return true;
        }
    if (p->n_more_maps == 250)
        return false;
    const struct bucket_map **grown =
        arena_alloc(r->keep, (size_t)(p->n_more_maps + 1) * sizeof(struct bucket_map *));
    if (p->n_more_maps)
        memcpy(grown, p->more_maps, p->n_more_maps * sizeof(struct bucket_map *));
    grown[p->n_more_maps++] = bucket_map_ref(leaf->info->buckets);
    p->more_maps = grown;
    *number_r = p->n_more_maps;
    return true;
}

static bool same_ref(const struct key_ref *a, const struct key_ref *b)
{
    return a->source == b->source && a->negate == b->negate && a->index == b->index &&
           a->type_oid == b->type_oid && a->map == b->map;
}

/* Appends without doubles; big lists (IN with thousands of members) are taken as they are. */
static void add_key(struct key_ref *keys, uint32_t *n, struct key_ref ref)
{
    for (uint32_t i = 0; *n < 64 && i < *n; i++)
        if (same_ref(&keys[i], &ref))
            return;
    keys[(*n)++] = ref;
}

/* Leaves of one class share one list. */
static bool pins_used_before(struct router *r, uint32_t leaf, const uint8_t *numbers)
{
    for (uint32_t i = 0; i < leaf && r->leaves[leaf]->n_pins > 1; i++)
        if (r->leaves[i]->place == PLACE_KEYED && r->leaves[i]->pins == r->leaves[leaf]->pins &&
            numbers[i] == numbers[leaf])
            return true;
    return false;
}

static void use_pins(struct router *r)
{
    struct plan *p = r->plan;
    uint32_t total = 0;
    uint8_t *numbers = arena_zalloc(r->arena, r->n_leaves + 1);
    bool *used = arena_zalloc(r->arena, r->n_leaves + 1);
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        used[i] = leaf->place == PLACE_KEYED && map_number(r, leaf, &numbers[i]) &&
                  !pins_used_before(r, i, numbers);
        total += used[i] ? leaf->n_pins : 0;
    }
    p->keys = arena_alloc(r->keep, (total + 1) * sizeof(*p->keys));
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        if (!used[i])
            continue;
        for (uint32_t k = 0; k < leaf->n_pins; k++) {
            struct key_ref ref = leaf->pins[k];
            ref.map = numbers[i];
            if (ref.untyped)
                ref.untyped = r->param_good[ref.index] < r->stmt->param_uses[ref.index];
            add_key(p->keys, &p->n_keys, ref);
        }
    }
}

bool plan_keys(struct router *r, bool *all_pinned_r)
{
    struct plan *p = r->plan;
    struct shard_set shards;
    *all_pinned_r = true;
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        if (leaf->place != PLACE_KEYED)
            continue;
        table_shards(r->in->db, leaf->map, &shards);
        shard_set_union(&p->fixed, &shards);
        *all_pinned_r &= leaf->pinned;
    }
    p->kind = PLAN_SINGLE;
    if (*all_pinned_r)
        use_pins(r);
    if (shard_set_count(&p->fixed) <= 1)
        return true;
    return *all_pinned_r && p->n_keys == 1 && p->keys[0].source != KEY_PARAM_ARRAY &&
           p->keys[0].source != KEY_LITERAL_ARRAY;
}
