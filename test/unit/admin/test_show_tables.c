/* SHOW TABLES asks its home shards by a text that looks everything up in pg_catalog. */
#include "../../../src/admin/job.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../backend/qualified.h"

static void question_about_keys_is_qualified(void **state)
{
    (void)state;
    struct table_map tables[] = {{.name = "orders", .column = "id"},
                                 {.schema = "app", .name = "it's", .column = "key"}};
    struct database_def db = {.tables = tables, .n_tables = 2};
    struct buf sql;
    buf_init(&sql);
    assert_true(admin_tables_sql(&db, &sql));
    assert_qualified((const char *)buf_head(&sql));
    buf_free(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(question_about_keys_is_qualified)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
