/*
 * Reading [pgunison] into struct settings: values by the table in settings.c, then what no single value
 * shows.
 *
 * Not responsible for: whether an address can be bound or a certificate is any good; that is found at the
 * start.
 */
#include "entries.h"
#include "names.h"
#include "value.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

/* Names PgBouncer has and pgunison does not, and what to do instead. */
static const char *const not_here[][2] = {
    {"auth_hba_file", "auth_type holds for every client"},
    {"autodb_idle_timeout", "there are no automatic databases"},
    {"client_tls_dheparams", "OpenSSL chooses them"},
    {"client_tls_ecdhcurve", "OpenSSL chooses it"},
    {"conffile", "the file named on the command line is read again"},
    {"disable_pqexec", "several statements in one message are one transaction"},
    {"dns_nxdomain_ttl", "only dns_max_ttl is used"},
    {"dns_zone_check_period", "only dns_max_ttl is used"},
    {"job_name", "see syslog_ident and cluster"},
    {"max_packet_size", "see max_message_bytes"},
    {"pkt_buf", "buffers grow as needed"},
    {"resolv_conf", "the system's resolver is used"},
    {"sbuf_loopcnt", "one loop turn is bounded by itself"},
    {"service_name", "see syslog_ident and cluster"},
    {"so_reuseport", "see workers"},
    {"suspend_timeout", "SUSPEND waits for its console"},
    {"tcp_socket_buffer", "the system's buffer sizes are used"},
    {"unix_socket_group", "see unix_socket_mode"},
    {"user", "start with -u USER"},
};

static const struct setting *find_row(const char *name)
{
    for (size_t i = 0; i < settings_count(); i++)
        if (strcmp(setting_row(i)->info.name, name) == 0)
            return setting_row(i);
    return NULL;
}

static bool known_elsewhere(const struct load *l, const struct ini_entry *e)
{
    for (size_t i = 0; i < sizeof not_here / sizeof *not_here; i++) {
        if (strcmp(not_here[i][0], e->name) == 0) {
            load_error(l, e->line, "PgBouncer's setting \"%s\" does not exist here: %s", e->name,
                       not_here[i][1]);
            return true;
        }
    }
    return false;
}

/* Names what was set although nothing heeds it yet. */
static void note_not_yet(const struct load *l, const struct settings *s, size_t i, int line)
{
    const struct setting *row = setting_row(i);
    if (row->kind == SETTING_CHOICE) {
        int value = *(const int *)(const void *)((const char *)s + row->offset);
        for (const struct choice *c = row->choices; c->name; c++)
            if (c->value == value && c->not_yet)
                load_note(l, line, "setting \"%s\" is \"%s\", which is accepted but not served yet",
                          row->info.name, c->name);
    }
    if (!row->info.not_yet)
        return;
    struct buf value;
    buf_init(&value);
    settings_value(s, i, &value);
    if (!slice_eq_str(buf_slice(&value), row->info.default_value))
        load_note(l, line, "setting \"%s\" has no effect yet", row->info.name);
    buf_free(&value);
}

struct check {
    const struct load *l;
    const struct settings *s;
    const int *lines; /* where each setting was set; 0: nowhere */
};

static int line_of(const struct check *c, const char *name)
{
    return c->lines[find_row(name) - setting_row(0)];
}

static void check_readable(const struct check *c, const char *name, const char *path)
{
    if (path[0] && access(path, R_OK) != 0)
        load_error(c->l, line_of(c, name), "%s \"%s\" cannot be read: %s", name, path, strerror(errno));
}

static void check_protocols(const struct check *c, const char *name, const char *value)
{
    static const char *const known[] = {"secure", "all", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"};
    for (const char *p = value; *p;) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t"), i = 0;
        while (len && i < 6 && !(strlen(known[i]) == len && strncasecmp(p, known[i], len) == 0))
            i++;
        if (len && i == 6)
            load_error(c->l, line_of(c, name),
                       "setting \"%s\" cannot contain \"%.*s\"; allowed is secure, all, or a list "
                       "of tlsv1.0, tlsv1.1, tlsv1.2 and tlsv1.3",
                       name, (int)len, p);
        p += len;
    }
}

