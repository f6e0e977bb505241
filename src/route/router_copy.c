/*
 * COPY. Rows of COPY FROM STDIN are split by their key as they come (exec/copy.h); this file says where the
 * key is in a row and how rows are written. COPY TO concatenates what the shards send.
 */
#include "router_private.h"

static void plan_copy_query(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    p->verb = VERB_COPY_OUT;
    struct block *b = bind_statement(r, stmt->query);
    if (b)
        plan_query(r, b);
    hint_query(r);
    if (r->needs_catalog || p->kind == PLAN_REFUSE)
        return;
    p->command = "COPY";
    bool plain = p->kind == PLAN_SCATTER && p->merge.n_sort == 0 && p->merge.n_aggregates == 0 &&
                 !p->merge.has_limit && !p->merge.has_offset;
    if (p->kind == PLAN_SCATTER && !plain) {
        p->has_rewrite = false;
        memset(&p->merge, 0, sizeof(p->merge));
        plan_refuse_if_several(
            r, "Give the key in WHERE, or run the query itself.",
            "COPY of a query with ORDER BY, LIMIT or aggregates over several shards is not supported");
    } else if (p->kind == PLAN_BROADCAST || p->kind == PLAN_SPLIT) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Run the statement itself.",
                    "COPY of a write over several shards is not supported");
    }
}

static bool has_name(const char **names, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static uint8_t one_byte(const char *text, uint8_t otherwise)
{
    return text && text[0] ? (uint8_t)text[0] : otherwise;
}

static void describe_format(struct router *r, const struct sql_copy *c)
{
    struct copy_spec *s = &r->plan->copy;
    bool csv = c->format == SQL_COPY_CSV;
    s->format = c->format == SQL_COPY_BINARY ? COPY_BINARY : csv ? COPY_CSV : COPY_TEXT;
    s->delimiter = one_byte(c->delimiter, csv ? ',' : '\t');
    s->quote = one_byte(c->quote, '"');
    s->escape = one_byte(c->escape, s->quote);
    s->null_string = keep_string(r, c->null_string ? c->null_string : csv ? "" : "\\N");
    s->header = c->header;
}

/* Where the key stands in a row. */
static bool describe_columns(struct router *r, const struct sql_copy *c, const struct leaf *leaf)
{
    struct copy_spec *s = &r->plan->copy;
    const struct relation *info = leaf->info;
    bool has_key = false;
    s->n_columns = 0;
    uint32_t n = c->columns ? c->n_columns : info->n_columns;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = c->columns ? c->columns[i] : info->columns[i].name;
        if (!c->columns && info->columns[i].generated)
            continue;
        if (leaf->key && strcmp(name, leaf->key) == 0) {
            has_key = true;
            s->key_column = s->n_columns;
        }
        s->n_columns++;
    }
    if (leaf->key) {
        s->key_force_null = has_name(c->force_null, c->n_force_null, leaf->key);
        s->key_force_not_null = has_name(c->force_not_null, c->n_force_not_null, leaf->key);
    }
    return has_key;
}

static void plan_copy_in(struct router *r, const struct sql_statement *stmt, const struct leaf *leaf)
{
    struct plan *p = r->plan;
    p->verb = VERB_COPY_IN;
    p->writes = p->stores_keys = true;
    if (shard_set_count(&p->fixed) <= 1) {
        plan_single(r, &p->fixed);
        return;
    }
    if (stmt->copy.encoding) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Set client_encoding instead.",
                    "COPY FROM with ENCODING over several shards is not supported");
        return;
    }
    p->kind = PLAN_BROADCAST;
    bool has_key = describe_columns(r, &stmt->copy, leaf);
    if (leaf->place == PLACE_REFERENCE) {
        p->copy.replicate = p->tag_of_one = true;
        plan_lock_copies(r, false); /* two with the same rows: shards may get them in another order */
        return;
    }
    p->table = leaf->map;
    p->map = bucket_map_ref(leaf->info->buckets);
    if (!has_key)
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Add it to the columns of the COPY.",
                    "COPY into the sharded table \"%s\" leaves out its key column \"%s\"", leaf_name(leaf),
                    leaf->key);
}

static void plan_copy_out(struct router *r, const struct leaf *leaf)
{
    struct plan *p = r->plan;
    p->verb = VERB_COPY_OUT;
    if (leaf->place == PLACE_REFERENCE) {
        plan_single(r, &p->fixed);
        p->read_any_shard = true;
    } else if (shard_set_count(&p->fixed) <= 1) {
        plan_single(r, &p->fixed);
    } else {
        p->kind = PLAN_SCATTER;
    }
}

static void plan_copy_table(struct router *r, const struct sql_statement *stmt, const struct leaf *leaf)
{
    table_shards(r->in->db, leaf->map, &r->plan->fixed);
    if (leaf->place == PLACE_HOME)
        plan_home(r);
    if (stmt->copy.from)
        plan_copy_in(r, stmt, leaf);
    else
        plan_copy_out(r, leaf);
}

void plan_copy(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    describe_format(r, &stmt->copy);
    for (uint32_t i = 0; i < r->t->n_literals; i++) /* delimiters, the null string, a file's name */
        plan_pin(r, i);
    if (stmt->query) {
        plan_copy_query(r, stmt);
    } else {
        struct leaf *leaf = bind_relation(r, &stmt->relations[0]);
        leaf->written = stmt->copy.from;
        p->verb = stmt->copy.from ? VERB_COPY_IN : VERB_COPY_OUT;
        p->writes = stmt->copy.from;
        if (r->needs_catalog)
            return;
        p->writes |= code_writes(r);
        if (!plan_obstacles(r))
            plan_copy_table(r, stmt, leaf);
        hint_copy(r, stmt->copy.from);
        if (p->kind == PLAN_REFUSE)
            return;
    }
    if (!stmt->copy.filename && !stmt->copy.program)
        return;
    p->verb = VERB_QUERY; /* the server's own file or program: nothing passes through here */
    if (p->kind == PLAN_SCATTER || p->kind == PLAN_BROADCAST)
        plan_refuse(
            r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Use STDIN or STDOUT, as in psql's \\copy.",
            "COPY with a file or program of the server is not supported for tables on several shards");
}
