/*
 * Transactions of a session: their states (session.h), what late shards must hear again, and their ends.
 *
 * BEGIN costs nothing: it is answered here, and shards join when a statement needs them (link.c). COMMIT
 * looks at how many participants have, or may have, written:
 *
 *     0, 1   COMMIT to all at once; the writer's answer is the outcome
 *     2+     two phases: txn_port.c
 *
 * A participant that failed fails the transaction; then nothing but ROLLBACK (or COMMIT, which rolls back)
 * and ROLLBACK TO gets out.
 */
#include "session.h"

#include "base/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const unsigned legal[] = {
    /* from            to */
    [TXN_NONE] = 1u << TXN_OPEN | 1u << TXN_IMPLICIT | 1u << TXN_ENDING,
    [TXN_OPEN] = 1u << TXN_FAILED | 1u << TXN_ENDING,
    [TXN_FAILED] = 1u << TXN_OPEN | 1u << TXN_ENDING,
    [TXN_IMPLICIT] = 1u << TXN_OPEN | 1u << TXN_IMPLICIT_FAILED | 1u << TXN_ENDING,
    [TXN_IMPLICIT_FAILED] = 1u << TXN_ENDING,
    [TXN_ENDING] = 1u << TXN_NONE,
};

static void txn_set_state(struct client *c, enum txn_state to)
{
    if (legal[c->txn.state] & (1u << to))
        c->txn.state = to;
    else
        client_broken(c, "transaction");
}

bool txn_in_block(const struct client *c)
{
    return c->txn.state != TXN_NONE;
}

bool txn_commits(const struct client *c)
{
    return c->commit || (c->run == RUN_ENDING && c->committing);
}

const char *txn_open_outcome(const struct client *c)
{
    bool commits = txn_commits(c);
    if (!commits && (c->txn.state != TXN_NONE || copy_in_takes_data(c)))
        return NULL;
    for (unsigned i = 0; i < c->n_links; i++) {
        const struct link *l = c->links[i];
        /* What no Sync follows is rolled back with the connection. */
        if (l->writer && l->server && !l->lost && server_outstanding(l->server) > 0 &&
            (!l->open_pipeline || server_sync_due(l->server)))
            return commits ? "whether the transaction was committed" : "whether the statement took effect";
    }
    return NULL;
}

/* --- replay ----------------------------------------------------------------------------------- */

static void replay_free(struct client *c, struct replay *r)
{
    c->txn.replay_bytes -= r->bytes;
    free(r->name);
    free(r->sql);
    varset_unref(&r->vars);
    varset_unref(&r->guc);
    varset_unref(&r->guc_kept);
    free(r);
}

void session_replay_clear(struct client *c)
{
    while (!list_empty(&c->txn.replay))
        replay_free(c, list_entry(list_pop_front(&c->txn.replay), struct replay, node));
}

/* What a savepoint that is set now keeps of variables, beyond what the one before it does. */
static size_t savepoint_vars_bytes(const struct client *c)
{
    const struct varset *before = c->txn.vars_before;
    for (const struct list_node *n = list_last(&c->txn.replay); n && n != &c->txn.replay.head; n = n->prev) {
        const struct replay *r = list_entry((struct list_node *)(uintptr_t)n, struct replay, node);
        if (r->savepoint) {
            before = r->vars;
            break;
        }
    }
    return c->vars && c->vars != before ? c->vars->bytes : 0;
}

void txn_add_replay(struct client *c, const char *savepoint, struct slice sql)
{
    struct replay *r = xcalloc(1, sizeof *r);
    r->savepoint = savepoint != NULL;
    r->name = savepoint ? xstrdup(savepoint) : NULL;
    r->sql = xstrndup(sql.data, sql.len);
    r->bytes = heap_bytes(sizeof *r) + heap_bytes(sql.len) + (savepoint ? heap_bytes(strlen(savepoint)) : 0);
    if (savepoint) {
        r->bytes += savepoint_vars_bytes(c);
        r->vars = c->vars ? varset_ref(c->vars) : NULL;
        vars_own_savepoint(c, r);
    }
    c->txn.replay_bytes += r->bytes;
    list_push_back(&c->txn.replay, &r->node);
}

