/*
 * Which runs to make.
 *
 *   sim                      everything, in the size of a test run
 *   sim --schedules N [SEED [SHARE SHARES]]
 *                            the same with N random schedules, from that seed on; or the SHARE-th (from 0 on) of
 *                            SHARES parts of that: together they make the same runs, each once
 *   sim --quick [SHARE SHARES] single faults and few random schedules, likewise
 *   sim --random N [SEED]    these only
 *   sim --seed SEED          one of them, with its trace
 *   sim --plan SCENARIO step:fault[,step:fault…]   one planned run, with its trace
 *   sim --expect-failure     stops at the first failure, and fails if there is none: for seeded bugs
 *
 * Every failure prints the command that replays it.
 */
#include "sim.h"

#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RANDOM_SCHEDULES = 100000 };

struct tally {
    unsigned long runs, failed;
    unsigned long outcomes[3], torn, forged;
    bool expect_failure;
    unsigned long share, shares; /* 0 of 0: everything */
    unsigned long units;         /* of work, which take turns in going to the shares */
    uint64_t digest;             /* the sum of all runs': the same whoever makes them, in whatever order */
};

static bool mine(struct tally *t)
{
    return t->shares == 0 || t->units++ % t->shares == t->share;
}

static char current[256]; /* how to replay the run that is being made */
static volatile sig_atomic_t expecting_failure;

/* An assertion in src/txn is a failure like any other, but the process ends with it. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    static const char text[] = "an assertion failed; replay: ";
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    (void)!write(STDOUT_FILENO, current, strlen(current));
    (void)!write(STDOUT_FILENO, "\n", 1);
    _exit(expecting_failure ? 0 : 1);
}

static const char *replay_of(const struct scenario *s)
{
    static char text[256];
    if (s->random) {
        snprintf(text, sizeof text, "sim --seed %llu", (unsigned long long)s->seed);
        return text;
    }
    int n = snprintf(text, sizeof text, "sim --plan %u%s%s%s%s%s%s ", s->n_shards, s->lacks_xid ? "x" : "",
                     s->ack_decided ? "d" : "", s->listings ? "l" : "", s->briefly ? "b" : "",
                     s->no_policy ? "n" : "", s->several ? "m" : "");
    for (unsigned i = 0; i < s->n_faults; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%u:%s", i ? "," : "", s->faults[i].step,
                      fault_name(s->faults[i].kind));
    return text;
}

/* Which run it was, and what came of it. */
static uint64_t digest_of(const struct world *w)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = current; *at; at++)
        hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    for (int i = 0; i < 3; i++)
        hash = (hash ^ w->outcomes[i]) * UINT64_C(0x100000001b3);
    return (hash ^ w->steps) * UINT64_C(0x100000001b3);
}

/* Makes one run; returns how many steps it had. */
static unsigned run(struct tally *tally, const struct scenario *s, bool trace)
{
    struct world *w = xmalloc(sizeof *w);
    snprintf(current, sizeof current, "%s", replay_of(s));
    world_init(w, s, trace);
    world_run(w);
    tally->runs++;
    tally->digest += digest_of(w);
    for (int i = 0; i < 3; i++)
        tally->outcomes[i] += w->outcomes[i];
    tally->torn += w->n_torn;
    tally->forged += w->n_forged;
    if (w->failed) {
        tally->failed++;
        printf("%s\n  replay: %s\n", w->why, current);
    }
    unsigned steps = w->steps;
    world_free(w);
    free(w);
    return steps;
}

/* How many steps it has without a fault; it counts as a run of one of the shares. */
static unsigned steps_of(struct tally *tally, struct scenario *s)
{
    struct tally others = {0};
    s->n_faults = 0;
    return run(mine(tally) ? tally : &others, s, false);
}

static bool enough(const struct tally *t)
{
    return t->failed >= (t->expect_failure ? 1 : 10);
}

/* Every fault at every step; with two, every second fault at the same step or any later one of what the first
 * led to. */
