/*
 * The table of all settings of [pgunison]: name, field, type, default, bounds, explanation. Defaults,
 * etc/pgunison.ini, SHOW CONFIG and --check-config come from here and nowhere else.
 *
 * Names that PgBouncer has carry its meanings and, where the interface does not say otherwise, its defaults.
 * A value is written in the style of its default: a time whose default is "600" in plain seconds, as
 * PgBouncer writes it, one whose default is "10s" with its unit; likewise switches as 1/0 or on/off.
 *
 * Not responsible for: reading values (settings_load.c).
 */
#include "conf/settings.h"

#include "entries.h"
#include "value.h"
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>

const struct choice pool_mode_choices[] = {
    {"session", POOL_SESSION, false},
    {"transaction", POOL_TRANSACTION, false},
    {"statement", POOL_STATEMENT, false},
    {NULL, 0, false},
};
const struct choice sslmode_choices[] = {
    {"disable", TLS_DISABLE, false},
    {"allow", TLS_ALLOW, false},
    {"prefer", TLS_PREFER, false},
    {"require", TLS_REQUIRE, false},
    {"verify-ca", TLS_VERIFY_CA, false},
    {"verify-full", TLS_VERIFY_FULL, false},
    {NULL, 0, false},
};
static const struct choice auth_type_choices[] = {
    {"trust", AUTH_TRUST, false}, {"scram-sha-256", AUTH_SCRAM, false},
    {"md5", AUTH_MD5, true},      {"cert", AUTH_CERT, true},
    {"any", AUTH_ANY, false},     {NULL, 0, false},
};
static const struct choice commit_ack_choices[] = {
    {"applied", COMMIT_ACK_APPLIED, false},
    {"decided", COMMIT_ACK_DECIDED, false},
    {NULL, 0, false},
};

#define LIVE    0 /* a RELOAD is enough */
#define RESTART 1 /* takes effect at the next start */
#define NOT_YET 2 /* accepted, has no effect yet */

/* No time is longer than ten years: sums of times and clocks stay far from overflow. */
#define TIME_MAX ((int64_t)(3650 * US_PER_D))

#define INFO(name_, default_, flags_, text_)                                                                 \
    .info = {.name = name_,                                                                                  \
             .default_value = default_,                                                                      \
             .explanation = text_,                                                                           \
             .not_yet = ((flags_)&NOT_YET) != 0,                                                             \
             .on_reload = ((flags_)&RESTART) == 0}
