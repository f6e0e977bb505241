/* base/log.h, base/clock.h */
#include "base/clock.h"
#include "base/log.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/test_log.XXXXXX";
static char path[64], rotated[64];
static char content[1 << 20];

static size_t read_file(const char *name)
{
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, content, sizeof(content) - 1);
    close(fd);
    assert_true(n >= 0);
    content[n] = '\0';
    return (size_t)n;
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(rotated, sizeof(rotated), "%s/log.1", dir);
    log_set_stderr(false);
    struct error e;
    return log_open_file(path, &e) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(rotated);
    return rmdir(dir);
}

static void line_has_time_pid_level_and_message(void **state)
{
    (void)state;
    log_warning("disk %d%%", 95);
    read_file(path);
    int year, month, day, hour, minute, second, ms, pid;
    char level[16], rest[64];
    assert_int_equal(sscanf(content, "%4d-%2d-%2d %2d:%2d:%2d.%3d UTC [%d] %15s %63[^\n]", &year, &month,
                            &day, &hour, &minute, &second, &ms, &pid, level, rest),
                     10);
    assert_int_equal(pid, getpid());
    assert_string_equal(level, "WARNING");
    assert_string_equal(rest, "disk 95%");
    assert_int_equal(content[strlen(content) - 1], '\n');
}

static void level_decides(void **state)
{
    (void)state;
    assert_int_equal(log_get_level(), LOG_LEVEL_INFO);
    log_debug("hidden");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("shown");
    log_set_level(LOG_LEVEL_ERROR);
    log_info("muted");
    log_error("loud");
    log_set_level(LOG_LEVEL_INFO);
    read_file(path);
    assert_null(strstr(content, "hidden"));
    assert_non_null(strstr(content, "DEBUG shown\n"));
    assert_null(strstr(content, "muted"));
    assert_non_null(strstr(content, "ERROR loud\n"));
}

static void a_message_cannot_forge_a_line(void **state)
{
    (void)state;
    log_info("user \"%s\"", "eve\n2026-01-01 00:00:00.000 UTC [1] ERROR forged\x1b[2J");
    read_file(path);
    assert_null(strstr(content, "\n2026-01-01 00:00:00.000"));
    assert_null(strchr(content, '\x1b'));
    assert_non_null(strstr(content, "eve 2026-01-01"));
}

static void long_message_is_cut(void **state)
{
    (void)state;
    size_t before = read_file(path);
    log_info("%10000d", 1);
    size_t after = read_file(path);
    assert_in_range(after - before, 4000, 4096);
    assert_string_equal(content + after - 4, "...\n");
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("thread %s %0200d", (char *)arg, i);
    return NULL;
}

static void lines_of_threads_do_not_mix_even_during_rotation(void **state)
{
    (void)state;
    assert_int_equal(rename(path, rotated), 0);
    struct error e;
    assert_int_equal(log_open_file(path, &e), STATUS_OK); /* fresh: counts below start at zero */
    unlink(rotated);

    pthread_t t[2];
    pthread_create(&t[0], NULL, write_lines, "a");
    pthread_create(&t[1], NULL, write_lines, "b");
    assert_int_equal(rename(path, rotated), 0);
    assert_int_equal(log_open_file(path, &e), STATUS_OK);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);

    int lines = 0;
    const char *names[] = {rotated, path};
    for (int f = 0; f < 2; f++) {
        read_file(names[f]);
        char *save = NULL;
        for (char *l = strtok_r(content, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
            char *at = strstr(l, "INFO thread ");
            assert_non_null(at);
            assert_int_equal(strlen(at), strlen("INFO thread a ") + 200);
            lines++;
        }
    }
    assert_int_equal(lines, 400);
}

static void unwritable_path_is_an_error(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(log_open_file("/nonexistent/log", &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, SQLSTATE_CONFIG);
    assert_non_null(strstr(e.message, "/nonexistent/log"));
}

static void wall_time_is_formatted_in_utc(void **state)
{
    (void)state;
    char buf[64];
    assert_string_equal(clock_format_wall(0, buf, sizeof(buf)), "1970-01-01 00:00:00.000 UTC");
    assert_string_equal(clock_format_wall(UINT64_C(1769862896789999), buf, sizeof(buf)),
                        "2026-01-31 12:34:56.789 UTC");
    char small[5];
    assert_string_equal(clock_format_wall(0, small, sizeof(small)), "1970");
}

static void monotonic_clock_does_not_go_back(void **state)
{
    (void)state;
    uint64_t last = clock_monotonic_us();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_monotonic_us();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_wall_us() > UINT64_C(1600000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_has_time_pid_level_and_message),
        cmocka_unit_test(level_decides),
        cmocka_unit_test(a_message_cannot_forge_a_line),
        cmocka_unit_test(long_message_is_cut),
        cmocka_unit_test(lines_of_threads_do_not_mix_even_during_rotation),
        cmocka_unit_test(unwritable_path_is_an_error),
        cmocka_unit_test(wall_time_is_formatted_in_utc),
        cmocka_unit_test(monotonic_clock_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
