/*
 * Dates and times in ISO form, as drivers send them and as the server prints them under DateStyle ISO:
 *
 *     YYYY-MM-DD [ ' ' or 'T' HH:MM[:SS[.f]] ] [ Z or (+|-)HH[[:]MM[:SS]] ] [ ' ' BC ]
 *
 * A value is read in two steps: its shape, then its ranges. What does not have the shape may still be
 * something that PostgreSQL reads (month names, other orders, zone names), so that is "not supported"; what
 * has it is judged as the server judges it (DecodeDateTime() in datetime.c), error messages included. As
 * there, date ignores a time and a zone, and timestamp ignores a zone.
 *
 * Years are astronomical inside (1 BC is 0), the calendar is the proleptic Gregorian one, days and
 * microseconds count from 2000-01-01.
 */
#include "datum_priv.h"
#include <math.h>
#include <stdlib.h>

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_HOUR   (60 * US_PER_MINUTE)
#define US_PER_DAY    (24 * US_PER_HOUR)

/* PostgreSQL's ranges: from Julian day 0 (4714-11-24 BC) on; ends are exclusive. */
#define MIN_DAY           INT64_C(-2451545)
#define END_DATE_DAY      INT64_C(2145031949)
#define END_TIMESTAMP_DAY INT64_C(106751983)
#define MAX_ZONE_HOURS    15

/* --- shape ------------------------------------------------------------------------------------ */

struct scan {
    const uint8_t *at, *end;
};

struct time_of_day {
    int64_t hour, minute, second;
    int64_t fraction_us; /* 0 .. US_PER_SECOND, both included: it is rounded */
};

struct zone {
    int64_t hours, minutes, seconds;
    bool west;
};

struct iso {
    int64_t year, month, day;
    bool bc, has_zone;
    struct time_of_day time; /* midnight when there is none */
    struct zone zone;
};

static struct scan scan_of(struct slice text)
{
    struct slice s = datum_trim(text);

    return (struct scan){.at = s.data, .end = s.data + s.len};
}

