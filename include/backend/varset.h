/*
 * An immutable, counted set of session variables (name, value), sorted by name. Sessions and servers point at them;
 * equal pointers mean that nothing needs to be sent. Per worker: the counts are not atomic.
 *
 * A value is what the server shows (SHOW, pg_catalog.current_setting()), not what somebody wrote behind SET: texts
 * combine ('dmy' changes a part of DateStyle), depend on other settings, and need not be values at all (SET TIME ZONE
 * INTERVAL). It reaches servers as a bound parameter of set_config(), never as SQL; varset_set_sql() is for where that
 * cannot be.
 *
 * Custom variables (those with a dot in their name) cannot be taken back: once a server has seen the name, a reset
 * leaves '' where a fresh connection has NULL. So a server's set keeps such a name, with the value '', and
 * varset_diff() says when no statement leads to a set that lacks it. Such a server is for nobody but sessions that
 * have had the name themselves.
 */
#ifndef PGUNISON_BACKEND_VARSET_H
#define PGUNISON_BACKEND_VARSET_H

#include "base/buf.h"

struct var {
    const char *name;  /* folded */
    const char *value; /* as the server shows it; behind the name */
    uint32_t bytes;    /* of both, with their ends */
    uint32_t kind;     /* varset.c's */
};
struct var_change {
    const char *name, *value; /* value NULL: without it */
    bool if_absent;           /* a value that is there stays */
};
struct varset_table;
struct varset {
    unsigned refs;
    unsigned n;
    size_t bytes; /* of memory */
    uint64_t hash;
    bool has_names;      /* decides which relations names mean: search_path, role, session_authorization */
    uint64_t names_id;   /* the session layer's number for those; 0: not asked for yet */
    uint64_t parse_hash; /* of all that the analysis of a statement depends on; 0: none */
    bool unknown;        /* varset_unknown(): equals no other set */
    bool customs;        /* has custom variables */
    struct varset_table *table; /* that it is shared in; NULL: none */
    struct varset *next;        /* in the table */
    struct var vars[];
};

struct varset *varset_empty(void); /* a new reference to a set without members (not shared between threads) */
/* What a server is set to when something may have changed it unseen. It differs from every session's, so whoever
   uses the server next sets all anew (RESET SESSION AUTHORIZATION, RESET ALL, then what is wanted); see
   server_forget_variables(). What it had of custom variables stays in it. */
struct varset *varset_unknown(const struct varset *was);
struct varset *varset_ref(struct varset *v);
void varset_unref(struct varset **v);
bool varset_equal(const struct varset *a, const struct varset *b); /* NULL counts as empty */
const char *varset_get(const struct varset *v, const char *name);  /* NULL: not there */
/* All changes in their order, at the cost of one; a new reference. */
struct varset *varset_with_all(const struct varset *v, const struct var_change *changes, size_t n);
struct varset *varset_with(const struct varset *v, const char *name, const char *value);
/* v (NULL: empty), and with '' those custom variables of `had` that it lacks; a new reference, NULL for empty. */
struct varset *varset_with_customs(struct varset *v, const struct varset *had);
/* The same members with a count of their own, for another thread. NULL: empty. */
struct varset *varset_copy(const struct varset *v);
bool varset_is_custom(const char *name);

/* Sets of one worker of which equal ones are one: thousands of sessions have the same few. The table holds no
   references, a set leaves it with its last one. */
struct varset_table *varset_table_create(void);
void varset_table_destroy(struct varset_table **table); /* sets in use live on, each for itself */
/* Takes over v (NULL: NULL) and returns a reference to the set of the table that equals it. */
struct varset *varset_share(struct varset_table *table, struct varset *v);

/* Calls change() for each set_config(name, value, false) that turns a connection in state `from` into `to`, in order;
   value NULL: reset. False: nothing does (a custom variable is in `from`, and neither in `to` nor in `tolerated`); then
   it has not been called. change NULL: only the answer. client_encoding comes first, as all that follows is
   read by it. session_authorization and role are left first and entered last: the other settings may need the rights
   of the login role. An unknown `from` counts as reset by RESET SESSION AUTHORIZATION and RESET ALL, which the caller
   has sent before. */
bool varset_diff(const struct varset *from, const struct varset *to, const struct varset *tolerated,
                 void (*change)(void *arg, const char *name, const char *value), void *arg);

/* Appends "SET [LOCAL] name TO 'value'" (value NULL: "RESET name", "SET LOCAL name TO DEFAULT"), with which a
   transaction in progress takes no snapshot; set_config() only for a list that cannot be written so. */
void varset_set_sql(struct buf *sql, const char *name, const char *value, bool local);

#endif
