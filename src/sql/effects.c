/*
 * PostgreSQL's own functions that leave something in their session (13 to 18), or run text that is not seen here.
 * test/integration/test_session_state.py holds the table against pg_proc: whatever a server has and is not known to be
 * harmless must be here.
 */
#include "sql/effects.h"

#include <stdlib.h>
#include <string.h>

static const struct builtin_effect {
    const char *name;
    uint16_t effects;
} builtins[] = {
    /* in byte order */
    {"currval", EFFECT_SEQUENCE_READ},
    {"cursor_to_xml", EFFECTS_UNSEEN},
    {"cursor_to_xmlschema", EFFECTS_UNSEEN},
    {"database_to_xml", EFFECTS_UNSEEN},
    {"database_to_xml_and_xmlschema", EFFECTS_UNSEEN},
    {"lastval", EFFECT_SEQUENCE_READ},
    {"nextval", EFFECT_SEQUENCE},
    {"pg_advisory_lock", EFFECT_LOCK},
    {"pg_advisory_lock_shared", EFFECT_LOCK},
    {"pg_advisory_unlock", EFFECT_LOCK},
    {"pg_advisory_unlock_all", EFFECT_LOCK},
    {"pg_advisory_unlock_shared", EFFECT_LOCK},
    {"pg_backup_start", EFFECT_HIDDEN | EFFECT_KEPT},
    {"pg_copy_logical_replication_slot", EFFECT_HIDDEN | EFFECT_KEPT}, /* it may be a temporary one */
    {"pg_copy_physical_replication_slot", EFFECT_HIDDEN | EFFECT_KEPT},
    {"pg_create_logical_replication_slot", EFFECT_HIDDEN | EFFECT_KEPT},
    {"pg_create_physical_replication_slot", EFFECT_HIDDEN | EFFECT_KEPT},
    {"pg_reload_conf", EFFECT_DEFAULTS},
    {"pg_replication_origin_session_setup", EFFECT_HIDDEN | EFFECT_KEPT},
    {"pg_start_backup", EFFECT_HIDDEN | EFFECT_KEPT},
    {"pg_try_advisory_lock", EFFECT_LOCK},
    {"pg_try_advisory_lock_shared", EFFECT_LOCK},
    {"query_to_xml", EFFECTS_UNSEEN},
    {"query_to_xml_and_xmlschema", EFFECTS_UNSEEN},
    {"query_to_xmlschema", EFFECTS_UNSEEN},
    {"schema_to_xml", EFFECTS_UNSEEN},
    {"schema_to_xml_and_xmlschema", EFFECTS_UNSEEN},
    {"set_config", EFFECT_VARIABLE},
    {"setseed", EFFECT_HIDDEN | EFFECT_KEPT},
    {"setval", EFFECT_SEQUENCE},
    {"table_to_xml", EFFECTS_UNSEEN},
    {"table_to_xml_and_xmlschema", EFFECTS_UNSEEN},
    {"ts_rewrite", EFFECTS_UNSEEN},
    {"ts_stat", EFFECTS_UNSEEN},
};

static int compare(const void *key, const void *element)
{
    return strcmp(key, ((const struct builtin_effect *)element)->name);
}

uint16_t effects_of_builtin(const char *name)
{
    const struct builtin_effect *b =
        bsearch(name, builtins, sizeof builtins / sizeof builtins[0], sizeof builtins[0], compare);
    return b ? b->effects : 0;
}

/* The class "r" of route/builtin_functions.sql; and methods of TABLESAMPLE, whose names are words of the grammar. */
static const char *const quiet[] = {
    "random",
    "clock_timestamp",
    "timeofday",
    "gen_random_uuid",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "currval",
    "lastval",
    "pg_is_in_recovery",
    "pg_database_size",
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
    "pg_tablespace_size",
    "pg_blocking_pids",
    "pg_lock_status",
    "pg_column_size",
    "bernoulli",
    "system",
};

const char *effects_quiet(size_t i)
{
    return i < sizeof quiet / sizeof quiet[0] ? quiet[i] : NULL;
}

const char *effects_builtin(size_t i, uint16_t *effects_r)
{
    if (i >= sizeof builtins / sizeof builtins[0])
        return NULL;
    *effects_r = builtins[i].effects;
    return builtins[i].name;
}
