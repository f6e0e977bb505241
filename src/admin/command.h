/* A console command, read. Pure. Private to admin. */
#ifndef PGUNISON_ADMIN_COMMAND_H
#define PGUNISON_ADMIN_COMMAND_H

#include "base/error.h"
#include "base/slice.h"

enum command_kind {
    CMD_EMPTY,
    CMD_SHOW,      /* show; arg: its argument, or "" */
    CMD_PARAMETER, /* SHOW of what drivers ask a PostgreSQL for; arg: its name, value: what to answer */
    CMD_ORDER,     /* order: for admin_users only; arg: its argument, or "" */
    CMD_SET,       /* arg, value */
    CMD_NOT_YET    /* arg: what it is called */
};

struct show;
struct order;
struct command {
    enum command_kind kind;
    const struct show *show;
    const struct order *order;
    char arg[128];
    char value[512];
};

/* What may follow the name of a SHOW or an order. */
enum arg_rule { ARG_NONE, ARG_OPTIONAL, ARG_REQUIRED };

/* Names of commands in any case, one semicolon at the end, arguments plain, in double quotes or in quotes.
 * Error: 42601. */
enum status command_parse(struct slice sql, struct command *command_r, struct error *error_r) MUST_CHECK;

#endif