static bool take(struct scan *s, uint8_t c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* The byte n further on; 0 beyond the end. */
static uint8_t peek(const struct scan *s, size_t n)
{
    return (size_t)(s->end - s->at) > n ? s->at[n] : 0;
}

static bool take_number(struct scan *s, size_t min_digits, size_t max_digits, int64_t *v_r)
{
    size_t n = 0;
    int64_t v = 0;

    for (; datum_is_digit(peek(s, 0)) && n < max_digits; n++)
        v = v * 10 + (*s->at++ - '0');
    *v_r = v;
    return n >= min_digits && !datum_is_digit(peek(s, 0));
}

/* The digits after the point. Beyond microseconds it is rounded as the server rounds: by way of a double. */
static bool take_fraction(struct scan *s, int64_t *us_r)
{
    char digits[40];
    int n = 0;
    int64_t us = 0;

    while (datum_is_digit(peek(s, 0)) && n < 32)
        digits[n++] = (char)*s->at++;
    if (n == 0 || datum_is_digit(peek(s, 0)))
        return false;
    for (int i = 0; i < 6; i++)
        us = us * 10 + (i < n ? digits[i] - '0' : 0);
    if (n > 6) {
        /* Without a point, the text does not depend on the locale. */
        digits[n] = 'e';
        digits[n + 1] = '-';
        digits[n + 2] = (char)('0' + n / 10);
        digits[n + 3] = (char)('0' + n % 10);
        digits[n + 4] = 0;
        us = (int64_t)rint(strtod(digits, NULL) * (double)US_PER_SECOND);
    }
    *us_r = us;
    return true;
}

static bool take_time(struct scan *s, struct time_of_day *t_r)
{
    *t_r = (struct time_of_day){.hour = 0};
    if (!take_number(s, 2, 2, &t_r->hour) || !take(s, ':') || !take_number(s, 2, 2, &t_r->minute))
        return false;
    if (!take(s, ':'))
        return true;
    if (!take_number(s, 2, 2, &t_r->second))
        return false;
    return !take(s, '.') || take_fraction(s, &t_r->fraction_us);
}

static bool at_zone(const struct scan *s)
{
    uint8_t c = peek(s, 0);

    return c == 'Z' || c == 'z' || ((c == '+' || c == '-') && datum_is_digit(peek(s, 1)));
}

static bool take_zone(struct scan *s, struct zone *z_r)
{
    int64_t v;

    *z_r = (struct zone){.west = peek(s, 0) == '-'};
    if (!take(s, '+') && !take(s, '-'))
        return take(s, 'Z') || take(s, 'z');
    if (datum_is_digit(peek(s, 2)) && datum_is_digit(peek(s, 3))) {
        if (!take_number(s, 4, 4, &v))
            return false;
        z_r->hours = v / 100;
        z_r->minutes = v % 100;
        return true;
    }
    if (!take_number(s, 2, 2, &z_r->hours))
        return false;
    if (!take(s, ':'))
        return true;
    if (!take_number(s, 2, 2, &z_r->minutes))
        return false;
    return !take(s, ':') || take_number(s, 2, 2, &z_r->seconds);
}

static bool take_iso(struct scan *s, struct iso *v_r)
{
    uint8_t c;

    *v_r = (struct iso){.year = 0};
    if (!take_number(s, 4, 7, &v_r->year) || !take(s, '-') || !take_number(s, 2, 2, &v_r->month) ||
        !take(s, '-') || !take_number(s, 2, 2, &v_r->day))
        return false;

    c = peek(s, 0);
    if ((c == ' ' || c == 'T' || c == 't') && datum_is_digit(peek(s, 1))) {
        s->at++;
        if (!take_time(s, &v_r->time))
            return false;
        v_r->has_zone = at_zone(s);
        c = peek(s, 0);
    }
    if (c == ' ' && (peek(s, 1) == '+' || peek(s, 1) == '-')) {
        s->at++;
        v_r->has_zone = true;
    }
    if (v_r->has_zone && !take_zone(s, &v_r->zone))
        return false;
    if (s->end - s->at == 3 && datum_is_word(slice_of(s->at, 3), " bc")) {
        v_r->bc = true;
        s->at = s->end;
    }
    return s->at == s->end;
}

/* --- ranges ----------------------------------------------------------------------------------- */

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Years that begin in March have their leap day last, and their months' lengths repeat every five. */
static int64_t day_number(int64_t year, int64_t month, int64_t day)
{
    int64_t march_year = year - (month <= 2);
    int64_t era = (march_year >= 0 ? march_year : march_year - 399) / 400;
    int64_t year_of_era = march_year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 730425; /* from 0000-03-01 to 2000-01-01 */
}

/* 24:00:00 and a second 60 are allowed, nothing later in the day is. */
static bool time_in_range(const struct time_of_day *t, int64_t *us_r)
{
    *us_r = t->hour * US_PER_HOUR + t->minute * US_PER_MINUTE + t->second * US_PER_SECOND + t->fraction_us;
    return t->hour <= 24 && t->minute <= 59 && t->second <= 60 && *us_r <= US_PER_DAY;
}

static bool zone_in_range(const struct zone *z, int64_t *east_s_r)
{
    int64_t s = z->hours * 3600 + z->minutes * 60 + z->seconds;

    *east_s_r = z->west ? -s : s;
    return z->hours <= MAX_ZONE_HOURS && z->minutes <= 59 && z->seconds <= 59;
}

struct instant {
    int64_t day, time_us, east_s;
    bool has_zone;
    int infinite; /* -1, 0, 1 */
};

static enum status field_out_of_range(struct slice text, struct error *error_r)
{
    return error_set(error_r, SQLSTATE_DATETIME_OVERFLOW, "date/time field value out of range: \"%.*s\"",
                     SHOWN(text));
}

static enum status check_iso(const struct iso *v, struct slice text, struct instant *t_r,
                             struct error *error_r)
{
    int64_t year = v->bc ? 1 - v->year : v->year;

    if (v->month < 1 || v->month > 12 || v->day < 1 || v->day > 31) {
        field_out_of_range(text, error_r);
        error_hint(error_r, "Perhaps you need a different \"datestyle\" setting.");
        return STATUS_ERROR;
    }
    if (v->year == 0 || v->day > days_in_month(year, v->month) || !time_in_range(&v->time, &t_r->time_us))
        return field_out_of_range(text, error_r);
    if (!zone_in_range(&v->zone, &t_r->east_s))
        return error_set(error_r, SQLSTATE_TIME_ZONE_DISPLACEMENT,
                         "time zone displacement out of range: \"%.*s\"", SHOWN(text));
    t_r->day = day_number(year, v->month, v->day);
    t_r->has_zone = v->has_zone;
    return STATUS_OK;
}

static enum status read_instant(struct slice text, const char *type_name, struct instant *t_r,
                                struct error *error_r)
{
    struct slice s = datum_trim(text);
    struct scan scan = scan_of(s);
    struct iso iso;

    *t_r = (struct instant){.day = 0};
    if (s.len == 0)
        return datum_bad_syntax(SQLSTATE_INVALID_DATETIME_FORMAT, type_name, text, error_r);
    if (datum_is_word(s, "infinity") || datum_is_word(s, "-infinity")) {
        t_r->infinite = s.data[0] == '-' ? -1 : 1;
        return STATUS_OK;
    }
    if (!take_iso(&scan, &iso)) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "cannot read \"%.*s\" as type %s", SHOWN(text),
                  type_name);
        error_hint(error_r, "Write it in ISO 8601 form, such as 2026-01-31 or 2026-01-31 12:34:56+00.");
        return STATUS_ERROR;
    }
    return check_iso(&iso, text, t_r, error_r);
}

