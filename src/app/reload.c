/*
 * RELOAD: the configuration is read whole; if anything in it is wrong, nothing changes. Else every thread
 * goes over to it by a message.
 *
 * Settings that take effect at the next start only keep the process as it is; that they were changed is said.
 */
#include "proxy.h"

#include "base/arena.h"
#include "base/log.h"
#include "net/tls.h"
#include "session/auth.h"

#include <stdlib.h>
#include <string.h>

void log_configure(const struct options *o, const struct settings *s)
{
    struct error e;
    int level = (int)LOG_LEVEL_INFO + o->verbose + s->verbose;
    log_set_level((enum log_level)(level < (int)LOG_LEVEL_NOISE ? level : (int)LOG_LEVEL_NOISE));
    log_set_stderr(!o->quiet);
    log_set_syslog(s->syslog, s->syslog_ident, s->syslog_facility);
    if (s->logfile[0] && log_open_file(s->logfile, &e) != STATUS_OK)
        log_error("%s", e.message);
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

enum status tls_contexts_create(const struct settings *s, struct tls_context **contexts_r, unsigned n,
                                struct error *error_r)
{
    memset(contexts_r, 0, n * sizeof *contexts_r);
    if (s->client_tls_sslmode == TLS_DISABLE)
        return STATUS_OK;
    struct tls_server_options options = {
        .cert_file = or_null(s->client_tls_cert_file),
        .key_file = or_null(s->client_tls_key_file),
        .ca_file = or_null(s->client_tls_ca_file),
        .require_client_cert =
            s->client_tls_sslmode == TLS_VERIFY_CA || s->client_tls_sslmode == TLS_VERIFY_FULL,
        .ciphers = or_null(s->client_tls_ciphers),
        .protocols = or_null(s->client_tls_protocols),
    };
    if (!options.cert_file || !options.key_file)
        return error_set(
            error_r, SQLSTATE_CONFIG,
            "client_tls_sslmode needs client_tls_cert_file and client_tls_key_file; or set it to disable");
    for (unsigned i = 0; i < n; i++) {
        contexts_r[i] = tls_server_context_create(&options, error_r);
        if (!contexts_r[i]) {
            while (i-- > 0)
                tls_context_destroy(&contexts_r[i]);
            return STATUS_ERROR;
        }
    }
    return STATUS_OK;
}

static void log_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *p = &problems->items[i];
        if (p->level == PROBLEM_ERROR)
            log_error("%s:%d: %s", p->file, p->line, p->text);
        else
            log_warning("%s:%d: %s", p->file, p->line, p->text);
    }
}

static void note_restart_settings(const struct settings *old, const struct settings *new)
{
    struct buf was, is;
    buf_init(&was);
    buf_init(&is);
    for (size_t i = 0; i < settings_count(); i++) {
        if (settings_info(i)->on_reload)
            continue;
        buf_clear(&was);
        buf_clear(&is);
        settings_value(old, i, &was);
        settings_value(new, i, &is);
        if (!slice_eq(buf_slice(&was), buf_slice(&is)))
            log_warning("%s was changed: it takes effect at the next start", settings_info(i)->name);
    }
    buf_free(&was);
    buf_free(&is);
}

/* The cluster's name marks what is prepared now: another one would leave that to nobody. */
static enum status check_reload(const struct config *old, const struct config *new, struct error *error_r)
{
    if (strcmp(old->settings.cluster, new->settings.cluster) != 0)
        return error_set(error_r, SQLSTATE_CONFIG, "cluster cannot be changed by a reload (\"%s\" to \"%s\")",
                         old->settings.cluster, new->settings.cluster);
    return STATUS_OK;
}

/* All threads go over to config, whose reference is taken over. */
static enum status apply(struct proxy *p, struct config *config, const char *what, struct error *error_r)
{
    struct tls_context **tls = xcalloc(p->workers.n, sizeof(struct tls_context *));
    enum status status = check_reload(p->config, config, error_r);
    if (status == STATUS_OK)
        status = tls_contexts_create(&config->settings, tls, p->workers.n, error_r);
    if (status != STATUS_OK) {
        log_error("%s failed: %s", what, error_r->message);
        config_unref(&config);
        free(tls);
        return STATUS_ERROR;
    }
    auth_prepare(config, p->config);
    note_restart_settings(&p->config->settings, &config->settings);
    workers_reconfigure(&p->workers, config, tls);
    free(tls);
    asker_reconfigure(p->control, config);
    resolver_reconfigure(p->resolver, config);
    checks_reconfigure(p->checks, config);
    admin_reconfigure(p->admin, config);
    log_configure(p->options, &config->settings);
    config_unref(&p->config);
    p->config = config;
    log_info("configuration reloaded: %zu databases, %zu shards", config->topology.n_databases,
             config->topology.n_shards);
    return STATUS_OK;
}

enum status proxy_reload(struct proxy *p, struct error *error_r)
{
    struct problems problems;
    struct config *config = config_load(p->config->path, &problems);
    log_problems(&problems);
    if (!config) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "RELOAD failed: the configuration has %zu error%s",
                        problems.errors, problems.errors == 1 ? "" : "s");
        if (problems.count)
            error_detail(error_r, "%s:%d: %s", problems.items[0].file, problems.items[0].line,
                         problems.items[0].text);
        error_hint(error_r, "See the log for all of them; nothing was changed.");
        problems_free(&problems);
        log_error("%s", error_r->message);
        return STATUS_ERROR;
    }
    problems_free(&problems);
    return apply(p, config, "RELOAD", error_r);
}

enum status proxy_set(struct proxy *p, const char *name, const char *value, struct error *error_r)
{
    struct problems problems;
    struct config *config = config_with(p->config, name, value, &problems);
    enum status status = STATUS_ERROR;
    if (config) {
        log_info("SET %s = '%s' until RELOAD or the next start", name, value);
        status = apply(p, config, "SET", error_r);
    } else {
        (void)error_set(error_r, "22023", "%s",
                        problems.count ? problems.items[0].text : "the setting cannot be changed");
    }
    problems_free(&problems);
    return status;
}
