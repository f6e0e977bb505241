/*
 * Combining partial aggregates by a query. A column of the shards' rows becomes a column of a VALUES list
 * whose parameters have exactly the column's type, so that PostgreSQL picks the aggregate for that type;
 * names are qualified, so that a search_path cannot pick another.
 *
 * Invariant: after the columns are known, every aggregate's columns exist and have types of which the
 * combination is exact (check_aggregate). Types that users made are refused: their OIDs differ between
 * shards.
 *
 * A count is NULL for no shard, and 0 stays 0. A sum is NULL if and only if its count is 0, so that avg's
 * division is never by zero: NULL divided by 0 is NULL.
 *
 * Not responsible for: the shards' query, GROUP BY, running the query.
 */
#include "exec/aggregate.h"

#include "base/arena.h"
#include "base/quote.h"
#include "wire/message.h"
#include <assert.h>
#include <stdlib.h>

#define FIRST_UNSTABLE_OID 10000 /* FirstGenbkiObjectId: OIDs from here differ between servers */
#define MAX_BYTES          ((size_t)0x3fffffff) /* of a message that a server takes */

struct column {
    uint32_t type_oid;
    int16_t format;
};

struct aggregate {
    const struct merge_spec *spec;
    unsigned n_sources, n_ended;
    int64_t limit, offset;
    bool known;
    uint16_t n_columns;
    struct column *columns;
    struct buf *rows; /* [n_sources]: the DataRow, empty until it came */
    bool *ended;      /* [n_sources] */
    size_t bytes;
};

struct aggregate *aggregate_create(const struct merge_spec *spec, unsigned n_sources, int64_t limit,
                                   int64_t offset)
{
    assert(n_sources >= 1 && spec->n_aggregates > 0);
    struct aggregate *a = xcalloc(1, sizeof(*a));
    a->spec = spec;
    a->n_sources = n_sources;
    a->limit = limit;
    a->offset = offset;
    a->ended = xcalloc(n_sources, sizeof(*a->ended));
    a->rows = xcalloc(n_sources, sizeof(*a->rows));
    return a;
}

void aggregate_destroy(struct aggregate **a)
{
    if (!*a)
        return;
    for (unsigned i = 0; i < (*a)->n_sources; i++)
        buf_free(&(*a)->rows[i]);
    free((*a)->rows);
    free((*a)->ended);
    free((*a)->columns);
    free(*a);
    *a = NULL;
}

/* --- types ------------------------------------------------------------------------------------ */

static bool is_collatable(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME:
    case 1003: /* name[] */
    case 1009: /* text[] */
    case 1014: /* bpchar[] */
    case 1015: /* varchar[] */
        return true;
    default:
        return false;
    }
}

/* As COLLATE takes it, or NULL: not known. */
static const char *collation_of(const struct merge_aggregate *g)
{
    return g->collation ? g->collation : g->c_collated ? "pg_catalog.\"C\"" : NULL;
}

static bool can_sum(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_INT8:
    case OID_NUMERIC:
    case OID_FLOAT4:
    case OID_FLOAT8:
    case OID_INTERVAL:
    case OID_MONEY:
        return true;
    default:
        return false;
    }
}

static bool can_average(uint32_t type_oid)
{
    return can_sum(type_oid) && type_oid != OID_FLOAT4 && type_oid != OID_MONEY;
}

/* record and record[] have no type that a parameter could be declared with. */
static bool can_compare(uint32_t type_oid)
{
    return type_oid < FIRST_UNSTABLE_OID && type_oid != 2249 && type_oid != 2287;
}

static enum status refuse(const struct merge_aggregate *g, uint32_t type_oid, const char *hint,
                          struct error *error_r)
{
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "aggregate \"%s\" over several shards cannot be combined from type %u", g->name, type_oid);
    error_hint(error_r, "%s", hint);
    return STATUS_ERROR;
}

static enum status check_aggregate(const struct aggregate *a, const struct merge_aggregate *g,
                                   struct error *error_r)
{
    unsigned last = g->shard_column + (g->func == AGG_AVG ? 1U : 0U);
    if (last >= a->n_columns)
        return error_set(error_r, SQLSTATE_INTERNAL, "aggregate in column %u of a row with %u columns", last,
                         a->n_columns);
    uint32_t type = a->columns[g->shard_column].type_oid;
    const char *cast = "Cast the aggregate's argument to a built-in numeric type.";
    switch ((enum aggregate_func)g->func) {
    case AGG_COUNT:
        return type == OID_INT8 ? STATUS_OK : refuse(g, type, cast, error_r);
    case AGG_SUM:
        return can_sum(type) ? STATUS_OK : refuse(g, type, cast, error_r);
    case AGG_AVG:
        if (type == OID_FLOAT4)
            return refuse(g, type, "Cast the argument of avg to double precision.", error_r);
        if (!can_average(type) || a->columns[last].type_oid != OID_INT8)
            return refuse(g, type, cast, error_r);
        return STATUS_OK;
    case AGG_BOOL_AND:
    case AGG_BOOL_OR:
        return type == OID_BOOL ? STATUS_OK : refuse(g, type, "The argument must be boolean.", error_r);
    case AGG_MIN:
    case AGG_MAX:
        if (!can_compare(type))
            return refuse(g, type, "Cast the aggregate's argument to a built-in type.", error_r);
        if (is_collatable(type) && !collation_of(g))
            return refuse(g, type, "Use a plain column, or COLLATE \"C\", so that the collation is known.",
                          error_r);
        return STATUS_OK;
    }
    return error_set(error_r, SQLSTATE_INTERNAL, "unknown aggregate function %u", g->func);
}

