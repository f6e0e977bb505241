/*
 * SELECTs by key whose texts differ in more than their literals: texts SECONDS CLIENTS TEXTS ROWS CONNINFO.
 * TEXTS says how many there are, and they come in random order; 0: none comes twice.
 */
#include "load.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct texts {
    const char *conninfo;
    uint32_t n;
    uint32_t rows;      /* of pgbench_accounts */
    unsigned long base; /* of texts that never come twice, not in another run either */
};

static _Atomic unsigned long next;

static void begin(struct load_client *c)
{
    const struct texts *t = c->what;
    c->conn[0] = load_connect(t->conninfo);
}

static unsigned step(struct load_client *c)
{
    const struct texts *t = c->what;
    char sql[160];
    unsigned long which = t->n ? load_random(c, t->n) : t->base + atomic_fetch_add(&next, 1);
    snprintf(sql, sizeof(sql), "SELECT abalance AS balance_%lu FROM pgbench_accounts WHERE aid = %u", which,
             load_random(c, t->rows) + 1);
    load_ask(c->conn[0], sql);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        load_die("usage: texts SECONDS CLIENTS TEXTS ROWS CONNINFO");
    struct texts t = {.n = (uint32_t)atoi(argv[3]), .rows = (uint32_t)atoi(argv[4]), .conninfo = argv[5]};
    t.base = (unsigned long)time(NULL) * 1000000;
    load_run((unsigned)atoi(argv[2]), atof(argv[1]), &t, begin, step);
    return 0;
}
