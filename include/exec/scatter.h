/*
 * One statement answered by several shards: their messages go in, the client's messages come out.
 * Rows are merged (exec/merge.h), ungrouped aggregates combined (exec/aggregate.h), command tags added up.
 * Pure: frames in, bytes out.
 *
 *     scatter_create
 *     scatter_frame       every message of every source but ErrorResponse and ReadyForQuery
 *     scatter_drain       after a batch of them, and when the client can take more
 *     scatter_final       AGGREGATE, when all sources are ready: what one shard is to compute
 *     scatter_final_frame each message of that shard's answer
 *     scatter_complete    CommandComplete
 */
#ifndef PGUNISON_EXEC_SCATTER_H
#define PGUNISON_EXEC_SCATTER_H

#include "base/bitset.h"
#include "base/buf.h"
#include "route/plan.h"
#include "wire/datum.h"
#include "wire/frame.h"

struct scatter_options {
    const struct plan *plan; /* outlives the scatter */
    unsigned n_sources;
    int64_t limit, offset; /* -1, 0: none */
    struct datum_style style;
    bool transcoded;
    bool describe;             /* the client wants RowDescription (simple protocol) */
    int describer;             /* source that is the home shard, or -1 */
    uint16_t n_result_formats; /* of the client's Bind, for the last step of aggregates */
    const int16_t *result_formats;
};

struct scatter;
struct scatter *scatter_create(const struct scatter_options *o);
void scatter_destroy(struct scatter **s);
/* pause_r: this source is to be read again only when scatter_drain() names it. */
enum status scatter_frame(struct scatter *s, unsigned source, const struct frame *f, struct buf *out,
                          bool *pause_r, struct error *error_r) MUST_CHECK;
/* Appends what is certain, up to about max_bytes. done_r: no more rows will come out. full_r: stopped by
 * max_bytes. */
enum status scatter_drain(struct scatter *s, struct buf *out, size_t max_bytes, struct shard_set *resume_r,
                          bool *done_r, bool *full_r, struct error *error_r) MUST_CHECK;
/* Nothing is kept back here (COPY TO STDOUT): back-pressure is the caller's alone. */
bool scatter_passes(const struct scatter *s);
bool scatter_has_final(const struct scatter *s);
/* Appends Parse, Bind, Describe, Execute, Sync for one shard. Answers: 1, 2, T, D, C, Z. */
enum status scatter_final(struct scatter *s, struct buf *out, struct error *error_r) MUST_CHECK;
void scatter_final_frame(struct scatter *s, const struct frame *f, struct buf *out);
size_t scatter_memory(const struct scatter *s); /* of rows that wait */
void scatter_complete(const struct scatter *s, struct buf *out);

#endif
