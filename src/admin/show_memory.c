/* SHOW MEM: what the process takes, by what for. Every worker measures itself; the sums are the budget's. */
#include "job.h"

#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct counts {
    size_t used[BUDGET_PARTS]; /* how many there are */
};

static void count_server(void *arg, const struct pool_stats *pool, const struct server *s)
{
    size_t *n = arg;
    (void)pool;
    (void)s;
    ++*n;
}

static void visit(struct job *job, struct session_env *env)
{
    struct counts *counts = job->data;
    struct plan_cache_stats plans;
    memory_measure(env);
    plan_cache_get_stats(env->plans, &plans);
    counts->used[BUDGET_SESSIONS] += env->clients.count;
    counts->used[BUDGET_STATEMENTS] += statement_registry_count(pool_manager_statements(env->pools));
    counts->used[BUDGET_PLANS] += plans.entries;
    counts->used[BUDGET_CATALOGS] += session_catalog_count(env);
    pool_manager_each_server(env->pools, count_server, &counts->used[BUDGET_SERVERS]);
}

static void mem_row(struct job *job, const char *name, size_t size, size_t used, size_t bytes)
{
    struct reply_row *r = &job->row;
    row_text(r, name);
    row_unsigned(r, size);
    row_unsigned(r, used);
    row_unsigned(r, 0);
    row_unsigned(r, bytes);
    row_end(r, &job->out);
}

/* What the system says: everything, with libraries and what the heap keeps. */
static size_t resident(void)
{
    unsigned long long all = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    int n = fscanf(f, "%llu %llu", &all, &pages);
    fclose(f);
    return n == 2 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static void answer(struct job *job)
{
    static const struct reply_column columns[] = {{"name", REPLY_TEXT},
                                                  {"size", REPLY_BIGINT},
                                                  {"used", REPLY_BIGINT},
                                                  {"free", REPLY_BIGINT},
                                                  {"memtotal", REPLY_BIGINT}};
    const struct counts *counts = job->data;
    struct session_shared *shared = job->admin->shared;
    uint64_t limit = job_env(job)->config->settings.memory_limit;
    size_t total = 0;
    reply_columns(&job->out, REPLY_COLUMNS(columns));
    for (unsigned i = 0; i < BUDGET_PARTS; i++) {
        size_t bytes = budget_used(&shared->budget, (enum budget_part)i); /* read once, so that they add up */
        total += bytes;
        mem_row(job, budget_part_name((enum budget_part)i),
                i == BUDGET_SESSIONS  ? session_client_bytes()
                : i == BUDGET_SERVERS ? heap_bytes(sizeof(struct server))
                                      : 0,
                counts->used[i], bytes);
    }
    mem_row(job, "total", 0, 0, total);
    mem_row(job, "memory_limit", 0, 0, limit ? (size_t)limit : shared->machine_bytes);
    mem_row(job, "resident", 0, 0, resident());
    reply_done(&job->out, "SHOW");
    job_answer(job);
}

/* PgBouncer's columns; size: of one, where all are alike. */
void admin_show_mem(struct job *job)
{
    job->data = xcalloc(1, sizeof(struct counts));
    job->free_data = free;
    job_round(job, visit, answer);
}