static enum status set_columns(struct aggregate *a, struct error *error_r)
{
    for (uint16_t i = 0; i < a->spec->n_aggregates; i++)
        if (check_aggregate(a, &a->spec->aggregates[i], error_r) != STATUS_OK)
            return STATUS_ERROR;
    if ((size_t)a->n_columns * a->n_sources > UINT16_MAX)
        return error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "too many aggregates for %u shards", a->n_sources);
    a->known = true;
    return STATUS_OK;
}

static void init_columns(struct aggregate *a, uint16_t n)
{
    free(a->columns);
    a->columns = xcalloc(n, sizeof(*a->columns));
    a->n_columns = n;
}

static enum status check_same(const struct aggregate *a, uint16_t n, const struct msg_column *columns,
                              struct error *error_r)
{
    bool same = n == a->n_columns;
    for (uint16_t i = 0; same && i < n; i++)
        same = a->columns[i].type_oid == columns[i].type_oid && a->columns[i].format == columns[i].format;
    if (same)
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "shards return rows of different types for this statement");
    error_hint(error_r, "Make the definition of the table the same on every shard.");
    return STATUS_ERROR;
}

enum status aggregate_row_description(struct aggregate *a, unsigned source, const struct frame *f,
                                      struct error *error_r)
{
    assert(source < a->n_sources);
    (void)source;
    uint16_t cap = f->body.len >= 2 ? load_u16(f->body.data) : 0, n = 0;
    struct msg_column *columns = xcalloc(cap, sizeof(*columns));
    enum status status = message_read_row_description(f, columns, cap, &n, error_r);
    if (status == STATUS_OK && a->known) {
        status = check_same(a, n, columns, error_r);
    } else if (status == STATUS_OK) {
        init_columns(a, n);
        for (uint16_t i = 0; i < n; i++)
            a->columns[i] = (struct column){columns[i].type_oid, columns[i].format};
        status = set_columns(a, error_r);
    }
    free(columns);
    return status;
}

/* --- rows ------------------------------------------------------------------------------------- */

enum status aggregate_row(struct aggregate *a, unsigned source, const struct frame *f, struct error *error_r)
{
    assert(source < a->n_sources);
    if (!a->known || a->ended[source] || buf_len(&a->rows[source]))
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard sent a row out of turn");
    if (f->body.len < 2 || load_u16(f->body.data) != a->n_columns)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard's row does not have %u columns",
                         a->n_columns);
    uint16_t n = 0;
    struct slice *values = xcalloc(a->n_columns, sizeof(*values));
    enum status status =
        message_read_data_row(f, values, a->n_columns, &n, error_r); /* checks every length */
    free(values);
    if (status != STATUS_OK)
        return STATUS_ERROR;
    a->bytes += f->whole.len;
    if (a->bytes > MAX_BYTES / 2)
        return error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "partial aggregates are too large to be combined");
    buf_slice_append(&a->rows[source], f->whole);
    return STATUS_OK;
}

enum status aggregate_end(struct aggregate *a, unsigned source, struct error *error_r)
{
    assert(source < a->n_sources);
    if (a->ended[source])
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard ended its rows twice");
    if (buf_len(&a->rows[source]) == 0 && a->limit != 0)
        return error_set(error_r, SQLSTATE_INTERNAL, "a shard sent no partial aggregate");
    a->ended[source] = true;
    a->n_ended++;
    return STATUS_OK;
}

/* --- the query -------------------------------------------------------------------------------- */

