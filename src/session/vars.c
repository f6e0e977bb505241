/*
 * Variables of the session: SET, RESET, DISCARD, set_config(), across pooled servers.
 *
 * The session keeps the values of what it has set (client.vars); every server knows what it is set to
 * (server.vars); link_vars.c sends the difference when they meet. A SET is run on a shard at once all the same: it is
 * PostgreSQL that knows what it means. What it became is read back in the same write:
 *
 *     Q "SET datestyle TO dmy"   Q "SHOW datestyle"      TAG_CONTROL, TAG_READ
 *
 * Within a transaction it runs on every participant, and its text is replayed for those that join later: on the
 * same values from before the transaction, in the same order, it means the same.
 */
#include "vars.h"

#include "base/quote.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define IDENTIFIER_MAX_BYTES 63 /* NAMEDATALEN - 1 */

struct varset *vars_with(struct client *c, const struct varset *v, const char *name, const char *value)
{
    return varset_share(c->env->varsets, varset_with(v, name, value));
}

/* *v without what it was. */
static void replace(struct varset **v, struct varset *with)
{
    varset_unref(v);
    *v = with;
}

/* --- startup ---------------------------------------------------------------------------------- */

static bool name_ok(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_' && !(*name & 0x80))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("_.$", *name) && !(*name & 0x80))
            return false;
    return true;
}

bool vars_startup(struct client *c, const char *name, const char *value)
{
    char folded[64], clean[256];
    size_t n = strlen(name);
    if (n >= sizeof folded || !name_ok(name))
        return false;
    for (size_t i = 0; i <= n; i++)
        folded[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    if (strcmp(folded, "application_name") == 0) { /* as the server cleans it */
        size_t len = 0;
        for (const char *p = value; *p && len + 1 < sizeof clean; p++)
            clean[len++] = *p < 32 || *p > 126 ? '?' : *p;
        clean[len] = 0;
        value = clean;
    }
    replace(&c->vars, vars_with(c, c->vars, folded, value));
    return true;
}

/* --- a SET under way -------------------------------------------------------------------------- */

struct set *set_new(void)
{
    struct set *s = xcalloc(1, sizeof *s);
    buf_init(&s->rows);
    return s;
}

struct set_name *set_add(struct set *s, const char *name, const char *text)
{
    if ((s->n & (s->n - 1)) == 0) /* a power of two, or none */
        s->names = xrealloc(s->names, (s->n ? s->n * 2 : 1) * sizeof *s->names);
    struct set_name *x = &s->names[s->n++];
    *x = (struct set_name){.name = xstrdup(name), .text = text ? xstrdup(text) : NULL};
    return x;
}

static void set_free(struct set *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        free(s->names[i].name);
        free(s->names[i].text);
        free(s->names[i].value);
    }
    free(s->names);
    varset_unref(&s->target);
    varset_unref(&s->named);
    buf_free(&s->rows);
    free(s);
}

void set_destroy(struct set **s)
{
    if (*s)
        set_free(*s);
    *s = NULL;
}

void vars_set_free(struct client *c)
{
    set_destroy(&c->set);
}

bool vars_shown_as(const char *text, const char *shown)
{
    char digits[32], *end;
    double d = strtod(text, &end);
    snprintf(digits, sizeof digits, "%g", d);
    return *text && !*end && strcmp(digits, shown) == 0;
}

static const char *kept_value(const struct set_name *x)
{
    if (!x->value || !x->text)
        return x->value ? x->value : x->text;
    return vars_shown_as(x->text, x->value) ? x->text : x->value;
}

/* Its random numbers cannot be had anywhere else, nor taken back. */
static bool is_seed(const char *name)
{
    return strcmp(name, "seed") == 0;
}

static bool is_read(const struct set_name *x)
{
    return !x->local && !x->reset && !is_seed(x->name);
}

static void change_all(struct client *c, struct varset **v, const struct var_change *changes, size_t n)
{
    if (n)
        replace(v, varset_share(c->env->varsets, varset_with_all(*v, changes, n)));
}

