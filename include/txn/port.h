/*
 * The only way in which the commit protocol touches the world. The product implements it over sockets
 * (session/txn_port, app), the simulator over model shards. All calls return at once; answers come back later
 * as events, never from inside a call of the port.
 */
#ifndef PGUNISON_TXN_PORT_H
#define PGUNISON_TXN_PORT_H

#include "base/error.h"
#include "base/slice.h"

enum txn_reply_kind {
    TXN_REPLY_OK,    /* every statement of the message ran; tag is the last CommandComplete's */
    TXN_REPLY_ERROR, /* the shard's own error, in `error`; the connection is usable */
    TXN_REPLY_LOST   /* no answer, and none will come: what was sent may or may not have been executed, or may
                        yet be */
};

struct txn_reply {
    enum txn_reply_kind kind;
    const char *tag;           /* OK */
    const struct error *error; /* ERROR, LOST */
    char txn_status;           /* OK, ERROR: of ReadyForQuery: 'I', 'T', 'E' */
    /* Rows of the last statement that returns some, text format, NULL for SQL NULL. On a participant's own connection
       the first column of the last row, at most. */
    size_t n_rows, n_columns;
    const char *const *const *rows;
};

#endif
