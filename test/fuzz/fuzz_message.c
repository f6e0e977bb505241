/* A message body for every reader: the first byte chooses the reader, the rest is the body. What was read is
 * walked to its end, and where there is a builder, building it again must give the same bytes. */
#include "wire/message.h"
#include <stdlib.h>

#define CAP 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* Every byte can be read. */
static void touch(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        sink = s.data[i];
}

static void require_same(const struct buf *b, const struct frame *f)
{
    struct frame again;
    size_t need;

    require(frame_next(buf_slice(b), INT32_MAX, &again, &need) == FRAME_OK && again.whole.len == buf_len(b));
    require(again.type == f->type && slice_eq(again.body, f->body));
}

static void read_query_and_parse(const struct frame *f, struct buf *b, struct error *e)
{
    struct msg_parse m;
    struct slice sql;

    if (f->type == MSG_QUERY && message_read_query(f, &sql, e) == STATUS_OK) {
        message_query(b, sql);
        require_same(b, f);
    }
    if (f->type == MSG_PARSE && message_read_parse(f, &m, e) == STATUS_OK) {
        uint32_t *oids = malloc(((size_t)m.n_oids + 1) * sizeof(*oids));

        for (uint16_t i = 0; i < m.n_oids; i++)
            oids[i] = load_u32(m.oids + (size_t)i * 4);
        message_parse(b, m.name, m.sql, m.n_oids, oids);
        require_same(b, f);
        free(oids);
    }
}

static void read_bind(const struct frame *f, struct error *e)
{
    struct msg_bind m;
    struct slice value;
    int16_t format;

    if (message_read_bind(f, &m, e) != STATUS_OK)
        return;
    touch(slice_str(m.portal));
    touch(slice_str(m.statement));
    touch(m.params_and_rest);
    for (uint16_t i = 0; i < m.n_params && i < 200; i++) {
        msg_bind_param(&m, i, &value, &format);
        touch(value);
        require(format == 0 || format == 1);
    }
    for (uint16_t i = 0; i < 5; i++)
        require(msg_bind_result_format(&m, i) <= 1);
}

static void read_target_and_execute(const struct frame *f, struct buf *b, struct error *e)
{
    struct msg_target t;
    struct msg_execute x;

    if (f->type == MSG_CLOSE && message_read_target(f, &t, e) == STATUS_OK) {
        message_close(b, t.kind, t.name);
        require_same(b, f);
    }
    if (f->type == MSG_EXECUTE && message_read_execute(f, &x, e) == STATUS_OK)
        touch(slice_str(x.portal));
}

static void read_error(const struct frame *f, struct buf *b, struct error *e)
{
    struct error got;
    struct frame again;
    size_t need;
    bool good = message_read_error(f, &got, e) == STATUS_OK;

    message_error_with_context(b, f, "on shard s1");
    require(frame_next(buf_slice(b), INT32_MAX, &again, &need) == FRAME_OK);
    if (good)
        require(message_read_error(&again, &got, e) == STATUS_OK);
}

static void read_rows(const struct frame *f, struct buf *b, struct error *e)
{
    struct msg_column columns[CAP];
    struct slice values[CAP];
    uint32_t oids[CAP];
    uint16_t n;

    if (f->type == MSG_ROW_DESCRIPTION && message_read_row_description(f, columns, CAP, &n, e) == STATUS_OK) {
        message_row_description_columns(b, n, columns);
        require_same(b, f);
    }
    if (f->type == MSG_DATA_ROW && message_read_data_row(f, values, CAP, &n, e) == STATUS_OK) {
        message_data_row_slices(b, n, values);
        require_same(b, f);
    }
    if (f->type == MSG_PARAMETER_DESCRIPTION)
        require(message_read_parameter_description(f, oids, CAP, &n, e) != STATUS_OK || n <= CAP);
}

static void read_small(const struct frame *f, struct buf *b, struct error *e)
{
    const char *name, *value;
    int64_t rows;
    char txn_status;

    if (f->type == MSG_COMMAND_COMPLETE && message_read_tag(f, &name, &rows, e) == STATUS_OK) {
        require(rows >= -1);
        message_command_complete(b, name);
        require_same(b, f);
    }
    if (f->type == MSG_READY && message_read_ready(f, &txn_status, e) == STATUS_OK) {
        message_ready(b, txn_status);
        require_same(b, f);
    }
    if (f->type == MSG_PARAMETER_STATUS && message_read_parameter_status(f, &name, &value, e) == STATUS_OK) {
        message_parameter_status(b, name, value);
        require_same(b, f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char types[] = {'Q', 'P', 'B', 'C', 'E', 'e', 'T', 'D', 't', 'c', 'Z', 'S'};
    struct error e = {.sqlstate = ""};
    struct buf message, b;
    struct frame f;
    size_t begun, need, which;

    if (size < 1)
        return 0;
    which = data[0] % sizeof(types);
    buf_init(&message);
    buf_init(&b);
    /* Frontend and backend share letters: e and c here are the backend's E and C. */
    begun = message_begin(&message,
                          (uint8_t)types[which] & (types[which] == 'e' || types[which] == 'c' ? 0xDF : 0xFF));
    buf_append(&message, data + 1, size - 1);
    message_end(&message, begun);
    require(frame_next(buf_slice(&message), INT32_MAX, &f, &need) == FRAME_OK);
    /* Read from a copy of exact size: a byte beyond it is a sanitizer's error. */
    uint8_t *copy = malloc(f.whole.len);
    memcpy(copy, f.whole.data, f.whole.len);
    f.whole.data = copy;
    f.body.data = copy + FRAME_HEADER_BYTES;

    if (types[which] == 'Q' || types[which] == 'P')
        read_query_and_parse(&f, &b, &e);
    else if (types[which] == 'B')
        read_bind(&f, &e);
    else if (types[which] == 'C' || types[which] == 'E')
        read_target_and_execute(&f, &b, &e);
    else if (types[which] == 'e')
        read_error(&f, &b, &e);
    else if (types[which] == 'T' || types[which] == 'D' || types[which] == 't')
        read_rows(&f, &b, &e);
    else
        read_small(&f, &b, &e);
    free(copy);
    buf_free(&message);
    buf_free(&b);
    return 0;
}
