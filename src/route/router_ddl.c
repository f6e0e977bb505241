/*
 * DDL and other statements about objects.
 *
 * They run on every shard that has the object: a table's shards, the home shard for sequences, every shard
 * for schemas, types, functions, roles. Statements that a transaction block does not allow run on each shard
 * by themselves (VERB_PER_SHARD).
 *
 * What one shard alone cannot keep true is refused: uniqueness without the key, foreign keys between rows of
 * different shards, sequences that would count on each shard, and views over tables of which a shard sees a
 * part.
 */
#include "router_private.h"

static bool one_shard(const struct shard_set *shards)
{
    return shard_set_count(shards) <= 1;
}

static void plan_on(struct router *r, const struct sql_statement *stmt, const struct shard_set *shards)
{
    struct plan *p = r->plan;
    plan_home(r); /* of a statement that names no relation: the server says what is wrong with it */
    if (shard_set_count(shards) > 0)
        p->fixed = *shards;
    p->kind = one_shard(shards) ? PLAN_SINGLE : PLAN_BROADCAST;
    p->tag_of_one = !one_shard(shards);
    p->writes = true;
    p->changes_catalog = stmt->changes_catalog;
    if (stmt->outside_transaction) {
        p->verb = VERB_PER_SHARD;
        p->writes = false;
    }
}

static void shards_of_leaf(const struct router *r, const struct leaf *leaf, struct shard_set *shards_r)
{
    table_shards(r->in->db, leaf->place == PLACE_HOME ? NULL : leaf->map, shards_r);
}

/* --- what is unique, what is referred to, what is generated ----------------------------------- */

static bool refuse_uniques(struct router *r, const struct sql_statement *stmt, const struct table_map *map)
{
    for (uint32_t i = 0; map && map->column && i < stmt->n_uniques; i++) {
        const struct sql_unique *u = &stmt->uniques[i];
        if (names_have(u->columns, u->n_columns, map->column))
            continue;
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Add the key column to it; each shard can only keep its own rows unique.",
                    "a %s of the sharded table \"%s\" must include its key column \"%s\"", u->what,
                    stmt->relations[0].name, map->column);
        return true;
    }
    return false;
}

static bool refuse_generated(struct router *r, const struct sql_statement *stmt)
{
    if (stmt->n_generated == 0)
        return false;
    plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "Use a type without a sequence, such as bigint or uuid, and give the values; nextval() of a "
                "sequence on the home shard gives unique ones.",
                "column \"%s\" of \"%s\" would take its values from another sequence on each shard",
                stmt->generated[0] ? stmt->generated[0] : "?", stmt->relations[0].name);
    return true;
}

/* The column of the table that refers to `column` of the other; NULL: none. */
static const char *referring_column(const struct sql_foreign *f, const char *column)
{
    for (uint32_t i = 0; i < f->n_columns && i < f->n_referenced; i++)
        if (strcmp(f->referenced[i], column) == 0)
            return f->columns[i];
    return NULL;
}

/* map: of the table that refers. A table on one shard may refer to what that shard has whole. */
static bool foreign_key_is_local(const struct sql_foreign *f, const struct table_map *map,
                                 const struct leaf *other)
{
    bool spread = map && map->method != TABLE_SINGLE;
    switch (other->place) {
    case PLACE_REFERENCE:
        return true;
    case PLACE_KEYED:
        break;
    default: /* on another shard the server does not find it */
        return !spread;
    }
    bool alike = spread && map->method == TABLE_HASH && other->map->method == TABLE_HASH;
    if (!spread || !map->column || !(alike || map == other->map))
        return false;
    if (f->n_referenced == 0)
        return names_have(f->columns, f->n_columns, map->column);
    const char *column = referring_column(f, other->key);
    return column && strcmp(column, map->column) == 0;
}

/* self: the relation itself when it is just being made. */
static bool refuse_foreigns(struct router *r, const struct sql_statement *stmt, const struct table_map *map)
{
    for (uint32_t i = 0; i < stmt->n_foreigns; i++) {
        const struct sql_foreign *f = &stmt->foreigns[i];
        struct leaf self = {.place = PLACE_HOME, .map = map, .key = map ? map->column : NULL};
        if (map && map->method != TABLE_SINGLE)
            self.place = map->column ? PLACE_KEYED : PLACE_REFERENCE;
        bool to_itself = strcmp(f->relation.name, stmt->relations[0].name) == 0;
        const struct leaf *other = to_itself ? &self : bind_relation(r, &f->relation);
        if (r->needs_catalog)
            return true;
        if (foreign_key_is_local(f, map, other))
            continue;
        plan_refuse(
            r, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "Refer to a reference table, or to a table sharded alike with the key column in the foreign key.",
            "a foreign key from \"%s\" to \"%s\" cannot be checked on one shard", stmt->relations[0].name,
            f->relation.name);
        return true;
    }
    return false;
}

