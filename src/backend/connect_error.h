/* What PQerrorMessage() says after a failed connect, as struct error. Private to backend. */
#ifndef PGUNISON_BACKEND_CONNECT_ERROR_H
#define PGUNISON_BACKEND_CONNECT_ERROR_H

#include "base/error.h"

/* text: written under PQERRORS_VERBOSE. When the server itself refused: its SQLSTATE, DETAIL and HINT; its
   own message as it stands for class 28 (authentication), else behind "could not connect to shard". Otherwise
   08006. */
void connect_error_parse(const char *shard, const char *text, struct error *error_r);

#endif
