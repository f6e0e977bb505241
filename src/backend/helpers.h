/* Threads for calls that block or compute for long (PQconnectPoll). Private to backend. */
#ifndef PGUNISON_BACKEND_HELPERS_H
#define PGUNISON_BACKEND_HELPERS_H

#include "base/error.h"
#include "net/loop.h"

/* Embedded in its owner; belongs to the helpers from helpers_run() until run() is called, on a helper thread.
 */
struct helper_job {
    struct list_node node;
    void (*run)(struct helper_job *job);
};

/* Each kind of work has threads of its own. */
enum helper_kind { HELPER_DIAL, HELPER_KINDS };

void helpers_run(enum helper_kind kind, struct helper_job *job); /* from any thread; never blocks */
void helpers_init(void);

/*
 * An errand: a job that a loop waits for, and may stop waiting for at any time; the job then runs to its end all the
 * same. What the job works on (`load`) is the errand's from errand_start() on, and is freed with free_load() by the
 * later of the two, thread or loop:
 *
 *     started         the helper thread alone may touch the load
 *     back() called   the loop's thread alone may, until errand_forget(); all that the job wrote is seen
 *     forgotten       nobody who waited may; free_load() runs here if the job has ended, else on the helper thread when
 *                     it does, or never if the process ends before
 *
 * run() and free_load() must therefore not touch loops, nor what belongs to a thread. Everything else is for the
 * loop's thread, and an errand is to be forgotten before its loop is destroyed.
 */
struct errand;
struct errand_kind {
    enum helper_kind helpers;
    void (*run)(void *load);
    void (*free_load)(void *load);
};
/* Calls back() once, from the loop, never from inside this call; then errand_forget() is due, from within back() or later.
   NULL: it could not be started, error_r says why, and the load is still the caller's. */
struct errand *errand_start(struct loop *loop, const struct errand_kind *kind, void *load,
                            void (*back)(void *arg), void *arg, struct error *error_r);
void errand_forget(struct errand **e); /* back() is not called any more; NULL is fine */

/* Jobs not yet begun are run to their end first, if that takes no longer than a second; what then still
   blocks is left behind: the process is about to exit. */
void helpers_deinit(void);

#endif