/* What the session has when these are set. A custom variable is there for good, whatever becomes of the transaction. */
static void follow(struct client *c, const struct set_name *names, unsigned n)
{
    struct var_change *now = xmalloc((2 * n + 1) * sizeof *now), *before = xmalloc((n + 1) * sizeof *before);
    size_t n_now = 0, n_before = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct set_name *x = &names[i];
        bool custom = varset_is_custom(x->name), kept = !x->local && !is_seed(x->name);
        const char *otherwise = custom ? "" : NULL;
        if (kept)
            now[n_now++] = (struct var_change){x->name, x->reset ? otherwise : kept_value(x), false};
        else if (custom)
            now[n_now++] = (struct var_change){x->name, "", true};
        if (custom && c->txn.state != TXN_NONE && !varset_get(c->txn.vars_before, x->name))
            before[n_before++] = (struct var_change){x->name, "", true};
        if (kept && strcmp(x->name, "session_authorization") == 0) /* implies SET ROLE NONE */
            now[n_now++] = (struct var_change){"role", NULL, false};
    }
    change_all(c, &c->vars, now, n_now);
    change_all(c, &c->txn.vars_before, before, n_before);
    free(now);
    free(before);
}

static void spoil(struct link *l)
{
    l->pinned = l->kept = true;
    l->server->pinned_state = l->server->closes_after = true;
}

/* The answer of all shards is there (run.c). */
void set_done(struct client *c, bool ok)
{
    struct set *s = c->set;
    bool seed = false;
    if (ok && s->target)
        replace(&c->vars, varset_share(c->env->varsets, varset_with_customs(s->target, c->vars)));
    if (ok)
        follow(c, s->names, s->n);
    for (unsigned i = 0; ok && i < s->n; i++)
        seed |= is_seed(s->names[i].name);
    if (ok && s->sets_isolation && c->txn.state != TXN_NONE)
        c->txn.modes.isolation = s->isolation;
    if (ok)
        client_send(c, &s->rows);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->server || l->lost || (c->txn.state == TXN_NONE ? l->shard != c->db->home : !l->in_txn))
            continue; /* another one: when it is used next */
        if (seed)
            spoil(l);
        if (c->txn.state != TXN_NONE)
            continue; /* when it ends */
        if (ok)
            link_note_variables(l, c->vars);
        else if (s->ran)
            server_forget_variables(l->server); /* it was set, and could not be read */
    }
    vars_set_free(c);
}

enum dispatch set_failed(struct client *c, const struct error *e)
{
    vars_set_free(c);
    run_error_answer(c, e, false);
    run_statement_done(c, false);
    return DISPATCH_DONE;
}

/* --- its answers ------------------------------------------------------------------------------ */

static void take_value(struct set *s, const struct frame *f)
{
    struct slice value;
    struct error e;
    uint16_t n;
    while (s->n_read < s->n && !is_read(&s->names[s->n_read]))
        s->n_read++;
    if (s->n_read >= s->n || message_read_data_row(f, &value, 1, &n, &e) != STATUS_OK || n != 1 ||
        !value.data)
        return;
    struct set_name *x = &s->names[s->n_read++];
    free(x->value);
    x->value = xstrndup(value.data, value.len);
}

/* A value that cannot be shown (a statement_timeout of a millisecond) is what was said, if it is one constant, and one
   that does not combine with others. */
static bool can_do_without(const struct client *c)
{
    const struct set *s = c->set;
    return c->txn.state == TXN_NONE && s->n == 1 && s->names[0].text &&
           strcmp(s->names[0].name, "datestyle") != 0;
}

bool vars_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    struct set *s = c->set;
    if (!s)
        return false;
    if (e->tag == TAG_READ) {
        if (f->type == MSG_DATA_ROW)
            take_value(s, f);
        return f->type == MSG_ERROR ? c->run_failed || can_do_without(c) : f->type != MSG_READY;
    }
    s->ran |= f->type == MSG_COMMAND_COMPLETE;
    if (s->wants_rows && s->reader == l &&
        (f->type == MSG_DATA_ROW || (f->type == MSG_ROW_DESCRIPTION && c->simple_open)))
        buf_slice_append(&s->rows, f->whole);
    return false;
}

