/*
 * k-way merge of DataRow streams.
 *
 *     source 0: queue [row row row]   head: offsets of its sort keys \
 *     source 1: queue [row]           head                            > heap of sources with a head
 *     source 2: queue []              (starving)                     /    (the least row on top)
 *
 * Sorted, a row is certain to be the next one only if every source that has not ended has a row queued; so a
 * starving source stops the output, and can never be among the paused ones. Ties go to the lower source, so
 * the order is stable. Unsorted, every queued row is certain.
 *
 * A source that has not ended (merge_end) is in the heap if and only if it has a head (sorted merges only); `waiting`
 * counts the sources that have not ended and have no head.
 *
 * Not responsible for: aggregates (exec/aggregate.h), DISTINCT, deciding what can be merged (route/router.h).
 */
#include "exec/merge.h"

#include "base/arena.h"
#include "wire/message.h"
#include <assert.h>
#include <stdlib.h>

#define FIRST_USER_OID 16384 /* FirstNormalObjectId: types made by users have OIDs from here */

struct key_at { /* in the source's queue, from its read end */
    uint32_t at;
    uint32_t len;
    bool null;
};

struct source {
    bool ended, paused;
    int64_t rows;           /* received */
    struct buf queue;       /* whole DataRow messages */
    uint32_t head_bytes;    /* length of the first message, if its keys were located; 0: no head */
    uint32_t visible_bytes; /* how much of it the client sees */
    struct key_at *keys;    /* [n_sort] */
};

struct merge {
    struct merge_options o;
    const struct merge_spec *spec;
    struct source *sources;
    struct key_at *all_keys;
    bool known;     /* columns are */
    bool described; /* the client has, or needs not, its RowDescription */
    uint16_t n_columns;
    struct msg_column *columns; /* names are not kept */
    struct slice *values;       /* [n_columns], scratch */
    uint16_t *heap;
    unsigned n_heap, waiting, ended, next; /* next: of an unsorted merge, whose turn it is */
    int64_t to_skip, emitted;
    bool failed;
    struct error error; /* if failed */
};

struct merge *merge_create(const struct merge_options *o)
{
    assert(o->n_sources >= 1 && o->n_sources <= SHARD_SET_MAX);
    struct merge *m = xcalloc(1, sizeof(*m));
    m->o = *o;
    m->spec = o->spec;
    if (m->o.queue_bytes == 0)
        m->o.queue_bytes = MERGE_QUEUE_BYTES;
    m->sources = xcalloc(o->n_sources, sizeof(*m->sources));
    m->all_keys = xcalloc((size_t)o->n_sources * o->spec->n_sort, sizeof(*m->all_keys));
    m->heap = xcalloc(o->n_sources, sizeof(*m->heap));
    for (unsigned i = 0; i < o->n_sources; i++) {
        buf_init(&m->sources[i].queue);
        m->sources[i].keys = m->all_keys + (size_t)i * o->spec->n_sort;
    }
    m->waiting = o->n_sources;
    m->to_skip = o->offset > 0 ? o->offset : 0;
    return m;
}

void merge_destroy(struct merge **m)
{
    if (!*m)
        return;
    for (unsigned i = 0; i < (*m)->o.n_sources; i++)
        buf_free(&(*m)->sources[i].queue);
    free((*m)->sources);
    free((*m)->all_keys);
    free((*m)->columns);
    free((*m)->values);
    free((*m)->heap);
    free(*m);
    *m = NULL;
}

/* --- columns ---------------------------------------------------------------------------------- */

static enum status check_sort_key(const struct merge *m, const struct merge_sort_key *key,
                                  struct error *error_r)
{
    bool needs_c_collation = false;
    if (key->column >= m->n_columns)
        return error_set(error_r, SQLSTATE_INTERNAL, "sort key %u of a row with %u columns", key->column,
                         m->n_columns);
    uint32_t type = m->columns[key->column].type_oid;
    if (!datum_sortable(type, &needs_c_collation)) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "rows of several shards cannot be merged in the order of type %u", type);
        error_hint(error_r,
                   "Order by a number, a date or time, a uuid, bytea, or a text with COLLATE \"C\".");
        return STATUS_ERROR;
    }
    if (needs_c_collation && !key->c_collated) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "rows of several shards cannot be merged in the order of a collation other than \"C\"");
        error_hint(error_r, "Add COLLATE \"C\" to the ORDER BY expression, or sort in the application.");
        return STATUS_ERROR;
    }
    if (needs_c_collation && m->o.transcoded) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "rows of several shards cannot be merged in the order of text that was converted");
        error_hint(error_r, "Set client_encoding to the shards' own encoding.");
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

