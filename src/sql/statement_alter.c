/*
 * Statements about things that exist: DROP, ALTER, RENAME, COMMENT, GRANT, TRUNCATE, LOCK, VACUUM and the
 * like. They act on relations (which decide the shards), on sequences (home), or on what every shard has its
 * own copy of.
 */
#include "statement_private.h"
#include <strings.h>

enum { ACCESS_SHARE_LOCK = 1 }; /* src/include/storage/lockdefs.h */

static void set_kind(struct sql_statement *stmt, enum sql_statement_kind kind, const char *command,
                     bool changes_catalog)
{
    stmt->kind = kind;
    stmt->command = command;
    stmt->changes_catalog = changes_catalog;
}

static bool is_relation_type(PgQuery__ObjectType type)
{
    return type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE || type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW || type == PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_FOREIGN_TABLE;
}

/* Its name is the relation's with one more name behind. */
static bool is_part_of_relation(PgQuery__ObjectType type)
{
    return type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER || type == PG_QUERY__OBJECT_TYPE__OBJECT_POLICY ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_RULE;
}

static void add_named(struct convert *c, struct sql_statement *stmt, const PgQuery__Node *object, bool part)
{
    uint32_t n;
    if (!object || object->node_case != PG_QUERY__NODE__NODE_LIST)
        return;
    const char **names = convert_names(c, object->list->items, object->list->n_items, &n);
    if (part && n > 0)
        n--;
    if (n == 0)
        return;
    struct sql_relation *relation = &stmt->relations[stmt->n_relations++];
    *relation = (struct sql_relation){.name = names[n - 1], .schema = n > 1 ? names[n - 2] : NULL, .at = -1};
    relation->temporary = relation->schema && strcmp(relation->schema, "pg_temp") == 0;
}

/* By the kind of the object: on its relations, on the home shard, or everywhere. */
static void convert_objects(struct convert *c, struct sql_statement *stmt, PgQuery__ObjectType type,
                            PgQuery__Node **objects, size_t n)
{
    stmt->kind = SQL_STMT_EVERYWHERE;
    if (type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE || type == PG_QUERY__OBJECT_TYPE__OBJECT_LARGEOBJECT) {
        stmt->kind = SQL_STMT_HOME;
        return;
    }
    bool part = is_part_of_relation(type);
    if (!part && !is_relation_type(type))
        return;
    stmt->kind = SQL_STMT_TABLES;
    convert_reserve(c, stmt, n);
    for (size_t i = 0; i < n; i++)
        add_named(c, stmt, objects[i], part);
}

static void convert_drop(struct convert *c, const PgQuery__DropStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE,
             s->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE ? "DROP TABLE" : "DROP", true);
    convert_objects(c, stmt, s->remove_type, s->objects, s->n_objects);
    stmt->drops = true;
    stmt->if_exists = s->missing_ok;
    stmt->outside_transaction = s->concurrent;
}

static void convert_relations(struct convert *c, struct sql_statement *stmt, PgQuery__Node **nodes, size_t n)
{
    convert_reserve(c, stmt, n);
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->node_case == PG_QUERY__NODE__NODE_RANGE_VAR)
            convert_add_relation(c, stmt, nodes[i]->range_var);
        else if (nodes[i]->node_case == PG_QUERY__NODE__NODE_VACUUM_RELATION &&
                 nodes[i]->vacuum_relation->relation)
            convert_add_relation(c, stmt, nodes[i]->vacuum_relation->relation);
    }
}

/* --- ALTER TABLE ------------------------------------------------------------------------------ */

static void add_child(struct convert *c, struct sql_statement *stmt, const PgQuery__RangeVar *parent,
                      const PgQuery__RangeVar *child)
{
    stmt->changes_partitions = true;
    stmt->n_relations = 0;
    convert_add_relation(c, stmt, parent);
    convert_add_relation(c, stmt, child);
}

static void convert_command(struct convert *c, const PgQuery__AlterTableStmt *s,
                            const PgQuery__AlterTableCmd *cmd, struct sql_statement *stmt)
{
    const PgQuery__Node *def = cmd->def;
    switch (cmd->subtype) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddColumn:
        if (def && def->node_case == PG_QUERY__NODE__NODE_COLUMN_DEF)
            convert_column_def(c, stmt, def->column_def);
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint:
        if (def && def->node_case == PG_QUERY__NODE__NODE_CONSTRAINT)
            convert_constraint(c, stmt, def->constraint, NULL);
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddIdentity:
        convert_add_generated(stmt, arena_strdup(c->arena, cmd->name));
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault:
        if (convert_calls_nextval(c, def))
            convert_add_generated(stmt, arena_strdup(c->arena, cmd->name));
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropColumn:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType:
        stmt->altered[stmt->n_altered++] = arena_strdup(c->arena, cmd->name);
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AttachPartition:
        if (def && def->node_case == PG_QUERY__NODE__NODE_PARTITION_CMD)
            add_child(c, stmt, s->relation, def->partition_cmd->name);
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddInherit:
        if (def && def->node_case == PG_QUERY__NODE__NODE_RANGE_VAR)
            add_child(c, stmt, def->range_var, s->relation);
        return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DetachPartition:
        if (def && def->node_case == PG_QUERY__NODE__NODE_PARTITION_CMD)
            stmt->outside_transaction |= def->partition_cmd->concurrent;
        return;
    default:
        return;
    }
}