#define FIELD(kind_, field_) .kind = SETTING_##kind_, .offset = offsetof(struct settings, field_)
#define PLAIN(kind_, field_, default_, flags_, text_)                                                        \
    {                                                                                                        \
        INFO(#field_, default_, flags_, text_), FIELD(kind_, field_)                                         \
    }
#define NUMBER(kind_, field_, default_, min_, max_, flags_, text_)                                           \
    {                                                                                                        \
        INFO(#field_, default_, flags_, text_), FIELD(kind_, field_), .min = min_, .max = max_               \
    }
#define TIME(field_, default_, min_, flags_, text_)                                                          \
    {                                                                                                        \
        INFO(#field_, default_, flags_, text_), FIELD(TIME, field_##_us), .min = min_, .max = TIME_MAX       \
    }
#define CHOICE(field_, default_, choices_, flags_, text_)                                                    \
    {                                                                                                        \
        INFO(#field_, default_, flags_, text_), FIELD(CHOICE, field_), .choices = choices_                   \
    }

static const struct setting table[] = {
    PLAIN(TEXT, listen_addr, "127.0.0.1", RESTART,
          "Addresses to listen on, comma-separated; *: all; empty: no TCP."),
    NUMBER(INT, listen_port, "6432", 1, 65535, RESTART,
           "Port to listen on; the Unix socket's name carries it too."),
    PLAIN(PATH, unix_socket_dir, "/tmp", RESTART, "Folder of the Unix socket; empty: none."),
    NUMBER(OCTAL, unix_socket_mode, "0777", 0, 0777, RESTART, "Permission bits of the Unix socket, octal."),
    NUMBER(INT, listen_backlog, "128", 1, 65535, RESTART,
           "Connections the kernel may queue before they are accepted."),
    NUMBER(WORKERS, workers, "auto", 1, 256, RESTART,
           "Worker threads; auto: one per processor that is online."),
    PLAIN(NAME, cluster, "main", RESTART,
          "Marks this cluster's prepared transactions; the same on all its proxies, never changed while any "
          "is prepared."),
    CHOICE(pool_mode, "transaction", pool_mode_choices, LIVE,
           "When a server goes back to its pool: after the session, the transaction or the statement."),
    NUMBER(INT, default_pool_size, "20", 1, 100000, LIVE, "Server connections per user, database and shard."),
    NUMBER(INT, min_pool_size, "0", 0, 100000, LIVE,
           "Server connections kept open per pool in use, even when idle."),
    NUMBER(INT, reserve_pool_size, "5", 0, 100000, LIVE,
           "Further connections for a pool whose clients wait too long."),
    TIME(reserve_pool_timeout, "5", 0, LIVE,
         "How long a client waits before the reserve is used; 0: no reserve."),
    NUMBER(INT, max_client_conn, "1000", 1, 1000000, LIVE, "Client connections in all."),
    NUMBER(INT, max_db_connections, "0", 0, 1000000, LIVE,
           "Server connections per database and shard; 0: no limit."),
    NUMBER(INT, max_user_connections, "0", 0, 1000000, LIVE,
           "Server connections per user and shard; 0: no limit."),
    NUMBER(INT, max_prepared_statements, "200", 0, 1000000, LIVE,
           "Named prepared statements kept per server connection; 0: they are not supported in transaction "
           "pooling."),
    NUMBER(SIZE, plan_cache_bytes, "32MB", 64 << 10, INT64_C(64) << 30, RESTART,
           "Memory for plans, per worker."),
    NUMBER(SIZE, memory_limit, "0", 0, INT64_MAX, LIVE,
           "Memory of the process above which caches are emptied and the client that has most gets 53200; 0: "
           "three quarters of the machine's."),
    NUMBER(SIZE, client_memory_limit, "0", 0, INT64_MAX, LIVE,
           "Memory of one client above which it gets 53200; 0: no limit of its own."),
    NUMBER(SIZE, max_message_bytes, "1GB", 64 << 10, 1 << 30, LIVE,
           "Largest statement, set of parameters or COPY line taken from a client."),
    CHOICE(
        auth_type, "scram-sha-256", auth_type_choices, LIVE,
        "How clients log in: trust, scram-sha-256, md5, cert, or any (trust, as whoever they say they are)."),
    PLAIN(PATH, auth_file, "userlist.txt", LIVE, "File of \"name\" \"secret\" lines; empty: none."),
    PLAIN(TEXT, auth_user, "", NOT_YET,
          "Looks up users who are not in auth_file, with auth_query; empty: no look-up."),
    PLAIN(TEXT, auth_query,
          "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid "
          "WHERE rolname=$1 AND rolcanlogin",
          NOT_YET, "Query that returns a user's name and secret."),
    PLAIN(TEXT, auth_dbname, "", NOT_YET,
          "Database in which auth_query runs; empty: the one the client asks for."),
    PLAIN(TEXT, admin_users, "postgres", LIVE,
          "Users who may do everything on the console, comma-separated."),
    PLAIN(TEXT, stats_users, "", LIVE, "Users who may use the console's SHOW, comma-separated."),
    PLAIN(BOOL, two_phase_commit, "on", LIVE,
          "Whether a transaction may write on several shards; off: refused (0A000)."),
    CHOICE(commit_ack, "applied", commit_ack_choices, LIVE,
           "When COMMIT over shards is answered: applied everywhere, or decided (durable, still being "
           "applied)."),
    TIME(commit_resolve_timeout, "10s", 0, LIVE,
         "How long a COMMIT whose outcome was lost is looked into before the client gets 08007."),
    TIME(resolve_after, "5s", 0, LIVE, "Age at which a prepared transaction nobody here owns is resolved."),
    TIME(resolve_interval, "1s", 10 * US_PER_MS, LIVE,
         "Longest time between two sweeps for such transactions."),
    PLAIN(
        BOOL, routing_hints, "on", LIVE,
        "Routing by hand: comments /* pgunison: shard=NAME */ and SET pgunison.shard; off: refused (0A000)."),
    PLAIN(BOOL, client_two_phase, "off", LIVE,
          "Whether clients may prepare transactions of one shard themselves (PREPARE TRANSACTION); off: "
          "refused "
          "(0A000)."),
    PLAIN(
        BOOL, pipeline_ahead, "off", LIVE,
        "Reads of a pipeline go on to other shards before the answers before them are there: faster, but one "
        "may see an earlier moment than the one before it."),
    PLAIN(BOOL, scatter_snapshot, "on", NOT_YET,
          "Statements that read several shards see one moment of all of them."),
    TIME(deadlock_timeout, "1s", US_PER_MS, NOT_YET,
         "How long a transaction waits for a lock before a deadlock over shards is looked for."),
    NUMBER(INT64, gather_max_rows, "1000000", 1, INT64_MAX, NOT_YET,
           "Rows one statement may bring together on a shard."),
    NUMBER(SIZE, gather_max_bytes, "256MB", 64 << 10, INT64_MAX, NOT_YET,
           "Bytes one statement may bring together on a shard."),
    PLAIN(TEXT, http_listen, "127.0.0.1:6480", NOT_YET | RESTART,
          "Address and port of /metrics and the dashboard; empty: none."),

    TIME(server_lifetime, "3600", 0, LIVE,
         "Age at which an unused server connection is closed; 0: used once only."),
    TIME(server_idle_timeout, "600", 0, LIVE,
         "Idle time after which a server connection is closed; 0: never."),
    TIME(server_connect_timeout, "15", 0, LIVE, "Time to connect and log in to a server; 0: no limit."),
    TIME(server_silence_timeout, "10s", 0, LIVE,
         "How long a shard may owe an answer while it does not let new connections in either; then its "
         "connections are closed (08006); 0: for ever."),
    TIME(server_failover_timeout, "10s", 0, LIVE,
         "How long statements outside transactions wait while none of a shard's several hosts can be written "
         "to."),
    TIME(server_login_retry, "15", 0, LIVE,
         "Wait after a failed connection to a server before the next attempt."),
    TIME(server_check_delay, "30", 0, LIVE,
         "Idle time after which server_check_query is run before a connection is used; 0: always."),
    PLAIN(TEXT, server_check_query, "select 1", LIVE,
          "Query that shows a server connection is alive; empty: no check."),
    PLAIN(BOOL, server_round_robin, "0", LIVE,
          "Use server connections in turn (1), or the last used first (0)."),
    PLAIN(TEXT, server_reset_query, "DISCARD ALL", LIVE,
          "Sent when a client leaves its server in session pooling; empty: nothing."),
    PLAIN(BOOL, server_reset_query_always, "0", LIVE, "Send server_reset_query in every pool mode."),
    PLAIN(BOOL, server_fast_close, "0", NOT_YET,
          "Close servers at the end of the transaction, not of the session, after RECONNECT or a reload."),
    CHOICE(server_tls_sslmode, "disable", sslmode_choices, LIVE,
           "TLS to the shards: disable, allow, prefer, require, verify-ca, verify-full."),
    PLAIN(PATH, server_tls_ca_file, "", LIVE, "Certificates that vouch for the shards' certificates."),
    PLAIN(PATH, server_tls_cert_file, "", LIVE, "Certificate shown to the shards."),
    PLAIN(PATH, server_tls_key_file, "", LIVE, "Its private key."),
    PLAIN(TEXT, server_tls_protocols, "secure", LIVE,
          "TLS versions to the shards: secure (1.2 and later), all, or a list of tlsv1.0 to tlsv1.3."),
    PLAIN(TEXT, server_tls_ciphers, "fast", NOT_YET,
          "Ciphers to the shards: fast, or a list as OpenSSL writes it."),
    TIME(client_login_timeout, "60", 0, LIVE, "Time for a client to log in; 0: no limit."),
    TIME(client_idle_timeout, "0", 0, LIVE, "Idle time after which a client is disconnected; 0: never."),
    CHOICE(client_tls_sslmode, "disable", sslmode_choices, LIVE,
           "TLS from clients: disable, allow, prefer, require, verify-ca, verify-full."),
    PLAIN(PATH, client_tls_ca_file, "", LIVE, "Certificates that vouch for the clients' certificates."),
    PLAIN(PATH, client_tls_cert_file, "", LIVE, "Certificate shown to clients."),
    PLAIN(PATH, client_tls_key_file, "", LIVE, "Its private key."),
    PLAIN(TEXT, client_tls_protocols, "secure", LIVE,
          "TLS versions from clients: secure (1.2 and later), all, or a list of tlsv1.0 to tlsv1.3."),
    PLAIN(TEXT, client_tls_ciphers, "fast", LIVE,
          "Ciphers from clients: fast, or a list as OpenSSL writes it."),
    TIME(query_timeout, "0", 0, LIVE, "Longest a statement may run; 0: no limit."),
    TIME(query_wait_timeout, "120", 0, LIVE, "Longest a statement may wait for a server; 0: no limit."),
    TIME(cancel_wait_timeout, "10", 0, NOT_YET,
         "Longest a cancel request may wait for a connection; 0: no limit."),
    TIME(idle_transaction_timeout, "0", 0, LIVE,
         "Longest a client may sit idle in a transaction; 0: no limit."),
    TIME(transaction_timeout, "0", 0, LIVE, "Longest a transaction may last; 0: no limit."),
    TIME(shutdown_wait_timeout, "1min", 0, LIVE,
         "Longest TERM waits for transactions to end; 0: as long as they take."),
    TIME(dns_max_ttl, "15", 0, NOT_YET, "How long a looked-up address of a shard is kept."),
    PLAIN(TEXT, ignore_startup_parameters, "", LIVE,
          "Startup parameters that are not passed on to the shards, comma-separated."),
    PLAIN(BOOL, log_connections, "1", LIVE, "Log logins."),
    PLAIN(BOOL, log_disconnections, "1", LIVE, "Log disconnections with their reasons."),
    PLAIN(BOOL, log_pooler_errors, "1", LIVE, "Log the errors pgunison itself sends to clients."),
    PLAIN(BOOL, log_stats, "1", LIVE, "Log totals every stats_period."),
    TIME(stats_period, "60", US_PER_S, LIVE, "Period of averages and of log_stats."),
    NUMBER(INT, verbose, "0", 0, 10, LIVE, "How much more to log, as with -v: 1 debug, 2 everything."),
    PLAIN(BOOL, tcp_keepalive, "1", LIVE, "Turn TCP keepalive on."),
    NUMBER(INT, tcp_keepcnt, "0", 0, 127, LIVE,
           "Unanswered probes before a connection counts as dead; 0: the system's."),
    NUMBER(SECONDS, tcp_keepidle, "0", 0, 32767, LIVE,
           "Idle seconds before the first probe; 0: the system's."),
    NUMBER(SECONDS, tcp_keepintvl, "0", 0, 32767, LIVE, "Seconds between probes; 0: the system's."),
    NUMBER(MILLIS, tcp_user_timeout, "0", 0, INT_MAX, LIVE,
           "Milliseconds that sent data may stay unacknowledged; 0: the system's."),
    NUMBER(SECONDS, tcp_defer_accept, "1", 0, 3600, RESTART,
           "Seconds a connection may wait for its first byte before it is accepted, and counts for "
           "client_login_timeout and max_client_conn; 0: off."),
    PLAIN(TEXT, user, "", RESTART,
          "User to become once keys are read and ports are bound; as root it must be set, here or with -u."),
    PLAIN(PATH, pidfile, "", RESTART, "File for the process id; needed with -d; empty: none."),
    PLAIN(PATH, logfile, "", LIVE, "File to log to; empty: none."),
    PLAIN(BOOL, syslog, "0", LIVE, "Log to syslog too."),
    PLAIN(TEXT, syslog_ident, "pgunison", LIVE, "Name in syslog."),
    PLAIN(TEXT, syslog_facility, "daemon", LIVE,
          "Facility in syslog: auth, authpriv, daemon, user, local0 to local7."),
    PLAIN(BOOL, application_name_add_host, "0", NOT_YET, "Add the client's address to its application_name."),
};

size_t settings_count(void)
{
    return sizeof table / sizeof *table;
}

const struct setting *setting_row(size_t i)
{
    return &table[i];
}

const struct setting_info *settings_info(size_t i)
{
    return &table[i].info;
}

static const char *choice_name(const struct choice *choices, int value)
{
    for (; choices->name; choices++)
        if (choices->value == value)
            return choices->name;
    return "?";
}

/* "0", "600" against "off", "10s": no default of a time or a switch is empty. */
static bool plain_style(const struct setting *row)
{
    return isdigit((unsigned char)row->info.default_value[strlen(row->info.default_value) - 1]) != 0;
}

void settings_value(const struct settings *s, size_t i, struct buf *text_r)
{
    const struct setting *row = &table[i];
    const void *field = (const char *)s + row->offset;
    switch (row->kind) {
    case SETTING_TEXT:
    case SETTING_PATH:
    case SETTING_NAME:
    case SETTING_WORD:
        buf_str(text_r, *(const char *const *)field);
        break;
    case SETTING_INT:
    case SETTING_SECONDS:
    case SETTING_MILLIS:
        buf_printf(text_r, "%d", *(const int *)field);
        break;
    case SETTING_INT64:
        buf_printf(text_r, "%" PRId64, *(const int64_t *)field);
        break;
    case SETTING_OCTAL:
        buf_printf(text_r, "%04o", (unsigned)*(const int *)field);
        break;
    case SETTING_WORKERS:
        if (*(const int *)field == 0)
            buf_str(text_r, "auto");
        else
            buf_printf(text_r, "%d", *(const int *)field);
        break;
    case SETTING_BOOL:
        buf_str(text_r,
                *(const bool *)field ? (plain_style(row) ? "1" : "on") : (plain_style(row) ? "0" : "off"));
        break;
    case SETTING_TIME:
        if (plain_style(row))
            value_format_seconds(text_r, *(const uint64_t *)field);
        else
            value_format_time(text_r, *(const uint64_t *)field);
        break;
    case SETTING_SIZE:
        value_format_size(text_r, *(const uint64_t *)field);
        break;
    case SETTING_CHOICE:
        buf_str(text_r, choice_name(row->choices, *(const int *)field));
        break;
    }
}
