/*
 * Routing by hand: the comment "pgunison: shard=s1" or "pgunison: key=42" in a statement, or the session's
 * pgunison.shard.
 *
 * A statement is planned as if there were no hint; then the hint says where it runs, as far as that plan lets it:
 *
 *   reads                               run on that shard, over its part of the rows
 *   writes whose keys are known         run if every key of the execution belongs to that shard (route_resolve())
 *   UPDATE, DELETE without a key        change that shard's part, if each shard could do its part alone
 *   what is refused over shards         stays refused when it writes: one shard alone cannot make it right
 *   reference tables, DDL, COPY FROM    stay on all shards that have the table: a hint to one of them is refused
 *   code (DO, CALL, functions)          runs where the hint says: nobody can look into it
 *
 * So no row is stored where it is not looked for, and no object differs between shards, because of a hint.
 */
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

/* The hint's shard, as an index in the database. */
static bool find_shard(struct router *r, struct slice name, unsigned *shard_r)
{
    const struct database_def *db = r->in->db;
    for (unsigned i = 0; i < db->n_shards; i++)
        if (slice_eq_str(name, db->shards[i]->name)) {
            *shard_r = i;
            return true;
        }
    plan_refuse(r, SQLSTATE_UNDEFINED_OBJECT, "SHOW SHARDS on the console lists them.",
                "shard \"%.*s\" does not exist in database \"%s\"", (int)name.len, (const char *)name.data,
                db->name);
    return false;
}

static bool find_key(struct router *r, struct slice value, unsigned *shard_r)
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
            return false;
        }
        shard_set_add(&shards, target.shard);
    }
    if (shard_set_count(&shards) != 1) {
        plan_refuse(
            r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Use shard=NAME instead.",
            "routing by key=... needs sharded tables in the statement that keep this key on one shard");
        return false;
    }
    *shard_r = (unsigned)shard_set_next(&shards, 0);
    return true;
}

/* False: the plan is a refusal. */
static bool hint_shard(struct router *r, unsigned *shard_r)
{
    struct hint h = read_hint(r);
    if (r->in->no_hints) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Leave the hint out, or set routing_hints = on.",
                    "routing by hand is turned off");
        return false;
    }
    if (slice_eq_str(h.name, "shard") && h.value.len > 0)
        return find_shard(r, h.value, shard_r);
    if (slice_eq_str(h.name, "key") && h.value.data)
        return find_key(r, h.value, shard_r);
    plan_refuse(r, SQLSTATE_SYNTAX_ERROR, "Write shard=NAME or key=VALUE.",
                "routing hint \"%.*s\" cannot be read", (int)h.name.len, (const char *)h.name.data);
    return false;
}

/* --- what may run there ------------------------------------------------------------------------ */

static const char *shard_name(const struct router *r, unsigned shard)
{
    return r->in->db->shards[shard]->name;
}

static bool one_shard_only(const struct router *r)
{
    return shard_set_count(&r->in->db->all_shards) <= 1;
}

static void run_there(struct router *r, unsigned shard)
{
    struct plan *p = r->plan;
    struct shard_set there;
    shard_set_clear(&there);
    shard_set_add(&there, shard);
    plan_single(r, &there);
    p->refusal = NULL;
    p->refuse_if_several = p->has_rewrite = p->tag_of_one = p->read_any_shard = false;
    p->n_keys = 0;
    memset(&p->merge, 0, sizeof(p->merge));
    memset(&p->split, 0, sizeof(p->split));
    p->why = "routed by hand";
}

static void refuse_elsewhere(struct router *r, unsigned shard, const char *what)
{
    const struct plan *p = r->plan;
    int first = shard_set_next(&p->fixed, 0);
    if (shard_set_count(&p->fixed) == 1)
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Leave the routing hint out.",
                    "the routing hint says shard \"%s\", but %s belongs to shard \"%s\"",
                    shard_name(r, shard), what, shard_name(r, (unsigned)first));
    else
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Leave the routing hint out; for one shard alone, connect to it without the proxy.",
                    "the routing hint says shard \"%s\", but %s belongs to all shards that have the table",
                    shard_name(r, shard), what);
}

static bool writes_known_table(const struct router *r)
{
    for (uint32_t i = 0; i < r->n_leaves; i++)
        if (r->leaves[i]->written &&
            (r->leaves[i]->map || (r->leaves[i]->info && r->leaves[i]->info->exists)))
            return true;
    return false;
}

