/*
 * Prepared statements and portals of one client, and getting a statement prepared where it is needed.
 *
 * A client's statement is a name for a (text, parameter types) that the worker knows once
 * (backend/statements.h). On a server it is called by the worker's name for it, so that clients share it; it
 * is parsed there when it is first needed. The unnamed statement is parsed as the unnamed one, just before
 * its Bind. The unnamed statement and portal, the only ones of most clients, need no map.
 *
 * ParseComplete: Parse is answered by a real Parse on some shard, so that errors are told when the client
 * expects them. When Bind of the same statement follows at once, as drivers do, Parse waits for it, and goes
 * to the shard that Bind needs.
 */
#include "statements.h"

#include <stdlib.h>

struct client_names *client_names(struct client *c)
{
    if (c->names)
        return c->names;
    c->names = xmalloc(sizeof *c->names);
    hashmap_init(&c->names->statements);
    hashmap_init(&c->names->portals);
    hashmap_init(&c->names->cursors);
    c->names->text_bytes = c->names->bytes = 0;
    return c->names;
}

/* --- statements ------------------------------------------------------------------------------- */

static struct statement_registry *registry(struct client *c)
{
    return pool_manager_statements(c->env->pools);
}

#define COUNTED_BYTES    UINT32_C(0x7fffffff) /* a message is shorter: LONGEST_MESSAGE_BYTES */
#define MAP_ENTRY_BYTES  ((size_t)40)         /* what a map adds to a name */
#define MAP_BUCKETS_KEPT ((size_t)64)

size_t statement_name_bytes(const char *name)
{
    return heap_bytes(sizeof(struct client_statement)) + heap_bytes(MAP_ENTRY_BYTES + strlen(name));
}

size_t portal_name_bytes(const char *name)
{
    return heap_bytes(sizeof(struct client_portal)) + heap_bytes(MAP_ENTRY_BYTES + strlen(name));
}

/* Not during an iteration. */
static void map_shrink(struct hashmap *m)
{
    if (m->n_buckets > MAP_BUCKETS_KEPT)
        hashmap_fit(m);
}

struct client_statement *statement_find(struct client *c, const char *name)
{
    if (!*name)
        return c->unnamed_statement.def ? &c->unnamed_statement : NULL;
    return c->names ? hashmap_get(&c->names->statements, slice_str(name)) : NULL;
}

/* It has left the map. */
static void statement_free(struct client *c, struct client_statement *st)
{
    c->names->bytes -= st->name_bytes;
    c->names->text_bytes -= st->text_bytes;
    statement_unref(registry(c), &st->def);
    free(st);
}

static void unnamed_drop(struct client *c)
{
    statement_unref(registry(c), &c->unnamed_statement.def);
}

/* A text that others have, too, counts for each by how many have it as it comes: ending one of them frees nothing. */
static uint32_t text_share(const struct statement_def *def)
{
    return (uint32_t)(statement_bytes(def) / def->refs);
}

struct client_statement *statement_put(struct client *c, const char *name, struct slice sql, uint16_t n_oids,
                                       const uint32_t *oids)
{
    struct statement_def *def = statement_intern(registry(c), plan_statement_epoch(c), sql, n_oids, oids);
    if (!*name) {
        unnamed_drop(c);
        c->unnamed_statement = (struct client_statement){
            .def = def, .unnamed = true, .text_bytes = text_share(def) & COUNTED_BYTES};
        return &c->unnamed_statement;
    }
    struct client_statement *st = xmalloc(sizeof *st);
    *st = (struct client_statement){.def = def,
                                    .name_bytes = statement_name_bytes(name) & COUNTED_BYTES,
                                    .text_bytes = text_share(def) & COUNTED_BYTES};
    client_names(c)->bytes += st->name_bytes;
    c->names->text_bytes += st->text_bytes;
    struct client_statement *old = hashmap_put(&client_names(c)->statements, slice_str(name), st);
    if (old)
        statement_free(c, old);
    return st;
}

void statement_drop(struct client *c, const char *name)
{
    if (!*name) {
        unnamed_drop(c);
        return;
    }
    struct client_statement *st = c->names ? hashmap_remove(&c->names->statements, slice_str(name)) : NULL;
    if (st) {
        statement_free(c, st);
        map_shrink(&c->names->statements);
    }
}

