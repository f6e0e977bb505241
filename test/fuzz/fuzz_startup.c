/* The first packet of a connection, and its options parameter. What was read must not point into the packet:
 * it is overwritten before it is looked at. */
#include "base/buf.h"
#include "wire/startup.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void check_packet(const struct startup *s, size_t size, struct arena *arena)
{
    struct startup_param *params;
    struct error e;
    struct buf b;
    size_t n, bytes = 0;

    require(s->used_bytes >= 8 && s->used_bytes <= size && s->used_bytes <= STARTUP_MAX_BYTES + 4);
    require(s->major == 3);
    require(!s->user || s->database);
    for (size_t i = 0; i < s->n_params; i++)
        bytes += strlen(s->params[i].name) + strlen(s->params[i].value) + 2;
    for (size_t i = 0; i < s->n_unknown_options; i++) {
        require(memcmp(s->unknown_options[i], "_pq_.", 5) == 0);
        bytes += strlen(s->unknown_options[i]) + 1;
    }
    require(bytes <= s->used_bytes);

    buf_init(&b);
    startup_negotiate(&b, s);
    buf_free(&b);
    if (!s->options || startup_split_options(s->options, arena, &params, &n, &e) != STATUS_OK)
        return;
    for (size_t i = 0; i < n; i++)
        require(*params[i].name && strlen(params[i].value) < strlen(s->options) &&
                !strchr(params[i].name, '-'));
}

static void check_options(const uint8_t *data, size_t size, struct arena *arena)
{
    struct startup_param *params;
    struct error e;
    size_t n;
    const char *options = arena_strndup(arena, data, size);

    if (startup_split_options(options, arena, &params, &n, &e) == STATUS_OK)
        for (size_t i = 0; i < n; i++)
            require(*params[i].name && strlen(params[i].value) < strlen(options));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct startup s;
    struct error e = {.sqlstate = ""};
    uint8_t *copy = malloc(size ? size : 1);

    arena_init(&arena);
    memcpy(copy, data, size);
    startup_read(slice_of(copy, size), &arena, &s, &e);
    memset(copy, 0xAA, size);
    if (s.kind == STARTUP_BAD)
        require(e.sqlstate[0] != 0 && s.used_bytes == 0);
    else if (s.kind == STARTUP_PACKET)
        check_packet(&s, size, &arena);
    check_options(data, size, &arena);
    arena_free(&arena);
    free(copy);
    return 0;
}