/* The statement may write: `row` says that it does so itself, not only perhaps by a function. */
static void hint_write(struct router *r, unsigned shard, bool row)
{
    struct plan *p = r->plan;
    if (p->n_keys > 0 || p->kind == PLAN_SPLIT) {
        shard_set_clear(&p->fixed);
        shard_set_add(&p->fixed, shard);
        p->by_hand = (uint16_t)(shard + 1);
        p->why = "routed by hand";
        return;
    }
    bool has = shard_set_has(&p->fixed, shard);
    if (has && shard_set_count(&p->fixed) == 1)
        return;
    if ((row && !has) || p->tag_of_one)
        refuse_elsewhere(r, shard, p->tag_of_one ? "a reference table's row" : "what it writes or locks");
    else
        run_there(r, shard);
}

/* A relation that is not listed and that the home shard does not have may be the hinted shard's own. */
static bool hint_missing(struct router *r, unsigned shard)
{
    if (!r->missing)
        return false;
    if (writes_known_table(r))
        refuse_elsewhere(r, shard, "a table that it writes");
    else
        run_there(r, shard);
    return true;
}

void hint_query(struct router *r)
{
    struct plan *p = r->plan;
    unsigned shard;
    if (!has_hint(r) || r->needs_catalog || !hint_shard(r, &shard) || one_shard_only(r))
        return;
    const bool row = r->writes || r->locks_rows;
    const char *function = statement_home_function(r);
    if (function && shard != r->in->db->home) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Leave the routing hint out.",
                    "the routing hint says shard \"%s\", but %s() works with the state of shard \"%s\"",
                    shard_name(r, shard), function, shard_name(r, r->in->db->home));
        return;
    }
    if (hint_missing(r, shard))
        return;
    if (p->kind == PLAN_REFUSE && (row || strcmp(p->refusal->sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED) != 0))
        return;
    if (p->kind == PLAN_REFUSE || !p->writes)
        run_there(r, shard);
    else
        hint_write(r, shard, row);
}

void hint_copy(struct router *r, bool from)
{
    struct plan *p = r->plan;
    unsigned shard;
    if (!has_hint(r) || !hint_shard(r, &shard) || one_shard_only(r) || hint_missing(r, shard))
        return;
    if (!from) {
        if (p->kind != PLAN_REFUSE || strcmp(p->refusal->sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED) == 0)
            run_there(r, shard);
        return;
    }
    if (p->kind == PLAN_REFUSE || (shard_set_count(&p->fixed) == 1 && shard_set_has(&p->fixed, shard)))
        return;
    if (p->copy.replicate || shard_set_count(&p->fixed) == 1)
        refuse_elsewhere(r, shard, p->copy.replicate ? "a reference table's row" : "the table");
    else
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Leave the routing hint out: each row goes to the shard of its key.",
                    "COPY into a sharded table cannot be routed by hand");
}

void hint_code(struct router *r)
{
    unsigned shard;
    if (hint_shard(r, &shard))
        run_there(r, shard);
}

void hint_create_as(struct router *r, const struct shard_set *shards, bool temporary)
{
    struct plan *p = r->plan;
    unsigned shard;
    if (!hint_shard(r, &shard))
        return;
    if (r->writes) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Leave the routing hint out.",
                    "a statement that makes a table and writes to others cannot be routed by hand");
        return;
    }
    p->fixed = *shards;
    if (temporary || one_shard_only(r) || (shard_set_count(shards) == 1 && shard_set_has(shards, shard)))
        run_there(r, shard);
    else
        refuse_elsewhere(r, shard, "the table");
}

/* Relations that no other shard has or could be asked for: temporary ones, and those that are not listed and that
 * the home shard does not have. */
static bool of_one_shard(struct router *r, const struct sql_statement *stmt)
{
    for (uint32_t i = 0; i < stmt->n_relations; i++) {
        const struct leaf *leaf;
        if (stmt->relations[i].temporary)
            continue;
        leaf = bind_relation(r, &stmt->relations[i]);
        if (leaf->info && leaf->info->temporary)
            continue;
        if (leaf->map || !leaf->info || leaf->info->exists)
            return false;
        if (r->in->db->wildcard && names_have(stmt->columns, stmt->n_columns, r->in->db->wildcard->column))
            return false;
    }
    return stmt->n_relations > 0 && !stmt->renamed;
}

void hint_ddl(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    unsigned shard;
    if (!has_hint(r) || r->needs_catalog || !hint_shard(r, &shard) || one_shard_only(r))
        return;
    bool own = of_one_shard(r, stmt);
    if (r->needs_catalog || p->kind == PLAN_REFUSE ||
        (shard_set_count(&p->fixed) == 1 && shard_set_has(&p->fixed, shard)))
        return;
    if (own || (stmt->of_a_part && shard_set_has(&p->fixed, shard)))
        run_there(r, shard);
    else
        refuse_elsewhere(r, shard, "this statement");
}