/* Its Parse failed, or was skipped after an error: there is no such statement. */
static void statement_drop_pointer(struct client *c, const struct client_statement *st)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    if (!c->names)
        return;
    struct hashmap *m = &c->names->statements;
    for (hashmap_iter_init(m, &it); hashmap_next(m, &it, &key, &value);)
        if (value == st) {
            hashmap_remove(m, key);
            statement_free(c, value);
            return;
        }
}

void statements_drop_unanswered(struct client *c)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    if (!c->unnamed_statement.acknowledged)
        unnamed_drop(c);
    if (!c->names)
        return;
    struct hashmap *m = &c->names->statements;
    for (hashmap_iter_init(m, &it); hashmap_next(m, &it, &key, &value);)
        if (!((struct client_statement *)value)->acknowledged) {
            hashmap_remove(m, key);
            statement_free(c, value);
        }
}

bool extended_has_statement(struct client *c, const char *name)
{
    return statement_find(c, name) != NULL;
}

void extended_deallocate(struct client *c, const char *name)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    if (name) {
        statement_drop(c, name);
        return;
    }
    unnamed_drop(c);
    if (!c->names)
        return;
    struct hashmap *m = &c->names->statements;
    for (hashmap_iter_init(m, &it); hashmap_next(m, &it, &key, &value);) {
        hashmap_remove(m, key);
        statement_free(c, value);
    }
    map_shrink(m);
}

static void template_drop(void *extra)
{
    struct template *t = extra;
    template_free(t);
    free(t);
}

const struct template *statement_template(struct client *c, struct statement_def *def, struct error *error_r)
{
    if (def->extra) {
        def->extra_used = true;
        return def->extra;
    }
    struct template *t = xmalloc(sizeof *t);
    template_init(t);
    if (template_lex(t, def->sql, error_r) != STATUS_OK) {
        template_drop(t);
        return NULL;
    }
    statement_set_extra(registry(c), def, t, template_drop, template_bytes(t) + heap_bytes(sizeof *t));
    return t;
}

/* --- on a server ------------------------------------------------------------------------------ */

void statement_parse_around(struct rope *r, const char *server_name, const struct rope *text,
                            const struct statement_def *def)
{
    struct buf b;
    buf_init(&b);
    buf_u8(&b, MSG_PARSE);
    buf_u32(&b, (uint32_t)(4 + strlen(server_name) + 1 + rope_len(text, 0, text->n) + 1 + 2 +
                           def->n_oids * sizeof(uint32_t)));
    buf_cstr(&b, server_name);
    rope_add(r, buf_slice(&b));
    for (size_t i = 0; i < text->n; i++)
        rope_add(r, rope_piece(text, i));
    buf_clear(&b);
    buf_u8(&b, 0);
    buf_u16(&b, def->n_oids);
    for (uint16_t i = 0; i < def->n_oids; i++)
        buf_u32(&b, def->oids[i]);
    rope_add(r, buf_slice(&b));
    buf_free(&b);
}

void statement_parse(struct rope *r, const char *server_name, const struct statement_def *def)
{
    struct rope text;
    rope_init(&text);
    rope_add(&text, def->sql);
    statement_parse_around(r, server_name, &text, def);
    rope_free(&text);
}

static void expect_close(struct link *l, uint64_t id)
{
    if (id)
        server_expect(l->server, EXPECT_CLOSE, SINK_MESSAGE, TAG_CLOSE, (void *)(uintptr_t)id);
    else
        server_expect(l->server, EXPECT_CLOSE, SINK_DROP, TAG_STATEMENT, NULL);
}

static void send_parse(struct link *l, const char *server_name, const struct statement_def *def, uint16_t tag,
                       void *arg)
{
    if (def->sql.len < BLOB_MIN_BYTES) {
        struct buf *b = client_scratch(l->client);
        message_parse(b, server_name, def->sql, def->n_oids, def->oids);
        server_write(l->server, buf_head(b), buf_len(b));
    } else {
        struct rope r;
        rope_init(&r);
        statement_parse(&r, server_name, def);
        link_write_rope(l, &r, 0, r.n);
        rope_free(&r);
    }
    server_expect(l->server, EXPECT_PARSE, tag == TAG_PARSE_AGAIN ? SINK_DROP : SINK_FORWARD, tag, arg);
}

