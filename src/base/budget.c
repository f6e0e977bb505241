/*
 * Sums over threads. A part is the sum of its shares at any moment between two budget_share_set(); subtracting is
 * adding the complement, as unsigned arithmetic has it.
 */
#include "base/budget.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void budget_init(struct budget *b)
{
    for (size_t i = 0; i < BUDGET_PARTS; i++)
        atomic_init(&b->parts[i], 0);
    for (size_t i = 0; i < BUDGET_OWNERS; i++)
        atomic_init(&b->largest[i], 0);
    atomic_init(&b->leaving, 0);
}

const char *budget_part_name(enum budget_part part)
{
    static const char *const names[BUDGET_PARTS] = {"sessions", "buffers",  "statements",
                                                    "plans",    "catalogs", "servers"};
    return names[part];
}

size_t budget_used(struct budget *b, enum budget_part part)
{
    return atomic_load_explicit(&b->parts[part], memory_order_relaxed);
}

size_t budget_total(struct budget *b)
{
    return budget_total_without(b, BUDGET_PARTS);
}

/* Each part is read once: a difference of two readings could be of two moments, and below 0. */
size_t budget_total_without(struct budget *b, enum budget_part part)
{
    size_t n = 0;
    for (unsigned i = 0; i < BUDGET_PARTS; i++)
        n += i == (unsigned)part ? 0 : budget_used(b, (enum budget_part)i);
    return n;
}

size_t budget_leaving(struct budget *b)
{
    return atomic_load_explicit(&b->leaving, memory_order_relaxed);
}

size_t budget_largest(struct budget *b)
{
    size_t most = 0;
    for (unsigned i = 0; i < BUDGET_OWNERS; i++) {
        size_t n = atomic_load_explicit(&b->largest[i], memory_order_relaxed);
        most = n > most ? n : most;
    }
    return most;
}

void budget_share_init(struct budget_share *s, struct budget *b, unsigned owner)
{
    assert(owner < BUDGET_OWNERS);
    *s = (struct budget_share){.budget = b, .owner = owner};
}

size_t budget_share_set(struct budget_share *s, enum budget_part part, size_t bytes)
{
    size_t before = s->parts[part];
    if (bytes == before)
        return 0;
    s->parts[part] = bytes;
    atomic_fetch_add_explicit(&s->budget->parts[part], bytes - before, memory_order_relaxed);
    return bytes < before ? before - bytes : 0;
}

size_t budget_share_total(const struct budget_share *s)
{
    size_t n = 0;
    for (unsigned i = 0; i < BUDGET_PARTS; i++)
        n += s->parts[i];
    return n;
}

void budget_share_leaving(struct budget_share *s, size_t bytes)
{
    atomic_fetch_add_explicit(&s->budget->leaving, bytes - s->leaving, memory_order_relaxed);
    s->leaving = bytes;
}

void budget_share_largest(struct budget_share *s, size_t bytes)
{
    atomic_store_explicit(&s->budget->largest[s->owner], bytes, memory_order_relaxed);
}

bool budget_share_is_largest(const struct budget_share *s, size_t bytes)
{
    for (unsigned i = 0; i < BUDGET_OWNERS; i++) {
        size_t other = atomic_load_explicit(&s->budget->largest[i], memory_order_relaxed);
        if (i != s->owner && (other > bytes || (other == bytes && i < s->owner)))
            return false;
    }
    return true;
}

/* --- the machine ------------------------------------------------------------------------------ */

/* A file with one number, or "max". SIZE_MAX: no limit there. */
static size_t read_limit(const char *path)
{
    char text[64];
    FILE *f = fopen(path, "r");
    if (!f)
        return SIZE_MAX;
    bool got = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    unsigned long long n = got && text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : 0;
    return n > 0 ? (size_t)n : SIZE_MAX;
}

/* Control groups of version 2, as the process sees them: its own, and those above it. */
static size_t group_limit(void)
{
    char line[512], path[600];
    size_t least = read_limit("/sys/fs/cgroup/memory.max");
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        for (char *end; line[4] != '\0'; *end = '\0') {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
            size_t n = read_limit(path);
            least = n < least ? n : least;
            end = strrchr(line + 3, '/');
            if (end == line + 3)
                end++;
        }
    }
    if (f)
        fclose(f);
    return least;
}

size_t budget_of_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t machine = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
    size_t group = group_limit();
    return (machine < group ? machine : group) / 4 * 3;
}
