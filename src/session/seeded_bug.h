/*
 * Wrong conversations, one at a time, to prove that `make check-conversation` notices them: it builds this layer a second time
 * with PGUNISON_SEEDED_BUGS, and demands a failure for each. In the product the compiler removes them.
 */
#ifndef PGUNISON_SESSION_SEEDED_BUG_H
#define PGUNISON_SESSION_SEEDED_BUG_H

enum seeded_bug {
    BUG_NONE,
    BUG_ONE_SYNC,          /* BEGIN failed in front of two Queries: one Sync is sent for both */
    BUG_SPREAD_UNANSWERED, /* the BEGIN of a pipeline that spreads failed, and the client does not hear it */
    BUG_VARS_OF_OUTCOME, /* servers are taken to have what the transaction came to, whatever each has said itself */
    BUG_READER_BELIEVED, /* so is a reader whose COMMIT failed beside a two-phase one */
    BUG_VARS_OF_GONE,    /* a client left during COMMIT: what had answered is taken to be as it was before */
    BUG_REPORT_FORMER, /* a shard that joins reports what the transaction has changed since, and the client hears it */
    BUG_TAG_NOT_HELD,     /* CommandComplete comes ahead of the COMMIT that it depends on */
    BUG_NOT_SKIPPED,      /* what follows an error in a pipeline is not skipped up to Sync */
    BUG_OTHERS_VARIABLES, /* a server is used with the variables of its last session */
    BUG_ROLLBACK_KEEPS,   /* what was SET in a transaction stays after its ROLLBACK */
    BUG_READS_APART,      /* a read over shards ends what a pipeline has written before it */
    N_SEEDED_BUGS
};

#ifdef PGUNISON_SEEDED_BUGS
extern enum seeded_bug seeded_bug;
#define SEEDED_BUG(bug) (seeded_bug == (bug))
#else
#define SEEDED_BUG(bug) false
#endif

#endif
