/*
 * Batches of SELECTs by key in libpq's pipeline mode: pipeline SECONDS CLIENTS BATCH ROWS CONNINFO. A
 * transaction of the report is one SELECT; the percentiles are of batches.
 */
#include "load.h"
#include <stdio.h>
#include <stdlib.h>

struct pipeline {
    const char *conninfo;
    unsigned batch;
    uint32_t rows; /* of pgbench_accounts */
};

static void begin(struct load_client *c)
{
    const struct pipeline *p = c->what;
    c->conn[0] = load_connect(p->conninfo);
    if (!PQenterPipelineMode(c->conn[0]))
        load_die("%s", PQerrorMessage(c->conn[0]));
}

static void take(PGconn *conn, ExecStatusType wanted)
{
    PGresult *result = PQgetResult(conn);
    if (PQresultStatus(result) != wanted)
        load_die("%s", result ? PQresultErrorMessage(result) : "an answer is missing");
    if (wanted == PGRES_TUPLES_OK && PQntuples(result) != 1)
        load_die("not one row");
    PQclear(result);
}

static unsigned step(struct load_client *c)
{
    const struct pipeline *p = c->what;
    PGconn *conn = c->conn[0];
    for (unsigned i = 0; i < p->batch; i++) {
        char key[16];
        const char *values[] = {key};
        snprintf(key, sizeof(key), "%u", load_random(c, p->rows) + 1);
        if (!PQsendQueryParams(conn, "SELECT abalance FROM pgbench_accounts WHERE aid = $1", 1, NULL, values,
                               NULL, NULL, 0))
            load_die("%s", PQerrorMessage(conn));
    }
    if (!PQpipelineSync(conn))
        load_die("%s", PQerrorMessage(conn));
    for (unsigned i = 0; i < p->batch; i++) {
        take(conn, PGRES_TUPLES_OK);
        PQclear(PQgetResult(conn)); /* NULL: the end of this one */
    }
    take(conn, PGRES_PIPELINE_SYNC);
    return p->batch;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        load_die("usage: pipeline SECONDS CLIENTS BATCH ROWS CONNINFO");
    struct pipeline p = {
        .batch = (unsigned)atoi(argv[3]), .rows = (uint32_t)atoi(argv[4]), .conninfo = argv[5]};
    load_run((unsigned)atoi(argv[2]), atof(argv[1]), &p, begin, step);
    return 0;
}