/* True: refused. map: of the table, NULL: the home shard's. */
static bool refuse_table_parts(struct router *r, const struct sql_statement *stmt,
                               const struct table_map *map, const struct shard_set *shards)
{
    if (one_shard(&r->in->db->all_shards))
        return false;
    if (!one_shard(shards) && (refuse_uniques(r, stmt, map) || refuse_generated(r, stmt)))
        return true;
    return refuse_foreigns(r, stmt, map);
}

/* --- CREATE TABLE ----------------------------------------------------------------------------- */

/* The wildcard takes every table that has its column, also one that is just being made. */
static const struct table_map *map_to_be(struct router *r, const struct sql_statement *stmt,
                                         const struct leaf *leaf)
{
    const struct table_map *wildcard = r->in->db->wildcard;
    if (leaf->map || !wildcard || (leaf->info && leaf->info->exists))
        return leaf->map;
    if (names_have(stmt->columns, stmt->n_columns, wildcard->column))
        return wildcard;
    for (uint32_t i = 1; i < stmt->n_relations; i++) {
        const struct leaf *other = bind_relation(r, &stmt->relations[i]);
        if (!r->needs_catalog && relation_column(other->info, wildcard->column, NULL))
            return wildcard;
    }
    return NULL;
}

static void plan_temporary(struct router *r)
{
    plan_home(r);
    r->plan->writes = true;
    r->plan->changes_catalog = false; /* of others */
    r->plan->temporary = true;
    r->plan->cannot_prepare = true;
}

/* What is made, or renamed, is not what its name means now: a temporary relation hides that. True: refused. */
static bool refuse_hidden(struct router *r, const struct leaf *leaf, const struct sql_relation *relation)
{
    if (!leaf->info || !leaf->info->temporary || relation->temporary || one_shard(&r->in->db->all_shards))
        return false;
    plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Write the name with its schema.",
                "a temporary relation hides where \"%s\" is to be", relation->name);
    return true;
}

/* A partition that is not listed goes where its parent is: the catalog gives it that map. */
static bool refuse_parents(struct router *r, const struct sql_statement *stmt, const struct table_map **map)
{
    for (uint32_t i = 1; i <= stmt->n_parents; i++) {
        const struct leaf *parent = bind_relation(r, &stmt->relations[i]);
        if (r->needs_catalog)
            return true;
        const struct table_map *above = parent->place == PLACE_HOME ? NULL : parent->map;
        if (!*map && i == 1)
            *map = above;
        bool alike = *map && above && (*map)->method == above->method && (*map)->column && above->column &&
                     strcmp((*map)->column, above->column) == 0;
        if (*map == above || alike)
            continue;
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "List the new table in [tables] with the same method and column as its parent.",
                    "\"%s\" would live on other shards than its parent \"%s\"", stmt->relations[0].name,
                    leaf_name(parent));
        return true;
    }
    return false;
}

static void plan_create_table(struct router *r, const struct sql_statement *stmt)
{
    struct shard_set shards;
    if (stmt->relations[0].temporary) {
        plan_temporary(r);
        return;
    }
    const struct leaf *leaf = bind_relation(r, &stmt->relations[0]);
    if (r->needs_catalog)
        return;
    if (refuse_hidden(r, leaf, &stmt->relations[0]))
        return;
    const struct table_map *map = map_to_be(r, stmt, leaf);
    if (r->needs_catalog || refuse_parents(r, stmt, &map))
        return;
    table_shards(r->in->db, map, &shards);
    if (map && map->column && !stmt->columns_elsewhere &&
        !names_have(stmt->columns, stmt->n_columns, map->column)) {
        plan_refuse(r, "42703", "Add the column, or change the table's line in [tables].",
                    "table \"%s\" is sharded by column \"%s\", which it does not have",
                    stmt->relations[0].name, map->column);
        return;
    }
    if (refuse_table_parts(r, stmt, map, &shards))
        return;
    plan_on(r, stmt, &shards);
}

