/* Private to conf: names of databases, schemas, tables and columns, and of shards and clusters. */
#ifndef PGUNISON_CONF_NAMES_H
#define PGUNISON_CONF_NAMES_H

#include "base/arena.h"
#include <stdbool.h>

#define IDENT_MAX    63 /* NAMEDATALEN - 1: PostgreSQL would cut a longer one */
#define GID_PART_MAX 40

/*
 * The identifier that begins at *p, folded as SQL does (chapter "Lexical Structure"): unquoted to lower case,
 * "quoted" as it stands. *p moves behind it. Returns NULL and fills why ("expected a name") if there is none.
 * A loose one may also contain '-' and begin with a digit, as names of databases often do in connection
 * strings.
 */
const char *name_ident(struct arena *a, const char **p, bool loose, char *why, size_t size);

/*
 * Names of shards and clusters become part of a gid, pgunison/<cluster>/<shard>/<txid>/<shard>, which has
 * room for 199 bytes and '/' as its separator. Returns true and says in buf what is allowed if the name is
 * not fit for that.
 */
bool name_problem(const char *name, char *buf, size_t size);

/* Skips blanks. */
void name_skip_blanks(const char **p);

#endif
