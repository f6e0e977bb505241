/* model/relation.h */
#include "model/relation.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void a_column_is_found_by_its_whole_name(void **state)
{
    (void)state;
    struct relation_column columns[] = {{.name = "id"}, {.name = "i"}, {.name = "ID"}};
    const struct relation r = {.columns = columns, .n_columns = 3};
    uint32_t at = 7;
    assert_ptr_equal(relation_column(&r, "i", &at), &columns[1]);
    assert_int_equal(at, 1);
    assert_ptr_equal(relation_column(&r, "ID", NULL), &columns[2]);
    assert_null(relation_column(&r, "Id", &at));
    assert_int_equal(at, 1); /* as it was */
}

static void nothing_has_no_columns(void **state)
{
    (void)state;
    const struct relation empty = {.name = "t"};
    assert_null(relation_column(&empty, "id", NULL));
    assert_null(relation_column(NULL, "id", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_is_found_by_its_whole_name),
        cmocka_unit_test(nothing_has_no_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
