/* Time, events, chance and failures. */
#include "world.h"

#include <stdarg.h>

struct world world;

void world_begin(uint64_t seed, bool trace)
{
    world = (struct world){.now_us = UINT64_C(1000000000), .random = seed, .trace = trace};
    arena_init(&world.arena);
}

void world_end(void)
{
    arena_free(&world.arena);
    free(world.queue);
    world.queue = NULL;
    world.n_queue = world.cap_queue = 0;
}

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void world_at(uint64_t after_us, void (*run)(void *arg, uint64_t n), void *arg, uint64_t n)
{
    struct event e = {world.now_us + after_us, world.order++, run, arg, n};
    if (world.n_queue == world.cap_queue) {
        world.cap_queue = world.cap_queue ? 2 * world.cap_queue : 64;
        world.queue = xrealloc(world.queue, world.cap_queue * sizeof e);
    }
    size_t i = world.n_queue++;
    for (; i > 0 && earlier(&e, &world.queue[(i - 1) / 2]); i = (i - 1) / 2)
        world.queue[i] = world.queue[(i - 1) / 2];
    world.queue[i] = e;
}

bool world_next(uint64_t *at_us_r)
{
    if (world.n_queue == 0)
        return false;
    *at_us_r = world.queue[0].at_us;
    return true;
}

struct event world_take(void)
{
    struct event first = world.queue[0], last = world.queue[--world.n_queue];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= world.n_queue)
            break;
        if (child + 1 < world.n_queue && earlier(&world.queue[child + 1], &world.queue[child]))
            child++;
        if (!earlier(&world.queue[child], &last))
            break;
        world.queue[i] = world.queue[child];
        i = child;
    }
    world.queue[i] = last;
    return first;
}

/* splitmix64 */
uint64_t world_random(uint64_t below)
{
    uint64_t z = world.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

uint64_t world_latency(void)
{
    return world.by_chance ? 20 + 20 * world_random(world_random(8) == 0 ? 400 : 12) : 100;
}

void world_trace(const char *fmt, ...)
{
    va_list args;
    if (!world.trace)
        return;
    printf("%10.6f  ", (double)(world.now_us - UINT64_C(1000000000)) / 1e6);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void world_fail(const char *fmt, ...)
{
    va_list args;
    if (world.failed)
        return;
    world.failed = true;
    va_start(args, fmt);
    vsnprintf(world.why, sizeof world.why, fmt, args);
    va_end(args);
    world_trace("FAILED: %s", world.why);
}

enum fault_kind world_step(void)
{
    unsigned step = world.steps++;
    for (unsigned i = 0; i < world.n_faults && !world.calm; i++)
        if (world.faults[i].step == step) {
            world_trace("step %u: %s", step, fault_name(world.faults[i].kind));
            return world.faults[i].kind;
        }
    return FAULT_NONE;
}

const char *fault_name(enum fault_kind kind)
{
    static const char *const names[N_FAULTS] = {[FAULT_NONE] = "none",
                                                [LOSE_BEFORE] = "lose_before",
                                                [LOSE_AFTER] = "lose_after",
                                                [FAIL] = "fail",
                                                [TERMINATE] = "terminate",
                                                [CRASH] = "crash",
                                                [CANCEL] = "cancel",
                                                [GONE] = "gone",
                                                [SLOW] = "slow"};
    return names[kind];
}
