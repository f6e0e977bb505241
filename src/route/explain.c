/*
 * EXPLAIN (ROUTE): a plan as rows of text. Shows what one execution would do; with parameters whose values
 * are not known, what any execution might do.
 */
#include "base/buf.h"
#include "route/router.h"
#include <stdio.h>

const char *const explain_columns[] = {"step", "kind", "shards", "key", "bucket", "merge", "commit", "why"};
const int explain_n_columns = 8;

enum {
    COLUMN_STEP,
    COLUMN_KIND,
    COLUMN_SHARDS,
    COLUMN_KEY,
    COLUMN_BUCKET,
    COLUMN_MERGE,
    COLUMN_COMMIT,
    COLUMN_WHY,
    N_COLUMNS
};

struct explaining {
    const struct plan *plan;
    const struct database_def *db;
    const struct template *t;
    const struct route_params *params;
    struct arena *arena;
    struct shard_set shards;
    bool resolved; /* shards are those of this execution */
    int32_t bucket;
    struct error error; /* why not */
};

static const char *as_text(struct explaining *x, struct buf *b)
{
    const char *text = arena_strndup(x->arena, buf_len(b) ? buf_head(b) : (const uint8_t *)"", buf_len(b));
    buf_free(b);
    return text;
}

static bool is_param(const struct key_ref *ref)
{
    return ref->source == KEY_PARAM || ref->source == KEY_PARAM_ARRAY;
}

static bool needs_params(const struct plan *p)
{
    for (uint32_t i = 0; i < p->n_keys; i++)
        if (is_param(&p->keys[i]))
            return true;
    for (uint32_t i = 0; i < p->split.n_rows; i++)
        if (is_param(&p->split.rows[i].key))
            return true;
    return false;
}

static void resolve(struct explaining *x)
{
    const struct plan *p = x->plan;
    x->bucket = -1;
    if (needs_params(p) && !x->params) {
        x->shards = p->fixed;
        return;
    }
    x->resolved =
        route_resolve(p, x->db, x->t, x->params, &x->shards, &x->bucket, NULL, &x->error) == STATUS_OK;
}

static const char *kind_name(const struct explaining *x)
{
    if (x->plan->kind == PLAN_REFUSE || (!x->resolved && x->error.sqlstate[0]))
        return "refuse";
    if (x->resolved && shard_set_count(&x->shards) == 1 && x->plan->kind != PLAN_LOCAL)
        return "single";
    switch (x->plan->kind) {
    case PLAN_LOCAL:
        return "local";
    case PLAN_SINGLE:
        return "single";
    case PLAN_SCATTER:
        return "scatter";
    case PLAN_BROADCAST:
        return "broadcast";
    case PLAN_SPLIT:
        return "split";
    case PLAN_REFUSE:
        break;
    }
    return "refuse";
}

static const char *shard_names(struct explaining *x)
{
    struct buf b;
    const char *separator = "";
    if (shard_set_count(&x->shards) == 0)
        return NULL;
    buf_init(&b);
    if (x->plan->read_any_shard)
        buf_str(&b, "any of ");
    else if (!x->resolved && x->plan->kind == PLAN_SINGLE)
        buf_str(&b, "one of ");
    else if (!x->resolved)
        buf_str(&b, "some of ");
    for (int s = shard_set_next(&x->shards, 0); s >= 0; s = shard_set_next(&x->shards, s + 1)) {
        buf_printf(&b, "%s%s", separator, x->db->shards[s]->name);
        separator = ", ";
    }
    return as_text(x, &b);
}

static void print_key(struct explaining *x, const struct key_ref *ref, struct buf *b)
{
    switch ((enum key_source)ref->source) {
    case KEY_LITERAL:
    case KEY_LITERAL_ARRAY: {
        const struct literal *l = &x->t->literals[ref->index];
        buf_printf(b, "%s%.*s", ref->negate ? "-" : "", (int)l->len,
                   (const char *)x->t->statement.data + l->at);
        return;
    }
    case KEY_PARAM:
    case KEY_PARAM_ARRAY:
        buf_printf(b, "$%u", ref->index + 1);
        return;
    case KEY_NULL:
        buf_str(b, "NULL");
        return;
    case KEY_TRUE:
        buf_str(b, "true");
        return;
    case KEY_FALSE:
        buf_str(b, "false");
        return;
    }
}