/* m->columns and m->n_columns are filled in. */
static enum status set_columns(struct merge *m, struct error *error_r)
{
    if (m->spec->n_columns &&
        m->spec->n_columns != m->n_columns) { /* sort keys are counted from a * that grew */
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "cached plan must not change result type");
        error_hint(error_r, "The columns of a table changed; run the statement again.");
        return STATUS_ERROR;
    }
    if (m->spec->n_hidden > m->n_columns)
        return error_set(error_r, SQLSTATE_INTERNAL, "%u hidden columns in a row with %u columns",
                         m->spec->n_hidden, m->n_columns);
    for (uint16_t i = 0; i < m->spec->n_sort; i++)
        if (check_sort_key(m, &m->spec->sort[i], error_r) != STATUS_OK)
            return STATUS_ERROR;
    m->values = xcalloc(m->n_columns, sizeof(*m->values));
    m->known = true;
    return STATUS_OK;
}

static bool same_column(const struct msg_column *a, const struct msg_column *b)
{
    bool same_type =
        a->type_oid == b->type_oid ||
        (a->type_oid >= FIRST_USER_OID && b->type_oid >= FIRST_USER_OID && a->type_len == b->type_len);
    return same_type && a->format == b->format;
}

static enum status check_same(const struct merge *m, uint16_t n, const struct msg_column *columns,
                              struct error *error_r)
{
    bool same = n == m->n_columns;
    for (uint16_t i = 0; same && i < n; i++)
        same = same_column(&m->columns[i], &columns[i]);
    if (same)
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "shards return rows of different types for this statement");
    error_hint(error_r, "Make the definition of the table the same on every shard.");
    return STATUS_ERROR;
}

static void emit_description(struct merge *m, struct msg_column *columns, struct buf *out)
{
    uint16_t visible = (uint16_t)(m->n_columns - m->spec->n_hidden);
    for (uint16_t i = 0; m->o.describer < 0 && i < visible; i++) {
        columns[i].table_oid = 0;
        columns[i].column_no = 0;
    }
    message_row_description_columns(out, visible, columns);
    m->described = true;
}

enum status merge_row_description(struct merge *m, unsigned source, const struct frame *f, struct buf *out,
                                  struct error *error_r)
{
    assert(source < m->o.n_sources);
    uint16_t cap = f->body.len >= 2 ? load_u16(f->body.data) : 0, n = 0;
    struct msg_column *columns = xcalloc(cap, sizeof(*columns));
    enum status status = message_read_row_description(f, columns, cap, &n, error_r);
    if (status == STATUS_OK && m->known) {
        status = check_same(m, n, columns, error_r);
    } else if (status == STATUS_OK) {
        free(m->columns);
        m->n_columns = n;
        m->columns = xcalloc(n, sizeof(*m->columns));
        memcpy(m->columns, columns, n * sizeof(*columns));
        status = set_columns(m, error_r);
    }
    if (status == STATUS_OK && !m->described && (m->o.describer < 0 || source == (unsigned)m->o.describer))
        emit_description(m, columns, out);
    free(columns);
    for (uint16_t i = 0; m->columns && i < m->n_columns; i++)
        m->columns[i].name = NULL; /* pointed into the frame */
    return status;
}

/* --- order ------------------------------------------------------------------------------------ */

static struct slice key_value(const struct source *s, const struct key_at *k)
{
    return slice_of(buf_head(&s->queue) + k->at, k->len);
}

/* Whether the head of a goes before the head of b. After a failure the answer does not matter. */
static bool goes_before(struct merge *m, unsigned a, unsigned b)
{
    const struct source *sa = &m->sources[a], *sb = &m->sources[b];
    for (uint16_t i = 0; i < m->spec->n_sort && !m->failed; i++) {
        const struct merge_sort_key *key = &m->spec->sort[i];
        const struct key_at *ka = &sa->keys[i], *kb = &sb->keys[i];
        if (ka->null && kb->null)
            continue;
        if (ka->null || kb->null)
            return ka->null == key->nulls_first;
        const struct msg_column *column = &m->columns[key->column];
        int cmp = 0;
        if (datum_compare(column->type_oid, column->format, &m->o.style, key_value(sa, ka), key_value(sb, kb),
                          &cmp, &m->error) != STATUS_OK)
            m->failed = true;
        if (cmp != 0)
            return key->descending ? cmp > 0 : cmp < 0;
    }
    return a < b;
}

