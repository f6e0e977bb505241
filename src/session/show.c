/*
 * Statements that the proxy answers itself, with rows: SHOW pgunison.*, EXPLAIN (ROUTE).
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>

static const char *last_part(const struct plan *p)
{
    return p->name && strncmp(p->name, "pgunison.", 9) == 0 ? p->name + 9 : p->name;
}

void show_describe(struct client *c, const struct plan *p)
{
    struct buf *b = client_scratch(c);
    if (p->verb == VERB_EXPLAIN_ROUTE) {
        message_row_description(b, explain_n_columns, explain_columns, NULL, NULL);
    } else if (p->verb == VERB_SET_CONFIG) {
        const char **names = xmalloc(p->n_configs * sizeof *names);
        for (uint32_t i = 0; i < p->n_configs; i++)
            names[i] = p->configs[i].column;
        message_row_description(b, (int)p->n_configs, names, NULL, NULL);
        free(names);
    } else {
        const char *name = p->name;
        message_row_description(b, 1, &name, NULL, NULL);
    }
    client_send(c, b);
}

static void append_shards(struct client *c, struct buf *b)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->in_txn)
            buf_printf(b, "%s%s", buf_len(b) ? " " : "", c->db->shards[c->links[i]->shard]->name);
}

enum dispatch show_pgunison(struct client *c, const struct plan *p, bool describe)
{
    struct error e;
    struct buf value, *b;
    const char *name = last_part(p), *text = "";
    const char *txid = txn_commit_txid(c), *shard = varset_get(c->guc_pgunison, "shard");
    buf_init(&value);
    if (strcmp(name, "txid") == 0) {
        text = txid ? txid : "";
    } else if (strcmp(name, "shards") == 0) {
        append_shards(c, &value);
        buf_u8(&value, 0);
        text = (const char *)buf_head(&value);
    } else if (strcmp(name, "last_commit") == 0) {
        buf_printf(&value, "%s%s%s", c->last_commit ? c->last_commit : "", c->last_txid ? " " : "",
                   c->last_txid ? c->last_txid : "");
        buf_u8(&value, 0);
        text = (const char *)buf_head(&value);
    } else if (strcmp(name, "shard") == 0) {
        text = shard ? shard : "";
    } else {
        error_set(&e, SQLSTATE_UNDEFINED_OBJECT, "unrecognized configuration parameter \"pgunison.%s\"",
                  name);
        run_error_answer(c, &e, false);
        run_statement_done(c, false);
        return DISPATCH_DONE;
    }
    if (describe)
        show_describe(c, p);
    b = client_scratch(c);
    message_data_row(b, 1, &text);
    message_command_complete(b, "SHOW");
    client_send(c, b);
    buf_free(&value);
    run_statement_done(c, true);
    return DISPATCH_DONE;
}

struct route_rows {
    struct buf rows;
    int n;
};

static void explain_row(void *arg, const char *const *values)
{
    struct route_rows *r = arg;
    message_data_row(&r->rows, explain_n_columns, values);
    r->n++;
}

/* Plans the inner statement, without touching a shard but for its catalog. */
enum dispatch show_route(struct client *c, const struct plan *p, const struct template *t, bool describe)
{
    struct template inner;
    struct buf text;
    struct plan *ip = NULL;
    struct error e;
    enum dispatch d = DISPATCH_DONE;
    buf_init(&text);
    rewrite_render_span(t, p->inner_from, p->inner_to, &text);
    template_init(&inner);
    enum plan_result r = template_lex(&inner, buf_slice(&text), &e) == STATUS_OK
                             ? session_plan(c, &inner, 0, NULL, &ip, &e)
                             : PLAN_FAILED;
    if (r == PLAN_AGAIN) {
        d = DISPATCH_AGAIN;
    } else if (r == PLAN_FAILED) {
        run_error_answer(c, &e, false);
        run_statement_done(c, false);
    } else {
        struct route_rows rows = {.n = 0};
        struct explain_sink sink = {.row = explain_row, .arg = &rows};
        buf_init(&rows.rows);
        route_explain(ip, c->db, &inner, NULL, &sink);
        if (describe)
            show_describe(c, p);
        client_send(c, &rows.rows);
        buf_free(&rows.rows);
        client_command_complete(c, "EXPLAIN");
        session_unplan(c, &ip);
        run_statement_done(c, true);
    }
    template_free(&inner);
    buf_free(&text);
    return d;
}