static void every_fault(struct tally *tally, struct scenario s, unsigned n_faults)
{
    unsigned steps = steps_of(tally, &s);
    for (unsigned i = 0; i < steps && !enough(tally); i++) {
        for (unsigned kind = 1; kind < N_FAULTS && !enough(tally); kind++) {
            if (!mine(tally))
                continue;
            s.n_faults = 1;
            s.faults[0] = (struct fault){(enum fault_kind)kind, i};
            unsigned after = run(tally, &s, false);
            for (unsigned j = i; n_faults > 1 && j < after && !enough(tally); j++) {
                for (unsigned second = 1; second < N_FAULTS && !enough(tally); second++) {
                    bool same_side = fault_side((enum fault_kind)kind) == fault_side((enum fault_kind)second);
                    if (j == i && (same_side || second < kind))
                        continue;
                    s.n_faults = 2;
                    s.faults[1] = (struct fault){(enum fault_kind)second, j};
                    run(tally, &s, false);
                }
            }
        }
    }
}

/* What others do at every step, and one fault at the same step or any later or earlier one. */
static void every_deed_of_others(struct tally *tally, struct scenario s)
{
    unsigned steps = steps_of(tally, &s);
    for (unsigned i = 0; i < steps && !enough(tally); i++) {
        for (unsigned kind = HAND_COMMIT; kind < N_KINDS && !enough(tally); kind++) {
            if (!mine(tally))
                continue;
            s.no_policy = kind >= FORGE;
            s.n_faults = 1;
            s.faults[0] = (struct fault){(enum fault_kind)kind, i};
            unsigned after = run(tally, &s, false);
            for (unsigned j = 0; j < after && !enough(tally); j++) {
                for (unsigned second = 1; second < N_FAULTS && !enough(tally); second++) {
                    s.n_faults = 2;
                    s.faults[1] = (struct fault){(enum fault_kind)second, j};
                    run(tally, &s, false);
                }
            }
        }
    }
}

static struct scenario random_scenario(uint64_t seed)
{
    static const double rates[] = {0.01, 0.05, 0.15, 0.4};
    uint64_t bits = seed * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    struct scenario s = {.random = true, .seed = seed};
    s.n_shards = 2 + (unsigned)(bits % 3);
    s.n_proxies = 1 + (unsigned)(bits / 3 % 3);
    s.n_txns = 1 + (unsigned)(bits / 9 % MAX_TXNS);
    s.fault_rate = rates[bits / 64 % 4];
    s.ack_decided = bits / 256 % 4 == 0;
    s.two_clusters = s.n_proxies == 3 && bits / 1024 % 3 == 0;
    s.no_policy = bits / 4096 % 2 == 0;
    return s;
}

static void random_runs(struct tally *tally, unsigned long n, uint64_t first_seed)
{
    for (unsigned long i = 0; i < n && !enough(tally); i++) {
        struct scenario s = random_scenario(first_seed + i);
        if (mine(tally))
            run(tally, &s, false);
    }
}

static void every_kind_of_plan(struct tally *tally, const struct scenario *scenarios, size_t n,
                               unsigned n_faults)
{
    for (size_t i = 0; i < n; i++) {
        struct scenario s = scenarios[i];
        every_fault(tally, s, n_faults);
        s.briefly = true;
        every_fault(tally, s, n_faults);
    }
}

/* With listings there are ten times as many steps: a sanitizer, which slows every run down, has them with one fault. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LISTING_FAULTS 1
#else
#define LISTING_FAULTS 2
#endif

static const struct scenario scenarios[] = {
    {.n_shards = 2, .n_proxies = 2, .n_txns = 1},
    {.n_shards = 2, .n_proxies = 2, .n_txns = 1, .lacks_xid = true},
    {.n_shards = 2, .n_proxies = 2, .n_txns = 1, .ack_decided = true},
    {.n_shards = 3, .n_proxies = 2, .n_txns = 1},
    {.n_shards = 3, .n_proxies = 2, .n_txns = 1, .lacks_xid = true, .ack_decided = true},
};
static const struct scenario several = {.n_shards = 4, .n_proxies = 2, .n_txns = 3, .several = true};
enum { N_SCENARIOS = sizeof scenarios / sizeof *scenarios, FIRST = 2000 };

/* What shows most bugs. */
static unsigned long quick(struct tally *tally, unsigned long n_random, uint64_t first_seed)
{
    unsigned long first = n_random < FIRST ? n_random : FIRST;
    every_kind_of_plan(tally, scenarios, N_SCENARIOS, 1);
    every_kind_of_plan(tally, &several, 1, 1);
    every_deed_of_others(tally, scenarios[0]);
    random_runs(tally, first, first_seed);
    return first;
}

