/*
 * Cancel requests that can be waited for. A cancel names a connection, not a statement: it hits whatever the
 * backend runs when it arrives. PostgreSQL closes the request's connection after it has signalled the backend
 * (src/backend/postmaster/postmaster.c, processCancelRequest), and a backend that is idle ignores the signal
 * (tcop/postgres.c, ProcessInterrupts): once a request is through, what is sent next cannot be hit by it.
 *
 * A request goes where the server connection leads, over TLS if that one has it, to a peer that is verified as that
 * one's was. It takes at most as long as connecting may (server_connect_timeout), and CANCEL_SECONDS.
 * Private to backend.
 */
#ifndef PGUNISON_BACKEND_CANCEL_H
#define PGUNISON_BACKEND_CANCEL_H

#include "backend/dial.h"

#define CANCEL_SECONDS 10

/* Those that are on their way from one loop. */
struct cancels;
struct cancels *cancels_create(struct loop *loop);
void cancels_destroy(
    struct cancels **c); /* before the loop; done() is not called any more, what was not sent stays so */

struct cancel_request;
/* done() is called once, from the loop and never from inside this call. through: the request has done what it could, or
   it was not sent and will not be (which is logged). Else it was sent, and may still arrive at any time.
   NULL: nothing is sent (logged); done() is not called. */
struct cancel_request *cancel_send(struct cancels *c, const struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg);
/* done() is not called any more; the request goes its way, and outlives the connection that it is for. NULL is fine. */
void cancel_forget(struct cancel_request **r);

#endif
