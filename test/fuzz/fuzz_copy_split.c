/* A COPY's bytes under options that the first two bytes choose. However the input is chunked, the same rows
 * come out or the same error; and a shard that gets some of the rows reads just those, with the same keys. */
#include "exec/copy_split.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rows {
    struct buf log, some; /* log: rows and keys with their lengths; some: what one shard gets */
    struct buf some_log;
    unsigned n;
    bool every_row; /* goes to `some` */
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void note(struct buf *log, struct slice s)
{
    buf_u32(log, s.data ? (uint32_t)s.len : UINT32_MAX);
    buf_slice_append(log, s);
}

static enum status on_row(void *arg, const struct copy_row *row, struct error *error_r)
{
    struct rows *r = arg;
    (void)error_r;
    require(row->bytes.len > 0);
    note(&r->log, row->bytes);
    note(&r->log, row->key);
    if (r->every_row || r->n % 2 == 0) {
        buf_slice_append(&r->some, row->bytes);
        note(&r->some_log, row->bytes);
        note(&r->some_log, row->key);
    }
    r->n++;
    return STATUS_OK;
}

static void on_every_shard(void *arg, struct slice bytes)
{
    struct rows *r = arg;
    note(&r->log, bytes);
    buf_slice_append(&r->some, bytes);
    note(&r->some_log, bytes);
}

static void rows_free(struct rows *r)
{
    buf_free(&r->log);
    buf_free(&r->some);
    buf_free(&r->some_log);
}

static enum status split(const struct copy_split_options *base, struct slice input, size_t step,
                         struct rows *r, struct error *e)
{
    struct copy_split_options o = *base;
    o.sink = (struct copy_sink){on_row, on_every_shard, r};
    struct copy_split *s = copy_split_create(&o);
    enum status status = STATUS_OK;
    for (size_t at = 0; at < input.len && status == STATUS_OK; at += step) {
        size_t n = input.len - at < step ? input.len - at : step;
        uint8_t *chunk = malloc(n); /* exact: a byte read too far is a sanitizer's error */
        memcpy(chunk, input.data + at, n);
        status = copy_split_feed(s, slice_of(chunk, n), e);
        free(chunk);
    }
    if (status == STATUS_OK)
        status = copy_split_finish(s, e);
    copy_split_destroy(&s);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const nulls[] = {NULL, "", "NULL", "\\N"};
    if (size < 2)
        return 0;
    struct copy_spec spec = {.format = data[0] % 3,
                             .delimiter = data[0] & 4 ? ';' : 0,
                             .quote = data[0] & 8 ? '\'' : 0,
                             .escape = data[0] & 16 ? '\\' : 0,
                             .null_string = nulls[data[0] >> 6],
                             .header = data[0] & 32,
                             .n_columns = 1 + (data[1] & 3),
                             .key_force_null = data[1] & 4,
                             .key_force_not_null = data[1] & 8};
    spec.key_column = (uint16_t)(spec.n_columns - 1) / 2;
    struct copy_split_options o = {.spec = &spec, .max_row_bytes = 4096, .csv_end_marker = data[1] & 16};
    struct slice input = slice_of(data + 2, size - 2);
    struct error e1 = {.sqlstate = ""}, e2 = {.sqlstate = ""};
    struct rows whole = {.every_row = data[1] & 32}, chunked = {.every_row = false},
                again = {.every_row = true};

    enum status status = split(&o, input, input.len + 1, &whole, &e1);
    require(split(&o, input, 1 + (data[1] >> 6) * 3U, &chunked, &e2) == status);
    require(slice_eq(buf_slice(&whole.log), buf_slice(&chunked.log)));
    if (status == STATUS_OK) {
        require(split(&o, buf_slice(&whole.some), 7, &again, &e2) == STATUS_OK);
        require(slice_eq(buf_slice(&again.log), buf_slice(&whole.some_log)));
    } else {
        require(strcmp(e1.message, e2.message) == 0 && strcmp(e1.sqlstate, e2.sqlstate) == 0);
    }
    rows_free(&whole);
    rows_free(&chunked);
    rows_free(&again);
    return 0;
}