/* --- CREATE TABLE AS, CREATE VIEW ------------------------------------------------------------- */

void plan_create_as(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    const struct sql_relation *relation = &stmt->relations[0];
    struct shard_set shards;
    table_shards(r->in->db, NULL, &shards);
    const struct leaf *target = NULL;
    if (!relation->temporary) {
        target = bind_relation(r, relation);
        if (r->needs_catalog || refuse_hidden(r, target, relation))
            return;
        shards_of_leaf(r, target, &shards);
        r->n_leaves = 0; /* the query's own relations follow */
        r->missing = NULL;
        r->map_error = NULL;
        r->view = NULL;
    }
    struct block *b = bind_statement(r, stmt->query);
    if (r->needs_catalog)
        return;
    if (has_hint(r)) {
        hint_create_as(r, &shards, relation->temporary);
        goto facts;
    }
    if (!b)
        goto facts;
    plan_query(r, b);
    if (p->kind == PLAN_REFUSE)
        return;
    if (!one_shard(&shards)) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Create the table first, then use INSERT ... SELECT or COPY.",
                    "%s for the table \"%s\", which is on several shards, is not supported", stmt->command,
                    relation->name);
        return;
    }
    bool fits = p->kind == PLAN_SINGLE && p->n_keys == 0 &&
                (p->read_any_shard || shard_set_equal(&p->fixed, &shards));
    if (!fits) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Create the table first, and fill it with rows that were read before.",
                    "%s from tables on other shards than \"%s\" is not supported", stmt->command,
                    relation->name);
        return;
    }
    plan_single(r, &shards);
    p->read_any_shard = false;
facts:
    p->command = stmt->command;
    p->writes = true;
    p->changes_catalog = !relation->temporary;
    p->temporary = relation->temporary;
    p->cannot_prepare |= relation->temporary;
}

static void plan_create_view(struct router *r, const struct sql_statement *stmt)
{
    struct census c;
    struct shard_set shards;
    const struct sql_relation *relation = &stmt->relations[0];
    table_shards(r->in->db, NULL, &shards);
    if (!relation->temporary) { /* else it is made there whatever has its name */
        const struct leaf *view = bind_relation(r, relation);
        if (r->needs_catalog || refuse_hidden(r, view, relation))
            return;
        shards_of_leaf(r, view, &shards);
    }
    r->n_leaves = 0;
    r->missing = NULL;
    r->view = NULL;
    r->map_error = NULL;
    if (stmt->query)
        bind_query(r, stmt->query, NULL);
    if (r->needs_catalog)
        return;
    take_census(r, &c);
    bool here =
        c.keyed == 0 && !r->view && (shard_set_count(&c.fixed) == 0 || shard_set_equal(&c.fixed, &shards));
    if (!one_shard(&r->in->db->all_shards) && (!here || !one_shard(&shards))) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Write the query where the view would be used.",
                    "a view over tables that are not all on the view's own shard is not supported");
        return;
    }
    plan_on(r, stmt, &shards);
    r->plan->cannot_prepare = r->plan->temporary = relation->temporary;
    r->plan->changes_catalog &= !relation->temporary;
}

/* --- statements on relations ------------------------------------------------------------------ */

static bool refuse_altered_key(struct router *r, const struct sql_statement *stmt, const struct leaf *leaf)
{
    if (leaf->place != PLACE_KEYED || !names_have(stmt->altered, stmt->n_altered, leaf->key))
        return false;
    plan_refuse(
        r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Make a new table, list it in [tables], and copy the rows.",
        "the key column \"%s\" of the sharded table \"%s\" cannot be dropped, renamed or given another type",
        leaf->key, leaf_name(leaf));
    return true;
}

static bool refuse_rename(struct router *r, const struct sql_statement *stmt, const struct leaf *leaf)
{
    if (!stmt->renamed || (leaf->info && leaf->info->temporary))
        return false;
    const struct leaf *other = bind_relation(r, stmt->renamed);
    if (r->needs_catalog || refuse_hidden(r, other, stmt->renamed))
        return true;
    const struct table_map *to = other->map                         ? other->map
                                 : leaf->map == r->in->db->wildcard ? leaf->map
                                                                    : NULL;
    if (to == leaf->map)
        return false;
    plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "Change [tables] so that both names have the same method and column.",
                "under its new name \"%s\" the table \"%s\" would be looked for on other shards",
                stmt->renamed->name, leaf_name(leaf));
    return true;
}

