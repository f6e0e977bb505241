/* From a key's value to a shard, for every method of conf/topology.h's table_map. */
#ifndef PGUNISON_ROUTE_BUCKET_MAP_H
#define PGUNISON_ROUTE_BUCKET_MAP_H

#include "base/error.h"
#include "base/slice.h"
#include "conf/topology.h"
#include "model/relation.h"

/* A table's map, made ready for its key column's type: range bounds and list values parsed, ordered, and
   checked for gaps, overlaps and values that do not parse. Immutable. */
struct bucket_map;
struct bucket_map *bucket_map_create(const struct database_def *db, const struct table_map *table,
                                     uint32_t type_oid, bool deterministic_collation,
                                     struct error *error_r) MUST_CHECK;
/* Counted, as plans outlive what the catalog knows of their tables. Of one thread. */
const struct bucket_map *bucket_map_ref(const struct bucket_map *m); /* NULL: NULL */
void bucket_map_unref(struct bucket_map **m);
/* Before the map is shared: the column's pg_attribute.atttypmod (-1, the default: none), so that a value is
   placed by what the column makes of it: timestamp(0) rounds. Blanks that varchar(n) may drop are an error
   0A000. */
void bucket_map_set_typmod(struct bucket_map *m, int32_t typmod);

/* Makes `buckets` of a relation of that database, or says in `map_error` why it cannot have them; it is `placed` from here on.
   The bytes that this takes. Plans may keep the map beyond bucket_map_unplace(). */
size_t bucket_map_place(const struct database_def *db, struct relation *r);
void bucket_map_unplace(struct relation *r);

struct bucket_target {
    unsigned shard; /* index in database_def.shards */
    int32_t bucket; /* HASH; -1 otherwise */
};
/* value.data == NULL: SQL NULL: 23502 for a write; for reads the caller knows that no row matches and does
   not ask. A value outside all ranges or lists (no DEFAULT) is an error 23514 naming the value's table, as
   for a partitioned table without a partition. */
enum status bucket_map_find(const struct bucket_map *m, uint32_t value_oid, int16_t format,
                            struct slice value, struct bucket_target *target_r,
                            struct error *error_r) MUST_CHECK;

/* What bucket_map_find() does first, for the callers to whom its arguments would be a detour: a map that
   hashes int2, int4 or int8, and a value that is an integer in its plainest form: digits that fit the type
   however they are, or binary. False: anything else, and nothing is said about it. */
bool bucket_map_find_integer(const struct bucket_map *m, uint32_t value_oid, int16_t format,
                             struct slice value, struct bucket_target *target_r) MUST_CHECK;

#endif