enum status datum_date_in(struct slice text, int32_t *days_r, struct error *error_r)
{
    struct instant t;

    if (read_instant(text, "date", &t, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (t.infinite) {
        *days_r = t.infinite < 0 ? INT32_MIN : INT32_MAX;
        return STATUS_OK;
    }
    if (t.day < MIN_DAY || t.day >= END_DATE_DAY)
        return error_set(error_r, SQLSTATE_DATETIME_OVERFLOW, "date out of range: \"%.*s\"", SHOWN(text));
    *days_r = (int32_t)t.day;
    return STATUS_OK;
}

enum status datum_timestamp_in(struct slice text, bool with_zone, int64_t *us_r, struct error *error_r)
{
    const char *type_name = with_zone ? "timestamp with time zone" : "timestamp";
    struct instant t;
    int64_t us;

    if (read_instant(text, type_name, &t, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (t.infinite) {
        *us_r = t.infinite < 0 ? INT64_MIN : INT64_MAX;
        return STATUS_OK;
    }
    if (with_zone && !t.has_zone) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "timestamp with time zone \"%.*s\" has no time zone", SHOWN(text));
        error_hint(error_r,
                   "Add the offset from UTC, such as +00; without one the value depends on TimeZone.");
        return STATUS_ERROR;
    }
    /* A zone moves the instant by less than a day; int64 has room for eight beyond the end. */
    if (t.day >= MIN_DAY - 1 && t.day <= END_TIMESTAMP_DAY) {
        us = t.day * US_PER_DAY + t.time_us - (with_zone ? t.east_s * US_PER_SECOND : 0);
        if (us >= MIN_DAY * US_PER_DAY && us < END_TIMESTAMP_DAY * US_PER_DAY) {
            *us_r = us;
            return STATUS_OK;
        }
    }
    return error_set(error_r, SQLSTATE_DATETIME_OVERFLOW, "timestamp out of range: \"%.*s\"", SHOWN(text));
}

/* --- as printed: time, timetz, interval ------------------------------------------------------- */

enum status datum_time_out(struct slice text, int64_t *us_r, struct error *error_r)
{
    struct scan s = scan_of(text);
    struct time_of_day t;

    if (!take_time(&s, &t) || s.at != s.end || !time_in_range(&t, us_r))
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, "time", text, error_r);
    return STATUS_OK;
}

enum status datum_timetz_out(struct slice text, struct timetz_value *v_r, struct error *error_r)
{
    struct scan s = scan_of(text);
    struct time_of_day t;
    struct zone z;
    int64_t east_s;

