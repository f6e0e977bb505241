/*
 * Which NoticeResponses of shards the client hears: those that one PostgreSQL would have sent, once.
 *
 *     one shard                                  all, as they come (their bytes pass)
 *     every shard does its own part              all
 *     every shard does the same (plan.tag_of_one, SET, SAVEPOINT)   one shard's: c->speaker
 *     COMMIT, PREPARE TRANSACTION                of shards that did a part of their own, and of one that did the same
 *     BEGIN, catalog queries, the pool's own     none
 *
 * A trigger that is run once a statement is run once on every shard; its notices come as often. What a COMMIT says of
 * a shard that did both, its own part and the same as others, is not told apart: it comes from each of them.
 */
#include "session.h"

#include <ctype.h>

static bool find_field(const struct frame *f, char type, const char **value_r)
{
    const char *p = (const char *)f->body.data, *end = p + f->body.len;
    while (p < end && *p) {
        const char *value = p + 1, *stop = memchr(value, 0, (size_t)(end - value));
        if (!stop)
            return false;
        if (*p == type) {
            *value_r = value;
            return true;
        }
        p = stop + 1;
    }
    return false;
}

static bool field_is(const struct frame *f, char type, const char *wanted)
{
    const char *value;
    return find_field(f, type, &value) && strcmp(value, wanted) == 0;
}

void notice_speaker(struct client *c, const struct shard_set *shards)
{
    c->speaker = shard_set_has(shards, c->db->home) ? c->db->home : (unsigned)shard_set_next(shards, 0);
}

void notice_of_statement(struct client *c, const struct link *l, const struct frame *f)
{
    const struct plan *p = c->plan;
    /* Of the text, which is the same for all: a name that is too long, a backslash in a string. */
    bool of_text = field_is(f, 'C', "42622") || field_is(f, 'C', "22P06");
    /* VACUUM VERBOSE tells of each shard's part, though it is answered by one tag. */
    bool own_part = p->tag_of_one ? p->verb == VERB_PER_SHARD && field_is(f, 'V', "INFO") : !of_text;
    if (!c->run_failed && (own_part || l->shard == c->speaker))
        client_write(c, f->whole.data, f->whole.len);
}

void notice_of_control(struct client *c, const struct link *l, const struct frame *f)
{
    if (!c->run_failed && l->shard == c->speaker)
        client_write(c, f->whole.data, f->whole.len);
}

void notice_of_end(struct client *c, const struct link *l, const struct frame *f)
{
    /* "there is no transaction in progress": the proxy's COMMIT came too late there, not the client's. */
    if (field_is(f, 'C', SQLSTATE_NO_ACTIVE_TRANSACTION))
        return;
    if (l->own_part || l->shard == c->speaker)
        client_write(c, f->whole.data, f->whole.len);
}

/* The proxy's own warnings: as the session's client_min_messages has it. */
bool notice_hides_warnings(const struct client *c)
{
    static const char *const above[] = {"error", "fatal", "panic"};
    const char *value = c->vars ? varset_get(c->vars, "client_min_messages") : NULL;
    while (value && (isspace((unsigned char)*value) || *value == '\''))
        value++;
    for (size_t i = 0; value && i < sizeof above / sizeof above[0]; i++)
        if (strncasecmp(value, above[i], strlen(above[i])) == 0)
            return true;
    return false;
}