static void everything(struct tally *tally, unsigned long n_random, uint64_t first_seed)
{
    unsigned long first = quick(tally, n_random, first_seed);
    for (size_t i = 1; i < N_SCENARIOS; i++)
        every_deed_of_others(tally, scenarios[i]);
    every_kind_of_plan(tally, scenarios, N_SCENARIOS, 2);
    for (size_t i = 0; i < N_SCENARIOS; i++) {
        struct scenario s = scenarios[i];
        s.listings = true;
        every_fault(tally, s, LISTING_FAULTS);
    }
    random_runs(tally, n_random - first, first_seed + first);
}

static bool parse_plan(struct scenario *s, const char *shape, const char *faults)
{
    *s = (struct scenario){.n_shards = (unsigned)atoi(shape), .n_proxies = 2, .n_txns = 1};
    s->lacks_xid = strchr(shape, 'x') != NULL;
    s->ack_decided = strchr(shape, 'd') != NULL;
    s->listings = strchr(shape, 'l') != NULL;
    s->briefly = strchr(shape, 'b') != NULL;
    s->no_policy = strchr(shape, 'n') != NULL;
    s->several = strchr(shape, 'm') != NULL;
    if (s->several)
        s->n_txns = several.n_txns;
    if (s->n_shards < 2 || s->n_shards > MAX_SHARDS)
        return false;
    while (*faults && s->n_faults < MAX_FAULTS) {
        char name[32];
        struct fault f = {.kind = FAULT_NONE};
        int used = 0;
        if (sscanf(faults, "%u:%31[a-z_]%n", &f.step, name, &used) != 2)
            return false;
        for (unsigned k = 1; k < N_KINDS; k++)
            if (strcmp(name, fault_name((enum fault_kind)k)) == 0)
                f.kind = (enum fault_kind)k;
        if (f.kind == FAULT_NONE)
            return false;
        s->faults[s->n_faults++] = f;
        faults += used + (faults[used] == ',');
    }
    return true;
}

/* SHARE SHARES, at argv[at], or nothing. */
static bool parse_share(struct tally *tally, int argc, char **argv, int at)
{
    if (argc <= at)
        return true;
    if (argc != at + 2)
        return false;
    tally->share = strtoul(argv[at], NULL, 10);
    tally->shares = strtoul(argv[at + 1], NULL, 10);
    return tally->share < tally->shares;
}

int main(int argc, char **argv)
{
    struct tally tally = {0};
    struct scenario s;
    signal(SIGABRT, on_abort);
    log_set_level(LOG_LEVEL_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "--expect-failure") == 0) {
        expecting_failure = 1;
        tally.expect_failure = true;
        everything(&tally, RANDOM_SCHEDULES, 1);
        return tally.failed ? 0 : 1;
    }
    if (argc >= 3 && strcmp(argv[1], "--random") == 0) {
        random_runs(&tally, strtoul(argv[2], NULL, 10), argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    } else if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        s = random_scenario(strtoull(argv[2], NULL, 10));
        run(&tally, &s, true);
    } else if ((argc == 3 || argc == 4) && strcmp(argv[1], "--plan") == 0 &&
               parse_plan(&s, argv[2], argc == 4 ? argv[3] : "")) {
        run(&tally, &s, true);
    } else if (argc >= 2 && strcmp(argv[1], "--quick") == 0 && parse_share(&tally, argc, argv, 2)) {
        (void)quick(&tally, FIRST, 1);
    } else if (argc >= 3 && strcmp(argv[1], "--schedules") == 0 && parse_share(&tally, argc, argv, 4)) {
        everything(&tally, strtoul(argv[2], NULL, 10), argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    } else if (argc == 1) {
        everything(&tally, RANDOM_SCHEDULES, 1);
    } else {
        fprintf(
            stderr,
            "usage: sim [--expect-failure | --schedules N [SEED [SHARE SHARES]] | --quick [SHARE SHARES] |"
            " --random N [SEED] | --seed SEED | --plan SCENARIO FAULTS]\n");
        return 2;
    }
    printf("sim: %lu runs (%lu committed, %lu rolled back, %lu unknown; %lu torn by hand, %lu rows forged), "
           "digest %016llx, %lu failed\n",
           tally.runs, tally.outcomes[TXN_COMMITTED], tally.outcomes[TXN_ROLLED_BACK],
           tally.outcomes[TXN_OUTCOME_UNKNOWN], tally.torn, tally.forged, (unsigned long long)tally.digest,
           tally.failed);
    return tally.failed ? 1 : 0;
}