    if (!take_time(&s, &t) || !at_zone(&s) || !take_zone(&s, &z) || s.at != s.end ||
        !time_in_range(&t, &v_r->us) || !zone_in_range(&z, &east_s))
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, "time with time zone", text, error_r);
    v_r->west = (int32_t)-east_s;
    return STATUS_OK;
}

/* The word after a number; bigger units have lower ranks. */
enum unit { UNIT_NONE, UNIT_YEAR, UNIT_MONTH, UNIT_DAY, UNIT_TIME };

static enum unit take_unit(struct scan *s)
{
    static const struct {
        const char *name;
        enum unit unit;
    } units[] = {{" years", UNIT_YEAR}, {" year", UNIT_YEAR}, {" mons", UNIT_MONTH},
                 {" mon", UNIT_MONTH},  {" days", UNIT_DAY},  {" day", UNIT_DAY}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t len = strlen(units[i].name);

        if ((size_t)(s->end - s->at) >= len && memcmp(s->at, units[i].name, len) == 0) {
            s->at += len;
            return units[i].unit;
        }
    }
    return peek(s, 0) == ':' ? UNIT_TIME : UNIT_NONE;
}

/* What follows the hours: the last field of an interval. */
static bool take_interval_time(struct scan *s, int64_t hours, bool negative, int64_t *us_r)
{
    int64_t minutes, seconds, fraction_us = 0;
    __int128 us;

    if (!take(s, ':') || !take_number(s, 2, 2, &minutes) || !take(s, ':') ||
        !take_number(s, 2, 2, &seconds) || (take(s, '.') && !take_fraction(s, &fraction_us)) ||
        s->at != s->end || minutes > 59 || seconds > 59)
        return false;
    us = (__int128)hours * US_PER_HOUR + minutes * US_PER_MINUTE + seconds * US_PER_SECOND + fraction_us;
    us = negative ? -us : us;
    *us_r = (int64_t)us;
    return us >= INT64_MIN && us <= INT64_MAX;
}

/* Each field has its own sign: "1 year -2 mons +3 days -04:05:06.7". */
static bool take_interval(struct scan *s, struct interval_value *v_r)
{
    enum unit last = UNIT_NONE;

    *v_r = (struct interval_value){.months = 0};
    while (s->at < s->end) {
        bool negative;
        int64_t n;
        enum unit unit;

        if (last != UNIT_NONE && !take(s, ' '))
            return false;
        negative = peek(s, 0) == '-';
        if (negative || peek(s, 0) == '+')
            s->at++;
        if (!take_number(s, 1, 10, &n))
            return false;
        unit = take_unit(s);
        if (unit <= last)
            return false;
        last = unit;
        if (unit == UNIT_TIME)
            return take_interval_time(s, n, negative, &v_r->us);
        n = negative ? -n : n;
        if (unit == UNIT_DAY)
            v_r->days = n;
        else
            v_r->months += unit == UNIT_YEAR ? n * 12 : n;
    }
    return last != UNIT_NONE;
}

enum status datum_interval_out(struct slice text, struct interval_value *v_r, struct error *error_r)
{
    struct slice trimmed = datum_trim(text);
    struct scan s = scan_of(text);

    if (datum_is_word(trimmed, "infinity")) { /* since PostgreSQL 17, and kept so there */
        *v_r = (struct interval_value){.months = INT32_MAX, .days = INT32_MAX, .us = INT64_MAX};
        return STATUS_OK;
    }
    if (datum_is_word(trimmed, "-infinity")) {
        *v_r = (struct interval_value){.months = INT32_MIN, .days = INT32_MIN, .us = INT64_MIN};
        return STATUS_OK;
    }
    if (take_interval(&s, v_r))
        return STATUS_OK;
    datum_bad_syntax(SQLSTATE_INVALID_TEXT, "interval", text, error_r);
    error_hint(error_r, "Rows can be merged by an interval under IntervalStyle postgres.");
    return STATUS_ERROR;
}
