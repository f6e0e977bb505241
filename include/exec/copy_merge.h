/*
 * COPY ... TO STDOUT of several shards as one: rows go out in the order in which they come, the header line
 * (text, CSV) or header and trailer (binary) once. Pure: frames in, bytes out; nothing is kept but the binary
 * header, so that back-pressure is the caller's alone. A server sends each row in a CopyData of its own, and
 * the header before its first row (binary: in one message with it).
 */
#ifndef PGUNISON_EXEC_COPY_MERGE_H
#define PGUNISON_EXEC_COPY_MERGE_H

#include "base/buf.h"
#include "route/plan.h"
#include "wire/frame.h"

struct copy_merge;
/* spec: format and header count. n_sources: 1 .. SHARD_SET_MAX. */
struct copy_merge *copy_merge_create(const struct copy_spec *spec, unsigned n_sources);
void copy_merge_destroy(struct copy_merge **m);

/* A source's 'H'. The first goes to out, the others must say the same (0A000). */
enum status copy_merge_response(struct copy_merge *m, unsigned source, const struct frame *f, struct buf *out,
                                struct error *error_r) MUST_CHECK;
/* A source's 'd'. */
enum status copy_merge_data(struct copy_merge *m, unsigned source, const struct frame *f, struct buf *out,
                            struct error *error_r) MUST_CHECK;
/* A source's 'c'. After the last one's the trailer and CopyDone are in out, and *finished_r is true. */
enum status copy_merge_done(struct copy_merge *m, unsigned source, struct buf *out, bool *finished_r,
                            struct error *error_r) MUST_CHECK;
int64_t copy_merge_rows(const struct copy_merge *m); /* that went to out, for the command tag */

#endif
