/*
 * An immutable, counted set of session variables (name, SQL text of the value), sorted by name. Sessions and
 * servers point at them; equal pointers mean that nothing needs to be sent. Per worker: the counts are not
 * atomic.
 */
#ifndef PGUNISON_BACKEND_VARSET_H
#define PGUNISON_BACKEND_VARSET_H

#include "base/buf.h"

struct var {
    const char *name;  /* folded */
    const char *value; /* SQL: what follows SET name TO, e.g. 'UTF8' or "$user", public */
};
struct varset_table;
struct varset {
    unsigned refs;
    unsigned n;
    uint64_t hash;
    bool has_names;             /* decides which relations names mean: it has a search_path or a role */
    uint64_t names_id;          /* the session layer's number for those two; 0: not asked for yet */
    struct varset_table *table; /* that it is shared in; NULL: none */
    struct varset *next;        /* in the table */
    struct var vars[];
};

struct varset *varset_empty(void); /* a new reference to a set without members (not shared between threads) */
struct varset *varset_ref(struct varset *v);
void varset_unref(struct varset **v);
bool varset_equal(const struct varset *a, const struct varset *b); /* NULL counts as empty */
const char *varset_get(const struct varset *v, const char *name);  /* NULL: not there */
/* value NULL: without it; a new reference */
struct varset *varset_with(const struct varset *v, const char *name, const char *value);
/* The same members with a count of their own, for another thread. NULL: empty. */
struct varset *varset_copy(const struct varset *v);

/* Sets of one worker of which equal ones are one: thousands of sessions have the same few. The table holds no
   references, a set leaves it with its last one. */
struct varset_table *varset_table_create(void);
void varset_table_destroy(struct varset_table **table); /* sets in use live on, each for itself */
/* Takes over v (NULL: NULL) and returns a reference to the set of the table that equals it. */
struct varset *varset_share(struct varset_table *table, struct varset *v);

/* Appends "SET a TO ...;RESET b;" that turns a connection in state `from` into `to`. Nothing when equal.
   session_authorization and role are left first and entered last: the other settings may need the rights of
   the login role. */
void varset_diff_sql(const struct varset *from, const struct varset *to, struct buf *sql);

#endif
