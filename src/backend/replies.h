/*
 * What a server may say next.
 *
 * A state for what the answer at the head of the queue has come to; a table for which types of message may follow in
 * it, and what that leads to. A message that is not in the table is a protocol violation: the connection ends there
 * and then, so that whoever reads messages further up sees only sequences that PostgreSQL's own documentation allows
 * (protocol chapter "Message Flow"). In particular: a Query ends after CommandComplete, EmptyQueryResponse or
 * ErrorResponse only; COPY is for statements that are one; rows come behind their description.
 *
 * reply_limit() is the other half: how long the body of a type may be; types that no server sends after the login have
 * none. Content is looked at by reply_well_formed(), for messages that somebody in the proxy reads. What only passes on
 * its way to the client is the client's to read.
 *
 * Not responsible for: what an answer means.
 */
#ifndef PGUNISON_SRC_BACKEND_REPLIES_H
#define PGUNISON_SRC_BACKEND_REPLIES_H

#include "backend/server.h"
#include "wire/message.h"

enum reply_state {
    REPLY_VIOLATION, /* not a state: what the table says of messages that may not come */
    REPLY_END,       /* not a state: the answer is complete */
    REPLY_SKIP,      /* not a state: an error; the server ignores all messages up to Sync */
    REPLY_NONE,      /* nothing is awaited */
    REPLY_QUERY,
    REPLY_QUERY_OUT, /* COPY TO STDOUT */
    REPLY_QUERY_IN,  /* COPY FROM STDIN */
    REPLY_QUERY_ROWS,
    REPLY_QUERY_OUT_DATA,
    REPLY_QUERY_OUT_DONE,
    REPLY_QUERY_IN_DATA,
    REPLY_QUERY_DONE, /* a statement is; another one of the same Query may follow */
    REPLY_FAILED,     /* ErrorResponse has come: ReadyForQuery follows */
    REPLY_PARSE,
    REPLY_BIND,
    REPLY_CLOSE,
    REPLY_DESCRIBE_STATEMENT,
    REPLY_DESCRIBE_ROWS, /* of a portal; of a statement, behind its parameters */
    REPLY_EXECUTE,
    REPLY_EXECUTE_ROWS,
    REPLY_EXECUTE_OUT,
    REPLY_EXECUTE_IN,
    REPLY_EXECUTE_OUT_DATA,
    REPLY_EXECUTE_OUT_DONE,
    REPLY_EXECUTE_IN_DATA,
    REPLY_SYNC,
    REPLY_STATES
};

extern const uint8_t reply_table[REPLY_STATES][256];
extern const uint32_t reply_limits[256];

extern const uint8_t reply_firsts[EXPECT_TURN + 1][3];

/* With what an expectation begins. */
static inline uint8_t reply_first(unsigned kind, enum expect_copy copy)
{
    return reply_firsts[kind][copy];
}

static inline uint8_t reply_next(uint8_t state, uint8_t type)
{
    return reply_table[state][type];
}

/* The length word, which counts itself: whether it can be. */
static inline bool reply_length_fits(uint8_t type, uint32_t len)
{
    return len - 4 <= reply_limits[type]; /* below 4 it wraps */
}

/* Lengths, counts and terminators within the body; true of types that are not read here (DataRow: whoever reads it
   does; those without a body). */
bool reply_content_fits(const struct frame *f);
static inline bool reply_well_formed(const struct frame *f)
{
    const struct slice *body = &f->body;
    if (f->type == MSG_COMMAND_COMPLETE)
        return body->len > 1 && !body->data[body->len - 1] &&
               body->data[body->len - 2]; /* message_read_tag() reads it */
    if (f->type != MSG_READY)
        return reply_content_fits(f);
    char status = body->len == 1 ? (char)body->data[0] : 0;
    return status == 'I' || status == 'T' || status == 'E';
}

/* "DataRow ('D')" and the like, for people. */
void reply_name(uint8_t type, char *name_r, size_t size);

#endif
