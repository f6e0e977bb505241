/* Private to the extended protocol: the client's statements and portals (statements.c). */
#ifndef PGUNISON_SESSION_STATEMENTS_H
#define PGUNISON_SESSION_STATEMENTS_H

#include "session.h"

struct client_statement *statement_find(struct client *c, const char *name);
struct client_statement *statement_put(struct client *c, const char *name, struct slice sql, uint16_t n_oids,
                                       const uint32_t *oids);
void statement_drop(struct client *c, const char *name);
/* Those whose Parse was skipped after an error before it was answered. */
void statements_drop_unanswered(struct client *c);
/* The definition's template, lexed when it is not there; borrowed, until the dispatch at hand ends. */
const struct template *statement_template(struct client *c, struct statement_def *def, struct error *error_r);
/* Sees to it that messages that follow on the link find the statement there. True: ParseComplete is owed to
   the client, and no Parse was sent that would bring it: the caller gives it with the next answer
   (TAG_BIND_ACK). */
bool statement_on_server(struct link *l, struct client_statement *st);
/* Append a Parse of the definition, with its own text or another one. */
void statement_parse(struct rope *r, const char *server_name, const struct statement_def *def);
void statement_parse_around(struct rope *r, const char *server_name, const struct rope *text,
                            const struct statement_def *def);
const char *statement_server_name(const struct client_statement *st);

struct client_portal *portal_find(struct client *c, const char *name);
/* Takes plan over (a pin). */
struct client_portal *portal_put(struct client *c, const char *name, struct plan *plan,
                                 struct statement_def *def, struct link *l);
/* What names take, without what they stand for. */
size_t statement_name_bytes(const char *name);
size_t portal_name_bytes(const char *name);
void portal_keep_bind(struct client *c, struct client_portal *p, struct slice whole);
void portal_drop(struct client *c, const char *name);

#endif
