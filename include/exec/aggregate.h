/*
 * Ungrouped aggregates over several shards: each shard answers one row of partial results, and PostgreSQL
 * itself combines them, by a query that is built here and run on one of the shards. Pure: frames in, messages
 * out.
 *
 *     SELECT pg_catalog.sum(c0)::pg_catalog.int8 AS "count",
 *            pg_catalog.sum(c1) OPERATOR(pg_catalog./) pg_catalog.sum(c2) AS "avg"
 *     FROM (VALUES ($1, $2, $3), ($4, $5, $6)) AS v(c0, c1, c2)
 *
 * The partial values travel as parameters, in the formats in which they came. Shards should be asked for
 * binary results: text would be cut by a client's extra_float_digits.
 *
 * What comes out is what one server would say, with two remarks: sums of floats depend on the order of
 * addition, here as there (within each shard, then over the shards in their order); and avg of float4 is
 * refused, as its partial sum has too few digits.
 *
 *     partial type        sum                     avg (partial: sum, and count)
 *     int8 (int2, int4)   numeric, cast to int8   numeric / numeric: the digits that avg itself gives
 *     numeric (int8 too)  numeric                 numeric / numeric
 *     float8              float8                  float8 / float8
 *     interval            interval                interval / float8
 *     float4, money       themselves              -
 */
#ifndef PGUNISON_EXEC_AGGREGATE_H
#define PGUNISON_EXEC_AGGREGATE_H

#include "base/buf.h"
#include "route/plan.h"
#include "wire/datum.h"
#include "wire/frame.h"

struct aggregate;
/* spec->n_aggregates > 0; spec outlives the aggregate. limit -1: none; the combining query applies both. */
struct aggregate *aggregate_create(const struct merge_spec *spec, unsigned n_sources, int64_t limit,
                                   int64_t offset);
void aggregate_destroy(struct aggregate **a);

/* A source's 'T': the types of the partial rows. 0A000: they cannot be combined exactly. */
enum status aggregate_row_description(struct aggregate *a, unsigned source, const struct frame *f,
                                      struct error *error_r) MUST_CHECK;
/* A source's one row, copied; a second one is an error. */
enum status aggregate_row(struct aggregate *a, unsigned source, const struct frame *f,
                          struct error *error_r) MUST_CHECK;
/* A source's CommandComplete. Without a row before it is an error, unless the limit is 0. */
enum status aggregate_end(struct aggregate *a, unsigned source, struct error *error_r) MUST_CHECK;

/* When every source has ended. Appends Parse, Bind and Execute of the combining query to out, without Sync, and with
   `describe` a Describe of the portal before the Execute (its RowDescription is what a simple query's client
   expects). The unnamed statement and portal are used. Result formats as in the client's Bind: 0: all text; 1: one for all; else
   one each (08P01 if that is not n_aggregates). */
enum status aggregate_build(const struct aggregate *a, uint16_t n_result_formats,
                            const int16_t *result_formats, bool describe, struct buf *out,
                            struct error *error_r) MUST_CHECK;

#endif