static struct replay *savepoint_find(struct client *c, const char *name)
{
    for (struct list_node *n = list_last(&c->txn.replay); n && n != &c->txn.replay.head; n = n->prev) {
        struct replay *r = list_entry(n, struct replay, node);
        if (r->savepoint && strcmp(r->name, name) == 0)
            return r;
    }
    return NULL;
}

/* RELEASE: the savepoint and those set after it are gone; variables set since stay set. */
static void savepoint_release(struct client *c, struct replay *from)
{
    for (struct list_node *n = &from->node, *next; n != &c->txn.replay.head; n = next) {
        next = n->next;
        struct replay *r = list_entry(n, struct replay, node);
        if (r->savepoint) {
            list_remove(&c->txn.replay, n);
            replay_free(c, r);
        }
    }
}

/* ROLLBACK TO: everything after the savepoint is undone, the savepoint stays. */
static void savepoint_rollback(struct client *c, struct replay *to)
{
    while (list_last(&c->txn.replay) != &to->node)
        replay_free(c, list_entry(list_pop_back(&c->txn.replay), struct replay, node));
    /* Names of custom variables stay known, as on a server. */
    struct varset *vars = varset_share(c->env->varsets, varset_with_customs(to->vars, c->vars));
    varset_unref(&c->vars);
    c->vars = vars;
    c->told = 0; /* vars_keep_told() may have come between */
    vars_own_rollback_to(c, to);
    plan_rolled_back(c);
}

/* --- beginnings ------------------------------------------------------------------------------- */

static const struct transaction_modes no_modes = {.isolation = -1, .read_only = -1, .deferrable = -1};

static void txn_start(struct client *c, enum txn_state state, const struct transaction_modes *modes)
{
    txn_set_state(c, state);
    c->txn.modes = *modes;
    c->txn.began_us = loop_now_us(c->env->loop);
    varset_unref(&c->txn.vars_before);
    c->txn.vars_before = c->vars ? varset_ref(c->vars) : NULL;
    if (c->guc_pgunison)
        vars_own_txn_begins(c);
    c->commit_failed = c->txn.lost_untold = false;
}

static bool any_joined(const struct client *c)
{
    bool any = false;
    for (unsigned i = 0; i < c->n_links; i++)
        any |= c->links[i]->in_txn;
    return any;
}

void txn_begin(struct client *c, const struct transaction_modes *modes)
{
    if (c->txn.state == TXN_IMPLICIT) {
        /* BEGIN within a query of several statements, or within a pipeline: what was done so far belongs to
         * the block (as in PostgreSQL). */
        txn_set_state(c, TXN_OPEN);
        if (!any_joined(c))
            c->txn.modes = *modes;
        return;
    }
    txn_start(c, TXN_OPEN, modes);
}

void txn_begin_implicit(struct client *c)
{
    txn_start(c, TXN_IMPLICIT, &no_modes);
}

void txn_fail(struct client *c)
{
    if (c->txn.state == TXN_OPEN)
        txn_set_state(c, TXN_FAILED);
    else if (c->txn.state == TXN_IMPLICIT)
        txn_set_state(c, TXN_IMPLICIT_FAILED);
}

void txn_fail_untold(struct client *c)
{
    if (c->txn.state == TXN_OPEN || c->txn.state == TXN_IMPLICIT)
        c->txn.lost_untold = true;
    txn_fail(c);
}

/* The error of a statement in a failed transaction; of the first one after a shard was lost in silence, why
 * it failed. */
enum status txn_failed_error(struct client *c, struct error *error_r)
{
    if (!c->txn.lost_untold)
        return error_set(error_r, SQLSTATE_IN_FAILED_TRANSACTION,
                         "current transaction is aborted, commands ignored until end of transaction block");
    c->txn.lost_untold = false;
    error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "a shard's connection was lost in this transaction");
    error_hint(error_r, "Use ROLLBACK, and retry the transaction.");
    return STATUS_ERROR;
}

/* --- ends ------------------------------------------------------------------------------------- */

