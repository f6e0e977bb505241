/*
 * Values of built-in types as they travel: OIDs, reading text and binary formats, and the order in which
 * PostgreSQL sorts them, for merging (exec/merge.h) and for keys (route/hash.h).
 */
#ifndef PGUNISON_WIRE_DATUM_H
#define PGUNISON_WIRE_DATUM_H

#include "base/error.h"
#include "base/slice.h"

/* pg_type.dat */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_CHAR = 18,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_REGPROC = 24,
    OID_TEXT = 25,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_UNKNOWN = 705,
    OID_MONEY = 790,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_INTERVAL = 1186,
    OID_TIMETZ = 1266,
    OID_NUMERIC = 1700,
    OID_UUID = 2950
};

/* How dates are written in text: the session's DateStyle, as ParameterStatus reports it. */
struct datum_style {
    bool iso; /* DateStyle begins with ISO; other output styles cannot be merged and are refused */
};
void datum_style_parse(const char *date_style, struct datum_style *style_r);

/* Whether rows can be merged on this type at all. needs_c_collation_r: text types, only under a C collation.
 */
bool datum_sortable(uint32_t type_oid, bool *needs_c_collation_r);
/* Compares two non-null values of one type in one format (0 text, 1 binary) as the type's default btree
   operator class does; text types by bytes. A value that cannot be read is an error (the type's input error
   in text, 22P03 in binary), never a guess; so is a text date under another DateStyle than ISO (0A000). */
enum status datum_compare(uint32_t type_oid, int16_t format, const struct datum_style *style, struct slice a,
                          struct slice b, int *cmp_r, struct error *error_r) MUST_CHECK;

/* Readers of text format, as the types' input functions: leading and trailing white space, ranges, SQLSTATEs
   and messages as the server's. Integers in PostgreSQL 16's forms (0x1F, 1_000) are read whatever the shards'
   version. */
enum status datum_int_in(struct slice text, int bits /* 16, 32, 64 */, int64_t *v_r,
                         struct error *error_r) MUST_CHECK;
enum status datum_bool_in(struct slice text, bool *v_r, struct error *error_r) MUST_CHECK;
enum status datum_uuid_in(struct slice text, uint8_t out[16], struct error *error_r) MUST_CHECK;
/* bytea, hex and escape formats; out has room for text.len bytes. */
enum status datum_bytea_in(struct slice text, uint8_t *out, size_t *len_r, struct error *error_r) MUST_CHECK;
/* ISO 8601 forms only (what every driver sends): YYYY-MM-DD[ BC], and with a time of day, fraction, and zone
   as a numeric offset or Z. Anything else that PostgreSQL might accept (month names, relative words, zone
   names) is an error 0A000 with a HINT to write ISO form; infinity and -infinity are accepted. date: days,
   timestamps: microseconds, both since 2000-01-01; infinities are the least and the greatest value. As in the
   server, date ignores a time and a zone, timestamp ignores a zone. A timestamptz without a zone is an error
   too: it depends on the session's TimeZone. */
enum status datum_date_in(struct slice text, int32_t *days_r, struct error *error_r) MUST_CHECK;
enum status datum_timestamp_in(struct slice text, bool with_zone, int64_t *us_r,
                               struct error *error_r) MUST_CHECK;

#endif
