/*
 * Transactions that are torn: committed by their decider, and not by every participant.
 *
 * The protocol cannot do that. Somebody who may end prepared transactions did it by hand, or a shard failed over to a
 * standby that had not got everything. Nothing here can mend it, so it is said: once in the log, and on the console as
 * long as the decision's row is there. The row stays until somebody who has mended the data deletes it, and names each
 * participant with its transaction's id.
 *
 * A prepared part that was committed by hand, of a transaction that is to be rolled back, leaves no such row. Then this
 * is only suspected: a resolver that was held up between its look at the shard and at the fence sees the same of a
 * transaction that others have committed, and collected, meanwhile.
 */
#include "recovery_private.h"

#include <stdio.h>
#include <stdlib.h>

#define TORN_MAX 1000 /* shown; anybody can write rows about transactions of his own */

static struct torn *find(const struct recovery *r, const struct shard *decider, const char *txid,
                         const struct shard *participant)
{
    list_foreach(&r->torn, node, next)
    {
        struct torn *t = list_entry(node, struct torn, node);
        if (t->decider == decider && strcmp(t->txid, txid) == 0 &&
            (!participant || t->participant == participant))
            return t;
    }
    return NULL;
}

void torn_found(struct recovery *r, struct shard *decider, const struct row *row, struct shard *participant,
                const char *how)
{
    char text[512];
    snprintf(text, sizeof text,
             "transaction %s is torn: shard \"%s\" committed it, and shard \"%s\" %s. Its row in "
             "pgunison.decision on "
             "\"%s\" is kept until it is deleted by hand",
             row->txid, decider->name, participant->name, how, decider->name);
    r->ops->torn(r->port, row->txid, participant->name, false, text);
    if (find(r, decider, row->txid, participant) || r->torn.count >= TORN_MAX)
        return;
    struct torn *t = xcalloc(1, sizeof *t);
    snprintf(t->txid, sizeof t->txid, "%s", row->txid);
    t->decider = decider;
    t->participant = participant;
    t->age_s = row->age_s;
    t->seen = true;
    list_push_back(&r->torn, &t->node);
}

void torn_entry(struct recovery *r, struct shard *s, const struct entry *e)
{
    struct shard *decider = recovery_find_shard(r, slice_str(e->doubt->decider));
    if (e->doubt->decision == DECISION_COMMITTED) {
        struct row row = {.txid = e->doubt->txid, .age_s = e->age_s};
        torn_found(r, decider, &row, s, "rolled its part back");
        return;
    }
    char text[512];
    snprintf(
        text, sizeof text,
        "transaction %s is rolled back by its decider, shard \"%s\", and committed on shard \"%s\": somebody "
        "committed it there by hand, or this proxy was held up while others committed all of it",
        e->doubt->txid, e->doubt->decider, s->name);
    r->ops->torn(r->port, e->doubt->txid, s->name, true, text);
}

void torn_row_seen(struct recovery *r, const struct shard *decider, const struct row *row)
{
    list_foreach(&r->torn, node, next)
    {
        struct torn *t = list_entry(node, struct torn, node);
        if (t->decider != decider || strcmp(t->txid, row->txid) != 0)
            continue;
        t->seen = true;
        t->age_s = row->age_s;
    }
}

void torn_look_over(struct recovery *r, const struct shard *decider)
{
    list_foreach(&r->torn, node, next)
    {
        struct torn *t = list_entry(node, struct torn, node);
        if (t->decider != decider)
            continue;
        if (!t->seen) {
            list_remove(&r->torn, node);
            free(t);
            continue;
        }
        t->seen = false;
    }
}

size_t torn_publish(const struct recovery *r, struct recovery_entry *to)
{
    size_t n = 0;
    list_foreach(&r->torn, node, next)
    {
        const struct torn *t = list_entry(node, struct torn, node);
        if (to)
            to[n] = (struct recovery_entry){.txid = arena_strdup(r->arena, t->txid),
                                            .shard = t->participant->name,
                                            .decider = t->decider->name,
                                            .decision = "committed",
                                            .age_s = t->age_s,
                                            .note = "TORN: this shard did not commit it"};
        n++;
    }
    return n;
}

void torn_free(struct recovery *r)
{
    struct list_node *node;
    while ((node = list_pop_front(&r->torn)))
        free(list_entry(node, struct torn, node));
}
