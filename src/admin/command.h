/* A console command, read. Pure. Private to admin. */
#ifndef PGUNISON_ADMIN_COMMAND_H
#define PGUNISON_ADMIN_COMMAND_H

#include "base/error.h"
#include "base/slice.h"

enum command_kind {
    CMD_EMPTY,
    /* SHOW ... */
    CMD_SHOW_BUCKETS,
    CMD_SHOW_CLIENTS,
    CMD_SHOW_CONFIG,
    CMD_SHOW_DATABASES,
    CMD_SHOW_HELP,
    CMD_SHOW_LISTS,
    CMD_SHOW_MEM,
    CMD_SHOW_POOLS,
    CMD_SHOW_SERVERS,
    CMD_SHOW_SHARDS,
    CMD_SHOW_STATE,
    CMD_SHOW_STATS,
    CMD_SHOW_STATS_AVERAGES,
    CMD_SHOW_STATS_TOTALS,
    CMD_SHOW_TABLES,
    CMD_SHOW_TRANSACTION, /* arg: the txid */
    CMD_SHOW_TRANSACTIONS,
    CMD_SHOW_TWO_PHASE,
    CMD_SHOW_UNRESOLVED,
    CMD_SHOW_USERS,
    CMD_SHOW_VERSION,
    CMD_SHOW_PARAMETER, /* what drivers ask a PostgreSQL for; arg: its name, value: what to answer */
    /* the others: for admin_users only */
    CMD_DISABLE,   /* arg: database */
    CMD_ENABLE,    /* arg: database */
    CMD_KILL,      /* arg: database, or "" */
    CMD_PAUSE,     /* arg likewise */
    CMD_RECONNECT, /* arg: database, or "" */
    CMD_RELOAD,
    CMD_RESOLVE,  /* arg: txid, or "" */
    CMD_RESUME,   /* arg: database, or "" */
    CMD_SET,      /* arg, value */
    CMD_SHUTDOWN, /* arg: "", or WAIT_FOR_SERVERS, WAIT_FOR_CLIENTS in lower case */
    CMD_NOT_YET   /* arg: what it is called */
};

struct command {
    enum command_kind kind;
    char arg[128];
    char value[512];
};

/* Names of commands in any case, one semicolon at the end, arguments plain, in double quotes or in quotes.
 * Error: 42601. */
enum status command_parse(struct slice sql, struct command *command_r, struct error *error_r) MUST_CHECK;
bool command_needs_admin(enum command_kind kind);

#endif
