/*
 * From shard_def and settings to libpq's connection parameters. An empty text is a parameter that is not
 * given.
 */
#include "conninfo.h"

#include <assert.h>
#include <string.h>

static void add(struct conninfo *c, const char *keyword, const char *value)
{
    if (!value || !*value)
        return;
    assert(c->n < CONNINFO_MAX);
    c->keywords[c->n] = keyword;
    c->values[c->n++] = value;
    c->keywords[c->n] = c->values[c->n] = NULL;
}

static void add_copy(struct conninfo *c, struct arena *arena, const char *keyword, const char *value)
{
    if (value && *value)
        add(c, keyword, arena_strdup(arena, value));
}

static void add_number(struct conninfo *c, struct arena *arena, const char *keyword, int value)
{
    if (value > 0)
        add(c, keyword, arena_printf(arena, "%d", value));
}

static const char *first_of(const char *a, const char *b)
{
    return a && *a ? a : b;
}

/* Where libpq is not given a file it looks into the home folder of whoever started us: ~/.pgpass, ~/.postgresql/ with
 * certificates and root.crt, which changes what sslmode means. A path that cannot exist keeps it from that. */
static void add_file(struct conninfo *c, struct arena *arena, const char *keyword, const char *path)
{
    add_copy(c, arena, keyword, first_of(path, "/dev/null/not-configured"));
}

static const char *sslmode_name(enum client_tls_mode mode)
{
    switch (mode) {
    case TLS_DISABLE:
        return "disable";
    case TLS_ALLOW:
        return "allow";
    case TLS_PREFER:
        return "prefer";
    case TLS_REQUIRE:
        return "require";
    case TLS_VERIFY_CA:
        return "verify-ca";
    case TLS_VERIFY_FULL:
        return "verify-full";
    }
    return "prefer";
}

/* server_tls_protocols is a set, libpq takes a range: from the lowest to the highest of the set. */
static void add_tls_protocols(struct conninfo *c, const char *protocols)
{
    static const struct {
        const char *name, *libpq;
    } versions[] = {
        {"tlsv1.0", "TLSv1"}, {"tlsv1.1", "TLSv1.1"}, {"tlsv1.2", "TLSv1.2"}, {"tlsv1.3", "TLSv1.3"}};
    const char *lowest = NULL, *highest = NULL;
    if (!protocols || !*protocols || strcmp(protocols, "secure") == 0)
        return; /* libpq's own range begins at TLSv1.2 */
    if (strcmp(protocols, "all") == 0 || strcmp(protocols, "legacy") == 0) {
        add(c, "ssl_min_protocol_version", "TLSv1");
        return;
    }
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (!strstr(protocols, versions[i].name))
            continue;
        lowest = lowest ? lowest : versions[i].libpq;
        highest = versions[i].libpq;
    }
    add(c, "ssl_min_protocol_version", lowest);
    add(c, "ssl_max_protocol_version", highest);
}

void conninfo_build(struct conninfo *c, struct arena *arena, const struct dial_params *params)
{
    const struct shard_def *shard = params->shard;
    const struct settings *settings = params->settings;
    *c = (struct conninfo){0};
    add_copy(c, arena, "dbname", shard->dbname);
    add_copy(c, arena, "user", params->user);
    add_copy(c, arena, "password", params->password);
    add_copy(c, arena, "application_name", first_of(params->application_name, "pgunison"));
    add_copy(c, arena, "sslmode", first_of(shard->sslmode, sslmode_name(settings->server_tls_sslmode)));
    add_file(c, arena, "sslrootcert", first_of(shard->sslrootcert, settings->server_tls_ca_file));
    add_file(c, arena, "sslcert", first_of(shard->sslcert, settings->server_tls_cert_file));
    add_file(c, arena, "sslkey", first_of(shard->sslkey, settings->server_tls_key_file));
    add_file(c, arena, "sslcrl", NULL);
    add_file(c, arena, "passfile", NULL);
    add_tls_protocols(c, settings->server_tls_protocols);
    add(c, "gssencmode", "disable"); /* its framing could not be taken over */
    add(c, "keepalives", settings->tcp_keepalive ? "1" : "0");
    if (settings->tcp_keepalive) {
        add_number(c, arena, "keepalives_idle", settings->tcp_keepidle);
        add_number(c, arena, "keepalives_interval", settings->tcp_keepintvl);
        add_number(c, arena, "keepalives_count", settings->tcp_keepcnt);
    }
    add_number(c, arena, "tcp_user_timeout", settings->tcp_user_timeout);
}

void conninfo_with_target(struct conninfo *c, const struct conninfo *base, const struct target *target,
                          const char *attrs)
{
    *c = *base;
    add(c, "host", target->host);
    add(c, "hostaddr", target->hostaddr);
    add(c, "port", target->port);
    add(c, "target_session_attrs", attrs);
}

bool conninfo_verifies_name(const struct conninfo *c)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->keywords[i], "sslmode") == 0)
            return strcmp(c->values[i], "verify-full") == 0;
    return false;
}