static void end_send(struct client *c, struct link *l, const char *sql)
{
    if (l->open_pipeline)
        link_sync(l);
    link_query(l, slice_str(sql), SINK_MESSAGE, TAG_END);
    l->ended = l->committed = false;
    c->control_due++;
}

static void end_everywhere(struct client *c, const char *sql)
{
    c->control_due = 0;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->in_txn && !l->lost)
            end_send(c, l, sql);
    }
}

/* REPEATABLE READ and SERIALIZABLE promise one snapshot, and SERIALIZABLE an order. Over shards they would be
   no more than their parts: each shard takes its snapshot when it joins, and transactions that are
   serializable on every shard may still form a circle over them. Refused, when a second shard is to join,
   until one cut can be taken of all. */
bool txn_may_span(const struct client *c, struct error *error_r)
{
    static const char *const names[] = {"repeatable read", "serializable"};
    const char *set = varset_get(c->vars, "default_transaction_isolation");
    if (!set)
        set = varset_get(c->began, "default_transaction_isolation");
    int level = c->txn.state == TXN_NONE ? -1 : c->txn.modes.isolation;
    if (level < 0 && set && strcmp(set, "read committed") == 0)
        return true;
    for (int i = 0; level < 0 && set && i < 2; i++)
        if (strcasestr(set, names[i]))
            level = 2 + i;
    if (level < 2)
        return true;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "a transaction over several shards cannot be %s yet",
              level == 2 ? "REPEATABLE READ" : "SERIALIZABLE");
    error_hint(error_r, "Use READ COMMITTED, or keep the transaction on one shard.");
    return false;
}

static void commit_fails(struct client *c, const struct error *e)
{
    error_keep(&c->run_error, e);
    c->commit_failed = true;
}

static void commit_refused(struct client *c, const struct error *e)
{
    commit_fails(c, e);
    c->committing = false;
    end_everywhere(c, "ROLLBACK");
    if (c->control_due == 0)
        txn_ended(c, false, c->run_error);
}

void txn_end(struct client *c, bool commit, enum after_end after, const char *tag, bool chain)
{
    unsigned writers;
    struct error e;
    bool failed = c->txn.state == TXN_FAILED || c->txn.state == TXN_IMPLICIT_FAILED;
    bool untold = failed && commit && c->txn.lost_untold;
    if (failed)
        commit = false;
    txn_set_state(c, TXN_ENDING);
    c->run = RUN_ENDING;
    c->after_end = after;
    c->end_tag = commit ? tag : "ROLLBACK";
    c->end_chain = chain;
    c->committing = commit;
    c->committing_tag = "COMMIT";
    c->commit_failed = false;
    error_drop(&c->run_error);
    extended_forget_portals(c);
    struct shard_set wrote;
    shard_set_clear(&wrote);
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->in_txn && c->links[i]->writer)
            shard_set_add(&wrote, c->links[i]->shard);
    writers = shard_set_count(&wrote);
    if (writers)
        notice_speaker(c, &wrote);
    if (untold) {
        (void)txn_failed_error(c, &e);
        error_detail(&e, "The transaction was rolled back on all shards.");
        error_hint(&e, "Retry it.");
        commit_refused(c, &e);
        return;
    }
    if (!commit) {
        end_everywhere(c, "ROLLBACK");
        if (c->control_due == 0)
            txn_ended(c, false, NULL);
        return;
    }
    if (writers >= 2) {
        if (!c->config->settings.two_phase_commit) {
            error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
                      "the transaction wrote on %u shards, and two_phase_commit is off", writers);
            error_hint(&e, "Set two_phase_commit = on, or keep writes on one shard.");
            commit_refused(c, &e);
            return;
        }
        if (!txn_commit_two_phase(c, &e))
            commit_refused(c, &e);
        return;
    }
    end_everywhere(c, "COMMIT");
    if (writers == 1)
        stats_add(&c->env->stats.one_phase, 1);
    if (c->control_due == 0)
        txn_ended(c, true, NULL);
}

static const char prepare_tag[] = "PREPARE TRANSACTION";

/* A client's own PREPARE TRANSACTION, on its one participant: for the session it ends the transaction as COMMIT
 * does. Shards that joined for the catalog alone are let go. */
