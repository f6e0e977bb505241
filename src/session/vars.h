/* Private to what sets variables: the SET under way (vars.c), and the statements that lead to one (vars_verbs.c). */
#ifndef PGUNISON_SESSION_VARS_H
#define PGUNISON_SESSION_VARS_H

#include "session.h"

struct set_name {
    char *name;  /* folded */
    char *text;  /* the one constant that was written; NULL: something else */
    char *value; /* as the server shows it; NULL: not read yet */
    bool reset;  /* goes back to the server's own value: nothing to be read */
    bool local;  /* ends with the transaction: nothing is kept but names of custom variables */
};

/* What follows when every shard has said that it is set. */
struct set {
    struct set_name *names; /* that change, in the order in which they are read back */
    unsigned n, n_read;
    bool ran;              /* a shard has set it */
    bool sets_isolation;   /* of the transaction: for BEGIN on shards that join; the replay says it again */
    int isolation;         /* as in transaction_modes */
    bool wants_rows;       /* set_config(): what it returned is the answer */
    struct varset *named;  /* custom variables among them; NULL: none */
    struct varset *target; /* RESET ALL, DISCARD ALL: what the session has then; NULL: by the names */
    struct link *reader;   /* whose answers are read */
    struct buf rows;
};

struct set *set_new(void);
void set_destroy(struct set **s);
/* The rest is the caller's to be filled in. */
struct set_name *set_add(struct set *s, const char *name, const char *text);
/* Runs sql on every participant (at least on the home shard); control_done() makes it the session's. Takes s over. */
enum dispatch set_everywhere(struct client *c, struct set *s, struct slice sql, const char *tag);
void set_done(struct client *c, bool ok); /* client.control_done */
enum dispatch set_failed(struct client *c, const struct error *e);

#endif
