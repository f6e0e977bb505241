/*
 * Threads, a clock, and percentiles: see load.h.
 *
 * Each thread keeps the microseconds of each of its steps; they are sorted together at the end, so
 * percentiles are exact.
 */
#include "load.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum phase { WARM_UP, MEASURE, OVER };

struct worker {
    struct load_client client;
    load_begin *begin;
    load_step *step;
    pthread_t thread;
    uint32_t *us; /* of each step */
    size_t n;
    size_t room;
    uint64_t transactions; /* whose steps are among us */
    uint64_t all;          /* the warm-up's, too */
};

static _Atomic enum phase phase;
static pthread_barrier_t connected;

void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void remember(struct worker *w, uint64_t us)
{
    if (w->n == w->room) {
        w->room = w->room ? w->room * 2 : 65536;
        w->us = realloc(w->us, w->room * sizeof(*w->us));
        if (!w->us)
            load_die("out of memory");
    }
    w->us[w->n++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    enum phase at;
    w->begin(&w->client);
    pthread_barrier_wait(&connected);
    while ((at = atomic_load_explicit(&phase, memory_order_relaxed)) != OVER) {
        uint64_t began = now_us();
        unsigned done = w->step(&w->client);
        w->all += done;
        if (at == MEASURE && atomic_load_explicit(&phase, memory_order_relaxed) == MEASURE) {
            remember(w, now_us() - began);
            w->transactions += done;
        }
    }
    for (int i = 0; i < 2; i++)
        PQfinish(w->client.conn[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(struct worker *workers, unsigned n, double seconds)
{
    uint64_t transactions = 0, everything = 0;
    size_t steps = 0, at = 0;
    for (unsigned i = 0; i < n; i++) {
        transactions += workers[i].transactions;
        everything += workers[i].all;
        steps += workers[i].n;
    }
    if (!steps)
        load_die("not one transaction was done in time");
    uint32_t *all = malloc(steps * sizeof(*all));
    if (!all)
        load_die("out of memory");
    for (unsigned i = 0; i < n; i++)
        for (size_t k = 0; k < workers[i].n; k++)
            all[at++] = workers[i].us[k];
    qsort(all, steps, sizeof(*all), compare);
    printf("all %llu transactions %llu seconds %.6f p50 %.3f p95 %.3f p99 %.3f\n",
           (unsigned long long)everything, (unsigned long long)transactions, seconds,
           all[steps * 50 / 100] / 1000.0, all[steps * 95 / 100] / 1000.0, all[steps * 99 / 100] / 1000.0);
    free(all);
}

static void pause_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

void load_run(unsigned n, double seconds, const void *what, load_begin *begin, load_step *step)
{
    struct worker *workers = calloc(n, sizeof(*workers));
    if (!workers)
        load_die("out of memory");
    pthread_barrier_init(&connected, NULL, n + 1);
    for (unsigned i = 0; i < n; i++) {
        struct worker *w = &workers[i];
        w->client =
            (struct load_client){.number = i, .random = 88172645463325252ull + i * 7919, .what = what};
        w->begin = begin;
        w->step = step;
        if (pthread_create(&w->thread, NULL, work, w))
            load_die("cannot start a thread");
    }
    pthread_barrier_wait(&connected);
    pause_s(seconds / 10);
    atomic_store(&phase, MEASURE);
    uint64_t began = now_us();
    pause_s(seconds);
    atomic_store(&phase, OVER);
    double took = (double)(now_us() - began) / 1e6;
    for (unsigned i = 0; i < n; i++)
        pthread_join(workers[i].thread, NULL);
    report(workers, n, took);
    for (unsigned i = 0; i < n; i++)
        free(workers[i].us);
    free(workers);
}

PGconn *load_connect(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        load_die("%s", PQerrorMessage(conn));
    return conn;
}

void load_send(PGconn *conn, const char *sql)
{
    if (!PQsendQuery(conn, sql))
        load_die("%s: %s", sql, PQerrorMessage(conn));
}

void load_wait(PGconn *conn)
{
    PGresult *result;
    while ((result = PQgetResult(conn))) {
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
            load_die("%s", PQresultErrorMessage(result));
        PQclear(result);
    }
}

void load_ask(PGconn *conn, const char *sql)
{
    load_send(conn, sql);
    load_wait(conn);
}

uint32_t load_random(struct load_client *client, uint32_t n)
{
    client->random ^= client->random << 13;
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    return (uint32_t)((client->random >> 32) * n >> 32);
}
