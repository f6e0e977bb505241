/*
 * A client that follows a script, writes down what it is answered, and keeps account of what it may believe.
 *
 * A line of a script is a Query, unless it begins with a colon:
 *
 *   :P name sql           Parse; "-" is the unnamed statement
 *   :B portal name a b    Bind with these parameters, as text;  :b the same in binary, results too
 *   :D S name  :D P name  Describe         :E portal [rows]   Execute        :C S name  :C P name   Close
 *   :S  Sync              :H  Flush        :G  waits for CopyInResponse, or an error
 *   :d line  :c  :f why   CopyData (with a line's end), CopyDone, CopyFail: left out where there was an error
 *   :X  a cancel request  :gone  leaves at once
 *
 * After a Query and a Sync it waits for ReadyForQuery; with & in front of the line it does not.
 *
 * What it may believe: each row that it inserts is a claim. A claim stands if the transaction was acknowledged, does not if it
 * was refused, and is unknown if the outcome is: then all of one transaction stand, or none.
 */
#include "world.h"

#include "wire/message.h"
#include "wire/startup.h"

#include <ctype.h>
#include <strings.h>

enum { MAX_CLAIMS = 256, MAX_LEVEL = 16, MAX_INSERTS = 8 };

enum belief { CLAIM_SENT, CLAIM_ANSWERED, CLAIM_LIVE, CLAIM_STANDS, CLAIM_NOT, CLAIM_UNKNOWN };

struct claim {
    char table[16];
    int64_t id;
    unsigned request, group, level;
    enum belief belief;
};

enum { MAX_PENDING = 16 };

enum request_kind {
    REQUEST_OTHER,
    REQUEST_BEGIN,
    REQUEST_COMMIT,
    REQUEST_ROLLBACK,
    REQUEST_SAVEPOINT,
    REQUEST_ROLLBACK_TO,
    REQUEST_RELEASE,
    REQUEST_PREPARE
};

/* What one ReadyForQuery answers. */
struct request {
    enum request_kind kind;
    bool commits;  /* a pipeline with a COMMIT in it */
    bool single;   /* a Query of one statement */
    char name[64]; /* of the savepoint */
};

struct talker {
    unsigned index;
    const char *const *lines;
    size_t at;
    struct pipe *pipe;
    struct session *server; /* of its own: the oracle's */
    struct buf in, transcript, reported;
    bool startup, gone, waits_for_copy, copy_refused, copy_by_query;
    unsigned ready_due;
    uint32_t pid, secret;
    /* what it may believe */
    char status;                          /* of the last ReadyForQuery */
    struct request requests[MAX_PENDING]; /* a ring: from `answered` on, they are due */
    unsigned sent, answered;
    bool failed, unknown, rolled_back, completed, erred, piped,
        committed;    /* what the answers of the request have said so far */
    unsigned deleted; /* tables from which rows may be gone: bits of table_bit() */
    bool commits;     /* the pipeline that is being sent */
    char levels[MAX_LEVEL][64];
    unsigned n_levels, group;
    struct claim claims[MAX_CLAIMS];
    unsigned n_claims;
    struct {
        char statement[32], table[16];
    } inserts[MAX_INSERTS]; /* prepared: insert into TABLE values ($1, $2) */
    unsigned n_inserts;
};

static struct talker *talkers[2 * MAX_CLIENTS];
static unsigned n_talkers;

static void send_bytes(struct talker *t, const struct buf *b)
{
    if (t->server)
        session_receive(t->server, buf_head(b), buf_len(b));
    else if (t->pipe)
        pipe_send(t->pipe, buf_head(b), buf_len(b));
}

/* --- claims ----------------------------------------------------------------------------------- */

static void claim(struct talker *t, const char *table, int64_t id)
{
    if (table[1] < '1' || table[1] > '9')
        return; /* t1, r1, ...: others come and go */
    if (t->n_claims == MAX_CLAIMS)
        abort();
    struct claim *c = &t->claims[t->n_claims++];
    *c = (struct claim){.id = id, .request = t->sent};
    memcpy(c->table, table, strnlen(table, sizeof c->table - 1));
}

/* t1, r1, h1, ... */
static unsigned table_bit(const char *table)
{
    return 1u << ((unsigned)(table[0] == 't' ? 0 : table[0] == 'r' ? 10 : 20) + (unsigned)(table[1] - '0'));
}

