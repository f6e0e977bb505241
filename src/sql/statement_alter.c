#include "statement_private.h"

bool convert_alter(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    (void)c;
    (void)node;
    (void)stmt;
    return false;
}
