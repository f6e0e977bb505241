/* SHOW MEM: what the process takes, by what for. Every worker measures itself; the sums are the budget's. */
#include "shows.h"

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

static void visit_mem(struct question *q, struct session_env *env)
{
    struct counts *counts = question_data(q, sizeof *counts, free);
    struct plan_cache_stats plans;
    memory_measure(env);
    plan_cache_get_stats(env->plans, &plans);
    counts->used[BUDGET_SESSIONS] += env->clients.count;
    counts->used[BUDGET_STATEMENTS] += statement_registry_count(pool_manager_statements(env->pools));
    counts->used[BUDGET_PLANS] += plans.entries;
    counts->used[BUDGET_CATALOGS] += session_catalog_count(env);
    pool_manager_each_server(env->pools, count_server, &counts->used[BUDGET_SERVERS]);
}

static void mem_row(struct question *q, const char *name, size_t size, size_t used, size_t bytes)
{
    struct answer *a = &q->answer;
    answer_text(a, name);
    answer_unsigned(a, size);
    answer_unsigned(a, used);
    answer_unsigned(a, 0);
    answer_unsigned(a, bytes);
    answer_row(a);
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

/* PgBouncer's columns. size: of one, where all are alike. */
static const struct answer_column mem_columns[] = {{"name", ANSWER_TEXT},
                                                   {"size", ANSWER_BIGINT},
                                                   {"used", ANSWER_BIGINT},
                                                   {"free", ANSWER_BIGINT},
                                                   {"memtotal", ANSWER_BIGINT}};

static void fill_mem(struct question *q)
{
    const struct counts *counts = q->data;
    struct session_shared *shared = q->admin->shared;
    uint64_t limit = question_env(q)->config->settings.memory_limit;
    size_t total = 0;
    for (unsigned i = 0; i < BUDGET_PARTS; i++) {
        size_t bytes = budget_used(&shared->budget, (enum budget_part)i); /* read once, so that they add up */
        total += bytes;
        mem_row(q, budget_part_name((enum budget_part)i),
                i == BUDGET_SESSIONS  ? session_client_bytes()
                : i == BUDGET_SERVERS ? heap_bytes(sizeof(struct server))
                                      : 0,
                counts->used[i], bytes);
    }
    mem_row(q, "total", 0, 0, total);
    mem_row(q, "memory_limit", 0, 0, limit ? (size_t)limit : shared->machine_bytes);
    mem_row(q, "resident", 0, 0, resident());
}

const struct show shows_memory[] = {
    {.name = "mem", .place = SHOW_WORKERS, SHOW_COLUMNS(mem_columns), .visit = visit_mem, .fill = fill_mem},
    {0},
};
