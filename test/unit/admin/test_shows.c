/* The tables of SHOWs and orders, and what SHOWs ask shards for. */
#include "../../../src/admin/orders.h"
#include "../../../src/admin/shows.h"
#include "wire/message.h"

#include <ctype.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../backend/qualified.h"

/* SHOW TABLES looks everything up in pg_catalog. */
static void question_about_keys_is_qualified(void **state)
{
    (void)state;
    struct table_map tables[] = {{.name = "orders", .column = "id"},
                                 {.schema = "app", .name = "it's", .column = "key"}};
    struct database_def db = {.tables = tables, .n_tables = 2};
    struct buf sql;
    buf_init(&sql);
    assert_true(show_tables_sql(&db, &sql));
    assert_qualified((const char *)buf_head(&sql));
    buf_free(&sql);
}

static const struct show *const all[] = {shows_local,   shows_clients, shows_pools,      shows_memory,
                                         shows_control, shows_tables,  shows_transaction};
#define N_ALL (sizeof all / sizeof all[0])

static void every_show_is_found_and_complete(void **state)
{
    (void)state;
    for (size_t g = 0; g < N_ALL; g++)
        for (const struct show *s = all[g]; s->name; s++) {
            assert_ptr_equal(show_find(s->name), s);
            assert_in_range(s->n_columns, 1, ANSWER_MAX_COLUMNS);
            assert_int_equal(s->visit != NULL, s->place == SHOW_WORKERS);
            assert_true(s->fill || s->place == SHOW_WORKERS);
        }
    assert_null(show_find("nothing"));
    assert_int_equal(show_find("FDS")->place, SHOW_NOT_YET);
}

/* As SHOW HELP says it: a line break, SHOW and other words of that kind, or a bar before it. */
static void assert_listed(const char *help, const char *name)
{
    char upper[64] = "";
    for (size_t i = 0; name[i]; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    for (const char *p = help; (p = strstr(p, upper)); p++) {
        char after = p[strlen(upper)];
        if ((p[-1] == '|' || p[-1] == ' ' || p[-1] == '\t') && strchr("| \n", after))
            return;
    }
    fail_msg("SHOW HELP does not list %s: %s", upper, help);
}

static void help_lists_every_command_that_is_there(void **state)
{
    (void)state;
    struct question q = {.command.show = show_find("help")};
    struct frame f = {0};
    struct error e, why;
    size_t need;
    answer_init(&q.answer, &render_console);
    q.command.show->fill(&q);
    assert_int_equal(frame_next(buf_slice(&q.answer.out), 1 << 20, &f, &need), FRAME_OK);
    assert_int_equal(f.type, 'N');
    assert_int_equal(message_read_error(&f, &e, &why), STATUS_OK);
    assert_string_equal(e.message, "Console usage");
    for (size_t g = 0; g < N_ALL; g++)
        for (const struct show *s = all[g]; s->name; s++)
            assert_listed(e.detail, s->name);
    const struct order *o;
    for (size_t i = 0; (o = order_at(i)); i++)
        if (o->run)
            assert_listed(e.detail, o->name);
    assert_listed(e.detail, "set");
    assert_non_null(strstr(e.detail, "SHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]"));
    assert_null(strstr(e.detail, "FDS"));
    answer_free(&q.answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(question_about_keys_is_qualified),
                                       cmocka_unit_test(every_show_is_found_and_complete),
                                       cmocka_unit_test(help_lists_every_command_that_is_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
