/* --route: what would be done with a statement, said without touching a shard. Private to app. */
#ifndef PGUNISON_APP_ROUTE_OFFLINE_H
#define PGUNISON_APP_ROUTE_OFFLINE_H

#include "conf/config.h"
#include <stdio.h>

/* For the first database of the configuration. Error: not one statement, a syntax error, a key that cannot be
 * read. */
enum status route_offline(const struct config *config, const char *sql, FILE *out,
                          struct error *error_r) MUST_CHECK;

#endif
