/*
 * SET pgunison.*: the proxy's own settings of a session.
 *
 *     guc_pgunison   what holds now
 *     guc_kept       with guc_local: what COMMIT leaves, as what is LOCAL ends then
 *     guc_before     of the transaction: what ROLLBACK goes back to
 */
#include "session.h"

static void assign(struct varset **to, struct varset *v)
{
    struct varset *ref = varset_ref(v);
    varset_unref(to);
    *to = ref;
}

static void own_put(struct client *c, struct varset **to, const char *name, const char *value)
{
    struct varset *v = vars_with(c, *to, name, value);
    varset_unref(to);
    if (v->n == 0)
        varset_unref(&v);
    *to = v;
}

static enum dispatch answer(struct client *c, const char *tag)
{
    client_command_complete(c, tag);
    run_statement_done(c, true);
    return DISPATCH_DONE;
}

static enum dispatch fail(struct client *c, const struct error *e)
{
    run_error_answer(c, e, false);
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

enum dispatch vars_own_set(struct client *c, struct plan *p)
{
    struct error e;
    const char *name = strncmp(p->name, "pgunison.", 9) == 0 ? p->name + 9 : p->name;
    if (strcmp(name, "shard") != 0) {
        error_set(&e, SQLSTATE_UNDEFINED_OBJECT, "unrecognized configuration parameter \"pgunison.%s\"",
                  name);
        error_hint(&e, "pgunison.shard can be set.");
        return fail(c, &e);
    }
    const char *value = p->value && *p->value ? p->value : NULL;
    if (value && !session_allows_hints(c)) {
        error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "routing by hand is turned off");
        error_hint(&e, "routing_hints = on in the proxy's configuration allows it.");
        return fail(c, &e);
    }
    if (value && topology_shard_index(c->db, value) < 0) {
        error_set(&e, SQLSTATE_UNDEFINED_OBJECT, "shard \"%s\" does not exist", value);
        return fail(c, &e);
    }
    if (p->local && c->txn.state == TXN_NONE) {
        error_set(&e, SQLSTATE_NO_ACTIVE_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
        client_send_warning(c, &e);
        return answer(c, "SET");
    }
    if (p->local && !c->guc_local) {
        assign(&c->guc_kept, c->guc_pgunison);
        c->guc_local = true;
    }
    own_put(c, &c->guc_pgunison, name, value);
    if (!p->local && c->guc_local)
        own_put(c, &c->guc_kept, name, value);
    return answer(c, p->command && strcmp(p->command, "RESET") == 0 ? "RESET" : "SET");
}

void vars_own_reset(struct client *c)
{
    varset_unref(&c->guc_pgunison);
    varset_unref(&c->guc_kept);
    c->guc_local = false;
}

void vars_own_txn_begins(struct client *c)
{
    assign(&c->txn.guc_before, c->guc_pgunison);
}

void vars_own_txn_ended(struct client *c, bool committed)
{
    if (!committed)
        assign(&c->guc_pgunison, c->txn.guc_before);
    else if (c->guc_local)
        assign(&c->guc_pgunison, c->guc_kept);
    varset_unref(&c->guc_kept);
    varset_unref(&c->txn.guc_before);
    c->guc_local = false;
}

void vars_own_savepoint(struct client *c, struct replay *r)
{
    r->guc = varset_ref(c->guc_pgunison);
    r->guc_kept = varset_ref(c->guc_kept);
    r->guc_local = c->guc_local;
}

void vars_own_rollback_to(struct client *c, const struct replay *r)
{
    assign(&c->guc_pgunison, r->guc);
    assign(&c->guc_kept, r->guc_kept);
    c->guc_local = r->guc_local;
}
