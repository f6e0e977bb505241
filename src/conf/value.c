/*
 * Numbers, times, sizes and switches, read and written exactly: no floating point, no locale, nothing
 * rounded. A time finer than a microsecond or a size finer than a byte is refused, not cut down to 0, which
 * often means "none".
 */
#include "value.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {
    {"d", US_PER_D}, {"h", US_PER_H}, {"min", US_PER_MIN}, {"s", US_PER_S}, {"ms", US_PER_MS}, {"us", 1},
};
static const struct unit size_units[] = {{"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}};

static bool digits(const char **p, unsigned base, uint64_t *r)
{
    uint64_t v = 0;
    const char *s = *p;
    if (!isdigit((unsigned char)*s))
        return false;
    for (; isdigit((unsigned char)*s); s++) {
        unsigned digit = (unsigned)(*s - '0');
        if (digit >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *p = s;
    *r = v;
    return true;
}

bool value_int(const char *text, int64_t *r)
{
    bool negative = *text == '-';
    const char *p = text + negative;
    uint64_t v;
    if (!digits(&p, 10, &v) || *p || v > INT64_MAX)
        return false;
    *r = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

bool value_octal(const char *text, int64_t *r)
{
    uint64_t v;
    if (!digits(&text, 8, &v) || *text || v > INT64_MAX)
        return false;
    *r = (int64_t)v;
    return true;
}

bool value_bool(const char *text, bool *r)
{
    static const char *const on[] = {"on", "1", "true", "yes"}, *const off[] = {"off", "0", "false", "no"};
    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(text, on[i]) == 0 || strcasecmp(text, off[i]) == 0) {
            *r = strcasecmp(text, on[i]) == 0;
            return true;
        }
    }
    return false;
}

/* digits [ "." digits ] [ unit ] */
static bool scaled(const char *text, const struct unit *units, size_t n_units, uint64_t bare, uint64_t *r)
{
    const char *p = text;
    uint64_t whole, fraction = 0, divisor = 1, factor = bare;
    if (!digits(&p, 10, &whole))
        return false;
    if (*p == '.') {
        const char *first = ++p;
        if (!digits(&p, 10, &fraction) || p - first > 6)
            return false;
        for (; first < p; first++)
            divisor *= 10;
    }
    while (*p == ' ' || *p == '\t')
        p++;
    if (*p) {
        size_t i = 0;
        while (i < n_units && strcasecmp(p, units[i].name) != 0)
            i++;
        if (i == n_units)
            return false;
        factor = units[i].factor;
    }
    /* fraction < 10^6 and factor < 10^11: no overflow in their product */
    if (fraction * factor % divisor != 0 || __builtin_mul_overflow(whole, factor, &whole) ||
        __builtin_add_overflow(whole, fraction * factor / divisor, &whole) || whole > INT64_MAX)
        return false;
    *r = whole;
    return true;
}

bool value_time(const char *text, uint64_t bare_us, uint64_t *us_r)
{
    return scaled(text, time_units, sizeof time_units / sizeof *time_units, bare_us, us_r);
}

bool value_size(const char *text, uint64_t *bytes_r)
{
    return scaled(text, size_units, sizeof size_units / sizeof *size_units, 1, bytes_r);
}

void value_format_time(struct buf *text, uint64_t us)
{
    const struct unit *u = time_units;
    while (us % u->factor != 0)
        u++;
    if (us == 0)
        buf_str(text, "0");
    else
        buf_printf(text, "%" PRIu64 "%s", us / u->factor, u->name);
}

void value_format_seconds(struct buf *text, uint64_t us)
{
    buf_printf(text, "%" PRIu64, us / US_PER_S);
    uint64_t fraction = us % US_PER_S;
    if (fraction == 0)
        return;
    int width = 6;
    for (; fraction % 10 == 0; width--)
        fraction /= 10;
    buf_printf(text, ".%0*" PRIu64, width, fraction);
}

void value_format_size(struct buf *text, uint64_t bytes)
{
    const struct unit *u = size_units;
    while (bytes % u->factor != 0)
        u++;
    if (bytes == 0 || u->factor == 1)
        buf_printf(text, "%" PRIu64, bytes);
    else
        buf_printf(text, "%" PRIu64 "%s", bytes / u->factor, u->name);
}
