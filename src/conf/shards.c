/*
 * [shard NAME]: where one PostgreSQL database is and how to log in to it.
 *
 * Two shards must not be the same database: its rows would be counted twice. That is checked by what is
 * written (host, port, dbname); other names of one server are found out when it is connected to.
 */
#include "entries.h"
#include "topology_build.h"
#include "value.h"
#include <errno.h>
#include <limits.h>
#include <unistd.h>

static const struct choice target_choices[] = {
    {"any", 0, false},     {"read-write", 0, false},     {"read-only", 0, false}, {"primary", 0, false},
    {"standby", 0, false}, {"prefer-standby", 0, false}, {NULL, 0, false},
};

#define AT(field_) .offset = offsetof(struct shard_def, field_)
static const struct setting keys[] = {
    {.info.name = "host", .kind = SETTING_TEXT, AT(host)},
    {.info.name = "port", .kind = SETTING_TEXT, AT(port)},
    {.info.name = "dbname", .kind = SETTING_TEXT, AT(dbname)},
    {.info.name = "user", .kind = SETTING_TEXT, AT(user)},
    {.info.name = "password", .kind = SETTING_TEXT, AT(password)},
    {.info.name = "admin_user", .kind = SETTING_TEXT, AT(admin_user)},
    {.info.name = "admin_password", .kind = SETTING_TEXT, AT(admin_password)},
    {.info.name = "sslmode", .kind = SETTING_WORD, AT(sslmode), .choices = sslmode_choices},
    {.info.name = "sslrootcert", .kind = SETTING_PATH, AT(sslrootcert)},
    {.info.name = "sslcert", .kind = SETTING_PATH, AT(sslcert)},
    {.info.name = "sslkey", .kind = SETTING_PATH, AT(sslkey)},
    {.info.name = "target_session_attrs",
     .kind = SETTING_WORD,
     AT(target_session_attrs),
     .choices = target_choices},
    {.info.name = "connect_timeout", .kind = SETTING_SECONDS, AT(connect_timeout_s), .min = 0, .max = 3600},
    {.info.name = "pool_size", .kind = SETTING_INT, AT(pool_size), .min = 1, .max = 100000},
};
#define N_KEYS (sizeof keys / sizeof *keys)

static size_t list_length(const char *list)
{
    size_t n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

/* One port, or as many as there are hosts (libpq, "Connection Strings"). */
static void check_ports(const struct load *l, const struct shard_def *shard, int line)
{
    size_t hosts = list_length(shard->host), ports = list_length(shard->port);
    if (ports != 1 && ports != hosts)
        load_error(l, line, "shard \"%s\" has %zu hosts but %zu ports; give one port, or one for each host",
                   shard->name, hosts, ports);
    for (const char *p = shard->port; *p;) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t");
        if (!len)
            break;
        const char *text = arena_strndup(l->arena, p, len);
        int64_t port;
        if (!value_int(text, &port) || port < 1 || port > 65535)
            load_error(l, line,
                       "shard \"%s\": port cannot be \"%s\"; allowed is a whole number from 1 to 65535",
                       shard->name, text);
        p += len;
    }
}

static void check_file(const struct load *l, const char *path, const char *name, int line)
{
    if (path && access(path, R_OK) != 0)
        load_error(l, line, "%s \"%s\" cannot be read: %s", name, path, strerror(errno));
}

static void shard_load(const struct load *l, const struct section_ref *ref, struct shard_def *shard)
{
    int lines[N_KEYS] = {0};
    entries_load(l, ref->section, keys, N_KEYS, NULL, shard, lines);
    int line = ref->section->line;
    for (size_t i = 0; i < N_KEYS; i++) { /* what is empty is not set */
        const char **text = (const char **)(void *)((char *)shard + keys[i].offset);
        if ((keys[i].kind == SETTING_TEXT || keys[i].kind == SETTING_PATH) && *text && !**text)
            *text = NULL;
    }
    if (!shard->host)
        load_error(l, line, "shard \"%s\" has no host", shard->name);
    if (!shard->port)
        shard->port = "5432";
    if (shard->host)
        check_ports(l, shard, lines[1] ? lines[1] : line);
    if (shard->password && !shard->user)
        load_error(l, lines[4], "shard \"%s\" has a password but no user", shard->name);
    if (shard->admin_password && !shard->admin_user)
        load_error(l, lines[6], "shard \"%s\" has an admin_password but no admin_user", shard->name);
    check_file(l, shard->sslrootcert, "sslrootcert", lines[8]);
    check_file(l, shard->sslcert, "sslcert", lines[9]);
    check_file(l, shard->sslkey, "sslkey", lines[10]);
}

void shards_load(struct topology_build *b)
{
    struct topology *t = b->t;
    t->shards = arena_zalloc(b->l->arena, (b->n_refs + 1) * sizeof *t->shards);
    b->shard_lines = arena_zalloc(b->l->arena, (b->n_refs + 1) * sizeof *b->shard_lines);
    b->shard_used = arena_zalloc(b->l->arena, (b->n_refs + 1) * sizeof *b->shard_used);
    for (size_t i = 0; i < b->n_refs; i++) {
        const struct section_ref *ref = &b->refs[i];
        if (ref->kind != SECTION_SHARD)
            continue;
        struct shard_def *shard = &t->shards[t->n_shards];
        shard->name = ref->name;
        shard->id = (unsigned)t->n_shards;
        b->shard_lines[t->n_shards++] = ref->section->line;
        shard_load(b->l, ref, shard);
    }
}

/* The name of the database that uses it, if that is one. */
static void default_dbname(struct topology_build *b, struct shard_def *shard, int line)
{
    for (size_t i = 0; i < b->t->n_databases; i++) {
        const struct database_def *db = &b->t->databases[i];
        for (unsigned j = 0; j < db->n_shards; j++) {
            if (db->shards[j] != shard)
                continue;
            if (shard->dbname) {
                load_error(b->l, line, "shard \"%s\" needs a dbname: databases \"%s\" and \"%s\" both use it",
                           shard->name, shard->dbname, db->name);
                return;
            }
            shard->dbname = db->name;
        }
    }
}

void shards_check(struct topology_build *b)
{
    struct hashmap places;
    hashmap_init(&places);
    for (size_t i = 0; i < b->t->n_shards; i++) {
        struct shard_def *shard = &b->t->shards[i];
        if (!b->shard_used[i])
            load_note(b->l, b->shard_lines[i], "shard \"%s\" is used by no database", shard->name);
        if (!shard->dbname)
            default_dbname(b, shard, b->shard_lines[i]);
        if (!shard->host || !shard->dbname)
            continue;
        struct slice place =
            slice_str(arena_printf(b->l->arena, "%s\n%s\n%s", shard->host, shard->port, shard->dbname));
        const struct shard_def *other = hashmap_put(&places, place, shard);
        if (other)
            load_error(
                b->l, b->shard_lines[i],
                "shards \"%s\" (line %d) and \"%s\" are the same database: host %s, port %s, dbname %s",
                other->name, b->shard_lines[other->id], shard->name, shard->host, shard->port, shard->dbname);
    }
    hashmap_free(&places, NULL);
}
