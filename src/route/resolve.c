/*
 * The shards of one execution: reads the keys that a plan refers to, and hashes them. This is on the fast
 * path: it allocates only for strings with escapes and for arrays.
 *
 * A key that no row can have (NULL, an integer beyond bigint, a value outside all ranges) means for reads,
 * updates and deletes that nothing matches: any one shard can say so. For a row that is to be stored it is an
 * error.
 */
#include "base/buf.h"
#include "route/hash.h"
#include "route/router.h"
#include "wire/datum.h"
#include <stdio.h>

struct resolving {
    const struct plan *plan;
    const struct template *t;
    const struct route_params *params;
    struct shard_set *shards;
    uint32_t n_found;
    int32_t bucket; /* of all keys so far; -1: none, or several */
    unsigned last_shard;
    struct buf scratch;
    struct error *error;
};

struct key_value {
    struct slice bytes; /* data NULL: SQL NULL */
    int16_t format;
    uint32_t type_oid;
    bool integer_literal;
};

static const struct bucket_map *map_of(const struct plan *p, const struct key_ref *ref)
{
    return ref->map == 0 ? p->map : p->more_maps[ref->map - 1];
}

/* --- values ----------------------------------------------------------------------------------- */

static bool literal_value(struct resolving *x, const struct key_ref *ref, struct key_value *v)
{
    const struct literal *l = &x->t->literals[ref->index];
    const uint8_t *text = x->t->statement.data + l->at;
    v->type_oid = ref->type_oid;
    v->integer_literal = l->kind == LITERAL_INTEGER;
    if (v->integer_literal && v->type_oid == 0)
        v->type_oid = OID_INT8;
    if (l->kind == LITERAL_INTEGER && !ref->negate) {
        v->bytes = slice_of(text, l->len);
        return true;
    }
    if (l->kind == LITERAL_STRING && l->len >= 2 && text[0] == '\'' && !memchr(text + 1, '\'', l->len - 2)) {
        v->bytes = slice_of(text + 1, l->len - 2);
        return true;
    }
    if (!template_literal_value(x->t, ref->index, &x->scratch))
        return false;
    if (ref->negate) { /* digits: "-" goes in front */
        char digits[64];
        struct slice s = buf_slice(&x->scratch);
        int n =
            snprintf(digits, sizeof(digits), "-%.*s", (int)(s.len < 60 ? s.len : 60), (const char *)s.data);
        buf_clear(&x->scratch);
        buf_append(&x->scratch, digits, (size_t)n);
    }
    v->bytes = buf_slice(&x->scratch);
    return true;
}

static enum status param_value(struct resolving *x, const struct key_ref *ref, struct key_value *v)
{
    uint32_t bound_type = 0;
    if (!x->params || ref->index >= x->params->n)
        return error_set(x->error, SQLSTATE_PROTOCOL_VIOLATION, "there is no parameter $%u", ref->index + 1);
    x->params->get(x->params->arg, ref->index, &v->bytes, &v->format, &bound_type);
    v->type_oid = ref->type_oid;
    if (ref->untyped && v->format == 1 && v->bytes.data) {
        error_set(x->error, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "the type of parameter $%u, which is used as a key and elsewhere, is not known",
                  ref->index + 1);
        error_hint(x->error, "Cast it, as in $%u::bigint, or give its type when preparing the statement.",
                   ref->index + 1);
        return STATUS_ERROR;
    }
    /* The server may have found another integer type than the column's: the length tells. */
    if (v->format == 1 && ref->source == KEY_PARAM && hash_family_of(v->type_oid) == HASH_INT &&
        v->type_oid != OID_OID)
        v->type_oid = v->bytes.len == 2 ? OID_INT2 : v->bytes.len == 4 ? OID_INT4 : OID_INT8;
    return STATUS_OK;
}

/* --- one key ---------------------------------------------------------------------------------- */

static void found(struct resolving *x, const struct bucket_target *target)
{
    x->bucket = x->n_found == 0 || x->bucket == target->bucket ? target->bucket : -1;
    x->n_found++;
    x->last_shard = target->shard;
    shard_set_add(x->shards, target->shard);
}

