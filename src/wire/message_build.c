/*
 * Building protocol 3 messages. Each builder appends one whole message to a buf; message_end() patches the
 * length in, so nothing is measured twice.
 *
 * Strings handed in are the proxy's own or came through a reader, hence without a NUL of their own. A message
 * above INT32_MAX bytes cannot be framed: callers bound what they append (base/buf.h), so that is a
 * programmer's error and asserts.
 */
#include "wire/datum.h"
#include "wire/message.h"
#include <assert.h>

size_t message_begin(struct buf *b, uint8_t type)
{
    size_t begun = buf_len(b);
    uint8_t *header = buf_reserve(b, FRAME_HEADER_BYTES);

    header[0] = type;
    store_u32(header + 1, 0);
    buf_added(b, FRAME_HEADER_BYTES);
    return begun;
}

void message_end(struct buf *b, size_t begun)
{
    size_t length = buf_len(b) - begun - 1;

    assert(length >= 4 && length <= INT32_MAX);
    buf_put_u32(b, begun + 1, (uint32_t)length);
}

/* --- backend messages ------------------------------------------------------------------------- */

static void put_field(struct buf *b, char code, const char *text)
{
    buf_u8(b, (uint8_t)code);
    buf_cstr(b, text);
}

static void put_error(struct buf *b, uint8_t type, const char *severity, const struct error *e)
{
    size_t begun = message_begin(b, type);

    put_field(b, 'S', severity);
    put_field(b, 'V', severity);
    put_field(b, 'C', e->sqlstate[0] ? e->sqlstate : SQLSTATE_INTERNAL);
    put_field(b, 'M', e->message);
    if (e->detail[0])
        put_field(b, 'D', e->detail);
    if (e->hint[0])
        put_field(b, 'H', e->hint);
    buf_u8(b, 0);
    message_end(b, begun);
}

void message_error(struct buf *b, const struct error *e, bool fatal)
{
    put_error(b, MSG_ERROR, fatal ? "FATAL" : "ERROR", e);
}

void message_notice(struct buf *b, const char *severity, const struct error *e)
{
    put_error(b, MSG_NOTICE, severity, e);
}

void message_ready(struct buf *b, char txn_status)
{
    size_t begun = message_begin(b, MSG_READY);

    buf_u8(b, (uint8_t)txn_status);
    message_end(b, begun);
}

void message_command_complete(struct buf *b, const char *tag)
{
    size_t begun = message_begin(b, MSG_COMMAND_COMPLETE);

    buf_cstr(b, tag);
    message_end(b, begun);
}

void message_parameter_status(struct buf *b, const char *name, const char *value)
{
    size_t begun = message_begin(b, MSG_PARAMETER_STATUS);

    buf_cstr(b, name);
    buf_cstr(b, value);
    message_end(b, begun);
}

void message_backend_key(struct buf *b, uint32_t pid, uint32_t secret)
{
    size_t begun = message_begin(b, MSG_BACKEND_KEY_DATA);

    buf_u32(b, pid);
    buf_u32(b, secret);
    message_end(b, begun);
}

void message_empty(struct buf *b, uint8_t type)
{
    message_end(b, message_begin(b, type));
}

/* --- result sets ------------------------------------------------------------------------------ */

/* pg_type.typlen */
static int16_t type_len_of(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_BOOL:
    case OID_CHAR:
        return 1;
    case OID_INT2:
        return 2;
    case OID_INT4:
    case OID_OID:
    case OID_REGPROC:
    case OID_FLOAT4:
    case OID_DATE:
        return 4;
    case OID_INT8:
    case OID_FLOAT8:
    case OID_MONEY:
    case OID_TIME:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
        return 8;
    case OID_TIMETZ:
        return 12;
    case OID_INTERVAL:
    case OID_UUID:
        return 16;
    case OID_NAME:
        return 64;
    case OID_UNKNOWN:
        return -2; /* a NUL-terminated string */
    default:
        return -1; /* of variable length */
    }
}

static void put_column(struct buf *b, const struct msg_column *c)
{
    buf_cstr(b, c->name);
    buf_u32(b, c->table_oid);
    buf_u16(b, (uint16_t)c->column_no);
    buf_u32(b, c->type_oid);
    buf_u16(b, (uint16_t)c->type_len);
    buf_u32(b, (uint32_t)c->typmod);
    buf_u16(b, (uint16_t)c->format);
}