static void note_deletes(struct talker *t, const char *sql)
{
    for (const char *at = sql; (at = strstr(at, "delete from ")); at++)
        t->deleted |= table_bit(at + 12);
}

/* insert into TABLE values (1, 2), (3, 4) */
static void claim_inserts(struct talker *t, const char *sql)
{
    char table[16];
    for (const char *at = sql; (at = strstr(at, "insert into ")); at++) {
        if (sscanf(at, "insert into %15s values", table) != 1)
            continue;
        const char *end = strchr(at, ';');
        for (const char *row = strchr(at, '('); row && (!end || row < end); row = strchr(row + 1, '(')) {
            long long id;
            if (sscanf(row, "(%lld,", &id) == 1)
                claim(t, table, id);
        }
    }
}

static void settle(struct talker *t, enum belief from, enum belief to)
{
    for (unsigned i = 0; i < t->n_claims; i++)
        if (t->claims[i].belief == from)
            t->claims[i].belief = to;
}

static void settle_above(struct talker *t, unsigned level, enum belief to)
{
    for (unsigned i = 0; i < t->n_claims; i++)
        if (t->claims[i].belief == CLAIM_LIVE && t->claims[i].level > level)
            t->claims[i].belief = to;
}

static void note_request(struct talker *t, const char *sql)
{
    struct request *r = &t->requests[t->sent % MAX_PENDING];
    char word[32] = "", second[64] = "", third[64] = "";
    (void)!sscanf(sql, "%31s %63s %63s", word, second, third);
    note_deletes(t, sql);
    r->kind = strchr(sql, ';')                                 ? REQUEST_OTHER
              : strcasecmp(word, "begin") == 0                 ? REQUEST_BEGIN
              : strcasecmp(word, "commit") == 0                ? REQUEST_COMMIT
              : strcasecmp(word, "rollback") == 0 && !third[0] ? REQUEST_ROLLBACK
              : strcasecmp(word, "rollback") == 0
                  ? (strcmp(second, "to") == 0 ? REQUEST_ROLLBACK_TO : REQUEST_ROLLBACK)
              : strcasecmp(word, "savepoint") == 0 ? REQUEST_SAVEPOINT
              : strcasecmp(word, "prepare") == 0   ? REQUEST_PREPARE
              : strcasecmp(word, "release") == 0   ? REQUEST_RELEASE
                                                   : REQUEST_OTHER;
    snprintf(r->name, sizeof r->name, "%s", third[0] ? third : second);
    r->single = *sql && !strchr(sql, ';');
    r->commits = t->commits;
    t->commits = false;
    claim_inserts(t, sql);
    if (++t->sent - t->answered > MAX_PENDING)
        abort();
}

static int level_of(const struct talker *t, const char *name)
{
    for (unsigned i = t->n_levels; i-- > 0;)
        if (strcmp(t->levels[i], name) == 0)
            return (int)i;
    return -1;
}

static enum belief of_transaction(const struct talker *t)
{
    return t->unknown ? CLAIM_UNKNOWN : t->failed || t->rolled_back ? CLAIM_NOT : CLAIM_STANDS;
}

