/*
 * Many shards' rows become one result: concatenated, or merged in the order that ORDER BY asked of each
 * shard. Pure: frames in, bytes out. A shard's result is never held whole: each source has a queue, and the
 * merge says when to stop reading a source and when to go on.
 *
 * Life of a merge, sources being numbered 0 .. n_sources - 1:
 *     merge_create
 *     merge_row_description        each source's 'T'
 *     merge_row, merge_end ...     as frames arrive, in any interleaving
 *     merge_drain                  after each batch of frames, and when the client can take more
 *     merge_destroy                after MERGE_DONE or MERGE_FAILED, or at any time
 */
#ifndef PGUNISON_EXEC_MERGE_H
#define PGUNISON_EXEC_MERGE_H

#include "base/bitset.h"
#include "base/buf.h"
#include "route/plan.h"
#include "wire/datum.h"
#include "wire/frame.h"

#define MERGE_QUEUE_BYTES ((size_t)256 * 1024)

struct merge_options {
    const struct merge_spec *spec; /* outlives the merge */
    unsigned n_sources;            /* 1 .. SHARD_SET_MAX */
    int64_t limit;                 /* -1: none */
    int64_t offset;
    struct datum_style style;
    bool transcoded;    /* client_encoding is not the shards' own: byte order of text is then not the shards'
                           order, and is refused */
    int describer;      /* whose RowDescription the client gets (the home shard's: table OIDs differ between
                           shards); -1: the first one's, without table OIDs and column numbers */
    size_t queue_bytes; /* when a source is to be paused; 0: MERGE_QUEUE_BYTES */
};

struct merge;
struct merge *merge_create(const struct merge_options *o);
void merge_destroy(struct merge **m);

/* A source's 'T'. One goes to out, hidden columns left out; the others must have the same types (0A000; types
   that users made have other OIDs on each shard and are taken as equal) and formats. */
enum status merge_row_description(struct merge *m, unsigned source, const struct frame *f, struct buf *out,
                                  struct error *error_r) MUST_CHECK;

enum merge_flow {
    MERGE_READ_ON,
    MERGE_PAUSE /* enough for now: read this source again when merge_drain() names it */
};
/* A source's 'D', copied. Columns must be known. After the limit was reached rows are dropped. */
enum status merge_row(struct merge *m, unsigned source, const struct frame *f, enum merge_flow *flow_r,
                      struct error *error_r) MUST_CHECK;
/* A source's CommandComplete. rows: of its tag, must be as many as came (XX000: a row got lost); -1: the tag has no
 * number. */
enum status merge_end(struct merge *m, unsigned source, int64_t rows, struct error *error_r) MUST_CHECK;

enum merge_progress {
    MERGE_STARVED, /* all that is certain is out: sources must be fed */
    MERGE_FULL,    /* max_bytes are in out: call again when the client has taken them */
    MERGE_DONE,    /* the result is complete; sources that have not ended still send rows behind the limit */
    MERGE_FAILED   /* error_r; a value could not be compared */
};
/* Appends rows to out until buf_len(out) >= max_bytes. resume_r: sources that were paused and may be read again
   (set anew). */
enum merge_progress merge_drain(struct merge *m, struct buf *out, size_t max_bytes,
                                struct shard_set *resume_r, struct error *error_r) MUST_CHECK;

int64_t merge_rows_emitted(const struct merge *m); /* in all, for the command tag */
size_t merge_queued_bytes(const struct merge *m);

#endif