static void convert_alter_table(struct convert *c, const PgQuery__AlterTableStmt *s,
                                struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_TABLES, "ALTER TABLE", true);
    if (s->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE ||
        s->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TYPE) {
        stmt->kind =
            s->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE ? SQL_STMT_HOME : SQL_STMT_EVERYWHERE;
        return;
    }
    convert_reserve(c, stmt, s->n_cmds + 2);
    convert_add_relation(c, stmt, s->relation);
    stmt->if_exists = s->missing_ok;
    for (size_t i = 0; i < s->n_cmds; i++)
        if (s->cmds[i]->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_CMD)
            convert_command(c, s, s->cmds[i]->alter_table_cmd, stmt);
}

static void convert_one(struct convert *c, struct sql_statement *stmt, const PgQuery__RangeVar *rv)
{
    stmt->kind = SQL_STMT_TABLES;
    convert_reserve(c, stmt, 1);
    convert_add_relation(c, stmt, rv);
}

static void convert_rename(struct convert *c, const PgQuery__RenameStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, "ALTER", true);
    stmt->if_exists = s->missing_ok;
    if (s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE)
        stmt->kind = SQL_STMT_HOME;
    if (!s->relation || s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE ||
        s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_ATTRIBUTE)
        return;
    convert_one(c, stmt, s->relation);
    if (s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN) {
        stmt->altered[stmt->n_altered++] = arena_strdup(c->arena, s->subname);
    } else if (s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE ||
               s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW ||
               s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW ||
               s->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_FOREIGN_TABLE) {
        stmt->renamed = arena_zalloc(c->arena, sizeof(*stmt->renamed));
        stmt->renamed->name = arena_strdup(c->arena, s->newname);
        stmt->renamed->schema = stmt->relations[0].schema;
    }
}

static void convert_set_schema(struct convert *c, const PgQuery__AlterObjectSchemaStmt *s,
                               struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, "ALTER", true);
    stmt->if_exists = s->missing_ok;
    if (s->object_type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE)
        stmt->kind = SQL_STMT_HOME;
    if (!s->relation || stmt->kind == SQL_STMT_HOME)
        return;
    convert_one(c, stmt, s->relation);
    stmt->renamed = arena_zalloc(c->arena, sizeof(*stmt->renamed));
    stmt->renamed->name = stmt->relations[0].name;
    stmt->renamed->schema = arena_strdup(c->arena, s->newschema);
}

static void convert_alter_object(struct convert *c, struct sql_statement *stmt, PgQuery__ObjectType type,
                                 const PgQuery__RangeVar *relation)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, "ALTER", true);
    if (type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE)
        stmt->kind = SQL_STMT_HOME;
    else if (relation)
        convert_one(c, stmt, relation);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void convert_grant(struct convert *c, const PgQuery__GrantStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, s->is_grant ? "GRANT" : "REVOKE", false);
    if (s->targtype != PG_QUERY__GRANT_TARGET_TYPE__ACL_TARGET_OBJECT)
        return;
    if (s->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE ||
        s->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_LARGEOBJECT) {
        stmt->kind = SQL_STMT_HOME;
    } else if (s->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        stmt->kind = SQL_STMT_TABLES;
        convert_relations(c, stmt, s->objects, s->n_objects);
    }
}

static void convert_vacuum(struct convert *c, const PgQuery__VacuumStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, s->n_rels ? SQL_STMT_TABLES : SQL_STMT_EVERYWHERE, s->is_vacuumcmd ? "VACUUM" : "ANALYZE",
             false);
    stmt->outside_transaction = s->is_vacuumcmd;
    stmt->of_a_part = true;
    convert_relations(c, stmt, s->rels, s->n_rels);
}

static bool has_option(PgQuery__Node **nodes, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (nodes[i]->node_case == PG_QUERY__NODE__NODE_DEF_ELEM &&
            strcasecmp(nodes[i]->def_elem->defname, name) == 0)
            return true;
    return false;
}

static void convert_reindex(struct convert *c, const PgQuery__ReindexStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, "REINDEX", false);
    stmt->of_a_part = true;
    stmt->outside_transaction = !s->relation || has_option(s->params, s->n_params, "concurrently");
    if (s->relation)
        convert_one(c, stmt, s->relation);
}