static void check_tls(const struct check *c)
{
    const struct settings *s = c->s;
    bool client = s->client_tls_sslmode != TLS_DISABLE;
    if (client && (!s->client_tls_cert_file[0] || !s->client_tls_key_file[0]))
        load_error(
            c->l, line_of(c, "client_tls_sslmode"),
            "client_tls_sslmode other than disable needs client_tls_cert_file and client_tls_key_file");
    if (s->client_tls_sslmode >= TLS_VERIFY_CA && !s->client_tls_ca_file[0])
        load_error(c->l, line_of(c, "client_tls_sslmode"),
                   "client_tls_sslmode verify-ca and verify-full need client_tls_ca_file");
    if (s->auth_type == AUTH_CERT && s->client_tls_sslmode != TLS_VERIFY_FULL)
        load_error(c->l, line_of(c, "auth_type"), "auth_type cert needs client_tls_sslmode = verify-full");
    if (s->server_tls_sslmode >= TLS_VERIFY_CA && !s->server_tls_ca_file[0])
        load_error(c->l, line_of(c, "server_tls_sslmode"),
                   "server_tls_sslmode verify-ca and verify-full need server_tls_ca_file");
    if (!s->server_tls_cert_file[0] != !s->server_tls_key_file[0])
        load_error(c->l,
                   line_of(c, s->server_tls_cert_file[0] ? "server_tls_cert_file" : "server_tls_key_file"),
                   "server_tls_cert_file and server_tls_key_file are needed together");
    if (client) {
        check_readable(c, "client_tls_cert_file", s->client_tls_cert_file);
        check_readable(c, "client_tls_key_file", s->client_tls_key_file);
        check_readable(c, "client_tls_ca_file", s->client_tls_ca_file);
    }
    check_readable(c, "server_tls_cert_file", s->server_tls_cert_file);
    check_readable(c, "server_tls_key_file", s->server_tls_key_file);
    check_readable(c, "server_tls_ca_file", s->server_tls_ca_file);
    check_protocols(c, "client_tls_protocols", s->client_tls_protocols);
    check_protocols(c, "server_tls_protocols", s->server_tls_protocols);
}

/* Below that, what is there without any client would be above the limit; or one statement would be. */
#define MEMORY_LIMIT_LEAST        ((uint64_t)16 << 20)
#define CLIENT_MEMORY_LIMIT_LEAST ((uint64_t)1 << 20)

static void check_limit(const struct check *c, const char *name, uint64_t bytes, uint64_t least)
{
    if (bytes != 0 && bytes < least)
        load_error(c->l, line_of(c, name),
                   "setting \"%s\" cannot be less than %" PRIu64 "MB; or 0, the default", name, least >> 20);
}

static void check_texts(const struct check *c)
{
    static const char *const facilities[] = {"auth",   "authpriv", "daemon", "user",   "local0", "local1",
                                             "local2", "local3",   "local4", "local5", "local6", "local7"};
    const struct settings *s = c->s;
    char text[160];
    if (name_problem(s->cluster, text, sizeof text))
        load_error(c->l, line_of(c, "cluster"), "setting \"cluster\" cannot be \"%s\"; %s", s->cluster, text);
    size_t i = 0, n = sizeof facilities / sizeof *facilities;
    while (i < n && strcmp(facilities[i], s->syslog_facility) != 0)
        i++;
    if (i == n)
        load_error(c->l, line_of(c, "syslog_facility"),
                   "setting \"syslog_facility\" cannot be \"%s\"; allowed is auth, "
                   "authpriv, daemon, user or local0 to local7",
                   s->syslog_facility);
    const char *colon = strrchr(s->http_listen, ':');
    int64_t port = 0;
    if (s->http_listen[0] && (!colon || !value_int(colon + 1, &port) || port < 1 || port > 65535))
        load_error(c->l, line_of(c, "http_listen"),
                   "setting \"http_listen\" cannot be \"%s\"; allowed is address:port with a "
                   "port from 1 to 65535, or nothing",
                   s->http_listen);
    check_limit(c, "memory_limit", s->memory_limit, MEMORY_LIMIT_LEAST);
    check_limit(c, "client_memory_limit", s->client_memory_limit, CLIENT_MEMORY_LIMIT_LEAST);
    if (!s->listen_addr[0] && !s->unix_socket_dir[0])
        load_error(c->l, line_of(c, "listen_addr"),
                   "listen_addr and unix_socket_dir are both empty: no client could connect");
}

void settings_check(const struct load *l, const struct settings *s, const int *lines)
{
    struct check c = {.l = l, .s = s, .lines = lines};
    check_tls(&c);
    check_texts(&c);
}

void settings_load(const struct load *l, const struct ini_section *section, struct settings *settings_r)
{
    memset(settings_r, 0, sizeof *settings_r);
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting *row = setting_row(i);
        if (!entry_set(l, row, row->info.default_value, settings_r))
            load_error(l, 0, "the default of setting \"%s\" is not allowed", row->info.name);
    }
    int *lines = arena_zalloc(l->arena, settings_count() * sizeof *lines);
    if (section)
        entries_load(l, section, setting_row(0), settings_count(), known_elsewhere, settings_r, lines);
    for (size_t i = 0; i < settings_count(); i++)
        if (lines[i])
            note_not_yet(l, settings_r, i, lines[i]);
    settings_check(l, settings_r, lines);
}
