/*
 * Cancel requests that can be waited for. A cancel names a connection, not a statement: it hits whatever the
 * backend runs when it arrives. PostgreSQL closes the request's connection after it has signalled the backend
 * (src/backend/postmaster/postmaster.c, processCancelRequest), and a backend that is idle ignores the signal
 * (tcop/postgres.c, ProcessInterrupts): once a request is through, what is sent next cannot be hit by it.
 * Private to backend.
 */
#ifndef PGUNISON_BACKEND_CANCEL_H
#define PGUNISON_BACKEND_CANCEL_H

#include "backend/dial.h"

struct cancel_request;
/* Sends a request on a helper thread. done() is called once, from the loop and never from inside this call:
   the request is through, or failed (which is logged), or nobody knows after CANCEL_SECONDS (through: false).
   NULL: nothing was sent (logged); done() is not called. */
struct cancel_request *cancel_send(struct loop *loop, struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg);
/* done() is not called any more; a request that was sent goes its way. NULL is fine. */
void cancel_forget(struct cancel_request **r);

#define CANCEL_SECONDS 10

#endif
