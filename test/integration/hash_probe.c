/*
 * Prints what route/hash.h makes of values, for test_hash_server.py to hold against a server.
 * A line in: column type[:wire type], tab, format (0 text, 1 binary), tab, the value's bytes in hex.
 * A line out: the hash as a signed 64-bit integer, or "error", SQLSTATE and message.
 */
#include "base/arena.h"
#include "route/hash.h"
#include "wire/datum.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint32_t oid;
} types[] = {
    {"bool", OID_BOOL},
    {"bytea", OID_BYTEA},
    {"int8", OID_INT8},
    {"int2", OID_INT2},
    {"int4", OID_INT4},
    {"text", OID_TEXT},
    {"oid", OID_OID},
    {"bpchar", OID_BPCHAR},
    {"varchar", OID_VARCHAR},
    {"date", OID_DATE},
    {"uuid", OID_UUID},
    {"name", OID_NAME},
    {"timestamp", OID_TIMESTAMP},
    {"timestamptz", OID_TIMESTAMPTZ},
    {"numeric", OID_NUMERIC},
    {"unspecified", 0},
};

static uint32_t type_oid(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].oid;
    fprintf(stderr, "unknown type %s\n", name);
    exit(2);
}

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        out[n++] = (uint8_t)byte;
    return n;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *format = strchr(line, '\t'), *hex = format ? strchr(format + 1, '\t') : NULL;
        if (!hex) {
            fprintf(stderr, "bad line: %s\n", line);
            return 2;
        }
        *format++ = *hex++ = '\0';
        char *wire = strchr(line, ':');
        if (wire)
            *wire++ = '\0';
        uint8_t *value = xmalloc(strlen(hex) / 2 + 1);
        struct slice bytes = slice_of(value, unhex(hex, value));
        struct error error;
        uint64_t hash;
        if (hash_key(type_oid(line), wire ? type_oid(wire) : 0, (int16_t)atoi(format), bytes, &hash,
                     &error) == STATUS_OK)
            printf("%" PRId64 "\n", (int64_t)hash);
        else
            printf("error %s %s\n", error.sqlstate, error.message);
        free(value);
    }
    free(line);
    return 0;
}