static void txn_end_prepare(struct client *c, struct link *participant, const char *sql)
{
    txn_set_state(c, TXN_ENDING);
    c->run = RUN_ENDING;
    c->after_end = AFTER_STATEMENT;
    c->end_tag = c->committing_tag = prepare_tag;
    c->end_chain = false;
    c->committing = true;
    c->commit_failed = false;
    error_drop(&c->run_error);
    extended_forget_portals(c);
    participant->writer = true; /* its answer counts, whatever it did */
    c->control_due = 0;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->in_txn && !l->lost)
            end_send(c, l, l == participant ? sql : "COMMIT");
    }
}

/* Whether this shard's answer to COMMIT is the transaction's: the writer's, if there is one. */
static bool decides_outcome(const struct client *c, const struct link *l)
{
    bool writer = false;
    for (unsigned i = 0; i < c->n_links; i++)
        writer |= c->links[i]->in_txn && c->links[i]->writer;
    return c->committing && (l->writer || !writer);
}

static void not_committed(struct client *c, const struct link *l)
{
    struct error why;
    if (c->commit_failed)
        return;
    error_set(&why, SQLSTATE_SERIALIZATION_FAILURE, "shard \"%s\" rolled the transaction back at COMMIT",
              c->db->shards[l->shard]->name);
    commit_fails(c, &why);
}

/* An answer to COMMIT or ROLLBACK of one phase. */
void txn_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    struct error why, bad;
    const char *tag;
    int64_t rows;
    (void)e;
    switch (f->type) {
    case MSG_ERROR:
        if (l->ended) {
            server_violation(l->server, f->type, "It comes behind the end of a transaction.");
            return;
        }
        if (decides_outcome(c, l) && message_read_error(f, &why, &bad) == STATUS_OK)
            commit_fails(c, &why);
        return;
    case MSG_COMMAND_COMPLETE:
        l->ended = true;
        if (message_read_tag(f, &tag, &rows, &bad) != STATUS_OK)
            tag = "";
        l->committed = strcmp(tag, "COMMIT") == 0 || strcmp(tag, prepare_tag) == 0;
        if (decides_outcome(c, l) && strcmp(tag, c->committing_tag) != 0)
            not_committed(c, l);
        return;
    case MSG_NOTICE:
        notice_of_end(c, l, f);
        return;
    case MSG_READY:
        break;
    default:
        return;
    }
    if (!l->ended && decides_outcome(c, l))
        not_committed(c, l); /* ignored, as something in front of it had failed */
    if (--c->control_due == 0)
        txn_ended(c, c->committing && !c->commit_failed, c->commit_failed ? c->run_error : NULL);
}

/* The Sync, or the BEGIN, ahead of COMMIT or ROLLBACK: its error is why the shard will roll back. Two phases find that out themselves. */
void txn_end_failed(struct client *c, struct link *l, const struct frame *f)
{
    struct error why, bad;
    if (!l->coordinator_has && !l->ending && decides_outcome(c, l) && !c->commit_failed &&
        message_read_error(f, &why, &bad) == STATUS_OK)
        commit_fails(c, &why);
}

/* A shard was lost while COMMIT or ROLLBACK of one phase ran there. */
void txn_link_lost(struct client *c, struct link *l, const struct error *why)
{
    if (!l->in_txn || server_outstanding(l->server) == 0)
        return; /* it had nothing to say any more */
    if (c->committing && l->writer) {
        struct error e;
        error_set(&e, SQLSTATE_OUTCOME_UNKNOWN, "the connection to shard \"%s\" was lost during COMMIT",
                  c->db->shards[l->shard]->name);
        error_detail(&e, "%s It is not known whether the transaction was committed.", why->message);
        commit_fails(c, &e);
    }
    if (c->control_due > 0 && --c->control_due == 0)
        txn_ended(c, c->committing && !c->commit_failed, c->commit_failed ? c->run_error : NULL);
}

static void note_last_commit(struct client *c, bool committed)
{
    const char *txid = txn_commit_txid(c);
    free(c->last_txid);
    c->last_txid = committed && txid ? xstrdup(txid) : NULL;
    c->last_commit = !committed                         ? "rolled back"
                     : c->committing_tag == prepare_tag ? "prepared"
                     : txid                             ? "two-phase"
                                                        : "one-phase";
}

