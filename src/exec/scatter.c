/*
 * One answer of several shards': which of the ways (rows merged, aggregates combined, tags added up) is
 * decided by the plan.
 *
 * Rows may come from statements that write (RETURNING): they are concatenated. Where every shard does the
 * same to its own full copy (tag_of_one), the first source speaks for all.
 */
#include "exec/scatter.h"

#include "base/arena.h"
#include "exec/aggregate.h"
#include "exec/copy_merge.h"
#include "exec/merge.h"
#include "wire/message.h"

#include <stdio.h>
#include <stdlib.h>

struct source {
    bool has_rows; /* sent RowDescription */
    bool ended;    /* sent CommandComplete */
};

struct scatter {
    struct scatter_options o;
    struct merge *merge;
    struct aggregate *aggregate;
    struct copy_merge *copy;
    int16_t *result_formats;
    bool counted; /* the tag ends in a number of rows */
    bool any_rows;
    unsigned ended;
    int64_t rows; /* of the tags */
    char tag[64]; /* the first tag's words, without its count */
    char final_tag[64];
    struct source sources[];
};

struct scatter *scatter_create(const struct scatter_options *o)
{
    struct scatter *s = xcalloc(1, sizeof *s + o->n_sources * sizeof s->sources[0]);
    s->o = *o;
    if (o->n_result_formats) {
        s->result_formats = xmalloc(o->n_result_formats * sizeof *s->result_formats);
        memcpy(s->result_formats, o->result_formats, o->n_result_formats * sizeof *s->result_formats);
    }
    if (o->plan->kind == PLAN_SCATTER && o->plan->merge.n_aggregates > 0) {
        s->aggregate = aggregate_create(&o->plan->merge, o->n_sources, o->limit, o->offset);
    } else if (o->plan->verb == VERB_COPY_OUT) {
        s->copy = copy_merge_create(&o->plan->copy, o->n_sources);
    } else {
        struct merge_options m = {.spec = &o->plan->merge,
                                  .n_sources = o->n_sources,
                                  .limit = o->limit,
                                  .offset = o->offset,
                                  .style = o->style,
                                  .transcoded = o->transcoded,
                                  .describer = o->describer};
        s->merge = merge_create(&m);
    }
    return s;
}

void scatter_destroy(struct scatter **sp)
{
    struct scatter *s = *sp;
    *sp = NULL;
    if (s->merge)
        merge_destroy(&s->merge);
    if (s->aggregate)
        aggregate_destroy(&s->aggregate);
    if (s->copy)
        copy_merge_destroy(&s->copy);
    free(s->result_formats);
    free(s);
}

/* Whose rows and tag count. */
static bool speaks(const struct scatter *s, unsigned source)
{
    return !s->o.plan->tag_of_one || source == 0;
}

