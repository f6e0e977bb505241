/*
 * Wrong protocols, one at a time, to prove that the simulator notices them: `make check-sim` builds this
 * layer once for each number and demands that the simulation fails. 0, the default, is the product; the
 * compiler removes the rest.
 */
#ifndef PGUNISON_TXN_SEEDED_BUG_H
#define PGUNISON_TXN_SEEDED_BUG_H

#ifndef PGUNISON_SEEDED_BUG
#define PGUNISON_SEEDED_BUG 0
#endif

enum seeded_bug {
    BUG_NONE,
    BUG_SKIP_FENCE,    /* the resolver reads the decision instead of fencing: no row is taken for "aborted" */
    BUG_DECIDE_EARLY,  /* the decision is sent although a participant was not prepared */
    BUG_GONE_IS_DONE,  /* "no such prepared transaction" after a fence is taken as proof of the rollback */
    BUG_TAG_UNCHECKED, /* PREPARE answered ROLLBACK is taken for prepared */
    BUG_ROW_COLLECTED_EARLY,   /* a decision row goes while a participant is still prepared */
    BUG_FENCE_COLLECTED_EARLY, /* a fence goes while the decider's transaction may be open */
    BUG_NO_XID,                /* PREPARE is sent before the decider has its transaction id */
    BUG_LOST_IS_ABORTED,       /* a lost reply to the decision is taken for a rollback */
    BUG_ANSWERS_IN_ORDER, /* answers about many transactions are taken to come in the order of the questions */
    BUG_ROW_UNPROVEN,     /* a row says 'c', and is believed without its proof */
    BUG_GONE_IS_APPLIED   /* "no such prepared transaction" is taken for: ended as decided */
};

#define SEEDED_BUG(bug) (PGUNISON_SEEDED_BUG == (int)(bug))

#endif
