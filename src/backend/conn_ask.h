/*
 * One query on a connection that has just been opened and is nobody's yet, by a server of its own, so that what comes is
 * judged as on every other one (replies.h) and is bounded (rows.h). Private to backend.
 */
#ifndef PGUNISON_BACKEND_CONN_ASK_H
#define PGUNISON_BACKEND_CONN_ASK_H

#include "backend/dial.h"
#include "backend/rows.h"

enum conn_asked {
    CONN_ANSWERED, /* by rows or by the shard's own error: rows->ok */
    CONN_CHANGED,  /* ... but a variable that the login reported is another one now */
    CONN_LOST
};

struct conn_ask;
/* Takes the connection over. done() is called once, from the loop, never from inside this call: ANSWERED gives it back,
   with nothing under way, and the rows are good until done() returns; else it is closed, and why says why. */
struct conn_ask *conn_ask_start(struct loop *loop, struct backend_conn *conn, const char *sql,
                                void (*done)(void *arg, enum conn_asked how, struct backend_conn *conn,
                                             const struct rows *rows, const struct error *why),
                                void *arg);
void conn_ask_cancel(
    struct conn_ask **a); /* closes the connection; done() is not called any more. NULL is fine */

#endif
