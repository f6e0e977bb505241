/* The command line. */
#ifndef PGUNISON_APP_OPTIONS_H
#define PGUNISON_APP_OPTIONS_H

#include "base/error.h"
#include "net/loop.h"
#include <stdbool.h>

enum exit_code { EXIT_OK = 0, EXIT_CONFIG = 1, EXIT_USAGE = 2, EXIT_CANNOT_START = 3 };

struct options {
    bool daemon, quiet, check_config, version, help;
    int verbose;             /* how often -v was given */
    const char *user;        /* -u; NULL: stay who we are */
    const char *route_sql;   /* --route; NULL: not given */
    const char *config_path; /* NULL only with version or help */
    enum loop_poller poller; /* of workers: epoll, or what PGUNISON_POLLER says */
};

/* Strings point into argv. Error: what is wrong with it, for stderr; the program then ends with EXIT_USAGE.
 */
enum status options_parse(int argc, char **argv, struct options *options_r, struct error *error_r) MUST_CHECK;
extern const char options_usage[];

#endif