/* ReadyForQuery, with the transaction status before and after. */
static void note_answer(struct talker *t, char status)
{
    const struct request *request = &t->requests[t->answered % MAX_PENDING];
    bool was_in_block = t->status != 'I';
    int level = level_of(t, request->name);
    if (!was_in_block)
        t->group++;
    for (unsigned i = 0; i < t->n_claims; i++)
        if (t->claims[i].belief == CLAIM_SENT && t->claims[i].request == t->answered) {
            t->claims[i].belief = CLAIM_ANSWERED;
            t->claims[i].group = t->group;
            t->claims[i].level = t->n_levels;
        }
    switch (request->kind) {
    case REQUEST_COMMIT:
    case REQUEST_ROLLBACK:
        settle(t, CLAIM_LIVE, of_transaction(t));
        t->n_levels = 0;
        break;
    case REQUEST_PREPARE: /* what becomes of it is for others to say */
        settle(t, CLAIM_LIVE, CLAIM_UNKNOWN);
        break;
    case REQUEST_SAVEPOINT:
        if (!t->failed && t->n_levels < MAX_LEVEL)
            memcpy(t->levels[t->n_levels++], request->name, sizeof request->name);
        break;
    case REQUEST_ROLLBACK_TO:
        if (!t->failed && level >= 0) {
            settle_above(t, (unsigned)level, CLAIM_NOT);
            t->n_levels = (unsigned)level + 1;
        }
        break;
    case REQUEST_RELEASE:
        for (unsigned i = 0; !t->failed && level >= 0 && i < t->n_claims; i++)
            if (t->claims[i].belief == CLAIM_LIVE && t->claims[i].level > (unsigned)level)
                t->claims[i].level = (unsigned)level;
        if (!t->failed && level >= 0)
            t->n_levels = (unsigned)level;
        break;
    case REQUEST_BEGIN:
    case REQUEST_OTHER:
        if (was_in_block && status == 'I' && (t->committed || t->unknown))
            settle(t, CLAIM_LIVE, of_transaction(t));
        if (was_in_block && !t->committed)
            settle(t, CLAIM_ANSWERED, t->failed ? CLAIM_NOT : CLAIM_LIVE);
        else if (status != 'I')
            settle(t, CLAIM_ANSWERED, t->failed ? CLAIM_NOT : CLAIM_LIVE);
        else
            settle(t, CLAIM_ANSWERED, of_transaction(t));
        break;
    }
    if (was_in_block && status == 'I')
        settle(t, CLAIM_LIVE, CLAIM_NOT); /* it ended without a word of COMMIT */
    t->status = status;
    t->answered++;
    t->failed = t->unknown = t->rolled_back = t->committed = t->completed = false;
}

/* The connection is over. */
static void note_end(struct talker *t)
{
    bool in_block = t->status != 'I', committing = false;
    for (unsigned i = t->answered; i < t->sent; i++)
        committing |=
            t->requests[i % MAX_PENDING].kind == REQUEST_COMMIT || t->requests[i % MAX_PENDING].commits;
    for (unsigned i = 0; i < t->n_claims; i++)
        if (t->claims[i].belief == CLAIM_SENT) {
            t->claims[i].group = in_block ? t->group : 1000000 + t->claims[i].request;
            t->claims[i].belief = in_block && !committing ? CLAIM_NOT : CLAIM_UNKNOWN;
        }
    settle(t, CLAIM_LIVE, committing ? CLAIM_UNKNOWN : CLAIM_NOT);
}

static unsigned rows_of(const struct claim *c)
{
    static const char *const shards[MAX_SHARDS] = {"s0", "s1", "s2"};
    unsigned n = 0;
    for (int i = 0; i < MAX_SHARDS; i++)
        n += shard_rows(shard_by_name(shards[i]), c->table, c->id);
    if (c->table[0] == 'r' && n % MAX_SHARDS == 0)
        n /= MAX_SHARDS; /* a reference table: everywhere, or nowhere */
    return n;
}

/* Another claim to the same row, of any client, may be why it is there. */
static bool claimed_again(const struct claim *c)
{
    for (unsigned i = 0; i < n_talkers; i++)
        for (unsigned k = 0; k < talkers[i]->n_claims; k++) {
            const struct claim *other = &talkers[i]->claims[k];
            if (other != c && other->id == c->id && strcmp(other->table, c->table) == 0 &&
                (other->belief == CLAIM_STANDS || other->belief == CLAIM_UNKNOWN))
                return true;
        }
    return false;
}

