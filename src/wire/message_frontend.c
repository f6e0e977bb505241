/*
 * Reading what clients send: Query, Parse, Bind, Describe, Close, Execute. Every length, count and terminator
 * is checked here, once; what a reader returned may then be walked without checks (msg_bind_param()).
 *
 * Errors are worded as PostgreSQL's backend words them where it has a message of its own. Whether a named
 * statement or portal exists is not known here.
 */
#include "base/arena.h"
#include "reader.h"
#include "wire/message.h"
#include <assert.h>
#include <stdlib.h>

#define BACK_BEFORE_INDEX 8

/* ERRCODE_INVALID_PARAMETER_VALUE: what the server answers to a format code that does not exist */
#define SQLSTATE_INVALID_PARAMETER "22023"

enum status message_read_query(const struct frame *f, struct slice *sql_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);
    const char *sql = reader_cstr(&r);

    if (reader_finish(&r, "Query", error_r) != STATUS_OK)
        return STATUS_ERROR;
    *sql_r = slice_of(sql, f->body.len - 1);
    return STATUS_OK;
}

enum status message_read_parse(const struct frame *f, struct msg_parse *m_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);
    const uint8_t *sql;
    size_t sql_left;

    m_r->name = reader_cstr(&r);
    sql = r.at;
    sql_left = r.left;
    (void)reader_cstr(&r);
    m_r->sql = r.bad ? slice_of(NULL, 0) : slice_of(sql, sql_left - r.left - 1);
    m_r->n_oids = reader_u16(&r);
    m_r->oids = reader_bytes(&r, (size_t)m_r->n_oids * 4);
    return reader_finish(&r, "Parse", error_r);
}

static enum status check_formats(uint16_t n, const uint8_t *formats, struct error *error_r)
{
    for (uint16_t i = 0; i < n; i++) {
        uint16_t format = load_u16(formats + (size_t)i * 2);

        if (format > 1)
            return error_set(error_r, SQLSTATE_INVALID_PARAMETER, "unsupported format code: %d",
                             (int)(int16_t)format);
    }
    return STATUS_OK;
}

enum status message_read_bind(const struct frame *f, struct msg_bind *m_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);

    m_r->portal = reader_cstr(&r);
    m_r->statement = reader_cstr(&r);
    m_r->params_and_rest = slice_of(r.at, r.left);
    m_r->n_formats = reader_u16(&r);
    m_r->formats = reader_bytes(&r, (size_t)m_r->n_formats * 2);
    m_r->n_params = reader_u16(&r);
    m_r->params = reader_bytes(&r, 0);
    for (uint16_t i = 0; i < m_r->n_params && !r.bad; i++)
        (void)reader_value(&r);
    m_r->n_result_formats = reader_u16(&r);
    m_r->result_formats = reader_bytes(&r, (size_t)m_r->n_result_formats * 2);

    if (reader_finish(&r, "Bind", error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (m_r->n_formats > 1 && m_r->n_formats != m_r->n_params)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                         "bind message has %d parameter formats but %d parameters", (int)m_r->n_formats,
                         (int)m_r->n_params);
    if (check_formats(m_r->n_formats, m_r->formats, error_r) != STATUS_OK)
        return STATUS_ERROR;
    return check_formats(m_r->n_result_formats, m_r->result_formats, error_r);
}

static int16_t format_of(uint16_t n, const uint8_t *formats, uint16_t i)
{
    if (n == 1)
        i = 0;
    return i < n ? (int16_t)load_u16(formats + (size_t)i * 2) : 0;
}

static const uint8_t *next_value(const uint8_t *p)
{
    uint32_t len = load_u32(p);

    return p + 4 + (len == UINT32_MAX ? 0 : len);
}

void msg_bind_param(const struct msg_bind *m, uint16_t i, struct slice *value_r, int16_t *format_r)
{
    struct msg_bind_values v;

    msg_bind_values_init(&v, m);
    msg_bind_values_get(&v, i, value_r, format_r);
}

void msg_bind_values_init(struct msg_bind_values *v, const struct msg_bind *m)
{
    *v = (struct msg_bind_values){.m = m, .value = m->params};
}

void msg_bind_values_free(struct msg_bind_values *v)
{
    free((void *)v->index);
    msg_bind_values_init(v, v->m); /* usable again */
}

static void make_index(struct msg_bind_values *v)
{
    const uint8_t *p = v->m->params;

    v->index = xmalloc(v->m->n_params * sizeof(*v->index));
    for (uint16_t i = 0; i < v->m->n_params; i++) {
        v->index[i] = p;
        p = next_value(p);
    }
}

void msg_bind_values_get(struct msg_bind_values *v, uint16_t i, struct slice *value_r, int16_t *format_r)
{
    const uint8_t *p = v->value;

    assert(i < v->m->n_params);
    if (i < v->at && !v->index) {
        p = v->m->params;
        v->at = 0;
        if (++v->n_back == BACK_BEFORE_INDEX)
            make_index(v);
    }
    if (v->index)
        p = v->index[i];
    else
        for (; v->at < i; v->at++)
            p = next_value(p);
    v->value = p;
    *value_r = load_u32(p) == UINT32_MAX ? slice_of(NULL, 0) : slice_of(p + 4, load_u32(p));
    *format_r = format_of(v->m->n_formats, v->m->formats, i);
}

int16_t msg_bind_result_format(const struct msg_bind *m, uint16_t i)
{
    return format_of(m->n_result_formats, m->result_formats, i);
}

enum status message_read_target(const struct frame *f, struct msg_target *m_r, struct error *error_r)
{
    const char *what = f->type == MSG_CLOSE ? "CLOSE" : "DESCRIBE";
    struct reader r = reader_of(f->body);

    m_r->kind = (char)reader_u8(&r);
    m_r->name = reader_cstr(&r);
    if (reader_finish(&r, what, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (m_r->kind != 'S' && m_r->kind != 'P')
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "invalid %s message subtype %d", what,
                         (int)(uint8_t)m_r->kind);
    return STATUS_OK;
}

enum status message_read_execute(const struct frame *f, struct msg_execute *m_r, struct error *error_r)
{
    struct reader r = reader_of(f->body);

    m_r->portal = reader_cstr(&r);
    m_r->max_rows = reader_u32(&r);
    /* The server reads a signed number, and takes a negative one for "all" too. */
    if (m_r->max_rows > INT32_MAX)
        m_r->max_rows = 0;
    return reader_finish(&r, "Execute", error_r);
}