static void convert_cluster(struct convert *c, const PgQuery__ClusterStmt *s, struct sql_statement *stmt)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, "CLUSTER", false);
    stmt->of_a_part = true;
    stmt->outside_transaction = !s->relation;
    if (s->relation)
        convert_one(c, stmt, s->relation);
}

static void convert_comment(struct convert *c, struct sql_statement *stmt, PgQuery__ObjectType type,
                            PgQuery__Node *object, const char *command)
{
    set_kind(stmt, SQL_STMT_EVERYWHERE, command, false);
    convert_objects(c, stmt, type, &object, object ? 1 : 0);
}

/* Objects that every shard has its own copy of. */
static const struct {
    PgQuery__Node__NodeCase node;
    const char *command;
    bool outside;
} everywhere[] = {
    {PG_QUERY__NODE__NODE_ALTER_DOMAIN_STMT, "ALTER DOMAIN", false},
    {PG_QUERY__NODE__NODE_GRANT_ROLE_STMT, "GRANT ROLE", false},
    {PG_QUERY__NODE__NODE_ALTER_DEFAULT_PRIVILEGES_STMT, "ALTER DEFAULT PRIVILEGES", false},
    {PG_QUERY__NODE__NODE_ALTER_FUNCTION_STMT, "ALTER FUNCTION", false},
    {PG_QUERY__NODE__NODE_DROPDB_STMT, "DROP DATABASE", true},
    {PG_QUERY__NODE__NODE_ALTER_ROLE_STMT, "ALTER ROLE", false},
    {PG_QUERY__NODE__NODE_ALTER_ROLE_SET_STMT, "ALTER ROLE", false},
    {PG_QUERY__NODE__NODE_DROP_ROLE_STMT, "DROP ROLE", false},
    {PG_QUERY__NODE__NODE_CHECK_POINT_STMT, "CHECKPOINT", true},
    {PG_QUERY__NODE__NODE_ALTER_DATABASE_STMT, "ALTER DATABASE", true},
    {PG_QUERY__NODE__NODE_ALTER_DATABASE_REFRESH_COLL_STMT, "ALTER DATABASE", false},
    {PG_QUERY__NODE__NODE_ALTER_DATABASE_SET_STMT, "ALTER DATABASE", false},
    {PG_QUERY__NODE__NODE_ALTER_OP_FAMILY_STMT, "ALTER OPERATOR FAMILY", false},
    {PG_QUERY__NODE__NODE_DROP_TABLE_SPACE_STMT, "DROP TABLESPACE", true},
    {PG_QUERY__NODE__NODE_ALTER_OPERATOR_STMT, "ALTER OPERATOR", false},
    {PG_QUERY__NODE__NODE_ALTER_TYPE_STMT, "ALTER TYPE", false},
    {PG_QUERY__NODE__NODE_DROP_OWNED_STMT, "DROP OWNED", false},
    {PG_QUERY__NODE__NODE_REASSIGN_OWNED_STMT, "REASSIGN OWNED", false},
    {PG_QUERY__NODE__NODE_ALTER_ENUM_STMT, "ALTER TYPE", false},
    {PG_QUERY__NODE__NODE_ALTER_TSDICTIONARY_STMT, "ALTER TEXT SEARCH DICTIONARY", false},
    {PG_QUERY__NODE__NODE_ALTER_TSCONFIGURATION_STMT, "ALTER TEXT SEARCH CONFIGURATION", false},
    {PG_QUERY__NODE__NODE_ALTER_FDW_STMT, "ALTER FOREIGN DATA WRAPPER", false},
    {PG_QUERY__NODE__NODE_ALTER_FOREIGN_SERVER_STMT, "ALTER SERVER", false},
    {PG_QUERY__NODE__NODE_ALTER_USER_MAPPING_STMT, "ALTER USER MAPPING", false},
    {PG_QUERY__NODE__NODE_DROP_USER_MAPPING_STMT, "DROP USER MAPPING", false},
    {PG_QUERY__NODE__NODE_ALTER_TABLE_SPACE_OPTIONS_STMT, "ALTER TABLESPACE", false},
    {PG_QUERY__NODE__NODE_ALTER_TABLE_MOVE_ALL_STMT, "ALTER TABLE", false},
    {PG_QUERY__NODE__NODE_ALTER_EXTENSION_STMT, "ALTER EXTENSION", false},
    {PG_QUERY__NODE__NODE_ALTER_EXTENSION_CONTENTS_STMT, "ALTER EXTENSION", false},
    {PG_QUERY__NODE__NODE_ALTER_EVENT_TRIG_STMT, "ALTER EVENT TRIGGER", false},
    {PG_QUERY__NODE__NODE_ALTER_SYSTEM_STMT, "ALTER SYSTEM", true},
    {PG_QUERY__NODE__NODE_ALTER_PUBLICATION_STMT, "ALTER PUBLICATION", false},
    {PG_QUERY__NODE__NODE_ALTER_SUBSCRIPTION_STMT, "ALTER SUBSCRIPTION", true},
    {PG_QUERY__NODE__NODE_DROP_SUBSCRIPTION_STMT, "DROP SUBSCRIPTION", true},
    {PG_QUERY__NODE__NODE_ALTER_COLLATION_STMT, "ALTER COLLATION", false},
    {PG_QUERY__NODE__NODE_ALTER_STATS_STMT, "ALTER STATISTICS", false},
};

