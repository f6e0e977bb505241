/*
 * How much memory the process takes, and for what; and which worker has the client that takes most.
 *
 * Each owner (a worker) measures its own memory and sets its share; the difference goes to the sums, which any thread
 * reads. All accesses are relaxed: every number stands for itself, and a decision that was taken a moment too early or
 * too late is taken again at the next look.
 *
 * Not responsible for: measuring, limits, what is done about them.
 */
#ifndef PGUNISON_BASE_BUDGET_H
#define PGUNISON_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum budget_part {
    BUDGET_SESSIONS,   /* clients: themselves, their names, savepoints, variables */
    BUDGET_BUFFERS,    /* on the way between clients and servers */
    BUDGET_STATEMENTS, /* texts of prepared statements, and what was read out of them */
    BUDGET_PLANS,
    BUDGET_CATALOGS,
    BUDGET_SERVERS, /* connections to shards, and lists of what is prepared there */
    BUDGET_PARTS
};
#define BUDGET_OWNERS 256

struct budget {
    atomic_size_t parts[BUDGET_PARTS];
    atomic_size_t largest[BUDGET_OWNERS]; /* what the owner's largest client takes */
    atomic_size_t leaving;                /* of the parts: memory that is on its way to be freed */
};

struct budget_share { /* its owner's thread */
    struct budget *budget;
    unsigned owner;
    size_t parts[BUDGET_PARTS], leaving;
};

void budget_init(struct budget *b);
const char *budget_part_name(enum budget_part part);
size_t budget_used(struct budget *b, enum budget_part part);
size_t budget_total(struct budget *b);
size_t budget_total_without(struct budget *b, enum budget_part part);
size_t budget_leaving(struct budget *b);
size_t budget_largest(struct budget *b); /* of all owners */
/* owner: below BUDGET_OWNERS, one share each */
void budget_share_init(struct budget_share *s, struct budget *b, unsigned owner);
/* Returns how much less it is than before; 0: as much, or more. */
size_t budget_share_set(struct budget_share *s, enum budget_part part, size_t bytes);
size_t budget_share_total(const struct budget_share *s);
void budget_share_leaving(struct budget_share *s, size_t bytes);
void budget_share_largest(struct budget_share *s, size_t bytes);
/* No other owner has a larger one: of equal ones, the first owner's is. */
bool budget_share_is_largest(const struct budget_share *s, size_t bytes);

/* Three quarters of what the machine has, or the control group of this process if that is less. */
size_t budget_of_machine(void);

#endif
