/* Open connections as dial makes them. Private to backend. */
#ifndef PGUNISON_BACKEND_CONN_H
#define PGUNISON_BACKEND_CONN_H

#include "backend/dial.h"
#include <libpq-fe.h>

/* takes the PGconn over, which is connected */
struct backend_conn *backend_conn_create(PGconn *pq, const struct begun *begun);

#endif