static void append_aggregate(const struct aggregate *a, const struct merge_aggregate *g, struct buf *sql)
{
    unsigned c = g->shard_column;
    uint32_t type = a->columns[c].type_oid;
    switch ((enum aggregate_func)g->func) {
    case AGG_COUNT:
        buf_printf(sql, "pg_catalog.sum(c%u)::pg_catalog.int8", c);
        break;
    case AGG_SUM: /* of int8 is numeric, but a partial int8 is the sum of smaller integers, which is int8 */
        buf_printf(sql, type == OID_INT8 ? "pg_catalog.sum(c%u)::pg_catalog.int8" : "pg_catalog.sum(c%u)", c);
        break;
    case AGG_AVG:
        buf_printf(sql, "pg_catalog.sum(c%u) OPERATOR(pg_catalog./) pg_catalog.sum(c%u)%s", c, c + 1,
                   type == OID_INT8 || type == OID_NUMERIC ? "" : "::pg_catalog.float8");
        break;
    case AGG_MIN:
    case AGG_MAX:
        buf_printf(sql, "pg_catalog.%s(c%u", g->func == AGG_MIN ? "min" : "max", c);
        if (is_collatable(type))
            buf_printf(sql, " COLLATE %s", collation_of(g));
        buf_u8(sql, ')');
        break;
    case AGG_BOOL_AND:
    case AGG_BOOL_OR:
        buf_printf(sql, "pg_catalog.bool_%s(c%u)", g->func == AGG_BOOL_AND ? "and" : "or", c);
        break;
    }
    buf_str(sql, " AS ");
    quote_identifier(sql, slice_str(g->name));
}

static void append_query(const struct aggregate *a, struct buf *sql)
{
    buf_str(sql, "SELECT ");
    for (uint16_t i = 0; i < a->spec->n_aggregates; i++) {
        if (i)
            buf_str(sql, ", ");
        append_aggregate(a, &a->spec->aggregates[i], sql);
    }
    buf_str(sql, " FROM (VALUES ");
    for (unsigned row = 0; row < a->n_sources; row++) {
        buf_str(sql, row ? ", (" : "(");
        for (unsigned i = 0; i < a->n_columns; i++)
            buf_printf(sql, i ? ", $%u" : "$%u", row * a->n_columns + i + 1);
        buf_u8(sql, ')');
    }
    buf_str(sql, ") AS v(");
    for (unsigned i = 0; i < a->n_columns; i++)
        buf_printf(sql, i ? ", c%u" : "c%u", i);
    buf_u8(sql, ')');
    if (a->limit >= 0)
        buf_printf(sql, " LIMIT %lld", (long long)a->limit);
    if (a->offset > 0)
        buf_printf(sql, " OFFSET %lld", (long long)a->offset);
}

static void append_parse(const struct aggregate *a, struct buf *out)
{
    unsigned n_params = a->n_sources * a->n_columns;
    uint32_t *oids = xcalloc(n_params, sizeof(*oids));
    for (unsigned i = 0; i < n_params; i++)
        oids[i] = a->columns[i % a->n_columns].type_oid;
    struct buf sql;
    buf_init(&sql);
    append_query(a, &sql);
    message_parse(out, "", buf_slice(&sql), (uint16_t)n_params, oids);
    buf_free(&sql);
    free(oids);
}

/* A DataRow's values have the form of Bind's parameters. No row (LIMIT 0): NULLs, which the query's limit
 * drops. */
static void append_values(const struct aggregate *a, unsigned source, struct buf *out)
{
    size_t before = FRAME_HEADER_BYTES + 2, len = buf_len(&a->rows[source]);
    if (len)
        buf_append(out, buf_head(&a->rows[source]) + before, len - before);
    for (uint16_t i = 0; len == 0 && i < a->n_columns; i++)
        buf_u32(out, UINT32_MAX);
}

static void append_bind(const struct aggregate *a, uint16_t n_result_formats, const int16_t *result_formats,
                        struct buf *out)
{
    unsigned n_params = a->n_sources * a->n_columns;
    size_t begun = message_begin(out, MSG_BIND);
    buf_cstr(out, ""); /* portal */
    buf_cstr(out, ""); /* statement */
    buf_u16(out, (uint16_t)n_params);
    for (unsigned i = 0; i < n_params; i++)
        buf_u16(out, (uint16_t)a->columns[i % a->n_columns].format);
    buf_u16(out, (uint16_t)n_params);
    for (unsigned i = 0; i < a->n_sources; i++)
        append_values(a, i, out);
    buf_u16(out, n_result_formats);
    for (uint16_t i = 0; i < n_result_formats; i++)
        buf_u16(out, (uint16_t)result_formats[i]);
    message_end(out, begun);
}

static enum status check_formats(const struct aggregate *a, uint16_t n, struct error *error_r)
{
    if (n <= 1 || n == a->spec->n_aggregates)
        return STATUS_OK;
    return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                     "bind message has %u result formats but query has %u columns", n, a->spec->n_aggregates);
}

enum status aggregate_build(const struct aggregate *a, uint16_t n_result_formats,
                            const int16_t *result_formats, bool describe, struct buf *out,
                            struct error *error_r)
{
    if (!a->known || a->n_ended < a->n_sources)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "the shards did not describe their rows");
    if (check_formats(a, n_result_formats, error_r) != STATUS_OK)
        return STATUS_ERROR;
    append_parse(a, out);
    append_bind(a, n_result_formats, result_formats, out);
    if (describe)
        message_describe(out, 'P', "");
    message_execute(out, "", 0);
    return STATUS_OK;
}
