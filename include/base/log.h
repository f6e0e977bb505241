/*
 * Log lines: "2026-01-31 12:34:56.789 UTC [pid] LEVEL message". One write a line, from any thread. Never log
 * the literals of statements, nor passwords. The sink is set once, before threads start; the level may change
 * at any time (relaxed atomic: a line more or less during the change does no harm).
 */
#ifndef PGUNISON_BASE_LOG_H
#define PGUNISON_BASE_LOG_H

#include "base/error.h"
#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_NOISE };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Appends to a file as well as, or instead of, stderr. Reopening by the same path serves log rotation. */
enum status log_open_file(const char *path, struct error *error_r) MUST_CHECK;
void log_set_stderr(bool on);
void log_set_syslog(bool on, const char *ident, const char *facility);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                       \
    do {                                                                                                     \
        if (log_get_level() >= LOG_LEVEL_DEBUG)                                                              \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                         \
    } while (0)

#endif
