/* What the files that read values share. None of it is seen outside this layer. */
#ifndef PGUNISON_SRC_WIRE_DATUM_PRIV_H
#define PGUNISON_SRC_WIRE_DATUM_PRIV_H

#include "wire/datum.h"

/* SQLSTATEs of the types' input functions (PostgreSQL appendix A, class 22) */
#define SQLSTATE_INVALID_PARAMETER       "22023"
#define SQLSTATE_INVALID_DATETIME_FORMAT "22007"
#define SQLSTATE_DATETIME_OVERFLOW       "22008"
#define SQLSTATE_TIME_ZONE_DISPLACEMENT  "22009"

/* isspace() of the C locale */
static inline bool datum_is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool datum_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static inline int datum_cmp_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Without white space at either end; data is never NULL. */
struct slice datum_trim(struct slice s);
/* Equal but for the case of ASCII letters; lower is in lower case. */
bool datum_is_word(struct slice s, const char *lower);

/* For printf's "%.*s": a value in an error message, cut at a character's end. */
int datum_shown_len(struct slice s);
#define SHOWN(s) datum_shown_len(s), (const char *)((s).data ? (s).data : (const uint8_t *)"")

/* invalid input syntax for type T: "value" */
enum status datum_bad_syntax(const char *sqlstate, const char *type_name, struct slice value,
                             struct error *error_r);
enum status datum_bad_binary(const char *type_name, struct error *error_r);

/* bytea in text, a byte at a time; both output formats. */
struct bytea_reader {
    const uint8_t *at, *end;
    bool hex;
};
enum { BYTEA_END = -1, BYTEA_BAD_DIGIT = -2, BYTEA_ODD = -3, BYTEA_BAD_ESCAPE = -4 };
struct bytea_reader bytea_reader_of(struct slice text);
int bytea_next(struct bytea_reader *r); /* 0..255, or one of the above; *at of a bad digit is left at it */
enum status bytea_fail(const struct bytea_reader *r, int why, struct error *error_r);

/* Numbers with a decimal point: numeric, float4 and float8 in text. Comparison is of the decimals themselves,
   so nothing is rounded. */
enum status decimal_text_compare(const char *type_name, struct slice a, struct slice b, int *cmp_r,
                                 struct error *error_r) MUST_CHECK;
enum status numeric_binary_compare(struct slice a, struct slice b, int *cmp_r,
                                   struct error *error_r) MUST_CHECK;

/* Dates and times as the server prints them under DateStyle ISO. */
struct interval_value {
    int64_t months, days, us;
};
struct timetz_value {
    int64_t us;   /* local time of day */
    int32_t west; /* seconds, positive west of Greenwich, as the server keeps it */
};
enum status datum_time_out(struct slice text, int64_t *us_r, struct error *error_r) MUST_CHECK;
enum status datum_timetz_out(struct slice text, struct timetz_value *v_r, struct error *error_r) MUST_CHECK;
enum status datum_interval_out(struct slice text, struct interval_value *v_r,
                               struct error *error_r) MUST_CHECK;

/* A value as numbers: compared by the first, then by the second (0 where the first says all). */
struct datum_key {
    __int128 first;
    int64_t second;
};
enum key_result { KEY_READ, KEY_BAD /* error_r is set */, KEY_NOT_THIS_TYPE };
enum key_result datum_key_read(uint32_t type_oid, bool binary, struct slice v, struct datum_key *k_r,
                               struct error *error_r) MUST_CHECK;
int datum_key_compare(const struct datum_key *a, const struct datum_key *b);

#endif