static void prepare_named(struct link *l, struct statement_def *def, uint16_t tag, void *arg)
{
    struct prepared_close close[2];
    prepared_set_add(l->server->prepared, def, close);
    for (size_t i = 0; i < 2 && close[i].name[0]; i++) {
        struct buf b;
        buf_init(&b);
        message_close(&b, 'S', close[i].name);
        server_write(l->server, buf_head(&b), buf_len(&b));
        expect_close(l, close[i].id);
        buf_free(&b);
    }
    send_parse(l, def->server_name, def, tag, arg);
}

const char *statement_server_name(const struct client_statement *st)
{
    return st->unnamed ? "" : st->def->server_name;
}

/* A server plans again what refers to a relation that changed, or is gone; not what a new one hides. */
static __attribute__((noinline, cold)) void renew_prepared(struct link *l)
{
    prepared_set_stale(l->server->prepared);
    l->doubtful = false;
    l->renewed = true;
}

bool statement_on_server(struct link *l, struct client_statement *st)
{
    if (__builtin_expect(l->doubtful, 0))
        renew_prepared(l);
    l->open_pipeline = true;
    l->flush_sent = false;
    if (st->unnamed) {
        if (!st->acknowledged) {
            st->acknowledged = true;
            l->server->unnamed_statement = st->def->id;
            send_parse(l, "", st->def, TAG_PARSE_UNNAMED, NULL);
            return false;
        }
        if (l->server->unnamed_statement != st->def->id) {
            l->server->unnamed_statement = st->def->id;
            send_parse(l, "", st->def, TAG_PARSE_AGAIN, NULL);
        }
        return false;
    }
    bool there = prepared_set_use(l->server->prepared, st->def);
    bool acknowledge = !st->acknowledged;
    st->acknowledged = true;
    if (there)
        return acknowledge;
    if (acknowledge)
        prepare_named(l, st->def, TAG_PARSE, st);
    else
        prepare_named(l, st->def, TAG_PARSE_AGAIN, st->def);
    return false;
}

void extended_parse_skipped(struct client *c, struct link *l, const struct expect *e)
{
    struct client_statement *st;
    switch (e->tag) {
    case TAG_PARSE:
        st = e->arg;
        prepared_set_remove(l->server->prepared, st->def);
        statement_drop_pointer(c, st);
        break;
    case TAG_PARSE_AGAIN:
        if (e->arg)
            prepared_set_remove(l->server->prepared, e->arg);
        else
            l->server->unnamed_statement = 0;
        break;
    case TAG_BIND_ACK: /* there already, but the client has not heard of it */
        statement_drop_pointer(c, e->arg);
        break;
    case TAG_PARSE_UNNAMED:
        l->server->unnamed_statement = 0;
        statement_drop(c, "");
        break;
    case TAG_CLOSE:
        prepared_set_closed(l->server->prepared, (uint64_t)(uintptr_t)e->arg, false);
        break;
    default:
        break;
    }
}

void extended_forget_answer(struct client *c, struct link *l, struct expect *e)
{
    if (e->kind == EXPECT_QUERY || e->kind == EXPECT_SYNC || e->tag == TAG_CLOSE)
        return;
    e->sink = SINK_DROP;
    switch (e->tag) {
    case TAG_PARSE: { /* the shard will know it, the client will not */
        struct client_statement *st = e->arg;
        e->arg = prepared_set_use(l->server->prepared, st->def) ? st->def : NULL;
        e->tag = TAG_PARSE_AGAIN;
        statement_drop_pointer(c, st);
        break;
    }
    case TAG_BIND_ACK:
        e->tag = TAG_STATEMENT;
        statement_drop_pointer(c, e->arg);
        break;
    case TAG_PARSE_UNNAMED:
        e->tag = TAG_PARSE_AGAIN;
        e->arg = NULL;
        statement_drop(c, "");
        break;
    default:
        break;
    }
}

