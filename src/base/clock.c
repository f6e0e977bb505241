/* Clocks, read through the vDSO. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts); /* cannot fail for the two clocks used here */
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

char *clock_format_wall(uint64_t wall_us, char *buf, size_t size)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm)) {
        snprintf(buf, size, "%llu us", (unsigned long long)wall_us); /* a year beyond int */
        return buf;
    }
    snprintf(buf, size, "%04d-%02d-%02d %02d:%02d:%02d.%03d UTC", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_us / 1000 % 1000));
    return buf;
}
