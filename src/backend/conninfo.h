/* Keywords and values for PQconnectStartParams. Private to backend. */
#ifndef PGUNISON_BACKEND_CONNINFO_H
#define PGUNISON_BACKEND_CONNINFO_H

#include "backend/dial.h"
#include "base/arena.h"
#include "resolve.h"

#define CONNINFO_MAX 32

struct conninfo {
    const char *keywords[CONNINFO_MAX + 1], *values[CONNINFO_MAX + 1]; /* NULL at the end */
    int n;
};

/* Everything but the host to try; strings are copied into the arena. */
void conninfo_build(struct conninfo *c, struct arena *arena, const struct dial_params *params);
/* The same with one target; strings are the target's. */
void conninfo_with_target(struct conninfo *c, const struct conninfo *base, const struct target *target,
                          const char *attrs);

/* Whether a server's certificate must be made out to its host. */
bool conninfo_verifies_name(const struct conninfo *c);

#endif