static bool refuse_attach(struct router *r, const struct sql_statement *stmt, struct leaf **leaves)
{
    if (!stmt->changes_partitions || stmt->n_relations < 2 || leaves[0]->map == leaves[1]->map)
        return false;
    const struct table_map *a = leaves[0]->map, *b = leaves[1]->map;
    if (a && b && a->method == b->method && a->column && b->column && strcmp(a->column, b->column) == 0)
        return false;
    plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "List both in [tables] with the same method and column.",
                "\"%s\" does not live on the same shards as its parent \"%s\"", leaf_name(leaves[1]),
                leaf_name(leaves[0]));
    return true;
}

/* A name that means nothing, and stands in no list of tables. */
static bool is_nowhere(const struct leaf *leaf)
{
    return leaf->info && !leaf->info->exists && !leaf->map;
}

/* The shards of all relations; false: they differ, and that matters. A relation that does not exist has none:
   where the others are, the server says that it does not exist, or with IF EXISTS that it is skipped. Empty: none
   exists. */
static bool common_shards(struct router *r, const struct sql_statement *stmt, struct leaf **leaves,
                          struct shard_set *shards_r)
{
    const struct leaf *other = NULL;
    shard_set_clear(shards_r);
    for (uint32_t i = 0; i < stmt->n_relations; i++) {
        struct shard_set shards;
        if (is_nowhere(leaves[i]))
            continue;
        shards_of_leaf(r, leaves[i], &shards);
        if (other && !shard_set_equal(&shards, shards_r) && !(stmt->drops && stmt->if_exists)) {
            plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Use a statement for each table.",
                        "\"%s\" and \"%s\" are not on the same shards", leaf_name(other),
                        leaf_name(leaves[i]));
            return false;
        }
        other = leaves[i];
        shard_set_union(shards_r, &shards);
    }
    return true;
}

static void plan_tables(struct router *r, const struct sql_statement *stmt)
{
    struct shard_set shards;
    struct leaf **leaves = arena_alloc(r->arena, (stmt->n_relations + 1) * sizeof(struct leaf *));
    for (uint32_t i = 0; i < stmt->n_relations; i++)
        leaves[i] = bind_relation(r, &stmt->relations[i]);
    if (r->needs_catalog || !common_shards(r, stmt, leaves, &shards))
        return;
    if (stmt->n_relations > 0) {
        if (refuse_altered_key(r, stmt, leaves[0]) || refuse_rename(r, stmt, leaves[0]) ||
            refuse_attach(r, stmt, leaves))
            return;
        if (refuse_table_parts(r, stmt, leaves[0]->place == PLACE_HOME ? NULL : leaves[0]->map, &shards))
            return;
    }
    if (stmt->is_rule && !one_shard(&r->in->db->all_shards)) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Use a trigger.",
                    "CREATE RULE is not supported: a rule could read or write any table");
        return;
    }
    plan_on(r, stmt, &shards);
    bool of_others = stmt->n_relations == 0;
    for (uint32_t i = 0; i < stmt->n_relations; i++) {
        bool temporary = stmt->relations[i].temporary || (leaves[i]->info && leaves[i]->info->temporary);
        r->plan->temporary |= temporary;
        of_others |= !temporary;
    }
    r->plan->cannot_prepare |= r->plan->temporary;
    r->plan->changes_catalog &= of_others;
}

void plan_ddl(struct router *r, const struct sql_statement *stmt)
{
    struct shard_set home;
    r->plan->writes = true;
    r->plan->changes_catalog = stmt->changes_catalog;
    switch (stmt->kind) {
    case SQL_STMT_CREATE_TABLE:
        plan_create_table(r, stmt);
        break;
    case SQL_STMT_CREATE_VIEW:
        plan_create_view(r, stmt);
        break;
    case SQL_STMT_TABLES:
        plan_tables(r, stmt);
        break;
    case SQL_STMT_HOME:
        table_shards(r->in->db, NULL, &home);
        plan_on(r, stmt, &home);
        break;
    default: /* EVERYWHERE: no other kinds come here */
        plan_on(r, stmt, &r->in->db->all_shards);
        break;
    }
    hint_ddl(r, stmt);
}