static enum status add_value(struct resolving *x, const struct key_ref *ref, const struct key_value *v)
{
    struct bucket_target target;
    if (!v->bytes.data && !x->plan->stores_keys)
        return STATUS_OK;
    if (bucket_map_find(map_of(x->plan, ref), v->type_oid, v->format, v->bytes, &target, x->error) ==
        STATUS_OK) {
        found(x, &target);
        return STATUS_OK;
    }
    bool beyond = v->integer_literal && strcmp(x->error->sqlstate, SQLSTATE_NUMERIC_RANGE) == 0;
    bool unmapped = !x->plan->stores_keys && strcmp(x->error->sqlstate, "23514") == 0;
    return beyond || unmapped ? STATUS_OK : STATUS_ERROR;
}

/* --- arrays ----------------------------------------------------------------------------------- */

static enum status bad_array(struct resolving *x)
{
    return error_set(x->error, SQLSTATE_INVALID_TEXT, "malformed array literal in a key");
}

static bool is_null_word(const struct buf *b)
{
    struct slice s = buf_slice(b);
    const char *word = "null";
    for (size_t i = 0; i < 4; i++)
        if (s.len != 4 || (s.data[i] | 0x20) != (uint8_t)word[i])
            return false;
    return true;
}

static enum status add_element(struct resolving *x, const struct key_ref *ref, const struct buf *element,
                               bool quoted)
{
    struct key_value v = {.type_oid = ref->type_oid};
    if (quoted || !is_null_word(element))
        v.bytes = buf_len(element) ? buf_slice(element) : slice_of("", 0);
    return add_value(x, ref, &v);
}

/* One element from p on; returns where it ends, NULL if it does not. */
static const uint8_t *read_element(const uint8_t *p, const uint8_t *end, struct buf *element, bool *quoted_r)
{
    bool in_quotes = false;
    size_t keep = 0; /* trailing blanks beyond this are not part of it */
    buf_clear(element);
    *quoted_r = false;
    while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
        p++;
    for (; p < end; p++) {
        bool verbatim = in_quotes;
        if (*p == '"') {
            in_quotes = !in_quotes;
            *quoted_r = true;
            keep = buf_len(element);
            continue;
        }
        if (!in_quotes && (*p == ',' || *p == '}'))
            break;
        if (*p == '\\') {
            if (++p == end)
                return NULL;
            verbatim = *quoted_r = true;
        }
        buf_u8(element, *p);
        if (verbatim || !(*p == ' ' || (*p >= '\t' && *p <= '\r')))
            keep = buf_len(element);
    }
    element->end = element->start + keep;
    return p < end && !in_quotes ? p : NULL;
}

/* {1,2}, {"a b",NULL}, {{1},{2}}, [0:1]={1,2} */
static enum status add_text_array(struct resolving *x, const struct key_ref *ref, struct slice text)
{
    const uint8_t *p = text.data, *end = p + text.len;
    struct buf element;
    enum status status = STATUS_OK;
    int depth = 0;
    bool expects = true, closed = false;
    while (p < end && *p == ' ')
        p++;
    if (p < end && *p == '[' && !(p = memchr(p, '=', (size_t)(end - p))))
        return bad_array(x);
    p += p < end && *p == '=';
    buf_init(&element);
    while (p && p < end && status == STATUS_OK) {
        bool quoted;
        if (*p == '{') {
            depth++;
            expects = true;
            p++;
        } else if (*p == '}') {
            expects = false;
            p++;
            closed = --depth == 0;
            if (closed)
                break;
        } else if (*p == ',') {
            expects = true;
            p++;
        } else if (*p == ' ' || (*p >= '\t' && *p <= '\r')) {
            p++;
        } else if (depth == 0 || !expects) {
            p = NULL;
        } else {
            p = read_element(p, end, &element, &quoted);
            expects = false;
            if (p)
                status = add_element(x, ref, &element, quoted);
        }
    }
    buf_free(&element);
    while (closed && p < end && *p == ' ')
        p++;
    if (status == STATUS_OK && (!closed || p != end))
        return bad_array(x);
    return status;
}

/* ndim, flags, element type, then (size, lower bound) a dimension, then (length, bytes) an element:
 * array_send(). */
