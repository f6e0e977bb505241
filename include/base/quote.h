/*
 * The one way in which a text becomes part of SQL of ours: as a quoted literal or identifier.
 *
 * What is written means the text under any standard_conforming_strings, and ends where it is meant to end under
 * every client_encoding: no encoding of PostgreSQL has a quote as the second byte of a character, and a backslash
 * that is one leaves nothing that escapes anything behind. (The text's own meaning is kept where no ASCII byte is part
 * of a character, which is so in UTF-8 and in all single-byte encodings.) A zero byte ends the text.
 */
#ifndef PGUNISON_BASE_QUOTE_H
#define PGUNISON_BASE_QUOTE_H

#include "base/buf.h"

void quote_literal(struct buf *sql, struct slice text);    /* 'text', or E'te\x5cxt' */
void quote_identifier(struct buf *sql, struct slice name); /* always in double quotes */

#endif
