/*
 * What SHOW knows. Private to admin.
 *
 * A SHOW is one row of the table at the end of its file, and one function that fills rows; shows.c collects the
 * tables.
 */
#ifndef PGUNISON_ADMIN_SHOWS_H
#define PGUNISON_ADMIN_SHOWS_H

#include "question.h"

enum show_place {
    SHOW_HERE,    /* fill() at home */
    SHOW_CONTROL, /* fill() on the control thread */
    SHOW_WORKERS, /* visit() on each worker, then fill() at home, if there is one */
    SHOW_SHARDS,  /* fill() on the control thread asks shards; later, show_done() */
    SHOW_NOT_YET  /* PgBouncer has it */
};

struct show {
    const char *name;  /* in lower case */
    const char *usage; /* its argument, as SHOW HELP names it; NULL: none */
    enum show_place place;
    const struct answer_column *columns;
    int n_columns;
    void (*visit)(struct question *q, struct session_env *env);
    void (*fill)(struct question *q);
};

#define SHOW_COLUMNS(a) .columns = (a), .n_columns = (int)(sizeof(a) / sizeof((a)[0]))

/* Up to one without a name. */
extern const struct show shows_local[], shows_clients[], shows_pools[], shows_memory[], shows_control[],
    shows_tables[], shows_transaction[];

const struct show *show_find(const char *name); /* in any case; NULL: there is none */
void show_begin(struct question *q);            /* q->command.show, at home */
void show_done(struct question *q); /* SHOW_SHARDS: on the control thread, when the rows are there */

/* show_tables.c. What SHOW TABLES asks a home shard: number, type's name and type (a domain's base type) of the keys of
 * all tables of one database, with a null byte. False: no table has a key. */
bool show_tables_sql(const struct database_def *db, struct buf *b);

#endif
