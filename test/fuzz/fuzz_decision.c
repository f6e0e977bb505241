/* Bytes that may stand in pgunison.decision: decision_shards_parse() takes only what decision_shards_format() gives
 * back byte for byte. A resolver that reads them, or a gid, as a shard's answer asks for nothing but what its own
 * statements are, ends its sweep, and touches nothing that it did not understand. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "txn/decision.h"
#include "txn/recovery.h"

#define PARTICIPANTS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct slice text)
{
    char cluster[GID_NAME_MAX_BYTES + 1], decider[GID_NAME_MAX_BYTES + 1];
    struct slice rest, name;
    static struct decision_participant named[PARTICIPANTS_MAX];
    if (!decision_shards_parse(text, cluster, decider, &rest))
        return;
    size_t n = 0;
    while (n < PARTICIPANTS_MAX && decision_next_participant(&rest, &name, &named[n].xid))
        named[n++].shard = xstrndup(name.data, name.len);
    struct buf b;
    buf_init(&b);
    decision_shards_format(&b, cluster, decider, named, n);
    if (n < PARTICIPANTS_MAX && !slice_eq(buf_slice(&b), text))
        abort();
    buf_free(&b);
    while (n > 0)
        free((char *)(uintptr_t)named[--n].shard);
}

/* --- a resolver of two shards, of which one answers with what was made up ------------------------------------- */

struct port {
    struct recovery *r;
    char *sql[2];
    bool swept;
    const char *text; /* what was made up */
};

static void op_control(void *arg, unsigned s, const char *sql)
{
    struct port *p = arg;
    if (p->sql[s])
        abort(); /* a second question before the answer to the first */
    p->sql[s] = xstrdup(sql);
}

static bool op_owned(void *arg, const char *txid)
{
    (void)arg;
    (void)txid;
    return false;
}

static uint64_t op_now(void *arg)
{
    (void)arg;
    return 0;
}

static void op_log(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static void op_resolved(void *arg, const char *txid, const char *shard, bool committed)
{
    (void)arg;
    (void)shard;
    (void)committed;
    if (!txid_valid(slice_str(txid)))
        abort();
}

static void op_torn(void *arg, const char *txid, const char *shard, bool suspected, const char *text)
{
    (void)arg;
    (void)suspected;
    if (!txid_valid(slice_str(txid)) || !strstr(text, shard))
        abort();
}

static void op_swept(void *arg)
{
    struct port *p = arg;
    p->swept = true;
}

static const struct recovery_ops ops = {.control = op_control,
                                        .owned = op_owned,
                                        .now_us = op_now,
                                        .log = op_log,
                                        .torn = op_torn,
                                        .resolved = op_resolved,
                                        .sweep_done = op_swept};

/* Only what was understood is ever ended, and under the very name that was listed. */
static void check_end(const struct port *p, const char *sql)
{
    struct gid gid;
    char wanted[GID_MAX_BYTES + 32];
    snprintf(wanted, sizeof wanted, "%s PREPARED '%s'", sql[0] == 'C' ? "COMMIT" : "ROLLBACK", p->text);
    if (strcmp(sql, wanted) != 0 || !gid_parse(slice_str(p->text), &gid) ||
        strcmp(gid.cluster, "main") != 0 || strcmp(gid.participant, "s0") != 0 ||
        strcmp(gid.decider, "s1") != 0)
        abort();
}

static void answer(struct port *p, unsigned s)
{
    static const char txid[] = "00c0ffee-1f-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZE";
    static const char secret[] = "000102030405060708090a0b0c0d0e0f";
    const char *made_up[] = {"p", p->text, p->text, "5000", "", "60"};
    const char *decision[] = {"d", txid, "c", secret, p->text, "1"};
    const char *unproven[] = {"d", txid, "c", p->text, "main/s0/s1:7", "1"};
    const char *odd[] = {"d", p->text, "c", p->text, "main/s0/s1:8", "1"};
    const char *outcome[] = {p->text[0] == 'c' ? "c" : "a", p->text}, *status[] = {p->text},
               *pair[] = {"7", p->text};
    const char *const *listed[] = {made_up, decision, unproven, odd}, *const * one[] = {outcome};
    const char *const *one_status[] = {status}, *const * one_pair[] = {pair};
    char *sql = p->sql[s];
    p->sql[s] = NULL;
    struct txn_reply reply = {.tag = "SELECT", .txn_status = 'I'};
    if (strstr(sql, "FROM pg_prepared_xacts") && s == 0) {
        reply.rows = listed;
        reply.n_columns = 6;
        reply.n_rows = strstr(sql, "UNION ALL") ? 4 : 1;
    } else if (strstr(sql, "ON CONFLICT")) {
        reply.rows = one;
        reply.n_columns = 2;
        reply.n_rows = 1;
    } else if (strncmp(sql, "SELECT pg_catalog.pg_xact_status(", 33) == 0) {
        reply.rows = one_status;
        reply.n_columns = reply.n_rows = 1;
    } else if (strstr(sql, "pg_xact_status(")) {
        reply.rows = one_pair;
        reply.n_columns = 2;
        reply.n_rows = 1;
    } else if (strstr(sql, "PREPARED '")) {
        check_end(p, sql);
        reply.tag = sql[0] == 'C' ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
    }
    free(sql);
    recovery_reply(p->r, s, &reply);
}

static void resolve(const char *text)
{
    static const char *const names[] = {"s0", "s1"};
    struct recovery_options options = {
        .cluster = "main", .resolve_after_us = 1000000, .fence_keep_us = 1000000, .collect_batch = 10};
    struct port p = {.text = text};
    p.r = recovery_create(&options, names, 2, &ops, &p);
    for (int sweep = 0; sweep < 2; sweep++) { /* rows that one sees, the next may delete */
        p.swept = false;
        if (!recovery_sweep(p.r, NULL))
            abort();
        for (int turn = 0; !p.swept; turn++) {
            if (turn == 100 || (!p.sql[0] && !p.sql[1]))
                abort(); /* it does not come to its end */
            answer(&p, p.sql[0] ? 0 : 1);
        }
    }
    recovery_destroy(&p.r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(slice_of(data, size));
    char *text = xstrndup((const char *)data, size); /* as libpq hands it over: up to the first NUL */
    resolve(text);
    free(text);
    return 0;
}