static enum status add_binary_array(struct resolving *x, const struct key_ref *ref, struct slice bytes)
{
    const uint8_t *p = bytes.data, *end = p + bytes.len;
    if (bytes.len < 12)
        return error_set(x->error, SQLSTATE_INVALID_BINARY, "invalid array in parameter $%u", ref->index + 1);
    uint32_t dimensions = load_u32(p), element_oid = load_u32(p + 8);
    if (dimensions > 6 || bytes.len < 12 + dimensions * 8)
        return error_set(x->error, SQLSTATE_INVALID_BINARY, "invalid array in parameter $%u", ref->index + 1);
    p += 12 + dimensions * 8;
    while (p < end) {
        struct key_value v = {.format = 1, .type_oid = element_oid};
        int32_t len = end - p >= 4 ? (int32_t)load_u32(p) : -2;
        if (len < -1 || (len > 0 && len > end - p - 4))
            return error_set(x->error, SQLSTATE_INVALID_BINARY, "invalid array in parameter $%u",
                             ref->index + 1);
        p += 4;
        if (len >= 0)
            v.bytes = slice_of(p, (size_t)len);
        p += len > 0 ? len : 0;
        if (add_value(x, ref, &v) != STATUS_OK)
            return STATUS_ERROR;
    }
    return STATUS_OK;
}

/* --- keys ------------------------------------------------------------------------------------- */

/* By far most keys are an integer's digits. False: not this one. */
static inline bool add_integer(struct resolving *x, const struct key_ref *ref)
{
    struct bucket_target target;
    if (ref->source != KEY_LITERAL || ref->negate)
        return false;
    const struct literal *l = &x->t->literals[ref->index];
    if (l->kind != LITERAL_INTEGER ||
        !bucket_map_find_integer(map_of(x->plan, ref), ref->type_oid ? ref->type_oid : OID_INT8, 0,
                                 slice_of(x->t->statement.data + l->at, l->len), &target))
        return false;
    found(x, &target);
    return true;
}

static enum status __attribute__((noinline)) add_other_key(struct resolving *x, const struct key_ref *ref)
{
    struct key_value v = {.type_oid = ref->type_oid};
    switch ((enum key_source)ref->source) {
    case KEY_NULL:
        return add_value(x, ref, &v);
    case KEY_TRUE:
    case KEY_FALSE:
        v.bytes = slice_str(ref->source == KEY_TRUE ? "t" : "f");
        v.type_oid = OID_BOOL;
        return add_value(x, ref, &v);
    case KEY_LITERAL:
    case KEY_LITERAL_ARRAY:
        if (!literal_value(x, ref, &v))
            return error_set(x->error, SQLSTATE_INVALID_TEXT, "a literal that is the key cannot be read");
        return ref->source == KEY_LITERAL ? add_value(x, ref, &v) : add_text_array(x, ref, v.bytes);
    case KEY_PARAM:
    case KEY_PARAM_ARRAY:
        if (param_value(x, ref, &v) != STATUS_OK)
            return STATUS_ERROR;
        if (ref->source == KEY_PARAM)
            return add_value(x, ref, &v);
        if (!v.bytes.data)
            return STATUS_OK;
        return v.format == 0 ? add_text_array(x, ref, v.bytes) : add_binary_array(x, ref, v.bytes);
    }
    return STATUS_OK;
}

static inline enum status add_key(struct resolving *x, const struct key_ref *ref)
{
    return add_integer(x, ref) ? STATUS_OK : add_other_key(x, ref);
}

/* Nothing matches: some shard says so, always the same one. */
static void any_shard(struct resolving *x)
{
    int s = shard_set_next(&x->plan->fixed, 0);
    shard_set_add(x->shards, s < 0 ? 0 : (unsigned)s);
}

static enum status resolve_rows(struct resolving *x, uint8_t *row_shards)
{
    const struct split_spec *split = &x->plan->split;
    for (uint32_t i = 0; i < split->n_rows; i++) {
        uint32_t before = x->n_found;
        if (add_key(x, &split->rows[i].key) != STATUS_OK)
            return STATUS_ERROR;
        if (x->n_found == before) { /* beyond bigint: the server refuses the row, wherever it goes */
            int s = shard_set_next(&x->plan->fixed, 0);
            x->last_shard = s < 0 ? 0 : (unsigned)s;
            shard_set_add(x->shards, x->last_shard);
        }
        if (row_shards)
            row_shards[i] = (uint8_t)x->last_shard;
    }
    return STATUS_OK;
}

static enum status resolve_keys(struct resolving *x, uint8_t *row_shards)
{
    const struct plan *p = x->plan;
    if (p->kind == PLAN_SPLIT)
        return resolve_rows(x, row_shards);
    if (p->n_keys == 0) {
        *x->shards = p->fixed;
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < p->n_keys; i++)
        if (add_key(x, &p->keys[i]) != STATUS_OK)
            return STATUS_ERROR;
    if (x->n_found == 0)
        any_shard(x);
    return STATUS_OK;
}

