/*
 * Which servers a shard may be. Private to backend; for all threads.
 *
 * A server says who it is when a connection to it has been opened: its system identifier, and, if it can be written to, the
 * timeline that it writes. The first identifier that a shard is seen with stays its own while the process lives, and
 * its timeline never goes back: a server that was promoted away from, and comes back as if nothing had
 * happened, is not used. Places (an address and a port) that fell silent are tried last for a while.
 *
 * Not responsible for: asking (dial.c).
 */
#ifndef PGUNISON_BACKEND_IDENTITY_H
#define PGUNISON_BACKEND_IDENTITY_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

struct identity {
    char system_id[24]; /* "": it does not say */
    uint32_t timeline;  /* 0: it does not say, or is in recovery */
};

/* One row: in recovery, system identifier, timeline in hexadecimal; default isolation level, settings of the role and the
   database (backend/defaults.h). */
#define IDENTITY_COLUMNS 5
extern const char identity_sql[];

/* key: the shard's definition; shard, place: for the log. Learns what it accepts. Error 08006: it is not to be used. */
enum status identity_accept(const char *key, const char *shard, const char *place,
                            const struct identity *found, struct error *error_r) MUST_CHECK;
/* The place whose server was last found to be the one to write to. */
void identity_set_good(const char *key, const char *place);
bool identity_is_good(const char *key, const char *place);

void identity_set_silent(const char *place, bool silent);
bool identity_is_silent(const char *place);

void identity_init(void);
void identity_deinit(void);

#endif
