/*
 * The fields of one line of COPY's text and CSV formats. Only the key's value is unescaped; the others are
 * walked through by the same rules, since the number of fields is checked here: a shard would count rows of
 * its own only.
 *
 * As in the server, a field is held against the NULL string before it is unescaped; in CSV, quoted text is
 * never NULL unless FORCE_NULL says so.
 */
#include "copy_private.h"

struct cursor {
    const uint8_t *p, *end;
};

struct field {
    struct slice raw; /* as it stands */
    bool last;
    bool changed; /* the value is not raw */
    bool quoted;
};

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void add(struct buf *out, uint8_t c)
{
    if (out)
        buf_u8(out, c);
}

/* c->p is behind the backslash, and there is a byte. */
static uint8_t text_escape(struct cursor *c)
{
    uint8_t e = *c->p++;
    unsigned v = 0;
    switch (e) {
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
        v = e - (unsigned)'0';
        for (int i = 0; i < 2 && c->p < c->end && *c->p >= '0' && *c->p <= '7'; i++)
            v = v * 8 + (*c->p++ - (unsigned)'0');
        return (uint8_t)v;
    case 'x':
        if (c->p == c->end || hex_digit(*c->p) < 0)
            return e;
        for (int i = 0; i < 2 && c->p < c->end && hex_digit(*c->p) >= 0; i++)
            v = v * 16 + (unsigned)hex_digit(*c->p++);
        return (uint8_t)v;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        return e;
    }
}

/* out: NULL, or gets the value. A backslash that ends the input stands for nothing. */
static struct field text_field(struct cursor *c, uint8_t delimiter, struct buf *out)
{
    struct field f = {.raw = slice_of(c->p, 0), .last = true};
    while (c->p < c->end) {
        uint8_t byte = *c->p;
        if (byte == delimiter) {
            f.last = false;
            break;
        }
        if (byte != '\\') {
            add(out, byte);
            c->p++;
            continue;
        }
        f.changed = true;
        if (c->end - c->p == 1)
            break;
        c->p++;
        add(out, text_escape(c));
    }
    f.raw.len = (size_t)(c->p - f.raw.data);
    c->p = f.last ? c->end : c->p + 1;
    return f;
}

/* c->p is behind the opening quote; leaves it behind the closing one. */
static enum status csv_quoted(const struct copy_spec *spec, struct cursor *c, struct buf *out,
                              struct error *error_r)
{
    while (c->p < c->end) {
        uint8_t byte = *c->p++;
        if (byte == spec->escape && c->p < c->end && (*c->p == spec->escape || *c->p == spec->quote)) {
            add(out, *c->p++);
            continue;
        }
        if (byte == spec->quote)
            return STATUS_OK;
        add(out, byte);
    }
    return error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "unterminated CSV quoted field");
}

static enum status csv_field(const struct copy_spec *spec, struct cursor *c, struct buf *out,
                             struct field *f_r, struct error *error_r)
{
    *f_r = (struct field){.raw = slice_of(c->p, 0), .last = true};
    while (c->p < c->end) {
        uint8_t byte = *c->p;
        if (byte == spec->delimiter) {
            f_r->last = false;
            break;
        }
        c->p++;
        if (byte != spec->quote) {
            add(out, byte);
            continue;
        }
        f_r->quoted = f_r->changed = true;
        if (csv_quoted(spec, c, out, error_r) != STATUS_OK)
            return STATUS_ERROR;
    }
    f_r->raw.len = (size_t)(c->p - f_r->raw.data);
    if (!f_r->last)
        c->p++;
    return STATUS_OK;
}

/* data NULL: SQL NULL. */
static struct slice key_value(const struct copy_spec *spec, const struct field *f,
                              const struct buf *unescaped)
{
    struct slice value = f->raw;
    if (f->changed)
        value = buf_len(unescaped) ? buf_slice(unescaped) : slice_of("", 0);
    bool csv = spec->format == COPY_CSV;
    if (!f->quoted && slice_eq_str(f->raw, spec->null_string))
        return csv && spec->key_force_not_null ? slice_str(spec->null_string) : slice_of(NULL, 0);
    if (csv && spec->key_force_null && slice_eq_str(value, spec->null_string))
        return slice_of(NULL, 0);
    return value;
}

enum status copy_line_key(const struct copy_spec *spec, struct slice content, struct buf *scratch,
                          struct slice *key_r, struct error *error_r)
{
    struct cursor c = {content.data, content.data + content.len};
    struct field f;
    unsigned n = 0;
    buf_clear(scratch);
    *key_r = slice_of(NULL, 0);
    do {
        bool is_key = n == spec->key_column;
        struct buf *out = is_key ? scratch : NULL;
        if (spec->format != COPY_CSV)
            f = text_field(&c, spec->delimiter, out);
        else if (csv_field(spec, &c, out, &f, error_r) != STATUS_OK)
            return STATUS_ERROR;
        if (is_key)
            *key_r = key_value(spec, &f, scratch);
        n++;
    } while (!f.last);
    if (n > spec->n_columns)
        return error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "extra data after last expected column");
    if (n < spec->n_columns)
        return error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "missing data for column %u of %u", n + 1,
                         spec->n_columns);
    return STATUS_OK;
}
