/*
 * What the client has been told of its variables (ParameterStatus), and what it means for reading its
 * statements and merging rows.
 */
#include "session.h"

/* Encodings in which a byte below 128 may be part of a character: the lexer would misread them. */
bool vars_encoding_is_unsafe(const char *name)
{
    static const char *const unsafe[] = {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"};
    const char *canonical = backend_encoding_name(name);
    for (size_t i = 0; canonical && i < sizeof unsafe / sizeof unsafe[0]; i++)
        if (strcmp(canonical, unsafe[i]) == 0)
            return true;
    return false;
}

/* Whether bytes outside ASCII are others for the client than in the server. With SQL_ASCII on either side nothing is
   converted. */
static bool converts(const char *client, const char *server)
{
    const char *a = backend_encoding_name(client), *b = backend_encoding_name(server);
    if (!a || !b)
        return strcasecmp(client, server) != 0;
    return strcmp(a, b) != 0 && strcmp(a, "SQL_ASCII") != 0 && strcmp(b, "SQL_ASCII") != 0;
}

void vars_apply_reported(struct client *c)
{
    const char *style = varset_get(c->reported, "DateStyle"),
               *strings = varset_get(c->reported, "standard_conforming_strings");
    const char *client = varset_get(c->reported, "client_encoding"),
               *server = varset_get(c->reported, "server_encoding");
    if (style)
        datum_style_parse(style, &c->style);
    c->nonstandard_strings = strings && strcasecmp(strings, "on") != 0;
    c->unsafe_encoding = client && vars_encoding_is_unsafe(client);
    c->transcoded = client && server && converts(client, server);
}

void vars_note_reported(struct client *c, const char *name, const char *value)
{
    struct varset *v = vars_with(c, c->reported, name, value);
    varset_unref(&c->reported);
    c->reported = v;
    vars_apply_reported(c);
}

void vars_parameter_status(struct client *c, struct link *l, const struct frame *f)
{
    const char *name, *value;
    struct error e;
    (void)l;
    if (message_read_parameter_status(f, &name, &value, &e) != STATUS_OK)
        return;
    const char *known = varset_get(c->reported, name);
    if (known && strcmp(known, value) == 0)
        return; /* every shard says so; the client hears it once */
    vars_note_reported(c, name, value);
    client_write(c, f->whole.data, f->whole.len);
}