/* --- sending it ------------------------------------------------------------------------------- */

static void append_reads(const struct set *s, struct buf *sql)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (!is_read(&s->names[i]))
            continue;
        const char *name = s->names[i].name;
        buf_str(sql, buf_len(sql) ? ";" : "");
        if (strlen(name) <= IDENTIFIER_MAX_BYTES) {
            buf_str(sql, "SHOW ");
            quote_identifier(sql, slice_str(name));
        } else { /* set_config() takes what SHOW would cut */
            buf_str(sql, "SELECT pg_catalog.current_setting(");
            quote_literal(sql, slice_str(name));
            buf_u8(sql, ')');
        }
    }
}

const struct varset *vars_named(const struct client *c)
{
    return c->set ? c->set->named : NULL;
}

static void note_customs(struct set *s)
{
    struct var_change *names = xmalloc((s->n + 1) * sizeof *names);
    size_t n = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (varset_is_custom(s->names[i].name))
            names[n++] = (struct var_change){s->names[i].name, "", false};
    if (n)
        replace(&s->named, varset_with_all(s->named, names, n));
    free(names);
}

/* What is LOCAL is no part of what the session's plans are kept by. */
static void note_names(struct client *c, const struct set *s)
{
    bool change = false;
    for (unsigned i = 0; i < s->n; i++) {
        const char *name = s->names[i].name;
        change |= s->names[i].local && (strcmp(name, "search_path") == 0 || strcmp(name, "role") == 0 ||
                                        strcmp(name, "session_authorization") == 0);
    }
    if (change)
        plan_names_changed(c);
}

static bool takes_part(const struct client *c, const struct link *l)
{
    if (l->lost || !l->server)
        return false;
    return c->txn.state != TXN_NONE ? l->in_txn : l->shard == c->db->home;
}

/* Somebody has to say what it means: the home shard, if none takes part. */
static enum acquire set_acquire(struct client *c, struct error *error_r)
{
    struct shard_set home;
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->in_txn && !c->links[i]->lost)
            return ACQUIRE_READY;
    shard_set_clear(&home);
    shard_set_add(&home, c->db->home);
    enum acquire got = links_acquire(c, &home, error_r);
    if (got == ACQUIRE_READY)
        link_prepare(link_find(c, c->db->home));
    return got;
}

static void set_send(struct client *c, struct slice sql)
{
    struct set *s = c->set;
    struct buf reads;
    buf_init(&reads);
    append_reads(s, &reads);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!takes_part(c, l))
            continue;
        if (l->open_pipeline)
            link_sync(l);
        link_query(l, sql, SINK_MESSAGE, TAG_CONTROL);
        if (c->control_due == 0)
            c->speaker = l->shard;
        c->control_due++;
        if (s->reader)
            continue;
        s->reader = l;
        if (buf_len(&reads) == 0)
            continue;
        link_query(l, buf_slice(&reads), SINK_MESSAGE, TAG_READ);
        c->control_due++;
    }
    buf_free(&reads);
}

enum dispatch set_everywhere(struct client *c, struct set *s, struct slice sql, const char *tag)
{
    struct error e;
    vars_set_free(c);
    c->set = s;
    note_customs(s);
    switch (set_acquire(c, &e)) {
    case ACQUIRE_WAIT:
        vars_set_free(c);
        return DISPATCH_AGAIN;
    case ACQUIRE_FAILED:
        return set_failed(c, &e);
    case ACQUIRE_READY:
        break;
    }
    note_names(c, s);
    c->control_due = 0;
    c->control_tag = tag;
    c->control_done = set_done;
    c->run_failed = c->preamble_failed = false;
    set_send(c, sql);
    c->run = RUN_CONTROL;
    if (c->txn.state != TXN_NONE)
        txn_add_replay(c, NULL, sql);
    return DISPATCH_DONE;
}
