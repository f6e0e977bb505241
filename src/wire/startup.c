/*
 * The first packet of a connection, and the options parameter in it. The requests that a server gets, too.
 *
 *     0                4              8
 *     | length (BE 32) | code (BE 32) | name NUL value NUL ... NUL
 *
 * The code is 3.x for a start-up packet, or one of the 1234.* request codes. The length is judged as soon as
 * it is there, so that a TLS hello or an HTTP request is refused at once instead of being waited for.
 * What the parameters mean, and whether bytes that follow an SSL request are acceptable (they are not:
 * somebody put them there), is for the session to judge.
 */
#include "wire/startup.h"
#include "reader.h"
#include "wire/message.h"

#define PROTOCOL(major, minor) (((uint32_t)(major) << 16) | (uint32_t)(minor))
#define CODE_CANCEL            PROTOCOL(1234, 5678)
#define CODE_SSL               PROTOCOL(1234, 5679)
#define CODE_GSSENC            PROTOCOL(1234, 5680)
#define PACKET_HEADER_BYTES    8
#define CANCEL_BYTES           16

/* Names that begin so are protocol extensions, not settings. */
static bool is_protocol_option(const char *name)
{
    return strncmp(name, "_pq_.", 5) == 0;
}

/* Sets apart the names that have a meaning to the protocol; false: a parameter like any other. */
static bool take_known(struct startup *s, const char *name, const char *value)
{
    if (strcmp(name, "user") == 0)
        s->user = value;
    else if (strcmp(name, "database") == 0)
        s->database = value;
    else if (strcmp(name, "options") == 0)
        s->options = value;
    else
        return false;
    return true;
}

/* The name-value list: counted and checked first, copied into the arena whole, then pointed into. */
static enum status read_params(struct slice list, struct arena *arena, struct startup *s,
                               struct error *error_r)
{
    struct reader r = reader_of(list);
    size_t n_params = 0, n_unknown = 0;
    const char *name;

    while (*(name = reader_cstr(&r))) {
        (void)reader_cstr(&r);
        *(is_protocol_option(name) ? &n_unknown : &n_params) += 1;
    }
    if (!reader_done(&r))
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                         "invalid startup packet layout: expected terminator as last byte");

    s->params = arena_alloc(arena, (n_params + 1) * sizeof(*s->params));
    s->unknown_options = arena_alloc(arena, (n_unknown + 1) * sizeof(*s->unknown_options));
    r = reader_of(arena_slice(arena, list));
    while (*(name = reader_cstr(&r))) {
        const char *value = reader_cstr(&r);

        if (is_protocol_option(name))
            s->unknown_options[s->n_unknown_options++] = name;
        else if (!take_known(s, name, value))
            s->params[s->n_params++] = (struct startup_param){.name = name, .value = value};
    }

    /* An empty name is none, as in PostgreSQL. */
    if (s->user && !*s->user)
        s->user = NULL;
    if (!s->database || !*s->database)
        s->database = s->user;
    return STATUS_OK;
}

/* A packet that is all there. */
static enum status read_packet(struct slice packet, struct arena *arena, struct startup *s,
                               struct error *error_r)
{
    uint32_t code = load_u32(packet.data + 4);

    s->major = (uint16_t)(code >> 16);
    s->minor = (uint16_t)code;
    if (code == CODE_SSL || code == CODE_GSSENC || code == CODE_CANCEL) {
        if (packet.len != (code == CODE_CANCEL ? CANCEL_BYTES : PACKET_HEADER_BYTES))
            return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "invalid length of startup packet");
        s->kind = code == CODE_SSL ? STARTUP_SSL : code == CODE_GSSENC ? STARTUP_GSSENC : STARTUP_CANCEL;
        if (code == CODE_CANCEL) {
            s->cancel_pid = load_u32(packet.data + 8);
            s->cancel_secret = load_u32(packet.data + 12);
        }
        return STATUS_OK;
    }
    if (s->major != 3)
        return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0",
                         (unsigned)s->major, (unsigned)s->minor);
    s->kind = STARTUP_PACKET;
    return read_params(slice_of(packet.data + PACKET_HEADER_BYTES, packet.len - PACKET_HEADER_BYTES), arena,
                       s, error_r);
}

