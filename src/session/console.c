/*
 * Clients of the console: their statements are handed to the layer above (session/env.h, console_ops), in
 * both protocols.
 *
 * In the extended protocol a command is run at Execute; Describe says NoData before, as the console cannot
 * know its columns without running it, and RowDescription comes with the rows.
 */
#include "statements.h"

#include <stdlib.h>

enum dispatch console_query(struct client *c, struct slice sql, bool extended)
{
    c->console_waiting = true;
    c->console_extended = extended;
    c->env->console->run(c->env->console->arg, c, sql);
    return DISPATCH_DONE;
}

void console_replied(struct client *c)
{
    if (!c->console_extended)
        client_ready(c);
}

enum dispatch console_extended(struct client *c, const struct frame *f)
{
    struct error e;
    struct msg_parse parse;
    struct msg_bind bind;
    struct msg_target target;
    struct msg_execute execute;
    struct client_statement *st = NULL;
    if (c->skip_till_sync && f->type != MSG_SYNC)
        return DISPATCH_DONE;
    switch (f->type) {
    case MSG_PARSE:
        if (message_read_parse(f, &parse, &e) != STATUS_OK)
            break;
        statement_put(c, parse.name, parse.sql, 0, NULL);
        client_send_empty(c, MSG_PARSE_COMPLETE);
        return DISPATCH_DONE;
    case MSG_BIND:
        if (message_read_bind(f, &bind, &e) != STATUS_OK)
            break;
        if (!(st = statement_find(c, bind.statement))) {
            error_set(&e, SQLSTATE_INVALID_STATEMENT_NAME, "prepared statement \"%s\" does not exist",
                      bind.statement);
            client_send_error(c, &e);
            c->skip_till_sync = true;
            return DISPATCH_DONE;
        }
        portal_put(c, bind.portal, NULL, st->def, NULL);
        client_send_empty(c, MSG_BIND_COMPLETE);
        return DISPATCH_DONE;
    case MSG_DESCRIBE:
        if (message_read_target(f, &target, &e) != STATUS_OK)
            break;
        if (target.kind == 'S') {
            struct buf *b = client_scratch(c);
            size_t begun = message_begin(b, MSG_PARAMETER_DESCRIPTION);
            buf_u16(b, 0);
            message_end(b, begun);
            client_send(c, b);
            client_send_empty(c, MSG_NO_DATA);
        }
        return DISPATCH_DONE; /* a portal: RowDescription comes with the answer */
    case MSG_EXECUTE: {
        if (message_read_execute(f, &execute, &e) != STATUS_OK)
            break;
        struct client_portal *portal = portal_find(c, execute.portal);
        if (!portal) {
            error_set(&e, SQLSTATE_INVALID_CURSOR_NAME, "portal \"%s\" does not exist", execute.portal);
            client_send_error(c, &e);
            c->skip_till_sync = true;
            return DISPATCH_DONE;
        }
        return console_query(c, portal->statement->sql, true);
    }
    case MSG_CLOSE:
        if (message_read_target(f, &target, &e) != STATUS_OK)
            break;
        if (target.kind == 'S')
            statement_drop(c, target.name);
        else
            portal_drop(c, target.name);
        client_send_empty(c, MSG_CLOSE_COMPLETE);
        return DISPATCH_DONE;
    case MSG_SYNC:
        c->skip_till_sync = false;
        extended_forget_portals(c);
        client_ready(c);
        return DISPATCH_DONE;
    default:
        return DISPATCH_DONE;
    }
    client_fatal(c, &e);
    return DISPATCH_DONE;
}