static enum status on_command_complete(struct scatter *s, unsigned source, const struct frame *f,
                                       struct error *error_r)
{
    const char *tag;
    int64_t rows;
    if (message_read_tag(f, &tag, &rows, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (s->sources[source].ended)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard ended its rows twice");
    s->sources[source].ended = true;
    s->ended++;
    if (speaks(s, source) || s->tag[0] == 0) {
        /* "UPDATE 5", "INSERT 0 5", "SELECT 5": the words before the last number; "CREATE TABLE" as it is. */
        size_t n = strlen(tag);
        while (rows >= 0 && n > 0 && tag[n - 1] >= '0' && tag[n - 1] <= '9')
            n--;
        snprintf(s->tag, sizeof s->tag, "%.*s", (int)n, tag);
        s->counted = rows >= 0;
    }
    if (rows > 0 && speaks(s, source))
        s->rows += rows;
    if (s->aggregate)
        return aggregate_end(s->aggregate, source, error_r);
    if (s->merge && speaks(s, source))
        return merge_end(s->merge, source, s->sources[source].has_rows ? rows : 0, error_r);
    if (s->merge)
        return merge_end(s->merge, source, 0, error_r);
    return STATUS_OK;
}

static enum status on_row_description(struct scatter *s, unsigned source, const struct frame *f,
                                      struct buf *out, struct error *error_r)
{
    struct buf unwanted;
    enum status st;
    s->sources[source].has_rows = true;
    s->any_rows = true;
    if (s->aggregate)
        return aggregate_row_description(s->aggregate, source, f, error_r);
    if (!s->merge)
        return STATUS_OK;
    if (s->o.describe)
        return merge_row_description(s->merge, source, f, out, error_r);
    buf_init(&unwanted);
    st = merge_row_description(s->merge, source, f, &unwanted, error_r);
    buf_free(&unwanted);
    return st;
}

enum status scatter_frame(struct scatter *s, unsigned source, const struct frame *f, struct buf *out,
                          bool *pause_r, struct error *error_r)
{
    enum merge_flow flow = MERGE_READ_ON;
    bool finished;
    *pause_r = false;
    switch (f->type) {
    case MSG_ROW_DESCRIPTION:
        return on_row_description(s, source, f, out, error_r);
    case MSG_DATA_ROW:
        if (s->aggregate)
            return aggregate_row(s->aggregate, source, f, error_r);
        if (!s->merge || !speaks(s, source))
            return STATUS_OK;
        if (merge_row(s->merge, source, f, &flow, error_r) != STATUS_OK)
            return STATUS_ERROR;
        *pause_r = flow == MERGE_PAUSE;
        return STATUS_OK;
    case MSG_COMMAND_COMPLETE:
        return on_command_complete(s, source, f, error_r);
    case MSG_COPY_OUT_RESPONSE:
        return s->copy ? copy_merge_response(s->copy, source, f, out, error_r) : STATUS_OK;
    case MSG_COPY_DATA:
        return s->copy ? copy_merge_data(s->copy, source, f, out, error_r) : STATUS_OK;
    case MSG_COPY_DONE:
        return s->copy ? copy_merge_done(s->copy, source, out, &finished, error_r) : STATUS_OK;
    default: /* NoData, EmptyQueryResponse */
        return STATUS_OK;
    }
}

enum status scatter_drain(struct scatter *s, struct buf *out, size_t max_bytes, struct shard_set *resume_r,
                          bool *done_r, bool *full_r, struct error *error_r)
{
    shard_set_clear(resume_r);
    *full_r = false;
    *done_r = s->ended == s->o.n_sources;
    if (!s->merge || !s->any_rows)
        return STATUS_OK;
    *done_r = false;
    switch (merge_drain(s->merge, out, max_bytes, resume_r, error_r)) {
    case MERGE_FAILED:
        return STATUS_ERROR;
    case MERGE_DONE:
        *done_r = true;
        break;
    case MERGE_FULL:
        *full_r = true;
        break;
    case MERGE_STARVED:
        break;
    }
    return STATUS_OK;
}

bool scatter_has_final(const struct scatter *s)
{
    return s->aggregate != NULL;
}

bool scatter_passes(const struct scatter *s)
{
    return s->copy != NULL;
}

enum status scatter_final(struct scatter *s, struct buf *out, struct error *error_r)
{
    if (aggregate_build(s->aggregate, s->o.n_result_formats, s->result_formats, true, out, error_r) !=
        STATUS_OK)
        return STATUS_ERROR;
    message_empty(out, MSG_SYNC);
    return STATUS_OK;
}

void scatter_final_frame(struct scatter *s, const struct frame *f, struct buf *out)
{
    struct error bad;
    const char *tag;
    int64_t rows;
    if (f->type == MSG_ROW_DESCRIPTION && s->o.describe)
        buf_slice_append(out, f->whole);
    else if (f->type == MSG_DATA_ROW)
        buf_slice_append(out, f->whole);
    else if (f->type == MSG_COMMAND_COMPLETE && message_read_tag(f, &tag, &rows, &bad) == STATUS_OK)
        snprintf(s->final_tag, sizeof s->final_tag, "%s", tag);
}

size_t scatter_memory(const struct scatter *s)
{
    return s->merge ? merge_queued_bytes(s->merge) : 0;
}

void scatter_complete(const struct scatter *s, struct buf *out)
{
    char tag[sizeof s->tag + 32];
    int64_t rows =
        s->merge && s->any_rows && s->o.plan->kind == PLAN_SCATTER ? merge_rows_emitted(s->merge) : s->rows;
    if (s->copy)
        rows = copy_merge_rows(s->copy);
    if (s->aggregate)
        snprintf(tag, sizeof tag, "%s", s->final_tag);
    else if (s->counted)
        snprintf(tag, sizeof tag, "%s%lld", s->tag, (long long)rows);
    else
        snprintf(tag, sizeof tag, "%s", s->tag);
    message_command_complete(out, tag);
}