static const char *keys_text(struct explaining *x)
{
    const struct plan *p = x->plan;
    uint32_t n = p->kind == PLAN_SPLIT ? p->split.n_rows : p->n_keys, shown = n < 8 ? n : 8;
    struct buf b;
    if (n == 0 || !p->table)
        return NULL;
    buf_init(&b);
    buf_printf(&b, "%s = ", p->table->column);
    for (uint32_t i = 0; i < shown; i++) {
        buf_str(&b, i ? ", " : "");
        print_key(x, p->kind == PLAN_SPLIT ? &p->split.rows[i].key : &p->keys[i], &b);
    }
    if (shown < n)
        buf_printf(&b, " and %u more", n - shown);
    return as_text(x, &b);
}

static const char *merge_text(struct explaining *x)
{
    static const char *const functions[] = {"count", "sum", "min", "max", "avg", "bool_and", "bool_or"};
    const struct merge_spec *m = &x->plan->merge;
    struct buf b;
    const char *separator = "";
    if (x->plan->kind != PLAN_SCATTER || (x->resolved && shard_set_count(&x->shards) <= 1))
        return NULL;
    buf_init(&b);
    for (uint16_t i = 0; i < m->n_aggregates; i++, separator = ", ")
        buf_printf(&b, "%s%s", separator, functions[m->aggregates[i].func]);
    for (uint16_t i = 0; i < m->n_sort; i++)
        buf_printf(&b, "%s%u%s", i ? ", " : "order by ", m->sort[i].column + 1U,
                   m->sort[i].descending ? " desc" : "");
    if (m->n_sort > 0)
        separator = ", ";
    if (m->has_limit) {
        buf_printf(&b, "%slimit", separator);
        separator = ", ";
    }
    if (m->has_offset)
        buf_printf(&b, "%soffset", separator);
    if (buf_len(&b) == 0)
        buf_str(&b, "concatenate");
    return as_text(x, &b);
}

static const char *commit_text(const struct explaining *x)
{
    const struct plan *p = x->plan;
    if (!p->writes || p->kind == PLAN_REFUSE || p->kind == PLAN_LOCAL)
        return "no writes";
    if (p->verb == VERB_PER_SHARD)
        return "each shard alone";
    if (shard_set_count(&x->shards) <= 1 || (!x->resolved && p->kind == PLAN_SINGLE))
        return "one-phase";
    return x->resolved ? "two-phase" : "two-phase if several shards";
}

void route_explain(const struct plan *plan, const struct database_def *db, const struct template *t,
                   const struct route_params *params, const struct explain_sink *sink)
{
    struct arena arena;
    arena_init(&arena);
    struct explaining x = {.plan = plan, .db = db, .t = t, .params = params, .arena = &arena};
    const char *values[N_COLUMNS] = {0};
    resolve(&x);
    bool refused = strcmp(kind_name(&x), "refuse") == 0;
    values[COLUMN_STEP] = "1";
    values[COLUMN_KIND] = kind_name(&x);
    values[COLUMN_WHY] = plan->why;
    if (refused) {
        const struct error *e = plan->kind == PLAN_REFUSE ? plan->refusal : &x.error;
        values[COLUMN_WHY] = arena_printf(&arena, "%s%s%s", e->message, e->hint[0] ? "; " : "", e->hint);
    } else {
        values[COLUMN_SHARDS] = shard_names(&x);
        values[COLUMN_MERGE] = merge_text(&x);
        values[COLUMN_COMMIT] = commit_text(&x);
        if (x.bucket >= 0)
            values[COLUMN_BUCKET] = arena_printf(&arena, "%d", (int)x.bucket);
    }
    values[COLUMN_KEY] = keys_text(&x);
    sink->row(sink->arg, values);
    arena_free(&arena);
}