void message_row_description(struct buf *b, int n, const char *const *names, const uint32_t *type_oids,
                             const int16_t *formats)
{
    size_t begun = message_begin(b, MSG_ROW_DESCRIPTION);

    assert(n >= 0 && n <= UINT16_MAX);
    buf_u16(b, (uint16_t)n);
    for (int i = 0; i < n; i++) {
        uint32_t type_oid = type_oids ? type_oids[i] : OID_TEXT;

        put_column(b, &(struct msg_column){.name = names[i],
                                           .type_oid = type_oid,
                                           .type_len = type_len_of(type_oid),
                                           .typmod = -1,
                                           .format = formats ? formats[i] : 0});
    }
    message_end(b, begun);
}

void message_row_description_columns(struct buf *b, uint16_t n, const struct msg_column *columns)
{
    size_t begun = message_begin(b, MSG_ROW_DESCRIPTION);

    buf_u16(b, n);
    for (uint16_t i = 0; i < n; i++)
        put_column(b, &columns[i]);
    message_end(b, begun);
}

static void put_value(struct buf *b, struct slice value)
{
    if (!value.data) {
        buf_u32(b, UINT32_MAX);
        return;
    }
    assert(value.len <= INT32_MAX);
    buf_u32(b, (uint32_t)value.len);
    buf_slice_append(b, value);
}

void message_data_row(struct buf *b, int n, const char *const *values)
{
    size_t begun = message_begin(b, MSG_DATA_ROW);

    assert(n >= 0 && n <= UINT16_MAX);
    buf_u16(b, (uint16_t)n);
    for (int i = 0; i < n; i++)
        put_value(b, values[i] ? slice_str(values[i]) : slice_of(NULL, 0));
    message_end(b, begun);
}

void message_data_row_slices(struct buf *b, int n, const struct slice *values)
{
    size_t begun = message_begin(b, MSG_DATA_ROW);

    assert(n >= 0 && n <= UINT16_MAX);
    buf_u16(b, (uint16_t)n);
    for (int i = 0; i < n; i++)
        put_value(b, values[i]);
    message_end(b, begun);
}

/* --- frontend messages ------------------------------------------------------------------------ */

void message_query(struct buf *b, struct slice sql)
{
    size_t begun = message_begin(b, MSG_QUERY);

    buf_slice_append(b, sql);
    buf_u8(b, 0);
    message_end(b, begun);
}

void message_parse(struct buf *b, const char *name, struct slice sql, uint16_t n_oids, const uint32_t *oids)
{
    size_t begun = message_begin(b, MSG_PARSE);

    buf_cstr(b, name);
    buf_slice_append(b, sql);
    buf_u8(b, 0);
    buf_u16(b, n_oids);
    for (uint16_t i = 0; i < n_oids; i++)
        buf_u32(b, oids[i]);
    message_end(b, begun);
}

static void put_target(struct buf *b, uint8_t type, char kind, const char *name)
{
    size_t begun = message_begin(b, type);

    buf_u8(b, (uint8_t)kind);
    buf_cstr(b, name);
    message_end(b, begun);
}

void message_describe(struct buf *b, char kind, const char *name)
{
    put_target(b, MSG_DESCRIBE, kind, name);
}

void message_close(struct buf *b, char kind, const char *name)
{
    put_target(b, MSG_CLOSE, kind, name);
}

void message_bind_text(struct buf *b, const char *statement, uint16_t n, const char *const *values)
{
    size_t begun = message_begin(b, MSG_BIND);

    buf_cstr(b, "");
    buf_cstr(b, statement);
    buf_u16(b, 0);
    buf_u16(b, n);
    for (uint16_t i = 0; i < n; i++) {
        size_t len = values[i] ? strlen(values[i]) : 0;
        buf_u32(b, values[i] ? (uint32_t)len : UINT32_MAX);
        buf_append(b, values[i], len);
    }
    buf_u16(b, 0);
    message_end(b, begun);
}

void message_execute(struct buf *b, const char *portal, uint32_t max_rows)
{
    size_t begun = message_begin(b, MSG_EXECUTE);

    buf_cstr(b, portal);
    buf_u32(b, max_rows);
    message_end(b, begun);
}

void message_copy_fail(struct buf *b, const char *reason)
{
    size_t begun = message_begin(b, MSG_COPY_FAIL);

    buf_cstr(b, reason);
    message_end(b, begun);
}
