/*
 * pgunison: the program. Reads the command line and the configuration, then checks, explains, or runs the
 * proxy.
 */
#include "app/options.h"
#include "app/process.h"
#include "base/log.h"
#include "net/tls.h"
#include "proxy.h"
#include "route_offline.h"
#include "session/auth.h"

#include <signal.h>
#include <stdio.h>

static void print_error(const struct error *e)
{
    fprintf(stderr, "pgunison: %s\n", e->message);
    if (e->detail[0])
        fprintf(stderr, "  detail: %s\n", e->detail);
    if (e->hint[0])
        fprintf(stderr, "  hint: %s\n", e->hint);
}

static void print_problems(const struct problems *problems, FILE *out)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *p = &problems->items[i];
        fprintf(out, "%s:%d: %s: %s\n", p->file, p->line, p->level == PROBLEM_ERROR ? "error" : "note",
                p->text);
    }
}

/* What config_load() cannot see: whether the files that TLS needs can be used. */
static enum exit_code check_config(const struct config *config, const struct problems *problems)
{
    struct tls_context *tls;
    struct error e;
    print_problems(problems, stdout);
    if (!config)
        return EXIT_CONFIG;
    if (tls_contexts_create(&config->settings, &tls, 1, &e) != STATUS_OK) {
        printf("%s:0: error: %s\n", config->path, e.message);
        return EXIT_CONFIG;
    }
    tls_context_destroy(&tls);
    printf("%s: no error; %zu databases, %zu shards\n", config->path, config->topology.n_databases,
           config->topology.n_shards);
    return EXIT_OK;
}

static enum exit_code run_proxy(const struct options *o, struct config *config, struct error *error_r)
{
    struct proxy proxy;
    const struct settings *s = &config->settings;
    char pidfile[4096];
    snprintf(pidfile, sizeof pidfile, "%s", s->pidfile);
    if (pidfile[0] && pidfile_write(pidfile, error_r) != STATUS_OK)
        return EXIT_CANNOT_START;
    enum exit_code code = EXIT_CANNOT_START;
    if (proxy_create(&proxy, o, config, error_r) == STATUS_OK) {
        process_daemon_ready();
        proxy_run(&proxy);
        code = EXIT_OK;
    }
    proxy_destroy(&proxy);
    if (pidfile[0])
        pidfile_remove(pidfile);
    return code;
}

static enum exit_code start(struct options *o, struct config *config, struct error *error_r)
{
    const struct settings *s = &config->settings;
    if (o->daemon && !s->pidfile[0]) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "-d needs pidfile to be set in %s", config->path);
        return EXIT_CONFIG;
    }
    if (o->daemon && !s->logfile[0] && !s->syslog) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "-d needs logfile or syslog to be set in %s", config->path);
        return EXIT_CONFIG;
    }
    if (!o->user && s->user[0])
        o->user = s->user;
    if (process_check_user(o->user, error_r) != STATUS_OK)
        return EXIT_CANNOT_START;
    if (o->daemon) {
        if (process_daemonise(error_r) != STATUS_OK)
            return EXIT_CANNOT_START;
        o->quiet = true;
    }
    signal(SIGPIPE, SIG_IGN);
    auth_prepare(config, NULL);
    if (!o->user) /* else when it has become that user, to whom the file then belongs: proxy_create() */
        log_configure(o, s);
    enum exit_code code = run_proxy(o, config, error_r);
    if (code != EXIT_OK && o->quiet)
        log_error("%s", error_r->message);
    return code;
}

static enum exit_code with_config(struct options *o, struct error *error_r)
{
    struct problems problems;
    struct config *config = config_load(o->config_path, &problems);
    enum exit_code code = EXIT_CONFIG;
    if (o->check_config) {
        code = check_config(config, &problems);
    } else {
        if (!config || !o->route_sql)
            print_problems(&problems, stderr);
        if (!config)
            (void)error_set(error_r, SQLSTATE_CONFIG, "%s has %zu error%s", o->config_path, problems.errors,
                            problems.errors == 1 ? "" : "s");
        else if (!o->route_sql)
            code = start(o, config, error_r);
        else if (route_offline(config, o->route_sql, stdout, error_r) == STATUS_OK)
            code = EXIT_OK;
    }
    problems_free(&problems);
    config_unref(&config);
    return code;
}

int main(int argc, char **argv)
{
    struct options o;
    struct error e = {0};
    tls_init_process();
    process_set_heap();
    if (options_parse(argc, argv, &o, &e) != STATUS_OK) {
        print_error(&e);
        fputs("Try pgunison --help.\n", stderr);
        return EXIT_USAGE;
    }
    if (o.help) {
        fputs(options_usage, stdout);
        return EXIT_OK;
    }
    if (o.version) {
        printf("pgunison " PGUNISON_VERSION " (workers on %s, control thread on %s)\n",
               loop_poller_name(o.poller), loop_poller_name(POLLER_LIBEVENT));
        return EXIT_OK;
    }
    enum exit_code code = with_config(&o, &e);
    if (code != EXIT_OK && e.message[0])
        print_error(&e);
    return (int)code;
}
