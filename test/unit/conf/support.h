/* What the tests of conf share: configurations from strings, in a folder of their own under /tmp. */
#ifndef PGUNISON_TEST_CONF_SUPPORT_H
#define PGUNISON_TEST_CONF_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "conf/config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/pgunison-conf-XXXXXX";

/* Path of a file in the folder; valid until the next call. */
static inline const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void write_bytes(const char *name, const void *data, size_t len)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static inline int folder_setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    write_file("userlist.txt", "\"postgres\" \"secret\"\n");
    return 0;
}

static inline int folder_teardown(void **state)
{
    (void)state;
    unlink(in_folder("test.ini"));
    unlink(in_folder("userlist.txt"));
    return rmdir(folder);
}

#define ONE_DATABASE                                                                                         \
    "[database shop]\nshards = s0 s1\n[shard s0]\nhost = h0\n[shard s1]\nhost = h1\n" /* 6 lines */

static inline struct config *load(const char *text, struct problems *problems_r)
{
    write_file("test.ini", text);
    return config_load(in_folder("test.ini"), problems_r);
}

static inline void print_problems(const struct problems *p)
{
    for (size_t i = 0; i < p->count; i++)
        print_message("%s:%d: %s: %s\n", p->items[i].file, p->items[i].line,
                      p->items[i].level == PROBLEM_ERROR ? "error" : "note", p->items[i].text);
}

/* Loads what must be without any problem. */
static inline struct config *load_ok(const char *text)
{
    struct problems p;
    struct config *c = load(text, &p);
    if (p.count)
        print_problems(&p);
    assert_int_equal(p.count, 0);
    assert_non_null(c);
    problems_free(&p);
    return c;
}

static inline void one_problem(const char *text, enum problem_level level, int line, const char *words)
{
    struct problems p;
    struct config *c = load(text, &p);
    if (p.count != 1 || p.items[0].line != line || !strstr(p.items[0].text, words)) {
        print_problems(&p);
        fail_msg("expected one problem at line %d: %s", line, words);
    }
    assert_int_equal(p.items[0].level, level);
    assert_string_equal(p.items[0].file, in_folder("test.ini"));
    assert_int_equal(c == NULL, level == PROBLEM_ERROR);
    config_unref(&c);
    problems_free(&p);
}

/* The text has exactly this one problem, an error. */
static inline void one_error(const char *text, int line, const char *words)
{
    one_problem(text, PROBLEM_ERROR, line, words);
}

static inline void one_note(const char *text, int line, const char *words)
{
    one_problem(text, PROBLEM_NOTE, line, words);
}

static inline size_t setting_index(const char *name)
{
    for (size_t i = 0; i < settings_count(); i++)
        if (strcmp(settings_info(i)->name, name) == 0)
            return i;
    fail_msg("no setting %s", name);
    return 0;
}

static inline void check_setting(const struct settings *s, const char *name, const char *expected)
{
    struct buf b;
    buf_init(&b);
    settings_value(s, setting_index(name), &b);
    buf_u8(&b, 0);
    assert_string_equal((const char *)buf_head(&b), expected);
    buf_free(&b);
}

#define RUN(tests) cmocka_run_group_tests(tests, folder_setup, folder_teardown)

#endif
