/*
 * What the session layer and the commit ask a client's server looks everything up in pg_catalog.
 */
#include "../../../src/session/session.h"
#include "txn/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../backend/qualified.h"

static void questions_about_state_are_qualified(void **state)
{
    (void)state;
    size_t n = 0;
    for (const char *sql; (sql = state_question(n)); n++)
        assert_qualified(sql);
    assert_true(n >= 6); /* a kind of state each: EFFECTS_ASKED */
}

static void question_about_a_custom_variable_is_qualified(void **state)
{
    (void)state;
    struct buf sql;
    buf_init(&sql);
    buf_str(&sql, "SELECT NULL, NULL, NULL");
    state_custom_question(&sql, "my.x");
    buf_u8(&sql, 0);
    assert_qualified((const char *)buf_head(&sql));
    buf_free(&sql);
}

static void variables_are_set_by_qualified_text(void **state)
{
    (void)state;
    struct buf sql;
    buf_init(&sql);
    varset_set_sql(&sql, "search_path", "a, b", false);
    buf_u8(&sql, ';');
    varset_set_sql(&sql, "search_path", "not \"a list", false); /* by set_config() */
    buf_u8(&sql, 0);
    assert_non_null(strstr((const char *)buf_head(&sql), "set_config"));
    assert_qualified((const char *)buf_head(&sql));
    buf_free(&sql);
}

static void decision_is_written_by_qualified_text(void **state)
{
    (void)state;
    assert_qualified(decision_insert_sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_about_state_are_qualified),
        cmocka_unit_test(question_about_a_custom_variable_is_qualified),
        cmocka_unit_test(variables_are_set_by_qualified_text),
        cmocka_unit_test(decision_is_written_by_qualified_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
