/* DDL. */
#include "router_private.h"

void plan_ddl(struct router *r, const struct sql_statement *stmt)
{
    plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Run it on the shards directly.", "%s is not supported",
                stmt->command);
}

void plan_create_as(struct router *r, const struct sql_statement *stmt)
{
    plan_ddl(r, stmt);
}
