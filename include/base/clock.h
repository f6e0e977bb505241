/* Clocks. Loops cache the time once per turn (net/loop.h); use that where there is one. */
#ifndef PGUNISON_BASE_CLOCK_H
#define PGUNISON_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_monotonic_us(void);
uint64_t clock_wall_us(void); /* since 1970-01-01 UTC */
/* "2026-01-31 12:34:56.789 UTC"; returns buf. */
char *clock_format_wall(uint64_t wall_us, char *buf, size_t size);

#endif
