/*
 * The coordinator's transitions and truths: which state may follow which, and what members may be doing in
 * each. coordinator_private.h draws both machines; the tables here are what is enforced.
 */
#include "base/log.h"
#include "coordinator_private.h"

#define BIT(state) (1u << (unsigned)(state))

struct coordinator_rule {
    const char *name;
    unsigned next;    /* states that may follow */
    unsigned decider; /* states its decider may be in */
    unsigned others;  /* states its other members may be in */
};

#define RETRY  (BIT(M_RETRY_WAIT) | BIT(M_RETRYING) | BIT(M_GONE) | BIT(M_CHECKING))
#define ENDED  (BIT(M_FINISHED) | BIT(M_TORN))
#define FINISH (BIT(M_PREPARED) | BIT(M_FINISHING) | RETRY | ENDED)
#define UNDO   (BIT(M_OPEN) | BIT(M_ASSIGNING) | BIT(M_ROLLING_BACK))

static const struct coordinator_rule rules[] = {
    [CO_NEW] = {"new", BIT(CO_ASSIGNING) | BIT(CO_PREPARING), BIT(M_OPEN), BIT(M_OPEN)},
    [CO_ASSIGNING] = {"assigning", BIT(CO_PREPARING) | BIT(CO_ABORTING), BIT(M_ASSIGNING) | BIT(M_OPEN),
                      BIT(M_OPEN)},
    [CO_PREPARING] = {"preparing", BIT(CO_DECIDING) | BIT(CO_ABORTING), BIT(M_OPEN),
                      BIT(M_PREPARING) | BIT(M_PREPARED)},
    [CO_DECIDING] = {"deciding", BIT(CO_APPLYING) | BIT(CO_ABORTING) | BIT(CO_IN_DOUBT), BIT(M_DECIDING),
                     BIT(M_PREPARED)},
    [CO_IN_DOUBT] = {"in doubt", BIT(CO_APPLYING) | BIT(CO_CONFIRMING) | BIT(CO_LEAVING),
                     BIT(M_FENCE_WAIT) | BIT(M_FENCING), BIT(M_PREPARED)},
    [CO_CONFIRMING] = {"confirming", BIT(CO_ABORTING) | BIT(CO_LEAVING), BIT(M_FINISHED), FINISH},
    [CO_APPLYING] = {"applying", BIT(CO_SETTLING_COMMIT) | BIT(CO_LEAVING), BIT(M_FINISHED), FINISH},
    [CO_ABORTING] = {"rolling back", BIT(CO_SETTLING_ABORT) | BIT(CO_LEAVING), UNDO | BIT(M_FINISHED),
                     UNDO | FINISH | BIT(M_PREPARING) | BIT(M_LEFT)},
    [CO_SETTLING_COMMIT] = {"committed, applying", BIT(CO_LEAVING), BIT(M_FINISHED), FINISH},
    [CO_SETTLING_ABORT] = {"rolled back, settling", BIT(CO_LEAVING), BIT(M_FINISHED),
                           RETRY | ENDED | BIT(M_LEFT)},
    [CO_LEAVING] = {"leaving", BIT(CO_DONE), BIT(M_FINISHED) | BIT(M_LEFT) | BIT(M_PARTING),
                    ENDED | BIT(M_LEFT) | BIT(M_PARTING) | BIT(M_CHECKING)},
    [CO_DONE] = {"done", 0, BIT(M_FINISHED) | BIT(M_LEFT), ENDED | BIT(M_LEFT)},
};