static void convert_defaults(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    bool database = node->node_case == PG_QUERY__NODE__NODE_ALTER_DATABASE_SET_STMT;
    const PgQuery__RoleSpec *role =
        node->node_case == PG_QUERY__NODE__NODE_ALTER_ROLE_SET_STMT ? node->alter_role_set_stmt->role : NULL;
    stmt->changes_defaults = database || node->node_case == PG_QUERY__NODE__NODE_ALTER_ROLE_SET_STMT;
    if (!role) /* ALTER ROLE ALL, ALTER DATABASE */
        return;
    if (role->roletype == PG_QUERY__ROLE_SPEC_TYPE__ROLESPEC_CSTRING) {
        stmt->defaults_of = SQL_ROLE_NAMED;
        stmt->defaults_role = arena_strdup(c->arena, role->rolename);
    } else {
        stmt->defaults_of = role->roletype == PG_QUERY__ROLE_SPEC_TYPE__ROLESPEC_SESSION_USER
                                ? SQL_ROLE_SESSION
                                : SQL_ROLE_CURRENT;
    }
}

static bool convert_everywhere(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    for (size_t i = 0; i < sizeof(everywhere) / sizeof(everywhere[0]); i++)
        if (everywhere[i].node == node->node_case) {
            set_kind(stmt, SQL_STMT_EVERYWHERE, everywhere[i].command, true);
            stmt->outside_transaction = everywhere[i].outside;
            convert_defaults(c, node, stmt);
            return true;
        }
    return false;
}

bool convert_alter(struct convert *c, const PgQuery__Node *node, struct sql_statement *stmt)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_DROP_STMT:
        convert_drop(c, node->drop_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
        set_kind(stmt, SQL_STMT_TABLES, "TRUNCATE TABLE", false);
        convert_relations(c, stmt, node->truncate_stmt->relations, node->truncate_stmt->n_relations);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        convert_alter_table(c, node->alter_table_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        convert_rename(c, node->rename_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_OBJECT_SCHEMA_STMT:
        convert_set_schema(c, node->alter_object_schema_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_OWNER_STMT:
        convert_alter_object(c, stmt, node->alter_owner_stmt->object_type, node->alter_owner_stmt->relation);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_OBJECT_DEPENDS_STMT:
        convert_alter_object(c, stmt, node->alter_object_depends_stmt->object_type,
                             node->alter_object_depends_stmt->relation);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_SEQ_STMT:
        set_kind(stmt, SQL_STMT_HOME, "ALTER SEQUENCE", true);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_POLICY_STMT:
        set_kind(stmt, SQL_STMT_TABLES, "ALTER POLICY", true);
        convert_one(c, stmt, node->alter_policy_stmt->table);
        return true;
    case PG_QUERY__NODE__NODE_COMMENT_STMT:
        convert_comment(c, stmt, node->comment_stmt->objtype, node->comment_stmt->object, "COMMENT");
        return true;
    case PG_QUERY__NODE__NODE_SEC_LABEL_STMT:
        convert_comment(c, stmt, node->sec_label_stmt->objtype, node->sec_label_stmt->object,
                        "SECURITY LABEL");
        return true;
    case PG_QUERY__NODE__NODE_GRANT_STMT:
        convert_grant(c, node->grant_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_LOCK_STMT:
        set_kind(stmt, SQL_STMT_TABLES, "LOCK TABLE", false);
        stmt->of_a_part =
            node->lock_stmt->mode == ACCESS_SHARE_LOCK; /* others keep rows of all shards still */
        convert_relations(c, stmt, node->lock_stmt->relations, node->lock_stmt->n_relations);
        return true;
    case PG_QUERY__NODE__NODE_VACUUM_STMT:
        convert_vacuum(c, node->vacuum_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_REINDEX_STMT:
        convert_reindex(c, node->reindex_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_CLUSTER_STMT:
        convert_cluster(c, node->cluster_stmt, stmt);
        return true;
    case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
        set_kind(stmt, SQL_STMT_TABLES, "REFRESH MATERIALIZED VIEW", false);
        convert_one(c, stmt, node->refresh_mat_view_stmt->relation);
        return true;
    default:
        return convert_everywhere(c, node, stmt);
    }
}