/* The transaction is over; the client is told, and its session goes on. */
void txn_ended(struct client *c, bool committed, const struct error *error)
{
    enum after_end after = c->after_end;
    struct transaction_modes modes = c->txn.modes;
    note_last_commit(c, committed);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->coordinator_has) { /* txn_port.c knows what stayed */
            l->in_txn = l->writer = l->used =
                false; /* as far as this client's next transaction is concerned */
            continue;
        }
        if (!l->in_txn || !l->server || (c->commit && l->writer))
            continue;
        bool kept = SEEDED_BUG(BUG_VARS_OF_OUTCOME) ? committed : l->committed;
        link_note_variables(l, kept ? c->vars : c->txn.vars_before);
        l->committed = false;
    }
    if (!committed && !SEEDED_BUG(BUG_ROLLBACK_KEEPS)) {
        varset_unref(&c->vars);
        c->vars = c->txn.vars_before ? varset_ref(c->txn.vars_before) : NULL;
    }
    varset_unref(&c->txn.vars_before);
    session_replay_clear(c);
    plan_txn_ended(c, committed);
    vars_own_txn_ended(c, committed);
    txn_set_state(c, TXN_NONE);
    c->run = RUN_NONE;
    if (c->names)
        hashmap_free(&c->names->cursors, NULL);
    links_put_idle(c);
    if (c->state == CLIENT_CLOSING) {
        client_free_if_done(c);
        return;
    }
    if (error)
        run_error_answer(c, error, after != AFTER_STATEMENT);
    switch (after) {
    case AFTER_STATEMENT:
        if (!error)
            client_command_complete(c, c->end_tag);
        if (c->end_chain && !error)
            txn_start(c, TXN_OPEN, &modes);
        run_statement_done(c, !error);
        break;
    case AFTER_QUERY:
        if (!error)
            client_send(c, &c->held);
        buf_free(&c->held);
        client_ready(c);
        break;
    case AFTER_SYNC:
        c->sync_pending = false;
        c->skip_till_sync = false;
        c->extended_open = false;
        client_ready(c);
        break;
    case AFTER_NOTHING:
        break;
    }
    error_drop(&c->run_error); /* which `error` may be */
    client_resume(c);
}

/* --- the verbs -------------------------------------------------------------------------------- */

static void warn(struct client *c, const char *sqlstate, const char *text)
{
    struct error e;
    error_set(&e, sqlstate, "%s", text);
    client_send_warning(c, &e);
}

/* What has been done already is answered with its tag, without a shard. */
static enum dispatch answer_now(struct client *c, const char *tag)
{
    client_command_complete(c, tag);
    run_statement_done(c, true);
    return DISPATCH_DONE;
}

