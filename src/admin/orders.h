/* Commands of the console that do something: for admin_users. The table is in orders.c. Private to admin. */
#ifndef PGUNISON_ADMIN_ORDERS_H
#define PGUNISON_ADMIN_ORDERS_H

#include "command.h"

struct question;
struct order {
    const char *name, *usage; /* usage: its argument, as SHOW HELP names it; NULL: none */
    enum arg_rule rule;
    const char *const *choices;      /* NULL, or the arguments that there are, in lower case, up to a NULL */
    void (*run)(struct question *q); /* begins it, at home; NULL: PgBouncer has it */
};

/* In the order of SHOW HELP; NULL past the end. */
const struct order *order_at(size_t i);
const struct order *order_find(const char *name); /* in any case; NULL: there is none */
/* Begins SET, at home. Anybody may set what drivers set on every connection. */
void order_set(struct question *q);

#endif