/* --- portals ---------------------------------------------------------------------------------- */

static void portal_clear(struct client *c, struct client_portal *p)
{
    session_unplan(c, &p->plan);
    statement_unref(registry(c), &p->statement);
    blob_unref(&p->bind_blob);
    buf_free(&p->bind);
    if (p->bytes)
        c->names->bytes -= p->bytes;
    p->bytes = 0;
}

/* Large ones stay where they were read. */
void portal_keep_bind(struct client *c, struct client_portal *p, struct slice whole)
{
    if (whole.len >= BLOB_MIN_BYTES)
        p->bind_blob = blob_of(whole.data, whole.len);
    if (!p->bind_blob)
        buf_slice_append(&p->bind, whole);
    p->bind_message = p->bind_blob ? whole : buf_slice(&p->bind);
    if (p->bytes) {
        size_t more = p->bind_blob ? whole.len : p->bind.cap;
        p->bytes += more;
        c->names->bytes += more;
    }
}

#define PORTALS_KEPT 256

static void portal_free(struct client *c, struct client_portal *p)
{
    portal_clear(c, p);
    if (c->env->n_portals_free == PORTALS_KEPT) {
        free(p);
        return;
    }
    c->env->n_portals_free++;
    p->next = c->env->portals_free;
    c->env->portals_free = p;
}

static struct client_portal *portal_new(struct session_env *env)
{
    struct client_portal *p = env->portals_free;
    if (!p)
        return xmalloc(sizeof *p);
    env->n_portals_free--;
    env->portals_free = p->next;
    return p;
}

struct client_portal *portal_find(struct client *c, const char *name)
{
    if (!*name)
        return c->unnamed_portal;
    return c->names ? hashmap_get(&c->names->portals, slice_str(name)) : NULL;
}

struct client_portal *portal_put(struct client *c, const char *name, struct plan *plan,
                                 struct statement_def *def, struct link *l)
{
    struct client_portal *p = portal_find(c, name);
    if (p) {
        portal_clear(c, p);
    } else {
        p = portal_new(c->env);
        if (*name)
            hashmap_put(&client_names(c)->portals, slice_str(name), p);
        else
            c->unnamed_portal = p;
    }
    *p = (struct client_portal){.plan = plan, .statement = statement_ref(def), .link = l};
    if (*name) {
        p->bytes = portal_name_bytes(name);
        c->names->bytes += p->bytes;
    }
    buf_init(&p->bind);
    return p;
}

void portal_drop(struct client *c, const char *name)
{
    struct client_portal *p = portal_find(c, name);
    if (!p)
        return;
    if (*name) {
        hashmap_remove(&c->names->portals, slice_str(name));
        map_shrink(&c->names->portals);
    } else {
        c->unnamed_portal = NULL;
    }
    portal_free(c, p);
}

void extended_forget_portals(struct client *c)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    portal_drop(c, "");
    if (!c->names || c->names->portals.count == 0)
        return;
    struct hashmap *m = &c->names->portals;
    for (hashmap_iter_init(m, &it); hashmap_next(m, &it, &key, &value);) {
        hashmap_remove(m, key);
        portal_free(c, value);
    }
    map_shrink(m);
}

void extended_forget_portals_of(struct client *c, const struct link *l)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    if (c->unnamed_portal && c->unnamed_portal->link == l)
        portal_drop(c, "");
    if (!c->names || c->names->portals.count == 0)
        return;
    struct hashmap *m = &c->names->portals;
    for (hashmap_iter_init(m, &it); hashmap_next(m, &it, &key, &value);)
        if (((struct client_portal *)value)->link == l) {
            hashmap_remove(m, key);
            portal_free(c, value);
        }
}

void extended_deinit(struct client *c)
{
    extended_forget_portals(c);
    extended_deallocate(c, NULL);
    if (!c->names)
        return;
    hashmap_free(&c->names->statements, NULL);
    hashmap_free(&c->names->portals, NULL);
    hashmap_free(&c->names->cursors, NULL);
    free(c->names);
    c->names = NULL;
}
