/*
 * Which runs to make.
 *
 *   conversation [SHARE SHARES]         every script, with every fault at every step, and by chance; or the SHARE-th (from 0
 *                                       on) of SHARES parts of that
 *   conversation --faults NAME          one script like that
 *   conversation --script NAME [step:fault]   one run, with its trace
 *   conversation --chance NAME SEED [step:fault]   the same with latencies and sizes of reads by chance
 *
 * Built with PGUNISON_SEEDED_BUGS, `--seeded N` before all that is a wrong session (src/session/seeded_bug.h): the run ends at the first
 * failure, well if there is one. `--bugs` prints how many there are.
 *
 * Every failure prints the command that replays it.
 */
#include "world.h"

#include "base/log.h"

enum { SEEDS = 25, ENOUGH = 10 };

#ifdef PGUNISON_SEEDED_BUGS
#include "../../src/session/seeded_bug.h"
enum seeded_bug seeded_bug;
#endif

static bool expects_failure;
static unsigned long runs, failed, units, share, shares = 1;

static bool enough(void)
{
    return failed >= (expects_failure ? 1 : ENOUGH);
}

static bool mine(void)
{
    return units++ % shares == share;
}

static unsigned one(const struct script *s, uint64_t seed, const struct fault *faults, unsigned n,
                    bool by_chance, bool trace)
{
    run_script(s, seed, faults, n, by_chance, trace);
    runs++;
    if (world.failed) {
        failed++;
        printf("%s: %s\n  replay: conversation %s %s", s->name, world.why,
               by_chance ? "--chance" : "--script", s->name);
        if (by_chance)
            printf(" %llu", (unsigned long long)seed);
        for (unsigned i = 0; i < n; i++)
            printf(" %u:%s", faults[i].step, fault_name(faults[i].kind));
        putchar('\n');
        fflush(stdout);
    }
    return world.steps;
}

static bool parse_fault(const char *text, struct fault *f)
{
    char name[32];
    if (sscanf(text, "%u:%31[a-z_]", &f->step, name) != 2)
        return false;
    for (unsigned k = 1; k < N_FAULTS; k++)
        if (strcmp(name, fault_name((enum fault_kind)k)) == 0) {
            f->kind = (enum fault_kind)k;
            return true;
        }
    return false;
}

static const struct script *script_by_name(const char *name)
{
    for (size_t i = 0; i < n_scripts; i++)
        if (strcmp(scripts[i].name, name) == 0)
            return &scripts[i];
    return NULL;
}

static void everything(const struct script *only)
{
    for (size_t i = 0; i < n_scripts; i++) {
        if (only && only != &scripts[i])
            continue;
        unsigned steps = one(&scripts[i], 1, NULL, 0, false, false); /* every share needs to know how many */
        for (uint64_t seed = 1; seed <= SEEDS && !enough(); seed++)
            if (mine())
                (void)one(&scripts[i], seed, NULL, 0, true, false);
        for (unsigned step = 0; step < steps; step++)
            for (unsigned k = 1; k < N_FAULTS && !enough(); k++) {
                struct fault f = {(enum fault_kind)k, step};
                if (!mine())
                    continue;
                (void)one(&scripts[i], 1, &f, 1, false, false);
                /* When a client's deed comes between others' answers is what makes a difference. */
                for (uint64_t n = 0; n < (k == CANCEL || k == GONE ? 4 : 1); n++)
                    (void)one(&scripts[i], (n * 1000 + step) * N_FAULTS + k, &f, 1, true, false);
            }
    }
}

/* --seeded N */
static bool read_seeded(int *argc, char ***argv)
{
#ifdef PGUNISON_SEEDED_BUGS
    if (*argc > 1 && strcmp((*argv)[1], "--bugs") == 0) {
        printf("%d\n", N_SEEDED_BUGS - 1);
        exit(0);
    }
    if (*argc < 3 || strcmp((*argv)[1], "--seeded") != 0)
        return false;
    seeded_bug = (enum seeded_bug)atoi((*argv)[2]);
    *argc -= 2;
    *argv += 2;
    return true;
#else
    (void)argc;
    (void)argv;
    return false;
#endif
}

int main(int argc, char **argv)
{
    struct fault faults[2];
    unsigned n = 0;
    log_set_level(LOG_LEVEL_ERROR);
    expects_failure = read_seeded(&argc, &argv);
    bool chance = argc > 3 && strcmp(argv[1], "--chance") == 0,
         script = argc > 2 && strcmp(argv[1], "--script") == 0;
    if (argc == 3 && argv[1][0] != '-') {
        share = strtoul(argv[1], NULL, 10);
        shares = strtoul(argv[2], NULL, 10);
    }
    if (argc == 1 || (argc == 3 && argv[1][0] != '-' && shares > share)) {
        everything(NULL);
    } else if (argc == 3 && strcmp(argv[1], "--faults") == 0 && script_by_name(argv[2])) {
        everything(script_by_name(argv[2]));
    } else if (chance || script) {
        const struct script *s = script_by_name(argv[2]);
        for (int i = chance ? 4 : 3; i < argc && n < 2; i++)
            if (!parse_fault(argv[i], &faults[n++]))
                return 2;
        if (!s)
            return 2;
        log_set_level(LOG_LEVEL_DEBUG);
        (void)one(s, chance ? strtoull(argv[3], NULL, 10) : 1, faults, n, chance, true);
    } else {
        return 2;
    }
    if (expects_failure)
        return failed == 0;
    printf("%lu passed, %lu failed\n", runs - failed, failed);
    return failed != 0;
}