static const struct {
    const char *name;
    unsigned next;
} member_rules[] = {
    [M_OPEN] = {"open", BIT(M_ASSIGNING) | BIT(M_PREPARING) | BIT(M_DECIDING) | BIT(M_ROLLING_BACK)},
    [M_ASSIGNING] = {"assigning", BIT(M_OPEN) | BIT(M_FINISHED)},
    [M_PREPARING] = {"preparing", BIT(M_PREPARED) | BIT(M_OPEN) | BIT(M_FINISHED) | BIT(M_LEFT)},
    [M_PREPARED] = {"prepared", BIT(M_FINISHING) | BIT(M_LEFT)},
    [M_DECIDING] = {"deciding", BIT(M_OPEN) | BIT(M_FINISHED) | BIT(M_FENCE_WAIT)},
    [M_FENCE_WAIT] = {"in doubt", BIT(M_FENCING) | BIT(M_LEFT)},
    [M_FENCING] = {"fencing", BIT(M_FENCE_WAIT) | BIT(M_FINISHED) | BIT(M_PARTING)},
    [M_ROLLING_BACK] = {"rolling back", BIT(M_FINISHED)},
    [M_FINISHING] = {"finishing", BIT(M_FINISHED) | BIT(M_RETRY_WAIT) | BIT(M_GONE) | BIT(M_LEFT)},
    [M_RETRY_WAIT] = {"waiting to retry", BIT(M_RETRYING) | BIT(M_LEFT)},
    [M_RETRYING] = {"retrying", BIT(M_FINISHED) | BIT(M_RETRY_WAIT) | BIT(M_GONE) | BIT(M_PARTING)},
    [M_GONE] = {"gone", BIT(M_CHECKING) | BIT(M_LEFT)},
    [M_CHECKING] = {"checking", BIT(M_FINISHED) | BIT(M_TORN) | BIT(M_GONE) | BIT(M_LEFT) | BIT(M_PARTING)},
    [M_FINISHED] = {"finished", BIT(M_TORN)},
    [M_TORN] = {"torn", 0},
    [M_PARTING] = {"parting", BIT(M_FINISHED) | BIT(M_GONE) | BIT(M_LEFT)},
    [M_LEFT] = {"left to the resolver", 0},
};

void coordinator_set_state(struct coordinator *c, enum coordinator_state to)
{
    TXN_ASSERT(rules[c->state].next & BIT(to));
    log_debug("txid %s: %s -> %s", c->txid, rules[c->state].name, rules[to].name);
    c->state = to;
}

void member_set_state(struct coordinator *c, unsigned p, enum member_state to)
{
    struct member *m = &c->members[p];
    TXN_ASSERT(member_rules[m->state].next & BIT(to));
    log_debug("txid %s, shard %s: %s -> %s", c->txid, m->shard, member_rules[m->state].name,
              member_rules[to].name);
    m->state = to;
}

void coordinator_check(const struct coordinator *c)
{
    const struct coordinator_rule *rule = &rules[c->state];
    for (unsigned p = 0; p < c->n; p++) {
        const struct member *m = &c->members[p];
        TXN_ASSERT((p == c->decider ? rule->decider : rule->others) & BIT(m->state));
        TXN_ASSERT((m->prepare_sql == NULL) == (p == c->decider));
    }
    /* The timer is what drives a machine that waits for no reply. */
    bool timed = c->state >= CO_IN_DOUBT && c->state <= CO_SETTLING_ABORT;
    TXN_ASSERT(timed == (c->deadline_us != 0));
    TXN_ASSERT(timed == (c->timer_us != 0));
}

bool member_sending(const struct member *m)
{
    return (BIT(m->state) & (BIT(M_ASSIGNING) | BIT(M_PREPARING) | BIT(M_DECIDING) | BIT(M_ROLLING_BACK) |
                             BIT(M_FINISHING))) != 0;
}

bool member_controlling(const struct member *m)
{
    return (BIT(m->state) & (BIT(M_FENCING) | BIT(M_RETRYING) | BIT(M_CHECKING) | BIT(M_PARTING))) != 0;
}

bool member_over(const struct member *m)
{
    return m->state == M_FINISHED || m->state == M_TORN || m->state == M_LEFT;
}

const char *coordinator_state_name(const struct coordinator *c)
{
    return rules[c->state].name;
}
