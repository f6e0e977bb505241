/* Result sets of the console: text format throughout. */
#include "reply.h"

#include "wire/message.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void reply_columns(struct buf *b, const struct reply_column *columns, int n)
{
    const char *names[REPLY_MAX_COLUMNS];
    uint32_t types[REPLY_MAX_COLUMNS];
    assert(n <= REPLY_MAX_COLUMNS);
    for (int i = 0; i < n; i++) {
        names[i] = columns[i].name;
        types[i] = columns[i].type;
    }
    message_row_description(b, n, names, types, NULL);
}

static char *next_number(struct reply_row *r)
{
    assert(r->n < REPLY_MAX_COLUMNS);
    r->values[r->n] = r->numbers[r->n];
    return r->numbers[r->n++];
}

void row_text(struct reply_row *r, const char *text)
{
    assert(r->n < REPLY_MAX_COLUMNS);
    r->values[r->n++] = text;
}

void row_int(struct reply_row *r, int64_t v)
{
    snprintf(next_number(r), sizeof r->numbers[0], "%" PRId64, v);
}

void row_unsigned(struct reply_row *r, uint64_t v)
{
    snprintf(next_number(r), sizeof r->numbers[0], "%" PRIu64, v);
}

void row_seconds(struct reply_row *r, double s)
{
    snprintf(next_number(r), sizeof r->numbers[0], "%.3f", s);
}

void row_time(struct reply_row *r, uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(next_number(r), sizeof r->numbers[0], "%Y-%m-%d %H:%M:%S UTC", &tm);
}

void row_end(struct reply_row *r, struct buf *b)
{
    message_data_row(b, r->n, r->values);
    r->n = 0;
}

void reply_done(struct buf *b, const char *tag)
{
    message_command_complete(b, tag);
}

void reply_error(struct buf *b, const struct error *e)
{
    buf_clear(b);
    message_error(b, e, false);
}