static void sift_down(struct merge *m, unsigned at)
{
    for (;;) {
        unsigned least = at;
        for (unsigned child = 2 * at + 1; child <= 2 * at + 2 && child < m->n_heap; child++)
            if (goes_before(m, m->heap[child], m->heap[least]))
                least = child;
        if (least == at)
            return;
        uint16_t moved = m->heap[at];
        m->heap[at] = m->heap[least];
        m->heap[least] = moved;
        at = least;
    }
}

static void heap_add(struct merge *m, unsigned source)
{
    unsigned at = m->n_heap++;
    m->heap[at] = (uint16_t)source;
    while (at > 0) {
        unsigned parent = (at - 1) / 2;
        if (!goes_before(m, m->heap[at], m->heap[parent]))
            return;
        uint16_t moved = m->heap[at];
        m->heap[at] = m->heap[parent];
        m->heap[parent] = moved;
        at = parent;
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Finds the first queued message's end, its visible part and its sort keys. */
static enum status locate_head(struct merge *m, struct source *s, struct error *error_r)
{
    struct slice bytes = buf_slice(&s->queue);
    assert(bytes.data);
    uint32_t whole = load_u32(bytes.data + 1) + 1;
    struct frame f = {.type = bytes.data[0],
                      .body = slice_of(bytes.data + FRAME_HEADER_BYTES, whole - FRAME_HEADER_BYTES),
                      .whole = slice_of(bytes.data, whole)};
    uint16_t n = f.body.len >= 2 ? load_u16(f.body.data) : 0;
    if (n != m->n_columns)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard's row has %u columns instead of %u",
                         n, m->n_columns);
    if (message_read_data_row(&f, m->values, m->n_columns, &n, error_r) != STATUS_OK)
        return STATUS_ERROR;
    s->visible_bytes = FRAME_HEADER_BYTES + 2;
    for (uint16_t i = 0; i < n - m->spec->n_hidden; i++)
        s->visible_bytes += 4 + (m->values[i].data ? (uint32_t)m->values[i].len : 0);
    for (uint16_t i = 0; i < m->spec->n_sort; i++) {
        struct slice v = m->values[m->spec->sort[i].column];
        s->keys[i].null = v.data == NULL;
        s->keys[i].at = v.data ? (uint32_t)(v.data - bytes.data) : 0;
        s->keys[i].len = (uint32_t)v.len;
    }
    s->head_bytes = whole;
    return STATUS_OK;
}

static bool limit_reached(const struct merge *m)
{
    return m->o.limit >= 0 && m->emitted >= m->o.limit;
}

/* Sticky: the order of what was queued is not known any more. */
static enum status fail(struct merge *m, const struct error *error)
{
    m->failed = true;
    m->error = *error;
    return STATUS_ERROR;
}

enum status merge_row(struct merge *m, unsigned source, const struct frame *f, enum merge_flow *flow_r,
                      struct error *error_r)
{
    assert(source < m->o.n_sources);
    struct source *s = &m->sources[source];
    *flow_r = MERGE_READ_ON;
    if (!m->known || s->ended)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard sent a row out of turn");
    s->rows++;
    if (m->failed || limit_reached(m))
        return STATUS_OK;

    buf_slice_append(&s->queue, f->whole);
    if (s->head_bytes == 0) {
        if (locate_head(m, s, error_r) != STATUS_OK)
            return fail(m, error_r);
        m->waiting--;
        if (m->spec->n_sort)
            heap_add(m, source);
    }
    if (buf_len(&s->queue) >= m->o.queue_bytes) {
        s->paused = true;
        *flow_r = MERGE_PAUSE;
    }
    if (m->failed) {
        *error_r = m->error;
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

enum status merge_end(struct merge *m, unsigned source, int64_t rows, struct error *error_r)
{
    assert(source < m->o.n_sources);
    struct source *s = &m->sources[source];
    if (s->ended)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard ended its rows twice");
    if (rows >= 0 && rows != s->rows)
        return error_set(error_r, SQLSTATE_INTERNAL, "a shard sent %lld rows and counted %lld",
                         (long long)s->rows, (long long)rows);
    s->ended = true;
    m->ended++;
    if (s->head_bytes == 0)
        m->waiting--;
    return STATUS_OK;
}

/* --- output ----------------------------------------------------------------------------------- */

static void emit_head(const struct merge *m, const struct source *s, struct buf *out)
{
    const uint8_t *row = buf_head(&s->queue);
    if (m->spec->n_hidden == 0) {
        buf_append(out, row, s->head_bytes);
        return;
    }
    size_t prefix = FRAME_HEADER_BYTES + 2;
    buf_u8(out, MSG_DATA_ROW);
    buf_u32(out, s->visible_bytes - 1);
    buf_u16(out, (uint16_t)(m->n_columns - m->spec->n_hidden));
    buf_append(out, row + prefix, s->visible_bytes - prefix);
}

/* Drops the source's head and locates the next one, if there is one. */
static enum status advance(struct merge *m, unsigned source, struct shard_set *resume_r)
{
    struct source *s = &m->sources[source];
    buf_consume(&s->queue, s->head_bytes);
    s->head_bytes = 0;
    if (s->paused && buf_len(&s->queue) <= m->o.queue_bytes / 4) {
        s->paused = false;
        shard_set_add(resume_r, source);
    }
    if (buf_len(&s->queue) == 0) {
        if (s->ended || s->queue.cap > 2 * m->o.queue_bytes)
            buf_free(&s->queue);
        m->waiting += !s->ended;
        return STATUS_OK;
    }
    struct error error;
    return locate_head(m, s, &error) == STATUS_OK ? STATUS_OK : fail(m, &error);
}

/* The source whose head is certain to be the next row, or -1. */
static int next_source(struct merge *m)
{
    if (m->spec->n_sort)
        return m->waiting == 0 && m->n_heap > 0 ? m->heap[0] : -1;
    for (unsigned i = 0; i < m->o.n_sources; i++) {
        unsigned source = (m->next + i) % m->o.n_sources;
        if (m->sources[source].head_bytes) {
            m->next = source;
            return (int)source;
        }
    }
    return -1;
}

static void take_row(struct merge *m, unsigned source, struct buf *out, struct shard_set *resume_r)
{
    if (m->to_skip > 0) {
        m->to_skip--;
    } else {
        emit_head(m, &m->sources[source], out);
        m->emitted++;
    }
    if (advance(m, source, resume_r) != STATUS_OK || m->spec->n_sort == 0)
        return;
    if (m->sources[source].head_bytes == 0)
        m->heap[0] = m->heap[--m->n_heap];
    sift_down(m, 0);
}

/* Nothing more will be emitted: queues are emptied, and whoever was paused may run dry. */
static void drop_queues(struct merge *m, struct shard_set *resume_r)
{
    for (unsigned i = 0; i < m->o.n_sources; i++) {
        struct source *s = &m->sources[i];
        if (s->head_bytes && !s->ended)
            m->waiting++;
        s->head_bytes = 0;
        buf_free(&s->queue);
        if (s->paused)
            shard_set_add(resume_r, i);
        s->paused = false;
    }
    m->n_heap = 0;
}

static bool all_ended(const struct merge *m)
{
    return m->ended == m->o.n_sources;
}

enum merge_progress merge_drain(struct merge *m, struct buf *out, size_t max_bytes,
                                struct shard_set *resume_r, struct error *error_r)
{
    shard_set_clear(resume_r);
    while (m->described && !m->failed) {
        if (limit_reached(m)) {
            drop_queues(m, resume_r);
            return MERGE_DONE;
        }
        if (buf_len(out) >= max_bytes)
            return MERGE_FULL;
        int source = next_source(m);
        if (source < 0)
            return all_ended(m) ? MERGE_DONE : MERGE_STARVED;
        take_row(m, (unsigned)source, out, resume_r);
    }
    if (!m->failed && !all_ended(m))
        return MERGE_STARVED;
    if (!m->failed) {
        m->failed = true;
        error_set(&m->error, SQLSTATE_PROTOCOL_VIOLATION, "the shards did not describe their rows");
    }
    *error_r = m->error;
    return MERGE_FAILED;
}

int64_t merge_rows_emitted(const struct merge *m)
{
    return m->emitted;
}

size_t merge_queued_bytes(const struct merge *m)
{
    size_t n = 0;
    for (unsigned i = 0; i < m->o.n_sources; i++)
        n += buf_len(&m->sources[i].queue);
    return n;
}
