/* Whether each shard is fit for what it is to do, looked at on the control thread from the start on. Private
 * to app. */
#ifndef PGUNISON_APP_CHECK_H
#define PGUNISON_APP_CHECK_H

#include "backend/asker.h"

enum check_state {
    CHECK_UNKNOWN, /* not yet looked at */
    CHECK_DOWN,    /* cannot be reached, or refuses the control role */
    CHECK_UNFIT,   /* answers, but something must be changed there: note says what */
    CHECK_UP
};

struct check_report {
    enum check_state state;
    char version[32];    /* "15.3"; "" while unknown */
    char note[256];      /* why it is down or unfit; "" */
    uint64_t latency_us; /* of the last question that was answered; 0: none */
};

struct checks;
struct checks *checks_create(struct loop *loop, struct config *config, struct asker *control);
void checks_reconfigure(struct checks *c, struct config *config); /* looks at every shard again */
/* known() comes once, when every shard has been looked at since the start. NULL: nobody wants to know any
 * more. */
void checks_when_known(struct checks *c, void (*known)(void *arg), void *arg);
void checks_destroy(struct checks **c);
const struct check_report *checks_shard(const struct checks *c, unsigned shard); /* NULL: no such shard yet */
const char *check_state_name(enum check_state state);

#endif
