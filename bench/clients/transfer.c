/*
 * Transfers between an account on shard A and one on shard B, as an application does them that knows its
 * shards, and through a proxy that knows them.
 *
 *     transfer independent SECONDS CLIENTS A B          commits on A, then on B: may leave half a transfer
 *     transfer two-phase SECONDS CLIENTS A B            prepares on both at once, then commits on both at
 * once, and keeps no record of the decision: a crash in between leaves it open transfer proxy SECONDS CLIENTS
 * A B PROXY          BEGIN, two updates, COMMIT on one connection
 *
 * A, B and PROXY are libpq's conninfo strings. All variants do the same statements in the same order: BEGIN
 * (sent to both shards before either is waited for), the update on A, the update on B. The accounts of each
 * shard are read from the shards themselves: table accounts (id, balance).
 */
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct transfers {
    const char *conninfo[2];
    const char *proxy;
    int two_phase;
    int *id[2]; /* accounts of each shard */
    uint32_t n[2];
};

static void read_accounts(struct transfers *t, int shard)
{
    PGconn *conn = load_connect(t->conninfo[shard]);
    PGresult *result = PQexec(conn, "SELECT id FROM accounts ORDER BY id");
    if (PQresultStatus(result) != PGRES_TUPLES_OK || !PQntuples(result))
        load_die("no accounts on %s: %s", t->conninfo[shard], PQerrorMessage(conn));
    t->n[shard] = (uint32_t)PQntuples(result);
    t->id[shard] = calloc(t->n[shard], sizeof(int));
    if (!t->id[shard])
        load_die("out of memory");
    for (uint32_t i = 0; i < t->n[shard]; i++)
        t->id[shard][i] = atoi(PQgetvalue(result, (int)i, 0));
    PQclear(result);
    PQfinish(conn);
}

static void begin(struct load_client *c)
{
    const struct transfers *t = c->what;
    if (t->proxy) {
        c->conn[0] = load_connect(t->proxy);
        return;
    }
    for (int i = 0; i < 2; i++)
        c->conn[i] = load_connect(t->conninfo[i]);
}

static void both(struct load_client *c, const char *first, const char *second)
{
    load_send(c->conn[0], first);
    load_send(c->conn[1], second);
    load_wait(c->conn[0]);
    load_wait(c->conn[1]);
}

static unsigned step(struct load_client *c)
{
    const struct transfers *t = c->what;
    char update[2][128], prepare[64], commit[64];
    static _Thread_local unsigned long number;
    PGconn *b = t->proxy ? c->conn[0] : c->conn[1];
    for (int i = 0; i < 2; i++)
        snprintf(update[i], sizeof(update[i]), "UPDATE accounts SET balance = balance %c 1 WHERE id = %d",
                 i ? '+' : '-', t->id[i][load_random(c, t->n[i])]);
    if (t->proxy)
        load_ask(c->conn[0], "BEGIN");
    else
        both(c, "BEGIN", "BEGIN");
    load_ask(c->conn[0], update[0]);
    load_ask(b, update[1]);
    if (t->proxy) {
        load_ask(c->conn[0], "COMMIT");
    } else if (t->two_phase) {
        snprintf(prepare, sizeof(prepare), "PREPARE TRANSACTION 'transfer-%d-%u-%lu'", (int)getpid(),
                 c->number, ++number);
        snprintf(commit, sizeof(commit), "COMMIT PREPARED 'transfer-%d-%u-%lu'", (int)getpid(), c->number,
                 number);
        both(c, prepare, prepare);
        both(c, commit, commit);
    } else {
        both(c, "COMMIT", "COMMIT");
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct transfers t = {0};
    if (argc < 6 || (!strcmp(argv[1], "proxy") && argc < 7))
        load_die("usage: transfer independent|two-phase|proxy SECONDS CLIENTS A B [PROXY]");
    t.two_phase = !strcmp(argv[1], "two-phase");
    t.proxy = strcmp(argv[1], "proxy") ? NULL : argv[6];
    for (int i = 0; i < 2; i++) {
        t.conninfo[i] = argv[4 + i];
        read_accounts(&t, i);
    }
    load_run((unsigned)atoi(argv[3]), atof(argv[2]), &t, begin, step);
    for (int i = 0; i < 2; i++)
        free(t.id[i]);
    return 0;
}
