/* A configuration as a whole: references, and problems of all its parts in one go. */
#include "support.h"

#include <pthread.h>

static void problems_of_all_parts_are_collected_in_order(void **state)
{
    (void)state;
    write_file("userlist.txt", "bad\n\"a\" \"b\"\nbad\n");
    struct problems p;
    struct config *c = load("[shard s0]\nport = x\n[pgunison]\nlisten_port = 0\nscatter_snapshot = off\n"
                            "[database d]\nshards = s0\nbad\n",
                            &p);
    write_file("userlist.txt", "\"postgres\" \"secret\"\n");
    assert_null(c);
    static const int lines[] = {1, 4, 5, 8, 1, 3};
    assert_int_equal(p.count, 6);
    assert_int_equal(p.errors, 5);
    for (size_t i = 0; i < p.count; i++) {
        assert_int_equal(p.items[i].line, lines[i]);
        assert_string_equal(p.items[i].file, in_folder(i < 4 ? "test.ini" : "userlist.txt"));
    }
    assert_int_equal(p.items[2].level, PROBLEM_NOTE);
    problems_free(&p);
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        struct config *c = config_ref(arg);
        config_unref(&c);
    }
    return NULL;
}

static void references_may_be_taken_from_any_thread(void **state)
{
    (void)state;
    struct config *c = load_ok(ONE_DATABASE);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ref_and_unref, c), 0);
    ref_and_unref(c);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&c->refs), 1);
    assert_string_equal(c->path, in_folder("test.ini"));
    config_unref(&c);
    assert_null(c);
    config_unref(&c); /* nothing to give back */
}

static void old_configuration_stays_as_it_was_after_a_reload(void **state)
{
    (void)state;
    struct config *old = load_ok(ONE_DATABASE "[pgunison]\nverbose = 1\n");
    struct config *new = load_ok(ONE_DATABASE "[pgunison]\nverbose = 2\n");
    assert_int_equal(old->settings.verbose, 1);
    assert_string_equal(old->topology.databases[0].shards[0]->host, "h0");
    config_unref(&new);
    assert_string_equal(topology_database(&old->topology, "shop")->shards[1]->host, "h1");
    config_unref(&old);
}

static void relative_paths_begin_at_the_files_folder(void **state)
{
    (void)state;
    char cwd[512];
    assert_non_null(getcwd(cwd, sizeof cwd));
    write_file("test.ini", ONE_DATABASE);
    assert_int_equal(chdir(folder), 0);
    struct problems p;
    struct config *c = config_load("test.ini", &p);
    assert_int_equal(chdir(cwd), 0);
    assert_non_null(c);
    char *real = realpath(in_folder("userlist.txt"), NULL);
    assert_string_equal(c->settings.auth_file, real);
    free(real);
    assert_non_null(userlist_find(&c->users, "postgres"));
    config_unref(&c);
    problems_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problems_of_all_parts_are_collected_in_order),
        cmocka_unit_test(references_may_be_taken_from_any_thread),
        cmocka_unit_test(old_configuration_stays_as_it_was_after_a_reload),
        cmocka_unit_test(relative_paths_begin_at_the_files_folder),
    };
    return RUN(tests);
}