static enum dispatch refuse(struct client *c, const struct error *e)
{
    run_error_answer(c, e, false);
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

static void begin_done(struct client *c, bool ok)
{
    if (ok && c->txn.state == TXN_IMPLICIT)
        txn_set_state(c, TXN_OPEN);
}

/* Modes of a BEGIN where shards have joined already: SET TRANSACTION, whose errors are theirs. It is their answer that
   makes an implicit transaction a block: after an error there is none. */
static enum dispatch begin_joined(struct client *c, const struct transaction_modes *modes, const char *tag)
{
    struct buf sql;
    buf_init(&sql);
    buf_str(&sql, "SET TRANSACTION");
    link_append_modes(&sql, modes);
    enum dispatch d = vars_set_transaction(c, modes, buf_slice(&sql), tag);
    c->control_done = begin_done;
    buf_free(&sql);
    return d;
}

static void add_modes(struct transaction_modes *to, const struct transaction_modes *m)
{
    if (m->isolation >= 0)
        to->isolation = m->isolation;
    if (m->read_only >= 0)
        to->read_only = m->read_only;
    if (m->deferrable >= 0)
        to->deferrable = m->deferrable;
}

static enum dispatch verb_begin(struct client *c, struct plan *p, struct slice sql)
{
    const struct transaction_modes *m = &p->modes;
    bool modes = m->isolation >= 0 || m->read_only >= 0 || m->deferrable >= 0;
    size_t at = 0;
    while (at < sql.len && isspace(sql.data[at]))
        at++;
    const char *tag = at < sql.len && tolower(sql.data[at]) == 's' ? "START TRANSACTION" : "BEGIN";
    if (c->txn.state == TXN_OPEN)
        warn(c, SQLSTATE_ACTIVE_TRANSACTION, "there is already a transaction in progress");
    if (modes && any_joined(c))
        return begin_joined(c, m, tag);
    if (c->txn.state == TXN_OPEN)
        add_modes(&c->txn.modes, m);
    else
        txn_begin(c, m);
    return answer_now(c, tag);
}

static enum dispatch verb_end(struct client *c, struct plan *p, bool commit)
{
    if (p->chain && (c->txn.state == TXN_NONE || c->txn.state == TXN_IMPLICIT)) {
        struct error e;
        error_set(&e, SQLSTATE_NO_ACTIVE_TRANSACTION, "%s AND CHAIN can only be used in transaction blocks",
                  commit ? "COMMIT" : "ROLLBACK");
        return refuse(c, &e);
    }
    if (c->txn.state == TXN_NONE) {
        warn(c, SQLSTATE_NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
        return answer_now(c, commit ? "COMMIT" : "ROLLBACK");
    }
    if (c->txn.state == TXN_IMPLICIT)
        warn(c, SQLSTATE_NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
    txn_end(c, commit, AFTER_STATEMENT, commit ? "COMMIT" : "ROLLBACK", p->chain);
    return DISPATCH_DONE;
}

/* The shard of a transaction that no shard has joined: by hand, or home. */
static unsigned shard_to_join(const struct client *c)
{
    const char *name = c->guc_pgunison ? varset_get(c->guc_pgunison, "shard") : NULL;
    int shard = name ? topology_shard_index(c->db, name) : -1;
    return shard >= 0 ? (unsigned)shard : c->db->home;
}

/* DISPATCH_DONE: the transaction's one participant, or NULL: the statement has been answered. */
static enum dispatch one_participant(struct client *c, struct link **link_r)
{
    struct error e;
    struct shard_set shards;
    unsigned used = 0;
    *link_r = NULL;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->in_txn || l->lost)
            continue;
        used += l->used;
        if (l->used || !*link_r)
            *link_r = l;
    }
    if (used > 1) {
        *link_r = NULL;
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "PREPARE TRANSACTION of a transaction over several shards is not supported");
        error_hint(&e, "Use COMMIT, which is atomic over all shards, or keep the transaction on one shard.");
        return refuse(c, &e);
    }
    if (*link_r)
        return DISPATCH_DONE;
    shard_set_clear(&shards);
    shard_set_add(&shards, shard_to_join(c));
    switch (links_acquire(c, &shards, &e)) {
    case ACQUIRE_WAIT:
        return DISPATCH_AGAIN;
    case ACQUIRE_FAILED:
        return refuse(c, &e);
    case ACQUIRE_READY:
        break;
    }
    *link_r = link_find(c, shard_to_join(c));
    link_prepare(*link_r);
    return DISPATCH_DONE;
}

/* As PostgreSQL: outside a block a warning, in a failed one ROLLBACK. */
static enum dispatch verb_prepare(struct client *c, struct slice sql)
{
    struct link *l;
    struct error e;
    if (c->txn.state == TXN_NONE) {
        warn(c, SQLSTATE_NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
        return answer_now(c, "ROLLBACK");
    }
    if (c->txn.state == TXN_FAILED) {
        txn_end(c, false, AFTER_STATEMENT, "ROLLBACK", false);
        return DISPATCH_DONE;
    }
    if (c->txn.state != TXN_OPEN) {
        error_set(&e, SQLSTATE_NO_ACTIVE_TRANSACTION,
                  "PREPARE TRANSACTION can only be used in transaction blocks");
        return refuse(c, &e);
    }
    enum dispatch d = one_participant(c, &l);
    if (!l)
        return d;
    char *text = xstrndup(sql.data, sql.len);
    txn_end_prepare(c, l, text);
    free(text);
    return DISPATCH_DONE;
}

/* The same text goes to every participant; the answer is one tag (run.c ends it). */
static void control_everywhere(struct client *c, struct slice sql, const char *tag)
{
    c->control_due = 0;
    c->control_tag = tag;
    c->control_done = NULL;
    c->run_failed = c->preamble_failed = false;
    error_drop(&c->run_error);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->in_txn || l->lost)
            continue;
        if (l->open_pipeline)
            link_sync(l);
        link_query(l, sql, SINK_MESSAGE, TAG_CONTROL);
        if (c->control_due++ == 0)
            c->speaker = l->shard;
    }
    c->run = RUN_CONTROL;
}

