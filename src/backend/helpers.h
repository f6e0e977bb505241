/* Threads for calls that block (getaddrinfo, PQcancel). Private to backend. */
#ifndef PGUNISON_BACKEND_HELPERS_H
#define PGUNISON_BACKEND_HELPERS_H

#include "base/list.h"

/* Embedded in its owner; belongs to the helpers from helpers_run() until run() is called, on a helper thread.
 */
struct helper_job {
    struct list_node node;
    void (*run)(struct helper_job *job);
};

/* Each kind of work has threads of its own: cancels to a host that does not answer must not hold up lookups.
 */
enum helper_kind { HELPER_RESOLVE, HELPER_CANCEL, HELPER_KINDS };

void helpers_run(enum helper_kind kind, struct helper_job *job); /* from any thread; never blocks */
void helpers_init(void);
/* Jobs not yet begun are run to their end first, if that takes no longer than a second; what then still
   blocks is left behind: the process is about to exit. */
void helpers_deinit(void);

#endif
