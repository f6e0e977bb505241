/*
 * The secret that a cancel request needs (BackendKeyData). libpq 15 keeps it to itself, but its trace (PQtrace) writes
 * every message that it reads as one line of text. Private to backend.
 */
#ifndef PGUNISON_BACKEND_CANCEL_KEY_H
#define PGUNISON_BACKEND_CANCEL_KEY_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* From PQconnectStart() on. What it takes is freed with the PGconn. */
void cancel_key_watch(PGconn *pq);
/* The login is over: no other message is traced. */
void cancel_key_unwatch(PGconn *pq);
/* False: the server gave none. */
bool cancel_key_get(const PGconn *pq, uint32_t *key_r);

#endif