static enum dispatch verb_savepoint(struct client *c, struct plan *p, struct slice sql)
{
    struct error e;
    struct replay *r = NULL;
    if (c->txn.state == TXN_NONE || c->txn.state == TXN_IMPLICIT) {
        error_set(&e, SQLSTATE_NO_ACTIVE_TRANSACTION, "%s can only be used in transaction blocks",
                  p->verb == VERB_SAVEPOINT ? "SAVEPOINT"
                  : p->verb == VERB_RELEASE ? "RELEASE SAVEPOINT"
                                            : "ROLLBACK TO SAVEPOINT");
        return refuse(c, &e);
    }
    if (p->verb != VERB_SAVEPOINT && !(r = savepoint_find(c, p->name))) {
        error_set(&e, SQLSTATE_INVALID_SAVEPOINT, "savepoint \"%s\" does not exist", p->name);
        return refuse(c, &e);
    }
    if (p->verb == VERB_ROLLBACK_TO) {
        for (unsigned i = 0; i < c->n_links; i++)
            if (c->links[i]->lost) {
                error_set(&e, SQLSTATE_CONNECTION_FAILURE,
                          "the connection to shard \"%s\" was lost in this transaction",
                          c->db->shards[c->links[i]->shard]->name);
                error_hint(&e, "Use ROLLBACK.");
                return refuse(c, &e);
            }
    }
    if (p->verb == VERB_SAVEPOINT && memory_holds(c, sql.len + savepoint_vars_bytes(c), &e) != STATUS_OK)
        return refuse(c, &e);
    const char *tag = p->verb == VERB_SAVEPOINT ? "SAVEPOINT"
                      : p->verb == VERB_RELEASE ? "RELEASE"
                                                : "ROLLBACK";
    control_everywhere(c, sql, tag);
    if (p->verb == VERB_SAVEPOINT) {
        txn_add_replay(c, p->name, sql);
    } else if (p->verb == VERB_RELEASE) {
        savepoint_release(c, r);
    } else {
        savepoint_rollback(c, r);
        if (c->txn.state == TXN_FAILED)
            txn_set_state(c, TXN_OPEN);
    }
    if (c->control_due == 0) {
        c->run = RUN_NONE;
        return answer_now(c, tag);
    }
    return DISPATCH_DONE;
}

enum dispatch txn_verb(struct client *c, struct plan *p, const struct template *t)
{
    struct error e;
    /* commit_ack = decided: the one before is still being applied. A block may begin meanwhile: it waits for
       the shards that it wants, and at its end. */
    if (c->commit && (p->verb != VERB_BEGIN || c->txn.state != TXN_NONE))
        return DISPATCH_AGAIN;
    if (c->txn.state == TXN_FAILED &&
        (p->verb == VERB_SAVEPOINT || p->verb == VERB_RELEASE || p->verb == VERB_BEGIN)) {
        txn_failed_error(c, &e);
        return refuse(c, &e);
    }
    switch (p->verb) {
    case VERB_BEGIN:
        return verb_begin(c, p, t->statement);
    case VERB_COMMIT:
        return verb_end(c, p, true);
    case VERB_ROLLBACK:
        return verb_end(c, p, false);
    case VERB_PREPARE_TRANSACTION:
        return verb_prepare(c, t->statement);
    default:
        return verb_savepoint(c, p, t->statement);
    }
}
