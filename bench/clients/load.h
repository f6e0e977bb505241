/* What the clients of the benchmark share: threads, one a connection, that do something until time is up, and
 * a recorder of how long each time took. */
#ifndef PGUNISON_BENCH_LOAD_H
#define PGUNISON_BENCH_LOAD_H

#include <libpq-fe.h>
#include <stdint.h>

struct load_client {
    unsigned number; /* from 0 */
    uint64_t random; /* state of load_random() */
    PGconn *conn[2];
    const void *what; /* of load_run() */
};

/* Connects the client. */
typedef void load_begin(struct load_client *client);

/* One transaction, or one batch; returns how many transactions it was. */
typedef unsigned load_step(struct load_client *client);

/* Runs n clients for the given time, after a tenth of it that is not counted. Prints "all M transactions N
 * seconds S p50 A p95 B p99 C": M has the warm-up's as well, and the percentiles are of steps, in
 * milliseconds. */
void load_run(unsigned n, double seconds, const void *what, load_begin *begin, load_step *step);

/* Connects or exits. */
PGconn *load_connect(const char *conninfo);

/* Sends a simple query; load_wait() takes its answer. Every error ends the program: a benchmark that
 * measures failures measures nothing. */
void load_send(PGconn *conn, const char *sql);
void load_wait(PGconn *conn);
void load_ask(PGconn *conn, const char *sql);

/* 0 .. n - 1 */
uint32_t load_random(struct load_client *client, uint32_t n);

_Noreturn void load_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