/* A hint must not put a row, or look for one to change, where its key is not. */
static enum status check_by_hand(const struct plan *plan, const struct database_def *db,
                                 const struct shard_set *shards, struct error *error_r)
{
    const unsigned hinted = plan->by_hand - 1U;
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1)) {
        if ((unsigned)i == hinted)
            continue;
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "the routing hint says shard \"%s\", but a key of this %s belongs to shard \"%s\"",
                  db->shards[hinted]->name, plan->command, db->shards[i]->name);
        error_hint(error_r, "Leave the routing hint out: the key says where the row is.");
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

enum status route_resolve(const struct plan *plan, const struct database_def *db, const struct template *t,
                          const struct route_params *params, struct shard_set *shards_r, int32_t *bucket_r,
                          uint8_t *row_shards, struct error *error_r)
{
    shard_set_clear(shards_r);
    *bucket_r = -1;
    if (plan->kind == PLAN_REFUSE) {
        *error_r = *plan->refusal;
        return STATUS_ERROR;
    }
    if (plan->kind == PLAN_LOCAL)
        return STATUS_OK;
    struct resolving x = {
        .plan = plan, .t = t, .params = params, .shards = shards_r, .bucket = -1, .error = error_r};
    enum status status = resolve_keys(&x, row_shards);
    if (x.scratch.data)
        buf_free(&x.scratch);
    if (status != STATUS_OK)
        return STATUS_ERROR;
    *bucket_r = x.n_found > 0 ? x.bucket : -1;
    if (plan->by_hand && check_by_hand(plan, db, shards_r, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (plan->refuse_if_several && shard_set_count(shards_r) > 1) {
        *error_r = *plan->refusal;
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

/* --- LIMIT ------------------------------------------------------------------------------------ */

static enum status int_of(const struct key_value *v, int64_t *v_r, struct error *error_r)
{
    if (v->format == 0)
        return datum_int_in(v->bytes, 64, v_r, error_r);
    switch (v->bytes.len) {
    case 2:
        *v_r = (int16_t)load_u16(v->bytes.data);
        return STATUS_OK;
    case 4:
        *v_r = (int32_t)load_u32(v->bytes.data);
        return STATUS_OK;
    case 8:
        *v_r = (int64_t)load_u64(v->bytes.data);
        return STATUS_OK;
    default:
        return error_set(error_r, SQLSTATE_INVALID_BINARY,
                         "incorrect binary data format in a LIMIT or OFFSET parameter");
    }
}

enum status route_limit_value(const struct key_ref *ref, const struct template *t,
                              const struct route_params *params, int64_t *v_r, struct error *error_r)
{
    static const struct plan none;
    struct resolving x = {.plan = &none, .t = t, .params = params, .error = error_r};
    struct key_value v = {.type_oid = ref->type_oid};
    enum status status = STATUS_OK;
    *v_r = -1;
    if (ref->source == KEY_NULL)
        return STATUS_OK;
    if (ref->source == KEY_TRUE) {
        *v_r = 1;
        return STATUS_OK;
    }
    buf_init(&x.scratch);
    if (ref->source == KEY_PARAM)
        status = param_value(&x, ref, &v);
    else if (!literal_value(&x, ref, &v))
        status = error_set(error_r, SQLSTATE_INVALID_TEXT, "a LIMIT or OFFSET literal cannot be read");
    if (status == STATUS_OK && v.bytes.data) {
        status = int_of(&v, v_r, error_r);
        if (status == STATUS_OK && *v_r < 0)
            status = error_set(error_r, "2201W", "LIMIT and OFFSET must not be negative");
    }
    buf_free(&x.scratch);
    return status;
}

/* --- SPLIT ------------------------------------------------------------------------------------ */

void route_split_pieces(const struct plan *plan, const struct template *t, const uint8_t *row_shards,
                        unsigned shard, const struct text_sink *sink)
{
    const struct split_spec *split = &plan->split;
    bool first = true;
    rewrite_span_pieces(t, 0, split->list_from, sink);
    for (uint32_t i = 0; i < split->n_rows; i++) {
        if (row_shards[i] != shard)
            continue;
        if (!first)
            sink->add(sink->arg, slice_str(", "));
        first = false;
        rewrite_span_pieces(t, split->rows[i].from, split->rows[i].to, sink);
    }
    rewrite_span_pieces(t, split->list_to, (uint32_t)buf_len(&t->text), sink);
}
