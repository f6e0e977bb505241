/*
 * Reading what shards send: errors, command tags, ReadyForQuery, ParameterStatus, and result sets. Shards are
 * peers like clients are: every length, count and terminator is checked, nothing asserts. Rows that only pass
 * through the proxy never come here; they are forwarded as they are.
 */
#include "reader.h"
#include "wire/message.h"

/* Copies as much as fits, and does not leave half of a UTF-8 character at the end. */
static void copy_cut(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);

    if (len >= size) {
        len = size - 1;
        for (int back = 0; back < 3 && len > 0 && ((uint8_t)from[len] & 0xC0) == 0x80; back++)
            len--;
    }
    memcpy(to, from, len);
    to[len] = 0;
}

enum status message_read_error(const struct frame *f, struct error *e_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);
    struct error e = {.sqlstate = ""};
    uint8_t code;

    while ((code = reader_u8(&r)) != 0) {
        const char *text = reader_cstr(&r);

        if (code == 'C' && strlen(text) == 5)
            memcpy(e.sqlstate, text, 6);
        else if (code == 'M')
            copy_cut(e.message, sizeof(e.message), text);
        else if (code == 'D')
            copy_cut(e.detail, sizeof(e.detail), text);
        else if (code == 'H')
            copy_cut(e.hint, sizeof(e.hint), text);
    }
    /* The protocol promises a SQLSTATE and a message in each; without a SQLSTATE nobody could act on it. */
    if (e.sqlstate[0] == 0)
        reader_fail(&r);
    if (reader_finish(&r, f->type == MSG_NOTICE ? "NoticeResponse" : "ErrorResponse", error_r) != STATUS_OK)
        return STATUS_ERROR;
    *e_r = e;
    return STATUS_OK;
}

bool message_is_fatal(const struct frame *f)
{
    struct reader r = reader_of(f->body);
    bool fatal = false;
    uint8_t code;

    while ((code = reader_u8(&r)) != 0) {
        const char *text = reader_cstr(&r);

        if (code == 'V' && (strcmp(text, "FATAL") == 0 || strcmp(text, "PANIC") == 0))
            fatal = true;
    }
    return fatal;
}

void message_error_with_context(struct buf *b, const struct frame *f, const char *context)
{
    struct reader r = reader_of(f->body);
    const uint8_t *fields = f->body.data;
    size_t begun, n_before = 0; /* bytes of the body before the place where the context goes */
    bool has_context = false;
    uint8_t code;

    while ((code = reader_u8(&r)) != 0) {
        (void)reader_cstr(&r);
        if (code == 'W' && !has_context && !r.bad) {
            has_context = true;
            n_before = f->body.len - r.left - 1; /* before the field's NUL */
        }
    }
    if (!reader_done(&r)) {
        buf_slice_append(b, f->whole); /* not well-formed: not ours to mend */
        return;
    }
    if (!has_context)
        n_before = f->body.len - 1; /* before the terminator of the list */

    begun = message_begin(b, f->type);
    buf_append(b, fields, n_before);
    buf_u8(b, has_context ? '\n' : 'W');
    buf_str(b, context);
    if (!has_context)
        buf_u8(b, 0);
    buf_append(b, fields + n_before, f->body.len - n_before);
    message_end(b, begun);
}

/* The decimal number after the tag's last space; -1: there is none; -2: it does not fit. */
static int64_t tag_rows(const char *tag)
{
    const char *p = strrchr(tag, ' ');
    int64_t rows = 0;

    if (!p || !p[1])
        return -1;
    for (p++; *p; p++) {
        if (*p < '0' || *p > '9')
            return -1;
        if (__builtin_mul_overflow(rows, 10, &rows) || __builtin_add_overflow(rows, *p - '0', &rows))
            return -2;
    }
    return rows;
}

enum status message_read_tag(const struct frame *f, const char **tag_r, int64_t *rows_r,
                             struct error *error_r)
{
    struct reader r = reader_of(f->body);
    const char *tag = reader_cstr(&r);
    int64_t rows = tag_rows(tag);

    if (rows == -2)
        reader_fail(&r);
    if (reader_finish(&r, "CommandComplete", error_r) != STATUS_OK)
        return STATUS_ERROR;
    *tag_r = tag;
    *rows_r = rows;
    return STATUS_OK;
}

enum status message_read_ready(const struct frame *f, char *txn_status_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);
    char txn_status = (char)reader_u8(&r);

    if (txn_status != 'I' && txn_status != 'T' && txn_status != 'E')
        reader_fail(&r);
    if (reader_finish(&r, "ReadyForQuery", error_r) != STATUS_OK)
        return STATUS_ERROR;
    *txn_status_r = txn_status;
    return STATUS_OK;
}

enum status message_read_parameter_status(const struct frame *f, const char **name_r, const char **value_r,
                                          struct error *error_r)
{
    struct reader r = reader_of(f->body);

    *name_r = reader_cstr(&r);
    *value_r = reader_cstr(&r);
    return reader_finish(&r, "ParameterStatus", error_r);
}

static enum status too_many(uint16_t n, uint16_t cap, const char *what, struct error *error_r)
{
    return error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "too many %s: %u, where at most %u can be handled",
                     what, (unsigned)n, (unsigned)cap);
}

enum status message_read_row_description(const struct frame *f, struct msg_column *columns_r, uint16_t cap,
                                         uint16_t *n_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);
    uint16_t n = reader_u16(&r);

    if (n > cap)
        return too_many(n, cap, "columns", error_r);
    for (uint16_t i = 0; i < n && !r.bad; i++) {
        struct msg_column *c = &columns_r[i];

        c->name = reader_cstr(&r);
        c->table_oid = reader_u32(&r);
        c->column_no = (int16_t)reader_u16(&r);
        c->type_oid = reader_u32(&r);
        c->type_len = (int16_t)reader_u16(&r);
        c->typmod = (int32_t)reader_u32(&r);
        c->format = (int16_t)reader_u16(&r);
    }
    *n_r = n;
    return reader_finish(&r, "RowDescription", error_r);
}

enum status message_read_data_row(const struct frame *f, struct slice *values_r, uint16_t cap, uint16_t *n_r,
                                  struct error *error_r)
{
    struct reader r = reader_of(f->body);
    uint16_t n = reader_u16(&r);

    if (n > cap)
        return too_many(n, cap, "columns", error_r);
    for (uint16_t i = 0; i < n && !r.bad; i++)
        values_r[i] = reader_value(&r);
    *n_r = n;
    return reader_finish(&r, "DataRow", error_r);
}

enum status message_read_parameter_description(const struct frame *f, uint32_t *oids_r, uint16_t cap,
                                               uint16_t *n_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);
    uint16_t n = reader_u16(&r);

    if (n > cap)
        return too_many(n, cap, "parameters", error_r);
    for (uint16_t i = 0; i < n && !r.bad; i++)
        oids_r[i] = reader_u32(&r);
    *n_r = n;
    return reader_finish(&r, "ParameterDescription", error_r);
}