void startup_read(struct slice bytes, struct arena *arena, struct startup *s_r, struct error *error_r)
{
    uint32_t length;

    *s_r = (struct startup){.kind = STARTUP_PARTIAL};
    if (bytes.len < 4)
        return;
    length = load_u32(bytes.data);
    if (length < PACKET_HEADER_BYTES || length > STARTUP_MAX_BYTES + 4) {
        s_r->kind = STARTUP_BAD;
        error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "invalid length of startup packet");
    } else if (bytes.len >= length) {
        if (read_packet(slice_of(bytes.data, length), arena, s_r, error_r) == STATUS_OK)
            s_r->used_bytes = length;
        else
            s_r->kind = STARTUP_BAD;
    }
}

/* --- options ---------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Words not read yet, and the room that is left for words: never less than what is not read yet, and a NUL.
 */
struct words {
    const char *at;
    char *room;
};

/* The next word, NULL at the end. A backslash takes the next byte as it is. */
static char *next_word(struct words *w)
{
    char *word = w->room;
    bool escaped = false;

    while (is_space(*w->at))
        w->at++;
    if (!*w->at)
        return NULL;
    for (; *w->at && (escaped || !is_space(*w->at)); w->at++) {
        if (!escaped && *w->at == '\\') {
            escaped = true;
        } else {
            escaped = false;
            *w->room++ = *w->at;
        }
    }
    if (*w->at)
        w->at++; /* the space that ended the word makes room for its NUL */
    *w->room++ = 0;
    return word;
}

/* name=value, with - for _ in the name as PostgreSQL's ParseLongOption() allows. */
static enum status split_assignment(char *text, const char *dashes, struct startup_param *param_r,
                                    struct error *error_r)
{
    char *equals = strchr(text, '=');

    if (!equals || equals == text)
        return error_set(error_r, SQLSTATE_SYNTAX_ERROR, "%s%.100s requires a value", dashes, text);
    *equals = 0;
    for (char *p = text; *p; p++)
        if (*p == '-')
            *p = '_';
    *param_r = (struct startup_param){.name = text, .value = equals + 1};
    return STATUS_OK;
}

static enum status bad_switch(const char *word, struct error *error_r)
{
    error_set(error_r, SQLSTATE_SYNTAX_ERROR, "invalid command-line argument for server process: %.100s",
              word);
    error_hint(error_r, "Write settings as -c name=value or --name=value.");
    return STATUS_ERROR;
}

enum status startup_split_options(const char *options, struct arena *arena, struct startup_param **params_r,
                                  size_t *n_r, struct error *error_r)
{
    const size_t most = strlen(options) / 3 + 1; /* the shortest that can be right is "-ca=" */
    struct startup_param *params = arena_alloc(arena, most * sizeof(*params));
    struct words words = {.at = options, .room = arena_alloc(arena, strlen(options) + 1)};
    size_t n = 0;
    char *word;

    while ((word = next_word(&words))) {
        const char *dashes = "--";
        char *text = word + 2;

        if (word[0] != '-' || (word[1] != '-' && word[1] != 'c') || (word[1] == '-' && !word[2]))
            return bad_switch(word, error_r);
        if (word[1] == 'c') {
            dashes = "-c ";
            if (!*text)
                text = next_word(&words);
            if (!text)
                return bad_switch(word, error_r);
        }
        if (split_assignment(text, dashes, &params[n], error_r) != STATUS_OK)
            return STATUS_ERROR;
        n++;
    }
    *params_r = params;
    *n_r = n;
    return STATUS_OK;
}

void startup_negotiate(struct buf *b, const struct startup *s)
{
    size_t begun = message_begin(b, MSG_NEGOTIATE_VERSION);

    /* The documentation calls this field the minor version; PostgreSQL sends, and libpq reads, the whole. */
    buf_u32(b, PROTOCOL(3, 0));
    buf_u32(b, (uint32_t)s->n_unknown_options);
    for (size_t i = 0; i < s->n_unknown_options; i++)
        buf_cstr(b, s->unknown_options[i]);
    message_end(b, begun);
}

void startup_ssl_request(struct buf *b)
{
    buf_u32(b, PACKET_HEADER_BYTES);
    buf_u32(b, CODE_SSL);
}

void startup_cancel_request(struct buf *b, uint32_t pid, uint32_t secret)
{
    buf_u32(b, CANCEL_BYTES);
    buf_u32(b, CODE_CANCEL);
    buf_u32(b, pid);
    buf_u32(b, secret);
}
