/* Private to conf: numbers, times, sizes and switches as text. */
#ifndef PGUNISON_CONF_VALUE_H
#define PGUNISON_CONF_VALUE_H

#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define US_PER_MS  UINT64_C(1000)
#define US_PER_S   UINT64_C(1000000)
#define US_PER_MIN (60 * US_PER_S)
#define US_PER_H   (60 * US_PER_MIN)
#define US_PER_D   (24 * US_PER_H)

/* Each returns false, leaving *r alone, when the text is not exactly such a value or does not fit. */
bool value_int(const char *text, int64_t *r);
bool value_octal(const char *text, int64_t *r);
bool value_bool(const char *text, bool *r); /* on/off, 1/0, true/false, yes/no */
/* us, ms, s, min, h, d; without a unit: multiples of bare_us. */
bool value_time(const char *text, uint64_t bare_us, uint64_t *us_r);
bool value_size(const char *text, uint64_t *bytes_r); /* B, kB, MB, GB; none: bytes */

void value_format_time(struct buf *text, uint64_t us);    /* "90s", "1500ms", "0" */
void value_format_seconds(struct buf *text, uint64_t us); /* "90", "1.5" */
void value_format_size(struct buf *text, uint64_t bytes);

#endif
