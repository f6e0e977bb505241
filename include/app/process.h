/* What the program does to its own process: descriptors, user, terminal, pid file. Before threads are
 * started. */
#ifndef PGUNISON_APP_PROCESS_H
#define PGUNISON_APP_PROCESS_H

#include "base/error.h"
#include <stddef.h>

/* Raises the limit of open files to what is allowed; returns what holds then. */
size_t process_raise_open_files(void);
void process_set_heap(void); /* before threads are made */
/* Whether the process may go on as it is (user NULL: nobody to become). Error: it would stay root. */
enum status process_check_user(const char *user, struct error *error_r) MUST_CHECK;
/* For good: user, group, groups and capabilities. Also when threads run (libc changes all of them). */
enum status process_become_user(const char *user, struct error *error_r) MUST_CHECK;

/* Goes to the background. Returns in the child only; the parent waits there until process_daemon_ready() (it
   then exits with 0) or the child's end (it then exits with the child's exit code). */
enum status process_daemonise(struct error *error_r) MUST_CHECK;
void process_daemon_ready(void); /* without daemonise: does nothing */

/* Error: a live process is named there already, or it cannot be written. */
enum status pidfile_write(const char *path, struct error *error_r) MUST_CHECK;
void pidfile_remove(const char *path); /* only if it still names this process */

#endif