void talker_check(struct talker *t)
{
    for (unsigned i = 0; i < t->n_claims; i++) {
        const struct claim *c = &t->claims[i];
        unsigned n = rows_of(c);
        if (c->belief == CLAIM_STANDS && n != 1 && !(n == 0 && t->deleted & table_bit(c->table)))
            world_fail("client %u was told that row %lld of %s is committed: it is there %u times", t->index,
                       (long long)c->id, c->table, n);
        if (c->belief == CLAIM_NOT && n != 0 && !claimed_again(c))
            world_fail("client %u was told that row %lld of %s is not committed: it is there %u times",
                       t->index, (long long)c->id, c->table, n);
        if (c->belief == CLAIM_SENT || c->belief == CLAIM_ANSWERED || c->belief == CLAIM_LIVE)
            world_fail("client %u does not know about row %lld of %s", t->index, (long long)c->id, c->table);
        for (unsigned k = 0; c->belief == CLAIM_UNKNOWN && !t->deleted && k < i; k++)
            if (t->claims[k].belief == CLAIM_UNKNOWN && t->claims[k].group == c->group &&
                rows_of(&t->claims[k]) != n && !claimed_again(c) && !claimed_again(&t->claims[k]))
                world_fail("client %u: rows %lld and %lld are of one transaction, and one of them is there",
                           t->index, (long long)c->id, (long long)t->claims[k].id);
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

static const char *blank_to_empty(const char *name)
{
    return strcmp(name, "-") == 0 ? "" : name;
}

static void send_parse(struct talker *t, const char *line, struct buf *b)
{
    char name[32] = "", table[16] = "";
    int used = 0;
    (void)!sscanf(line, "%31s %n", name, &used);
    const char *sql = line + used;
    message_parse(b, blank_to_empty(name), slice_str(sql), 0, NULL);
    t->commits |= strncmp(sql, "commit", 6) == 0;
    if (sscanf(sql, "insert into %15s values ($1", table) != 1 || !strstr(sql, "($1, $2)"))
        return;
    unsigned i = 0;
    while (i < t->n_inserts && strcmp(t->inserts[i].statement, name) != 0)
        i++;
    if (i == t->n_inserts && t->n_inserts++ == MAX_INSERTS)
        abort();
    snprintf(t->inserts[i].statement, sizeof t->inserts[i].statement, "%s", name);
    snprintf(t->inserts[i].table, sizeof t->inserts[i].table, "%s", table);
}

static void claim_bound(struct talker *t, const char *statement, int64_t id)
{
    for (unsigned i = 0; i < t->n_inserts; i++)
        if (strcmp(t->inserts[i].statement, statement) == 0)
            claim(t, t->inserts[i].table, id);
}

static void send_bind(struct talker *t, const char *line, bool binary, struct buf *b)
{
    char portal[32] = "", name[32] = "";
    int used = 0;
    long long params[16];
    uint16_t n = 0;
    (void)!sscanf(line, "%31s %31s%n", portal, name, &used);
    for (const char *at = line + used; n < 16 && sscanf(at, "%lld%n", &params[n], &used) == 1; at += used)
        n++;
    size_t begun = message_begin(b, MSG_BIND);
    buf_cstr(b, blank_to_empty(portal));
    buf_cstr(b, blank_to_empty(name));
    buf_u16(b, binary);
    if (binary)
        buf_u16(b, 1);
    buf_u16(b, n);
    for (uint16_t i = 0; i < n; i++) {
        char text[24];
        snprintf(text, sizeof text, "%lld", params[i]);
        buf_u32(b, binary ? 8 : (uint32_t)strlen(text));
        if (binary) {
            buf_u32(b, (uint32_t)((uint64_t)params[i] >> 32));
            buf_u32(b, (uint32_t)params[i]);
        } else {
            buf_str(b, text);
        }
    }
    buf_u16(b, binary);
    if (binary)
        buf_u16(b, 1);
    message_end(b, begun);
    if (n)
        claim_bound(t, name, params[0]);
}

static void send_text(struct buf *b, uint8_t type, const char *text, const char *behind, bool ended)
{
    size_t begun = message_begin(b, type);
    buf_str(b, text);
    buf_str(b, behind);
    if (ended)
        buf_u8(b, 0);
    message_end(b, begun);
}

static void command(struct talker *t, const char *line, struct buf *b)
{
    char kind, name[32] = "";
    unsigned rows = 0;
    const char *rest = line[1] ? line + 2 : line + 1;
    switch (line[0]) {
    case 'P':
        send_parse(t, rest, b);
        break;
    case 'B':
    case 'b':
        send_bind(t, rest, line[0] == 'b', b);
        break;
    case 'D':
    case 'C':
        if (sscanf(rest, "%c %31s", &kind, name) != 2)
            abort();
        if (line[0] == 'D')
            message_describe(b, kind, blank_to_empty(name));
        else
            message_close(b, kind, blank_to_empty(name));
        break;
    case 'E':
        (void)!sscanf(rest, "%31s %u", name, &rows);
        message_execute(b, blank_to_empty(name), rows);
        break;
    case 'S':
        note_request(t, "");
        message_empty(b, MSG_SYNC);
        t->ready_due++;
        break;
    case 'H':
        message_empty(b, MSG_FLUSH);
        break;
    case 'd':
        send_text(b, MSG_COPY_DATA, rest, "\n", false);
        break;
    case 'c':
        message_empty(b, MSG_COPY_DONE);
        break;
    case 'f':
        send_text(b, MSG_COPY_FAIL, rest, "", true);
        break;
    default:
        abort();
    }
}

static bool is_copy_line(const char *line)
{
    return line[0] == ':' && (line[1] == 'd' || line[1] == 'c' || line[1] == 'f') &&
           (line[2] == ' ' || !line[2]);
}

/* False: something is to be waited for. */
static bool send_line(struct talker *t, const char *line)
{
    bool wait = line[0] != '&';
    struct buf b;
    if (!wait)
        line++;
    if (is_copy_line(line) && t->copy_refused)
        return true;
    if (!is_copy_line(line))
        t->copy_refused = false;
    if (strcmp(line, ":gone") == 0) {
        talker_leave(t);
        return false;
    }
    if (strcmp(line, ":X") == 0) {
        talker_cancel(t);
        return true;
    }
    if (strcmp(line, ":G") == 0) {
        t->waits_for_copy = true;
        return false;
    }
    buf_init(&b);
    if (line[0] == ':') {
        t->piped = line[1] != 'S'; /* an error of what it has sent is due until its Sync */
        command(t, line + 1, &b);
        wait = wait && (line[1] == 'S' || (t->copy_by_query && (line[1] == 'c' || line[1] == 'f')));
    } else {
        note_request(t, line);
        message_query(&b, slice_str(line));
        t->ready_due++;
        t->waits_for_copy = t->copy_by_query = strncmp(line, "copy", 4) == 0 && strstr(line, "from stdin");
    }
    world_trace("client %u -> %s", t->index, line);
    send_bytes(t, &b);
    buf_free(&b);
    return !wait;
}

static void send_more(struct talker *t)
{
    while (!t->gone && !t->waits_for_copy && t->lines[t->at])
        if (!send_line(t, t->lines[t->at++]))
            return;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void write_row(struct talker *t, const struct frame *f)
{
    struct slice values[16];
    struct error e;
    uint16_t n;
    if (message_read_data_row(f, values, 16, &n, &e) != STATUS_OK) {
        world_fail("client %u: a malformed row", t->index);
        return;
    }
    buf_str(&t->transcript, " D(");
    for (uint16_t i = 0; i < n; i++) {
        buf_str(&t->transcript, i ? "," : "");
        for (size_t k = 0; values[i].data && k < values[i].len; k++)
            if (isprint(values[i].data[k]))
                buf_u8(&t->transcript, values[i].data[k]);
            else
                buf_printf(&t->transcript, "\\%02x", values[i].data[k]);
        if (!values[i].data)
            buf_str(&t->transcript, "NULL");
    }
    buf_str(&t->transcript, ")");
}

static void write_columns(struct talker *t, const struct frame *f)
{
    struct msg_column columns[16];
    struct error e;
    uint16_t n;
    if (message_read_row_description(f, columns, 16, &n, &e) != STATUS_OK) {
        world_fail("client %u: a malformed row description", t->index);
        return;
    }
    buf_str(&t->transcript, " T(");
    for (uint16_t i = 0; i < n; i++)
        buf_printf(&t->transcript, "%s%s:%u:%d", i ? "," : "", columns[i].name, columns[i].type_oid,
                   columns[i].format);
    buf_str(&t->transcript, ")");
}

static void write_error(struct talker *t, const struct frame *f)
{
    struct error e, bad;
    if (message_read_error(f, &e, &bad) != STATUS_OK) {
        world_fail("client %u: a malformed error", t->index);
        return;
    }
    buf_printf(&t->transcript, " %c(%s %s)", f->type, e.sqlstate, e.message);
    if (f->type != MSG_ERROR)
        return;
    world_trace("client %u <- %s %s %s", t->index, e.sqlstate, e.message, e.detail);
    if (t->ready_due && t->requests[t->answered % MAX_PENDING].single && t->completed)
        world_fail("client %u: %s after the statement was said to be complete", t->index, e.sqlstate);
    t->failed = true;
    if (strcmp(e.sqlstate, "08007") == 0 || strstr(e.detail, "not known"))
        t->unknown = true;
    if (t->waits_for_copy) {
        t->waits_for_copy = false;
        t->copy_refused = true;
    }
}

static void answered(struct talker *t, char status)
{
    buf_slice_append(&t->transcript,
                     buf_slice(&t->reported)); /* where in its cycle it came is not compared */
    buf_clear(&t->reported);
    buf_printf(&t->transcript, " Z(%c)\n", status);
    if (t->ready_due == 0) {
        world_fail("client %u: a ReadyForQuery that nothing was sent for", t->index);
        return;
    }
    note_answer(t, status);
    if (t->waits_for_copy) {
        t->waits_for_copy = false;
        t->copy_refused = true;
    }
    if (--t->ready_due == 0)
        send_more(t);
}

static void text_message(struct talker *t, const struct frame *f)
{
    buf_printf(&t->transcript, " %c(%.*s)", f->type,
               (int)f->body.len - (f->body.len && !f->body.data[f->body.len - 1]),
               (const char *)f->body.data);
}

/* Behind an error nothing but ReadyForQuery, and what may come at any time. */
static void check_order(struct talker *t, const struct frame *f)
{
    uint8_t type = f->type;
    bool any_time = type == MSG_NOTICE || type == MSG_PARAMETER_STATUS || type == MSG_NOTIFICATION ||
                    (type == MSG_ERROR && message_is_fatal(f));
    if (t->erred && type != MSG_READY && !any_time)
        world_fail("client %u: message %c behind an error: %s", t->index, type, talker_transcript(t));
    if (type == MSG_ERROR && (t->ready_due || t->piped))
        t->erred = true;
    else if (type == MSG_READY)
        t->erred = false;
}

static void receive(struct talker *t, const struct frame *f)
{
    check_order(t, f);
    const char *name, *value, *tag;
    int64_t rows;
    struct error e;
    switch (f->type) {
    case MSG_READY:
        answered(t, (char)f->body.data[0]);
        return;
    case MSG_ERROR:
    case MSG_NOTICE:
        write_error(t, f);
        if (f->type == MSG_ERROR && t->ready_due == 0 && !t->copy_refused && !t->gone)
            return; /* between statements, or within a pipeline */
        if (t->copy_refused)
            send_more(t);
        return;
    case MSG_ROW_DESCRIPTION:
        write_columns(t, f);
        return;
    case MSG_DATA_ROW:
        write_row(t, f);
        return;
    case MSG_COMMAND_COMPLETE:
        t->completed = true;
        if (message_read_tag(f, &tag, &rows, &e) == STATUS_OK) {
            t->rolled_back |= strcmp(tag, "ROLLBACK") == 0;
            t->committed |= strcmp(tag, "COMMIT") == 0;
        }
        text_message(t, f);
        return;
    case MSG_COPY_DATA:
        text_message(t, f);
        return;
    case MSG_PARAMETER_STATUS:
        if (message_read_parameter_status(f, &name, &value, &e) == STATUS_OK)
            buf_printf(&t->reported, " S(%s=%s)", name, value);
        return;
    case MSG_COPY_IN_RESPONSE:
        buf_str(&t->transcript, " G");
        t->waits_for_copy = false;
        send_more(t);
        return;
    case MSG_PARAMETER_DESCRIPTION:
        buf_printf(&t->transcript, " t(%u)", load_u16(f->body.data));
        return;
    default:
        buf_printf(&t->transcript, " %c", f->type);
        return;
    }
}

/* Until the first ReadyForQuery. */
static void receive_startup(struct talker *t, const struct frame *f)
{
    struct error e, bad;
    if (f->type == MSG_BACKEND_KEY_DATA) {
        t->pid = load_u32(f->body.data);
        t->secret = load_u32(f->body.data + 4);
    } else if (f->type == MSG_READY) {
        t->startup = false;
        send_more(t);
    } else if (f->type == MSG_ERROR && message_read_error(f, &e, &bad) == STATUS_OK) {
        world_trace("client %u <- %s %s", t->index, e.sqlstate, e.message);
        buf_printf(&t->transcript, " login(%s)", e.sqlstate);
    }
}

void talker_feed(struct talker *t, const uint8_t *bytes, size_t n)
{
    struct frame f;
    size_t need;
    buf_append(&t->in, bytes, n);
    while (!t->gone && frame_next(buf_slice(&t->in), UINT32_MAX, &f, &need) == FRAME_OK) {
        struct frame copy = f;
        void *body = arena_alloc(&world.arena, f.whole.len);
        memcpy(body, f.whole.data, f.whole.len);
        copy.whole = slice_of(body, f.whole.len);
        copy.body = slice_of((uint8_t *)body + FRAME_HEADER_BYTES, f.body.len);
        buf_consume(&t->in, f.whole.len);
        if (t->startup)
            receive_startup(t, &copy);
        else
            receive(t, &copy);
    }
}

static void peer_bytes(void *peer, const uint8_t *bytes, size_t n)
{
    talker_feed(peer, bytes, n);
}

static void peer_closed(void *peer)
{
    struct talker *t = peer;
    if (t->gone)
        return;
    world_trace("client %u is disconnected", t->index);
    buf_str(&t->transcript, " closed");
    t->gone = true;
    note_end(t);
}

static const struct peer_ops talker_ops = {peer_bytes, peer_closed};

/* --- clients ---------------------------------------------------------------------------------- */

struct talker *talker_create(unsigned index, const char *const *lines, bool startup)
{
    struct talker *t = xcalloc(1, sizeof *t);
    *t = (struct talker){.index = index, .lines = lines, .startup = startup, .status = 'I'};
    if (startup)
        t->pipe = pipe_create(&talker_ops, t);
    talkers[n_talkers++] = t;
    return t;
}

void talkers_forget(void)
{
    for (unsigned i = 0; i < n_talkers; i++) {
        buf_free(&talkers[i]->in);
        buf_free(&talkers[i]->transcript);
        buf_free(&talkers[i]->reported);
        free(talkers[i]);
    }
    n_talkers = 0;
}

struct pipe *talker_pipe(struct talker *t)
{
    return t->pipe;
}

void talker_direct(struct talker *t, struct session *s)
{
    t->server = s;
}

void talker_start(struct talker *t)
{
    struct buf b;
    if (!t->startup) {
        send_more(t);
        return;
    }
    buf_init(&b);
    buf_u32(&b, 0);
    buf_u32(&b, 196608);
    buf_cstr(&b, "user");
    buf_cstr(&b, "app");
    buf_cstr(&b, "database");
    buf_cstr(&b, "app");
    buf_u8(&b, 0);
    buf_put_u32(&b, 0, (uint32_t)buf_len(&b));
    send_bytes(t, &b);
    buf_free(&b);
}

void talker_leave(struct talker *t)
{
    if (t->gone)
        return;
    world_trace("client %u leaves", t->index);
    t->gone = true;
    note_end(t);
    if (t->pipe)
        pipe_end(t->pipe);
    if (t->server)
        session_close(t->server);
}

/* A connection of its own that carries nothing else. */
static void nothing_bytes(void *peer, const uint8_t *bytes, size_t n)
{
    (void)peer;
    (void)bytes;
    (void)n;
}

static void nothing_closed(void *peer)
{
    (void)peer;
}

void (*talker_accept)(struct pipe *p);

void talker_cancel(struct talker *t)
{
    static const struct peer_ops nothing = {nothing_bytes, nothing_closed};
    struct buf b;
    if (t->gone || !t->pid || !talker_accept)
        return;
    world_trace("client %u asks for a cancel", t->index);
    struct pipe *p = pipe_create(&nothing, NULL);
    talker_accept(p);
    buf_init(&b);
    buf_u32(&b, 16);
    buf_u32(&b, 80877102);
    buf_u32(&b, t->pid);
    buf_u32(&b, t->secret);
    pipe_send(p, buf_head(&b), buf_len(&b));
    pipe_end(p);
    buf_free(&b);
}

bool talker_done(const struct talker *t)
{
    return t->gone || (!t->startup && t->ready_due == 0 && !t->waits_for_copy && !t->lines[t->at]);
}

const char *talker_transcript(const struct talker *t)
{
    return arena_strndup(&world.arena, buf_len(&t->transcript) ? (const char *)buf_head(&t->transcript) : "",
                         buf_len(&t->transcript));
}
