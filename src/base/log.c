/*
 * The log. A line is put together on the stack and leaves in one write() (files are opened O_APPEND), so
 * lines of several threads never mix. Control characters are blanked: a client must not be able to forge a
 * line by its user name. A line that is too long is cut and ends in "...".
 *
 * Invariant: log_file is -1 or a descriptor that stays the same number for the life of the process; reopening
 * duplicates the new file onto it, so a thread that writes during a rotation writes to one file or the other.
 */
#include "base/log.h"

#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_BYTES 4096

static atomic_int current_level = LOG_LEVEL_INFO;
static atomic_int log_file = -1;
static atomic_bool to_stderr = true;
static atomic_bool to_syslog = false;
static char syslog_ident[64];

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

enum status log_open_file(const char *path, struct error *error_r)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not open log file \"%s\": %s", path,
                         strerror(errno));

    int have = atomic_load(&log_file);
    if (have < 0) {
        atomic_store(&log_file, fd);
        return STATUS_OK;
    }
    int rc = dup3(fd, have, O_CLOEXEC);
    int dup_errno = errno;
    close(fd);
    if (rc < 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not reopen log file \"%s\": %s", path,
                         strerror(dup_errno));
    return STATUS_OK;
}

void log_set_stderr(bool on)
{
    atomic_store(&to_stderr, on);
}

static int facility_by_name(const char *name)
{
    static const struct {
        const char *name;
        int code;
    } facilities[] = {
        {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"daemon", LOG_DAEMON}, {"user", LOG_USER},
        {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},
        {"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5},     {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
    };
    for (size_t i = 0; name && i < sizeof(facilities) / sizeof(facilities[0]); i++)
        if (strcmp(facilities[i].name, name) == 0)
            return facilities[i].code;
    return LOG_DAEMON;
}

void log_set_syslog(bool on, const char *ident, const char *facility)
{
    if (atomic_exchange(&to_syslog, false))
        closelog();
    if (!on)
        return;
    snprintf(syslog_ident, sizeof(syslog_ident), "%s",
             ident ? ident : "pgunison"); /* openlog() keeps the pointer */
    openlog(syslog_ident, LOG_PID | LOG_NDELAY, facility_by_name(facility));
    atomic_store(&to_syslog, true);
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "ERROR";
    case LOG_LEVEL_WARNING:
        return "WARNING";
    case LOG_LEVEL_INFO:
        return "INFO";
    case LOG_LEVEL_DEBUG:
        return "DEBUG";
    case LOG_LEVEL_NOISE:
        return "NOISE";
    }
    return "?";
}

static int syslog_priority(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return LOG_ERR;
    case LOG_LEVEL_WARNING:
        return LOG_WARNING;
    case LOG_LEVEL_INFO:
        return LOG_INFO;
    case LOG_LEVEL_DEBUG:
    case LOG_LEVEL_NOISE:
        return LOG_DEBUG;
    }
    return LOG_INFO;
}

/* A log that cannot be written has nowhere to complain: the result is looked at and dropped. */
static void write_line(int fd, const char *line, size_t len)
{
    while (write(fd, line, len) < 0 && errno == EINTR)
        ;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (level > log_get_level())
        return;
    int saved_errno = errno;
    char line[LINE_BYTES], stamp[40];
    int head =
        snprintf(line, sizeof(line), "%s [%d] %s ", clock_format_wall(clock_wall_us(), stamp, sizeof(stamp)),
                 (int)getpid(), level_name(level));
    size_t begin = (size_t)head;
    size_t room = sizeof(line) - begin - 1; /* one byte for the newline */

    errno = saved_errno; /* for %m */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + begin, room, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len >= room) {
        len = room - 1;
        memcpy(line + begin + len - 3, "...", 3);
    }
    for (size_t i = begin; i < begin + len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';

    if (atomic_load_explicit(&to_syslog, memory_order_relaxed))
        syslog(syslog_priority(level), "%.*s", (int)len, line + begin);
    line[begin + len] = '\n';
    if (atomic_load_explicit(&to_stderr, memory_order_relaxed))
        write_line(STDERR_FILENO, line, begin + len + 1);
    int fd = atomic_load_explicit(&log_file, memory_order_acquire);
    if (fd >= 0)
        write_line(fd, line, begin + len + 1);
    errno = saved_errno;
}
