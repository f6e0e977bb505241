/* Answers, put together value by value: texts throughout. */
#include "answer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void answer_init(struct answer *a, const struct renderer *renderer)
{
    *a = (struct answer){.renderer = renderer};
    buf_init(&a->out);
}

void answer_free(struct answer *a)
{
    buf_free(&a->out);
}

void answer_columns(struct answer *a, const struct answer_column *columns, int n)
{
    assert(n <= ANSWER_MAX_COLUMNS);
    a->columns = columns;
    a->n_columns = n;
    a->renderer->columns(a);
}

static char *next_number(struct answer *a)
{
    assert(a->n < a->n_columns);
    a->values[a->n] = a->numbers[a->n];
    return a->numbers[a->n++];
}

void answer_text(struct answer *a, const char *text)
{
    assert(a->n < a->n_columns);
    a->values[a->n++] = text;
}

void answer_null(struct answer *a)
{
    answer_text(a, NULL);
}

void answer_int(struct answer *a, int64_t v)
{
    snprintf(next_number(a), sizeof a->numbers[0], "%" PRId64, v);
}

void answer_unsigned(struct answer *a, uint64_t v)
{
    snprintf(next_number(a), sizeof a->numbers[0], "%" PRIu64, v);
}

void answer_unsigned_or_null(struct answer *a, uint64_t v)
{
    if (v)
        answer_unsigned(a, v);
    else
        answer_null(a);
}

void answer_seconds(struct answer *a, double s)
{
    snprintf(next_number(a), sizeof a->numbers[0], "%.3f", s);
}

void answer_time(struct answer *a, uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(next_number(a), sizeof a->numbers[0], "%Y-%m-%d %H:%M:%S UTC", &tm);
}

void answer_row(struct answer *a)
{
    assert(a->n == a->n_columns);
    a->renderer->row(a);
    a->n = 0;
}

void answer_notice(struct answer *a, const struct error *e)
{
    a->renderer->notice(a, e);
}

void answer_done(struct answer *a, const char *tag)
{
    a->renderer->done(a, tag);
}

void answer_error(struct answer *a, const struct error *e)
{
    buf_clear(&a->out);
    a->n = 0;
    a->renderer->error(a, e);
}
