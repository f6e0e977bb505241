/*
 * The command line: PgBouncer's switches and a few long ones. Short switches may be joined (-dq); `--` ends
 * them.
 *
 * Not responsible for: what the switches do.
 */
#include "app/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

const char options_usage[] =
    "usage: pgunison [OPTION]... CONFIG.ini\n"
    "\n"
    "  -d, --daemon         run in the background (needs pidfile in CONFIG.ini)\n"
    "  -q, --quiet          do not log to stderr\n"
    "  -v, --verbose        log more; twice: everything\n"
    "  -u, --user=USER      become USER once keys are read and ports are bound\n"
    "  -R, --reboot         take over from a running process (not supported)\n"
    "      --check-config   print every problem of the configuration; exit 1 if there is an error\n"
    "      --route=SQL      print how a statement would be routed, without touching a shard\n"
    "  -V, --version        print the version\n"
    "  -h, --help           print this\n"
    "\n"
    "Exit codes: 0, 1 configuration, 2 usage, 3 cannot start.\n"
    "Signals: HUP reload; TERM drain, then stop; INT stop when servers are idle; QUIT at once;\n"
    "USR1/USR2 pause/resume.\n";

enum { OPT_CHECK_CONFIG = 256, OPT_ROUTE };

static const struct option long_options[] = {
    {"daemon", no_argument, NULL, 'd'},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"user", required_argument, NULL, 'u'},
    {"reboot", no_argument, NULL, 'R'},
    {"check-config", no_argument, NULL, OPT_CHECK_CONFIG},
    {"route", required_argument, NULL, OPT_ROUTE},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What getopt did not like. optopt is a short switch's character, also for a long switch that has one; 0 when a
 * long one is unknown. */
static enum status unknown(int result, char **argv, struct error *error_r)
{
    const char *arg = argv[optind - 1];
    bool is_long = strncmp(arg, "--", 2) == 0;
    if (result == ':' && is_long)
        return error_set(error_r, SQLSTATE_CONFIG, "option %s needs an argument", arg);
    if (result == ':')
        return error_set(error_r, SQLSTATE_CONFIG, "option -%c needs an argument", optopt);
    if (is_long && optopt)
        return error_set(error_r, SQLSTATE_CONFIG, "option %s takes no argument", arg);
    if (optopt && !is_long)
        return error_set(error_r, SQLSTATE_CONFIG, "unknown option -%c", optopt);
    return error_set(error_r, SQLSTATE_CONFIG, "unknown option %s", arg);
}

/* For tests and comparisons, as they cannot change how each proxy of theirs is started. */
static enum status take_poller(struct options *o, struct error *error_r)
{
    const char *name = getenv("PGUNISON_POLLER");
    o->poller = POLLER_EPOLL;
    if (!name || !*name)
        return STATUS_OK;
    if (loop_poller_find(name, &o->poller, error_r) != STATUS_OK) {
        error_hint(error_r, "Correct or unset the environment variable PGUNISON_POLLER.");
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

static enum status take_paths(int argc, char **argv, struct options *o, struct error *error_r)
{
    if (o->version || o->help)
        return STATUS_OK;
    if (optind == argc)
        return error_set(error_r, SQLSTATE_CONFIG, "the configuration file is missing");
    if (optind + 1 < argc)
        return error_set(error_r, SQLSTATE_CONFIG, "one configuration file is expected, not \"%s\" too",
                         argv[optind + 1]);
    o->config_path = argv[optind];
    return STATUS_OK;
}

enum status options_parse(int argc, char **argv, struct options *o, struct error *error_r)
{
    memset(o, 0, sizeof *o);
    if (take_poller(o, error_r) != STATUS_OK)
        return STATUS_ERROR;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        optopt = 0;
        int c = getopt_long(argc, argv, ":dqvu:RVh", long_options, NULL);
        switch (c) {
        case -1:
            return take_paths(argc, argv, o, error_r);
        case 'd':
            o->daemon = true;
            break;
        case 'q':
            o->quiet = true;
            break;
        case 'v':
            o->verbose++;
            break;
        case 'u':
            o->user = optarg;
            break;
        case 'R':
            (void)error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "online restart (-R) is not supported");
            error_hint(error_r,
                       "Start a second process on another port, or stop the old one first (SHUTDOWN, TERM).");
            return STATUS_ERROR;
        case OPT_CHECK_CONFIG:
            o->check_config = true;
            break;
        case OPT_ROUTE:
            o->route_sql = optarg;
            break;
        case 'V':
            o->version = true;
            break;
        case 'h':
            o->help = true;
            break;
        default:
            return unknown(c, argv, error_r);
        }
    }
}
