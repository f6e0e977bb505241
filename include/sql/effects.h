/*
 * What a statement may leave behind in a server's session, by kinds, and which of PostgreSQL's own functions leave
 * what. Every other built-in function leaves nothing. And whether its code may write to the database.
 */
#ifndef PGUNISON_SQL_EFFECTS_H
#define PGUNISON_SQL_EFFECTS_H

#include <stddef.h>
#include <stdint.h>

/* Each is "may leave, or may end". */
enum effect {
    EFFECT_LOCK = 1 << 0, /* advisory locks of the session */
    EFFECT_LISTEN = 1 << 1,
    EFFECT_TEMPORARY = 1 << 2, /* objects in the temporary schema */
    EFFECT_PREPARED = 1 << 3,  /* PREPARE */
    EFFECT_CURSOR = 1 << 4,    /* WITH HOLD */
    EFFECT_VARIABLE = 1 << 5,  /* settings, role */
    EFFECT_SEQUENCE = 1 << 6,  /* what lastval() and currval() answer */
    EFFECT_SEQUENCE_READ = 1 << 7,
    EFFECT_HIDDEN = 1 << 8, /* what no query shows: custom variables, globals of a language, ... */
    EFFECT_KEPT = 1 << 9,   /* surely leaves something hidden that the client may rely on: the seed, LOAD */
    EFFECT_SEQUENCE_END = 1 << 10, /* takes what lastval() and currval() answer away, and does nothing else */
    EFFECT_DEFAULTS = 1 << 11,     /* what new sessions begin with */
    EFFECT_WRITES = 1 << 12 /* nothing of the session: may write, so its shard takes part in the commit */
};
/* What a query can ask a server about. */
#define EFFECTS_ASKED                                                                                        \
    (EFFECT_LOCK | EFFECT_LISTEN | EFFECT_TEMPORARY | EFFECT_PREPARED | EFFECT_CURSOR | EFFECT_VARIABLE)
/* Code that nobody has looked into. */
#define EFFECTS_UNSEEN                                                                                       \
    (EFFECTS_ASKED | EFFECT_SEQUENCE | EFFECT_SEQUENCE_READ | EFFECT_HIDDEN | EFFECT_WRITES)

/* By the last part of its name: of the one in pg_catalog. 0: none. */
uint16_t effects_of_builtin(const char *name);
/* All of them, for the catalog query: the i-th, NULL past the end. */
const char *effects_builtin(size_t i, uint16_t *effects_r);
/* Built-in functions that are volatile and write nothing, for the catalog query: the i-th, NULL past the end. */
const char *effects_quiet(size_t i);

#endif
