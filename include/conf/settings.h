/*
 * Every setting of [pgunison]. Immutable once loaded. Times in microseconds, sizes in bytes. The table that
 * maps names to fields, with defaults and one line of explanation each, is in src/conf/settings.c;
 * etc/pgunison.ini is held against it by a test.
 */
#ifndef PGUNISON_CONF_SETTINGS_H
#define PGUNISON_CONF_SETTINGS_H

#include "base/buf.h"
#include "base/error.h"
#include "conf/topology.h"

enum auth_type { AUTH_TRUST, AUTH_SCRAM, AUTH_MD5, AUTH_CERT, AUTH_ANY };
enum commit_ack { COMMIT_ACK_APPLIED, COMMIT_ACK_DECIDED };
enum client_tls_mode { TLS_DISABLE, TLS_ALLOW, TLS_PREFER, TLS_REQUIRE, TLS_VERIFY_CA, TLS_VERIFY_FULL };

struct settings {
    /* Texts are never NULL; one that is not set is empty. Paths are absolute: a relative one begins at the
       ini file's folder. */
    const char *listen_addr; /* comma-separated; "*": all; empty: none */
    int listen_port;
    const char *unix_socket_dir; /* empty: none */
    int unix_socket_mode;
    int listen_backlog;
    int workers; /* 0: auto, one per online core */
    const char *cluster;
    int pool_mode; /* enum pool_mode */
    int default_pool_size, min_pool_size, reserve_pool_size;
    uint64_t reserve_pool_timeout_us;
    int max_client_conn, max_db_connections, max_user_connections;
    int max_prepared_statements;
    uint64_t plan_cache_bytes;                  /* per worker */
    uint64_t memory_limit, client_memory_limit; /* bytes; 0: of the machine; none */
    uint64_t max_message_bytes;                 /* largest statement, Bind or copy line kept in memory */
    enum auth_type auth_type;
    const char *auth_file;
    const char *auth_user, *auth_query, *auth_dbname;
    const char *admin_users, *stats_users; /* comma-separated */
    bool two_phase_commit;
    enum commit_ack commit_ack;
    uint64_t commit_resolve_timeout_us, resolve_after_us, resolve_interval_us;
    bool routing_hints, client_two_phase;
    bool pipeline_ahead;
    bool scatter_snapshot;
    uint64_t deadlock_timeout_us;
    int64_t gather_max_rows;
    uint64_t gather_max_bytes;
    const char *http_listen;
    /* PgBouncer's */
    uint64_t server_lifetime_us, server_idle_timeout_us, server_connect_timeout_us, server_login_retry_us,
        server_silence_timeout_us, server_failover_timeout_us, server_check_delay_us;
    bool server_round_robin;
    const char *server_check_query, *server_reset_query;
    bool server_reset_query_always;
    bool server_fast_close;
    enum client_tls_mode server_tls_sslmode;
    const char *server_tls_ca_file, *server_tls_cert_file, *server_tls_key_file, *server_tls_protocols,
        *server_tls_ciphers;
    uint64_t client_login_timeout_us, client_idle_timeout_us;
    enum client_tls_mode client_tls_sslmode;
    const char *client_tls_ca_file, *client_tls_cert_file, *client_tls_key_file, *client_tls_protocols,
        *client_tls_ciphers;
    uint64_t query_timeout_us, query_wait_timeout_us, cancel_wait_timeout_us, idle_transaction_timeout_us,
        transaction_timeout_us, shutdown_wait_timeout_us; /* 0: none */
    uint64_t dns_max_ttl_us;
    const char *ignore_startup_parameters; /* comma-separated */
    bool log_connections, log_disconnections, log_pooler_errors, log_stats;
    uint64_t stats_period_us;
    int verbose;
    bool tcp_keepalive;
    int tcp_keepcnt, tcp_keepidle, tcp_keepintvl, tcp_defer_accept; /* times in seconds */
    int tcp_user_timeout;                                           /* milliseconds */
    const char *user;                                               /* to become; empty: nobody */
    const char *pidfile, *logfile;
    bool syslog;
    const char *syslog_ident, *syslog_facility;
    bool application_name_add_host;
};

struct setting_info {
    const char *name, *default_value, *explanation;
    bool not_yet;   /* accepted, has no effect yet: --check-config names it when it is set to other than its
                       default */
    bool on_reload; /* takes effect on RELOAD; else at the next start */
};
size_t settings_count(void);
const struct setting_info *settings_info(size_t i);
/* Appends the value of setting i as SHOW CONFIG and the ini file write it. */
void settings_value(const struct settings *s, size_t i, struct buf *text);

#endif
